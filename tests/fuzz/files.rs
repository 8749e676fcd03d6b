//! Files that somebody else wrote: day files, recordings, tables of expected trades, configurations.

use std::path::{Path, PathBuf};

use archive::day::{self, Day, LoadedDay, Wanted};
use archive::recording::MergedRecordings;
use archive::table;
use market::Date;
use node::config::Config;
use replay::generate::Generator;

use crate::runner::{Answer, answer, message};

const DATE: Date = Date::constant(2026, 2, 1);

/// A parquet file, or (`{` or `[` first) a file of scans.
pub struct Days {
    dir: tempfile::TempDir,
    day: Day,
}

const SCANS: &[&str] = &[
    r#"{"scan_number": 1, "timestamp": 1769904000.5, "vel_div": -0.03, "v50_lambda_max_velocity": 0.01, "v150_lambda_max_velocity": NaN, "v300_lambda_max_velocity": -Infinity, "v750_lambda_max_velocity": 0, "instability_50": 0.1, "instability_150": 0.2, "asset_prices": {"BTCUSDT": 84551.1, "ETHUSDT": 1}}"#,
    "[{\"timestamp\": \"2026-02-01T00:00:05Z\", \"vel_div\": 0.1, \"asset_prices\": {\"BTCUSDT\": 1}}, {\"timestamp\": 1769904010, \"vel_div\": null, \"asset_prices\": {\"BTCUSDT\": 2}}]",
    "{\"timestamp\": 1769904000, \"vel_div\": 0.1, \"asset_prices\": {\"BTCUSDT\": 1}}\n{\"timestamp\": 1769904005, \"vel_div\": 0.2, \"asset_prices\": {\"BTCUSDT\": 1.5}}\n",
];

impl Days {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("2026-02-01")).unwrap();
        Self { dir, day: Day::default() }
    }

    pub fn corpus(&self) -> Vec<Vec<u8>> {
        let path = self.dir.path().join("whole.parquet");
        let mut corpus: Vec<Vec<u8>> = SCANS.iter().map(|text| text.as_bytes().to_vec()).collect();
        for (bars, assets) in [(3, 1), (40, 3)] {
            day::write(&path, &Generator::new(5, DATE, bars, assets).next_day()).unwrap();
            corpus.push(std::fs::read(&path).unwrap());
        }
        std::fs::remove_file(&path).unwrap();
        corpus
    }

    pub fn take(&mut self, bytes: &[u8]) -> Answer {
        let decoded = if matches!(bytes.first(), Some(b'{' | b'[')) {
            let folder = self.dir.path().join("2026-02-01");
            std::fs::write(folder.join("scan.json"), bytes).unwrap();
            let list = day::list(self.dir.path(), &Wanted::default());
            list.and_then(|list| {
                list.days.iter().try_for_each(|d| d.load()?.decode_into(&mut self.day).map(|_| ()))
            })
        } else {
            let loaded = LoadedDay::from_parquet(DATE, PathBuf::from("day"), bytes.to_vec().into());
            loaded.decode_into(&mut self.day).map(|_| ())
        };
        match decoded {
            Ok(()) => {
                let (bars, assets) = (self.day.len(), self.day.assets.len());
                assert_eq!(self.day.prices.len(), bars * assets);
                answer((bars.min(4), assets.min(4)))
            }
            Err(why) => {
                assert_eq!(self.day.len(), 0, "half a day is left after: {why}");
                message(&why.to_string())
            }
        }
    }
}

/// Recordings and tables; the first byte says which.
pub struct Others(tempfile::TempDir);

const NAMES: [&str; 7] = ["r.txt", "r.gz", "r.zst", "t.csv", "t.json", "t.jsonl", "t.parquet"];

impl Others {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn corpus(&self) -> Vec<Vec<u8>> {
        let frames = [
            r#"{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1790526538985,"T":1790526538981,"s":"BTCUSDT","U":1,"u":2,"pu":0,"b":[["1.00","1"]],"a":[]}}"#,
            r#"{"lastUpdateId":7,"bids":[["84551.00","2.646"]],"asks":[]}"#,
        ];
        let mut corpus = Vec::new();
        for (n, name) in NAMES.iter().enumerate().take(3) {
            let path = self.0.path().join(name);
            let mut writer = archive::recording::RecordingWriter::create(&path).unwrap();
            for (i, frame) in frames.iter().cycle().take(6).enumerate() {
                writer.write(market::Nanos(1_790_526_538_000_000_000 + i as u64), frame.as_bytes()).unwrap();
            }
            writer.finish().unwrap();
            corpus.push([&[n as u8][..], &std::fs::read(&path).unwrap()].concat());
        }
        let texts = [
            "symbol,direction,entry_bar,entry_price,pnl\nBTCUSDT,-1,3,84551.1,-0.5\nETHUSDT,1,9,nan,\n",
            "[{\"symbol\": \"BTCUSDT\", \"entry_bar\": 3, \"pnl\": -0.5}]",
            "{\"symbol\": \"BTCUSDT\", \"entry_bar\": 3, \"pnl\": -0.5}\n{\"symbol\": null}\n",
        ];
        corpus
            .extend(texts.iter().enumerate().map(|(n, text)| [&[n as u8 + 3][..], text.as_bytes()].concat()));
        let path = self.0.path().join("t.parquet");
        let columns =
            [("pnl", table::Column::Float(vec![1.5, -2.0])), ("entry_bar", table::Column::Int(vec![1, 2]))];
        table::write_parquet(&path, &columns).unwrap();
        corpus.push([&[6][..], &std::fs::read(&path).unwrap()].concat());
        corpus
    }

    pub fn take(&mut self, bytes: &[u8]) -> Answer {
        let Some((which, rest)) = bytes.split_first() else { return 0 };
        let which = usize::from(*which) % NAMES.len();
        let path = self.0.path().join(NAMES[which]);
        std::fs::write(&path, rest).unwrap();
        let said = if which < 3 { recording(&path) } else { read_table(&path) };
        answer((which, said))
    }
}

fn recording(path: &Path) -> Answer {
    let read = || {
        let mut lines = MergedRecordings::open(&[path.to_path_buf()])?;
        let mut n = 0_u64;
        while let Some(line) = lines.next_line()? {
            assert!(!line.frame.contains(&b'\n'));
            n += 1;
        }
        Ok::<u64, archive::recording::RecordingError>(n)
    };
    read().map_or_else(|why| message(&why.to_string()), |n| n.min(8))
}

fn read_table(path: &Path) -> Answer {
    match table::read(path) {
        Ok(table) => {
            assert!(table.rows.iter().all(|row| row.len() == table.columns.len()));
            answer((table.rows.len().min(4), table.columns.len().min(8)))
        }
        Err(why) => message(&why.to_string()),
    }
}

pub const CONFIGURATIONS: &[&str] = &[
    include_str!("../../configs/blue.yml"),
    include_str!("../../configs/green.yml"),
    include_str!("../../configs/demo.yml"),
    include_str!("../../configs/supervise.yml"),
    "direction: both\nmarket: {symbols: [BTCUSDT, ETHUSDT], tick_ms: 100, bar_ms: 5000}\nmemory: {backend: hazelcast, deployment: green, hazelcast: {members: [\"10.0.0.1:5701\"], cluster_name: dolphin}}\n",
    "router:\n  unexpected_position: adopt\n  risk: {max_day_loss: 100.5, venue_orders_per_10s: 100}\ntelemetry:\n  listen: \"127.0.0.1:9464\"\n  notify: {webhook: \"http://127.0.0.1:1/x\"}\n",
];

/// Whatever stands in a file: it is read, or each fault is a line with its place.
pub fn configuration(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    match Config::parse(&text) {
        Ok(config) => {
            let again = serde_json::to_string(&config).expect("a configuration can be written");
            answer(again.len() / 64)
        }
        Err(why) => {
            assert!(!why.trim().is_empty());
            for line in why.lines() {
                assert!(line.starts_with(':'), "a fault without its place: {why:?} of {text:?}");
                assert!(line.len() < 2_000, "a fault of {} bytes", line.len());
            }
            message(&why)
        }
    }
}
