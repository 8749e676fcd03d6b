//! The two flows by name, and the configuration both begin with.

use std::path::Path;

use node::config::Config;
use node::error::Failure;
use serde::{Deserialize, Serialize};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flow {
    /// The daily paper run, 00:05 UTC.
    Paper,
    /// The supervised run, 00:10 UTC.
    Nautilus,
}

impl Flow {
    /// Its name in keys, logs and options.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Nautilus => "nautilus",
        }
    }

    /// The key of its newest state.
    pub const fn state_key(self) -> &'static str {
        match self {
            Self::Paper => memory::schema::STATE_LATEST,
            Self::Nautilus => memory::schema::STATE_LATEST_NAUTILUS,
        }
    }
}

impl std::str::FromStr for Flow {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "paper" => Ok(Self::Paper),
            "nautilus" => Ok(Self::Nautilus),
            other => Err(format!("`{other}` is no flow: paper or nautilus")),
        }
    }
}

/// Task `load_config`, and `validate_champion_params`: the file, its parameters within their ranges, and no drift where it
/// says champion.
pub fn load_config(path: &Path) -> Result<Config, Failure> {
    let config = Config::load(path)?;
    config.alpha.verify().map_err(|e| Failure::usage(format!("{}: {e}", path.display())))?;
    Ok(config)
}
