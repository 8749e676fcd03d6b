//! What memory takes from its surroundings: tasks and threads, and the disk of the embedded store. Time is tokio's,
//! which a simulation pauses.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::StorageBackend;
use runtime::environment::{Spawner, SystemSpawner};

/// The surroundings of a [`crate::SystemMemory`].
#[derive(Debug, Clone)]
pub struct MemoryEnvironment {
    /// Starts tasks and threads.
    pub spawner: Arc<dyn Spawner>,
    /// Where the embedded store lies.
    pub disk: Arc<dyn Disk>,
}

impl MemoryEnvironment {
    /// The production environment.
    pub fn system() -> Self {
        Self { spawner: Arc::new(SystemSpawner), disk: Arc::new(SystemDisk) }
    }
}

/// Ends a lock when it is dropped.
pub type LockGuard = Box<dyn std::any::Any + Send + Sync>;

/// Files. Calls block; they are made on the store's thread or by [`Spawner::block`].
pub trait Disk: Send + Sync + Debug {
    /// Opens a file for reading and writing, as the store wants it; makes it, and its folder, where it is not there. A
    /// file that another process has open is opened all the same: redb asks for the lock of the whole file afterwards, and
    /// reads [`redb::BackendError::Unsupported`] for a range of it as the wish to be asked for the whole.
    fn open(&self, path: &Path) -> io::Result<Box<dyn StorageBackend>>;

    /// Is the file there?
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Gives a file another name, in the same folder, in place of a file that has it; lasting when it returns.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Copies a file, in place of one that is there; lasting when it returns.
    fn copy(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file, if it is there.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Takes a lock that ends with the process at the latest, whatever becomes of it: when its guard is dropped, or the
    /// process ends. `None`: somebody has it. A simulation ends the locks of a process that it kills, also those whose
    /// guards were leaked.
    fn lock(&self, path: &Path) -> io::Result<Option<LockGuard>>;

    /// The socket on which the owner of this store serves the other processes of the machine. `None`: no other process
    /// reaches this disk.
    fn socket(&self, store: &Path) -> Option<PathBuf>;
}

/// The disk of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDisk;

#[expect(clippy::disallowed_methods, reason = "this is the production disk")]
impl Disk for SystemDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn StorageBackend>> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = std::fs::File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let backend = redb::backends::FileBackend::new(file).map_err(io::Error::other)?;
        Ok(Box::new(backend))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)?;
        sync_folder(to)
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::copy(from, to)?;
        std::fs::File::open(to)?.sync_all()?;
        sync_folder(to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    fn lock(&self, path: &Path) -> io::Result<Option<LockGuard>> {
        let file = std::fs::File::options().write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn socket(&self, store: &Path) -> Option<PathBuf> {
        let mut name = store.as_os_str().to_owned();
        name.push(".sock");
        Some(PathBuf::from(name))
    }
}

/// A name lasts when its folder has been synced.
#[expect(clippy::disallowed_methods, reason = "this is the production disk")]
fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
