//! Market recordings (SPEC §2.4).
