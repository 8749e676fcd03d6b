//! What the venue plays: the changes of one symbol with their times between, from a recording or made up, and books
//! from which symbols may begin at phases of their own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use archive::recording::{RecordingReader, survey};
use binance::decode::{Decoder, Frame};
use market::{Increment, Level, MarketEvent, Px, Qty, Side, TradeKind};
use runtime::environment::splitmix64;
use sha2::{Digest, Sha256};

/// Books kept of a pattern, evenly over its length.
const PHASES: usize = 256;
/// Levels a side of such a book.
const DEPTH: usize = 500;
/// The beginning of a recording, ns: books are not whole yet.
const SETTLING: u64 = 10_000_000_000;

/// A change of the market.
#[derive(Debug, Clone)]
pub enum Change {
    /// Levels, absolute; 0 removes.
    Levels(Box<[Level]>, Box<[Level]>),
    /// A trade.
    Trade(Side, Px, Qty),
}

/// A change and when, ns since the pattern's start.
#[derive(Debug, Clone)]
pub struct Timed {
    /// When.
    pub after: u64,
    /// What.
    pub change: Change,
}

/// A book, and the first change that is not in it.
#[derive(Debug, Clone)]
pub struct Phase {
    /// Place of that change.
    pub next: usize,
    /// Bids.
    pub bids: Vec<Level>,
    /// Asks.
    pub asks: Vec<Level>,
}

impl Phase {
    /// Middle of the touch, in ticks.
    pub fn middle(&self) -> f64 {
        let best = |side: &[Level]| side.first().map_or(f64::NAN, |l| l.px.0 as f64);
        f64::midpoint(best(&self.bids), best(&self.asks))
    }
}

/// What one symbol does.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// Price step.
    pub tick: Increment,
    /// Quantity step.
    pub lot: Increment,
    /// Changes by time.
    pub changes: Vec<Timed>,
    /// From when on it may be joined; the first is where it begins again.
    pub phases: Vec<Phase>,
}

/// The patterns of a run and what they were made of.
#[derive(Debug, Clone)]
pub struct Source {
    /// Symbols take them in turn.
    pub patterns: Vec<Pattern>,
    /// For people.
    pub name: String,
    /// SHA-256 over what was read, first 12 digits.
    pub digest: String,
}

/// Why a recording gives no pattern.
pub type Unusable = String;

impl Source {
    /// One pattern of each symbol of each recording.
    pub fn recorded(files: &[PathBuf]) -> Result<Self, Unusable> {
        let mut hash = Sha256::new();
        let mut patterns = Vec::new();
        for file in files {
            hash.update(std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?);
            patterns.append(&mut of_file(file)?);
        }
        if patterns.is_empty() {
            return Err("the recordings hold no depth updates of 10 s and more to play".to_owned());
        }
        let names: Vec<String> =
            files.iter().filter_map(|f| Some(f.file_name()?.to_string_lossy().into_owned())).collect();
        Ok(Self { patterns, name: names.join(", "), digest: digest(hash) })
    }

    /// Two made-up patterns of so many seconds, about as busy as a large symbol.
    pub fn generated(seconds: u64) -> Self {
        let patterns: Vec<Pattern> =
            [(1, 600_000), (2, 270_000)].into_iter().map(|(seed, mid)| made_up(seed, mid, seconds)).collect();
        let mut hash = Sha256::new();
        for timed in patterns.iter().flat_map(|p| &p.changes) {
            hash.update(timed.after.to_le_bytes());
        }
        Self { patterns, name: "generated".to_owned(), digest: digest(hash) }
    }
}

fn digest(hash: Sha256) -> String {
    hash.finalize().iter().take(6).map(|b| format!("{b:02x}")).collect()
}

/// A book that is never crossed.
#[derive(Debug, Default)]
struct Sides([BTreeMap<i64, i64>; 2]);

impl Sides {
    /// Takes levels in; gives those that really change, and those of the other side that they cross and that are gone.
    fn apply(&mut self, bids: &[Level], asks: &[Level]) -> (Box<[Level]>, Box<[Level]>) {
        let mut out = [bids.to_vec(), asks.to_vec()];
        for (side, levels) in [bids, asks].into_iter().enumerate() {
            for l in levels {
                if l.qty.0 == 0 {
                    self.0[side].remove(&l.px.0);
                    continue;
                }
                self.0[side].insert(l.px.0, l.qty.0);
                let other = 1 - side;
                let crossed: Vec<i64> = if side == 0 {
                    self.0[other].range(..=l.px.0).map(|(px, _)| *px).collect()
                } else {
                    self.0[other].range(l.px.0..).map(|(px, _)| *px).collect()
                };
                for px in crossed {
                    self.0[other].remove(&px);
                    out[other].push(Level { px: Px(px), qty: Qty(0) });
                }
            }
        }
        let [bids, asks] = out;
        (bids.into(), asks.into())
    }

    fn phase(&self, next: usize) -> Phase {
        let level = |(px, qty): (&i64, &i64)| Level { px: Px(*px), qty: Qty(*qty) };
        let bids = self.0[0].iter().rev().take(DEPTH).map(level).collect();
        Phase { next, bids, asks: self.0[1].iter().take(DEPTH).map(level).collect() }
    }

    fn is_two_sided(&self) -> bool {
        self.0.iter().all(|side| side.len() >= 10)
    }
}

/// Puts changes and books together.
fn pattern(tick: Increment, lot: Increment, raw: Vec<Timed>, settling: u64) -> Option<Pattern> {
    let length = raw.last()?.after;
    let mut sides = Sides::default();
    let (mut changes, mut phases) = (Vec::with_capacity(raw.len()), Vec::new());
    let every = length.saturating_sub(settling) / PHASES as u64;
    for Timed { after, change } in raw {
        if after >= settling + every * phases.len() as u64 && phases.len() < PHASES && sides.is_two_sided() {
            phases.push(sides.phase(changes.len()));
        }
        let change = match change {
            Change::Levels(bids, asks) => {
                let (bids, asks) = sides.apply(&bids, &asks);
                Change::Levels(bids, asks)
            }
            trade @ Change::Trade(..) => trade,
        };
        changes.push(Timed { after, change });
    }
    (!phases.is_empty()).then_some(Pattern { tick, lot, changes, phases })
}

fn of_file(file: &Path) -> Result<Vec<Pattern>, Unusable> {
    let says = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
    let found = survey(&[file.to_owned()]).map_err(|e| says(&e))?;
    let instruments = found.instruments();
    let mut decoder = Decoder::new(&instruments);
    let mut raw: Vec<Vec<Timed>> = vec![Vec::new(); instruments.len()];
    let mut reader = RecordingReader::open(file).map_err(|e| says(&e))?;
    let mut began = None;
    while reader.advance().map_err(|e| says(&e))? {
        let line = reader.line();
        let began = *began.get_or_insert(line.recv.0);
        let Ok(Frame::Market(event)) = decoder.decode(line.frame) else { continue };
        let change = match event {
            MarketEvent::Depth(d) => Change::Levels(d.bids.into(), d.asks.into()),
            MarketEvent::Trade(t) if t.kind != TradeKind::Aggregate && t.qty.0 > 0 => {
                Change::Trade(t.aggressor, t.px, t.qty)
            }
            _ => continue,
        };
        let after = line.recv.0.saturating_sub(began);
        raw[event.symbol().index()].push(Timed { after, change });
    }
    Ok(instruments.iter().zip(raw).filter_map(|(i, raw)| pattern(i.tick, i.lot, raw, SETTLING)).collect())
}

/// A random walk: about 20 changes of the book and 40 trades a second.
fn made_up(seed: u64, mid: i64, seconds: u64) -> Pattern {
    let mut state = seed;
    let mut random = |below: u64| splitmix64(&mut state) % below.max(1);
    let level = |px: i64, qty: u64| Level { px: Px(px), qty: Qty(qty as i64) };
    let (mut bid, mut after, mut raw) = (mid, 0, Vec::new());
    let whole = |bid: i64| {
        let bids: Box<[Level]> = (0..200).map(|i| level(bid - i, 1_000 + i as u64)).collect();
        (bids, (0..200).map(|i| level(bid + 1 + i, 1_000 + i as u64)).collect())
    };
    let (bids, asks) = whole(bid);
    raw.push(Timed { after: 0, change: Change::Levels(bids, asks) });
    while after < seconds * 1_000_000_000 {
        // Waits of an exponential law, by its inverse.
        let uniform = (random(1 << 32) + 1) as f64 / (1u64 << 32) as f64;
        after += (-uniform.ln() * 50e6) as u64 + 1;
        let old = bid;
        bid += [-2, -1, -1, 0, 0, 0, 0, 1, 1, 2][random(10) as usize];
        let mut bids: Vec<Level> = (bid + 1..=old).map(|px| level(px, 0)).collect();
        let mut asks: Vec<Level> = (old + 1..=bid).map(|px| level(px, 0)).collect();
        bids.extend((0..8).map(|i| level(bid - i, 500 + random(2_000))));
        asks.extend((0..8).map(|i| level(bid + 1 + i, 500 + random(2_000))));
        raw.push(Timed { after, change: Change::Levels(bids.into(), asks.into()) });
        for _ in 0..random(5) {
            let (side, px) = if random(2) == 0 { (Side::Buy, bid + 1) } else { (Side::Sell, bid) };
            let at = after + random(40_000_000);
            raw.push(Timed { after: at, change: Change::Trade(side, Px(px), Qty(1 + random(800) as i64)) });
        }
    }
    raw.sort_by_key(|t| t.after);
    pattern(Increment::decimals(1), Increment::decimals(3), raw, 0).expect("its first change is a whole book")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_up_market_is_never_crossed_and_can_be_joined_anywhere() {
        let source = Source::generated(20);
        let again = Source::generated(20);
        assert_eq!(source.digest, again.digest);
        for p in &source.patterns {
            assert!(p.phases.len() > 100 && p.changes.len() > 20 * 15, "{}", p.changes.len());
            let mut sides = Sides::default();
            for (i, timed) in p.changes.iter().enumerate() {
                if let Some(phase) = p.phases.iter().find(|f| f.next == i) {
                    let now = sides.phase(i);
                    assert_eq!((&phase.bids, &phase.asks), (&now.bids, &now.asks));
                }
                if let Change::Levels(bids, asks) = &timed.change {
                    sides.apply(bids, asks);
                    let best = (sides.0[0].last_key_value(), sides.0[1].first_key_value());
                    let (Some((bid, _)), Some((ask, _))) = best else { panic!("one-sided at {i}") };
                    assert!(bid < ask, "crossed at {i}");
                }
            }
            assert!(p.changes.windows(2).all(|w| w[0].after <= w[1].after));
        }
    }

    #[test]
    fn a_level_that_crosses_takes_the_other_side_away() {
        let mut sides = Sides::default();
        let l = |px, qty| Level { px: Px(px), qty: Qty(qty) };
        sides.apply(&[l(9, 1), l(10, 1)], &[l(11, 1), l(12, 1)]);
        let (bids, asks) = sides.apply(&[l(11, 5)], &[]);
        assert_eq!((&*bids, &*asks), (&[l(11, 5)][..], &[l(11, 0)][..]));
        assert_eq!(sides.phase(0).middle(), 11.5);
    }
}
