//! Operations on the cluster, with their retries.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, join_all};
use runtime::environment::{Entropy, Spawner};
use tokio::task::AbortHandle;
use tokio::time::{Duration, Instant, sleep, timeout_at};

use super::cluster::{Cluster, Cp};
use super::codec::{self, MemberError, RaftGroup, Request, error_code, kind};
use super::config::HazelcastConfig;
use super::connection::{Connection, NoAnswer};
use super::data::{to_data, to_text};
use super::endpoint::Endpoint;
use super::frame::{Message, ProtocolError, Uuid};
use super::leader::lead;
use super::texts::{entry_texts, text_or_warning};
use super::written::Written;
use crate::backend::{Backend, Status};
use crate::error::MemoryError;
use crate::request::{Answer, Reply, Request as Asked, Write};
use crate::schema::{CONTROL, LEASES};
use crate::sink::Sink;

/// Sets under way at a time.
pub(super) const PIPELINE: usize = 256;
/// Pause before a retry, times the number of retries so far.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug)]
struct Handle {
    cluster: Arc<Cluster>,
    leader: AbortHandle,
    written: Mutex<Written>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.leader.abort();
    }
}

/// A handle on the cluster; dropping it disconnects.
#[derive(Debug)]
pub(crate) struct Hazelcast(Handle);

impl Hazelcast {
    /// Starts connecting, in the background. Needs a tokio runtime.
    pub(crate) fn start(config: HazelcastConfig, spawner: Arc<dyn Spawner>) -> Result<Self, MemoryError> {
        config.check()?;
        let tls = match &config.tls {
            Some(tls) => Some((tls.connector()?, tls.clone())),
            None => None,
        };
        let cluster = Arc::new(Cluster::new(Endpoint { config, tls, client: random_id() }));
        let run = lead(Arc::clone(&cluster), Arc::clone(&spawner));
        let leader = spawner.spawn("hazelcast-leader", Box::pin(run)).abort_handle();
        Ok(Self(Handle { cluster, leader, written: Mutex::default() }))
    }

    fn cluster(&self) -> &Cluster {
        &self.0.cluster
    }

    /// What was written under a lease.
    pub(super) fn written(&self) -> MutexGuard<'_, Written> {
        self.0.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Longest operation, with its retries.
    pub(super) fn limit(&self) -> Duration {
        self.cluster().endpoint.config.invocation_timeout()
    }

    async fn carry_out(&self, request: Asked) -> Answer {
        let agreement = is_agreement(&request);
        if agreement {
            self.enough_members()?;
        }
        let name = request.name();
        let answer = self.ask(request).await?;
        // It may have been answered by a side that had just lost the others.
        if agreement && self.enough_members().is_err() {
            return Err(MemoryError::Ambiguous(name));
        }
        Ok(answer)
    }

    /// Are so many members there that no other side of a split can have as many?
    fn enough_members(&self) -> Result<(), MemoryError> {
        let (members, least) = (self.cluster().members(), self.cluster().endpoint.config.minimum_members);
        if least <= 1 || members >= least {
            return Ok(());
        }
        Err(MemoryError::Away(format!(
            "the cluster has {members} members of at least {least}: this may be the smaller side of a split, which agrees to nothing"
        )))
    }

    async fn ask(&self, request: Asked) -> Answer {
        Ok(match request {
            Asked::Get { map, key } => Reply::Value(self.get(&map, &key).await?),
            Asked::PutAll { writes, fence: None } => {
                self.set_all(&writes).await?;
                Reply::Done
            }
            Asked::PutAll { writes, fence: Some(fence) } => {
                self.set_all_fenced(&writes, &fence).await?;
                Reply::Done
            }
            Asked::Claim { map, key, fence } => Reply::Value(self.claim(&map, &key, &fence).await?),
            Asked::Remove { map, key } => {
                self.delete(&map, &key).await?;
                Reply::Done
            }
            Asked::Keys { map } => Reply::Keys(self.key_set(&map).await?),
            Asked::Entries { map } => Reply::Entries(self.entry_set(&map).await?),
            Asked::CompareAndSet { map, key, expected, new } => {
                Reply::Swapped(self.compare_and_set(&map, &key, expected.as_deref(), &new).await?)
            }
        })
    }

    pub(super) async fn get(&self, map: &str, key: &str) -> Result<Option<String>, MemoryError> {
        let data = to_data(key);
        let answer = self.invoke(Some(&data), |partition| codec::map_get(map, &data, partition)).await?;
        let Some(value) = codec::read_value(&answer).map_err(garbled)? else { return Ok(None) };
        to_text(value).map_err(|found| MemoryError::NotText {
            map: map.to_owned(),
            key: key.to_owned(),
            found,
        })
    }

    /// Sets of different keys are under way at the same time; they are sent in order.
    async fn set_all(&self, writes: &[Write]) -> Result<(), MemoryError> {
        for part in writes.chunks(PIPELINE) {
            let sets = join_all(part.iter().map(|write| self.set(write))).await;
            sets.into_iter().collect::<Result<(), _>>()?;
        }
        Ok(())
    }

    async fn set(&self, write: &Write) -> Result<(), MemoryError> {
        let (key, value) = (to_data(&write.key), to_data(&write.value));
        self.invoke(Some(&key), |partition| codec::map_set(&write.map, &key, &value, partition))
            .await
            .map(|_| ())
    }

    async fn delete(&self, map: &str, key: &str) -> Result<(), MemoryError> {
        let key = to_data(key);
        self.invoke(Some(&key), |partition| codec::map_delete(map, &key, partition)).await.map(|_| ())
    }

    async fn key_set(&self, map: &str) -> Result<Vec<String>, MemoryError> {
        let answer = self.invoke(None, |_| codec::map_key_set(map)).await?;
        let keys = codec::read_list(&answer).map_err(garbled)?;
        Ok(keys.into_iter().filter_map(|key| text_or_warning(map, None, key)).collect())
    }

    async fn entry_set(&self, map: &str) -> Result<Vec<(String, String)>, MemoryError> {
        let answer = self.invoke(None, |_| codec::map_entry_set(map)).await?;
        entry_texts(map, &answer).map_err(garbled)
    }

    async fn compare_and_set(
        &self,
        map: &str,
        key: &str,
        expected: Option<&str>,
        new: &str,
    ) -> Result<bool, MemoryError> {
        let expected = expected.map(to_data);
        self.swap(map, &to_data(key), expected.as_deref(), &to_data(new)).await
    }

    /// Sets a key if its value is the expected one (`None`: if it is not there).
    pub(super) async fn swap(
        &self,
        map: &str,
        key: &[u8],
        expected: Option<&[u8]>,
        new: &[u8],
    ) -> Result<bool, MemoryError> {
        let answer = self
            .invoke(Some(key), |partition| match expected {
                Some(old) => codec::map_replace_if_same(map, key, old, new, partition),
                None => codec::map_put_if_absent(map, key, new, partition),
            })
            .await?;
        match expected {
            Some(_) => codec::read_bool(&answer).map_err(garbled),
            None => Ok(codec::read_value(&answer).map_err(garbled)?.is_none()),
        }
    }

    /// The value of a CP atomic reference; `None` where there is no such thing, or nothing in it. A CP subsystem in
    /// trouble counts as none: the caller has a map to fall back on.
    async fn reference_get(&self, name: &str) -> Result<Option<String>, MemoryError> {
        let read = async {
            let Some(group) = self.cp_group(name).await? else { return Ok(None) };
            let answer = self.invoke(None, |_| codec::reference_get(&group, object_name(name))).await?;
            let Some(value) = codec::read_value(&answer).map_err(garbled)? else { return Ok(None) };
            to_text(value).map_err(|found| MemoryError::NotText { map: "CP".into(), key: name.into(), found })
        };
        match read.await {
            // It is there, and what it is matters to whoever asks.
            Err(error @ MemoryError::NotText { .. }) => Err(error),
            Err(error) if self.cluster().describe().is_ok() => {
                tracing::warn!(reference = name, %error, "the CP subsystem failed, the map counts");
                self.cluster().state().cp = Cp::Unknown;
                Ok(None)
            }
            result => result,
        }
    }

    /// Sets a CP atomic reference, where there is such a thing.
    async fn reference_set(&self, name: &str, value: &str) -> Result<(), MemoryError> {
        let Some(group) = self.cp_group(name).await? else { return Ok(()) };
        let data = to_data(value);
        let set = self.invoke(None, |_| codec::reference_set(&group, object_name(name), Some(&data))).await;
        if set.is_err() {
            self.cluster().state().cp = Cp::Unknown;
        }
        set.map(|_| ())
    }

    /// The group of a reference, asked for once per cluster: with real CP members every question is a commit.
    async fn cp_group(&self, name: &str) -> Result<Option<RaftGroup>, MemoryError> {
        match &self.cluster().state().cp {
            Cp::Unsupported => return Ok(None),
            Cp::Groups(groups) => {
                if let Some(group) = groups.get(name) {
                    return Ok(Some(group.clone()));
                }
            }
            Cp::Unknown => {}
        }
        let answer = self.attempt(None, |_| codec::create_cp_group(name)).await?;
        let answer = match answer {
            Ok(answer) => answer,
            Err((_, error)) if error.code == error_code::UNSUPPORTED => {
                tracing::info!("this Hazelcast edition has no CP subsystem: the maps count");
                self.cluster().state().cp = Cp::Unsupported;
                return Ok(None);
            }
            Err((name, error)) => return Err(refused(name, &error)),
        };
        let group = codec::read_raft_group(&answer).map_err(garbled)?;
        let mut state = self.cluster().state();
        if !matches!(state.cp, Cp::Groups(_)) {
            state.cp = Cp::Groups(Default::default());
        }
        if let Cp::Groups(groups) = &mut state.cp {
            groups.insert(name.to_owned(), group.clone());
        }
        Ok(Some(group))
    }

    /// Sends a request, wherever it belongs, until it is answered or the time is up.
    pub(super) async fn invoke(
        &self,
        key: Option<&[u8]>,
        build: impl Fn(i32) -> Request,
    ) -> Result<Message, MemoryError> {
        self.attempt(key, build).await?.map_err(|(name, error)| refused(name, &error))
    }

    /// The same, with the name of the request and the error of the member as it is.
    async fn attempt(
        &self,
        key: Option<&[u8]>,
        build: impl Fn(i32) -> Request,
    ) -> Result<Result<Message, (&'static str, MemberError)>, MemoryError> {
        let limit = self.limit();
        let deadline = Instant::now() + limit;
        let mut tries = 0u32;
        let mut last_error = None;
        loop {
            let (connection, partition) = self.connection(key, deadline).await?;
            let request = build(partition);
            let timed_out = |last_error: Option<MemberError>| match last_error {
                Some(error) => {
                    MemoryError::Away(format!("`{}` failed again and again: {error}", request.name))
                }
                None => MemoryError::Timeout { operation: request.name, limit },
            };
            let call = connection.call(&request, self.cluster().next_correlation());
            match timeout_at(deadline, call).await {
                Err(_) => return Err(timed_out(last_error)),
                Ok(Ok(answer)) if answer.kind() != kind::ERROR => return Ok(Ok(answer)),
                Ok(Ok(answer)) => {
                    let error = codec::read_error(&answer).map_err(garbled)?;
                    if !error_code::RETRYABLE.contains(&error.code) {
                        return Ok(Err((request.name, error)));
                    }
                    last_error = Some(error);
                }
                Ok(Err(NoAnswer::NotSent)) => {}
                Ok(Err(NoAnswer::Lost)) if request.idempotent => {}
                Ok(Err(NoAnswer::Lost)) => return Err(MemoryError::Ambiguous(request.name)),
            }
            tries += 1;
            let resume = Instant::now() + RETRY_PAUSE * tries.min(10);
            if resume >= deadline {
                return Err(timed_out(last_error));
            }
            sleep(resume - Instant::now()).await;
        }
    }

    /// A connection, waiting for one until the deadline; not at all when every member refuses.
    async fn connection(
        &self,
        key: Option<&[u8]>,
        deadline: Instant,
    ) -> Result<(Arc<Connection>, i32), MemoryError> {
        let mut changes = self.cluster().changes();
        loop {
            if let Some(route) = self.cluster().route(key) {
                return Ok(route);
            }
            if let Err((reason, true)) = self.cluster().describe() {
                return Err(MemoryError::Away(reason));
            }
            if timeout_at(deadline, changes.changed()).await.is_err() {
                let reason = self.cluster().describe().err().map_or_else(String::new, |(reason, _)| reason);
                return Err(MemoryError::Away(reason));
            }
        }
    }
}

impl Backend for Hazelcast {
    fn status(&self) -> Status {
        match self.cluster().describe() {
            Ok(detail) => Status { connected: true, detail },
            Err((detail, _)) => Status { connected: false, detail },
        }
    }

    fn call(&self, request: Asked) -> BoxFuture<'_, Answer> {
        Box::pin(self.carry_out(request))
    }

    fn watch(&self, map: &str, key: Option<&str>) -> Arc<Sink> {
        self.cluster().registry.add(map, key)
    }

    fn reference<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<String>, MemoryError>> {
        Box::pin(self.reference_get(name))
    }

    fn set_reference<'a>(&'a self, name: &'a str, value: &'a str) -> BoxFuture<'a, Result<(), MemoryError>> {
        Box::pin(self.reference_set(name, value))
    }
}

/// Does more hang on it than on a value that the next one replaces?
fn is_agreement(request: &Asked) -> bool {
    match request {
        Asked::CompareAndSet { map, .. } => map == LEASES || map == CONTROL,
        Asked::PutAll { fence, .. } => fence.is_some(),
        Asked::Claim { .. } => true,
        _ => false,
    }
}

/// `name` of `name@group`.
fn object_name(name: &str) -> &str {
    name.split('@').next().unwrap_or(name)
}

pub(super) fn garbled(error: ProtocolError) -> MemoryError {
    MemoryError::Away(error.to_string())
}

fn refused(operation: &'static str, error: &MemberError) -> MemoryError {
    // Members that want others beside them refuse until these are back (split-brain protection).
    if error.class.ends_with("SplitBrainProtectionException") {
        return MemoryError::Away(format!("`{operation}` is refused: {error}"));
    }
    MemoryError::Refused { operation, reason: error.to_string() }
}

/// An id for this client.
fn random_id() -> Uuid {
    let entropy = Entropy::system();
    let half = || entropy.next_u64().cast_signed();
    Uuid { high: half(), low: half() }
}
