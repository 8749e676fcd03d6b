//! Going on after a restart: an image, the prices of the last bars, and the time that went by.

use market::SymbolId;

use super::snapshot::{VERSION, check};
use super::{Engine, Hold, Image, Ledger, PROXY_BARS, SnapshotError};
use crate::params::{BoostMode, Params};
use crate::position::Position;
use crate::rng::RandomState;

/// Prices of consecutive ticks of an engine's life.
#[derive(Debug, Clone, Copy)]
pub struct Prices<'a> {
    /// Columns.
    pub assets: &'a [String],
    /// Ticks a bar.
    pub stride: u32,
    /// Number of the first row's tick.
    pub first: u64,
    /// Rows, oldest first.
    pub rows: &'a [Vec<f64>],
}

/// An engine that goes on, and what is not as it was.
#[derive(Debug)]
pub struct Resumed {
    /// The engine. Booking, limits and forewarner are to be set again.
    pub engine: Engine,
    /// Ticks whose prices are known.
    pub with_prices: u64,
    /// The parameters are others: the capital goes on under them.
    pub other_params: bool,
    /// The assets are others: histories go on by name, those of new ones begin.
    pub other_assets: bool,
    /// The position is of an asset that is followed no more: the engine knows nothing of it.
    pub lost: Option<String>,
}

impl Engine {
    /// Ticks of prices that the longest lookback needs: what must be kept for a restart.
    pub fn history_ticks(params: &Params, stride: u32) -> u64 {
        let bars = (params.lookback + 1).max(params.vol_window_bars).max(params.dc_lookback_bars);
        u64::from(bars) * u64::from(stride) + 1
    }

    /// An engine for `assets` and `stride` that goes on from `image`, by names of assets, under whatever parameters.
    ///
    /// `away` ticks went by since: they count (a position is held through them) and repeat the last prices. After
    /// [`Self::history_ticks`] without prices the histories begin anew.
    /// The ranks of `proxy_b` begin anew: [`Self::warm_rank`].
    pub fn resume(
        params: Params,
        assets: Vec<String>,
        stride: u32,
        image: &Image,
        prices: Option<Prices<'_>>,
        away: u64,
    ) -> Result<Resumed, SnapshotError> {
        let mut engine = Self::new(params, assets, stride)?;
        let with_prices = prices.map_or(0, |prices| engine.replay(&prices, image.book.ticks, away));
        let lost = engine.adopt(image, away)?;
        Ok(Resumed {
            with_prices,
            other_params: engine.param_hash != image.param_hash,
            other_assets: engine.assets != image.assets,
            lost,
            engine,
        })
    }

    /// Everything of `image`, and the histories that this engine kept itself while it stood by for the one that the image
    /// is of. `away`: ticks since the image. Gives the asset of a position that is followed no more. An error changes
    /// nothing.
    pub fn adopt(&mut self, image: &Image, away: u64) -> Result<Option<String>, SnapshotError> {
        if image.version != VERSION {
            return Err(SnapshotError::Version(image.version));
        }
        check(&image.book, image.assets.len())?;
        if image.rng.seed == self.params.seed {
            self.state.rng = RandomState::at(image.rng)
                .ok_or(SnapshotError::Damaged("the generator has been drawn too often"))?;
        }
        let column = |symbol: SymbolId| {
            let name = image.assets.get(symbol.index())?;
            self.assets.iter().position(|a| a == name).map(|i| SymbolId(i as u16))
        };
        let (stride, ticks) = (self.stride as u32, image.book.ticks.saturating_add(away));
        let (hold, lost) = match image.book.hold.map(|p| p.moved(column(p.symbol)?, image, stride, ticks)) {
            Ok(hold) => (hold, None),
            Err(symbol) => (Hold::Flat, image.assets.get(symbol.index()).cloned()),
        };
        let room = std::mem::take(&mut self.state.book.trades);
        self.state.book = Ledger { ticks, hold, trades: room, ..image.book.clone() };
        Ok(lost)
    }

    /// Takes the prices up to tick `ticks` and `away` ticks without any; gives how many are known.
    fn replay(&mut self, prices: &Prices<'_>, ticks: u64, away: u64) -> u64 {
        let rows = usize::try_from(ticks.saturating_sub(prices.first)).unwrap_or(usize::MAX);
        let rows = &prices.rows[..rows.min(prices.rows.len())];
        let missing = ticks.saturating_sub(prices.first + rows.len() as u64).saturating_add(away);
        let longest = Self::history_ticks(&self.params, prices.stride);
        if prices.stride as usize != self.stride || rows.is_empty() || missing >= longest {
            return 0;
        }
        let columns: Vec<Option<usize>> =
            self.assets.iter().map(|a| prices.assets.iter().position(|b| a == b)).collect();
        let mut row = vec![f64::NAN; columns.len()];
        for saved in rows {
            for (price, column) in row.iter_mut().zip(&columns) {
                *price = column.and_then(|c| saved.get(c).copied()).unwrap_or(f64::NAN);
            }
            self.take_prices(&row);
        }
        row.fill(f64::NAN);
        (0..missing).for_each(|_| self.take_prices(&row));
        rows.len() as u64
    }

    /// Prices from before the start: into the histories, nothing is decided. They count as ticks only where nothing is
    /// held, because a position is not held through the past.
    pub fn warm(&mut self, prices: &[f64]) {
        self.take_prices(prices);
        if matches!(self.state.book.hold, Hold::Flat) {
            self.state.book.ticks += 1;
        }
    }

    /// Bars of scans, before the newest, that the ranks of `proxy_b` look back to; none in the baseline.
    pub const fn rank_bars(params: &Params) -> u32 {
        match params.boost_mode {
            BoostMode::Baseline => 0,
            BoostMode::ProxyB => PROXY_BARS as u32,
        }
    }

    /// What a scan from before the start said, each tick: into the ranks of `proxy_b`.
    pub fn warm_rank(&mut self, instability_50: f64, v750_velocity: f64) {
        if self.params.boost_mode == BoostMode::ProxyB {
            self.state.rings.proxy.push(instability_50 - v750_velocity);
        }
    }

    /// Histories alone: nothing is decided.
    pub(super) fn take_prices(&mut self, prices: &[f64]) {
        let state = &mut self.state;
        state.prices.push(prices);
        if let Some(reference) = self.reference {
            let price = state.prices.last()[reference];
            state.rings.reference.push(price);
            state.rings.returns.push(price / state.rings.reference.back(self.stride) - 1.0);
        }
    }

    /// The exit that worked is forgotten with the order behind it: the position is held, and its exits decide anew.
    pub fn reopen(&mut self) {
        if let Hold::Exiting(position) = self.state.book.hold {
            self.state.book.hold = Hold::Open(position);
        }
    }

    /// The entry that works, if one does: its asset and direction.
    pub const fn entering(&self) -> Option<(SymbolId, i8)> {
        match &self.state.book.hold {
            Hold::Entering { wanted, .. } => Some((wanted.symbol, wanted.direction)),
            Hold::Flat | Hold::Open(_) | Hold::Exiting(_) => None,
        }
    }
}

impl Hold {
    /// The same with another position; an error names the symbol of one that has no place.
    fn map(self, to: impl Fn(Position) -> Option<Position>) -> Result<Self, SymbolId> {
        let moved = |p: Position| to(p).ok_or(p.symbol);
        Ok(match self {
            Self::Flat => Self::Flat,
            Self::Entering { wanted, vel_div, exit_after } => {
                Self::Entering { wanted: moved(wanted)?, vel_div, exit_after }
            }
            Self::Open(p) => Self::Open(moved(p)?),
            Self::Exiting(p) => Self::Exiting(moved(p)?),
        })
    }
}

impl Position {
    /// In another column, at another stride: it has been held as many bars as before.
    fn moved(self, symbol: SymbolId, image: &Image, stride: u32, ticks: u64) -> Option<Self> {
        let held = u128::from(image.book.ticks.saturating_sub(self.entry_tick));
        let held = held * u128::from(stride) / u128::from(image.stride.max(1));
        let away = ticks.saturating_sub(image.book.ticks);
        let held = u64::try_from(held).unwrap_or(u64::MAX).saturating_add(away);
        Some(Self { symbol, entry_tick: ticks.saturating_sub(held), ..self })
    }
}

#[cfg(test)]
mod tests {
    use market::Nanos;

    use super::*;
    use crate::eigen::{Scanner, WINDOWS};
    use crate::report::TickInput;

    #[test]
    fn ranks_go_on_from_the_bars_that_the_scanner_is_warmed_with() {
        let assets: Vec<String> = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"].map(str::to_owned).to_vec();
        let params = Params { boost_mode: BoostMode::ProxyB, ..Params::default() };
        let kept = WINDOWS[3] + 50 + Engine::rank_bars(&params) as usize;
        assert_eq!((kept, Engine::rank_bars(&Params::default())), (1_300, 0));
        let mut random = 7u64;
        let mut prices = [100.0; 4];
        let bars: Vec<[f64; 4]> = (0..kept + 200)
            .map(|_| {
                prices.iter_mut().for_each(|price| {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    *price *= 1.0 + 1e-3 * ((random >> 40) as f64 / (1u64 << 24) as f64 - 0.5);
                });
                prices
            })
            .collect();

        let mut scanner = Scanner::new(4, 2).unwrap();
        let mut ran = Engine::new(params.clone(), assets.clone(), 2).unwrap();
        ran.begin_day(market::Date::constant(2026, 1, 1), market::Posture::Apex, 1.0, -1).unwrap();
        for (i, bar) in bars.iter().flat_map(|bar| [bar, bar]).enumerate() {
            let scan = scanner.step(bar);
            let (instability_50, v750_velocity) = (scan.instability_50, scan.velocity[3]);
            let quiet = TickInput::quiet(i as u32 / 2, Nanos(i as u64), bar);
            ran.step_bar(&TickInput { instability_50, v750_velocity, ..quiet });
        }
        let mut again = Engine::resume(params, assets, 2, &ran.image(), None, 0).unwrap().engine;
        assert_eq!(again.proxied(1.0), 1.0, "no ranks");
        let mut scanner = Scanner::new(4, 2).unwrap();
        scanner.warm_bars(bars[200..].iter().map(<[f64; 4]>::as_slice), |scan| {
            (0..2).for_each(|_| again.warm_rank(scan.instability_50, scan.velocity[3]));
        });
        let (ran, again) = (ran.proxied(1.0), again.proxied(1.0));
        assert!(ran != 1.0 && (ran - again).abs() <= 1.0 / 500.0, "{ran} and {again}");
    }
}
