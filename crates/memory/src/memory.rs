//! The one interface.

use std::sync::Arc;
use std::time::Duration;

use runtime::environment::Spawner;
use serde::Deserialize;

use crate::backend::{Backend, Status};
use crate::embedded::{Embedded, EmbeddedConfig};
use crate::environment::{LockGuard, MemoryEnvironment};
use crate::error::{MemoryError, check_name, check_value};
use crate::fence::{Fence, stamp};
use crate::hazelcast::{Hazelcast, HazelcastConfig};
use crate::request::{Reply, Request, Write};
use crate::schema::{FromMemory, Reading, SAFETY, SAFETY_LATEST, SAFETY_REFERENCE, Safety, SchemaError};
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

/// System memory: maps of text by key. Cheap to clone; the last clone dropped closes the connection.
#[derive(Debug, Clone)]
pub struct SystemMemory {
    backend: Arc<dyn Backend>,
    spawner: Arc<dyn Spawner>,
}

impl SystemMemory {
    /// Starts the backend, on the present tokio runtime. It fails only on a configuration that can never work:
    /// an unreachable memory is reached later, in the background.
    pub fn open(config: MemoryConfig, environment: &MemoryEnvironment) -> Result<Self, MemoryError> {
        let backend: Arc<dyn Backend> = match config {
            MemoryConfig::Embedded(config) => Arc::new(Embedded::start(config, environment)),
            MemoryConfig::Hazelcast(config) => {
                Arc::new(Hazelcast::start(config, Arc::clone(&environment.spawner))?)
            }
        };
        Ok(Self::with_backend(backend, Arc::clone(&environment.spawner)))
    }

    /// A memory of any kind.
    pub fn with_backend(backend: Arc<dyn Backend>, spawner: Arc<dyn Spawner>) -> Self {
        Self { backend, spawner }
    }

    /// Who starts the tasks that stand on this memory.
    pub(crate) fn spawner(&self) -> &dyn Spawner {
        &*self.spawner
    }

    /// Closes memory, for every clone of it: the file of an embedded store is complete and free then, and a copy of it
    /// was made. At most `limit` is waited; what is dropped without it is safe, too, but leaves no copy. Write-behind has to
    /// be flushed before.
    pub async fn close(&self, limit: Duration) {
        // Nothing is lost by a close that takes too long: the store is consistent at any time.
        tokio::time::timeout(limit, self.backend.close()).await.ok();
    }

    /// [`Backend::lock`].
    pub(crate) async fn lock(&self, name: &str) -> Option<LockGuard> {
        self.backend.lock(name).await
    }

    /// How memory is doing.
    pub fn status(&self) -> Status {
        self.backend.status()
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
        check_place(map, key)?;
        match self.backend.call(Request::Get { map: map.to_owned(), key: key.to_owned() }).await? {
            Reply::Value(value) => Ok(value),
            other => Err(unexpected(&other)),
        }
    }

    /// What stands under a key of the schema.
    pub async fn read<T: FromMemory>(&self, map: &str, key: &str) -> Result<Reading<T>, MemoryError> {
        reading(self.get(map, key).await)
    }

    /// What the survival stack says (SPEC §4.2): the CP atomic reference where there is one, else the map.
    pub async fn read_safety(&self) -> Result<Reading<Safety>, MemoryError> {
        reading(self.get_reference(SAFETY_REFERENCE, SAFETY, SAFETY_LATEST).await)
    }

    /// Sets the value of a key. When it returns, memory has it.
    pub async fn put(&self, map: &str, key: &str, value: &str) -> Result<(), MemoryError> {
        self.put_all(&[Write { map: map.to_owned(), key: key.to_owned(), value: value.to_owned() }]).await
    }

    /// Sets many values. After an error any part of them may have been set.
    pub async fn put_all(&self, writes: &[Write]) -> Result<(), MemoryError> {
        for write in writes {
            check_place(&write.map, &write.key)?;
            check_value(&write.map, &write.key, &write.value)?;
        }
        self.backend.call(Request::PutAll { writes: writes.to_vec(), fence: None }).await.map(|_| ())
    }

    /// Sets many values, each a JSON object, under a lease: they carry its fence, and are refused with
    /// [`MemoryError::Fenced`] once a larger one is known. After an error any part of them may have been set.
    pub async fn put_all_fenced(&self, writes: &[Write], fence: &Fence) -> Result<(), MemoryError> {
        check_name("lease", &fence.lease)?;
        let mut stamped = Vec::with_capacity(writes.len());
        for Write { map, key, value } in writes {
            check_place(map, key)?;
            let value = stamp(value, fence.number).ok_or_else(|| {
                MemoryError::Invalid(format!(
                    "{map}[{key}] is to be written under a lease, and is no JSON object that could carry its fence"
                ))
            })?;
            check_value(map, key, &value)?;
            stamped.push(Write { map: map.clone(), key: key.clone(), value });
        }
        self.backend.call(Request::PutAll { writes: stamped, fence: Some(fence.clone()) }).await.map(|_| ())
    }

    /// The value of a key, read by the new holder of a lease: from now on nobody with a smaller fence can change it.
    /// A value that is no JSON object, or a key that is not there, is only read. [`MemoryError::Fenced`] if the value
    /// carries a larger fence.
    pub async fn claim(&self, map: &str, key: &str, fence: &Fence) -> Result<Option<String>, MemoryError> {
        check_place(map, key)?;
        check_name("lease", &fence.lease)?;
        let request = Request::Claim { map: map.to_owned(), key: key.to_owned(), fence: fence.clone() };
        match self.backend.call(request).await? {
            Reply::Value(value) => Ok(value),
            other => Err(unexpected(&other)),
        }
    }

    /// Removes a key, if it is there.
    pub async fn remove(&self, map: &str, key: &str) -> Result<(), MemoryError> {
        check_place(map, key)?;
        self.backend.call(Request::Remove { map: map.to_owned(), key: key.to_owned() }).await.map(|_| ())
    }

    /// The keys of a map, sorted. Keys that are no text are left out with a warning.
    pub async fn keys(&self, map: &str) -> Result<Vec<String>, MemoryError> {
        check_name("map", map)?;
        match self.backend.call(Request::Keys { map: map.to_owned() }).await? {
            Reply::Keys(mut keys) => {
                keys.sort_unstable();
                Ok(keys)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// The keys and values of a map, sorted by key. What is no text is left out with a warning.
    pub async fn entries(&self, map: &str) -> Result<Vec<(String, String)>, MemoryError> {
        check_name("map", map)?;
        match self.backend.call(Request::Entries { map: map.to_owned() }).await? {
            Reply::Entries(mut entries) => {
                entries.sort_unstable();
                Ok(entries)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Sets a key if its value is `expected` (`None`: if it is not there); says whether it did.
    pub async fn compare_and_set(
        &self,
        map: &str,
        key: &str,
        expected: Option<&str>,
        new: &str,
    ) -> Result<bool, MemoryError> {
        check_place(map, key)?;
        check_value(map, key, new)?;
        let request = Request::CompareAndSet {
            map: map.to_owned(),
            key: key.to_owned(),
            expected: expected.map(str::to_owned),
            new: new.to_owned(),
        };
        match self.backend.call(request).await? {
            Reply::Swapped(swapped) => Ok(swapped),
            other => Err(unexpected(&other)),
        }
    }

    /// Follows a key, or a whole map: the current values first, then every change, through outages.
    pub fn watch(&self, map: &str, key: Option<&str>) -> Result<Watch, MemoryError> {
        check_name("map", map)?;
        key.map_or(Ok(()), |key| check_name("key", key))?;
        Ok(Watch::new(self.backend.watch(map, key), Arc::clone(&self.backend)))
    }

    /// The value of a CP atomic reference where the member offers it and it is set, else of `map[key]`.
    pub async fn get_reference(
        &self,
        name: &str,
        map: &str,
        key: &str,
    ) -> Result<Option<String>, MemoryError> {
        check_name("atomic reference", name)?;
        match self.backend.reference(name).await? {
            Some(value) => Ok(Some(value)),
            None => self.get(map, key).await,
        }
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
        self.backend.set_reference(name, value).await
    }
}

/// A value that is no text is there, and makes no sense.
fn reading<T: FromMemory>(found: Result<Option<String>, MemoryError>) -> Result<Reading<T>, MemoryError> {
    match found {
        Ok(text) => Ok(Reading::of(text.as_deref())),
        Err(error @ MemoryError::NotText { .. }) => {
            Ok(Reading::Unreadable(SchemaError { kind: T::KIND, reason: error.to_string() }))
        }
        Err(error) => Err(error),
    }
}

fn check_place(map: &str, key: &str) -> Result<(), MemoryError> {
    check_name("map", map).and_then(|()| check_name("key", key))
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
