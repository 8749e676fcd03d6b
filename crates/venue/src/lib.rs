//! The local Binance-compatible exchange: matching, accounts, simulated and recorded markets, faults, the protocol face.
