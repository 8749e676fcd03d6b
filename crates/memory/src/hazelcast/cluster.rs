//! What is known of the cluster, and who keeps it so.
//!
//! For every known address a *keeper* connects, authenticates, serves the connection until it breaks, and tries
//! again. The *leader* task sees to it that every member has a keeper, and that one connection, the oldest (the
//! *primary*), carries the view of the cluster and all entry listeners: a member reports the changes of the whole
//! cluster, so one registration is enough, and when its connection is lost everything is registered anew on the next.
//! Requests go to the owner of the key's partition where there is a connection to it; any other member forwards them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Endpoint;
use super::codec::{self, Member, Partitions, RaftGroup, Request, Welcome, kind};
use super::connection::{Connection, Failure, NoAnswer, join};
use super::data::partition;
use super::frame::{Message, Uuid};
use super::listener::{self, Registered};
use crate::watch::Registry;

/// First and longest pause between attempts to reach an address.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Most members followed.
const MAX_MEMBERS: usize = 64;
/// Most partitions a member may announce.
const MAX_PARTITIONS: i32 = 100_000;

/// What the member said about its CP subsystem.
#[derive(Debug, Default)]
pub(super) enum Cp {
    /// Groups of the references used so far.
    Groups(HashMap<String, RaftGroup>),
    /// Nothing yet.
    #[default]
    Unknown,
    /// Not in this edition.
    Unsupported,
}

#[derive(Default)]
pub(super) struct State {
    connections: HashMap<Uuid, Arc<Connection>>,
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
    correlations: AtomicI64,
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

    fn wanted(&self) -> BTreeSet<String> {
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

    fn failed(&self, address: &str, failure: Failure) {
        tracing::debug!(address, reason = failure.reason, "a Hazelcast member cannot be joined");
        self.state().failures.insert(address.to_owned(), failure);
        self.bump();
    }

    fn primary(&self) -> Option<Arc<Connection>> {
        self.route(None).map(|(connection, _)| connection)
    }
}

/// What becomes of a fresh connection.
enum Admission {
    Welcome(Arc<Connection>, tokio::sync::mpsc::Receiver<Vec<u8>>),
    /// There is one to this member already, under another address.
    Duplicate(Arc<Connection>),
    Refused(String),
}

impl Cluster {
    fn admit(&self, address: &str, welcome: &Welcome) -> Admission {
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

    fn dismiss(&self, connection: &Connection, reason: String) {
        let mut state = self.state();
        if state.connections.get(&connection.member).is_some_and(|present| present.id == connection.id) {
            state.connections.remove(&connection.member);
        }
        state.failures.insert(connection.address.clone(), Failure::from(reason));
        drop(state);
        self.bump();
    }

    /// Takes a view event; older versions than the one known are ignored.
    fn take_view(&self, message: &Message) {
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

/// Keeps a connection to one address for as long as anybody wants it; returns the address.
async fn keep(cluster: Arc<Cluster>, address: String) -> String {
    let mut pause = BACKOFF.0;
    while cluster.wanted().contains(&address) {
        let correlation = cluster.next_correlation();
        match join(&cluster.endpoint, &address, correlation).await {
            Err(failure) => cluster.failed(&address, failure),
            Ok((stream, welcome)) => match cluster.admit(&address, &welcome) {
                Admission::Refused(reason) => cluster.failed(&address, Failure { reason, refused: true }),
                Admission::Duplicate(existing) => {
                    drop(stream);
                    existing.closed().await;
                }
                Admission::Welcome(connection, queue) => {
                    pause = BACKOFF.0;
                    let reason =
                        connection.run(stream, queue, &cluster.endpoint, &cluster.correlations).await;
                    tracing::debug!(address, reason, "lost a Hazelcast member");
                    cluster.dismiss(&connection, reason);
                }
            },
        }
        sleep(pause).await;
        pause = (pause * 2).min(BACKOFF.1);
    }
    cluster.state().failures.remove(&address);
    address
}

/// The leader task.
pub(super) async fn lead(cluster: Arc<Cluster>) {
    let mut changes = cluster.changes();
    let mut keepers: JoinSet<String> = JoinSet::new();
    let mut kept = BTreeSet::new();
    let mut registered = Registered::default();
    let mut outage = Outage::default();
    loop {
        while let Some(ended) = keepers.try_join_next() {
            match ended {
                Ok(address) => {
                    kept.remove(&address);
                }
                Err(error) => tracing::error!(%error, "a task of the Hazelcast client ended"),
            }
        }
        for address in cluster.wanted() {
            if kept.insert(address.clone()) {
                keepers.spawn(keep(Arc::clone(&cluster), address));
            }
        }
        outage.log(&cluster);
        let mut unfinished = false;
        if let Some(primary) = cluster.primary() {
            unfinished = !follow_view(&cluster, &primary, &mut registered).await
                || !listener::register_missing(&cluster, &primary, &mut registered).await;
        }
        tokio::select! {
            _ = changes.changed() => {}
            () = cluster.registry.wake.notified() => {}
            Some(ended) = keepers.join_next(), if !keepers.is_empty() => {
                if let Ok(address) = ended { kept.remove(&address); }
            }
            () = sleep(Duration::from_millis(300)), if unfinished => {}
        }
    }
}

/// Registers the view listener on the primary, once.
async fn follow_view(cluster: &Arc<Cluster>, primary: &Connection, registered: &mut Registered) -> bool {
    if registered.view_on == Some(primary.id) {
        return true;
    }
    let correlation = cluster.next_correlation();
    let weak = Arc::downgrade(cluster);
    // Versions count from anew on another connection: the cluster may have been restarted.
    cluster.state().view_versions = (i32::MIN, i32::MIN);
    primary.listen(
        correlation,
        Arc::new(move |message| {
            if let Some(cluster) = weak.upgrade() {
                cluster.take_view(message);
            }
        }),
    );
    match call(cluster, primary, &codec::add_cluster_view_listener(), correlation).await {
        Ok(_) => {
            registered.view_on = Some(primary.id);
            true
        }
        Err(reason) => {
            primary.unlisten(correlation);
            tracing::debug!(reason, "the view of the cluster is not followed yet");
            false
        }
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

/// One line when memory goes away, one when it is back.
#[derive(Default)]
struct Outage {
    was_connected: bool,
    logged: bool,
}

impl Outage {
    fn log(&mut self, cluster: &Cluster) {
        match cluster.describe() {
            Ok(description) => {
                if !self.was_connected {
                    tracing::info!("{description}");
                }
                (self.was_connected, self.logged) = (true, false);
            }
            Err((reason, _)) => {
                let something_failed = !cluster.state().failures.is_empty();
                if something_failed && !self.logged {
                    tracing::warn!("{reason}; trying on in the background");
                    self.logged = true;
                }
                self.was_connected = false;
            }
        }
    }
}
