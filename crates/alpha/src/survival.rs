//! Survival stack (SPEC §4.2): how much risk is allowed, and when a change of it applies.

use market::Posture;
use serde::{Deserialize, Serialize};

/// A posture with the Rm behind it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Safety {
    /// Posture.
    pub posture: Posture,
    /// Rm in [0, 1].
    #[serde(rename = "Rm")]
    pub rm: f64,
}

/// Why a safety value is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SafetyError {
    /// Not a JSON object.
    #[error("the safety value is not a JSON object")]
    NotJson,
    /// Neither a posture nor an Rm, or one of them is not readable.
    #[error("the safety value lacks a readable posture or Rm: {0}")]
    Unreadable(String),
    /// Rm outside [0, 1].
    #[error("Rm is {0}; it must be between 0 and 1")]
    Rm(f64),
}

impl Safety {
    /// Nothing known: APEX, 1.0.
    pub const FREE: Self = Self { posture: Posture::Apex, rm: 1.0 };
    /// Something is said that cannot be read: TURTLE, 0.5.
    pub const UNREADABLE: Self = Self { posture: Posture::Turtle, rm: 0.5 };

    /// The posture that belongs to an Rm; NaN hibernates.
    pub fn of(rm: f64) -> Self {
        let rm = if rm.is_nan() { 0.0 } else { rm.clamp(0.0, 1.0) };
        Self { posture: Posture::from_rm(rm), rm }
    }

    /// `{"posture": "TURTLE", "Rm": 0.6}` as memory and posture files hold it; other keys are ignored. A posture alone
    /// has Rm 1, an Rm alone the posture that belongs to it.
    pub fn parse(json: &[u8]) -> Result<Self, SafetyError> {
        let value: serde_json::Value = serde_json::from_slice(json).map_err(|_| SafetyError::NotJson)?;
        let object = value.as_object().ok_or(SafetyError::NotJson)?;
        let given = |key: &str| object.get(key).filter(|v| !v.is_null());
        let posture = given("posture")
            .map(|v| v.as_str().unwrap_or_default().parse::<Posture>().map_err(SafetyError::Unreadable))
            .transpose()?;
        let rm = given("Rm")
            .map(|v| v.as_f64().ok_or_else(|| SafetyError::Unreadable("Rm is not a number".to_owned())))
            .transpose()?;
        if let Some(rm) = rm.filter(|rm| !(0.0..=1.0).contains(rm)) {
            return Err(SafetyError::Rm(rm));
        }
        match (posture, rm) {
            (Some(posture), Some(rm)) => Ok(Self { posture, rm }),
            (Some(posture), None) => Ok(Self { posture, rm: 1.0 }),
            (None, Some(rm)) => Ok(Self::of(rm)),
            (None, None) => Err(SafetyError::Unreadable("both are missing".to_owned())),
        }
    }

    /// The stricter of the two, each part by itself.
    #[must_use]
    pub fn strictest(self, other: Self) -> Self {
        let posture =
            if other.posture.strictness() > self.posture.strictness() { other.posture } else { self.posture };
        Self { posture, rm: self.rm.min(other.rm) }
    }
}

/// What memory says about safety.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum SafetyWord {
    /// This.
    Says(Safety),
    /// Something that cannot be read.
    Unreadable,
}

/// What is in force, and what was told last. What tightens applies at once, what loosens at the next date change.
///
/// The program's own Rm stands beside it: the stricter of the two is in force, and it may rise again at any time, because
/// it is a measurement of now and not an order. So it is with a word that cannot be read: it limits until one can be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Survival {
    in_force: Safety,
    told: Safety,
    own: Safety,
    #[serde(default)]
    unreadable: bool,
}

impl Default for Survival {
    fn default() -> Self {
        Self { in_force: Safety::FREE, told: Safety::FREE, own: Safety::FREE, unreadable: false }
    }
}

impl Survival {
    /// What is in force.
    pub fn in_force(&self) -> Safety {
        let limited = if self.unreadable { Safety::UNREADABLE } else { Safety::FREE };
        self.in_force.strictest(self.own).strictest(limited)
    }

    /// The Rm that the program measures itself.
    pub fn measure(&mut self, rm: f64) {
        self.own = Safety::of(rm);
    }

    /// Start and date change: `read` applies as it is.
    pub const fn begin_day(&mut self, read: Safety) {
        self.in_force = read;
        self.told = read;
    }

    /// What is read at a start: applies as it is; nothing of what was told before does.
    pub const fn begin(&mut self, word: SafetyWord) {
        self.unreadable = matches!(word, SafetyWord::Unreadable);
        self.begin_day(match word {
            SafetyWord::Says(read) => read,
            SafetyWord::Unreadable => Safety::FREE,
        });
    }

    /// A word of memory during the day.
    pub fn hear(&mut self, word: SafetyWord) -> Safety {
        self.unreadable = matches!(word, SafetyWord::Unreadable);
        match word {
            SafetyWord::Says(told) => self.push(told),
            SafetyWord::Unreadable => self.in_force(),
        }
    }

    /// A push during the day; gives what is in force after it.
    pub fn push(&mut self, told: Safety) -> Safety {
        self.told = told;
        self.in_force = self.in_force.strictest(told);
        self.in_force()
    }

    /// What a date change would bring if nothing newer is read.
    pub const fn told(&self) -> Safety {
        self.told
    }
}

/// The five sensors, each in [0, 1], 1 = sound.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sensors {
    /// Freshness of the market data.
    pub market_data: f64,
    /// Health of the order channel: acknowledgement latency, rejects.
    pub order_channel: f64,
    /// Drawdown of the day.
    pub drawdown: f64,
    /// Microstructure stress: symbols cascading, spread against its baseline.
    pub microstructure: f64,
    /// Consistency of the state after reconciliation.
    pub consistency: f64,
}

impl Sensors {
    /// Rm: the product of the five, each held within [0, 1]; a NaN counts as 0.
    pub fn rm(&self) -> f64 {
        let five =
            [self.market_data, self.order_channel, self.drawdown, self.microstructure, self.consistency];
        five.iter().map(|s| if s.is_nan() { 0.0 } else { s.clamp(0.0, 1.0) }).product()
    }

    /// A sensor that is 1 up to `good`, falls straight to 0 at `bad` and stays there; NaN gives 0.
    pub fn ramp(value: f64, good: f64, bad: f64) -> f64 {
        if value <= good {
            1.0
        } else if value < bad {
            (bad - value) / (bad - good)
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_loosens_waits_for_the_date() {
        let mut s = Survival::default();
        let turtle = Safety { posture: Posture::Turtle, rm: 0.6 };
        assert_eq!(s.push(turtle), turtle);
        assert_eq!(s.push(Safety::FREE), turtle, "loosening waits");
        assert_eq!(s.told(), Safety::FREE);
        let mixed = s.push(Safety { posture: Posture::Apex, rm: 0.4 });
        assert_eq!(mixed, Safety { posture: Posture::Turtle, rm: 0.4 });
        s.begin_day(Safety::FREE);
        assert_eq!(s.in_force(), Safety::FREE);
    }

    #[test]
    fn our_own_rm_may_rise_again_and_never_above_what_was_told() {
        let mut s = Survival::default();
        s.measure(0.6);
        assert_eq!(s.in_force(), Safety { posture: Posture::Turtle, rm: 0.6 });
        s.push(Safety { posture: Posture::Stalker, rm: 0.8 });
        assert_eq!(s.in_force(), Safety { posture: Posture::Turtle, rm: 0.6 });
        s.measure(1.0);
        assert_eq!(s.in_force(), Safety { posture: Posture::Stalker, rm: 0.8 });
        s.measure(f64::NAN);
        assert_eq!(s.in_force().posture, Posture::Hibernate);
        s.begin_day(Safety::FREE);
        assert_eq!(s.in_force().posture, Posture::Hibernate, "a new date changes no measurement");
    }

    #[test]
    fn rm_is_the_product_and_nan_is_nothing() {
        let sound = Sensors {
            market_data: 1.0,
            order_channel: 1.0,
            drawdown: 1.0,
            microstructure: 1.0,
            consistency: 1.0,
        };
        assert_eq!(sound.rm(), 1.0);
        assert_eq!(Sensors { drawdown: 0.5, microstructure: 0.5, ..sound }.rm(), 0.25);
        assert_eq!(Sensors { drawdown: f64::NAN, ..sound }.rm(), 0.0);
        assert_eq!(Sensors { drawdown: 7.0, ..sound }.rm(), 1.0);
        let ramp = |v| Sensors::ramp(v, 1.0, 3.0);
        assert_eq!([ramp(0.0), ramp(1.0), ramp(2.0), ramp(3.0), ramp(9.0)], [1.0, 1.0, 0.5, 0.0, 0.0]);
        assert_eq!(ramp(f64::NAN), 0.0);
    }

    #[test]
    fn safety_values_are_read_or_refused() {
        let at = |json: &str| Safety::parse(json.as_bytes());
        assert_eq!(
            at(r#"{"posture":"TURTLE","Rm":0.6,"ts":1}"#),
            Ok(Safety { posture: Posture::Turtle, rm: 0.6 })
        );
        assert_eq!(at(r#"{"Rm":0.8}"#).unwrap().posture, Posture::Stalker);
        assert_eq!(at(r#"{"posture":"HIBERNATE"}"#).unwrap().posture, Posture::Hibernate);
        for bad in ["", "[]", "{}", r#"{"posture":"SHARK"}"#, r#"{"Rm":1.5}"#, r#"{"Rm":"x"}"#] {
            assert!(at(bad).is_err(), "{bad}");
        }
        assert_eq!(Safety::of(f64::NAN).posture, Posture::Hibernate);
    }
}
