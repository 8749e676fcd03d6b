//! A first look through recordings: which symbols, how many decimals, which trade streams. It stands in for the
//! venue's instrument list where there is none.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use market::{Increment, Instrument, SymbolId, decimal::MAX_SCALE};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::{RecordingError, RecordingReader, is_bare_snapshot};

/// What the recordings say of a symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurveyedSymbol {
    /// Venue name.
    pub symbol: String,
    /// Most decimals of a price.
    pub px_decimals: u8,
    /// Most decimals of a quantity.
    pub qty_decimals: u8,
    /// Has `aggTrade` frames.
    pub has_aggregates: bool,
}

/// What the recordings hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Symbols in byte order of their names: the column order.
    pub symbols: Vec<SurveyedSymbol>,
    /// By file: the symbol its bare snapshots belong to, if the file is of one symbol.
    pub file_symbols: Vec<Option<SymbolId>>,
}

impl Survey {
    /// The symbols as instruments whose tick and lot are one unit of the last decimal seen.
    pub fn instruments(&self) -> Vec<Instrument> {
        let instrument = |(i, s): (usize, &SurveyedSymbol)| {
            let (tick, lot) = (Increment::decimals(s.px_decimals), Increment::decimals(s.qty_decimals));
            Instrument::plain(SymbolId(u16::try_from(i).unwrap_or(u16::MAX)), &s.symbol, tick, lot)
        };
        self.symbols.iter().enumerate().map(instrument).collect()
    }
}

/// Decimals of a price and of a quantity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Decimals {
    px: u8,
    qty: u8,
}

impl Decimals {
    fn of(text: &str) -> u8 {
        let decimals = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        u8::try_from(decimals).unwrap_or(MAX_SCALE).min(MAX_SCALE)
    }

    fn widen(&mut self, o: Self) {
        self.px = self.px.max(o.px);
        self.qty = self.qty.max(o.qty);
    }
}

/// `b`, `a`: a price text (bookTicker), or levels (depth); anything else says nothing.
#[derive(Debug, Clone, Copy, Default)]
struct Side(Decimals);

impl<'de> Deserialize<'de> for Side {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SideVisitor;
        impl<'de> Visitor<'de> for SideVisitor {
            type Value = Side;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a price, an id or levels")
            }
            fn visit_str<E>(self, text: &str) -> Result<Side, E> {
                Ok(Side(Decimals { px: Decimals::of(text), qty: 0 }))
            }
            fn visit_u64<E>(self, _: u64) -> Result<Side, E> {
                Ok(Side::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut levels: A) -> Result<Side, A::Error> {
                let mut all = Decimals::default();
                while let Some((px, qty)) = levels.next_element::<(Text<'de>, Text<'de>)>()? {
                    all.widen(Decimals { px: Decimals::of(&px.0), qty: Decimals::of(&qty.0) });
                }
                Ok(Side(all))
            }
        }
        deserializer.deserialize_any(SideVisitor)
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The fields of an event that tell symbol and decimals.
#[derive(Deserialize, Default)]
struct Event<'a> {
    #[serde(borrow, default)]
    e: Cow<'a, str>,
    #[serde(borrow, default)]
    s: Cow<'a, str>,
    #[serde(borrow)]
    p: Option<Cow<'a, str>>,
    #[serde(borrow)]
    q: Option<Cow<'a, str>>,
    #[serde(default)]
    b: Side,
    #[serde(default)]
    a: Side,
    #[serde(borrow, rename = "B")]
    bid_qty: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "A")]
    ask_qty: Option<Cow<'a, str>>,
    #[serde(default)]
    bids: Side,
    #[serde(default)]
    asks: Side,
}

#[derive(Deserialize)]
struct Combined<'a> {
    #[serde(borrow, default)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    data: Event<'a>,
}

impl Event<'_> {
    fn decimals(&self) -> Decimals {
        let of = |text: &Option<Cow<'_, str>>| text.as_deref().map_or(0, Decimals::of);
        let mut all = Decimals::default();
        for side in [self.b, self.a, self.bids, self.asks] {
            all.widen(side.0);
        }
        // A mark price has more digits than a tick.
        let px = if self.e == "markPriceUpdate" { 0 } else { of(&self.p) };
        let qty = of(&self.q).max(of(&self.bid_qty)).max(of(&self.ask_qty));
        all.widen(Decimals { px, qty });
        all
    }
}

/// What one file has said so far.
#[derive(Default)]
struct FileSurvey {
    symbols: BTreeMap<String, (Decimals, bool)>,
    /// Of bare snapshots: the decimals, and the line of the first.
    bare: Option<(Decimals, u64)>,
}

impl FileSurvey {
    fn take(&mut self, number: u64, frame: &[u8]) {
        if is_bare_snapshot(frame) {
            if let Ok(event) = serde_json::from_slice::<Event<'_>>(frame) {
                self.bare.get_or_insert((Decimals::default(), number)).0.widen(event.decimals());
            }
            return;
        }
        let combined = frame.starts_with(b"{\"stream\"");
        let parsed = if combined {
            serde_json::from_slice::<Combined<'_>>(frame)
        } else {
            serde_json::from_slice(frame).map(|data| Combined { stream: Cow::Borrowed(""), data })
        };
        // What is no frame of a market is for the decoder to count.
        let Ok(Combined { stream, data }) = parsed else { return };
        let symbol = match stream.strip_suffix("@depthSnapshot") {
            Some(name) => name.to_uppercase(),
            None if matches!(&*data.e, "depthUpdate" | "bookTicker" | "aggTrade" | "trade") => {
                data.s.clone().into_owned()
            }
            None => return,
        };
        if !symbol.is_empty() {
            let (decimals, aggregates) = self.symbols.entry(symbol).or_default();
            decimals.widen(data.decimals());
            *aggregates |= data.e == "aggTrade";
        }
    }
}

/// Reads the recordings once for their symbols and decimals.
pub fn survey(paths: &[PathBuf]) -> Result<Survey, RecordingError> {
    let mut all = BTreeMap::<String, (Decimals, bool)>::new();
    let mut lines = 0;
    let mut owners = Vec::with_capacity(paths.len());
    for path in paths {
        let mut file = FileSurvey::default();
        let mut reader = RecordingReader::open(path)?;
        while reader.advance()? {
            let line = reader.line();
            file.take(line.number, line.frame);
            lines += 1;
        }
        let owner = match (file.symbols.len(), file.bare) {
            (1, _) => file.symbols.keys().next().cloned(),
            (_, None) => None,
            (symbols, Some((_, line))) => {
                return Err(RecordingError::WhoseSnapshot { path: path.clone(), line, symbols });
            }
        };
        if let (Some(owner), Some((decimals, _))) = (&owner, file.bare) {
            file.symbols.entry(owner.clone()).or_default().0.widen(decimals);
        }
        for (symbol, (decimals, aggregates)) in file.symbols {
            let entry = all.entry(symbol).or_default();
            entry.0.widen(decimals);
            entry.1 |= aggregates;
        }
        owners.push(owner);
    }
    if all.is_empty() {
        return Err(RecordingError::NoSymbols { path: paths.first().cloned().unwrap_or_default(), lines });
    }
    let place = |owner: Option<String>| {
        let at = all.keys().position(|symbol| Some(symbol) == owner.as_ref())?;
        u16::try_from(at).ok().map(SymbolId)
    };
    let file_symbols = owners.into_iter().map(place).collect();
    let symbols = all
        .into_iter()
        .map(|(symbol, (decimals, has_aggregates))| SurveyedSymbol {
            symbol,
            px_decimals: decimals.px,
            qty_decimals: decimals.qty,
            has_aggregates,
        })
        .collect();
    Ok(Survey { symbols, file_symbols })
}
