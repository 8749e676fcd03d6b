//! What a run's journal begins with: the header, and the states of engine and router as the stages get them.

use std::path::PathBuf;

use runtime::journal::writer::Limits;

use super::header::{Header, RECORDS, directory};
use super::recorder::{JournalEnds, Recorder, limits};
use super::records::{ENGINE_STATE, ROUTER_STATE, encoded};
use crate::environment::Environment;
use crate::error::Failure;
use crate::memory_link::state_directory;
use crate::options::Options;
use crate::role::Role;
use crate::topology::Parts;

/// Taken before the stages start.
pub struct Beginning {
    header: Header,
    states: Vec<(&'static str, Vec<u8>)>,
    limits: Limits,
}

impl Beginning {
    /// `None`: there is no journal, by the configuration or because nothing says where it would lie.
    pub fn of(options: &Options, parts: &Parts, environment: &Environment) -> Option<Self> {
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
            config: serde_json::to_value(&options.config).unwrap_or_default(),
        };
        let states = vec![
            (ENGINE_STATE, encoded(&parts.engine.snapshot())),
            (ROUTER_STATE, encoded(&parts.router)),
        ];
        Some(Self { header, states, limits: limits(config, dir) })
    }

    /// Starts the journal's thread.
    pub fn record(
        self,
        options: &Options,
        ends: JournalEnds,
        environment: &Environment,
    ) -> Result<Recorder, Failure> {
        let Self { header, states, limits } = self;
        let dir = limits.dir.display().to_string();
        let recorder = Recorder::start(limits, &header, states, ends, environment)
            .map_err(|e| Failure::unavailable(format!("cannot start the journal's thread: {e}")))?;
        tracing::info!("journal: {dir}, kept for {} days", options.config.journal.days);
        Ok(recorder)
    }
}
