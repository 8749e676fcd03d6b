//! Books, features and scans made again of the frames that the book stage took, and held against the ticks that the engine
//! took.
//!
//! The two streams are read as they lie in the journal, a little before or behind each other: what was made waits for what
//! was taken, and the other way round. The engine takes the newest tick: those before it that it never saw were conflated,
//! and the scanner did not step through them either.

use std::collections::VecDeque;
use std::sync::Arc;

use ::alpha::eigen::Scanner;
use binance::Symbols;
use binance::feed::StreamKind;
use market::{ClockOffset, Nanos};
use runtime::clock::Clock;
use runtime::conveyor::{Unloader, conveyor};
use runtime::latency::Collector;
use runtime::pending::pending;
use runtime::ring::{Rx, ring};

use crate::config::Config;
use crate::connections::feeds;
use crate::journal::bounds::check;
use crate::journal::records::{BOOK_KINDS, FRAME, SNAPSHOT, decode, decode_frame, decode_snapshot, encoded};
use crate::journal::states::MarketBeginning;
use crate::stages::book::record::{BookInput, BookJournal};
use crate::stages::book::{BookLinks, BookNews, BookStage};
use crate::stages::feed::FeedCommand;
use crate::stages::router::Quote;
use crate::stages::{Hop, Tick};

/// Ticks that one frame may make: after a silence a boundary for each interval of it is due at once.
const TICKS: usize = 1024;
/// Ticks of one stream that wait for the other: they are a look of the journal's thread apart.
const WAITING: usize = 4 * TICKS;

/// Why it does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Apart {
    /// Another tick.
    Differs {
        /// Which the engine took.
        then: String,
        /// Which is made now.
        now: String,
    },
    /// It cannot be followed.
    Cannot(String),
}

/// The stage, the scanner and the other ends of their links.
pub struct BookReplay {
    stage: BookStage,
    scanner: Scanner,
    ticks: Unloader<Tick>,
    commands: Unloader<FeedCommand>,
    quotes: Rx<Quote>,
    news: Rx<BookNews>,
    made: VecDeque<Tick>,
    taken: VecDeque<Tick>,
    equal: u64,
    conflated: u64,
}

impl BookReplay {
    /// In the state in which the run began.
    pub fn new(config: &Config, beginning: MarketBeginning) -> Result<Self, String> {
        let MarketBeginning { instruments, bars, averages } = beginning;
        let n = instruments.len();
        if instruments.iter().enumerate().any(|(i, instrument)| instrument.id.index() != i) {
            return Err("its instruments are not in column order".to_owned());
        }
        let stride = config.market.stride() as usize;
        let mut scanner = Scanner::new(n, stride).map_err(|e| e.to_string())?;
        if bars.iter().any(|bar| bar.len() != n) {
            return Err("a bar of other symbols".to_owned());
        }
        scanner.warm_bars(bars.iter().map(Vec::as_slice), |_| {});
        // Nothing is sent anywhere: where it would go does not matter.
        let symbols = Symbols::new(instruments.clone());
        let feeds = feeds(config, (&symbols, &StreamKind::ALL), ("", "")).map_err(|e| e.message)?;
        let (ticks_in, ticks) = conveyor("ticks", TICKS, || Tick::new(n));
        let (commands_in, commands) = conveyor("commands", 16, FeedCommand::default);
        let (quotes_in, quotes) = ring("quotes", 4 * n.max(64));
        let (news_in, news) = ring("news", 1024);
        let links = BookLinks {
            frames: conveyor("frames", 1, Default::default).1,
            commands: commands_in,
            snapshots: ring("snapshots", 1).1,
            clock: pending().1,
            ticks: ticks_in,
            ahead: None,
            quotes: quotes_in,
            news: news_in,
            journal: BookJournal::closed(),
            view: telemetry::slot::slots(n).0,
        };
        let mut latency = Collector::new(Hop::ALL.len());
        let probe = latency.probe("book", 1);
        let limits = (&config.market, Nanos::from_millis(config.router.risk.max_signal_ahead_ms));
        let clock = Clock::simulated(Arc::default());
        let stage = BookStage::new(limits, &instruments, feeds, links, clock, probe).with_averages(&averages);
        let (made, taken) = (VecDeque::new(), VecDeque::new());
        Ok(Self { stage, scanner, ticks, commands, quotes, news, made, taken, equal: 0, conflated: 0 })
    }

    /// Ticks that came out the same.
    pub const fn equal(&self) -> u64 {
        self.equal
    }

    /// Ticks that the engine never took.
    pub const fn conflated(&self) -> u64 {
        self.conflated
    }

    /// Takes an input of the book stage in.
    pub fn take(&mut self, kind: u8, at: u64, payload: &[u8]) -> Result<(), Apart> {
        let Self { stage, .. } = self;
        match kind {
            FRAME => {
                let frame = decode_frame(payload).map_err(Apart::Cannot)?;
                check(&frame.recv_ns, 0).map_err(Apart::Cannot)?;
                if !stage.knows(frame.route) {
                    return Err(Apart::Cannot(format!("a frame of connection {}", frame.route)));
                }
                stage.take_in(at, BookInput::Frame(&frame));
            }
            SNAPSHOT => {
                let reply = decode_snapshot(payload).map_err(Apart::Cannot)?;
                if reply.request.symbol.index() >= self.scanner.assets() {
                    return Err(Apart::Cannot("a snapshot of no symbol of the run".to_owned()));
                }
                stage.take_in(at, BookInput::Snapshot(&reply));
            }
            2 => {
                let offset = decode::<ClockOffset>(payload).map_err(Apart::Cannot)?;
                check(&offset, 0).map_err(Apart::Cannot)?;
                stage.take_in(at, BookInput::Clock(offset));
            }
            3 => stage.take_in(at, BookInput::Told),
            4 => stage.take_in(at, BookInput::Tended),
            _ => {
                return Err(Apart::Cannot(format!(
                    "a record of kind {kind}; there are {}",
                    BOOK_KINDS.len()
                )));
            }
        }
        self.collect()?;
        self.compare()
    }

    /// The engine took this tick.
    pub fn tick(&mut self, payload: &[u8]) -> Result<(), Apart> {
        let tick: Tick = decode(payload).map_err(Apart::Cannot)?;
        self.taken.push_back(tick);
        self.compare()?;
        if self.taken.len() > WAITING {
            return Err(Apart::Cannot("the frames of its ticks are missing".to_owned()));
        }
        Ok(())
    }

    /// What came of an input.
    fn collect(&mut self) -> Result<(), Apart> {
        while self.quotes.pop().is_some() {}
        while self.news.pop().is_some() {}
        while let Some(command) = self.commands.recv() {
            self.commands.give_back(command);
        }
        let mut n = 0;
        while let Some(tick) = self.ticks.recv() {
            self.made.push_back((*tick).clone());
            self.ticks.give_back(tick);
            n += 1;
        }
        if n == TICKS || self.made.len() > WAITING {
            return Err(Apart::Cannot("more ticks at once than are kept".to_owned()));
        }
        Ok(())
    }

    /// Compares what lies on both sides.
    fn compare(&mut self) -> Result<(), Apart> {
        while let (Some(taken), Some(made)) = (self.taken.front(), self.made.front()) {
            if made.ts < taken.ts {
                self.conflated += 1;
                self.made.pop_front();
                continue;
            }
            let (Some(mut made), Some(taken)) = (self.made.pop_front(), self.taken.pop_front()) else {
                break;
            };
            if made.ts == taken.ts {
                made.scan = self.scanner.step(&made.mids);
            }
            // A time of the machine, which no decision is made of.
            made.handed_ns = taken.handed_ns;
            if encoded(&made) != encoded(&taken) {
                let (then, now) = apart(&taken, &made);
                return Err(Apart::Differs { then, now });
            }
            self.equal += 1;
        }
        Ok(())
    }
}

/// The first thing that two ticks do not agree in, as it is in each.
fn apart(then: &Tick, now: &Tick) -> (String, String) {
    let tick = |t: &Tick, what: String| format!("the tick at {} ms: {what}", t.ts.millis());
    let both = |f: &dyn Fn(&Tick) -> String| (tick(then, f(then)), tick(now, f(now)));
    for i in 0..then.mids.len().min(now.mids.len()) {
        if then.mids[i].to_bits() != now.mids[i].to_bits() {
            return both(&|t| format!("mid of column {i} {:?}", t.mids[i]));
        }
    }
    for i in 0..then.features.len().min(now.features.len()) {
        if encoded(&then.features[i]) != encoded(&now.features[i]) {
            return both(&|t| format!("column {i} {:?}", t.features[i]));
        }
    }
    if encoded(&then.scan) != encoded(&now.scan) {
        return both(&|t| format!("{:?}", t.scan));
    }
    both(&|t| format!("received at {} with {:?}", t.recv_ns, t.cross))
}
