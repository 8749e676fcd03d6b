//! The journal: what stages took in and what they decided, in segments on disk, written off the hot path.
//!
//! **The problem.** A live run must be decided again later, bit for bit, and its record must neither cost the hot path
//! anything that shows nor stop trading where a disk fails; and it is read after the worst moments: a kill, a full disk, a
//! torn write. So three things are kept apart:
//!
//! * the hot side, [`tap`]: a stage moves a small value into a ring, with a number of its own and the time of its poll.
//!   No allocation, no encoding, no lock. A full ring loses the value, never the count: the number shows the hole;
//! * the writer, [`writer`]: one thread (in a simulation one task) that encodes, frames, writes, syncs, seals and removes.
//!   Trouble with the disk ends its segment; it tries again every second, and what was lost meanwhile is a record itself;
//! * the reader, [`segment`] and [`library`]: trusts nothing that its checksum does not confirm, says what is lost in bytes
//!   and in numbers of records, and goes on behind the damage.
//!
//! **Format.** A run writes segments `<start>-<run>-<number>.dj`, closed ones become `.djz`. A segment begins with eight
//! bytes that name it, then a header record (JSON, by the caller), the states that it begins with, then records: a mark,
//! a check of the head, length, stream, kind, number within the stream, time, CRC-32C, payload ([`frame`]). Sealed, whole
//! records lie in zstd blocks of about 256 KiB, each with its own CRC-32C, so that damage costs a block. The last record
//! of a segment that was closed says how many there were: without it the end is open, as after a kill.
//!
//! **Rejected.** *Memory-mapped file as in Aeron's archive*: a full disk is then a SIGBUS in the hot thread. *One ring for
//! all stages*: stages of other workers would need a lock or an atomic add, and the order between stages is not needed:
//! each is a function of what it took itself. *Length and checksum alone, as in most write-ahead logs*: after the first
//! damaged byte nothing behind it can be found again; the mark and the head's own check make the search cheap. *One zstd
//! stream a segment*: a flipped bit costs all behind it. *Compression while open*: a torn block costs the last seconds
//! before a crash, which are the ones that are wanted. *fsync by record*: 10 ms a record on a disk; a kill of the process
//! loses nothing that was written, and a power cut at most `fsync_ms`.

mod crc;
pub mod frame;
pub mod library;
pub mod segment;
pub mod tap;
pub mod writer;

#[cfg(test)]
mod tests;

pub use crc::crc32c;
