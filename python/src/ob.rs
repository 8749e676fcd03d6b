//! Order-book features as the engine reads them.

use std::collections::HashMap;

use alpha::ObView as View;
use market::{CrossAsset, Nanos, ObFeatures};
use memory::schema::{FromMemory, ObRecord};
use pyo3::prelude::*;
use serde_json::Value;

use crate::convert::parse;
use crate::error::data;

/// Features of an engine's assets, in its column order. Records older than `max_age_s` before `now` (seconds since 1970) and
/// those that make no sense are not there, and counted.
#[pyclass(frozen, module = "dolphin_engine")]
#[derive(Debug)]
pub struct ObView {
    features: Vec<Option<ObFeatures>>,
    cross: CrossAsset,
    fresh: Vec<String>,
    stale: Vec<String>,
    rejected: Vec<(String, String)>,
}

impl ObView {
    pub(crate) fn view(&self) -> View<'_> {
        View { features: &self.features, cross: self.cross }
    }

    pub(crate) fn width(&self) -> usize {
        self.features.len()
    }

    pub(crate) fn of(records: &Value, assets: &[String], oldest: Option<f64>) -> PyResult<Self> {
        let Value::Object(records) = records else {
            return Err(data("OB features: wanted an object {symbol: record}"));
        };
        let columns: HashMap<&str, usize> = assets.iter().enumerate().map(|(i, a)| (a.as_str(), i)).collect();
        let mut view = Self {
            features: vec![None; assets.len()],
            cross: CrossAsset::default(),
            fresh: Vec::new(),
            stale: Vec::new(),
            rejected: Vec::new(),
        };
        let mut newest = Nanos(0);
        for (symbol, value) in records {
            // Memory holds records as text, the file as objects.
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let record = match ObRecord::from_memory(&text) {
                Ok(record) if record.symbol == *symbol => record,
                Ok(record) => {
                    view.rejected.push((symbol.clone(), format!("it holds {}", record.symbol)));
                    continue;
                }
                Err(error) => {
                    view.rejected.push((symbol.clone(), error.to_string()));
                    continue;
                }
            };
            if oldest.is_some_and(|oldest| (record.timestamp.0 as f64) < oldest * 1e9) {
                view.stale.push(symbol.clone());
                continue;
            }
            if record.timestamp >= newest {
                (newest, view.cross) = (record.timestamp, record.cross_asset);
            }
            if let Some(&column) = columns.get(symbol.as_str()) {
                view.features[column] = Some(record.features);
            }
            view.fresh.push(symbol.clone());
        }
        Ok(view)
    }
}

#[pymethods]
impl ObView {
    /// From JSON `{symbol: record}` (SPEC 2.3; each record an object, or the text that memory holds).
    #[staticmethod]
    #[pyo3(signature = (text, assets, now=None, max_age_s=None))]
    fn from_json(
        text: &str,
        assets: Vec<String>,
        now: Option<f64>,
        max_age_s: Option<f64>,
    ) -> PyResult<Self> {
        let oldest = now.zip(max_age_s).map(|(now, age)| now - age);
        Self::of(&parse(text)?, &assets, oldest)
    }

    /// Symbols with fresh features.
    #[getter]
    fn fresh(&self) -> Vec<String> {
        self.fresh.clone()
    }

    /// Symbols whose features were too old.
    #[getter]
    fn stale(&self) -> Vec<String> {
        self.stale.clone()
    }

    /// Symbols whose record was refused, with the reason.
    #[getter]
    fn rejected(&self) -> Vec<(String, String)> {
        self.rejected.clone()
    }

    fn __len__(&self) -> usize {
        self.fresh.len()
    }
}
