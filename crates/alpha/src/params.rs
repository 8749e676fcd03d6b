//! Every number of the signal, by name (SPEC §3.1).
//!
//! Fifteen of them are frozen: their SHA-256, taken over the text that Python's `json.dumps(…, sort_keys=True)` would
//! write, is the champion hash. A profile that calls itself `champion` must match it at every start; any other profile
//! carries its own hash with every result. The [`Default`] of [`Params`] is the champion.

mod python;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The name of the frozen profile.
pub const CHAMPION: &str = "champion";
/// The profile of parameters that were set by hand.
pub const CUSTOM: &str = "custom";
/// SHA-256 of the frozen fifteen.
pub const CHAMPION_HASH: &str = "aaae3452e6ea0fbabc30c5ddab97b791f0b46906983518ede4e838080dd09d7d";
/// The presets, by name.
pub const PRESETS: [&str; 4] = [CHAMPION, "conservative", "growth", "aggressive"];
/// Longest lookback that any window may have, in bars.
pub const MAX_BARS: u32 = 100_000;

/// How a model fill is charged (SPEC §3.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeeModel {
    /// One draw of the generator per side decides maker or taker.
    Sampled,
    /// The rate-weighted fee; nothing is drawn.
    Expected,
}

/// What opens the volatility gate (SPEC §3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolGate {
    /// Warm-up is over and the reference symbol moves enough.
    Detector,
    /// Warm-up is over.
    Warmup,
}

/// How the ACB boost is adjusted before a step (SPEC §3.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BoostMode {
    /// Not at all.
    Baseline,
    /// By the rank of `instability_50 − v750` among its recent values.
    ProxyB,
}

/// The parameters. The first fifteen are frozen in the champion. Read from a file, `profile` says whose numbers those
/// are that the file leaves out: a preset's, else the champion's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, remote = "Self")]
pub struct Params {
    /// SHORT fires at or below this velocity divergence; < 0.
    pub vel_div_threshold: f64,
    /// Velocity divergence at which the strength reaches 1.
    pub vel_div_extreme: f64,
    /// Take profit, as a fraction of the entry price; > 0.
    pub fixed_tp_pct: f64,
    /// Longest holding time, in bars; ≥ 1.
    pub max_hold_bars: u32,
    /// Share of the capital in one position before leverage, in (0, 1].
    #[serde(default = "left_out")]
    pub fraction: f64,
    /// Least leverage; ≥ 0.
    pub min_leverage: f64,
    /// Leverage at full strength (soft); ≥ `min_leverage`.
    #[serde(default = "left_out")]
    pub max_leverage: f64,
    /// Leverage never exceeded (hard); > 0.
    #[serde(default = "left_out")]
    pub abs_max_leverage: f64,
    /// Exponent of the strength; ≥ 0.
    pub leverage_convexity: f64,
    /// Lookback of the direction confirmation, in bars.
    pub dc_lookback_bars: u32,
    /// Least move of the reference symbol in the trade's direction, bps.
    pub dc_min_magnitude_bps: f64,
    /// Least share of aligned one-bar returns, in [0, 1].
    pub min_irp_alignment: f64,
    /// Chance that an entry fills as maker, in [0, 1].
    pub sp_maker_entry_rate: f64,
    /// Chance that an exit fills as maker, in [0, 1].
    pub sp_maker_exit_rate: f64,
    /// Seed of NumPy's `RandomState`.
    pub seed: u32,

    /// `champion`, a preset's name, or any other word for one's own. Names what the numbers left out are taken from.
    pub profile: String,
    /// Window of the volatility detector, in one-bar returns; ≥ 1.
    pub vol_window_bars: u32,
    /// Volatility that must be exceeded.
    pub vol_p60: f64,
    /// Bars of a day before the first entry.
    pub warmup_bars: u32,
    /// Lookback of the asset selection, in bars; ≥ 1.
    pub lookback: u32,
    /// Stop loss, as a fraction of the entry price (1.0: in effect off).
    pub stop_pct: f64,
    /// Fee of a maker fill (negative: rebate), as a fraction of the notional.
    pub maker_fee: f64,
    /// Fee of a taker fill, as a fraction of the notional.
    pub taker_fee: f64,
    /// How model fills are charged.
    pub fee_model: FeeModel,
    /// Symbol of the volatility detector and the direction confirmation.
    pub reference_symbol: String,
    /// Symbols never traded.
    pub excluded_assets: Vec<String>,
    /// Capital at the first start, quote asset; > 0.
    pub initial_capital: f64,
    /// Widest spread that is entered, bps.
    pub ob_edge_bps: f64,
    /// Least imbalance persistence in the trade's direction.
    pub ob_confirm_rate: f64,
    /// Least fill probability.
    pub min_fill_probability: f64,
    /// Fill probability at which the maker entry rate holds as it is; > 0.
    pub fill_probability_ref: f64,
    /// What opens the volatility gate.
    pub vol_gate: VolGate,
    /// False: trade the reference symbol, without selection, order book or SmartPlacer.
    pub use_alpha_layers: bool,
    /// False: base leverage 1.
    pub use_dynamic_leverage: bool,
    /// How the boost is adjusted before a step.
    pub boost_mode: BoostMode,
    /// Folder of the forewarner's model; none: no forewarner.
    pub mc_models_dir: Option<String>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            vel_div_threshold: -0.02,
            vel_div_extreme: -0.05,
            fixed_tp_pct: 0.0095,
            max_hold_bars: 120,
            fraction: Sizes::CHAMPION.fraction,
            min_leverage: 0.5,
            max_leverage: Sizes::CHAMPION.max_leverage,
            abs_max_leverage: Sizes::CHAMPION.abs_max_leverage,
            leverage_convexity: 3.0,
            dc_lookback_bars: 7,
            dc_min_magnitude_bps: 0.75,
            min_irp_alignment: 0.45,
            sp_maker_entry_rate: 0.62,
            sp_maker_exit_rate: 0.50,
            seed: 42,
            profile: CHAMPION.to_owned(),
            vol_window_bars: 50,
            vol_p60: 0.000099,
            warmup_bars: 100,
            lookback: 100,
            stop_pct: 1.0,
            maker_fee: -0.0002,
            taker_fee: 0.0004,
            fee_model: FeeModel::Sampled,
            reference_symbol: "BTCUSDT".to_owned(),
            excluded_assets: vec!["TUSDUSDT".to_owned(), "USDCUSDT".to_owned()],
            initial_capital: 25_000.0,
            ob_edge_bps: 5.0,
            ob_confirm_rate: 0.40,
            min_fill_probability: 0.6,
            fill_probability_ref: 0.8,
            vol_gate: VolGate::Detector,
            use_alpha_layers: true,
            use_dynamic_leverage: true,
            boost_mode: BoostMode::Baseline,
            mc_models_dir: None,
        }
    }
}

/// Stands for a number that a file leaves out to its profile, until the profile is known. No text reads as this NaN.
const LEFT_OUT: u64 = 0x7ff8_0000_d01f_1a00;

fn left_out() -> f64 {
    f64::from_bits(LEFT_OUT)
}

impl Serialize for Params {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Params {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut params = Self::deserialize(deserializer)?;
        let sizes = Sizes::of(&params.profile).unwrap_or(Sizes::CHAMPION);
        for (value, preset) in params.sizes().into_iter().zip(sizes.values()) {
            if value.to_bits() == LEFT_OUT {
                *value = preset;
            }
        }
        Ok(params)
    }
}

/// What tells the presets apart.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    fraction: f64,
    max_leverage: f64,
    abs_max_leverage: f64,
}

impl Sizes {
    const CHAMPION: Self = Self { fraction: 0.20, max_leverage: 5.0, abs_max_leverage: 6.0 };

    /// Of a preset by name: `conservative` has less leverage and fraction, `growth` more leverage, `aggressive` the
    /// most of both.
    fn of(preset: &str) -> Option<Self> {
        Some(match preset {
            CHAMPION => Self::CHAMPION,
            "conservative" => Self { fraction: 0.10, max_leverage: 3.0, abs_max_leverage: 4.0 },
            "growth" => Self { max_leverage: 8.0, abs_max_leverage: 9.0, ..Self::CHAMPION },
            "aggressive" => Self { fraction: 0.30, max_leverage: 10.0, abs_max_leverage: 12.0 },
            _ => return None,
        })
    }

    const fn values(self) -> [f64; 3] {
        [self.fraction, self.max_leverage, self.abs_max_leverage]
    }
}

/// Why parameters are refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ParamError {
    /// No such key.
    #[error("unknown parameter `{key}`{}", did_you_mean(.nearest.as_deref()))]
    UnknownKey {
        /// As given.
        key: String,
        /// The nearest known key, if one is near.
        nearest: Option<String>,
    },
    /// No such preset.
    #[error("unknown preset `{name}`{}; there are champion, conservative, growth and aggressive", did_you_mean(.nearest.as_deref()))]
    UnknownPreset {
        /// As given.
        name: String,
        /// The nearest known name, if one is near.
        nearest: Option<String>,
    },
    /// The text is not a value of the parameter's kind.
    #[error("parameter `{key}` cannot be `{text}`: {why}")]
    BadValue {
        /// Parameter.
        key: String,
        /// Value as given.
        text: String,
        /// What is wrong.
        why: String,
    },
    /// A number outside its range.
    #[error("parameter `{key}` is {value}; it must be {range}")]
    OutOfRange {
        /// Parameter.
        key: &'static str,
        /// Value found.
        value: f64,
        /// What is allowed.
        range: String,
    },
    /// A profile that says champion and is not.
    #[error("the profile says champion, but the frozen parameters differ: {}; restore them, or name the profile otherwise", list(.0))]
    Drift(Vec<Drift>),
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |n| format!("; did you mean `{n}`?"))
}

fn list(drifts: &[Drift]) -> String {
    drifts.iter().map(Drift::to_string).collect::<Vec<_>>().join(", ")
}

/// A frozen parameter that has another value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// Parameter.
    pub name: &'static str,
    /// Its frozen value, as Python prints it.
    pub frozen: String,
    /// The value found, as Python prints it.
    pub found: String,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {} (frozen: {})", self.name, self.found, self.frozen)
    }
}

/// A parameter that is not the champion's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Parameter.
    pub name: String,
    /// Its value in the champion.
    pub champion: String,
    /// Its value here.
    pub own: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {} (champion: {})", self.name, self.own, self.champion)
    }
}

impl Params {
    /// A preset by name, one of [`PRESETS`].
    pub fn preset(name: &str) -> Result<Self, ParamError> {
        let mut params = Self::default();
        if params.take_preset(name) {
            return Ok(params);
        }
        let nearest = nearest(name, PRESETS).map(str::to_owned);
        Err(ParamError::UnknownPreset { name: name.to_owned(), nearest })
    }

    /// Takes name and numbers of a preset; whether there is one of that name.
    fn take_preset(&mut self, name: &str) -> bool {
        let Some(sizes) = Sizes::of(name) else { return false };
        name.clone_into(&mut self.profile);
        self.sizes().into_iter().zip(sizes.values()).for_each(|(value, preset)| *value = preset);
        true
    }

    const fn sizes(&mut self) -> [&mut f64; 3] {
        [&mut self.fraction, &mut self.max_leverage, &mut self.abs_max_leverage]
    }

    /// The frozen fifteen by name, sorted, their values as Python prints them.
    fn frozen(&self) -> [(&'static str, String); 15] {
        let float = python::repr;
        [
            ("abs_max_leverage", float(self.abs_max_leverage)),
            ("dc_lookback_bars", self.dc_lookback_bars.to_string()),
            ("dc_min_magnitude_bps", float(self.dc_min_magnitude_bps)),
            ("fixed_tp_pct", float(self.fixed_tp_pct)),
            ("fraction", float(self.fraction)),
            ("leverage_convexity", float(self.leverage_convexity)),
            ("max_hold_bars", self.max_hold_bars.to_string()),
            ("max_leverage", float(self.max_leverage)),
            ("min_irp_alignment", float(self.min_irp_alignment)),
            ("min_leverage", float(self.min_leverage)),
            ("seed", self.seed.to_string()),
            ("sp_maker_entry_rate", float(self.sp_maker_entry_rate)),
            ("sp_maker_exit_rate", float(self.sp_maker_exit_rate)),
            ("vel_div_extreme", float(self.vel_div_extreme)),
            ("vel_div_threshold", float(self.vel_div_threshold)),
        ]
    }

    /// SHA-256 (hex) of the frozen fifteen as Python's `json.dumps(params, sort_keys=True)` writes them.
    pub fn hash(&self) -> String {
        let fields = self.frozen().map(|(name, value)| format!("\"{name}\": {value}"));
        hex::encode(Sha256::digest(format!("{{{}}}", fields.join(", "))))
    }

    /// The frozen parameters that differ from the champion's.
    pub fn drift(&self) -> Vec<Drift> {
        let pairs = Self::default().frozen().into_iter().zip(self.frozen());
        pairs
            .filter(|(frozen, found)| frozen.1 != found.1)
            .map(|((name, frozen), (_, found))| Drift { name, frozen, found })
            .collect()
    }

    /// Every parameter that differs from the champion's, frozen or not, by name.
    pub fn differences(&self) -> Vec<Difference> {
        let text = |value: &Value| match value {
            Value::Number(n) if n.is_f64() => n.as_f64().map_or_else(|| n.to_string(), python::repr),
            Value::String(s) => s.clone(),
            other => other.to_string(),
        };
        let pairs = Self::default().to_map().into_iter().zip(self.to_map());
        pairs
            .filter(|(champion, own)| champion.1 != own.1)
            .map(|((name, champion), (_, own))| Difference {
                name,
                champion: text(&champion),
                own: text(&own),
            })
            .collect()
    }

    /// The check of every start: ranges, and no drift where the profile says champion. Gives the hash.
    pub fn verify(&self) -> Result<String, ParamError> {
        self.validate()?;
        // `growth-2` is somebody's own word, `growht` is not.
        let slip = PRESETS
            .into_iter()
            .find(|preset| !self.profile.starts_with(preset) && edit_distance(&self.profile, preset) <= 2);
        if let Some(preset) = slip {
            let nearest = Some(preset.to_owned());
            return Err(ParamError::UnknownPreset { name: self.profile.clone(), nearest });
        }
        let drift = if self.profile == CHAMPION { self.drift() } else { Vec::new() };
        if drift.is_empty() { Ok(self.hash()) } else { Err(ParamError::Drift(drift)) }
    }

    /// Every number within its range. The ranges refuse what the formulas cannot take, not what is unwise.
    pub fn validate(&self) -> Result<(), ParamError> {
        self.validate_each()?;
        let must = |ok: bool, key, value, range: &str| {
            if ok { Ok(()) } else { Err(ParamError::OutOfRange { key, value, range: range.to_owned() }) }
        };
        must(
            self.vel_div_extreme != self.vel_div_threshold,
            "vel_div_extreme",
            self.vel_div_extreme,
            "other than vel_div_threshold",
        )?;
        must(
            self.max_leverage >= self.min_leverage,
            "max_leverage",
            self.max_leverage,
            "at least min_leverage",
        )
    }

    /// The ranges alone, not how parameters stand to each other.
    fn validate_each(&self) -> Result<(), ParamError> {
        match self.ranges().into_iter().find(|(_, value, allowed)| !allowed.contains(*value)) {
            Some((key, value, allowed)) => {
                Err(ParamError::OutOfRange { key, value, range: allowed.to_string() })
            }
            None => Ok(()),
        }
    }

    fn ranges(&self) -> [(&'static str, f64, Range); 28] {
        use Range as R;
        let bars = f64::from(MAX_BARS);
        [
            ("vel_div_threshold", self.vel_div_threshold, R::new(-1e6, -1e-12)),
            ("vel_div_extreme", self.vel_div_extreme, R::new(-1e6, 1e6)),
            ("fixed_tp_pct", self.fixed_tp_pct, R::new(1e-9, 1e3)),
            ("max_hold_bars", f64::from(self.max_hold_bars), R::new(1.0, 1e9)),
            ("fraction", self.fraction, R::new(1e-9, 1.0)),
            ("min_leverage", self.min_leverage, R::new(0.0, 125.0)),
            ("max_leverage", self.max_leverage, R::new(0.0, 125.0)),
            ("abs_max_leverage", self.abs_max_leverage, R::new(1e-9, 125.0)),
            ("leverage_convexity", self.leverage_convexity, R::new(0.0, 100.0)),
            ("dc_lookback_bars", f64::from(self.dc_lookback_bars), R::new(0.0, bars)),
            ("dc_min_magnitude_bps", self.dc_min_magnitude_bps, R::new(-1e6, 1e6)),
            ("min_irp_alignment", self.min_irp_alignment, R::new(0.0, 1.0)),
            ("sp_maker_entry_rate", self.sp_maker_entry_rate, R::new(0.0, 1.0)),
            ("sp_maker_exit_rate", self.sp_maker_exit_rate, R::new(0.0, 1.0)),
            ("vol_window_bars", f64::from(self.vol_window_bars), R::new(1.0, bars)),
            ("vol_p60", self.vol_p60, R::new(-1e6, 1e6)),
            ("warmup_bars", f64::from(self.warmup_bars), R::new(0.0, 1e9)),
            ("lookback", f64::from(self.lookback), R::new(1.0, bars)),
            ("stop_pct", self.stop_pct, R::new(1e-9, 1e3)),
            ("maker_fee", self.maker_fee, R::new(-0.1, 0.1)),
            ("taker_fee", self.taker_fee, R::new(-0.1, 0.1)),
            ("initial_capital", self.initial_capital, R::new(1e-6, 1e15)),
            ("ob_edge_bps", self.ob_edge_bps, R::new(-1e6, 1e6)),
            ("ob_confirm_rate", self.ob_confirm_rate, R::new(-1e6, 1e6)),
            ("min_fill_probability", self.min_fill_probability, R::new(-1e6, 1e6)),
            ("fill_probability_ref", self.fill_probability_ref, R::new(1e-9, 1e6)),
            ("seed", f64::from(self.seed), R::new(0.0, f64::from(u32::MAX))),
            ("excluded_assets", self.excluded_assets.len() as f64, R::new(0.0, 10_000.0)),
        ]
    }

    /// The names of all parameters, in the order of the struct.
    pub fn keys() -> Vec<String> {
        Self::default().to_map().keys().cloned().collect()
    }

    fn to_map(&self) -> serde_json::Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            _ => unreachable!("a struct of plain fields is a JSON object"),
        }
    }

    /// Sets one parameter from text (`--set key=value`). Lists are JSON arrays or separated by commas. Touching a
    /// frozen parameter turns the profile into `custom` and gives `true`: worth a warning. A preset's name for `profile`
    /// takes the preset's numbers. On an error nothing changes.
    /// How parameters stand to each other is left to [`Self::verify`], so that the order of several changes is free.
    pub fn set(&mut self, key: &str, text: &str) -> Result<bool, ParamError> {
        let mut map = self.to_map();
        let Some(slot) = map.get_mut(key) else {
            let keys = Self::keys();
            let nearest = nearest(key, keys.iter().map(String::as_str)).map(str::to_owned);
            return Err(ParamError::UnknownKey { key: key.to_owned(), nearest });
        };
        let bad = |why: String| ParamError::BadValue { key: key.to_owned(), text: text.to_owned(), why };
        *slot = value_like(slot, text.trim()).map_err(|why| bad(why.to_owned()))?;
        let mut changed: Self = serde_json::from_value(Value::Object(map)).map_err(|e| bad(e.to_string()))?;
        changed.validate_each()?;
        if key == "profile" {
            changed.take_preset(text.trim());
        }
        let frozen = self.frozen().iter().any(|(name, _)| *name == key);
        if frozen {
            CUSTOM.clone_into(&mut changed.profile);
        }
        *self = changed;
        Ok(frozen)
    }
}

/// `text` as a JSON value of the kind that `old` is.
fn value_like(old: &Value, text: &str) -> Result<Value, &'static str> {
    match old {
        Value::Number(_) => match text.parse::<u64>() {
            Ok(n) => Ok(Value::from(n)),
            Err(_) => match text.parse::<f64>() {
                Ok(x) if x.is_finite() => Ok(Value::from(x)),
                _ => Err("a finite number is wanted"),
            },
        },
        Value::Bool(_) => match text {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err("true or false is wanted"),
        },
        Value::Array(_) if text.starts_with('[') => {
            serde_json::from_str(text).map_err(|_| "a JSON array of strings is wanted")
        }
        Value::Array(_) => {
            Ok(text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(Value::from).collect())
        }
        // The one optional parameter: text or nothing.
        _ if text.is_empty() || text == "null" => Ok(Value::Null),
        _ => Ok(Value::from(text)),
    }
}

/// A closed range of a parameter.
#[derive(Debug, Clone, Copy)]
struct Range {
    min: f64,
    max: f64,
}

impl Range {
    const fn new(min: f64, max: f64) -> Self {
        Self { min, max }
    }
    fn contains(self, x: f64) -> bool {
        (self.min..=self.max).contains(&x)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "between {} and {}", python::repr(self.min), python::repr(self.max))
    }
}

/// The word nearest to `word` by edit distance, if it is near enough to be a slip of the pen.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = word.len() / 3 + 1;
    let near = known.into_iter().map(|k| (edit_distance(word, k), k)).min_by_key(|&(d, _)| d)?;
    (near.0 <= limit).then_some(near.1)
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
