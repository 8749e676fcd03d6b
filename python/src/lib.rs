//! The engine of DOLPHIN for Python: module `dolphin_engine._native`. Thin: arguments in, the crates' own functions, results
//! out. What Python sees, with units, stands in `dolphin_engine/_native.pyi`.

#[cfg(all(target_arch = "x86_64", not(target_feature = "avx2")))]
compile_error!(
    "build with `-C target-cpu=x86-64-v3` (.cargo/config.toml, or RUSTFLAGS): without AVX2 the scanner is twenty times slower"
);

mod breaker;
mod config;
mod convert;
mod engine;
mod error;
mod flow;
mod forewarner;
mod interrupt;
mod ob;
mod offline;
mod run;
mod small;
mod step;
mod table;

use pyo3::prelude::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The engine of DOLPHIN.
#[pymodule]
fn _native(m: &Bound<'_, PyModule>) -> PyResult<()> {
    error::register(m)?;
    m.add_class::<engine::NDAlphaEngine>()?;
    m.add_class::<step::StepResult>()?;
    m.add_class::<table::Table>()?;
    m.add_class::<ob::ObView>()?;
    m.add_class::<forewarner::DolphinForewarner>()?;
    m.add_class::<breaker::CircuitBreakerManager>()?;
    m.add_class::<small::RandomState>()?;
    m.add_class::<run::ReplayResult>()?;
    m.add_class::<run::ParityResult>()?;
    m.add_class::<flow::DayBars>()?;
    m.add_class::<flow::Start>()?;
    m.add_class::<flow::DayRun>()?;
    m.add_function(wrap_pyfunction!(run::replay, m)?)?;
    m.add_function(wrap_pyfunction!(run::parity, m)?)?;
    m.add_function(wrap_pyfunction!(offline::features, m)?)?;
    m.add_function(wrap_pyfunction!(offline::eigen, m)?)?;
    m.add_function(wrap_pyfunction!(offline::recompute, m)?)?;
    m.add_function(wrap_pyfunction!(config::hash, m)?)?;
    m.add_function(wrap_pyfunction!(config::params, m)?)?;
    m.add_function(wrap_pyfunction!(config::load_config, m)?)?;
    m.add_function(wrap_pyfunction!(small::base_boost, m)?)?;
    m.add_function(wrap_pyfunction!(small::apply_cut_to_position_size, m)?)?;
    m.add_function(wrap_pyfunction!(small::posture_of, m)?)?;
    m.add_function(wrap_pyfunction!(small::parse_scan, m)?)?;
    m.add_function(wrap_pyfunction!(small::parse_acb_push, m)?)?;
    m.add_function(wrap_pyfunction!(small::parse_safety, m)?)?;
    m.add_function(wrap_pyfunction!(small::metrics, m)?)?;
    m.add_function(wrap_pyfunction!(small::features_map, m)?)?;
    m.add_function(wrap_pyfunction!(flow::list_days, m)?)?;
    m.add_function(wrap_pyfunction!(flow::read_day, m)?)?;
    m.add_function(wrap_pyfunction!(flow::load_day, m)?)?;
    m.add_function(wrap_pyfunction!(flow::restore_capital, m)?)?;
    m.add_function(wrap_pyfunction!(flow::run_engine_day, m)?)?;
    m.add("CHAMPION_HASH", alpha::CHAMPION_HASH)?;
    m.add("__version__", env!("CARGO_PKG_VERSION"))
}
