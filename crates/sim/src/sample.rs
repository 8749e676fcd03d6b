//! The journal of a calm: what one node writes on a simulated market in some seconds of it, to be measured.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use node::config::{Backend, Config};
use runtime::environment::Files;
use tokio::time::sleep;
use venue::{AccountConfig, VenueConfig};

use crate::scene::Scene;
use crate::world::{KEY, Program, World};

/// How long a node may take to start, and to end, ms.
const PATIENCE_MS: u64 = 60_000;

/// Files of a machine whose node has ended.
#[derive(Debug)]
pub struct Sample {
    /// They.
    pub files: Box<dyn Files>,
    /// Directories of journals.
    pub journals: BTreeSet<PathBuf>,
}

/// How the run is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By SIGTERM.
    Terminated,
    /// By the watchdog: no worker comes back from its poll.
    Hung,
}

/// Runs a node under `config` on so many symbols of the simulated market, until its journal reaches over `seconds`.
pub fn sample(
    config: &Config,
    (symbols, seconds): (usize, u64),
    end: End,
    seed: u64,
) -> Result<Sample, String> {
    let mut config = config.clone();
    let accounts = vec![AccountConfig::hmac(KEY.0, KEY.1, 100_000)];
    let venue = VenueConfig { seed, symbols, accounts, ..VenueConfig::default() };
    config.market.symbols = venue.preroll(1, Duration::from_secs(1)).symbols;
    config.market.max_symbols = symbols;
    config.memory.backend = Backend::Hazelcast;
    config.memory.path = Some("/var/lib/dolphin/memory".into());
    config.runtime.layout = Some(1);
    let program = Program::all("all".to_owned(), config);
    let scene = Scene { bars: alpha::eigen::WINDOWS[3] + 1, ..Scene::of(seed, venue, vec![program]) };
    scene.play(async |world| {
        live(world, seconds, end).await?;
        let files = world.slots.borrow()[0].host.files.clone();
        Ok(Sample { journals: files.journals(), files: Box::new(files) })
    })?
}

async fn live(world: &World, seconds: u64, end: End) -> Result<(), String> {
    let begun = |world: &World| !world.slots.borrow()[0].host.files.journals().is_empty();
    let running = |world: &World| world.slots.borrow()[0].process.is_some();
    let until = |ms| world.now_ms() + ms;
    let limit = until(PATIENCE_MS);
    while !begun(world) {
        sleep(Duration::from_millis(100)).await;
        if world.now_ms() > limit {
            return Err(format!("the node has not begun: {:?}", world.timeline().last()));
        }
    }
    sleep(Duration::from_secs(seconds)).await;
    match end {
        // It does not come back while anybody looks.
        End::Terminated => drop(world.terminate(0, 3_600_000)),
        End::Hung => drop(world.hang(0)),
    }
    let limit = until(PATIENCE_MS);
    while running(world) {
        sleep(Duration::from_millis(100)).await;
        if world.now_ms() > limit {
            return Err("the node does not end".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use node::config::JournalContent;
    use node::journal::records::{BOOK, FRAME};
    use node::journal::replay::{Counts, RunReport, Verdict, Within, replay};
    use runtime::journal::frame::{Record, append};
    use runtime::journal::library::{read, segments};
    use runtime::journal::segment::Packer;

    use super::*;

    fn config() -> Config {
        Config::parse(include_str!("../../../configs/demo.yml")).unwrap()
    }

    /// The bundle that a bad end has left: why, and that it is decided again.
    fn left(sample: &Sample) -> (String, RunReport) {
        let dir = sample.journals.iter().find(|dir| dir.ends_with("post-mortem/1")).expect("a bundle");
        let text = |name: &str| sample.files.read(&dir.join(name)).unwrap().expect(name);
        for name in ["header.json", "log.txt", "summary.json", "state.json"] {
            assert!(!text(name).contains(KEY.1), "{name}");
        }
        assert!(text("header.json").contains("\"tick_ms\": 100"), "{}", text("header.json"));
        let why: serde_json::Value = serde_json::from_str(&text("why.json")).unwrap();
        let mut reports = replay(&*sample.files, dir, Within::ALL, &|_| None, &mut |_, _, _| true).unwrap();
        assert_eq!(reports.len(), 1);
        (why["why"].as_str().unwrap().to_owned(), reports.remove(0))
    }

    #[test]
    fn a_run_that_ends_well_leaves_a_journal_and_no_bundle() {
        let sample = sample(&config(), (8, 20), End::Terminated, 1).unwrap();
        assert_eq!(sample.journals.len(), 1, "{:?}", sample.journals);
    }

    #[test]
    fn a_limit_that_tripped_leaves_a_bundle_that_is_decided_again() {
        let mut config = config();
        config.router.risk.max_repeated_entries = 1;
        let sample = sample(&config, (8, 40), End::Terminated, 1).unwrap();
        let (why, report) = left(&sample);
        assert!(why.contains("entries sent within the window"), "{why}");
        assert!(report.is_equal() && report.ended && report.counts.requests > 0, "{report:#?}");
    }

    #[test]
    fn a_worker_that_hangs_leaves_a_bundle_that_is_decided_again() {
        let sample = sample(&config(), (8, 30), End::Hung, 1).unwrap();
        let (why, report) = left(&sample);
        assert!(why.contains("has been silent for"), "{why}");
        assert!(report.is_equal() && report.counts.steps > 100, "{report:#?}");
    }

    /// The book stage is decided again too: of the frames come the very ticks that the engine took, from the beginning of a run;
    /// a part of it that begins later says so, and engine and router go on all the same.
    #[test]
    fn of_the_frames_of_a_run_come_the_ticks_that_its_engine_took() {
        let mut config = config();
        config.journal.content = JournalContent::Frames;
        config.journal.segment_mb = 1;
        let sample = sample(&config, (8, 60), End::Terminated, 1).unwrap();
        let dir = sample.journals.first().unwrap();
        let decide = |within| {
            let mut reports = replay(&*sample.files, dir, within, &|_| None, &mut |_, _, _| true).unwrap();
            reports.remove(0)
        };
        let whole = decide(Within::ALL);
        assert!(whole.is_equal() && whole.gaps.is_empty() && whole.counts.snapshots > 2, "{whole:#?}");
        assert_eq!(whole.book, Some(Verdict::Equal), "{whole:#?}");
        let Counts { ticks, steps, frames, .. } = whole.counts;
        assert!(ticks == steps && ticks > 500 && frames > 5_000, "{whole:#?}");
        let from = Some(whole.from_ns + (whole.to_ns - whole.from_ns) * 7 / 10);
        let part = decide(Within { from, until: None });
        assert!(part.is_equal() && part.gaps.is_empty() && part.counts.steps < steps, "{part:#?}");
        assert!(
            matches!(&part.book, Some(Verdict::Stopped(why)) if why.contains("first segment")),
            "{part:#?}"
        );
    }

    /// A frame that is missing or other than it was: the first tick that comes of it is named, and the rest of the journal is
    /// decided again.
    #[test]
    fn a_changed_frame_is_found_by_the_first_tick_that_comes_of_it() {
        let mut config = config();
        config.journal.content = JournalContent::Frames;
        let sample = sample(&config, (4, 10), End::Terminated, 1).unwrap();
        let dir = sample.journals.first().unwrap();
        let found = segments(&*sample.files, dir).unwrap().remove(0);
        let (mut packer, mut one, mut changed) = (Packer::default(), Vec::new(), 0);
        let read = read(&*sample.files, &found.path, |record| {
            let mut payload = record.payload.to_vec();
            // A bid of ten times the quantity, from the middle of the run on.
            let text = String::from_utf8_lossy(&payload).into_owned();
            let candidate = record.stream == BOOK && record.kind == FRAME && record.seq > 400 && changed == 0;
            if let Some(at) = text.find("\"b\":[[\"").filter(|_| candidate) {
                let quantity = at + text[at + 8..].find(",\"").unwrap() + 10;
                let digit = payload.iter().skip(quantity).position(|c| (b'1'..=b'8').contains(c)).unwrap();
                payload[quantity + digit] += 1;
                changed += 1;
            }
            one.clear();
            append(&mut one, Record { payload: &payload, ..record });
            packer.add(&one);
            std::ops::ControlFlow::Continue(())
        });
        assert!(read.is_ok() && changed == 1);
        sample.files.write_bytes(&found.path, &packer.finish()).unwrap();
        let report =
            replay(&*sample.files, dir, Within::ALL, &|_| None, &mut |_, _, _| true).unwrap().remove(0);
        assert!(report.is_equal() && report.differs(), "{report:#?}");
        let Some(Verdict::Differs(found)) = &report.book else { panic!("{report:#?}") };
        assert!(found.then != found.now && found.then.contains("column"), "{found:#?}");
    }

    /// An hour of a week is reached by the state before it, and read no further than it is wanted.
    #[test]
    fn a_part_of_a_journal_is_decided_again_from_the_state_before_it() {
        let mut config = config();
        config.journal.segment_mb = 1;
        let sample = sample(&config, (8, 200), End::Terminated, 1).unwrap();
        let dir = sample.journals.first().unwrap();
        let decide = |within| {
            let mut reports = replay(&*sample.files, dir, within, &|_| None, &mut |_, _, _| true).unwrap();
            assert_eq!(reports.len(), 1);
            reports.remove(0)
        };
        let whole = decide(Within::ALL);
        assert!(whole.is_equal() && whole.counts.snapshots > 2, "{whole:#?}");
        let length = whole.to_ns - whole.from_ns;
        let (from, until) = (Some(whole.from_ns + length * 6 / 10), Some(whole.from_ns + length * 7 / 10));
        let part = decide(Within { from, until });
        assert!(part.is_equal() && part.gaps.is_empty(), "{part:#?}");
        assert!(part.from_ns > whole.from_ns && Some(part.from_ns) <= from, "{part:#?}");
        assert!(Some(part.to_ns) <= until && part.to_ns + 1_000_000_000 > until.unwrap(), "{part:#?}");
        assert!(part.counts.steps < whole.counts.steps * 7 / 10, "{part:#?}");
        // To the end, and from before the beginning.
        let rest = decide(Within { from, until: None });
        assert!(rest.is_equal() && rest.ended && rest.to_ns == whole.to_ns, "{rest:#?}");
        assert_eq!(decide(Within { from: Some(1), until: None }).counts, whole.counts);
        let none = Within { from: None, until: Some(1) };
        assert!(replay(&*sample.files, dir, none, &|_| None, &mut |_, _, _| true).is_err());
    }
}
