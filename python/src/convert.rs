//! Between JSON values and Python objects.

use market::Date;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString};
use serde::Serialize;
use serde_json::Value;

use crate::error::{DolphinError, usage};

/// A record as Python's dictionaries and lists.
pub(crate) fn to_py<'py, T: Serialize>(py: Python<'py>, record: &T) -> PyResult<Bound<'py, PyAny>> {
    let value = serde_json::to_value(record).map_err(|e| DolphinError::new_err(e.to_string()))?;
    value_to_py(py, &value)
}

fn value_to_py<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Value::Null => Ok(py.None().into_bound(py)),
        Value::Bool(b) => b.into_bound_py_any(py),
        Value::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(i), _) => i.into_bound_py_any(py),
            (None, Some(u)) => u.into_bound_py_any(py),
            (None, None) => n.as_f64().unwrap_or(f64::NAN).into_bound_py_any(py),
        },
        Value::String(s) => s.into_bound_py_any(py),
        Value::Array(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(value_to_py(py, item)?)?;
            }
            Ok(list.into_any())
        }
        Value::Object(map) => {
            let dict = PyDict::new(py);
            for (key, item) in map {
                dict.set_item(key, value_to_py(py, item)?)?;
            }
            Ok(dict.into_any())
        }
    }
}

/// A Python value by way of `json.dumps`; NaN is null.
pub(crate) fn from_py(object: &Bound<'_, PyAny>) -> PyResult<Value> {
    let text: String = object.py().import("json")?.call_method1("dumps", (object,))?.extract()?;
    parse(&text)
}

/// JSON as Python writes it.
pub(crate) fn parse(text: &str) -> PyResult<Value> {
    let mut bytes = text.as_bytes().to_vec();
    market::json::blank_python_numbers(&mut bytes);
    serde_json::from_slice(&bytes).map_err(|e| crate::error::data(format!("not JSON: {e}")))
}

/// The text that `--set` takes of a value.
pub(crate) fn setting(value: &Bound<'_, PyAny>) -> PyResult<String> {
    if value.is_none() {
        return Ok("null".to_owned());
    }
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(if flag.is_true() { "true" } else { "false" }.to_owned());
    }
    if value.is_instance_of::<PyString>() || value.is_instance_of::<PyInt>() {
        return value.str()?.extract();
    }
    if value.is_instance_of::<PyFloat>() {
        return value.repr()?.extract();
    }
    if let Ok(items) = value.extract::<Vec<String>>() {
        return Ok(Value::from(items).to_string());
    }
    // NumPy's numbers.
    match value.extract::<f64>() {
        Ok(number) if number.fract() == 0.0 && number.abs() < 1e15 => Ok(format!("{number:.0}")),
        Ok(number) => Ok(number.to_string()),
        Err(_) => Err(usage(format!("{value} is no value of a parameter"))),
    }
}

/// A date: `YYYY-MM-DD`, or anything whose text begins so (`datetime.date`, a timestamp of pandas).
pub(crate) fn date(value: &Bound<'_, PyAny>) -> PyResult<Date> {
    let text: String = value.str()?.extract()?;
    let day = text.get(..10).unwrap_or(&text);
    day.parse().map_err(|_| usage(format!("`{text}` is not a date: write YYYY-MM-DD")))
}

/// The same where there may be none.
pub(crate) fn maybe_date(value: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Date>> {
    value.filter(|v| !v.is_none()).map(date).transpose()
}
