//! A listed instrument: its filters, mark price, funding and risk brackets.

use market::{Amount, Instrument, Nanos, OrderType, Px, Qty, Side};

use super::order::PlaceOrder;
use super::position::Position;
use super::reject::{self, Reject};

/// A perpetual's `deliveryDate`.
pub(crate) const DELIVERY: u64 = 4_133_404_800_000;
/// Every instrument's `onboardDate`.
pub(crate) const ONBOARD: u64 = 1_569_398_400_000;

/// Trading status as the venue names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SymbolStatus {
    /// `TRADING`.
    #[default]
    Trading,
    /// `PENDING_TRADING`.
    Pending,
    /// `BREAK`: trading is suspended; cancels pass.
    Break,
    /// `CANCEL_ONLY`.
    CancelOnly,
    /// `SETTLING`: no new orders.
    Settling,
    /// `CLOSE`.
    Closed,
}

impl SymbolStatus {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Trading, Self::Pending, Self::Break, Self::CancelOnly, Self::Settling, Self::Closed];

    /// Wire name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trading => "TRADING",
            Self::Pending => "PENDING_TRADING",
            Self::Break => "BREAK",
            Self::CancelOnly => "CANCEL_ONLY",
            Self::Settling => "SETTLING",
            Self::Closed => "CLOSE",
        }
    }
}

/// Mark and index price, funding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MarkState {
    /// Mark price per unit of the base asset.
    pub mark: Amount,
    /// Index price.
    pub index: Amount,
    /// Funding rate, in 10⁻⁸.
    pub funding_rate: i64,
    /// Next funding time.
    pub next_funding: Nanos,
}

/// A risk bracket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bracket {
    /// From this notional.
    pub floor: Amount,
    /// To this notional.
    pub cap: Amount,
    /// Largest leverage in it.
    pub leverage: u32,
    /// Maintenance margin ratio, in 10⁻⁴.
    pub maint_bp: i64,
    /// Amount to subtract, so that the margin is continuous.
    pub cum: Amount,
}

/// An instrument with what an exchange knows of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// Filters.
    pub instrument: Instrument,
    /// Base asset.
    pub base: String,
    /// Quote (and margin) asset.
    pub quote: String,
    /// Status.
    pub status: SymbolStatus,
    /// `marketTakeBound`: a market order goes no further than this share beyond the mark.
    pub take_bound: f64,
    /// Mark price and funding.
    pub mark: MarkState,
    /// Risk brackets, by notional.
    pub brackets: Vec<Bracket>,
    /// Ticks that order prices must be a multiple of: 1, or more after the venue coarsened the tick (the book keeps
    /// its grid).
    pub order_ticks: i64,
}

impl Listing {
    /// A listing with brackets derived from its largest leverage.
    pub fn new(instrument: Instrument, base: &str, quote: &str, max_leverage: u32) -> Self {
        Self {
            instrument,
            base: base.to_owned(),
            quote: quote.to_owned(),
            status: SymbolStatus::Trading,
            take_bound: 0.05,
            mark: MarkState::default(),
            brackets: brackets(max_leverage),
            order_ticks: 1,
        }
    }

    /// The venue coarsens the tick of new orders to a multiple of the instrument's.
    pub fn set_order_tick(&mut self, tick: market::Increment) -> Result<(), &'static str> {
        let text = tick.format(1);
        let ticks = self.instrument.tick.parse_count(text.as_bytes());
        self.order_ticks =
            ticks.ok().filter(|n| *n > 0).ok_or("tick: not a multiple of the instrument's tick")?;
        Ok(())
    }

    /// Value of `qty` at `px`.
    pub fn notional(&self, px: Px, qty: Qty) -> Amount {
        self.instrument.notional(px, qty).unwrap_or(Amount(i64::MAX / 4))
    }

    /// The price of one unit of the base asset.
    pub fn unit_price(&self, px: Px) -> Amount {
        let tick = self.instrument.tick;
        let units = i128::from(px.0) * i128::from(tick.mantissa()) * i128::from(Amount::ONE)
            / 10i128.pow(u32::from(tick.scale()));
        Amount(i64::try_from(units).unwrap_or(i64::MAX / 4))
    }

    /// Signed value of a quantity at the mark price.
    pub fn at_mark(&self, qty: Qty) -> Amount {
        let lot = self.instrument.lot;
        let units = i128::from(self.mark.mark.0) * i128::from(qty.0) * i128::from(lot.mantissa())
            / 10i128.pow(u32::from(lot.scale()));
        Amount(i64::try_from(units).unwrap_or(i64::MAX / 4))
    }

    /// Profit of an open position at the mark price.
    pub fn unrealised(&self, p: &Position) -> Amount {
        self.at_mark(p.qty) - p.cost
    }

    /// Largest leverage.
    pub fn max_leverage(&self) -> u32 {
        self.brackets.first().map_or(1, |b| b.leverage)
    }

    /// The bracket of a notional.
    pub fn bracket(&self, notional: Amount) -> Bracket {
        let of = |b: &&Bracket| notional.abs() <= b.cap;
        *self.brackets.iter().find(of).unwrap_or_else(|| self.brackets.last().expect("never empty"))
    }

    /// Largest notional at a leverage.
    pub fn max_notional(&self, leverage: u32) -> Amount {
        self.brackets.iter().filter(|b| b.leverage >= leverage).map(|b| b.cap).max().unwrap_or_default()
    }

    /// Maintenance margin of a notional.
    pub fn maintenance(&self, notional: Amount) -> Amount {
        let b = self.bracket(notional);
        let units = i128::from(notional.0.abs()) * i128::from(b.maint_bp) / 10_000;
        Amount(i64::try_from(units).unwrap_or(i64::MAX / 4)) - b.cum
    }

    /// The mark price in ticks, times `factor`, rounded to the tick toward the inside.
    fn mark_times(&self, factor: f64, side: Side) -> Option<Px> {
        if !factor.is_finite() || self.mark.mark.0 == 0 {
            return None;
        }
        let value = self.mark.mark.to_f64() * factor;
        let floor = self.instrument.tick.floor(value)?;
        let on_grid = (self.instrument.tick.value(floor) - value).abs() < value * 1e-12;
        Some(Px(if side == Side::Sell && !on_grid { floor + 1 } else { floor }))
    }

    /// How far a market order may reach.
    pub(super) fn market_limit(&self, side: Side) -> Option<Px> {
        match side {
            Side::Buy => self.mark_times(1.0 + self.take_bound, side),
            Side::Sell => self.mark_times(1.0 - self.take_bound, side),
        }
    }

    /// The static filters of a new order, in the order the venue applies them (quantity, price, percent price,
    /// notional).
    pub(super) fn check(&self, order: &PlaceOrder) -> Result<(), Reject> {
        self.check_qty(order.qty, order.kind)?;
        if order.kind == OrderType::Limit {
            self.check_px(order.px, order.side)?;
        }
        let notional = match order.kind {
            OrderType::Limit => self.notional(order.px, order.qty),
            OrderType::Market => self.at_mark(order.qty),
        };
        if !order.reduce_only && notional < self.instrument.min_notional {
            let least = self.instrument.min_notional.to_f64();
            return Err(Reject::text(
                -4164,
                format!("Order's notional must be no smaller than {least} (unless you choose reduce only)."),
            ));
        }
        Ok(())
    }

    pub(super) fn check_qty(&self, qty: Qty, kind: OrderType) -> Result<(), Reject> {
        let i = &self.instrument;
        if qty.0 <= 0 {
            return Err(reject::QTY_BELOW_ZERO);
        }
        if qty < i.min_qty {
            return Err(reject::QTY_TOO_SMALL);
        }
        if qty > if kind == OrderType::Market { i.max_market_qty } else { i.max_qty } {
            return Err(reject::QTY_TOO_LARGE);
        }
        Ok(())
    }

    /// A limit price on its own, without regard to the market.
    pub(super) fn check_px_range(&self, px: Px) -> Result<(), Reject> {
        let i = &self.instrument;
        if px.0 <= 0 {
            return Err(reject::PRICE_BELOW_ZERO);
        }
        if i.max_px.0 > 0 && px > i.max_px {
            return Err(reject::PRICE_TOO_HIGH);
        }
        if px < i.min_px {
            return Err(reject::PRICE_TOO_LOW);
        }
        if px.0 % self.order_ticks != 0 {
            return Err(reject::OFF_TICK);
        }
        Ok(())
    }

    /// The trigger price of a conditional order; it may be left out where it is `optional`.
    pub(super) fn check_stop_px(&self, px: Px, optional: bool) -> Result<(), Reject> {
        let i = &self.instrument;
        if optional && px == Px::ZERO {
            return Ok(());
        }
        if px.0 <= 0 {
            return Err(reject::STOP_PRICE_BELOW_ZERO);
        }
        if i.max_px.0 > 0 && px > i.max_px {
            return Err(reject::STOP_PRICE_TOO_HIGH);
        }
        if px.0 % self.order_ticks != 0 {
            return Err(reject::OFF_TICK);
        }
        Ok(())
    }

    fn check_px(&self, px: Px, side: Side) -> Result<(), Reject> {
        self.check_px_range(px)?;
        let i = &self.instrument;
        match side {
            Side::Buy => match self.mark_times(i.multiplier_up, side) {
                Some(most) if px > most => Err(Reject::text(
                    -4016,
                    format!("Limit price can't be higher than {}.", i.tick.format(most.0)),
                )),
                _ => Ok(()),
            },
            Side::Sell => match self.mark_times(i.multiplier_down, side) {
                Some(least) if px < least => Err(Reject::text(
                    -4024,
                    format!("Limit price can't be lower than {}.", i.tick.format(least.0)),
                )),
                _ => Ok(()),
            },
        }
    }
}

/// Six brackets: leverage falls as the notional grows; half of the initial margin is the maintenance margin.
fn brackets(max_leverage: u32) -> Vec<Bracket> {
    let caps = [50_000, 600_000, 3_000_000, 12_000_000, 70_000_000, 1_000_000_000i64];
    let mut out: Vec<Bracket> = Vec::with_capacity(caps.len());
    for (n, cap) in caps.into_iter().enumerate() {
        let leverage = (max_leverage >> n).max(1);
        let maint_bp = i64::from(5_000 / leverage);
        let floor = out.last().map_or(Amount::ZERO, |b| b.cap);
        let cum = out.last().map_or(Amount::ZERO, |b| {
            Amount(
                b.cum.0
                    + i64::try_from(i128::from(floor.0) * i128::from(maint_bp - b.maint_bp) / 10_000)
                        .expect("caps times a ratio below one"),
            )
        });
        out.push(Bracket { floor, cap: Amount(cap * Amount::ONE), leverage, maint_bp, cum });
    }
    out
}
