//! Memory's thread at work: steps in, writes out, our own Rm back.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use alpha::{Image, Safety};
use arrayvec::ArrayVec;
use futures_util::StreamExt;
use market::{ExitReason, Nanos, utc_date};
use memory::schema::{self, Heartbeat, ObRecord, Phase, to_text};
use memory::{SystemMemory, WriteBehind};
use runtime::clock::Clock;
use runtime::environment::Files;
use runtime::pending::Publisher;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::history::{self, HistoryWriter};
use super::kept::Kept;
use super::replaced::Replaced;
use super::state::{Numbered, RECENT, SavedText, StateText};
use super::watches::{self, SafetyWatch};
use super::{Identity, Shared, Start, TURN};
use crate::config::{Config, Signal};
use crate::day::KeptDay;
use crate::sensors::{self, Health, Stress};
use crate::stages::Tick;
use crate::stages::memory::{MemoryNews, Step, UNSETTLED, Unsettled};

/// Bars that warm a scanner from nothing, and some more.
const SCANNER_BARS: u64 = alpha::eigen::WINDOWS[3] as u64 + 50;
/// Between two signs of life.
const PULSE_NS: u64 = 5 * Nanos::SECOND;
/// Between two looks at our own sensors.
const SENSE_NS: u64 = Nanos::SECOND / 5;
/// Between two publications of them.
const PUBLISH_RM_NS: u64 = Nanos::SECOND;

/// Serves the stages until the link is finished.
pub(super) async fn run(start: Start, memory: &SystemMemory, writes: &WriteBehind, shared: &Arc<Shared>) {
    let Start { mut ends, identity, config, loaded, clock, files } = start;
    let mut writer = Writer::new(&config, identity, writes.clone(), clock.clone());
    (writer.may_write, writer.files) = (loaded.read, Some(files));
    if let Some(text) = &loaded.set_aside {
        let key = writer.identity.owner.set_aside_key(clock.wall_ns());
        writer.put(writer.deployment.state_map(), &key, text.clone());
    }
    if let Some(history) = &loaded.history {
        for (key, block) in writer.history.resume(history, loaded.ticks) {
            writer.put(writer.deployment.state_map(), &key, block);
        }
    }
    if let Some(bars) = &loaded.bars {
        // All of them: the numbers of the bars may be others than those that memory has.
        for (number, row) in (bars.first..).zip(&bars.rows) {
            if let Some((key, block)) = writer.bars.push(number, row) {
                writer.put(writer.deployment.state_map(), &key, block);
            }
        }
    }
    // Written again, because the last of them may be missing in their map.
    let known = loaded.saved.into_iter().flat_map(|saved| saved.recent);
    known.chain(loaded.recovered).for_each(|numbered| writer.trade(numbered));
    let acb = watches::acb(memory, ends.acb);
    let scans = (config.signal == Signal::Memory)
        .then(|| watches::scans(memory, clock.clone(), ends.scan))
        .transpose();
    let safety_watch = memory.watch(schema::SAFETY, Some(schema::SAFETY_LATEST));
    let (Ok(acb), Ok(scans), Ok(safety_watch)) = (acb, scans, safety_watch) else {
        return tracing::error!("the names of the memory maps are refused; nothing is watched or written");
    };
    let mut safety = SafetyWatch::new(ends.safety);
    let mut safety_reads = pin!(SafetyWatch::reads(memory, safety_watch));
    let mut own = OwnRm::new(ends.rm);
    writer.heartbeat(Phase::EngineStart);
    let mut turn = tokio::time::interval(TURN);
    turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            biased;
            Some(read) = safety_reads.next() => safety.take(read),
            _ = turn.tick() => {}
        }
        let finishing = shared.finish.load(Ordering::Acquire);
        while let Some(mut step) = ends.steps.recv() {
            writer.step(&mut step);
            ends.steps.give_back(step);
        }
        while let Some(news) = ends.news.pop() {
            writer.news(&news);
        }
        while let Some(health) = ends.health.pop() {
            own.health = Some(health);
        }
        if let Some(day) = writer.identity.day.news(&writer.day) {
            writer.urgent |= day.is_urgent_after(&writer.day);
            writer.day = day;
        }
        let now = clock.now_ns();
        own.sense(now, &writer);
        writer.write(now, &own);
        let kept = writer.kept.get_mut().is_kept(now, writes.counts().delivered);
        shared.unkept.store(!kept, Ordering::Release);
        tell(shared, &acb, scans.as_ref(), &safety, &own);
        if finishing {
            break;
        }
    }
    writer.close();
}

fn tell(
    shared: &Shared,
    acb: &memory::Watcher,
    scans: Option<&memory::Watcher>,
    safety: &SafetyWatch,
    own: &OwnRm,
) {
    let (acb, scans) = (acb.counts(), scans.map(memory::Watcher::counts).unwrap_or_default());
    let mut status = shared.status();
    (status.acb_taken, status.acb_rejected) = (acb.accepted, acb.rejected);
    (status.scans_taken, status.scans_rejected) = (scans.accepted, scans.rejected);
    (status.safety_taken, status.safety_rejected) = (safety.counts.accepted, safety.counts.rejected);
    (status.rm, status.sensors) = (own.sensors.map(|s| s.rm()), own.sensors);
}

/// Our own Rm (SPEC §4.2).
struct OwnRm {
    publish: Publisher<f64>,
    health: Option<Health>,
    sensors: Option<alpha::Sensors>,
    due: u64,
    told: f64,
}

impl OwnRm {
    const fn new(publish: Publisher<f64>) -> Self {
        Self { publish, health: None, sensors: None, due: 0, told: 1.0 }
    }

    /// Nothing is measured before there is something to measure: a run begins sound.
    fn sense(&mut self, now: u64, writer: &Writer) {
        let Some(health) = self.health.filter(|_| now >= self.due && writer.tick_at > 0) else { return };
        self.due = now + SENSE_NS;
        let age_s = now.saturating_sub(writer.tick_at) as f64 / 1e9;
        let sensors = sensors::sensors(&health, &writer.stress, age_s);
        self.sensors = Some(sensors);
        let rm = sensors.rm();
        if rm != self.told {
            let (before, after) = (Safety::of(self.told).posture, Safety::of(rm).posture);
            if before != after {
                tracing::warn!(rm, ?sensors, "our own Rm asks for {after} after {before}");
            }
            self.told = rm;
            self.publish.publish(rm);
        }
    }
}

/// When something is to be written again.
#[derive(Debug, Clone, Copy)]
struct Every {
    ns: u64,
    due: u64,
}

impl Every {
    const fn ms(ms: u64) -> Self {
        Self { ns: ms * Nanos::MS, due: 0 }
    }

    /// Is it time? 0 is never.
    const fn is_due(&mut self, now: u64) -> bool {
        let due = self.ns > 0 && now >= self.due;
        if due {
            self.due = now + self.ns;
        }
        due
    }
}

/// Everything that is written.
struct Writer {
    identity: Identity,
    /// Memory has been read: what has not been read is never written.
    may_write: bool,
    files: Option<Arc<dyn Files>>,
    deployment: schema::Deployment,
    writes: WriteBehind,
    clock: Clock,
    own_scans: bool,
    tick_ns: u64,
    image: Option<Image>,
    at: Nanos,
    exit: Option<ExitReason>,
    booked: Nanos,
    unsettled: ArrayVec<Unsettled, UNSETTLED>,
    entry_unsettled: bool,
    /// The newest trades by number, as text: it travels with every state.
    recent: VecDeque<(u64, Box<RawValue>)>,
    /// The highest number of a trade that was written.
    newest_trade: u64,
    replaced: Replaced,
    day: KeptDay,
    history: HistoryWriter,
    bars: HistoryWriter,
    stride: u64,
    /// The newest tick, and when it came (monotonic).
    tick: Option<Arc<Tick>>,
    tick_at: u64,
    stress: Stress,
    scratch: Vec<f64>,
    urgent: bool,
    state: Every,
    blocks: Every,
    features: Every,
    scans: Every,
    pulse: Every,
    safety: Every,
    local_failed: Cell<bool>,
    kept: RefCell<Kept>,
}

impl Writer {
    fn new(config: &Config, identity: Identity, writes: WriteBehind, clock: Clock) -> Self {
        let (m, stride) = (&config.memory, config.market.stride());
        let needed = alpha::Engine::history_ticks(&config.alpha, stride);
        // Ranks are of scans, and a scan needs a warm scanner.
        let bars = SCANNER_BARS + u64::from(alpha::Engine::rank_bars(&config.alpha));
        Self {
            may_write: true,
            files: None,
            deployment: identity.owner.deployment.into(),
            history: HistoryWriter::new(history::PREFIX, identity.assets.clone(), stride, needed),
            bars: HistoryWriter::new(history::BARS, identity.assets.clone(), stride, bars),
            stride: u64::from(stride.max(1)),
            writes,
            clock,
            own_scans: config.signal == Signal::Scanner,
            tick_ns: config.market.tick_ms * Nanos::MS,
            image: None,
            at: Nanos(0),
            exit: None,
            booked: Nanos(0),
            unsettled: ArrayVec::new(),
            entry_unsettled: false,
            recent: VecDeque::with_capacity(RECENT + 1),
            newest_trade: 0,
            replaced: Replaced::default(),
            day: identity.day.get(),
            tick: None,
            tick_at: 0,
            stress: Stress::default(),
            scratch: Vec::new(),
            urgent: false,
            state: Every::ms(m.state_every_ms),
            blocks: Every::ms(m.history_every_ms),
            features: Every::ms(m.features_every_ms),
            scans: Every::ms(m.scan_every_ms),
            pulse: Every { ns: PULSE_NS, due: 0 },
            safety: Every { ns: PUBLISH_RM_NS, due: 0 },
            local_failed: Cell::new(false),
            kept: RefCell::default(),
            identity,
        }
    }

    fn step(&mut self, step: &mut Step) {
        match &mut self.image {
            Some(image) => std::mem::swap(image, &mut step.image),
            none => *none = Some(step.image.clone()),
        }
        (self.at, self.exit, self.booked) = (step.at, step.exit, step.booked);
        self.unsettled.clone_from(&step.unsettled);
        self.entry_unsettled = step.entry_unsettled;
        self.urgent |= step.urgent;
        let Some(tick) = step.tick.take() else { return };
        self.tick_at = self.clock.now_ns();
        self.stress.follow(Stress::of(&tick.features, &tick.cross, &mut self.scratch));
        if let Some((key, block)) = step.number.and_then(|n| self.history.push(n, &tick.mids)) {
            self.put(self.deployment.state_map(), &key, block);
        }
        let bar = step.number.filter(|n| n % self.stride == 0).map(|n| n / self.stride);
        if let Some((key, block)) = bar.and_then(|n| self.bars.push(n, &tick.mids)) {
            self.put(self.deployment.state_map(), &key, block);
        }
        self.tick = Some(tick);
    }

    fn news(&mut self, news: &MemoryNews) {
        match news {
            MemoryNews::Closed(number, trade) => {
                self.trade(Numbered { number: *number, trade: trade.record(&self.identity.assets) });
            }
            MemoryNews::DayEnded(result) => {
                self.put_last(self.deployment.pnl_map(), result.date.to_string(), to_text(result));
                self.put_state(schema::STATE_LATEST);
            }
        }
    }

    fn trade(&mut self, numbered: Numbered) {
        let key = format!("{}.{:08}", numbered.trade.exit_date, numbered.number);
        let map = trades_map(self.identity.owner.deployment);
        let text = text_of(&numbered);
        if numbered.number > self.newest_trade {
            self.newest_trade = numbered.number;
            self.put(map, &key, text.get().to_owned());
        } else {
            self.put_last(map, key, text.get().to_owned());
        }
        // What memory does not have travels with the local state.
        if self.recent.len() >= RECENT && self.may_write {
            self.recent.pop_front();
        }
        self.recent.push_back((numbered.number, text));
    }

    /// A value that may take the place of another, and that is the last word on its key.
    fn put_last(&mut self, map: &'static str, key: String, value: String) {
        self.put(map, &key, value.clone());
        self.replaced.keep(map, key, value, self.clock.now_ns());
    }

    /// Writes what is due.
    fn write(&mut self, now: u64, own: &OwnRm) {
        for (map, key, value) in self.replaced.due(now) {
            self.put(map, &key, value);
        }
        let due = self.state.is_due(now);
        if std::mem::take(&mut self.urgent) || due {
            self.put_state(schema::STATE_LATEST_NAUTILUS);
        }
        if self.blocks.is_due(now) {
            self.put_block();
        }
        if self.pulse.is_due(now) {
            self.heartbeat(Phase::LivePulse);
        }
        if let Some(sensors) = own.sensors.filter(|_| self.safety.is_due(now)) {
            let safety = Safety::of(sensors.rm());
            let text = json!({
                "posture": safety.posture, "Rm": safety.rm, "sensors": sensors, "ts": self.at.0 as f64 / 1e9,
            });
            self.put(schema::SAFETY, &live_safety_key(self.identity.owner.deployment), text.to_string());
        }
        self.publish_tick(now);
    }

    fn publish_tick(&mut self, now: u64) {
        let Some(tick) = self.tick.take_if(|t| t.ts.0 > 0) else { return };
        if self.features.is_due(now) {
            self.put_features(&tick);
        }
        if self.own_scans && tick.scan.vel_div.is_finite() && self.scans.is_due(now) {
            let scan = self.scan(&tick);
            self.put(schema::FEATURES, schema::LATEST_EIGEN_SCAN, to_text(&scan));
        }
        self.tick = Some(tick);
    }

    fn put_features(&self, tick: &Tick) {
        let mut records = Vec::new();
        for (symbol, features) in self.identity.assets.iter().zip(&tick.features) {
            let Some(features) = *features else { continue };
            let record =
                ObRecord { symbol: symbol.clone(), timestamp: tick.ts, features, cross_asset: tick.cross };
            let text = text_of(&record);
            if self.identity.own_books {
                self.put(&schema::features_map(symbol), symbol, text.get().to_owned());
            }
            records.push((symbol.clone(), text));
        }
        self.cache_features(records);
    }

    /// The file of the newest features (SPEC §2.3), beside the local state. Memory has them too: a disk that fails is no
    /// reason for more than a word.
    fn cache_features(&self, records: Vec<(String, Box<RawValue>)>) {
        let (Some(files), Some(state)) = (&self.files, &self.identity.local_state) else { return };
        let path = state.with_file_name(schema::OB_CACHE);
        if let Err(error) = files.write(&path, &schema::cache_text(records)) {
            tracing::debug!("{}: {error}", path.display());
        }
    }

    fn scan(&self, tick: &Tick) -> schema::Scan {
        let s = &tick.scan;
        schema::Scan {
            // Ticks since 1970: rises at every scan, over restarts too.
            scan_number: i64::try_from(tick.ts.0 / self.tick_ns.max(1)).ok(),
            timestamp: Some(tick.ts),
            vel_div: s.vel_div,
            v50_lambda_max_velocity: s.velocity[0],
            v150_lambda_max_velocity: s.velocity[1],
            v300_lambda_max_velocity: s.velocity[2],
            v750_lambda_max_velocity: s.velocity[3],
            instability_50: s.instability_50,
            instability_150: s.instability_150,
            asset_prices: self.identity.assets.iter().cloned().zip(tick.mids.iter().copied()).collect(),
        }
    }

    fn put_block(&mut self) {
        let blocks = [self.history.block(), self.bars.block()];
        for (key, block) in blocks.into_iter().flatten() {
            self.put(self.deployment.state_map(), &key, block);
        }
    }

    fn put_state(&self, key: &str) {
        let Some(image) = &self.image else { return };
        let held = image.held();
        let safety = image.safety();
        let recent = self.recent.iter().filter(|(number, _)| *number <= image.trades_closed());
        let text = to_text(&StateText {
            capital: image.capital(),
            date: utc_date(self.at).to_string(),
            pnl: image.day_result().map_or(0.0, |day| day.pnl),
            param_hash: image.param_hash(),
            snapshot: SavedText {
                venue: &self.identity.owner.venue,
                account: &self.identity.owner.account,
                at: self.at,
                image,
                exit: self.exit,
                booked: self.booked,
                recent: recent.map(|(_, text)| &**text).collect(),
                unsettled: &self.unsettled,
                entry_unsettled: self.entry_unsettled,
                day: self.day.state.as_ref(),
                rearm: &self.day.rearm,
            },
            ts: self.at.0 as f64 / 1e9,
            trades: image.trades_closed(),
            posture: safety.posture,
            rm: safety.rm,
            position: held.map(|(_, position)| position),
        });
        self.put_local(&text);
        self.put(self.deployment.state_map(), key, text);
    }

    /// The local state, for a start that memory does not answer. A disk that is full is told once a run.
    fn put_local(&self, text: &str) {
        let (Some(path), Some(files)) = (&self.identity.local_state, &self.files) else { return };
        let written = files.write(path, text);
        self.kept.borrow_mut().local(written.is_ok());
        if let Err(error) = written
            && !self.local_failed.replace(true)
        {
            tracing::error!("the local state {} cannot be written: {error}", path.display());
        }
    }

    fn heartbeat(&self, phase: Phase) {
        let mut extra = Map::new();
        extra.insert("venue".to_owned(), Value::from(self.identity.owner.venue.as_str()));
        extra.insert("symbols".to_owned(), Value::from(self.identity.assets.len()));
        if let Some(image) = &self.image {
            extra.insert("capital".to_owned(), json!(image.capital()));
            extra.insert("trades".to_owned(), json!(image.trades_closed()));
            extra.insert("date".to_owned(), json!(utc_date(self.at).to_string()));
        }
        self.put(schema::HEARTBEAT, schema::FLOW_HEARTBEAT, heartbeat(self.clock.now_ns(), phase, extra));
    }

    /// The end of a run: everything as it is now, and the day's result so far.
    fn close(&mut self) {
        for (map, key, value) in self.replaced.all() {
            self.put(map, &key, value);
        }
        self.put_block();
        self.put_state(schema::STATE_LATEST_NAUTILUS);
        self.put_state(schema::STATE_LATEST);
        if let Some(day) = self.image.as_ref().and_then(Image::day_result) {
            self.put(self.deployment.pnl_map(), &day.date.to_string(), to_text(&day));
        }
        self.heartbeat(Phase::FlowEnd);
    }

    fn put(&self, map: &str, key: &str, value: String) {
        let (free, fence) = (map == schema::HEARTBEAT, &self.identity.fence);
        // A lease that has only passed may be ours again, and what is told once (a trade, a day) must be there then: it waits
        // under the lease's number, and memory refuses it if somebody else has come.
        if fence.is_lost() || fence.is_dry() || !(self.may_write || free) {
            return;
        }
        // A refusal (too much waits, too large, the lease passed on) is counted and logged by the writer behind.
        let _ = match self.identity.owner.lease.as_ref().filter(|_| !free) {
            Some(fence) => {
                // Taken again after memory was away, the lease has another number.
                let number = self.identity.fence.number().unwrap_or(fence.number);
                let fence = memory::Fence { number, ..fence.clone() };
                self.writes.put_fenced(map, key, value, &fence)
            }
            None => self.writes.put(map, key, value),
        };
    }
}

/// The text of a value that is written more than once.
fn text_of(value: &impl Serialize) -> Box<RawValue> {
    to_raw_value(value).expect("schema types have text keys and no failing serializer")
}

/// A heartbeat's text.
pub(super) fn heartbeat(now_ns: u64, phase: Phase, extra: Map<String, Value>) -> String {
    to_text(&Heartbeat { ts: Nanos(now_ns), phase, extra })
}

/// The map of closed trades, key `YYYY-MM-DD.NNNNNNNN`: date of the exit and number in the engine's life.
pub(super) const fn trades_map(deployment: crate::config::Deployment) -> &'static str {
    match deployment {
        crate::config::Deployment::Blue => "DOLPHIN_TRADES_BLUE",
        crate::config::Deployment::Green => "DOLPHIN_TRADES_GREEN",
    }
}

/// In `DOLPHIN_SAFETY`: our own Rm. Not `latest`, which is the survival stack's word: the smaller of the two would be
/// read back and could never rise again.
fn live_safety_key(deployment: crate::config::Deployment) -> String {
    let name = match deployment {
        crate::config::Deployment::Blue => "blue",
        crate::config::Deployment::Green => "green",
    };
    format!("{}_{name}", schema::SAFETY_LIVE)
}
