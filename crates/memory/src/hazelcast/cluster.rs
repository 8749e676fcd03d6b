//! What is known of the cluster.
//!
//! For every known address a *keeper* connects, authenticates, serves the connection until it breaks, and tries
//! again (`leader`). One connection, the oldest (the *primary*), carries the view of the cluster and all entry
//! listeners: a member reports the changes of the whole cluster, so one registration is enough, and when its connection
//! is lost everything is registered anew on the next.
//! Requests go to the owner of the key's partition where there is a connection to it; any other member forwards them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::codec::{self, Member, Partitions, RaftGroup, Request, Welcome, kind};
use super::connection::{Connection, Failure, NoAnswer};
use super::data::partition;
use super::endpoint::Endpoint;
use super::frame::{Message, Uuid};
use crate::sink::Registry;

/// Most members followed.
const MAX_MEMBERS: usize = 64;
/// Most partitions a member may announce.
const MAX_PARTITIONS: i32 = 100_000;

/// What the member said about its CP subsystem.
#[derive(Debug, Default)]
pub(super) enum Cp {
    /// Groups of the references used so far.
    Groups(BTreeMap<String, RaftGroup>),
    /// Nothing yet.
    #[default]
    Unknown,
    /// Not in this edition.
    Unsupported,
}

#[derive(Default)]
pub(super) struct State {
    connections: BTreeMap<Uuid, Arc<Connection>>,
    cluster: Option<Uuid>,
    partitions: i32,
    owners: Vec<Option<Uuid>>,
    view_versions: (i32, i32),
    members: Vec<Member>,
    failures: BTreeMap<String, Failure>,
    pub(super) cp: Cp,
}

pub(super) struct Cluster {
    pub(super) endpoint: Endpoint,
    pub(super) correlations: AtomicI64,
    connection_ids: AtomicU64,
    state: Mutex<State>,
    /// Counts changes of the set of connections and of the view.
    changed: watch::Sender<u64>,
    pub(super) registry: Registry,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("name", &self.endpoint.config.cluster_name).finish_non_exhaustive()
    }
}

impl Cluster {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            correlations: AtomicI64::new(1),
            connection_ids: AtomicU64::new(1),
            state: Mutex::default(),
            changed: watch::Sender::new(0),
            registry: Registry::default(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bump(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn next_correlation(&self) -> i64 {
        self.correlations.fetch_add(1, Ordering::Relaxed)
    }

    /// The connection for a key's partition, or for anything, and the partition.
    pub(super) fn route(&self, key: Option<&[u8]>) -> Option<(Arc<Connection>, i32)> {
        let state = self.state();
        let any = || state.connections.values().min_by_key(|connection| connection.id);
        let Some(key) = key else { return any().map(|connection| (Arc::clone(connection), -1)) };
        let partition = partition(key, state.partitions);
        let owner = usize::try_from(partition).ok().and_then(|at| *state.owners.get(at)?);
        let connection = owner.and_then(|owner| state.connections.get(&owner)).or_else(any)?;
        Some((Arc::clone(connection), partition))
    }

    /// Who answers; or why nobody does, and whether everybody refuses.
    pub(super) fn describe(&self) -> Result<String, (String, bool)> {
        let state = self.state();
        let name = &self.endpoint.config.cluster_name;
        if !state.connections.is_empty() {
            let (connected, members) = (state.connections.len(), state.members.len().max(1));
            return Ok(format!("Hazelcast cluster `{name}`, connected to {connected} of {members} members"));
        }
        let failures: Vec<String> = state
            .failures
            .iter()
            .map(|(address, failure)| format!("{address}: {}", failure.reason))
            .collect();
        let refused = !state.failures.is_empty() && state.failures.values().all(|failure| failure.refused);
        if failures.is_empty() {
            return Err((format!("Hazelcast cluster `{name}` is being connected to"), false));
        }
        Err((format!("Hazelcast cluster `{name}` does not answer ({})", failures.join("; ")), refused))
    }

    pub(super) fn wanted(&self) -> BTreeSet<String> {
        let state = self.state();
        let learned = state.members.iter().map(|member| {
            if member.host.contains(':') {
                format!("[{}]:{}", member.host, member.port)
            } else {
                format!("{}:{}", member.host, member.port)
            }
        });
        self.endpoint.config.members.iter().cloned().chain(learned).collect()
    }

    pub(super) fn failed(&self, address: &str, failure: Failure) {
        tracing::debug!(address, reason = failure.reason, "a Hazelcast member cannot be joined");
        self.state().failures.insert(address.to_owned(), failure);
        self.bump();
    }

    /// Members in the view that the cluster gave last; 0: it has given none yet.
    pub(super) fn members(&self) -> usize {
        self.state().members.len()
    }

    pub(super) fn forget_failure(&self, address: &str) {
        self.state().failures.remove(address);
    }

    pub(super) fn has_failures(&self) -> bool {
        !self.state().failures.is_empty()
    }

    /// Any version of the view is news: versions count from anew on another connection, as the cluster may have been
    /// restarted.
    pub(super) fn expect_view(&self) {
        self.state().view_versions = (i32::MIN, i32::MIN);
    }

    pub(super) fn primary(&self) -> Option<Arc<Connection>> {
        self.route(None).map(|(connection, _)| connection)
    }
}

/// What becomes of a fresh connection.
pub(super) enum Admission {
    Welcome(Arc<Connection>, tokio::sync::mpsc::Receiver<Vec<u8>>),
    /// There is one to this member already, under another address.
    Duplicate(Arc<Connection>),
    Refused(String),
}

impl Cluster {
    pub(super) fn admit(&self, address: &str, welcome: &Welcome) -> Admission {
        let Some(member) = welcome.member else {
            return Admission::Refused("the member has no id".to_owned());
        };
        if !(1..=MAX_PARTITIONS).contains(&welcome.partitions) {
            return Admission::Refused(format!("the member announces {} partitions", welcome.partitions));
        }
        let mut state = self.state();
        if let Some(existing) = state.connections.get(&member) {
            return Admission::Duplicate(Arc::clone(existing));
        }
        if state.cluster != welcome.cluster {
            if !state.connections.is_empty() {
                return Admission::Refused(
                    "the member belongs to another cluster of the same name".to_owned(),
                );
            }
            if state.cluster.is_some() {
                tracing::warn!("the Hazelcast cluster was restarted: what it held is gone");
            }
            state.owners.clear();
            state.cp = Cp::Unknown;
            state.cluster = welcome.cluster;
        }
        state.partitions = welcome.partitions;
        let id = self.connection_ids.fetch_add(1, Ordering::Relaxed);
        let (connection, queue) = Connection::new(id, member, address);
        state.connections.insert(member, Arc::clone(&connection));
        state.failures.remove(address);
        drop(state);
        tracing::debug!(address, version = welcome.server_version, %member, "joined a Hazelcast member");
        self.bump();
        Admission::Welcome(connection, queue)
    }

    pub(super) fn dismiss(&self, connection: &Connection, reason: String) {
        let mut state = self.state();
        if state.connections.get(&connection.member).is_some_and(|present| present.id == connection.id) {
            state.connections.remove(&connection.member);
        }
        state.failures.insert(connection.address.clone(), Failure::from(reason));
        drop(state);
        self.bump();
    }

    /// Takes a view event; older versions than the one known are ignored.
    pub(super) fn take_view(&self, message: &Message) {
        let taken = match message.kind() {
            kind::MEMBERS_VIEW => codec::read_members_view(message).map(|view| self.take_members(view)),
            kind::PARTITIONS_VIEW => {
                codec::read_partitions_view(message).map(|view| self.take_partitions(view))
            }
            _ => return, // newer members have more to say
        };
        if let Err(error) = taken {
            tracing::warn!(%error, "a view of the cluster cannot be read; requests go by way of any member");
        }
    }

    fn take_members(&self, (version, mut members): (i32, Vec<Member>)) {
        members.truncate(MAX_MEMBERS);
        let mut state = self.state();
        if version < state.view_versions.0 {
            return;
        }
        state.view_versions.0 = version;
        state.members = members;
        drop(state);
        self.bump();
    }

    fn take_partitions(&self, (version, table): (i32, Partitions)) {
        let mut state = self.state();
        if version < state.view_versions.1 {
            return;
        }
        state.view_versions.1 = version;
        let mut owners = vec![None; usize::try_from(state.partitions).unwrap_or_default()];
        for (owner, partitions) in table {
            for partition in partitions {
                if let Some(cell) = usize::try_from(partition).ok().and_then(|at| owners.get_mut(at)) {
                    *cell = Some(owner);
                }
            }
        }
        state.owners = owners;
    }
}

/// A call on one particular connection, with a time limit and without retries. A member that does not answer in time
/// is given up: what has to be registered there goes to another.
pub(super) async fn call(
    cluster: &Cluster,
    connection: &Connection,
    request: &Request,
    correlation: i64,
) -> Result<Message, String> {
    let limit = cluster.endpoint.config.invocation_timeout();
    let message = match tokio::time::timeout(limit, connection.call(request, correlation)).await {
        Ok(Ok(message)) => message,
        Ok(Err(NoAnswer::NotSent | NoAnswer::Lost)) => return Err("the connection broke".to_owned()),
        Err(_) => {
            let reason = format!("no answer to `{}` within {limit:?}", request.name);
            connection.close(&reason);
            return Err(reason);
        }
    };
    if message.kind() == kind::ERROR {
        return Err(codec::read_error(&message).map_or_else(|e| e.to_string(), |e| e.to_string()));
    }
    Ok(message)
}
