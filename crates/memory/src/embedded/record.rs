//! A value as it stands in the file: whole in itself, so that it can be believed, or found again in a damaged file,
//! whatever has become of the pages and trees around it.
//!
//! ```text
//! `DOLPHIN` | V value, R removed | sequence | checksum | bytes of the key | bytes of the value | key | value
//!     7     |         1          |    16    |    16    |         8        |         8          |
//! ```
//! Numbers are hexadecimal text. The sequence grows with each write, so of two records of a key the newer is known. The
//! checksum (FNV-1a, 64 bits) is of everything but itself: it differs for every change of one byte.

/// A record that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) sequence: u64,
    pub(super) key: &'a str,
    /// `None`: the key was removed.
    pub(super) value: Option<&'a str>,
}

const MAGIC: &str = "DOLPHIN";
const HEADER: usize = 56;
/// Longest record, bytes: names and values are limited at the interface.
pub(super) const MAX_BYTES: usize =
    HEADER + 2 * crate::error::MAX_NAME_BYTES + 1 + crate::error::MAX_VALUE_BYTES;

impl Record<'_> {
    /// The text that stands in the file.
    pub(super) fn text(&self) -> String {
        let kind = if self.value.is_some() { 'V' } else { 'R' };
        let (key, value) = (self.key, self.value.unwrap_or_default());
        let (sequence, lengths) = (self.sequence, (key.len(), value.len()));
        let sum = checksum(kind as u8, sequence, key, value);
        format!("{MAGIC}{kind}{sequence:016x}{sum:016x}{:08x}{:08x}{key}{value}", lengths.0, lengths.1)
    }
}

/// The record that these bytes begin with. `None`: there is none, or it is damaged.
pub(super) fn read(bytes: &[u8]) -> Option<Record<'_>> {
    let kind = *bytes.strip_prefix(MAGIC.as_bytes())?.first()?;
    let number = |at: usize, digits: usize| {
        u64::from_str_radix(std::str::from_utf8(bytes.get(at..at + digits)?).ok()?, 16).ok()
    };
    let (sequence, sum) = (number(8, 16)?, number(24, 16)?);
    let (key_bytes, value_bytes) =
        (usize::try_from(number(40, 8)?).ok()?, usize::try_from(number(48, 8)?).ok()?);
    let key = std::str::from_utf8(bytes.get(HEADER..)?.get(..key_bytes)?).ok()?;
    let value = std::str::from_utf8(bytes.get(HEADER + key_bytes..)?.get(..value_bytes)?).ok()?;
    if checksum(kind, sequence, key, value) != sum {
        return None;
    }
    match kind {
        b'V' => Some(Record { sequence, key, value: Some(value) }),
        b'R' if value.is_empty() => Some(Record { sequence, key, value: None }),
        _ => None,
    }
}

/// Where the next record may begin, from a place on.
pub(super) fn find(bytes: &[u8], from: usize) -> Option<usize> {
    let tail = bytes.get(from..)?;
    tail.windows(MAGIC.len()).position(|window| window == MAGIC.as_bytes()).map(|at| from + at)
}

fn checksum(kind: u8, sequence: u64, key: &str, value: &str) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let lengths = [key.len() as u64, value.len() as u64];
    let head = [kind]
        .into_iter()
        .chain(sequence.to_le_bytes())
        .chain(lengths.into_iter().flat_map(u64::to_le_bytes));
    head.chain(key.bytes())
        .chain(value.bytes())
        .fold(OFFSET, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        for record in [
            Record { sequence: 7, key: "STATE\0latest", value: Some("{\"capital\": 1}") },
            Record { sequence: u64::MAX, key: "m\0k", value: None },
            Record { sequence: 1, key: "m\0k", value: Some("") },
        ] {
            let text = record.text();
            assert_eq!(read(text.as_bytes()), Some(record.clone()));
            assert_eq!(read(format!("{text}what follows").as_bytes()), Some(record));
            for at in 0..text.len() {
                assert_eq!(read(&text.as_bytes()[..at]), None, "cut at {at}");
                for flip in 0..8 {
                    let mut bytes = text.clone().into_bytes();
                    bytes[at] ^= 1 << flip;
                    // A hexadecimal digit may be written large.
                    let same_digit =
                        (8..56).contains(&at) && bytes[at].eq_ignore_ascii_case(&text.as_bytes()[at]);
                    assert!(same_digit || read(&bytes).is_none(), "bit {flip} of byte {at}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn records_are_found_between_anything(
            before in prop::collection::vec(any::<u8>(), 0..80), key in "\\PC{1,9}", value in "\\PC{0,40}", n: u64,
        ) {
            let record = Record { sequence: n, key: &key, value: Some(&value) };
            let bytes = [&before[..], record.text().as_bytes(), &before].concat();
            let found = std::iter::successors(find(&bytes, 0), |at| find(&bytes, at + 1));
            prop_assert!(found.filter_map(|at| read(&bytes[at..])).any(|r| r == record));
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            read(&bytes);
            read(&[b"DOLPHINV".as_slice(), &bytes].concat());
        }
    }
}
