//! Prices to eigen scans: day files with recomputed meta columns (SPEC §6, §11 `eigen`).
