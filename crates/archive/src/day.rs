//! Day files and scan files (SPEC §2.1, §2.2).
