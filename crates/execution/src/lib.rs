//! From decision to orders: SmartPlacer, order state machine, positions, pre-trade risk, kill switch.
