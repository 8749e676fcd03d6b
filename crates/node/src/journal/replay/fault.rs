//! Why a stage that is fed by its records does not go on.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::journal::bounds::check;
use crate::journal::records::decode;

/// See the module's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// What is decided now, where the record says something else.
    Differs(String),
    /// The record cannot be taken in: it is no record, or its numbers cannot be.
    Unusable(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Differs(why) | Self::Unusable(why) => f.write_str(why),
        }
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        fault.to_string()
    }
}

/// The value of a payload, every number of which can be; `symbols`: how many the run has.
pub fn decode_checked<T: Serialize + DeserializeOwned>(payload: &[u8], symbols: usize) -> Result<T, Fault> {
    let value: T = decode(payload).map_err(Fault::Unusable)?;
    check(&value, symbols).map_err(Fault::Unusable)?;
    Ok(value)
}
