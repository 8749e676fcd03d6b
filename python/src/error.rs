//! Errors as exceptions, with the text of the command line and its exit code's kind.

use node::error::Failure;
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyKeyboardInterrupt};
use pyo3::prelude::*;
use replay::ReplayError;

create_exception!(
    dolphin_engine,
    DolphinError,
    PyException,
    "An error of the engine; the kinds below say which."
);
create_exception!(dolphin_engine, ConfigError, DolphinError, "Usage or configuration (exit code 2).");
create_exception!(dolphin_engine, DataError, DolphinError, "Input data (exit code 3).");
create_exception!(
    dolphin_engine,
    UnavailableError,
    DolphinError,
    "Venue or memory unavailable (exit code 4)."
);

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = m.py();
    m.add("DolphinError", py.get_type::<DolphinError>())?;
    m.add("ConfigError", py.get_type::<ConfigError>())?;
    m.add("DataError", py.get_type::<DataError>())?;
    m.add("UnavailableError", py.get_type::<UnavailableError>())
}

pub(crate) fn usage(error: impl std::fmt::Display) -> PyErr {
    ConfigError::new_err(error.to_string())
}

pub(crate) fn data(error: impl std::fmt::Display) -> PyErr {
    DataError::new_err(error.to_string())
}

pub(crate) fn failure(failure: &Failure) -> PyErr {
    let message = failure.message.clone();
    match failure.exit {
        2 => ConfigError::new_err(message),
        3 => DataError::new_err(message),
        4 => UnavailableError::new_err(message),
        _ => DolphinError::new_err(message),
    }
}

pub(crate) fn replay(error: &ReplayError) -> PyErr {
    match error {
        ReplayError::Interrupted => PyKeyboardInterrupt::new_err(()),
        e if e.is_usage() => usage(e),
        e => data(e),
    }
}
