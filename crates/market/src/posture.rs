//! Posture: how much risk the survival stack allows (SPEC §4.2).

use serde::{Deserialize, Serialize};

/// The four postures, from the freest to none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Posture {
    /// Rm ≥ 0.90.
    Apex,
    /// Rm ≥ 0.75: leverage ≤ 2.
    Stalker,
    /// Rm ≥ 0.50.
    Turtle,
    /// Below: nothing is stepped.
    Hibernate,
}

impl Posture {
    /// The posture of an Rm in [0, 1]; anything else, NaN included, hibernates.
    pub fn from_rm(rm: f64) -> Self {
        match rm {
            r if r >= 0.90 => Self::Apex,
            r if r >= 0.75 => Self::Stalker,
            r if r >= 0.50 => Self::Turtle,
            _ => Self::Hibernate,
        }
    }

    /// Its name in memory, files and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Apex => "APEX",
            Self::Stalker => "STALKER",
            Self::Turtle => "TURTLE",
            Self::Hibernate => "HIBERNATE",
        }
    }

    /// 0 the freest … 3 none: a larger number is stricter.
    pub const fn strictness(self) -> u8 {
        self as u8
    }
}

impl std::fmt::Display for Posture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Posture {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        [Self::Apex, Self::Stalker, Self::Turtle, Self::Hibernate]
            .into_iter()
            .find(|p| p.name().eq_ignore_ascii_case(s))
            .ok_or_else(|| format!("`{s}` is not a posture: APEX, STALKER, TURTLE or HIBERNATE"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_inclusive_and_nan_hibernates() {
        let at = Posture::from_rm;
        assert_eq!(
            [at(0.90), at(0.89), at(0.75), at(0.50), at(0.49)].map(Posture::strictness),
            [0, 1, 1, 2, 3]
        );
        assert_eq!(at(f64::NAN), Posture::Hibernate);
        assert_eq!("stalker".parse(), Ok(Posture::Stalker));
    }
}
