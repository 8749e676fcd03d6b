//! A file that is not changed before it is known to be sound: what redb writes while it opens and looks at it is kept
//! aside, and written, in the same order, once it has found nothing wrong.

use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{BackendError, StorageBackend};

#[derive(Debug)]
enum Step {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

/// The steps kept aside; `None`: everything goes to the file at once.
#[derive(Debug)]
struct Kept {
    steps: Option<Vec<Step>>,
}

/// What redb gets. Clones are the same file.
#[derive(Debug, Clone)]
pub(super) struct Staged {
    file: Arc<dyn StorageBackend>,
    kept: Arc<Mutex<Kept>>,
}

impl Staged {
    pub(super) fn new(file: Box<dyn StorageBackend>) -> Self {
        Self { file: file.into(), kept: Arc::new(Mutex::new(Kept { steps: Some(Vec::new()) })) }
    }

    /// Changes the file from now on.
    pub(super) fn release(&self) -> io::Result<()> {
        let mut kept = self.kept();
        for step in kept.steps.take().unwrap_or_default() {
            match step {
                Step::Write(offset, data) => self.file.write(offset, &data)?,
                Step::SetLen(length) => self.file.set_len(length)?,
                Step::Sync => self.file.sync_data()?,
            }
        }
        Ok(())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a step aside, or does it.
    fn step(&self, step: Step) -> io::Result<()> {
        if let Some(steps) = &mut self.kept().steps {
            steps.push(step);
            return Ok(());
        }
        match step {
            Step::Write(offset, data) => self.file.write(offset, &data),
            Step::SetLen(length) => self.file.set_len(length),
            Step::Sync => self.file.sync_data(),
        }
    }
}

/// Reads what the file would hold after these steps.
fn read_through(file: &dyn StorageBackend, steps: &[Step], offset: u64, out: &mut [u8]) -> io::Result<()> {
    let end = offset + out.len() as u64;
    let mut length = file.len()?;
    let there = length.clamp(offset, end) - offset;
    file.read(offset, &mut out[..there as usize])?;
    for step in steps {
        match step {
            Step::Write(at, data) => {
                let (from, to) = ((*at).max(offset), (at + data.len() as u64).min(end));
                if from < to {
                    let (place, source) = ((from - offset) as usize, (from - at) as usize);
                    let count = (to - from) as usize;
                    out[place..place + count].copy_from_slice(&data[source..source + count]);
                }
                length = length.max(at + data.len() as u64);
            }
            Step::SetLen(to) => {
                // What lies beyond is gone, and zero when the file grows again.
                out[(*to.min(&length)).clamp(offset, end) as usize - offset as usize..].fill(0);
                length = *to;
            }
            Step::Sync => {}
        }
    }
    if end > length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

impl StorageBackend for Staged {
    fn len(&self) -> Result<u64, io::Error> {
        let kept = self.kept();
        let mut length = self.file.len()?;
        for step in kept.steps.iter().flatten() {
            match step {
                Step::Write(at, data) => length = length.max(at + data.len() as u64),
                Step::SetLen(to) => length = *to,
                Step::Sync => {}
            }
        }
        Ok(length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let kept = self.kept();
        match kept.steps.as_deref().filter(|steps| !steps.is_empty()) {
            None => {
                drop(kept);
                self.file.read(offset, out)
            }
            Some(steps) => read_through(&*self.file, steps, offset, out),
        }
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.step(Step::SetLen(len))
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.step(Step::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        if self.kept().steps.is_none() {
            return self.file.write(offset, data);
        }
        self.step(Step::Write(offset, data.to_vec()))
    }

    fn close(&self) -> Result<(), io::Error> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redb::backends::InMemoryBackend;

    use super::*;

    fn bytes(file: &dyn StorageBackend) -> Vec<u8> {
        let mut all = vec![0; file.len().unwrap() as usize];
        file.read(0, &mut all).unwrap();
        all
    }

    #[derive(Debug)]
    struct Shared(Arc<InMemoryBackend>);

    impl StorageBackend for Shared {
        fn len(&self) -> Result<u64, io::Error> {
            self.0.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
            self.0.read(offset, out)
        }
        fn set_len(&self, len: u64) -> Result<(), io::Error> {
            self.0.set_len(len)
        }
        fn sync_data(&self) -> Result<(), io::Error> {
            self.0.sync_data()
        }
        fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
            self.0.write(offset, data)
        }
    }

    proptest! {
        /// Step by step the same as a file that is written at once; the file itself is untouched until it is released.
        #[test]
        fn it_reads_as_the_file_will(
            start in prop::collection::vec(any::<u8>(), 1..60),
            steps in prop::collection::vec((0u64..60, prop::collection::vec(any::<u8>(), 0..20), any::<bool>()), 0..12),
        ) {
            let (plain, kept) = (InMemoryBackend::new(), Arc::new(InMemoryBackend::new()));
            for file in [&plain, &*kept] {
                file.set_len(start.len() as u64).unwrap();
                file.write(0, &start).unwrap();
            }
            let staged = Staged::new(Box::new(Shared(Arc::clone(&kept))));
            for (at, data, cut) in &steps {
                for file in [&plain as &dyn StorageBackend, &staged] {
                    if *cut {
                        file.set_len(*at).unwrap();
                    } else if at + data.len() as u64 <= file.len().unwrap() {
                        file.write(*at, data).unwrap();
                    }
                }
                prop_assert_eq!(staged.len().unwrap(), plain.len().unwrap());
                prop_assert_eq!(bytes(&staged), bytes(&plain));
                let beyond = staged.len().unwrap();
                prop_assert!(staged.read(beyond, &mut [0]).is_err());
                prop_assert_eq!(bytes(&*kept), &start[..]);
            }
            staged.release().unwrap();
            prop_assert_eq!(bytes(&*kept), bytes(&plain));
        }
    }
}
