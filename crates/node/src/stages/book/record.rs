//! What the book stage took, in the order in which it took it, for the journal (`journal: content: frames`).
//!
//! Books, features and masks are a function of these inputs and of nothing else: whatever the stage does at a time of its
//! own is an input too, at the place where it was done ([`BookRecord::Told`], [`BookRecord::Tended`]).

use market::ClockOffset;
use runtime::conveyor::Loader;
use runtime::journal::tap::{Entry, Tap};

use super::news::SnapshotReply;
use crate::stages::feed::Frame;

/// An input on its way to the journal.
#[derive(Debug)]
pub enum BookRecord {
    /// A frame, or a change of a connection; it travels in the box that was sent before this.
    Frame,
    /// A snapshot.
    Snapshot(Box<SnapshotReply>),
    /// The venue's clock was measured.
    Clock(ClockOffset),
    /// What a sample left over was done: masks and quotes were told.
    Told,
    /// Housekeeping that was due was done.
    Tended,
}

/// A record on its way to the journal.
pub type BookEntry = Entry<BookRecord>;

/// The stage's end of the journal.
pub struct BookJournal {
    tap: Tap<BookRecord>,
    frames: Option<Loader<Frame>>,
}

impl BookJournal {
    /// Into this ring, frames in these boxes.
    pub const fn new(tap: Tap<BookRecord>, frames: Loader<Frame>) -> Self {
        Self { tap, frames: Some(frames) }
    }

    /// Keeps nothing.
    pub const fn closed() -> Self {
        Self { tap: Tap::closed(), frames: None }
    }

    /// Records a frame, or leaves a hole. The frame is not copied: it changes places with an empty one.
    #[inline]
    pub fn frame(&mut self, at: u64, frame: &mut Frame) {
        let Some(boxes) = &mut self.frames else { return };
        match if self.tap.has_room() { boxes.acquire() } else { None } {
            Some(mut kept) => {
                std::mem::swap(&mut *kept, frame);
                boxes.send(kept);
                self.tap.push(at, BookRecord::Frame);
            }
            None => self.tap.lose(),
        }
    }

    /// Records anything else.
    #[inline]
    pub fn push(&mut self, at: u64, record: BookRecord) {
        self.tap.push(at, record);
    }

    /// Something that cannot be taken in again happened: it leaves a hole.
    pub const fn lose(&mut self) {
        if self.tap.is_open() {
            self.tap.lose();
        }
    }
}

/// An input as the stage takes it in.
#[derive(Debug, Clone, Copy)]
pub enum BookInput<'a> {
    /// See [`BookRecord::Frame`].
    Frame(&'a Frame),
    /// See [`BookRecord::Snapshot`].
    Snapshot(&'a SnapshotReply),
    /// See [`BookRecord::Clock`].
    Clock(ClockOffset),
    /// See [`BookRecord::Told`].
    Told,
    /// See [`BookRecord::Tended`].
    Tended,
}
