//! The tasks that keep the client connected: a *keeper* for every known address, and the *leader* that sees to it that
//! every member has one and that the primary connection carries the view and the listeners.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use runtime::environment::Spawner;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::cluster::{Admission, Cluster, call};
use super::codec;
use super::connection::{Connection, Failure, join};
use super::listener::{self, Registered};

/// First and longest pause between attempts to reach an address.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Keeps a connection to one address for as long as anybody wants it.
async fn keep(cluster: Arc<Cluster>, address: String) {
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
    cluster.forget_failure(&address);
}

/// A keeper's task, which ends with it.
struct Keeper(JoinHandle<()>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Keeper {
    /// Waits for its end; gives the address back.
    async fn ended(mut self, address: String) -> String {
        if let Err(error) = (&mut self.0).await {
            tracing::error!(%error, "a task of the Hazelcast client ended");
        }
        address
    }
}

/// The leader task.
pub(super) async fn lead(cluster: Arc<Cluster>, spawner: Arc<dyn Spawner>) {
    let mut changes = cluster.changes();
    let mut keepers = FuturesUnordered::<BoxFuture<'static, String>>::new();
    let mut kept = BTreeSet::new();
    let mut registered = Registered::default();
    let mut outage = Outage::default();
    loop {
        for address in cluster.wanted() {
            if kept.insert(address.clone()) {
                let run = Box::pin(keep(Arc::clone(&cluster), address.clone()));
                let keeper = Keeper(spawner.spawn("hazelcast-member", run));
                keepers.push(Box::pin(keeper.ended(address)));
            }
        }
        outage.log(&cluster);
        let mut unfinished = false;
        if let Some(primary) = cluster.primary() {
            unfinished = !follow_view(&cluster, &primary, &mut registered).await
                || !listener::register_missing(&cluster, &primary, &mut registered).await;
        }
        tokio::select! {
            biased;
            Some(address) = keepers.next(), if !keepers.is_empty() => {
                kept.remove(&address);
            }
            _ = changes.changed() => {}
            () = cluster.registry.wake.notified() => {}
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
    cluster.expect_view();
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
                let something_failed = cluster.has_failures();
                if something_failed && !self.logged {
                    tracing::warn!("{reason}; trying on in the background");
                    self.logged = true;
                }
                self.was_connected = false;
            }
        }
    }
}
