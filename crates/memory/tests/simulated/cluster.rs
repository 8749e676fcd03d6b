//! A cluster that is a table, and the way to it: slow, cut, or with answers that are lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use memory::{Answer, Backend, MemoryError, Reply, Request, Sink, Status, SystemMemory, fence_of};

use super::surroundings::SimulatedSpawner;

/// What the members hold.
#[derive(Debug, Default)]
pub struct Cells(Mutex<BTreeMap<(String, String), String>>);

impl Cells {
    /// All members are gone at once, and what they held.
    pub fn forget(&self) {
        self.0.lock().unwrap().clear();
    }

    pub fn get(&self, map: &str, key: &str) -> Option<String> {
        self.0.lock().unwrap().get(&(map.to_owned(), key.to_owned())).cloned()
    }

    fn carry_out(&self, request: Request) -> Answer {
        let mut cells = self.0.lock().unwrap();
        match request {
            Request::Get { map, key } => Ok(Reply::Value(cells.get(&(map, key)).cloned())),
            Request::CompareAndSet { map, key, expected, new } => {
                let same = cells.get(&(map.clone(), key.clone())) == expected.as_ref();
                if same {
                    cells.insert((map, key), new);
                }
                Ok(Reply::Swapped(same))
            }
            Request::PutAll { writes, fence } => {
                for write in writes {
                    let cell = (write.map.clone(), write.key.clone());
                    let newer = cells.get(&cell).and_then(|text| fence_of(text));
                    if let (Some(fence), Some(newer)) = (&fence, newer)
                        && newer > fence.number
                    {
                        let (map, key, lease, ours) =
                            (write.map, write.key, fence.lease.clone(), fence.number);
                        return Err(MemoryError::Fenced { map, key, lease, ours, newer });
                    }
                    cells.insert(cell, write.value);
                }
                Ok(Reply::Done)
            }
            other => Err(MemoryError::Invalid(format!("the model knows no `{}`", other.name()))),
        }
    }
}

/// A node's way to the cluster.
#[derive(Debug, Default)]
pub struct Link {
    cells: Arc<Cells>,
    pub delay_ms: AtomicU64,
    pub cut: AtomicBool,
    /// So many of the next compare-and-sets are carried out, and their answers lost.
    pub lose_answers: AtomicU32,
}

impl Link {
    pub fn to(cells: &Arc<Cells>) -> Arc<Self> {
        Arc::new(Self { cells: Arc::clone(cells), ..Self::default() })
    }

    pub fn memory(self: &Arc<Self>) -> SystemMemory {
        SystemMemory::with_backend(Arc::clone(self) as _, Arc::new(SimulatedSpawner))
    }

    async fn ask(&self, request: Request) -> Answer {
        if self.cut.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(500)).await;
            return Err(MemoryError::Away("cut off".to_owned()));
        }
        let delay = Duration::from_millis(self.delay_ms.load(Ordering::Relaxed));
        tokio::time::sleep(delay / 2).await;
        let swap = matches!(request, Request::CompareAndSet { .. });
        let answer = self.cells.carry_out(request);
        tokio::time::sleep(delay / 2).await;
        let losing = |left: u32| left.checked_sub(1);
        if swap && self.lose_answers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, losing).is_ok() {
            return Err(MemoryError::Ambiguous("compare and set"));
        }
        answer
    }
}

impl Backend for Link {
    fn status(&self) -> Status {
        Status { connected: !self.cut.load(Ordering::Relaxed), detail: "a model".to_owned() }
    }

    fn call(&self, request: Request) -> BoxFuture<'_, Answer> {
        Box::pin(self.ask(request))
    }

    fn watch(&self, map: &str, key: Option<&str>) -> Arc<Sink> {
        let sink = Arc::<Sink>::default();
        sink.begin();
        let value = key.and_then(|key| Some((key.to_owned(), self.cells.get(map, key)?)));
        sink.resync(value.into_iter().collect());
        sink
    }
}
