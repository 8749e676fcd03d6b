//! Recordings to order-book features (SPEC §5, §11 `features`).
