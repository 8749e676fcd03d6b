//! What a backend is asked and answers; also between the processes of an embedded store.

use serde::{Deserialize, Serialize};

use crate::error::MemoryError;
use crate::fence::Fence;

/// A value for a key of a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// Map.
    pub map: String,
    /// Key.
    pub key: String,
    /// Text.
    pub value: String,
}

/// What a backend is asked. Names and values are within the limits ([`crate::MAX_NAME_BYTES`],
/// [`crate::MAX_VALUE_BYTES`]) by then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// The value of a key: [`Reply::Value`].
    Get {
        /// Map.
        map: String,
        /// Key.
        key: String,
    },
    /// Sets values, in order: [`Reply::Done`]. After an error any part of them may have been set.
    ///
    /// With a fence the values carry it already ([`crate::fence_of`]), and none may take the place of a value with a
    /// larger one: [`MemoryError::Fenced`]. That comparison and the setting of the value are one step, for each value.
    /// Nor may any be set once the backend knows, by the record of the lease, of a larger one; how strictly it
    /// holds that is its own business (docs/lease.md).
    PutAll {
        /// The values.
        writes: Vec<Write>,
        /// Of the lease that the writer holds.
        #[serde(default)]
        fence: Option<Fence>,
    },
    /// Reads a value and makes it carry this fence, as one step: [`Reply::Value`], as it stands now. From then on
    /// nobody with a smaller fence can change what was read. A key that is not there, or a value that is no
    /// JSON object, is only read. Refused like [`Self::PutAll`] if it carries a larger fence.
    Claim {
        /// Map.
        map: String,
        /// Key.
        key: String,
        /// Of the lease that the reader holds.
        fence: Fence,
    },
    /// Removes a key if it is there: [`Reply::Done`].
    Remove {
        /// Map.
        map: String,
        /// Key.
        key: String,
    },
    /// The keys of a map, in any order: [`Reply::Keys`].
    Keys {
        /// Map.
        map: String,
    },
    /// The keys and values of a map, in any order: [`Reply::Entries`].
    Entries {
        /// Map.
        map: String,
    },
    /// Sets a key if its value is the expected one, atomically: [`Reply::Swapped`].
    CompareAndSet {
        /// Map.
        map: String,
        /// Key.
        key: String,
        /// `None`: if it is not there.
        expected: Option<String>,
        /// The value to set.
        new: String,
    },
}

impl Request {
    /// What it is called in messages.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Get { .. } => "get",
            Self::PutAll { .. } => "put",
            Self::Claim { .. } => "claim",
            Self::Remove { .. } => "remove",
            Self::Keys { .. } => "keys",
            Self::Entries { .. } => "entries",
            Self::CompareAndSet { .. } => "compare and set",
        }
    }

    /// May it be sent again when nobody knows whether it was carried out? If not, that is
    /// [`MemoryError::Ambiguous`].
    pub const fn is_idempotent(&self) -> bool {
        !matches!(self, Self::CompareAndSet { .. })
    }
}

/// What a backend answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The value; `None`: the key is not there.
    Value(Option<String>),
    /// It is done.
    Done,
    /// Keys.
    Keys(Vec<String>),
    /// Keys and values.
    Entries(Vec<(String, String)>),
    /// Was the value the expected one?
    Swapped(bool),
}

/// The answer to a request.
pub type Answer = Result<Reply, MemoryError>;
