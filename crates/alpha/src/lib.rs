//! The signal, pure and deterministic: champion parameters, the seven layers, ACB, survival stack, forewarner,
//! circuit breaker, eigen scanner. Researchers edit only here.
//!
//! [`Engine`] is where to start reading: [`Engine::begin_day`], [`Engine::step_bar`] per tick, [`Engine::end_day`].

pub mod acb;
pub mod breaker;
pub mod eigen;
pub mod engine;
pub mod forewarner;
mod history;
pub mod metrics;
pub mod params;
pub mod position;
pub mod report;
pub mod rng;
pub mod selection;
pub mod signal;
pub mod survival;

pub use acb::{AcbPush, AcbReject, apply_cut_to_position_size};
pub use breaker::{BreakerLimits, BreakerStatus, CircuitBreaker, Trip};
pub use engine::rehearsal::Rehearsal;
pub use engine::{
    Booked, Booking, Engine, EngineError, Held, Image, OutcomeError, Prices, Recent, Resumed, Snapshot,
    SnapshotError,
};
pub use forewarner::{Forewarner, ForewarnerError, McStatus};
pub use metrics::Metrics;
pub use params::{BoostMode, CHAMPION_HASH, Drift, FeeModel, ParamError, Params, VolGate};
pub use position::{OpenPosition, Position, Trade, TradeRecord};
pub use report::{
    Action, ControlSnapshot, DayResult, DayStart, Gate, GateValues, ObView, StepReport, TickInput,
};
pub use survival::{Safety, SafetyError, SafetyWord, Sensors, Survival};
