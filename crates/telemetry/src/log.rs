//! The newest lines of the log, for whoever looks at the node from outside.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::state::LogLine;

/// Lines kept.
const LINES: usize = 100;
/// Longest line kept, bytes.
const LONGEST: usize = 400;

static TAIL: Mutex<VecDeque<LogLine>> = Mutex::new(VecDeque::new());

/// Keeps a line.
pub fn keep(at_ms: u64, level: &str, text: &str) {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let line = LogLine { at_ms, level: level.to_owned(), text: text[..end].trim_end().to_owned() };
    let mut tail = TAIL.lock().unwrap_or_else(PoisonError::into_inner);
    if tail.len() == LINES {
        tail.pop_front();
    }
    tail.push_back(line);
}

/// The newest lines, newest last.
pub fn tail(most: usize) -> Vec<LogLine> {
    let tail = TAIL.lock().unwrap_or_else(PoisonError::into_inner);
    tail.iter().skip(tail.len().saturating_sub(most)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_kept_and_long_ones_cut_between_characters() {
        for i in 0..150 {
            keep(i, "INFO", &"µ".repeat(300));
        }
        let tail = tail(1_000);
        assert_eq!((tail.len(), tail[0].at_ms), (LINES, 50));
        assert_eq!(tail[0].text.len(), LONGEST);
        assert_eq!(super::tail(2).len(), 2);
    }
}
