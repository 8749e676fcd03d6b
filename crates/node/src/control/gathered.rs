//! One line an event, not one a stream: what befalls many symbols within a second is told together.

use std::collections::{BTreeMap, BTreeSet};

use market::Nanos;

/// So long the first word waits for others like it.
const WAITS_NS: u64 = Nanos::SECOND;
/// Names in a line.
const NAMED: usize = 3;

/// What is waiting to be told.
#[derive(Debug, Default)]
pub(super) struct Gathered(BTreeMap<&'static str, Waiting>);

#[derive(Debug)]
struct Waiting {
    since: u64,
    names: BTreeSet<String>,
}

impl Gathered {
    /// `what` befell `name`: `what` is the rest of the sentence.
    pub(super) fn add(&mut self, what: &'static str, name: String, now: u64) {
        let waiting = self.0.entry(what).or_insert_with(|| Waiting { since: now, names: BTreeSet::new() });
        waiting.names.insert(name);
    }

    /// Lines that are due.
    pub(super) fn due(&mut self, now: u64) -> Vec<String> {
        let mut lines = Vec::new();
        self.0.retain(|what, waiting| {
            let due = now >= waiting.since + WAITS_NS;
            if due {
                let named: Vec<&str> = waiting.names.iter().take(NAMED).map(String::as_str).collect();
                let more = match waiting.names.len().saturating_sub(NAMED) {
                    0 => String::new(),
                    n => format!(" and {n} more"),
                };
                lines.push(format!("{}{more}: {what}", named.join(", ")));
            }
            !due
        });
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_of_a_kind_are_one_line_and_kinds_stay_apart() {
        let mut gathered = Gathered::default();
        for name in ["a", "b", "b", "c", "d", "e"] {
            gathered.add("silent", name.to_owned(), 10);
        }
        gathered.add("back", "a".to_owned(), 500);
        assert!(gathered.due(WAITS_NS).is_empty());
        assert_eq!(gathered.due(10 + WAITS_NS), ["a, b, c and 2 more: silent"]);
        assert_eq!(gathered.due(500 + WAITS_NS), ["a: back"]);
        assert!(gathered.due(u64::MAX).is_empty());
    }
}
