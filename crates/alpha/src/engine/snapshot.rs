//! Snapshots: a restored engine continues bit for bit.

use serde::{Deserialize, Serialize};

use super::{Engine, EngineError, Hold, Ledger, RingSizes, Rings, State};
use crate::history::{PriceHistory, SavedPrices};
use crate::params::Params;
use crate::position::OpenPosition;
use crate::report::DayResult;
use crate::rng::{RandomState, RngPosition};
use crate::survival::Safety;

/// Layout of [`Snapshot`].
pub(super) const VERSION: u32 = 1;

/// All state of an engine (SPEC §3.3): capital, ticks, histories, generator, ACB, breaker, posture, open day, position,
/// undrained trades. Not the forewarner and not the booking: they come from the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    version: u32,
    param_hash: String,
    assets: Vec<String>,
    stride: u32,
    prices: SavedPrices,
    rings: Rings,
    rng: RngPosition,
    book: Ledger,
}

/// Why a snapshot does not fit.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SnapshotError {
    /// Written by another version.
    #[error("the snapshot has layout {0}, this program reads {VERSION}")]
    Version(u32),
    /// Taken under other parameters.
    #[error("the snapshot was taken under parameters {found}, the engine runs {wanted}")]
    Params {
        /// Hash in the snapshot.
        found: String,
        /// Hash of the engine.
        wanted: String,
    },
    /// Its contents contradict each other or the parameters.
    #[error("the snapshot is damaged or of other lookbacks: {0}")]
    Damaged(&'static str),
    /// No engine can be made of it.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Snapshot {
    /// The assets it was taken with, in column order.
    pub fn assets(&self) -> &[String] {
        &self.assets
    }
    /// Ticks a bar.
    pub const fn stride(&self) -> u32 {
        self.stride
    }
    /// Capital, quote asset.
    pub const fn capital(&self) -> f64 {
        self.book.capital
    }
    /// All but the histories, to go on with other assets or parameters ([`Engine::resume`]).
    pub fn image(&self) -> Image {
        Image {
            version: self.version,
            param_hash: self.param_hash.clone(),
            assets: self.assets.clone(),
            stride: self.stride,
            rng: self.rng,
            book: Ledger { trades: Vec::new(), ..self.book.clone() },
        }
    }
    /// The price history, oldest first: the rows before the image's tick.
    pub fn price_rows(&self) -> Vec<Vec<f64>> {
        self.prices.rows(self.assets.len())
    }
}

/// What an engine is beside its price histories and untaken trades: small, and copied without allocation, so that it
/// can be handed out after every step. With the prices of the last bars it makes the engine again ([`Engine::resume`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    pub(super) version: u32,
    pub(super) param_hash: String,
    pub(super) assets: Vec<String>,
    pub(super) stride: u32,
    pub(super) rng: RngPosition,
    pub(super) book: Ledger,
}

impl Image {
    /// The assets, in column order.
    pub fn assets(&self) -> &[String] {
        &self.assets
    }
    /// Ticks a bar.
    pub const fn stride(&self) -> u32 {
        self.stride
    }
    /// Hash of the parameters it was taken under.
    pub fn param_hash(&self) -> &str {
        &self.param_hash
    }
    /// Capital, quote asset.
    pub const fn capital(&self) -> f64 {
        self.book.capital
    }
    /// Ticks stepped in the engine's life.
    pub const fn ticks(&self) -> u64 {
        self.book.ticks
    }
    /// Trades closed in the engine's life.
    pub const fn trades_closed(&self) -> u64 {
        self.book.trades_closed
    }
    /// The open day's result as it stands.
    pub fn day_result(&self) -> Option<DayResult> {
        self.book.day_result(&self.param_hash)
    }
    /// Posture and Rm in force.
    pub fn safety(&self) -> Safety {
        self.book.survival.in_force()
    }
    /// The position held or wanted: by name, because columns differ from run to run.
    pub fn held(&self) -> Option<(Held, OpenPosition)> {
        let (held, position) = match &self.book.hold {
            Hold::Flat => return None,
            Hold::Entering { wanted, .. } => (Held::Entering, wanted),
            Hold::Open(position) => (Held::Open, position),
            Hold::Exiting(position) => (Held::Exiting, position),
        };
        Some((held, position.record(&self.assets)))
    }
}

/// How a position is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// An entry works: what there is of it only the venue knows.
    Entering,
    /// Held.
    Open,
    /// An exit works.
    Exiting,
}

impl Engine {
    /// The engine's image. Untaken trades are not part of it.
    pub fn image(&self) -> Image {
        let mut image = Image {
            version: VERSION,
            param_hash: self.param_hash.clone(),
            assets: self.assets.clone(),
            stride: self.stride as u32,
            rng: self.state.rng.position(),
            book: Ledger { trades: Vec::new(), ..self.state.book.clone() },
        };
        image.book.acb.reserve();
        image
    }

    /// Brings an image that [`Self::image`] of this engine made up to date, without allocating.
    pub fn refresh(&self, image: &mut Image) {
        image.rng = self.state.rng.position();
        image.book.copy_from(&self.state.book);
    }

    /// All state, to be restored later.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            version: VERSION,
            param_hash: self.param_hash.clone(),
            assets: self.assets.clone(),
            stride: self.stride as u32,
            prices: self.state.prices.save(),
            rings: self.state.rings.clone(),
            rng: self.state.rng.position(),
            book: self.state.book.clone(),
        }
    }

    /// A number that differs wherever a step, an outcome or a push has changed anything: capital, ticks, draws, ACB,
    /// posture, position, newest prices and returns. For comparing two engines step by step, at about a nanosecond a
    /// price.
    pub fn digest(&self) -> u64 {
        let State { prices, rings, rng, book } = &self.state;
        let mut digest = Digest(0x9e37_79b9_7f4a_7c15);
        let day = book.day.map_or([0; 4], |d| {
            [u64::from(d.bars), u64::from(d.trades), d.pnl.to_bits(), u64::from(d.stale_state)]
        });
        let safety = book.survival.in_force();
        let (hold, position) = match &book.hold {
            Hold::Flat => (0, None),
            Hold::Entering { wanted, vel_div, exit_after } => {
                digest.add(vel_div.to_bits());
                digest.add(exit_after.map_or(0, |reason| 1 + reason as u64));
                (1, Some(wanted))
            }
            Hold::Open(position) => (2, Some(position)),
            Hold::Exiting(position) => (3, Some(position)),
        };
        digest.add(hold);
        if let Some(p) = position {
            digest.add(u64::from(p.symbol.0) << 8 | u64::from(p.direction as u8));
            digest.add(p.entry_tick);
            [p.entry_price, p.notional, p.leverage].iter().for_each(|x| digest.add(x.to_bits()));
        }
        day.into_iter().for_each(|x| digest.add(x));
        digest.add(book.ticks);
        digest.add(book.trades_closed);
        digest.add(rng.position().draws);
        digest.add(safety.posture as u64);
        let floats = [
            book.capital,
            book.regime_size_mult,
            book.acb.boost(),
            book.acb.beta(),
            safety.rm,
            rings.reference.back(0),
            rings.returns.back(0),
            rings.proxy.back(0),
        ];
        floats.iter().chain(prices.last()).for_each(|x| digest.add(x.to_bits()));
        digest.0
    }

    /// An engine with this state under other parameters: what it would have decided from here on. The lookbacks must be
    /// the same.
    pub fn restore_under(params: Params, snapshot: &Snapshot) -> Result<Self, SnapshotError> {
        let param_hash = params.hash();
        Self::restore(params, &Snapshot { param_hash, ..snapshot.clone() })
    }

    /// An engine as it was. Booking and forewarner are to be set again.
    pub fn restore(params: Params, snapshot: &Snapshot) -> Result<Self, SnapshotError> {
        if snapshot.version != VERSION {
            return Err(SnapshotError::Version(snapshot.version));
        }
        let mut engine = Self::new(params, snapshot.assets.clone(), snapshot.stride)?;
        if snapshot.param_hash != engine.param_hash {
            let (found, wanted) = (snapshot.param_hash.clone(), engine.param_hash);
            return Err(SnapshotError::Params { found, wanted });
        }
        let (n, stride) = (engine.assets.len(), engine.stride);
        let lookback = engine.params.lookback as usize;
        let prices = PriceHistory::load(&snapshot.prices, n, stride, lookback)
            .ok_or(SnapshotError::Damaged("the price histories have another length"))?;
        if !snapshot.rings.fit(&RingSizes::of(&engine.params, stride)) {
            return Err(SnapshotError::Damaged("the rings have another length"));
        }
        let rng = RandomState::at(snapshot.rng)
            .ok_or(SnapshotError::Damaged("the generator has been drawn too often"))?;
        check(&snapshot.book, n)?;
        let trades_room = engine.state.book.trades.capacity();
        engine.state = State { prices, rings: snapshot.rings.clone(), rng, book: snapshot.book.clone() };
        engine.state.book.trades.reserve(trades_room);
        Ok(engine)
    }
}

/// FNV-1a by words.
struct Digest(u64);

impl Digest {
    const fn add(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(29);
    }
}

impl Ledger {
    /// Becomes equal to `other` but for the trades, without allocating.
    fn copy_from(&mut self, other: &Self) {
        let Self { capital, ticks, acb, breaker, survival, day, yesterday, hold, .. } = other;
        self.acb.copy_from(acb);
        (self.capital, self.ticks, self.breaker) = (*capital, *ticks, *breaker);
        (self.survival, self.day, self.yesterday, self.hold) = (*survival, *day, *yesterday, *hold);
        (self.trades_closed, self.regime_size_mult) = (other.trades_closed, other.regime_size_mult);
    }
}

pub(super) fn check(book: &Ledger, assets: usize) -> Result<(), SnapshotError> {
    let held = match &book.hold {
        Hold::Flat => None,
        Hold::Open(p) | Hold::Exiting(p) | Hold::Entering { wanted: p, .. } => Some(p),
    };
    let sound = held.is_none_or(|p| {
        p.symbol.index() < assets && matches!(p.direction, -1 | 1) && p.entry_tick <= book.ticks
    });
    if !sound {
        return Err(SnapshotError::Damaged("the position cannot be"));
    }
    if !book.capital.is_finite() || !book.acb.is_sound() {
        return Err(SnapshotError::Damaged("capital or ACB history cannot be"));
    }
    Ok(())
}
