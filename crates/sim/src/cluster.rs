//! A model of system memory as a cluster: maps that all nodes share, with the ways a cluster has of being unpleasant.
//! It can be away for a machine, slow, lose an answer after carrying the request out, lose its entry listeners, and
//! split in two halves: the smaller one refuses everything, or both take writes and the smaller one loses at the healing
//! (Hazelcast's put-if-absent merge).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use memory::{Answer, Backend, Fence, MemoryError, Reply, Request, Sink, Status, fence_of, stamp};
use tokio::time::sleep;

use crate::network::Machine;
use crate::random::Random;
use crate::time::TrueTime;

/// A call that finds nobody gives up after this.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often a client looks whether memory is back.
const AGAIN: Duration = Duration::from_millis(100);

type Maps = BTreeMap<String, BTreeMap<String, String>>;

struct Listener {
    machine: Machine,
    map: String,
    key: Option<String>,
    sink: Arc<Sink>,
    /// It missed something and must be resynced.
    lost: bool,
}

/// How memory is for a machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Access {
    /// Nobody answers before then, ns.
    pub away_until: u64,
    /// Each call takes so much longer, ms, until `slow_until`.
    pub slow_ms: u64,
    /// See `slow_ms`.
    pub slow_until: u64,
    /// The next answers are lost, their requests carried out.
    pub lose_answers: u32,
    /// In the smaller half of a split cluster.
    pub split: bool,
}

struct State {
    random: Random,
    /// The larger half, and the smaller one while the cluster is split.
    maps: [Maps; 2],
    is_split: bool,
    /// The smaller half agrees to nothing.
    refuses: bool,
    references: BTreeMap<String, String>,
    access: Vec<Access>,
    listeners: Vec<Listener>,
}

/// The cluster.
pub struct Cluster {
    time: TrueTime,
    state: Mutex<State>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cluster")
    }
}

impl State {
    fn half(&self, machine: Machine) -> usize {
        usize::from(self.is_split && self.access[machine].split)
    }

    fn value(&self, half: usize, map: &str, key: &str) -> Option<&String> {
        self.maps[half].get(map)?.get(key)
    }

    fn set(&mut self, half: usize, map: &str, key: &str, value: Option<String>) {
        self.listeners.retain(|l| !l.sink.is_closed());
        for i in 0..self.listeners.len() {
            let at_half = self.half(self.listeners[i].machine);
            let l = &mut self.listeners[i];
            if at_half == half && l.map == map && l.key.as_deref().is_none_or(|k| k == key) && !l.lost {
                l.sink.event(key, value.clone());
            }
        }
        let cells = self.maps[half].entry(map.to_owned()).or_default();
        match value {
            Some(text) => drop(cells.insert(key.to_owned(), text)),
            None => drop(cells.remove(key)),
        }
    }

    fn entries(&self, half: usize, map: &str) -> Vec<(String, String)> {
        let cells = self.maps[half].get(map).into_iter().flatten();
        cells.map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    /// Refuses a writer behind whose back somebody has written with a larger fence, as a cluster does: value by value.
    fn refuse_fenced(&self, half: usize, map: &str, key: &str, fence: &Fence) -> Result<(), MemoryError> {
        match self.value(half, map, key).and_then(|text| fence_of(text)) {
            Some(newer) if newer > fence.number => Err(MemoryError::Fenced {
                map: map.to_owned(),
                key: key.to_owned(),
                lease: fence.lease.clone(),
                ours: fence.number,
                newer,
            }),
            _ => Ok(()),
        }
    }

    fn carry_out(&mut self, machine: Machine, request: Request) -> Answer {
        let half = self.half(machine);
        Ok(match request {
            Request::Get { map, key } => Reply::Value(self.value(half, &map, &key).cloned()),
            Request::PutAll { writes, fence } => {
                for w in writes {
                    if let Some(fence) = &fence {
                        self.refuse_fenced(half, &w.map, &w.key, fence)?;
                    }
                    self.set(half, &w.map, &w.key, Some(w.value));
                }
                Reply::Done
            }
            Request::Claim { map, key, fence } => {
                self.refuse_fenced(half, &map, &key, &fence)?;
                let stamped = self.value(half, &map, &key).and_then(|text| stamp(text, fence.number));
                if stamped.is_some() {
                    self.set(half, &map, &key, stamped);
                }
                Reply::Value(self.value(half, &map, &key).cloned())
            }
            Request::Remove { map, key } => {
                self.set(half, &map, &key, None);
                Reply::Done
            }
            Request::Keys { map } => {
                Reply::Keys(self.entries(half, &map).into_iter().map(|(k, _)| k).collect())
            }
            Request::Entries { map } => Reply::Entries(self.entries(half, &map)),
            Request::CompareAndSet { map, key, expected, new } => {
                let same = self.value(half, &map, &key) == expected.as_ref();
                if same {
                    self.set(half, &map, &key, Some(new));
                }
                Reply::Swapped(same)
            }
        })
    }

    fn resync(&mut self, machine: Machine) {
        let half = self.half(machine);
        for i in 0..self.listeners.len() {
            if self.listeners[i].machine != machine || !std::mem::take(&mut self.listeners[i].lost) {
                continue;
            }
            let (map, key) = (self.listeners[i].map.clone(), self.listeners[i].key.clone());
            let wanted = |(k, _): &(String, String)| key.as_ref().is_none_or(|key| key == k);
            let entries = self.entries(half, &map).into_iter().filter(wanted).collect();
            self.listeners[i].sink.begin();
            self.listeners[i].sink.resync(entries);
        }
    }
}

impl Cluster {
    /// An empty cluster for this many machines.
    pub fn new(time: TrueTime, seed: u64, machines: usize) -> Arc<Self> {
        let state = State {
            random: Random::new(seed, 0x6d65),
            maps: [Maps::new(), Maps::new()],
            is_split: false,
            refuses: false,
            references: BTreeMap::new(),
            access: vec![Access::default(); machines],
            listeners: Vec::new(),
        };
        Arc::new(Self { time, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes how memory is for a machine.
    pub fn change(&self, machine: Machine, change: impl FnOnce(&mut Access)) {
        let mut state = self.state();
        change(&mut state.access[machine]);
        let away = state.access[machine].away_until > self.time.now_ns();
        if away {
            for l in state.listeners.iter_mut().filter(|l| l.machine == machine) {
                l.lost = true;
            }
        }
    }

    /// Does the smaller half of a split refuse everything, as a cluster with `minimum_members` does?
    pub fn refuse_in_the_smaller_half(&self, refuses: bool) {
        self.state().refuses = refuses;
    }

    /// Splits the cluster: the machines in `smaller` are alone with the smaller half.
    pub fn split(&self, smaller: &[Machine]) {
        let mut state = self.state();
        if state.is_split {
            return;
        }
        state.maps[1] = state.maps[0].clone();
        state.is_split = true;
        for machine in smaller {
            state.access[*machine].split = true;
        }
    }

    /// Everything as usual; a split heals: what only the smaller half has is kept, else the larger half's value counts.
    pub fn heal(&self) {
        let mut state = self.state();
        let machines = state.access.len();
        if std::mem::take(&mut state.is_split) {
            let smaller = std::mem::take(&mut state.maps[1]);
            for (map, cells) in smaller {
                for (key, value) in cells {
                    if state.value(0, &map, &key).is_none() {
                        state.set(0, &map, &key, Some(value));
                    }
                }
            }
            for machine in 0..machines {
                if state.access[machine].split {
                    for l in state.listeners.iter_mut().filter(|l| l.machine == machine) {
                        l.lost = true;
                    }
                }
            }
        }
        for machine in 0..machines {
            state.access[machine] = Access::default();
            state.resync(machine);
        }
    }

    /// A value, as somebody who asks the larger half.
    pub fn get(&self, map: &str, key: &str) -> Option<String> {
        self.state().value(0, map, key).cloned()
    }

    /// Sets a value, as somebody who writes to the larger half.
    pub fn put(&self, map: &str, key: &str, value: String) {
        self.state().set(0, map, key, Some(value));
    }

    /// The entries of a map, in the larger half.
    pub fn entries(&self, map: &str) -> Vec<(String, String)> {
        self.state().entries(0, map)
    }

    /// All that is kept, as one text: for the digest, and to look for secrets.
    pub fn dump(&self) -> String {
        format!("{:?}", self.state().maps)
    }

    /// The view of a process on a machine.
    pub fn member(self: &Arc<Self>, machine: Machine) -> Arc<dyn Backend> {
        Arc::new(Member { cluster: Arc::clone(self), machine })
    }
}

#[derive(Debug)]
struct Member {
    cluster: Arc<Cluster>,
    machine: Machine,
}

impl Member {
    fn access(&self) -> (Access, u64) {
        (self.cluster.state().access[self.machine], self.cluster.time.now_ns())
    }

    fn is_away(&self) -> bool {
        let (access, now) = self.access();
        now < access.away_until
    }

    async fn exchange(&self, request: Request) -> Answer {
        let name = request.name();
        let idempotent = request.is_idempotent();
        let begun = tokio::time::Instant::now();
        while self.is_away() {
            if begun.elapsed() >= TIMEOUT {
                return Err(MemoryError::Timeout { operation: name, limit: TIMEOUT });
            }
            sleep(AGAIN).await;
        }
        let (there, back) = {
            let (access, now) = self.access();
            let slow = if now < access.slow_until { access.slow_ms } else { 0 };
            let mut state = self.cluster.state();
            (1 + state.random.below(slow + 1), state.random.below(slow + 1))
        };
        sleep(Duration::from_millis(there)).await;
        let (lost, reply) = {
            let mut state = self.cluster.state();
            if state.refuses && state.half(self.machine) == 1 {
                return Err(MemoryError::Away("the smaller side of a split agrees to nothing".to_owned()));
            }
            state.resync(self.machine);
            let reply = state.carry_out(self.machine, request);
            let left = &mut state.access[self.machine].lose_answers;
            let lost = *left > 0;
            *left = left.saturating_sub(1);
            (lost, reply)
        };
        if back > 0 {
            sleep(Duration::from_millis(back)).await;
        }
        if lost {
            // The client notices that the member is gone.
            sleep(Duration::from_millis(500)).await;
            let away = MemoryError::Away("the member left before it answered".to_owned());
            return Err(if idempotent { away } else { MemoryError::Ambiguous(name) });
        }
        reply
    }
}

impl Backend for Member {
    fn status(&self) -> Status {
        let connected = !self.is_away();
        let detail = if connected { "the cluster" } else { "no member answers" };
        Status { connected, detail: detail.to_owned() }
    }

    fn call(&self, request: Request) -> BoxFuture<'_, Answer> {
        Box::pin(self.exchange(request))
    }

    fn watch(&self, map: &str, key: Option<&str>) -> Arc<Sink> {
        let sink = Arc::<Sink>::default();
        let mut state = self.cluster.state();
        let (map, key) = (map.to_owned(), key.map(str::to_owned));
        let listener = Listener { machine: self.machine, map, key, sink: Arc::clone(&sink), lost: true };
        state.listeners.push(listener);
        if self.cluster.time.now_ns() >= state.access[self.machine].away_until {
            let machine = self.machine;
            state.resync(machine);
        }
        sink
    }

    fn reference<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<String>, MemoryError>> {
        Box::pin(async move { Ok(self.cluster.state().references.get(name).cloned()) })
    }

    fn set_reference<'a>(&'a self, name: &'a str, value: &'a str) -> BoxFuture<'a, Result<(), MemoryError>> {
        self.cluster.state().references.insert(name.to_owned(), value.to_owned());
        Box::pin(std::future::ready(Ok(())))
    }
}
