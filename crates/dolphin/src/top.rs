//! The terminal view of a state: pages on a small terminal, everything at once on a large one. Words and signs carry the
//! meaning; colour only helps.

use std::collections::VecDeque;

use market::text::{counted, fixed, signed};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Sparkline, Tabs};
use telemetry::line::{self, age_text, number, seconds};
use telemetry::state::State;

/// The pages of a small terminal.
pub const PAGES: [&str; 5] = ["overview", "orders", "books", "machine", "log"];
/// From this size on everything is shown at once.
const LARGE: (u16, u16) = (120, 40);
/// Signal values kept for the sparkline.
const KEPT: usize = 400;

/// What the reader chose.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Of a small terminal.
    pub page: usize,
    /// With colour?
    pub colour: bool,
}

/// What was heard of the node.
#[derive(Debug, Clone)]
pub struct Seen {
    at: String,
    state: Option<State>,
    /// Why there is no newer state.
    error: Option<String>,
    vel_div: VecDeque<f64>,
}

impl Seen {
    /// Before the first answer.
    pub fn new(at: &str) -> Self {
        Self { at: at.to_owned(), state: None, error: None, vel_div: VecDeque::new() }
    }

    /// An answer.
    pub fn take(&mut self, answer: Result<State, String>) {
        match answer {
            Ok(state) => {
                self.error = None;
                if let Some(x) = state.signal.vel_div {
                    if self.vel_div.len() == KEPT {
                        self.vel_div.pop_front();
                    }
                    self.vel_div.push_back(x);
                }
                self.state = Some(state);
            }
            Err(why) => self.error = Some(why),
        }
    }
}

struct Paint(bool);

impl Paint {
    fn of(&self, colour: Color) -> Style {
        if self.0 { Style::new().fg(colour) } else { Style::new() }
    }
    fn good(&self) -> Style {
        self.of(Color::Green)
    }
    fn bad(&self) -> Style {
        self.of(Color::Red).add_modifier(Modifier::BOLD)
    }
    fn money(&self, x: f64) -> Style {
        if x < 0.0 { self.of(Color::Red) } else { self.of(Color::Green) }
    }
}

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, seen: &Seen, view: View) {
    let paint = Paint(view.colour);
    let area = frame.area();
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(3), Constraint::Min(1), Constraint::Length(1)]).areas(area);
    header(frame, head, seen, &paint);
    let large = area.width >= LARGE.0 && area.height >= LARGE.1;
    let keys = if large { "q leaves" } else { "1-5 or Tab pages, q leaves" };
    let Some(s) = &seen.state else {
        frame.render_widget(Paragraph::new(format!("waiting for a node at {}", seen.at)), body);
        frame.render_widget(Paragraph::new(keys), foot);
        return;
    };
    if large {
        everything(frame, body, seen, s, &paint);
        frame.render_widget(Paragraph::new(keys), foot);
        return;
    }
    match view.page {
        1 => orders_page(frame, body, s, &paint),
        2 => books(frame, body, s, &paint),
        3 => machine(frame, body, s),
        4 => log(frame, body, s, &paint),
        _ => overview(frame, body, seen, s, &paint),
    }
    let [tabs, hint] = Layout::horizontal([Constraint::Min(46), Constraint::Length(27)]).areas(foot);
    let titles = PAGES.iter().enumerate().map(|(i, p)| format!("{} {p}", i + 1));
    let chosen = Style::new().add_modifier(Modifier::REVERSED);
    let pages = Tabs::new(titles).select(view.page).highlight_style(chosen).divider(" ").padding("", "");
    frame.render_widget(pages, tabs);
    frame.render_widget(Paragraph::new(keys), hint);
}

fn everything(frame: &mut Frame<'_>, area: Rect, seen: &Seen, s: &State, paint: &Paint) {
    let [left, right] =
        Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(area);
    let [top, middle, bottom] =
        Layout::vertical([Constraint::Length(21), Constraint::Min(10), Constraint::Length(10)]).areas(left);
    overview(frame, top, seen, s, paint);
    orders_page(frame, middle, s, paint);
    log(frame, bottom, s, paint);
    let [top, bottom] =
        Layout::vertical([Constraint::Percentage(60), Constraint::Percentage(40)]).areas(right);
    machine(frame, top, s);
    books(frame, bottom, s, paint);
}

fn header(frame: &mut Frame<'_>, area: Rect, seen: &Seen, paint: &Paint) {
    let mut lines = Vec::new();
    match (&seen.state, &seen.error) {
        (_, Some(why)) => lines.push(Line::styled(format!("NO NODE: {why}"), paint.bad())),
        (Some(s), None) => {
            let style = if s.armed { paint.good() } else { paint.bad() };
            lines.push(Line::from(vec![
                Span::raw(format!("{} ", line::time(s.at_ms))),
                Span::styled(line::armed(s), style),
            ]));
        }
        (None, None) => lines.push(Line::raw("asking …")),
    }
    if let Some(s) = &seen.state {
        let a = &s.account;
        let money = |x: Option<f64>| x.map_or("–".to_owned(), |x| fixed(x, 2));
        let day = a.day_pnl.unwrap_or(0.0);
        lines.push(Line::from(vec![
            Span::raw(format!("equity {}  ", money(a.equity))),
            Span::styled(format!("today {}", signed(day, 2)), paint.money(day)),
            Span::raw(format!(
                "  drawdown {}  {}{}",
                a.drawdown.map_or("–".to_owned(), |x| format!("{:.2} %", x * 100.0)),
                s.signal.posture,
                s.signal.rm.map_or(String::new(), |x| format!(" Rm {x:.2}")),
            )),
        ]));
        let m = &s.market;
        lines.push(Line::raw(format!(
            "{} {}  data {}  books {} of {}  orders {}  up {}",
            s.node.venue,
            s.node.role,
            m.data_age_ms.map_or("none".to_owned(), age_text),
            m.books_live,
            m.books,
            s.orders.len(),
            age_text(s.at_ms.saturating_sub(s.node.started_ms)),
        )));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn panel(frame: &mut Frame<'_>, area: Rect, title: &str, lines: Vec<Line<'_>>) {
    let block = Block::new().borders(Borders::TOP).title(format!(" {title} "));
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn overview(frame: &mut Frame<'_>, area: Rect, seen: &Seen, s: &State, paint: &Paint) {
    let gates = s.gates.len().clamp(1, 5) as u16 + 1;
    let held = s.positions.len().clamp(1, 3) as u16 + 1;
    let [why, position, signal, trips] = Layout::vertical([
        Constraint::Length(gates),
        Constraint::Length(held),
        Constraint::Length(5),
        Constraint::Min(2),
    ])
    .areas(area);
    let closed = s.gates.iter().map(|g| {
        let style = if g.symbols.is_empty() { paint.bad() } else { paint.of(Color::Yellow) };
        Line::styled(line::gate(g, s.at_ms), style)
    });
    let mut closed: Vec<Line<'_>> = closed.collect();
    if closed.is_empty() {
        closed.push(Line::styled("none: armed", paint.good()));
    }
    panel(frame, why, "closed gates", closed);
    panel(frame, position, "positions", positions(s, paint));
    signal_panel(frame, signal, seen, s);
    let trades = s.trades.iter().map(|t| {
        Line::from(vec![
            Span::raw(format!("{} {:<12} {:<5} ", &line::time(t.at_ms)[..8], t.symbol, t.side)),
            Span::styled(format!("{:>+9.2}", t.pnl), paint.money(t.pnl)),
            Span::raw(format!("  {} -> {}  {}", number(t.entry_px), number(t.exit_px), t.reason)),
        ])
    });
    let mut trades: Vec<Line<'_>> = trades.collect();
    if trades.is_empty() {
        trades.push(Line::raw("none yet"));
    }
    panel(frame, trips, "last round trips", trades);
}

fn positions(s: &State, paint: &Paint) -> Vec<Line<'static>> {
    if s.positions.is_empty() {
        return vec![Line::raw("flat")];
    }
    let one = |p: &telemetry::state::Position| {
        let side = if p.qty < 0.0 { "SHORT" } else { "LONG" };
        let px = |x: Option<f64>| x.map_or("–".to_owned(), number);
        let pnl = p.unrealised.unwrap_or(0.0);
        Line::from(vec![
            Span::raw(format!("{side} {} {}  ", number(p.qty.abs()), p.symbol)),
            Span::styled(signed(pnl, 2), paint.money(pnl)),
            Span::raw(format!("  entry {}  now {}  TP {}", number(p.entry_px), px(p.px), px(p.tp_px))),
        ])
    };
    s.positions.iter().map(one).collect()
}

fn signal_panel(frame: &mut Frame<'_>, area: Rect, seen: &Seen, s: &State) {
    let g = &s.signal;
    let value = g.vel_div.map_or("none".to_owned(), |x| signed(x, 4));
    let text = format!(
        "vel_div {value}, fires below {}, extreme {}; last step: {}; warm-up {} of {}",
        g.threshold, g.extreme, g.gate, g.warm_bars, g.warm_needed
    );
    let block = Block::new().borders(Borders::TOP).title(" signal ");
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let [words, spark] = Layout::vertical([Constraint::Length(1), Constraint::Min(1)]).areas(inner);
    frame.render_widget(Paragraph::new(text), words);
    let shown: Vec<f64> = seen.vel_div.iter().rev().take(usize::from(spark.width)).rev().copied().collect();
    let (low, high) = shown.iter().fold((f64::MAX, f64::MIN), |(l, h), x| (l.min(*x), h.max(*x)));
    let span = if high > low { high - low } else { 1.0 };
    let bars: Vec<u64> = shown.iter().map(|x| 1 + ((x - low) / span * 99.0) as u64).collect();
    frame.render_widget(Sparkline::default().data(&bars).max(100), spark);
}

fn orders_page(frame: &mut Frame<'_>, area: Rect, s: &State, paint: &Paint) {
    let mut lines = vec![Line::raw(format!(
        "{:<12} {:<11} {:<4} {:>12} {:>12} {:>12} {:<16} {:>6}",
        "symbol", "for", "side", "price", "quantity", "filled", "status", "life"
    ))];
    for o in s.orders.iter().chain(&s.done_orders) {
        let style = if o.status == "unknown" { paint.bad() } else { Style::new() };
        let text = format!(
            "{:<12} {:<11} {:<4} {:>12} {:>12} {:>12} {:<16} {:>6}",
            o.symbol,
            o.purpose.replace('_', " "),
            o.side,
            number(o.px),
            number(o.qty),
            number(o.filled),
            o.status.replace('_', " "),
            age_text(o.until_ms.saturating_sub(o.since_ms)),
        );
        lines.push(Line::styled(text, style));
    }
    let c = &s.counts;
    let title = format!(
        "orders: {} sent, {}, {} rejected, {} unknown",
        c.orders,
        counted(c.fills, "fill"),
        c.rejects,
        c.unknown_now
    );
    panel(frame, area, &title, lines);
}

fn books(frame: &mut Frame<'_>, area: Rect, s: &State, paint: &Paint) {
    let columns = usize::from(area.width / 38).max(1);
    let one = |b: &telemetry::state::Book| {
        let spread = b.spread_bps().map_or("–".to_owned(), |x| format!("{x:.1} bps"));
        let age = b.age_ms.map_or("–".to_owned(), age_text);
        let mask = b.mask.clone().unwrap_or_else(|| "ok".to_owned());
        let style = if b.mask.is_some() { paint.bad() } else { Style::new() };
        let symbol = format!("{:.14}", b.symbol);
        Span::styled(format!("{symbol:<14}{spread:>10} {age:>6} {mask:<6.6}"), style)
    };
    // What is masked comes first.
    let mut all: Vec<_> = s.books.iter().collect();
    all.sort_by_key(|b| b.mask.is_none());
    let lines = all.chunks(columns).map(|row| Line::from(row.iter().map(|b| one(b)).collect::<Vec<_>>()));
    let lines = lines.collect();
    let m = &s.market;
    panel(
        frame,
        area,
        &format!("books: {} of {} in sync, {}", m.books_live, m.books, counted(m.gaps, "gap")),
        lines,
    );
}

fn machine(frame: &mut Frame<'_>, area: Rect, s: &State) {
    let mut lines =
        vec![Line::raw(format!("{:<14} {:>9} {:>9} {:>9} {:>9}", "hop, last min", "n", "p50", "p99", "max"))];
    for h in &s.latency {
        let Some(m) = h.minute else { continue };
        let text = format!(
            "{:<14} {:>9} {:>9} {:>9} {:>9}",
            h.name,
            m.n,
            seconds(m.p50),
            seconds(m.p99),
            seconds(m.max)
        );
        lines.push(Line::raw(text));
    }
    lines.push(Line::raw(format!(
        "{:<14} {:>9} {:>9} {:>9} {:>9}",
        "stage", "worker", "duty", "longest", "heartbeat"
    )));
    for g in &s.stages {
        lines.push(Line::raw(format!(
            "{:<14} {:>9} {:>8.1}% {:>9} {:>9}",
            g.name,
            g.worker,
            g.duty * 100.0,
            seconds(g.longest_ns as f64 / 1e9),
            age_text(g.heartbeat_age_ms)
        )));
    }
    for (name, used) in &s.limits {
        let filled = ((used * 20.0).round() as usize).min(20);
        let (full, rest) = ("#".repeat(filled), "-".repeat(20 - filled));
        lines.push(Line::raw(format!(
            "{:<20} [{full}{rest}] {:>5.1}%",
            name.replace('_', " "),
            used * 100.0
        )));
    }
    let mut rings: Vec<_> = s.rings.iter().collect();
    rings.sort_by_key(|r| std::cmp::Reverse(r.high_water * 1_000 / r.capacity.max(1)));
    for r in rings {
        let text =
            format!("{:<22} high water {:>5} of {:<6} full {}", r.name, r.high_water, r.capacity, r.full);
        lines.push(Line::raw(text));
    }
    panel(frame, area, "latency, stages, limits, rings", lines);
}

fn log(frame: &mut Frame<'_>, area: Rect, s: &State, paint: &Paint) {
    let room = usize::from(area.height.saturating_sub(1));
    let lines = s.log.iter().rev().take(room).rev().map(|l| {
        let style = match l.level.as_str() {
            "ERROR" => paint.bad(),
            "WARN" => paint.of(Color::Yellow),
            _ => Style::new(),
        };
        Line::styled(format!("{} {:<5} {}", &line::time(l.at_ms)[..8], l.level, l.text), style)
    });
    panel(frame, area, "log", lines.collect());
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use telemetry::state::{Account, ClosedGate, Position};

    use super::*;

    fn shown(width: u16, height: u16, seen: &Seen, page: usize) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, seen, View { page, colour: false })).unwrap();
        let buffer = terminal.backend().buffer();
        assert!(
            buffer.content.iter().all(|c| c.fg == Color::Reset && c.bg == Color::Reset),
            "no colour was asked for"
        );
        let rows = buffer.content.chunks(usize::from(width));
        rows.map(|row| row.iter().map(|c| c.symbol()).collect::<String>() + "\n").collect()
    }

    fn seen() -> Seen {
        let gate = ClosedGate {
            name: "user_stream".into(),
            cause: "the user stream is down".into(),
            since_ms: 1_000,
            reopens: "when it is open".into(),
            symbols: Vec::new(),
        };
        let position =
            Position { symbol: "BTCUSDT".into(), qty: -0.5, unrealised: Some(-12.5), ..Position::default() };
        let state = State {
            at_ms: 61_000,
            gates: vec![gate],
            account: Account { equity: Some(25_000.0), ..Account::default() },
            positions: vec![position],
            ..State::default()
        };
        let mut seen = Seen::new("http://127.0.0.1:9464");
        seen.take(Ok(state));
        seen
    }

    #[test]
    fn a_small_terminal_shows_what_matters_and_every_page_fits() {
        let text = shown(80, 24, &seen(), 0);
        for wanted in [
            "00:01:01 UTC NOT ARMED: the user stream is down",
            "equity 25000.00",
            "SHORT 0.5 BTCUSDT",
            "-12.50",
        ] {
            assert!(text.contains(wanted), "`{wanted}` in\n{text}");
        }
        assert!(text.contains("user_stream: the user stream is down; closed for 60 s; reopens"), "{text}");
        for page in 0..PAGES.len() {
            shown(80, 24, &seen(), page);
            shown(20, 5, &seen(), page);
        }
    }

    #[test]
    fn a_large_terminal_shows_everything_and_a_node_that_has_gone_is_named() {
        let text = shown(200, 60, &seen(), 0);
        for wanted in ["closed gates", "last round trips", "latency, stages", "books:", " log "] {
            assert!(text.contains(wanted), "`{wanted}` in\n{text}");
        }
        let mut gone = seen();
        gone.take(Err("no node at X: nobody listens there".to_owned()));
        let text = shown(80, 24, &gone, 0);
        assert!(text.contains("NO NODE: no node at X: nobody listens there"), "{text}");
        assert!(text.contains("SHORT 0.5 BTCUSDT"), "what was last known stays");
        assert!(shown(80, 24, &Seen::new("http://a"), 0).contains("waiting for a node at http://a"));
    }
}
