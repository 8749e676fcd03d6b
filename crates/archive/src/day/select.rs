//! Which columns of a day are assets (SPEC §2.1): those whose name is a symbol of the reference's quote. Writers put
//! all sorts of columns beside the prices (row numbers, labels, a second index); none of them may be traded.

use std::fmt;

use super::types::META_COLUMNS;

/// Quote assets of the venue's markets, longest first among those that end alike.
const QUOTES: [&str; 14] = [
    "FDUSD", "USDT", "USDC", "BUSD", "TUSD", "BFUSD", "USDE", "USD1", "USD", "BTC", "ETH", "BNB", "EUR",
    "TRY",
];

/// Which columns are assets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssetColumns {
    /// Symbols that end in this quote asset: `USDT` takes `BTCUSDT` and `1000SHIBUSDT`.
    Quoted(String),
    /// These, whatever their names look like.
    Named(Vec<String>),
}

impl Default for AssetColumns {
    fn default() -> Self {
        Self::Quoted("USDT".to_owned())
    }
}

impl AssetColumns {
    /// Symbols of the quote of `reference`: `BTCUSDC` takes those in USDC. Of a symbol whose quote is not known, the last
    /// three letters.
    pub fn of_reference(reference: &str) -> Self {
        let known = QUOTES.into_iter().find(|quote| base(reference, quote).is_some());
        let last = reference.char_indices().rev().nth(2).map_or(reference, |(at, _)| &reference[at..]);
        Self::Quoted(known.unwrap_or(last).to_owned())
    }

    /// Exactly the columns that `list` names, separated by commas.
    pub fn named(list: &str) -> Result<Self, String> {
        let names: Vec<String> =
            list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if names.is_empty() {
            return Err("it names no column: write BTCUSDT,ETHUSDT".to_owned());
        }
        match names.iter().find(|name| META_COLUMNS.contains(&name.as_str())) {
            Some(meta) => Err(format!("`{meta}` is a column of the scan, it holds no price")),
            None => Ok(Self::Named(names)),
        }
    }

    /// Is a column of this name an asset?
    pub fn takes(&self, name: &str) -> bool {
        match self {
            Self::Quoted(quote) => base(name, quote).is_some(),
            Self::Named(names) => names.iter().any(|known| known == name),
        }
    }

    /// The names asked for that are not among `found`.
    pub(super) fn missing(&self, found: &[String]) -> Vec<String> {
        match self {
            Self::Quoted(_) => Vec::new(),
            Self::Named(names) => names.iter().filter(|name| !found.contains(name)).cloned().collect(),
        }
    }
}

impl fmt::Display for AssetColumns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quoted(quote) => write!(f, "a symbol quoted in {quote}"),
            Self::Named(names) => write!(f, "one of those asked for ({})", names.join(", ")),
        }
    }
}

/// The base of a symbol of `quote`: letters and digits, none of them small.
fn base<'a>(name: &'a str, quote: &str) -> Option<&'a str> {
    let base = name.strip_suffix(quote)?;
    let plain = base.chars().all(|c| c.is_alphanumeric() && !c.is_lowercase());
    (!base.is_empty() && plain).then_some(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_of_the_quote_are_assets_and_nothing_else_is() {
        let usdt = AssetColumns::of_reference("BTCUSDT");
        assert_eq!(usdt, AssetColumns::default());
        for name in ["BTCUSDT", "1000SHIBUSDT", "USDCUSDT", "A0USDT", "1INCHUSDT", "币安人生USDT"] {
            assert!(usdt.takes(name), "{name}");
        }
        for name in [
            "row_id",
            "Unnamed: 0",
            "",
            "USDT",
            "btcusdt",
            "BTCUSDC",
            "BTCUSDT_250926",
            "BTC/USDT",
            "vol_USDT",
            "sumUSDT",
            " BTCUSDT",
            "BTCUSDT ",
            "BTC-USDT",
            "index",
            "level_0",
        ] {
            assert!(!usdt.takes(name), "{name}");
        }
        for (reference, quote) in [
            ("ETHUSDC", "USDC"),
            ("BTCFDUSD", "FDUSD"),
            ("BTCUSD", "USD"),
            ("ETHBTC", "BTC"),
            ("BTCXYZ", "XYZ"),
            ("A", "A"),
            ("", ""),
        ] {
            assert_eq!(AssetColumns::of_reference(reference), AssetColumns::Quoted(quote.to_owned()));
        }
    }

    #[test]
    fn columns_may_be_named() {
        let named = AssetColumns::named(" gold, BTCUSDT,").unwrap();
        assert!(named.takes("gold") && named.takes("BTCUSDT") && !named.takes("ETHUSDT"));
        assert_eq!(named.missing(&["gold".to_owned()]), ["BTCUSDT"]);
        assert!(AssetColumns::named(" ,").is_err());
        assert!(AssetColumns::named("A,vel_div").unwrap_err().contains("vel_div"));
    }
}
