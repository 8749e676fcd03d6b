//! The eigen scanner (SPEC §6).
