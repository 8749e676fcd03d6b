//! Parameters and configuration files.

use std::path::Path;

use alpha::Params;
use alpha::params::PRESETS;
use node::config::{Backend, Config};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use serde_json::json;

use crate::convert::{setting, to_py};
use crate::error::{failure, usage};

/// Parameters and a direction.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    pub(crate) params: Params,
    pub(crate) direction: i8,
}

/// `None`: the champion; a preset's name; a configuration file; a dictionary of parameters over the champion's.
pub(crate) fn choose(
    given: Option<&Bound<'_, PyAny>>,
    overrides: Option<&Bound<'_, PyDict>>,
) -> PyResult<Chosen> {
    let mut chosen = Chosen { params: Params::default(), direction: -1 };
    if let Some(given) = given.filter(|g| !g.is_none()) {
        if let Ok(dict) = given.cast::<PyDict>() {
            set_all(&mut chosen, dict)?;
        } else {
            chosen = named(given)?;
        }
    }
    if let Some(overrides) = overrides {
        set_all(&mut chosen, overrides)?;
    }
    chosen.params.verify().map_err(usage)?;
    Ok(chosen)
}

fn named(given: &Bound<'_, PyAny>) -> PyResult<Chosen> {
    let is_text = given.is_instance_of::<PyString>();
    let text: String = given.py().import("os")?.call_method1("fspath", (given,))?.extract()?;
    let path = Path::new(&text);
    if is_text && (PRESETS.contains(&text.as_str()) || (path.extension().is_none() && !path.exists())) {
        return Ok(Chosen { params: Params::preset(&text).map_err(usage)?, direction: -1 });
    }
    let config = flows::load_config(path).map_err(|e| failure(&e))?;
    Ok(Chosen { direction: config.direction.sign(), params: config.alpha })
}

/// Sets every parameter, the profile first: it brings a preset's numbers.
pub(crate) fn set_all(chosen: &mut Chosen, settings: &Bound<'_, PyDict>) -> PyResult<()> {
    let mut pairs = Vec::with_capacity(settings.len());
    for (key, value) in settings {
        let key: String = key.extract()?;
        pairs.push((key != "profile", key, value));
    }
    pairs.sort_by_key(|(later, ..)| *later);
    let profile =
        pairs.iter().find(|(_, key, _)| key == "profile").map(|(.., value)| setting(value)).transpose()?;
    for (_, key, value) in &pairs {
        set(chosen, key, &setting(value)?)?;
    }
    // A profile that is named stays named: the check of the start says whether it is what it says.
    if let Some(profile) = profile {
        chosen.params.profile = profile;
    }
    Ok(())
}

/// One setting, as `--set` does it.
pub(crate) fn set(chosen: &mut Chosen, key: &str, text: &str) -> PyResult<()> {
    if key == "direction" {
        chosen.direction = match text.trim() {
            "-1" | "short" => -1,
            "0" | "both" => 0,
            "1" | "+1" | "long" => 1,
            other => {
                return Err(usage(format!("direction `{other}` is not -1 (short), 0 (both) or 1 (long)")));
            }
        };
        return Ok(());
    }
    chosen.params.set(key, text).map(drop).map_err(usage)
}

/// The hash of parameters: SHA-256 of the frozen fifteen as Python's `json.dumps(…, sort_keys=True)` writes them.
#[pyfunction]
#[pyo3(signature = (params=None, **overrides))]
pub(crate) fn hash(
    params: Option<&Bound<'_, PyAny>>,
    overrides: Option<&Bound<'_, PyDict>>,
) -> PyResult<String> {
    Ok(choose(params, overrides)?.params.hash())
}

/// All parameters as a dictionary: the champion's, a preset's, a file's, with what is set beside them.
#[pyfunction]
#[pyo3(signature = (params=None, **overrides))]
pub(crate) fn params<'py>(
    py: Python<'py>,
    params: Option<&Bound<'py, PyAny>>,
    overrides: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    to_py(py, &choose(params, overrides)?.params)
}

/// A configuration file, read and checked: parameters, hash, direction, what the flows need of memory. A champion that has
/// drifted is refused.
#[pyfunction]
pub(crate) fn load_config(py: Python<'_>, path: std::path::PathBuf) -> PyResult<Bound<'_, PyAny>> {
    let config = flows::load_config(&path).map_err(|e| failure(&e))?;
    to_py(py, &summary(&config, &path))
}

fn summary(config: &Config, path: &Path) -> serde_json::Value {
    let section = &config.memory;
    let backend = if section.backend == Backend::Hazelcast { "hazelcast" } else { "embedded" };
    let deployment = memory::schema::Deployment::from(section.deployment);
    json!({
        "path": path,
        "params": config.alpha,
        "param_hash": config.alpha.hash(),
        "profile": config.alpha.profile,
        "direction": config.direction.sign(),
        "scan_stale_after_s": config.market.scan_stale_after_ms as f64 / 1000.0,
        "ob_stale_after_s": config.market.ob_stale_after_ms as f64 / 1000.0,
        "venue": config.venue.name,
        "memory": {
            "backend": backend,
            "deployment": section.deployment.name(),
            "members": section.hazelcast.members,
            "cluster_name": section.hazelcast.cluster_name,
            "path": section.path,
            "state_map": deployment.state_map(),
            "pnl_map": deployment.pnl_map(),
        },
    })
}
