//! The signal, pure and deterministic: champion parameters, the seven layers, ACB, survival stack, forewarner,
//! circuit breaker, eigen scanner. Researchers edit only here.

pub mod eigen;
