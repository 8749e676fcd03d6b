//! Entry listeners on the primary connection.

use std::sync::{Arc, Weak};

use super::cluster::{Cluster, call};
use super::codec::{self, EntryEvent, event, kind};
use super::connection::{Connection, Handler};
use super::data::to_data;
use super::frame::{Message, Uuid};
use super::texts::{entry_texts, text_or_warning};
use crate::sink::{Sink, Target};

/// What is registered where.
#[derive(Default)]
pub(super) struct Registered {
    /// Connection that carries the cluster view.
    pub(super) view_on: Option<u64>,
    listeners: Vec<Listener>,
}

struct Listener {
    connection: u64,
    correlation: i64,
    map: String,
    registration: Uuid,
    sink: Weak<Sink>,
}

/// Registers on the primary what is not registered there yet, takes back what nobody reads any more; says whether
/// that worked.
pub(super) async fn register_missing(
    cluster: &Arc<Cluster>,
    primary: &Connection,
    registered: &mut Registered,
) -> bool {
    registered.listeners.retain(|listener| listener.connection == primary.id);
    let (live, dead) = std::mem::take(&mut registered.listeners)
        .into_iter()
        .partition(|listener| listener.sink.upgrade().is_some_and(|sink| !sink.is_closed()));
    registered.listeners = live;
    for Listener { correlation, map, registration, .. } in dead {
        primary.unlisten(correlation);
        let removal = codec::remove_listener(&map, registration);
        if let Err(reason) = call(cluster, primary, &removal, cluster.next_correlation()).await {
            tracing::debug!(map, reason, "a listener was not taken back");
        }
    }
    let mut all = true;
    for (target, sink) in cluster.registry.missing(primary.id) {
        match register(cluster, primary, &target, &sink).await {
            Ok(listener) => {
                registered.listeners.push(listener);
                cluster.registry.registered(&sink, primary.id);
            }
            Err(reason) => {
                all = false;
                tracing::debug!(map = target.map, reason, "a listener is not registered yet");
            }
        }
    }
    all
}

async fn register(
    cluster: &Arc<Cluster>,
    primary: &Connection,
    target: &Target,
    sink: &Arc<Sink>,
) -> Result<Listener, String> {
    let correlation = cluster.next_correlation();
    let request = match &target.key {
        Some(key) => codec::add_key_listener(&target.map, &to_data(key), event::ALL),
        None => codec::add_map_listener(&target.map, event::ALL),
    };
    sink.begin();
    primary.listen(correlation, handler(target, sink));
    let entries = async {
        let answer = call(cluster, primary, &request, correlation).await?;
        let registration = codec::read_registration(&answer).map_err(|e| e.to_string())?;
        Ok::<_, String>((registration, current(cluster, primary, target).await?))
    };
    match entries.await {
        Ok((registration, entries)) => {
            sink.resync(entries);
            let (map, sink) = (target.map.clone(), Arc::downgrade(sink));
            Ok(Listener { connection: primary.id, correlation, map, registration, sink })
        }
        Err(reason) => {
            primary.unlisten(correlation);
            Err(reason)
        }
    }
}

/// The present values of what is watched.
async fn current(
    cluster: &Cluster,
    primary: &Connection,
    target: &Target,
) -> Result<Vec<(String, String)>, String> {
    match &target.key {
        Some(key) => {
            let data = to_data(key);
            let partition = cluster.route(Some(&data)).map_or(0, |(_, partition)| partition);
            let request = codec::map_get(&target.map, &data, partition);
            let answer = call(cluster, primary, &request, cluster.next_correlation()).await?;
            let value = codec::read_value(&answer).map_err(|e| e.to_string())?;
            let text = value.and_then(|data| text_or_warning(&target.map, Some(key), data));
            Ok(text.map(|text| (key.clone(), text)).into_iter().collect())
        }
        None => {
            let request = codec::map_entry_set(&target.map);
            let answer = call(cluster, primary, &request, cluster.next_correlation()).await?;
            entry_texts(&target.map, &answer).map_err(|e| e.to_string())
        }
    }
}

fn handler(target: &Target, sink: &Arc<Sink>) -> Handler {
    let (map, only, sink) = (target.map.clone(), target.key.clone(), Arc::downgrade(sink));
    Arc::new(move |message: &Message| {
        if !matches!(message.kind(), kind::KEY_LISTENER_EVENT | kind::MAP_LISTENER_EVENT) {
            return; // newer members may have more to say
        }
        let Some(sink) = sink.upgrade() else { return };
        match codec::read_entry_event(message) {
            Ok(event) => take(&map, only.as_deref(), &sink, &event),
            Err(error) => tracing::warn!(map, %error, "an entry event cannot be read"),
        }
    })
}

fn take(map: &str, only: Option<&str>, sink: &Sink, event: &EntryEvent<'_>) {
    if matches!(event.kind, event::CLEAR_ALL | event::EVICT_ALL) {
        return sink.cleared();
    }
    let key = match (only, event.key) {
        (Some(key), _) => Some(key.to_owned()),
        (None, Some(data)) => text_or_warning(map, None, data),
        (None, None) => None,
    };
    let Some(key) = key else { return };
    match event.kind {
        event::REMOVED | event::EVICTED | event::EXPIRED => sink.event(&key, None),
        event::ADDED | event::UPDATED | event::MERGED | event::LOADED => {
            // A value that is no text leaves the last good one in force.
            if let Some(value) = event.value.and_then(|data| text_or_warning(map, Some(&key), data)) {
                sink.event(&key, Some(value));
            }
        }
        _ => {}
    }
}
