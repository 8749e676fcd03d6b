//! The program's own Rm from five sensors (SPEC §4.2 [D]): each 1 while its part is sound, falling to 0 as it fails.
//!
//! The ramps are wide on purpose. A blip must not hibernate a sound node, and Rm may rise again at once; what lasts
//! first caps the leverage, then stops entries, then hibernates.

use alpha::Sensors;
use market::{CrossAsset, Nanos, ObFeatures};

use crate::stages::book::BookCounters;
use crate::stages::router::RouterState;

/// Age of the newest tick, s: sound up to the first, none at the second.
const DATA_AGE_S: (f64, f64) = (3.0, 30.0);
/// Share of books out of sync.
const DARK_BOOKS: (f64, f64) = (0.10, 1.0);
/// Time without the order path or the user stream, s.
const CHANNEL_DOWN_S: (f64, f64) = (5.0, 60.0);
/// Share of orders that the venue refused lately.
const REFUSED: (f64, f64) = (0.20, 1.0);
/// Time that the fate of an order has been unknown, s.
const UNANSWERED_S: (f64, f64) = (2.0, 30.0);
/// Fall of equity from the day's peak.
const DRAWDOWN: (f64, f64) = (0.05, 0.25);
/// Share of symbols whose depth is being withdrawn.
const CASCADING: (f64, f64) = (0.25, 0.90);
/// Spread against its own slow mean, median over the symbols.
const SPREAD_RATIO: (f64, f64) = (3.0, 20.0);
/// Time without a clean comparison with the venue, s.
const UNRECONCILED_S: (f64, f64) = (10.0, 120.0);

/// What the control thread sees of the node's health.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Health {
    /// Books in sync, share of all.
    pub live_books: f64,
    /// How long the order path or the user stream has been down, s; 0: both are up.
    pub channel_down_s: f64,
    /// Orders refused by the venue, share of those sent lately.
    pub refused: f64,
    /// How long the fate of an order has been unknown, s; 0: of none.
    pub unanswered_s: f64,
    /// Fall of equity from the day's peak, fraction.
    pub drawdown: f64,
    /// How long the last comparison with the venue has not been clean, s.
    pub unreconciled_s: f64,
}

/// Between two words of [`HealthWatch`].
const EVERY_NS: u64 = Nanos::SECOND / 5;
/// Refusals count for about this long: all counts are halved as often.
const HALVED_NS: u64 = 60 * Nanos::SECOND;
/// Fewer orders than this tell no share of refusals.
const MIN_ORDERS: f64 = 10.0;

/// Turns what the control thread sees into [`Health`].
#[derive(Debug, Default)]
pub struct HealthWatch {
    due: u64,
    halved: u64,
    /// Orders and refusals lately, and the counters they come from.
    lately: (f64, f64),
    counted: (u64, u64),
    /// Since when.
    down_since: Option<u64>,
    unanswered_since: Option<u64>,
    unreconciled_since: Option<u64>,
    /// Most books that were ever in sync: a start that fetches hundreds of them is not sick.
    most_books: u32,
}

impl HealthWatch {
    /// The state of health, five times a second.
    pub fn look(
        &mut self,
        now: u64,
        connected: bool,
        router: &RouterState,
        book: &BookCounters,
    ) -> Option<Health> {
        if now < self.due {
            return None;
        }
        self.due = now + EVERY_NS;
        if now >= self.halved + HALVED_NS {
            (self.halved, self.lately) = (now, (self.lately.0 / 2.0, self.lately.1 / 2.0));
        }
        self.lately.0 += router.orders.saturating_sub(self.counted.0) as f64;
        self.lately.1 += router.rejects.saturating_sub(self.counted.1) as f64;
        self.counted = (router.orders, router.rejects);
        self.most_books = self.most_books.max(book.live_books);
        let lasts = |since: &mut Option<u64>, is: bool| {
            *since = is.then(|| since.unwrap_or(now));
            since.map_or(0.0, |since| (now - since) as f64 / 1e9)
        };
        let (orders, refused) = self.lately;
        Some(Health {
            live_books: match self.most_books {
                0 => 1.0,
                most => f64::from(book.live_books) / f64::from(most),
            },
            channel_down_s: lasts(&mut self.down_since, !connected),
            refused: if orders < MIN_ORDERS { 0.0 } else { refused / orders },
            unanswered_s: lasts(&mut self.unanswered_since, router.unknown > 0),
            // Not known: nothing is judged.
            drawdown: router.drawdown.unwrap_or(0.0),
            unreconciled_s: lasts(&mut self.unreconciled_since, !router.reconciled),
        })
    }
}

/// Stress of the market at a tick.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stress {
    /// Share of the symbols with features that are cascading.
    pub cascading: f64,
    /// Spread against its slow mean, median over the symbols; 1: as usual.
    pub spread_ratio: f64,
}

impl Stress {
    /// Moves a fiftieth of the way to `now`: at 10 Hz half of a lasting stress counts after three and a half seconds, and
    /// a single tick counts for nothing.
    pub fn follow(&mut self, now: Self) {
        self.cascading += (now.cascading - self.cascading) / 50.0;
        self.spread_ratio += (now.spread_ratio - self.spread_ratio) / 50.0;
    }

    /// Of the features of a tick; calm where there are none. `scratch` saves an allocation.
    pub fn of(features: &[Option<ObFeatures>], cross: &CrossAsset, scratch: &mut Vec<f64>) -> Self {
        scratch.clear();
        let ratios = features.iter().flatten().map(|f| f.spread_proxy_bps / f.macro_spread_bps);
        scratch.extend(ratios.filter(|r| r.is_finite()));
        if scratch.is_empty() {
            return Self { cascading: 0.0, spread_ratio: 1.0 };
        }
        let middle = scratch.len() / 2;
        let (_, median, _) = scratch.select_nth_unstable_by(middle, f64::total_cmp);
        let spread_ratio = *median;
        Self { cascading: f64::from(cross.cascade_count) / scratch.len() as f64, spread_ratio }
    }
}

/// The five sensors. `data_age_s`: age of the newest tick.
pub fn sensors(health: &Health, stress: &Stress, data_age_s: f64) -> Sensors {
    let ramp = |value: f64, (good, bad): (f64, f64)| Sensors::ramp(value, good, bad);
    Sensors {
        market_data: ramp(data_age_s, DATA_AGE_S).min(ramp(1.0 - health.live_books, DARK_BOOKS)),
        order_channel: ramp(health.channel_down_s, CHANNEL_DOWN_S)
            .min(ramp(health.refused, REFUSED))
            .min(ramp(health.unanswered_s, UNANSWERED_S)),
        drawdown: ramp(health.drawdown, DRAWDOWN),
        microstructure: ramp(stress.cascading, CASCADING).min(ramp(stress.spread_ratio, SPREAD_RATIO)),
        consistency: ramp(health.unreconciled_s, UNRECONCILED_S),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: Health = Health {
        live_books: 1.0,
        channel_down_s: 0.0,
        refused: 0.0,
        unanswered_s: 0.0,
        drawdown: 0.0,
        unreconciled_s: 0.0,
    };
    const CALM: Stress = Stress { cascading: 0.0, spread_ratio: 1.0 };

    #[test]
    fn each_sensor_falls_for_its_own_reason_alone() {
        let whole = sensors(&SOUND, &CALM, 0.1);
        assert_eq!(whole.rm(), 1.0);
        let fallen = |s: Sensors| {
            [s.market_data, s.order_channel, s.drawdown, s.microstructure, s.consistency].map(|x| x < 1.0)
        };
        let case = |h: Health, s: Stress, age: f64| fallen(sensors(&h, &s, age));
        assert_eq!(case(SOUND, CALM, 20.0), [true, false, false, false, false]);
        assert_eq!(case(Health { live_books: 0.5, ..SOUND }, CALM, 0.1), [true, false, false, false, false]);
        for h in [
            Health { channel_down_s: 30.0, ..SOUND },
            Health { refused: 0.5, ..SOUND },
            Health { unanswered_s: 5.0, ..SOUND },
        ] {
            assert_eq!(case(h, CALM, 0.1), [false, true, false, false, false]);
        }
        assert_eq!(case(Health { drawdown: 0.1, ..SOUND }, CALM, 0.1), [false, false, true, false, false]);
        for s in [Stress { cascading: 0.5, ..CALM }, Stress { spread_ratio: 8.0, ..CALM }] {
            assert_eq!(case(SOUND, s, 0.1), [false, false, false, true, false]);
        }
        let unsure = Health { unreconciled_s: 60.0, ..SOUND };
        assert_eq!(case(unsure, CALM, 0.1), [false, false, false, false, true]);
        assert_eq!(sensors(&SOUND, &CALM, f64::NAN).rm(), 0.0, "nothing known is not sound");
    }

    #[test]
    fn health_is_told_five_times_a_second_with_durations() {
        let mut watch = HealthWatch::default();
        let s = Nanos::SECOND;
        let good = RouterState { reconciled: true, ..RouterState::default() };
        let books = |n| BookCounters { live_books: n, ..BookCounters::default() };
        // A start that has half its books, or none yet, is sound.
        assert_eq!(HealthWatch::default().look(s, true, &good, &books(0)), Some(SOUND));
        assert_eq!(watch.look(s, true, &good, &books(24)), Some(SOUND));
        assert_eq!(watch.look(s + 1, true, &good, &books(48)), None, "too early");
        assert_eq!(watch.look(2 * s, true, &good, &books(48)), Some(SOUND));
        let bad =
            RouterState { unknown: 1, orders: 20, rejects: 5, drawdown: Some(0.1), ..RouterState::default() };
        watch.look(3 * s, false, &bad, &books(24));
        let health = watch.look(13 * s, false, &bad, &books(24)).unwrap();
        let expected = Health {
            live_books: 0.5,
            channel_down_s: 10.0,
            refused: 0.25,
            unanswered_s: 10.0,
            drawdown: 0.1,
            unreconciled_s: 10.0,
        };
        assert_eq!(health, expected);
        let back = RouterState { orders: 20, rejects: 5, ..good };
        let health = watch.look(14 * s, true, &back, &books(48)).unwrap();
        assert_eq!(health, Health { refused: 0.25, ..SOUND });
    }

    #[test]
    fn a_blip_changes_nothing_and_what_lasts_hibernates() {
        let posture = |age| alpha::Safety::of(sensors(&SOUND, &CALM, age).rm()).posture;
        assert_eq!(posture(2.9), market::Posture::Apex);
        assert_eq!(posture(30.0), market::Posture::Hibernate);
    }

    #[test]
    fn stress_is_the_median_spread_and_the_share_that_cascades() {
        let mut scratch = Vec::new();
        assert_eq!(Stress::of(&[None, None], &CrossAsset::default(), &mut scratch), CALM);
        let f = |spread: f64| {
            Some(ObFeatures {
                bid_depth: [1.0; 5],
                ask_depth: [1.0; 5],
                bid_notional: [1.0; 5],
                ask_notional: [1.0; 5],
                coverage_pct: 5.0,
                spread_proxy_bps: spread,
                depth_quality: 0.5,
                fill_probability_bid: 0.5,
                fill_probability_ask: 0.5,
                fill_probability: 0.5,
                depth_asymmetry: 0.0,
                imbalance_persistence: 0.0,
                withdrawal_velocity: 0.0,
                macro_imbalance: 0.0,
                macro_spread_bps: 2.0,
            })
        };
        let cross = CrossAsset { cascade_count: 2, ..CrossAsset::default() };
        let stress = Stress::of(&[f(2.0), None, f(20.0), f(8.0), f(2.0)], &cross, &mut scratch);
        assert_eq!(stress, Stress { cascading: 0.5, spread_ratio: 4.0 });
        let mut followed = CALM;
        followed.follow(stress);
        assert_eq!(followed, Stress { cascading: 0.01, spread_ratio: 1.06 });
    }
}
