//! What a segment says first: who wrote it, under which configuration.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Config;

/// Layout of the records: another one is not decided again.
pub const RECORDS: u32 = 3;

/// The header of every segment of a run. No secret is in it: the configuration is the one that [`Config`] serialises.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Layout of the records.
    pub records: u32,
    /// Version of the program.
    pub version: String,
    /// The run, as in its client order ids.
    pub run: u64,
    /// Start of the run by the wall clock, ns since 1970.
    pub wall_ns: u64,
    /// The same moment on the clock of the records, ns.
    pub at: u64,
    /// `all` or `alpha`.
    pub role: String,
    /// Name of the venue.
    pub venue: String,
    /// The account: a fingerprint of its key.
    pub account: String,
    /// Hash of the parameters.
    pub param_hash: String,
    /// Symbols, in column order.
    pub symbols: Vec<String>,
    /// Venue time up to which fills were booked at the start, ns.
    pub booked: u64,
    /// Did the engine have a forewarner?
    pub forewarner: bool,
    /// The whole configuration.
    pub config: Value,
}

impl Header {
    /// The configuration of the run.
    pub fn config(&self) -> Result<Config, String> {
        serde_json::from_value(self.config.clone())
            .map_err(|e| format!("the configuration of the journal: {e}"))
    }

    /// Are market frames in it?
    pub fn keeps_frames(&self) -> bool {
        self.config["journal"]["content"] == "frames" && self.role == "all"
    }

    /// The wall clock at a time of the records, ns since 1970.
    pub const fn wall_at(&self, at: u64) -> u64 {
        self.wall_ns.saturating_add(at).saturating_sub(self.at)
    }
}

/// Where the journal of a venue is kept: the configured directory, else `journal` in the state directory.
pub fn directory(
    configured: Option<&PathBuf>,
    venue: &str,
    state_directory: Option<PathBuf>,
) -> Option<PathBuf> {
    let base = configured.cloned().or_else(|| Some(state_directory?.join("journal")))?;
    Some(base.join(venue.replace(['/', ':'], "_")))
}
