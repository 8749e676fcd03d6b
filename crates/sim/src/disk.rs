//! The disk of a machine: small files that outlive its processes, and what may be wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use memchr::memmem::Finder;
use runtime::environment::{AppendFile, Files, Room};

use crate::random::Random;

/// Size of a machine's disk.
const DISK_BYTES: u64 = 100_000_000_000;

/// Small files that outlive the processes of a machine, on a disk that may be full, broken or slow.
#[derive(Debug, Clone, Default)]
pub struct MachineFiles(Arc<Disk>);

/// What is wrong with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// It has no room left (`ENOSPC`).
    Full,
    /// Nothing can be read or written (`EIO`).
    Broken,
    /// Each write takes so long, ns.
    Slow(u64),
}

#[derive(Debug, Default)]
struct Disk {
    /// By their whole names: paths are compared part by part, and this is looked up all the time.
    files: Mutex<BTreeMap<OsString, Vec<u8>>>,
    /// Files that were written to their end, and how much of each would outlive a loss of power.
    synced: Mutex<BTreeMap<OsString, usize>>,
    trouble: Mutex<Trouble>,
    /// Something was wrong with it once, or bytes of it were lost.
    troubled: AtomicBool,
    /// How long the writes took that whoever is polled now has made, ns.
    written_for: AtomicU64,
    /// What no file may ever hold, and those that held it. Every byte is looked at when it is written: what is overwritten,
    /// removed or packed before anybody looks at the disk counts as well, and a sealed journal need not be unpacked.
    secret: OnceLock<Finder<'static>>,
    told: Mutex<BTreeSet<PathBuf>>,
}

/// A file of a machine, open for writing.
struct MachineFile(MachineFiles, PathBuf);

impl AppendFile for MachineFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.writes()?;
        let mut files = self.0.files();
        let name = self.1.as_os_str();
        if !files.contains_key(name) {
            files.insert(name.to_owned(), Vec::new());
        }
        let Some(file) = files.get_mut(name) else { return Ok(()) };
        let written = file.len();
        file.extend_from_slice(bytes);
        self.0.look(&self.1, file, written);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.writes()?;
        let length = self.0.files().get(self.1.as_os_str()).map_or(0, Vec::len);
        lock(&self.0.0.synced).insert(self.1.as_os_str().to_owned(), length);
        Ok(())
    }
}

impl MachineFiles {
    fn files(&self) -> MutexGuard<'_, BTreeMap<OsString, Vec<u8>>> {
        lock(&self.0.files)
    }

    /// From now on this is wrong with the disk.
    pub fn trouble(&self, trouble: Trouble) {
        *lock(&self.0.trouble) = trouble;
        self.0.troubled.fetch_or(trouble != Trouble::None, Ordering::Relaxed);
    }

    /// Was something wrong with the disk once, or were bytes of it lost?
    pub fn was_troubled(&self) -> bool {
        self.0.troubled.load(Ordering::Relaxed)
    }

    /// The machine lost its power: of what was written to the end of a file since it was synced, a part is gone.
    pub fn lose_unsynced(&self, random: &mut Random) {
        let synced = std::mem::take(&mut *lock(&self.0.synced));
        let mut files = self.files();
        for (name, length) in synced {
            if let Some(file) = files.get_mut(&name) {
                let kept = random.between(length.min(file.len()) as u64, file.len() as u64) as usize;
                self.0.troubled.fetch_or(kept < file.len(), Ordering::Relaxed);
                file.truncate(kept);
            }
        }
    }

    /// How long the writes since the last call took, ns: whoever made them has waited for them.
    pub fn written_for(&self) -> u64 {
        // Relaxed: everything of a machine runs on one thread.
        if self.0.written_for.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        self.0.written_for.swap(0, Ordering::Relaxed)
    }

    fn writes(&self) -> io::Result<()> {
        match *lock(&self.0.trouble) {
            Trouble::None => {}
            Trouble::Full => return Err(io::ErrorKind::StorageFull.into()),
            Trouble::Broken => return Err(broken()),
            Trouble::Slow(ns) => {
                self.0.written_for.fetch_add(ns, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn reads(&self) -> io::Result<()> {
        if *lock(&self.0.trouble) == Trouble::Broken { Err(broken()) } else { Ok(()) }
    }

    /// Directories that hold segments of a journal.
    pub fn journals(&self) -> BTreeSet<PathBuf> {
        let files = self.files();
        let is_segment = |path: &&Path| path.extension().is_some_and(|e| e == "dj" || e == "djz");
        files
            .keys()
            .map(Path::new)
            .filter(is_segment)
            .filter_map(|path| Some(path.parent()?.to_owned()))
            .collect()
    }

    /// These bytes must never stand in a file.
    pub fn forbid(&self, secret: &'static str) {
        // Another one is never named.
        let _ = self.0.secret.set(Finder::new(secret));
    }

    /// The files that held what must never stand in one, be it for a moment.
    pub fn that_told(&self) -> Vec<PathBuf> {
        lock(&self.0.told).iter().cloned().collect()
    }

    /// Looks at what was written to a file behind its first `before` bytes, and over the seam.
    fn look(&self, path: &Path, bytes: &[u8], before: usize) {
        let Some(secret) = self.0.secret.get() else { return };
        let from = (before + 1).saturating_sub(secret.needle().len());
        if bytes.get(from..).is_some_and(|new| secret.find(new).is_some()) {
            lock(&self.0.told).insert(path.to_owned());
        }
    }
}

impl Files for MachineFiles {
    fn read(&self, path: &Path) -> io::Result<Option<String>> {
        self.reads()?;
        Ok(self.files().get(path.as_os_str()).map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    }

    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        self.write_bytes(path, text.as_bytes())
    }

    fn read_bytes(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        self.reads()?;
        Ok(self.files().get(path.as_os_str()).cloned())
    }

    fn write_bytes(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.writes()?;
        self.look(path, bytes, 0);
        self.files().insert(path.into(), bytes.to_owned());
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.writes()?;
        let mut files = self.files();
        let bytes = files.remove(from.as_os_str()).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.into(), bytes);
        let mut synced = lock(&self.0.synced);
        if let Some(length) = synced.remove(from.as_os_str()) {
            synced.insert(to.into(), length);
        }
        Ok(())
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        self.writes()?;
        let length = self.files().entry(path.into()).or_default().len();
        lock(&self.0.synced).entry(path.into()).or_insert(length);
        Ok(Box::new(MachineFile(self.clone(), path.to_owned())))
    }

    fn is_in_use(&self, _path: &Path) -> bool {
        // One process a machine writes a journal, and the one before it is dead.
        false
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        self.reads()?;
        let files = self.files();
        let inside = files.iter().map(|(name, bytes)| (Path::new(name), bytes));
        let inside = inside.filter(|(path, _)| path.parent() == Some(dir));
        let named = inside
            .filter_map(|(path, bytes)| Some((path.file_name()?.to_str()?.to_owned(), bytes.len() as u64)));
        Ok(named.collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.reads()?;
        self.files().remove(path.as_os_str());
        lock(&self.0.synced).remove(path.as_os_str());
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.reads()?;
        self.files().retain(|file, _| !Path::new(file).starts_with(path));
        Ok(())
    }

    fn room(&self, _: &Path) -> Option<Room> {
        let free = if *lock(&self.0.trouble) == Trouble::Full { 0 } else { DISK_BYTES / 2 };
        Some(Room { free, size: DISK_BYTES })
    }

    fn temp_dir(&self) -> PathBuf {
        PathBuf::from("/tmp")
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "STATE_DIRECTORY").then(|| "/var/lib/dolphin".to_owned())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `EIO`.
fn broken() -> io::Error {
    io::Error::other("input/output error")
}
