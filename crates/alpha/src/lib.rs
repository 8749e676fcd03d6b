//! The signal: champion parameters, the seven layers, ACB, survival stack, forewarner, circuit breaker, eigen scanner.
