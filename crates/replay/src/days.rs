//! Day files to trades.
