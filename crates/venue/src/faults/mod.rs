//! Scripted faults: everything a venue has ever done to a client (BINANCE.md §8, FAULTS.md §2), on demand.
//!
//! A [`Rule`] is a [`Fault`] with a number of times to strike. *Standing* faults wait for the requests or frames they
//! name; those marked "(now)" happen at once. The same rules come in by [`crate::VenueHandle::inject`] and, as JSON,
//! over HTTP:
//!
//! ```text
//! POST   /dolphin/faults    {"fault":"drop","stream":"btcusdt@depth@100ms","times":1}   → {"id":1}
//! GET    /dolphin/faults    the rules in force, with their hits
//! DELETE /dolphin/faults    all of them end; DELETE /dolphin/faults/1 ends one
//! GET    /dolphin/counters  what the venue counted
//! ```
//!
//! `times` (0 = until cleared) says how often a rule strikes, `skip` how many occasions it lets pass first, `for_ms`
//! how long it stands. [`CATALOGUE`] has an example of every kind.

mod catalogue;
mod kinds;

use market::Nanos;
use serde::{Deserialize, Serialize};

pub use catalogue::CATALOGUE;
pub use kinds::{Ending, Fault};

/// A fault and how often it strikes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// What.
    #[serde(flatten)]
    pub fault: Fault,
    /// Strikes this often; 0 = until cleared.
    #[serde(default)]
    pub times: u32,
    /// Lets this many pass first.
    #[serde(default)]
    pub skip: u32,
}

impl Rule {
    /// A fault that strikes once.
    pub const fn once(fault: Fault) -> Self {
        Self { fault, times: 1, skip: 0 }
    }

    /// A fault that strikes `times` times (0 = until cleared).
    pub const fn times(fault: Fault, times: u32) -> Self {
        Self { fault, times, skip: 0 }
    }
}

impl From<Fault> for Rule {
    fn from(fault: Fault) -> Self {
        Self { fault, times: 0, skip: 0 }
    }
}

/// A rule in force.
#[derive(Debug, Clone, Serialize)]
pub struct Active {
    /// Number of the rule.
    pub id: u64,
    /// The rule.
    #[serde(flatten)]
    pub rule: Rule,
    /// How often it struck.
    pub hits: u64,
    /// Since when it stands.
    #[serde(skip)]
    pub since: Nanos,
    /// Until when, if it ends by itself.
    #[serde(skip)]
    until: Option<Nanos>,
    /// It has struck its times, or its time is over.
    pub over: bool,
}

/// Most rules in force at a time.
pub const MAX_RULES: usize = 256;

/// The rules in force.
#[derive(Debug, Default)]
pub struct Faults {
    active: Vec<Active>,
    next: u64,
    /// How many are not over.
    live: usize,
}

impl Faults {
    /// Adds a standing rule, for good or until a time; `None` where there are too many.
    pub fn add(&mut self, rule: Rule, now: Nanos, until: Option<Nanos>) -> Option<u64> {
        if self.active.len() >= MAX_RULES {
            // What is over is only kept for its hits.
            self.active.retain(|a| !a.over);
        }
        if self.active.len() >= MAX_RULES {
            return None;
        }
        self.next += 1;
        self.active.push(Active { id: self.next, rule, hits: 0, since: now, until, over: false });
        self.live += 1;
        Some(self.next)
    }

    /// Removes a rule; was it there?
    pub fn remove(&mut self, id: u64) -> bool {
        let before = self.active.len();
        self.active.retain(|a| a.id != id);
        self.count();
        self.active.len() < before
    }

    /// Removes all rules.
    pub fn clear(&mut self) {
        self.active.clear();
        self.count();
    }

    fn count(&mut self) {
        self.live = self.active.iter().filter(|a| !a.over).count();
    }

    /// Ends the rules whose time is over.
    pub fn on_time(&mut self, now: Nanos) {
        if self.live > 0 {
            for a in &mut self.active {
                a.over |= a.until.is_some_and(|t| t <= now);
            }
            self.count();
        }
    }

    /// When the next rule ends by itself.
    pub fn due(&self) -> Option<Nanos> {
        self.active.iter().filter(|a| !a.over).filter_map(|a| a.until).min()
    }

    /// The rules in force, with their hits (those that are over too, until cleared).
    pub fn active(&self) -> &[Active] {
        &self.active
    }

    /// How often a rule struck.
    pub fn hits(&self, id: u64) -> u64 {
        self.active.iter().find(|a| a.id == id).map_or(0, |a| a.hits)
    }

    /// The first rule that `wants` this occasion: it is counted, and over when its times are.
    pub fn strike(&mut self, wants: impl Fn(&Fault) -> bool) -> Option<Fault> {
        if self.live == 0 {
            return None;
        }
        for a in &mut self.active {
            if a.over || !wants(&a.rule.fault) {
                continue;
            }
            if a.rule.skip > 0 {
                a.rule.skip -= 1;
                continue;
            }
            a.hits += 1;
            a.over = a.rule.times > 0 && a.hits >= u64::from(a.rule.times);
            self.live -= usize::from(a.over);
            return Some(a.rule.fault.clone());
        }
        None
    }

    /// The first rule that `pick`s, without counting it; it is also told since when the rule stands.
    pub fn stands<T>(&self, pick: impl Fn(&Fault, Nanos) -> Option<T>) -> Option<T> {
        self.active.iter().filter(|a| !a.over).find_map(|a| pick(&a.rule.fault, a.since))
    }

    /// Is none in force? (The hot path asks.)
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }
}

/// Does `pattern` (with `*` for anything) match `name`?
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (p, n, yes) in [
            ("*", "x", true),
            ("btcusdt@*", "btcusdt@depth@100ms", true),
            ("*@depth*", "btcusdt@depth@100ms", true),
            ("btcusdt@depth", "btcusdt@depth@100ms", false),
            ("*@aggTrade", "btcusdt@trade", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
        ] {
            assert_eq!(matches(p, n), yes, "{p} {n}");
        }
    }

    #[test]
    fn a_rule_skips_strikes_and_is_over() {
        let mut f = Faults::default();
        f.add(Rule { fault: Fault::Overload, times: 2, skip: 1 }, Nanos(0), None).unwrap();
        let mut hit = || f.strike(|x| *x == Fault::Overload).is_some();
        assert_eq!([hit(), hit(), hit(), hit()], [false, true, true, false]);
        assert!(f.active()[0].over);
    }

    #[test]
    fn a_rule_ends_when_its_time_is_over() {
        let mut f = Faults::default();
        f.add(Fault::Overload.into(), Nanos(5), Some(Nanos(10))).unwrap();
        f.on_time(Nanos(9));
        assert_eq!(f.stands(|f, since| (*f == Fault::Overload).then_some(since)), Some(Nanos(5)));
        f.on_time(Nanos(10));
        assert!(f.strike(|f| *f == Fault::Overload).is_none());
    }

    #[test]
    fn rules_read_as_flat_json() {
        let text = r#"{"fault":"reply_lost","on":"POST /fapi/v1/order","executed":true,"times":1}"#;
        let rule: Rule = serde_json::from_str(text).unwrap();
        assert_eq!(rule.times, 1);
        assert_eq!(rule.fault, Fault::ReplyLost { on: "POST /fapi/v1/order".into(), executed: true });
        assert!(serde_json::from_str::<Rule>(r#"{"fault":"no_such"}"#).is_err());
    }
}
