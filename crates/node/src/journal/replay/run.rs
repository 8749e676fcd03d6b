//! Runs of a journal, one after the other: their records to the stages, and what came of it.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::Path;

use ::alpha::{Forewarner, Snapshot};
use runtime::environment::Files;
use runtime::journal::frame::Record;
use runtime::journal::library::{self, Found, Gap, Numbers};
use runtime::journal::segment::{Lost, OWN, kind};
use serde::Serialize;

use super::alpha::{AlphaReplay, Was};
use super::book::{Apart, BookReplay};
use super::fault::Fault;
use super::router::RouterReplay;
use crate::config::Config;
use crate::error::Failure;
use crate::journal::bounds::check;
use crate::journal::header::{Header, RECORDS};
use crate::journal::records::{
    ALPHA, BOOK, FRAME, ROUTER, ROUTER_KINDS, TICK, kind_name, stream_name, value,
};
use crate::journal::states::States;
use crate::stages::alpha::AlphaMemo;

/// Records before a difference that are shown with it.
const CONTEXT: usize = 12;

/// Sees every record that is taken in again, and the engine's side of the state that its run began with; `false` ends the
/// replay.
pub type Observer<'a> = dyn FnMut(&Header, Option<&(Snapshot, AlphaMemo)>, &Record<'_>) -> bool + 'a;

/// How often something was decided again and was the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Records read.
    pub records: u64,
    /// Inputs taken in.
    pub inputs: u64,
    /// Steps of the engine, each with its gate and the digest of the engine's state.
    pub steps: u64,
    /// Intents.
    pub intents: u64,
    /// Order requests.
    pub requests: u64,
    /// Outcomes that the router told.
    pub outcomes: u64,
    /// Requests to the control thread.
    pub control_requests: u64,
    /// Digests of the router's state.
    pub states: u64,
    /// Whole states of both stages, at the beginnings of segments.
    pub snapshots: u64,
    /// Market frames taken in.
    pub frames: u64,
    /// Ticks that were made again of frames, bit for bit those that the engine took.
    pub ticks: u64,
    /// Ticks made again that the engine did not take: a newer one had taken their place.
    pub conflated: u64,
}

/// The first decision that is another one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// `alpha`, `router` or `book`.
    pub stage: &'static str,
    /// Number of the record in its stream.
    pub seq: u64,
    /// When, ns since 1970.
    pub wall_ns: u64,
    /// What was decided then.
    pub then: String,
    /// What is decided now.
    pub now: String,
    /// The records before it, oldest first.
    pub before: Vec<String>,
}

/// What came of a stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every decision is the same.
    Equal,
    /// This one is not.
    Differs(Box<Difference>),
    /// It could not be followed to the end: damage, a hole, no state to begin with.
    Stopped(String),
}

/// What came of a run.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    /// The run.
    pub run: u64,
    /// Version of the program that wrote it.
    pub version: String,
    /// Venue.
    pub venue: String,
    /// Symbols.
    pub symbols: usize,
    /// First and last record, ns since 1970.
    pub from_ns: u64,
    /// See `from_ns`.
    pub to_ns: u64,
    /// What was compared.
    pub counts: Counts,
    /// The engine's stage.
    pub alpha: Verdict,
    /// Books, features and scanner; `None`: the run keeps no frames.
    pub book: Option<Verdict>,
    /// The router's stage.
    pub router: Verdict,
    /// Records that are missing.
    pub gaps: Vec<Gap>,
    /// Damaged parts of files.
    pub damage: Vec<(String, Lost)>,
    /// It ended in good order, and its last segment is here.
    pub ended: bool,
}

impl RunReport {
    /// Is any decision another one?
    pub fn differs(&self) -> bool {
        let differs = |v: &Verdict| matches!(v, Verdict::Differs(_));
        let book = match &self.book {
            Some(book) => differs(book),
            None => false,
        };
        differs(&self.alpha) || differs(&self.router) || book
    }

    /// Was everything that engine and router decided, decided again, to the end?
    pub const fn is_equal(&self) -> bool {
        matches!(self.alpha, Verdict::Equal) && matches!(self.router, Verdict::Equal)
    }
}

/// Which part of a journal; times are ns since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Within {
    /// From the newest state before this time on: what was before it is not read.
    pub from: Option<u64>,
    /// Up to this time.
    pub until: Option<u64>,
}

impl Within {
    /// All of it.
    pub const ALL: Self = Self { from: None, until: None };

    /// Of the runs those that reach into it; of each the segments from the one on that begins with the newest state before.
    fn choose(
        self,
        files: &dyn Files,
        mut runs: Vec<(u64, Vec<Found>)>,
    ) -> Result<Vec<(u64, Vec<Found>)>, Failure> {
        let start = |found: &Found| found.name.start_s.saturating_mul(market::Nanos::SECOND);
        if let Some(until) = self.until {
            runs.retain(|(_, segments)| segments.first().is_some_and(|s| start(s) <= until));
        }
        if let Some(from) = self.from {
            let begun =
                |(_, segments): &(u64, Vec<Found>)| segments.first().is_some_and(|s| start(s) <= from);
            let first = runs.iter().rposition(begun).unwrap_or(0);
            runs.drain(..first);
            for (_, segments) in &mut runs {
                let mut first = segments.iter().rposition(|s| start(s) <= from).unwrap_or(0);
                while first > 0 && !begins_with_a_state(files, &segments[first])? {
                    first -= 1;
                }
                segments.drain(..first);
            }
        }
        Ok(runs)
    }
}

fn begins_with_a_state(files: &dyn Files, found: &Found) -> Result<bool, Failure> {
    let mut states = States::default();
    let read = library::read(files, &found.path, |record| {
        if record.stream != OWN {
            return ControlFlow::Break(());
        }
        if record.kind == kind::STATE
            && let Some((name, part)) = library::state(record.payload)
        {
            states.add(name, part);
        }
        ControlFlow::Continue(())
    });
    read.map_err(|e| Failure::input(format!("{}: {e:?}", found.path.display())))?;
    Ok(states.are_there())
}

/// Decides the runs of a directory or of one segment again.
pub fn replay(
    files: &dyn Files,
    path: &Path,
    within: Within,
    forewarner: &dyn Fn(&Config) -> Option<Forewarner>,
    observer: &mut Observer<'_>,
) -> Result<Vec<RunReport>, Failure> {
    let mut reports = Vec::new();
    for (run, segments) in within.choose(files, runs(files, path)?)? {
        let mut replay = Replay::new(run, within.until, forewarner);
        for found in &segments {
            replay.segment = found.name.to_string();
            let read = library::read(files, &found.path, |record| replay.record(&record, observer));
            let condition = read.map_err(|e| Failure::input(format!("{}: {e:?}", found.path.display())))?;
            let name = &replay.segment;
            replay.damage.extend(condition.lost.into_iter().map(|l| (name.clone(), l)));
            replay.ended = condition.run_ended;
            if replay.over {
                break;
            }
        }
        reports.push(replay.report());
    }
    if reports.is_empty() {
        return Err(Failure::input(format!("{}: nothing of it lies before that time", path.display())));
    }
    Ok(reports)
}

/// The segments of a directory or of one file, by run.
pub fn runs(files: &dyn Files, path: &Path) -> Result<Vec<(u64, Vec<Found>)>, Failure> {
    let name = path.file_name().and_then(|n| n.to_str()).and_then(library::Name::parse);
    let found = match name {
        Some(name) => vec![Found { path: path.to_owned(), name, bytes: 0 }],
        None => library::segments(files, path)
            .map_err(|e| Failure::input(format!("cannot list {}: {e}", path.display())))?,
    };
    if found.is_empty() {
        return Err(Failure::input(format!(
            "{}: no journal segment (NAME.dj, NAME.djz) lies there",
            path.display()
        )));
    }
    let mut runs: Vec<(u64, Vec<Found>)> = Vec::new();
    for one in found {
        match runs.iter_mut().find(|(run, _)| *run == one.name.run) {
            Some((_, segments)) => segments.push(one),
            None => runs.push((one.name.run, vec![one])),
        }
    }
    Ok(runs)
}

struct Stopped(Verdict);

struct Replay<'a> {
    run: u64,
    until: Option<u64>,
    forewarner: &'a dyn Fn(&Config) -> Option<Forewarner>,
    header: Option<Header>,
    /// The file that is read.
    segment: String,
    /// Those that the segment begins with, until its first record.
    states: States,
    alpha: Result<Option<AlphaReplay>, Stopped>,
    router: Result<Option<RouterReplay>, Stopped>,
    /// `None`: the run keeps no frames.
    book: Result<Option<Box<BookReplay>>, Stopped>,
    begun: bool,
    /// The engine's first state.
    state: Option<(Snapshot, AlphaMemo)>,
    numbers: Numbers,
    counts: Counts,
    damage: Vec<(String, Lost)>,
    span: Option<(u64, u64)>,
    ended: bool,
    over: bool,
    before: VecDeque<(u8, u8, u64, u64, Vec<u8>)>,
}

impl<'a> Replay<'a> {
    fn new(run: u64, until: Option<u64>, forewarner: &'a dyn Fn(&Config) -> Option<Forewarner>) -> Self {
        Self {
            run,
            until,
            forewarner,
            header: None,
            segment: String::new(),
            states: States::default(),
            alpha: Ok(None),
            router: Ok(None),
            book: Ok(None),
            begun: false,
            state: None,
            numbers: Numbers::default(),
            counts: Counts::default(),
            damage: Vec::new(),
            span: None,
            ended: false,
            over: false,
            before: VecDeque::new(),
        }
    }

    fn record(&mut self, record: &Record<'_>, observer: &mut Observer<'_>) -> ControlFlow<()> {
        if record.stream == OWN {
            self.numbers.follow(record);
            self.own(record);
            return ControlFlow::Continue(());
        }
        if !self.begun || !self.states.is_empty() {
            let states = std::mem::take(&mut self.states);
            let first = !std::mem::replace(&mut self.begun, true);
            if first || states.are_there() {
                self.go_on(&states, first, record.at);
            }
        }
        let Some(header) = &self.header else { return ControlFlow::Continue(()) };
        let wall = header.wall_at(record.at);
        if self.until.is_some_and(|until| wall > until) || !observer(header, self.state.as_ref(), record) {
            self.over = true;
            return ControlFlow::Break(());
        }
        self.counts.records += 1;
        self.span = Some((self.span.map_or(wall, |(from, _)| from), wall));
        let gaps = self.numbers.gaps.len();
        if record.stream == BOOK && !matches!(self.book, Ok(Some(_))) {
            // Nobody waits for what was before.
            self.numbers.skip_to(BOOK, record.seq.saturating_sub(1));
        }
        if !self.numbers.follow(record) {
            // A number that was there before: a file that lies there twice.
            return ControlFlow::Continue(());
        }
        if let Some(gap) = self.numbers.gaps.get(gaps) {
            let why = if gap.known { "a hole" } else { "damage or a missing segment" };
            let stopped =
                || Stopped(Verdict::Stopped(format!("{why}: records {} to {}", gap.first, gap.last)));
            match record.stream {
                ALPHA if self.alpha.is_ok() => self.alpha = Err(stopped()),
                ROUTER if self.router.is_ok() => self.router = Err(stopped()),
                BOOK if matches!(self.book, Ok(Some(_))) => self.book = Err(stopped()),
                _ => {}
            }
        }
        self.feed(record, wall);
        ControlFlow::Continue(())
    }

    fn own(&mut self, record: &Record<'_>) {
        match record.kind {
            kind::HEADER if self.header.is_none() => {
                self.header = serde_json::from_slice(record.payload).ok();
            }
            kind::STATE => {
                if let Some((name, part)) = library::state(record.payload) {
                    self.states.add(name, part);
                }
            }
            _ => {}
        }
    }

    /// A segment begins with these states: with them the run begins, or a stage that could not be followed goes on; those of
    /// one that was are compared.
    fn go_on(&mut self, states: &States, first: bool, at: u64) {
        let Some(header) = &self.header else { return };
        let stopped = |why: String| Stopped(Verdict::Stopped(why));
        let wrong = if header.records != RECORDS {
            let (theirs, version) = (header.records, &header.version);
            Some(format!(
                "its records have layout {theirs}, this program reads {RECORDS}: use version {version}"
            ))
        } else if !states.are_there() {
            Some("no segment with a state to begin with lies there".to_owned())
        } else {
            None
        };
        if let Some(why) = wrong {
            (self.alpha, self.router) = (Err(stopped(why.clone())), Err(stopped(why)));
            return;
        }
        let cannot = |e: String| Stopped(Verdict::Stopped(format!("its first state cannot be used: {e}")));
        let numbers = states.numbers().unwrap_or_default();
        let missing = [(ALPHA, numbers[0]), (ROUTER, numbers[1])]
            .map(|(stream, newest)| first || self.numbers.newest(stream) != newest);
        let differs = |stage: &'static str| {
            let (then, now) = ("the state that the segment begins with", "another state");
            let (wall_ns, before) = (header.wall_at(at), Vec::new());
            let (then, now) = (then.to_owned(), now.to_owned());
            Stopped(Verdict::Differs(Box::new(Difference { stage, seq: 0, wall_ns, then, now, before })))
        };
        if missing[0] || matches!(self.alpha, Err(Stopped(Verdict::Stopped(_)))) {
            let made = header.config().and_then(|config| {
                let model = if header.forewarner { (self.forewarner)(&config) } else { None };
                let (engine, memo) = states.engine()?;
                let made = AlphaReplay::new(&config, &engine, memo.clone(), model);
                self.state = self.state.take().or(Some((engine, memo)));
                made
            });
            if !matches!(self.alpha, Err(Stopped(Verdict::Differs(_)))) {
                self.alpha = made.map(Some).map_err(cannot);
            }
            self.numbers.skip_to(ALPHA, numbers[0]);
        } else if let Ok(Some(alpha)) = &self.alpha
            && alpha.state().is_some_and(|now| now != states.alpha)
        {
            self.alpha = Err(differs("alpha"));
        }
        if missing[1] || matches!(self.router, Err(Stopped(Verdict::Stopped(_)))) {
            if !matches!(self.router, Err(Stopped(Verdict::Differs(_)))) {
                let made = states.router().map(|(router, fills)| Some(RouterReplay::new(router, fills)));
                self.router = made.map_err(cannot);
            }
            self.numbers.skip_to(ROUTER, numbers[1]);
        } else if let Ok(Some(router)) = &mut self.router
            && router.state().is_some_and(|now| now != states.router)
        {
            self.router = Err(differs("router"));
        }
        self.counts.snapshots += 1;
        if first && header.keeps_frames() {
            let beginning =
                "frames are made ticks of from the beginning of a run: its first segment was not read";
            let made = match states.market() {
                Some(market) => header.config().and_then(|config| BookReplay::new(&config, market?)),
                None => Err(beginning.to_owned()),
            };
            self.book = made.map(|book| Some(Box::new(book))).map_err(|why| Stopped(Verdict::Stopped(why)));
        }
    }

    fn feed(&mut self, record: &Record<'_>, wall_ns: u64) {
        let Record { stream, kind, seq, at, payload } = *record;
        if let Err(why) = check(&at, 0) {
            let stopped = || Stopped(Verdict::Stopped(self.named(record, &format!("its time: {why}"))));
            match stream {
                ALPHA if self.alpha.is_ok() => self.alpha = Err(stopped()),
                ROUTER if self.router.is_ok() => self.router = Err(stopped()),
                BOOK if matches!(self.book, Ok(Some(_))) => self.book = Err(stopped()),
                _ => {}
            }
        }
        let (result, stage) = match stream {
            ALPHA => match &mut self.alpha {
                Ok(Some(alpha)) => (alpha.take(kind, at, payload), "alpha"),
                _ => return,
            },
            ROUTER => match &mut self.router {
                Ok(Some(router)) => (router.take(at, payload), "router"),
                _ => return,
            },
            BOOK => return self.feed_book(record, wall_ns, |book| book.take(kind, at, payload)),
            _ => return,
        };
        match result {
            Ok(was) => self.count(stream, kind, was),
            Err(Fault::Unusable(why)) => {
                let stopped = Err(Stopped(Verdict::Stopped(self.named(record, &why))));
                if stream == ALPHA {
                    self.alpha = stopped.map(|()| None);
                } else {
                    self.router = stopped.map(|()| None);
                }
            }
            Err(Fault::Differs(now)) => {
                let before = self.before.iter().filter(|r| r.0 == stream);
                let before = before.map(|(stream, kind, seq, at, payload)| {
                    shown(&Record { stream: *stream, kind: *kind, seq: *seq, at: *at, payload })
                });
                let before = before.collect();
                let then = shown(record);
                let difference = Difference { stage, seq, wall_ns, then, now, before };
                let stopped = Err(Stopped(Verdict::Differs(Box::new(difference))));
                if stream == ALPHA {
                    self.alpha = stopped.map(|()| None);
                } else {
                    self.router = stopped.map(|()| None);
                }
            }
        }
        if stream == ALPHA && kind == TICK {
            self.feed_book(record, wall_ns, |book| book.tick(payload));
        }
        // Quotes between two events say little, and would push the rest out.
        if stream == ALPHA || kind_name(stream, kind) != ROUTER_KINDS[0] {
            if self.before.len() == 2 * CONTEXT {
                self.before.pop_front();
            }
            self.before.push_back((stream, kind, seq, at, payload.to_vec()));
        }
    }

    /// Which record it is that cannot be used, and why.
    fn named(&self, record: &Record<'_>, why: &str) -> String {
        let (segment, stream) = (&self.segment, stream_name(record.stream));
        let kind = kind_name(record.stream, record.kind);
        format!("{segment}: record {} of {stream} ({kind}) cannot be used: {why}", record.seq)
    }

    /// Gives the book stage an input, or a tick that the engine took.
    fn feed_book(
        &mut self,
        record: &Record<'_>,
        wall_ns: u64,
        give: impl FnOnce(&mut BookReplay) -> Result<(), Apart>,
    ) {
        let Ok(Some(book)) = &mut self.book else { return };
        self.counts.frames += u64::from(record.stream == BOOK && record.kind == FRAME);
        let given = give(book);
        (self.counts.ticks, self.counts.conflated) = (book.equal(), book.conflated());
        let verdict = match given {
            Ok(()) => return,
            Err(Apart::Cannot(why)) => Verdict::Stopped(self.named(record, &why)),
            Err(Apart::Differs { then, now }) => {
                let (stage, seq, before) = ("book", record.seq, Vec::new());
                Verdict::Differs(Box::new(Difference { stage, seq, wall_ns, then, now, before }))
            }
        };
        self.book = Err(Stopped(verdict));
    }

    fn count(&mut self, stream: u8, kind: u8, was: Was) {
        let counts = &mut self.counts;
        if was == Was::Input {
            counts.inputs += 1;
            return;
        }
        match kind_name(stream, kind) {
            "step" => counts.steps += 1,
            "intent" => counts.intents += 1,
            "request" => counts.requests += 1,
            "outcome_told" => counts.outcomes += 1,
            "control_request" => counts.control_requests += 1,
            _ => counts.states += 1,
        }
    }

    fn report(self) -> RunReport {
        let none = || Verdict::Stopped("it has no record that could be decided again".to_owned());
        let alpha = match self.alpha {
            Ok(Some(_)) => Verdict::Equal,
            Ok(None) => none(),
            Err(Stopped(verdict)) => verdict,
        };
        let router = match self.router {
            Ok(Some(_)) => Verdict::Equal,
            Ok(None) => none(),
            Err(Stopped(verdict)) => verdict,
        };
        let book = match self.book {
            Ok(Some(_)) => Some(Verdict::Equal),
            Ok(None) => None,
            Err(Stopped(verdict)) => Some(verdict),
        };
        let (from_ns, to_ns) = self.span.unwrap_or_default();
        let header = self.header.as_ref();
        RunReport {
            run: self.run,
            version: header.map(|h| h.version.clone()).unwrap_or_default(),
            venue: header.map(|h| h.venue.clone()).unwrap_or_default(),
            symbols: header.map_or(0, |h| h.symbols.len()),
            from_ns,
            to_ns,
            counts: self.counts,
            alpha,
            router,
            book,
            gaps: self.numbers.gaps,
            damage: self.damage,
            ended: self.ended,
        }
    }
}

/// A record in one line.
fn shown(record: &Record<'_>) -> String {
    let mut text = value(record).to_string();
    if text.len() > 600 {
        let cut = (0..=600).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        text.truncate(cut);
        text.push('…');
    }
    format!("{} {} {text}", record.seq, kind_name(record.stream, record.kind))
}
