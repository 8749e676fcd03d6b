//! The one interface.

use std::time::Duration;

use serde::Deserialize;

use crate::embedded::{Embedded, EmbeddedConfig};
use crate::error::{MemoryError, check_name, check_value};
use crate::hazelcast::{Hazelcast, HazelcastConfig};
use crate::request::{Reply, Request, Write};
use crate::watch::Watch;

/// Which memory to use (`memory:` of a config).
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "backend", rename_all = "lowercase")]
pub enum MemoryConfig {
    /// A file on this machine.
    Embedded(EmbeddedConfig),
    /// A Hazelcast 5.x cluster.
    Hazelcast(HazelcastConfig),
}

/// How memory is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Does somebody answer?
    pub connected: bool,
    /// Who, or why not.
    pub detail: String,
}

/// System memory: maps of text by key. Cheap to clone; the last clone dropped closes the connection.
#[derive(Debug, Clone)]
pub struct SystemMemory {
    backend: Backend,
}

#[derive(Debug, Clone)]
enum Backend {
    Embedded(Embedded),
    Hazelcast(Hazelcast),
}

impl SystemMemory {
    /// Starts the backend, on the present tokio runtime. It fails only on a configuration that can never work:
    /// an unreachable memory is reached later, in the background.
    pub fn open(config: MemoryConfig) -> Result<Self, MemoryError> {
        let backend = match config {
            MemoryConfig::Embedded(config) => Backend::Embedded(Embedded::start(config)),
            MemoryConfig::Hazelcast(config) => Backend::Hazelcast(Hazelcast::start(config)?),
        };
        Ok(Self { backend })
    }

    /// How memory is doing.
    pub fn status(&self) -> Status {
        match &self.backend {
            Backend::Embedded(embedded) => embedded.status(),
            Backend::Hazelcast(hazelcast) => hazelcast.status(),
        }
    }

    /// Waits until memory answers; the error after `limit` says why it does not.
    pub async fn wait_ready(&self, limit: Duration) -> Result<(), MemoryError> {
        let ready = async {
            while !self.status().connected {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(limit, ready).await.map_err(|_| MemoryError::Away(self.status().detail))
    }

    /// The value of a key.
    pub async fn get(&self, map: &str, key: &str) -> Result<Option<String>, MemoryError> {
        check_name("map", map)?;
        check_name("key", key)?;
        match &self.backend {
            Backend::Embedded(embedded) => {
                let request = Request::Get { map: map.to_owned(), key: key.to_owned() };
                match embedded.call(request).await? {
                    Reply::Value(value) => Ok(value),
                    other => Err(unexpected(&other)),
                }
            }
            Backend::Hazelcast(hazelcast) => hazelcast.get(map, key).await,
        }
    }

    /// Sets the value of a key. When it returns, memory has it.
    pub async fn put(&self, map: &str, key: &str, value: &str) -> Result<(), MemoryError> {
        self.put_all(&[Write { map: map.to_owned(), key: key.to_owned(), value: value.to_owned() }]).await
    }

    /// Sets many values. After an error any part of them may have been set.
    pub async fn put_all(&self, writes: &[Write]) -> Result<(), MemoryError> {
        for write in writes {
            check_name("map", &write.map)?;
            check_name("key", &write.key)?;
            check_value(&write.map, &write.key, &write.value)?;
        }
        match &self.backend {
            Backend::Embedded(embedded) => {
                embedded.call(Request::PutAll { writes: writes.to_vec() }).await.map(|_| ())
            }
            Backend::Hazelcast(hazelcast) => hazelcast.set_all(writes).await,
        }
    }

    /// Removes a key, if it is there.
    pub async fn remove(&self, map: &str, key: &str) -> Result<(), MemoryError> {
        check_name("map", map)?;
        check_name("key", key)?;
        match &self.backend {
            Backend::Embedded(embedded) => {
                let request = Request::Remove { map: map.to_owned(), key: key.to_owned() };
                embedded.call(request).await.map(|_| ())
            }
            Backend::Hazelcast(hazelcast) => hazelcast.delete(map, key).await,
        }
    }

    /// The keys of a map, sorted. Keys that are no text are left out with a warning.
    pub async fn keys(&self, map: &str) -> Result<Vec<String>, MemoryError> {
        check_name("map", map)?;
        let mut keys = match &self.backend {
            Backend::Embedded(embedded) => {
                match embedded.call(Request::Keys { map: map.to_owned() }).await? {
                    Reply::Keys(keys) => keys,
                    other => return Err(unexpected(&other)),
                }
            }
            Backend::Hazelcast(hazelcast) => hazelcast.key_set(map).await?,
        };
        keys.sort_unstable();
        Ok(keys)
    }

    /// The keys and values of a map, sorted by key. What is no text is left out with a warning.
    pub async fn entries(&self, map: &str) -> Result<Vec<(String, String)>, MemoryError> {
        check_name("map", map)?;
        let mut entries = match &self.backend {
            Backend::Embedded(embedded) => {
                match embedded.call(Request::Entries { map: map.to_owned() }).await? {
                    Reply::Entries(entries) => entries,
                    other => return Err(unexpected(&other)),
                }
            }
            Backend::Hazelcast(hazelcast) => hazelcast.entry_set(map).await?,
        };
        entries.sort_unstable();
        Ok(entries)
    }

    /// Sets a key if its value is `expected` (`None`: if it is not there); says whether it did.
    pub async fn compare_and_set(
        &self,
        map: &str,
        key: &str,
        expected: Option<&str>,
        new: &str,
    ) -> Result<bool, MemoryError> {
        check_name("map", map)?;
        check_name("key", key)?;
        check_value(map, key, new)?;
        match &self.backend {
            Backend::Embedded(embedded) => {
                let request = Request::CompareAndSet {
                    map: map.to_owned(),
                    key: key.to_owned(),
                    expected: expected.map(str::to_owned),
                    new: new.to_owned(),
                };
                match embedded.call(request).await? {
                    Reply::Swapped(swapped) => Ok(swapped),
                    other => Err(unexpected(&other)),
                }
            }
            Backend::Hazelcast(hazelcast) => hazelcast.compare_and_set(map, key, expected, new).await,
        }
    }

    /// Follows a key, or a whole map: the current values first, then every change, through outages.
    pub fn watch(&self, map: &str, key: Option<&str>) -> Result<Watch, MemoryError> {
        check_name("map", map)?;
        key.map_or(Ok(()), |key| check_name("key", key))?;
        let sink = match &self.backend {
            Backend::Embedded(embedded) => embedded.watch(map, key),
            Backend::Hazelcast(hazelcast) => hazelcast.watch(map, key),
        };
        Ok(Watch::new(sink, self.clone()))
    }

    /// The value of a CP atomic reference where the member offers it and it is set, else of `map[key]`.
    pub async fn get_reference(
        &self,
        name: &str,
        map: &str,
        key: &str,
    ) -> Result<Option<String>, MemoryError> {
        check_name("atomic reference", name)?;
        if let Backend::Hazelcast(hazelcast) = &self.backend
            && let Some(value) = hazelcast.reference_get(name).await?
        {
            return Ok(Some(value));
        }
        self.get(map, key).await
    }

    /// Sets `map[key]`, and the CP atomic reference where the member offers it: the two must not drift apart.
    pub async fn set_reference(
        &self,
        name: &str,
        map: &str,
        key: &str,
        value: &str,
    ) -> Result<(), MemoryError> {
        check_name("atomic reference", name)?;
        self.put(map, key, value).await?;
        match &self.backend {
            Backend::Hazelcast(hazelcast) => hazelcast.reference_set(name, value).await,
            Backend::Embedded(_) => Ok(()),
        }
    }
}

fn unexpected(reply: &Reply) -> MemoryError {
    let what = match reply {
        Reply::Value(_) => "a value",
        Reply::Done => "done",
        Reply::Keys(_) => "keys",
        Reply::Entries(_) => "entries",
        Reply::Swapped(_) => "a swap",
    };
    MemoryError::Away(format!(
        "the owner of the store answered {what} to another question: is it another version?"
    ))
}
