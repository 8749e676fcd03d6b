//! What a run's journal begins with: the header, and the states of engine and router as the stages get them.

use std::path::PathBuf;

use market::text::counted;
use runtime::journal::library::Limits;

use super::header::{Header, RECORDS, directory};
use super::recorder::{JournalEnds, Recorder, limits};
use super::records::encoded;
use super::shadow::Shadow;
use super::states::{MarketBeginning, States};
use crate::config::JournalContent;
use crate::environment::Environment;
use crate::error::Failure;
use crate::memory_link::state_directory;
use crate::options::Options;
use crate::role::Role;
use crate::stages::alpha::AlphaMemo;
use crate::topology::{Parts, Source};

/// Taken before the stages start.
pub struct Beginning {
    header: Header,
    states: States,
    limits: Limits,
}

impl Beginning {
    /// `None`: there is no journal, by the configuration or because nothing says where it would lie. The parts are told what is
    /// kept.
    pub fn of(options: &Options, parts: &mut Parts, environment: &Environment) -> Option<Self> {
        let config = &options.config.journal;
        if !config.enabled {
            return None;
        }
        let state = state_directory(|name| environment.files.variable(name).map(PathBuf::from));
        let venue = options.venue.name();
        let Some(dir) = directory(config.path.as_ref(), venue, state) else {
            tracing::warn!("no journal: neither `journal: path:` nor a state directory says where it lies");
            return None;
        };
        let header = Header {
            records: RECORDS,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            run: parts.router.run(),
            wall_ns: environment.clock.wall_ns(),
            at: environment.clock.now_ns(),
            role: if options.role == Role::Alpha { "alpha" } else { "all" }.to_owned(),
            venue: venue.to_owned(),
            account: options.key.fingerprint(),
            param_hash: options.config.alpha.hash(),
            symbols: parts.instruments.iter().map(|i| i.symbol.clone()).collect(),
            booked: parts.booked.0,
            forewarner: options.forewarner.is_some(),
            config: serde_json::to_value(&options.config).unwrap_or_default(),
        };
        let memo = AlphaMemo::at_start(&parts.engine, parts.booked);
        let alpha = (encoded(&parts.engine.snapshot()), encoded(&memo));
        let mut states = States::new(alpha, (encoded(&parts.router), encoded(&0u64)), [0, 0]);
        if let (JournalContent::Frames, Source::Streams(streams)) = (config.content, &parts.source) {
            let (instruments, bars) = (parts.instruments.clone(), std::mem::take(&mut parts.bars));
            let averages = streams.averages.clone();
            states.market = encoded(&MarketBeginning { instruments, bars, averages });
        }
        let limits = limits(config, dir, states.len());
        (parts.journal, parts.frames) = (true, !states.market.is_empty());
        Some(Self { header, states, limits })
    }

    /// Starts the journal's thread.
    pub fn record(
        self,
        options: &Options,
        ends: JournalEnds,
        local_state: &Option<PathBuf>,
        environment: &Environment,
    ) -> Result<Recorder, Failure> {
        let Self { header, states, limits } = self;
        let dir = limits.dir.display().to_string();
        let shadow = Shadow::new(&options.config, &states, options.forewarner.clone())
            .inspect_err(|why| {
                tracing::error!("the journal's segments but the first begin without a state: {why}");
            })
            .ok();
        let mut recorder = Recorder::start(limits, &header, (states, shadow), ends, environment)
            .map_err(|e| Failure::unavailable(format!("cannot start the journal's thread: {e}")))?;
        recorder.post_mortem.state.clone_from(local_state);
        tracing::info!("journal: {dir}, kept for {}", counted(options.config.journal.days, "day"));
        Ok(recorder)
    }
}
