//! What an operator orders, and who holds a lease: the records of the protocol (docs/lease.md).

use market::Nanos;
use serde::{Deserialize, Serialize, Serializer};

use super::json::{FromMemory, Object, SchemaError};
use super::scan::seconds;

/// Who holds a lease ([`crate::Lease`]); changed by compare-and-set alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// Name for people; empty: given up.
    pub owner: String,
    /// The process: 16 hexadecimal digits of a random number. A record with our name and another number is not ours.
    #[serde(default)]
    pub identity: String,
    /// Larger than that of every holder before.
    pub fence: u64,
    /// Counts the signs of life of this holder.
    pub beat: u64,
    /// Number of the newest kill that the holder has seen; 0: none.
    #[serde(default)]
    pub kill: u64,
    /// The holder also has the lock of its machine for this lease, until its process ends.
    #[serde(default)]
    pub locked: bool,
}

impl FromMemory for LeaseRecord {
    const KIND: &'static str = "lease";

    fn from_memory(text: &str) -> Result<Self, SchemaError> {
        super::json::parse(Self::KIND, text)
    }
}

/// The order that a deployment opens nothing any more, on any machine, until it is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kill {
    /// One larger than that of the kill before; 1 is the first.
    pub number: u64,
    /// Tells two kills of the same number apart, which a store that was split may have taken: 16 hexadecimal digits.
    pub id: String,
    /// When, UTC. Written as seconds.
    #[serde(serialize_with = "write_seconds")]
    pub killed_at: Nanos,
    /// Why.
    pub reason: String,
    /// Are open positions to be closed?
    pub flatten: bool,
    /// Who ordered it: a person, or a part of the program.
    pub by: String,
    /// Taken back; `None`: it is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rearmed: Option<Rearm>,
}

/// A kill is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rearm {
    /// When, UTC. Written as seconds.
    #[serde(serialize_with = "write_seconds")]
    pub at: Nanos,
    /// Why.
    pub reason: String,
    /// Who ordered it.
    pub by: String,
}

/// A person lets trading go on after something latched (`dolphin rearm`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RearmOrder {
    /// Tells it from others: 16 hexadecimal digits. One order is carried out once.
    pub id: String,
    /// When, UTC. Written as seconds.
    #[serde(serialize_with = "write_seconds")]
    pub at: Nanos,
    /// Why, for the record.
    pub reason: String,
    /// Who ordered it.
    pub by: String,
    /// The day's loss, drawdown and counts begin anew too.
    pub day: bool,
}

impl FromMemory for RearmOrder {
    const KIND: &'static str = "rearm order";

    fn from_memory(text: &str) -> Result<Self, SchemaError> {
        let object = Object::parse(Self::KIND, text)?;
        let at = object.time("at")?.ok_or_else(|| object.bad("`at` is missing"))?;
        let text = |key: &str| Ok::<_, SchemaError>(object.text(key)?.unwrap_or_default().to_owned());
        Ok(Self { id: text("id")?, at, reason: text("reason")?, by: text("by")?, day: object.flag("day")? })
    }
}

fn write_seconds<S: Serializer>(at: &Nanos, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(seconds(*at))
}

impl Kill {
    /// Does it hold, as far as this record says?
    pub const fn in_force(&self) -> bool {
        self.rearmed.is_none()
    }

    /// Does this record settle a kill that somebody knows of, so that it need not be kept any longer? A later one does,
    /// in force or not, and the same one. An earlier one does not, nor another of the same number: memory has lost what
    /// came after, or was split, and the kill that is known goes on to hold.
    pub fn settles(&self, known: &Self) -> bool {
        self.number > known.number || (self.number == known.number && self.id == known.id)
    }
}

impl FromMemory for Kill {
    const KIND: &'static str = "kill";

    fn from_memory(text: &str) -> Result<Self, SchemaError> {
        let mut object = Object::parse(Self::KIND, text)?;
        let number = object.within("number", 1.0, 9e15)? as u64;
        let killed_at = object.time("killed_at")?.ok_or_else(|| object.bad("`killed_at` is missing"))?;
        let rearmed = match object.take("rearmed") {
            None => None,
            Some(value) => Some(Rearm::read(&value.to_string())?),
        };
        Ok(Self {
            number,
            id: object.text("id")?.unwrap_or_default().to_owned(),
            killed_at,
            reason: object.text("reason")?.unwrap_or_default().to_owned(),
            flatten: object.flag("flatten")?,
            by: object.text("by")?.unwrap_or_default().to_owned(),
            rearmed,
        })
    }
}

impl Rearm {
    fn read(text: &str) -> Result<Self, SchemaError> {
        let object = Object::parse("rearm", text)?;
        let at = object.time("at")?.ok_or_else(|| object.bad("`at` is missing"))?;
        let text = |key: &str| Ok::<_, SchemaError>(object.text(key)?.unwrap_or_default().to_owned());
        Ok(Self { at, reason: text("reason")?, by: text("by")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::json::to_text;

    fn kill(number: u64, id: &str) -> Kill {
        Kill {
            number,
            id: id.to_owned(),
            killed_at: Nanos(1_618_099_205_500_000_000),
            reason: "drawdown".to_owned(),
            flatten: true,
            by: "anna".to_owned(),
            rearmed: None,
        }
    }

    #[test]
    fn what_we_write_we_read() {
        let mut written = kill(3, "00000000000000ff");
        assert!(to_text(&written).contains(r#""killed_at":1618099205.5"#));
        assert_eq!(Kill::from_memory(&to_text(&written)).as_ref(), Ok(&written));
        written.rearmed =
            Some(Rearm { at: Nanos(1_618_099_300_000_000_000), reason: "checked".into(), by: "bert".into() });
        assert_eq!(Kill::from_memory(&to_text(&written)).as_ref(), Ok(&written));
        assert!(!written.in_force());
        for (text, reason) in [
            ("{}", "`number` is missing"),
            (r#"{"number": 1}"#, "`killed_at` is missing"),
            (r#"{"number": 1, "killed_at": 1618099205, "flatten": "yes"}"#, "`flatten`"),
            (r#"{"number": 1, "killed_at": 1618099205, "rearmed": true}"#, "rearm rejected"),
            ("[]", "array"),
        ] {
            let error = Kill::from_memory(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_known_kill_is_settled_by_itself_and_by_a_later_one() {
        let known = kill(2, "a");
        let mut itself = kill(2, "a");
        itself.rearmed = Some(Rearm { at: Nanos(0), reason: String::new(), by: String::new() });
        assert!(itself.settles(&known) && kill(3, "c").settles(&known));
        assert!(!kill(1, "b").settles(&known) && !kill(2, "b").settles(&known));
    }

    #[test]
    fn an_order_to_rearm_is_read_as_it_was_written() {
        let order = RearmOrder {
            id: "00000000000000ff".to_owned(),
            at: Nanos(1_618_099_205_500_000_000),
            reason: "the manual order was mine".to_owned(),
            by: "anna".to_owned(),
            day: true,
        };
        assert_eq!(RearmOrder::from_memory(&to_text(&order)).as_ref(), Ok(&order));
        assert!(RearmOrder::from_memory("{}").is_err());
    }

    #[test]
    fn a_lease_of_an_older_version_is_nobodys() {
        let old = LeaseRecord::from_memory(r#"{"owner":"a_12","fence":7,"beat":3}"#).unwrap();
        assert_eq!((old.identity.as_str(), old.locked, old.kill), ("", false, 0));
    }
}
