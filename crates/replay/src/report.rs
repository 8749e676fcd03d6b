//! `report.html`.

use crate::days::Run;

/// Where the numbers come from.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Provenance {
    /// Config file as named by the user.
    pub config: String,
    /// Data directory as named by the user.
    pub data: String,
    /// Version of the program.
    pub version: String,
    /// When it was made, ISO 8601; empty: not told.
    pub made_at: String,
}

/// The report.
pub fn html(_run: &Run, _origin: &Provenance) -> String {
    String::new()
}
