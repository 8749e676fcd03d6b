//! The forewarner: never a reason not to trade.

use std::path::PathBuf;

use alpha::Forewarner;
use pyo3::exceptions::PyRuntimeWarning;
use pyo3::prelude::*;

/// MC-Forewarner: the model in a folder (`forewarner.json` or `forewarner.onnx`). One that cannot be read is a warning; the
/// scale is 1.0 then, the status DISABLED, the gate open.
#[pyclass(frozen, module = "dolphin_engine", name = "DolphinForewarner")]
#[derive(Debug)]
pub struct DolphinForewarner {
    pub(crate) model: Option<Forewarner>,
    models_dir: PathBuf,
    error: Option<String>,
}

#[pymethods]
impl DolphinForewarner {
    #[new]
    fn new(py: Python<'_>, models_dir: PathBuf) -> PyResult<Self> {
        let (model, error) = match replay::days::forewarner(&models_dir) {
            Ok(model) => (Some(model), None),
            Err(why) => {
                let text = format!("forewarner DISABLED: {why}");
                let message = std::ffi::CString::new(text.replace('\0', " ")).unwrap_or_default();
                PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &message, 1)?;
                (None, Some(text))
            }
        };
        Ok(Self { model, models_dir, error })
    }

    /// Can the model be used?
    #[getter]
    fn available(&self) -> bool {
        self.model.is_some()
    }

    /// Why it cannot.
    #[getter]
    fn error(&self) -> Option<String> {
        self.error.clone()
    }

    /// Its folder.
    #[getter]
    fn models_dir(&self) -> PathBuf {
        self.models_dir.clone()
    }
}
