//! What a live node does, and for which symbols.

/// What a live node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything, on one machine.
    #[default]
    All,
    /// Feed and books of a share of the symbols; their features go to memory.
    Ingest,
    /// Engine and orders on the features in memory; trades while it holds the lease.
    Alpha,
}

impl Role {
    /// All roles.
    pub const EACH: [Self; 3] = [Self::All, Self::Ingest, Self::Alpha];

    /// As the command line writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Ingest => "ingest",
            Self::Alpha => "alpha",
        }
    }
}

/// The symbols of a node: names, or the i-th of n shares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Share {
    /// All that the configuration or the venue names.
    #[default]
    Whole,
    /// These.
    Symbols(Vec<String>),
    /// Every n-th symbol, beginning with the i-th (from 1).
    Part {
        /// Which, 1 … `of`.
        part: usize,
        /// Of how many.
        of: usize,
    },
}

impl Share {
    /// From the texts of the command line: `A,B,C` and `I/N`.
    pub fn parse(symbols: &[String], share: Option<&str>) -> Result<Self, String> {
        match (symbols, share) {
            ([], None) => Ok(Self::Whole),
            (symbols, None) => Ok(Self::Symbols(symbols.iter().map(|s| s.to_uppercase()).collect())),
            (_, Some(text)) => {
                let parsed = text.split_once('/').and_then(|(i, n)| {
                    let (part, of) = (i.trim().parse().ok()?, n.trim().parse().ok()?);
                    (1 <= part && part <= of).then_some(Self::Part { part, of })
                });
                parsed.ok_or_else(|| format!("`{text}` is no share: I/N with 1 ≤ I ≤ N, e.g. 1/2"))
            }
        }
    }

    /// The symbols of this share, of all that there are.
    pub fn of(&self, all: Vec<String>) -> Vec<String> {
        match self {
            Self::Whole => all,
            Self::Symbols(names) => names.clone(),
            Self::Part { part, of } => all.into_iter().skip(part - 1).step_by(*of).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_part_all_symbols_between_them() {
        let all: Vec<String> = (0..7).map(|i| format!("S{i}")).collect();
        let part = |part, of| Share::Part { part, of }.of(all.clone());
        assert_eq!(part(1, 2), ["S0", "S2", "S4", "S6"]);
        assert_eq!(part(2, 2), ["S1", "S3", "S5"]);
        assert_eq!(Share::parse(&[], Some("2/3")), Ok(Share::Part { part: 2, of: 3 }));
        assert_eq!(Share::parse(&["btcusdt".into()], None), Ok(Share::Symbols(vec!["BTCUSDT".into()])));
        assert_eq!(Share::Whole.of(all.clone()), all);
        for bad in ["", "0/2", "3/2", "1", "a/b", "1/0"] {
            assert!(Share::parse(&[], Some(bad)).unwrap_err().contains("no share"), "{bad}");
        }
    }
}
