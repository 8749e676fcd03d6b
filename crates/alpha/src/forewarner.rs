//! MC-Forewarner: a fitted tree ensemble that scales the day's risk (SPEC §4.3).
//!
//! The model comes from scikit-learn by `ops/forewarner/export_forewarner.py` and is evaluated bit for bit as
//! scikit-learn does: inputs are rounded to 32 bits, then compared with 64-bit thresholds (`x ≤ threshold` goes left);
//! gradient boosting adds `learning_rate·leaf` to the base value stage by stage, a random forest adds the leaves tree
//! by tree and divides by their number. ONNX files are read, too (32-bit, see `onnx`). A broken model is refused as a whole,
//! at loading.

mod onnx;
mod protobuf;

use serde::{Deserialize, Serialize};

/// Trees in a model.
pub const MAX_TREES: usize = 20_000;
/// Nodes in a model.
pub const MAX_NODES: usize = 4_000_000;
/// Features of a model.
pub const MAX_FEATURES: usize = 64;
/// The value of `format` in a model file.
pub const FORMAT: &str = "dolphin-forewarner-1";

/// What a model may ask for, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Capital at the day's start, quote asset.
    Capital,
    /// Parameter `max_leverage`.
    MaxLeverage,
    /// Parameter `fraction`.
    Fraction,
    /// Parameter `max_hold_bars`.
    MaxHoldBars,
    /// Parameter `fixed_tp_pct`.
    FixedTpPct,
    /// Mean of the w750 history.
    W750Mean,
    /// Its 60th percentile.
    W750P60,
    /// Trades closed on the day before.
    TradesYesterday,
    /// Their pnl, quote asset.
    PnlYesterday,
}

impl Feature {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "capital" => Self::Capital,
            "max_leverage" => Self::MaxLeverage,
            "fraction" => Self::Fraction,
            "max_hold_bars" => Self::MaxHoldBars,
            "fixed_tp_pct" => Self::FixedTpPct,
            "w750_mean" => Self::W750Mean,
            "w750_p60" => Self::W750P60,
            "trades_yesterday" => Self::TradesYesterday,
            "pnl_yesterday" => Self::PnlYesterday,
            _ => return None,
        })
    }
}

/// The values of all features on a morning; NaN: not known yet.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "each field is the Feature of its name")]
pub struct MorningState {
    pub capital: f64,
    pub max_leverage: f64,
    pub fraction: f64,
    pub max_hold_bars: f64,
    pub fixed_tp_pct: f64,
    pub w750_mean: f64,
    pub w750_p60: f64,
    pub trades_yesterday: f64,
    pub pnl_yesterday: f64,
}

impl MorningState {
    const fn get(&self, feature: Feature) -> f64 {
        match feature {
            Feature::Capital => self.capital,
            Feature::MaxLeverage => self.max_leverage,
            Feature::Fraction => self.fraction,
            Feature::MaxHoldBars => self.max_hold_bars,
            Feature::FixedTpPct => self.fixed_tp_pct,
            Feature::W750Mean => self.w750_mean,
            Feature::W750P60 => self.w750_p60,
            Feature::TradesYesterday => self.trades_yesterday,
            Feature::PnlYesterday => self.pnl_yesterday,
        }
    }
}

/// The forewarner's word on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum McStatus {
    /// Scale ≥ 1.
    Green,
    /// Scale in (0.5, 1).
    Orange,
    /// Scale 0.5: no entries.
    Red,
    /// No usable model: scale 1.
    Disabled,
}

impl McStatus {
    /// Its name in results and notes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Green => "GREEN",
            Self::Orange => "ORANGE",
            Self::Red => "RED",
            Self::Disabled => "DISABLED",
        }
    }

    /// The status of a clamped scale.
    pub fn of(scale: f64) -> Self {
        match scale {
            s if s >= 1.0 => Self::Green,
            s if s > 0.5 => Self::Orange,
            _ => Self::Red,
        }
    }
}

/// Why a model is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForewarnerError {
    /// Not the JSON we write.
    #[error("the forewarner model is not readable: {0}")]
    Unreadable(String),
    /// It asks for something that does not exist.
    #[error("the forewarner model asks for the unknown feature `{0}`")]
    UnknownFeature(String),
    /// Its parts do not fit together.
    #[error("the forewarner model is broken: {0}")]
    Broken(String),
    /// It gave NaN, or was given a value not known yet.
    #[error("the forewarner gave no number: {0}")]
    NotANumber(String),
}

/// How leaves become a prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FileKind {
    GradientBoosting,
    RandomForest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    GradientBoosting,
    RandomForest,
    /// Leaves summed in 32 bits, then the base value.
    OnnxSingle {
        average: bool,
    },
    /// The same in 64 bits.
    OnnxDouble {
        average: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelFile {
    format: String,
    kind: FileKind,
    feature_names: Vec<String>,
    base_value: f64,
    learning_rate: f64,
    trees: Vec<TreeFile>,
}

/// Nodes by column, in scikit-learn's order: a child stands behind its parent, a leaf has left = −1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TreeFile {
    feature: Vec<i32>,
    threshold: Vec<f64>,
    left: Vec<i32>,
    right: Vec<i32>,
    value: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Node {
    Leaf(f64),
    /// Goes left where the test of input against threshold holds.
    Split {
        feature: u32,
        test: Test,
        threshold: f64,
        left: u32,
        right: u32,
    },
}

/// How a node compares; scikit-learn knows only `≤`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Leq,
    Lt,
    Gte,
    Gt,
    Eq,
    Neq,
}

impl Test {
    #[inline]
    fn holds(self, x: f64, threshold: f64) -> bool {
        match self {
            Self::Leq => x <= threshold,
            Self::Lt => x < threshold,
            Self::Gte => x >= threshold,
            Self::Gt => x > threshold,
            Self::Eq => x == threshold,
            Self::Neq => x != threshold,
        }
    }
}

/// A loaded model.
#[derive(Debug, Clone, PartialEq)]
pub struct Forewarner {
    kind: Kind,
    features: Vec<Feature>,
    base_value: f64,
    learning_rate: f64,
    trees: Vec<Vec<Node>>,
}

impl Forewarner {
    /// Loads `forewarner.json`.
    pub fn from_json(json: &[u8]) -> Result<Self, ForewarnerError> {
        let file: ModelFile =
            serde_json::from_slice(json).map_err(|e| ForewarnerError::Unreadable(e.to_string()))?;
        if file.format != FORMAT {
            let message = format!("format is `{}`, wanted is `{FORMAT}`", file.format);
            return Err(ForewarnerError::Unreadable(message));
        }
        let features = features_named(file.feature_names.iter().map(String::as_str))?;
        let trees = file
            .trees
            .iter()
            .enumerate()
            .map(|(i, tree)| {
                nodes(tree, features.len())
                    .ok_or_else(|| ForewarnerError::Broken(format!("tree {i} is not a tree")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        limits(&features, &trees)?;
        let (base_value, learning_rate) = (file.base_value, file.learning_rate);
        let kind = match file.kind {
            FileKind::GradientBoosting => Kind::GradientBoosting,
            FileKind::RandomForest => Kind::RandomForest,
        };
        Ok(Self { kind, features, base_value, learning_rate, trees })
    }

    /// Loads an ONNX file with a `TreeEnsembleRegressor`.
    pub fn from_onnx(bytes: &[u8]) -> Result<Self, ForewarnerError> {
        onnx::load(bytes)
    }

    /// The raw prediction for inputs in the model's own order, as scikit-learn's `predict`. Missing inputs are NaN.
    pub fn predict(&self, inputs: &[f64]) -> f64 {
        // scikit-learn casts its input to 32 bits before any tree sees it.
        let mut x = [f32::NAN; MAX_FEATURES];
        for (x, &input) in x.iter_mut().zip(inputs) {
            *x = input as f32;
        }
        let leaves = self.trees.iter().map(|tree| leaf(tree, &x));
        let count = self.trees.len();
        match self.kind {
            Kind::GradientBoosting => leaves.fold(self.base_value, |sum, v| sum + self.learning_rate * v),
            Kind::RandomForest => leaves.fold(0.0, |sum, v| sum + v) / count as f64,
            Kind::OnnxSingle { average } => {
                let sum: f32 = leaves.map(|v| v as f32).sum();
                let sum = if average { sum / count as f32 } else { sum };
                f64::from(sum + self.base_value as f32)
            }
            Kind::OnnxDouble { average } => {
                let sum: f64 = leaves.sum();
                (if average { sum / count as f64 } else { sum }) + self.base_value
            }
        }
    }

    /// The scale of a day, clamped to [0.5, 1.5], and its status.
    pub fn evaluate(&self, state: &MorningState) -> Result<(f64, McStatus), ForewarnerError> {
        let mut inputs = [0.0; MAX_FEATURES];
        for (input, &feature) in inputs.iter_mut().zip(&self.features) {
            *input = state.get(feature);
            // scikit-learn refuses such inputs: NaN, infinite, or too large for 32 bits.
            if !(*input as f32).is_finite() {
                let what = format!("{feature:?} is not known yet or out of range");
                return Err(ForewarnerError::NotANumber(what));
            }
        }
        let raw = self.predict(&inputs[..self.features.len()]);
        if raw.is_nan() {
            return Err(ForewarnerError::NotANumber("the prediction is NaN".to_owned()));
        }
        let scale = raw.clamp(0.5, 1.5);
        Ok((scale, McStatus::of(scale)))
    }
}

fn leaf(tree: &[Node], x: &[f32; MAX_FEATURES]) -> f64 {
    let mut at = 0;
    // Children stand behind their parents: this ends.
    loop {
        match tree[at] {
            Node::Leaf(value) => return value,
            Node::Split { feature, test, threshold, left, right } => {
                let goes_left = test.holds(f64::from(x[feature as usize]), threshold);
                at = if goes_left { left } else { right } as usize;
            }
        }
    }
}

fn features_named<'a>(names: impl Iterator<Item = &'a str>) -> Result<Vec<Feature>, ForewarnerError> {
    names.map(|n| Feature::named(n).ok_or_else(|| ForewarnerError::UnknownFeature(n.to_owned()))).collect()
}

fn limits(features: &[Feature], trees: &[Vec<Node>]) -> Result<(), ForewarnerError> {
    let broken = |what: &str| Err(ForewarnerError::Broken(what.to_owned()));
    if features.len() > MAX_FEATURES {
        return broken("too many features");
    }
    if trees.is_empty() || trees.len() > MAX_TREES {
        return broken("no trees, or too many");
    }
    if trees.iter().map(Vec::len).sum::<usize>() > MAX_NODES {
        return broken("too many nodes");
    }
    Ok(())
}

/// The nodes of a tree, or `None` if they are none.
fn nodes(tree: &TreeFile, features: usize) -> Option<Vec<Node>> {
    let n = tree.value.len();
    let columns = [tree.feature.len(), tree.threshold.len(), tree.left.len(), tree.right.len()];
    if n == 0 || columns.iter().any(|&c| c != n) {
        return None;
    }
    let child = |parent: usize, child: i32| {
        u32::try_from(child).ok().filter(|&c| (c as usize) > parent && (c as usize) < n)
    };
    (0..n)
        .map(|i| {
            if tree.left[i] == -1 {
                return (tree.right[i] == -1).then_some(Node::Leaf(tree.value[i]));
            }
            let feature = u32::try_from(tree.feature[i]).ok().filter(|&f| (f as usize) < features)?;
            let (left, right) = (child(i, tree.left[i])?, child(i, tree.right[i])?);
            Some(Node::Split { feature, test: Test::Leq, threshold: tree.threshold[i], left, right })
        })
        .collect()
}
