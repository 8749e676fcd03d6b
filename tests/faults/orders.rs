//! Faults of orders, of the user stream and of the account.
