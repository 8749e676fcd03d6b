//! The local order book, its synchronisation rule, and the order-book features.
