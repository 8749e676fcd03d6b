//! The columns of a trade (SPEC §3.11), the other names they go by, and when two values are the same.

use alpha::TradeRecord;
use archive::table::Cell;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Date,
    Direction,
    Reason,
    Int,
    Float,
    Flag,
}

/// What of the trades before a column of a trade depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HangsOn {
    /// On none of them.
    Nothing,
    /// On the capital they left.
    Capital,
    /// On that, and on how many fee draws they took (SPEC §3.9).
    Draws,
}

/// A column.
pub(super) struct Field {
    pub(super) name: &'static str,
    aliases: &'static [&'static str],
    pub(super) kind: Kind,
    /// Is it only known when the trade is closed?
    pub(super) known_at_exit: bool,
    /// Is it a difference of larger numbers?
    nearly_cancels: bool,
    /// What it also hangs on beside the trade itself.
    pub(super) hangs_on: HangsOn,
    pub(super) get: fn(&TradeRecord) -> Cell,
}

const fn field(
    name: &'static str,
    aliases: &'static [&'static str],
    kind: Kind,
    known_at_exit: bool,
    get: fn(&TradeRecord) -> Cell,
) -> Field {
    let nearly_cancels = matches!(name.as_bytes(), b"fees" | b"gross_pnl" | b"pnl");
    let hangs_on = match name.as_bytes() {
        b"notional" | b"gross_pnl" | b"capital_after" => HangsOn::Capital,
        b"maker_entry" | b"maker_exit" | b"fees" | b"pnl" => HangsOn::Draws,
        _ => HangsOn::Nothing,
    };
    Field { name, aliases, kind, known_at_exit, nearly_cancels, hangs_on, get }
}

fn flag(value: Option<bool>) -> Cell {
    value.map_or(Cell::Null, Cell::Bool)
}

/// All of them. The README lists the aliases from here.
pub(super) const FIELDS: [Field; 23] = [
    field("symbol", &["asset", "pair", "instrument", "ticker"], Kind::Text, false, |t| {
        Cell::Text(t.symbol.clone())
    }),
    field("direction", &["side", "dir"], Kind::Direction, false, |t| Cell::Int(t.direction.into())),
    field("entry_date", &["date_entry", "open_date"], Kind::Date, false, |t| {
        Cell::Text(t.entry_date.to_string())
    }),
    field("entry_bar", &["entry_bar_idx", "entry_idx", "bar_entry"], Kind::Int, false, |t| {
        Cell::Int(t.entry_bar.into())
    }),
    field("exit_date", &["date_exit", "close_date"], Kind::Date, true, |t| {
        Cell::Text(t.exit_date.to_string())
    }),
    field("exit_bar", &["exit_bar_idx", "exit_idx", "bar_exit"], Kind::Int, true, |t| {
        Cell::Int(t.exit_bar.into())
    }),
    field("bars_held", &["hold_bars", "held_bars", "holding_bars"], Kind::Int, true, |t| {
        Cell::Int(t.bars_held as i64)
    }),
    field("entry_price", &["entry_px", "price_entry", "open_price"], Kind::Float, false, |t| {
        Cell::Float(t.entry_price)
    }),
    field("exit_price", &["exit_px", "price_exit", "close_price"], Kind::Float, true, |t| {
        Cell::Float(t.exit_price)
    }),
    field("notional", &["notional_usd", "notional_value", "size_usd"], Kind::Float, false, |t| {
        Cell::Float(t.notional)
    }),
    field("leverage", &["lev"], Kind::Float, false, |t| Cell::Float(t.leverage)),
    field("vel_div", &["entry_vel_div", "velocity_divergence"], Kind::Float, false, |t| {
        Cell::Float(t.vel_div)
    }),
    field("bucket", &["bucket_idx", "signal_bucket"], Kind::Int, false, |t| Cell::Int(t.bucket.into())),
    field("boost", &["acb_boost"], Kind::Float, false, |t| Cell::Float(t.boost)),
    field("beta", &["acb_beta"], Kind::Float, false, |t| Cell::Float(t.beta)),
    field("mc_scale", &["mc"], Kind::Float, false, |t| Cell::Float(t.mc_scale)),
    field("maker_entry", &["entry_maker", "is_maker_entry"], Kind::Flag, false, |t| flag(t.maker_entry)),
    field("maker_exit", &["exit_maker", "is_maker_exit"], Kind::Flag, true, |t| flag(t.maker_exit)),
    field("fees", &["fee", "commission", "total_fees"], Kind::Float, true, |t| Cell::Float(t.fees)),
    field("gross_pnl", &["gross", "pnl_gross"], Kind::Float, true, |t| Cell::Float(t.gross_pnl)),
    field("pnl", &["net_pnl", "pnl_net", "pnl_usd", "profit"], Kind::Float, true, |t| Cell::Float(t.pnl)),
    field("capital_after", &["capital", "equity", "equity_after"], Kind::Float, true, |t| {
        Cell::Float(t.capital_after)
    }),
    field("reason", &["exit_reason", "exit_type"], Kind::Reason, true, |t| {
        Cell::Text(t.reason.name().to_owned())
    }),
];

/// The floor, in words, of the columns that have one.
pub(super) fn floors(columns: &[usize]) -> Option<String> {
    let names: Vec<&str> =
        columns.iter().map(|&f| &FIELDS[f]).filter(|f| f.nearly_cancels).map(|f| f.name).collect();
    (!names.is_empty()).then(|| format!("{} also within {MONEY_FLOOR:e} of the notional", names.join(", ")))
}

/// Columns that number the rows: not compared.
const NUMBERING: [&str; 5] = ["trade_id", "trade_no", "id", "index", "unnamed: 0"];

/// The column names of SPEC §3.11, in order.
pub const FIELD_NAMES: [&str; 23] = {
    let mut names = [""; 23];
    let mut i = 0;
    while i < names.len() {
        names[i] = FIELDS[i].name;
        i += 1;
    }
    names
};

/// Each column with the other names it may have in a file of expected trades.
pub fn column_names() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    FIELDS.iter().map(|f| (f.name, f.aliases))
}

/// What a column of a file is: a field, row numbers, or unknown.
pub(super) fn find(column: &str) -> Option<Option<usize>> {
    let name = column.trim().to_ascii_lowercase();
    if NUMBERING.contains(&name.as_str()) {
        return Some(None);
    }
    FIELDS.iter().position(|f| f.name == name || f.aliases.contains(&name.as_str())).map(Some)
}

/// A cell of an expected table in the form in which ours are; `None` where it is no value of the kind.
pub(super) fn normal(kind: Kind, cell: Cell) -> Option<Cell> {
    if cell == Cell::Null {
        return Some(Cell::Null);
    }
    match kind {
        Kind::Text => match cell {
            Cell::Text(t) => Some(Cell::Text(t.trim().to_owned())),
            other => Some(Cell::Text(show(&other))),
        },
        Kind::Date => match cell {
            Cell::Text(t) => {
                let day = t.trim().get(..10)?;
                day.parse::<market::Date>().ok().map(|d| Cell::Text(d.to_string()))
            }
            _ => None,
        },
        Kind::Direction => match cell {
            Cell::Text(t) => match t.trim().to_ascii_uppercase().as_str() {
                "SHORT" | "SELL" => Some(Cell::Int(-1)),
                "LONG" | "BUY" => Some(Cell::Int(1)),
                other => other.parse().ok().map(Cell::Int),
            },
            other => whole(&other),
        },
        Kind::Reason => match cell {
            Cell::Text(t) => Some(Cell::Text(reason(&t))),
            _ => None,
        },
        Kind::Int => whole(&cell),
        Kind::Float => number(&cell).map(|n| if n.is_nan() { Cell::Null } else { Cell::Float(n) }),
        Kind::Flag => match cell {
            Cell::Bool(b) => Some(Cell::Bool(b)),
            Cell::Text(t) => match t.trim().to_ascii_lowercase().as_str() {
                "maker" => Some(Cell::Bool(true)),
                "taker" => Some(Cell::Bool(false)),
                _ => None,
            },
            other => match number(&other) {
                Some(0.0) => Some(Cell::Bool(false)),
                Some(1.0) => Some(Cell::Bool(true)),
                Some(n) if n.is_nan() => Some(Cell::Null),
                _ => None,
            },
        },
    }
}

fn reason(text: &str) -> String {
    let upper = text.trim().to_ascii_uppercase().replace([' ', '-'], "_");
    match upper.as_str() {
        "FIXED_TP" | "TAKE_PROFIT" => "TP".to_owned(),
        "STOP_LOSS" | "SL" => "STOP".to_owned(),
        "MAXHOLD" | "MAX_HOLD_BARS" => "MAX_HOLD".to_owned(),
        _ => upper,
    }
}

fn whole(cell: &Cell) -> Option<Cell> {
    match cell {
        Cell::Int(n) => Some(Cell::Int(*n)),
        Cell::Float(x) if x.fract() == 0.0 && x.abs() < 9e15 => Some(Cell::Int(*x as i64)),
        Cell::Float(x) if x.is_nan() => Some(Cell::Null),
        _ => None,
    }
}

/// A number, if it is one.
pub(super) fn number(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Int(n) => Some(*n as f64),
        Cell::Float(x) => Some(*x),
        _ => None,
    }
}

/// Room for rounding where a column is a difference of larger numbers, as a share of the trade's notional: money that
/// nearly cancels has no relative precision.
pub(super) const MONEY_FLOOR: f64 = 1e-12;

/// How far apart two values may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tolerance {
    pub(super) relative: f64,
    /// In the column's unit; 0: none.
    pub(super) floor: f64,
}

impl Tolerance {
    /// Relative alone.
    pub(super) const fn relative(relative: f64) -> Self {
        Self { relative, floor: 0.0 }
    }

    /// For a column of a trade of `notional`.
    pub(super) fn of(field: &Field, relative: f64, notional: f64) -> Self {
        let floor = if field.nearly_cancels && relative > 0.0 { MONEY_FLOOR * notional.abs() } else { 0.0 };
        Self { relative, floor }
    }

    /// Are two floats the same? What is no number is the same as nothing.
    pub(super) fn close(self, a: f64, b: f64) -> bool {
        a == b || (a - b).abs() <= (self.relative * a.abs().max(b.abs())).max(self.floor)
    }
}

/// Does `got` differ from `want`? Where nothing is expected it does, but for flags, where null is a value.
pub(super) fn differs(want: &Cell, got: &Cell, tolerance: Tolerance) -> bool {
    match (want, got) {
        (Cell::Float(w), Cell::Float(g)) => !tolerance.close(*w, *g),
        _ => want != got,
    }
}

/// As text, floats in full.
pub(super) fn show(cell: &Cell) -> String {
    match cell {
        Cell::Null => "null".to_owned(),
        Cell::Bool(b) => b.to_string(),
        Cell::Int(n) => n.to_string(),
        Cell::Float(x) => x.to_string(),
        Cell::Text(t) => t.clone(),
    }
}
