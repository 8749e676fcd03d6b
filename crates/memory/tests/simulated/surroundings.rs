//! Threads that are tasks, and a disk that is a table.

#![allow(dead_code, reason = "not every test that includes it uses all of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use memory::{Disk, LockGuard};
use redb::{BackendError, StorageBackend};
use runtime::environment::{LocalTask, Spawner, Task};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Runs a future, and all that it starts, on this thread in simulated time.
pub fn simulate<T>(future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

#[derive(Debug, Clone, Copy)]
pub struct SimulatedSpawner;

impl Spawner for SimulatedSpawner {
    fn spawn(&self, _name: &'static str, task: Task) -> tokio::task::JoinHandle<()> {
        tokio::task::spawn_local(task)
    }

    fn spawn_on(&self, _: &Handle, name: &'static str, task: Task) -> tokio::task::JoinHandle<()> {
        self.spawn(name, task)
    }

    fn spawn_thread(
        &self,
        _name: &'static str,
        make: Box<dyn FnOnce() -> LocalTask + Send>,
    ) -> io::Result<oneshot::Receiver<Result<(), String>>> {
        let (ended, end) = oneshot::channel();
        tokio::task::spawn_local(async move {
            make().await;
            let _ = ended.send(Ok(()));
        });
        Ok(end)
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }
}

/// A file: its bytes, and whether somebody has it open.
#[derive(Debug, Default)]
struct File {
    bytes: Mutex<Vec<u8>>,
    locked: AtomicBool,
}

/// Files by name. It outlives the simulated process.
#[derive(Debug, Default)]
pub struct SimulatedDisk {
    files: Mutex<BTreeMap<PathBuf, Arc<File>>>,
    locks: Arc<Mutex<BTreeSet<PathBuf>>>,
}

struct Lock {
    path: PathBuf,
    locks: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.locks.lock().unwrap().remove(&self.path);
    }
}

impl SimulatedDisk {
    /// What the end of a process does.
    pub fn end_locks(&self) {
        self.locks.lock().unwrap().clear();
    }

    /// Puts a file there.
    pub fn put(&self, path: &str, bytes: Vec<u8>) {
        let file = Arc::new(File { bytes: Mutex::new(bytes), ..File::default() });
        self.files.lock().unwrap().insert(PathBuf::from(path), file);
    }

    /// Is it there?
    pub fn has(&self, path: &str) -> bool {
        self.files.lock().unwrap().contains_key(Path::new(path))
    }

    /// Changes bytes of a file that may be open.
    pub fn damage(&self, path: &str, range: std::ops::Range<usize>, with: u8) {
        let files = self.files.lock().unwrap();
        files[Path::new(path)].bytes.lock().unwrap()[range].iter_mut().for_each(|byte| *byte ^= with);
    }

    /// The bytes of a file.
    pub fn image(&self, path: &str) -> Vec<u8> {
        self.files.lock().unwrap()[Path::new(path)].bytes.lock().unwrap().clone()
    }
}

impl Disk for SimulatedDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn StorageBackend>> {
        let file = Arc::clone(self.files.lock().unwrap().entry(path.to_owned()).or_default());
        Ok(Box::new(Open { file, ours: AtomicBool::new(false) }))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.files.lock().unwrap().contains_key(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files.lock().unwrap();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files.lock().unwrap();
        let bytes = files.get(from).ok_or(io::ErrorKind::NotFound)?.bytes.lock().unwrap().clone();
        files.insert(to.to_owned(), Arc::new(File { bytes: Mutex::new(bytes), ..File::default() }));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.lock().unwrap().remove(path);
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<LockGuard>> {
        if !self.locks.lock().unwrap().insert(path.to_owned()) {
            return Ok(None);
        }
        Ok(Some(Box::new(Lock { path: path.to_owned(), locks: Arc::clone(&self.locks) })))
    }

    fn socket(&self, _store: &Path) -> Option<PathBuf> {
        None
    }
}

#[derive(Debug)]
struct Open {
    file: Arc<File>,
    ours: AtomicBool,
}

/// A file that is dropped is closed.
impl Drop for Open {
    fn drop(&mut self) {
        self.close().ok();
    }
}

impl StorageBackend for Open {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.file.bytes.lock().unwrap();
        let at = offset as usize;
        let found = bytes.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.bytes.lock().unwrap().resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let at = offset as usize;
        self.file.bytes.lock().unwrap()[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        if self.ours.swap(false, Ordering::Relaxed) {
            self.file.locked.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Only whole files are locked, the second of the levels of locking that redb wants.
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        if !matches!((start, end), (Bound::Unbounded | Bound::Included(0), Bound::Unbounded)) {
            return Err(BackendError::Unsupported);
        }
        if self.file.locked.swap(true, Ordering::Relaxed) {
            return Ok(false);
        }
        self.ours.store(true, Ordering::Relaxed);
        Ok(true)
    }

    fn unlock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<(), BackendError> {
        self.close().map_err(|_| BackendError::Unsupported)
    }
}
