//! Every command with spoiled inputs: the documented exit code, one message that names what is wrong, and nothing that
//! panics, is half-written, counts `1 trades` or shows `-0.00` (SPEC §11).

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use std::cell::RefCell;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use market::Date;
use replay::generate::Generator;

/// A directory with everything the rows name, whole and spoiled.
struct Place {
    dir: tempfile::TempDir,
    /// Rows that did not end as they should: all are told at once.
    wrong: RefCell<Vec<String>>,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap(), wrong: RefCell::default() };
        let mut generator = Generator::new(5, Date::constant(2026, 2, 1), 200, 6);
        fs::create_dir(place.path("days")).unwrap();
        for _ in 0..2 {
            let day = generator.next_day();
            archive::day::write(&place.path(&format!("days/{}.parquet", day.date)), &day).unwrap();
        }
        for name in ["blue.yml", "green.yml", "demo.yml"] {
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs").join(name);
            fs::copy(from, place.path(name)).unwrap();
        }
        fs::create_dir(place.path("empty")).unwrap();
        fs::create_dir(place.path("broken")).unwrap();
        place.write("broken/2026-02-01.parquet", "PAR1 cut off");
        place.write("garbage.json", "{\"a\": ");
        place.write("garbage.txt", "no time and no frame\n");
        place.write("typo.yml", "market:\n  tick_mss: 100\n");
        place.write("keys.toml", "[local]\nkey = \"K\"\nsecret = \"S\"\n");
        place.write("open.toml", "[local]\nkey = \"K\"\nsecret = \"S\"\n");
        fs::set_permissions(place.path("keys.toml"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(place.path("open.toml"), fs::Permissions::from_mode(0o644)).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, args: &[String]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dolphin"));
        command.args(args);
        self.prepare(&mut command);
        command
    }

    fn prepare(&self, command: &mut Command) {
        command.current_dir(self.dir.path()).env("XDG_STATE_HOME", self.path("state")).stdin(Stdio::null());
        for name in ["DOLPHIN_API_KEY", "DOLPHIN_API_SECRET", "CREDENTIALS_DIRECTORY", "DOLPHIN_LOG"] {
            command.env_remove(name);
        }
    }

    fn entries(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "state")
            .collect();
        names.sort();
        names
    }

    /// One row: the words of a command line, the exit code, and what the message must hold.
    fn row(&self, line: &str, exit: i32, words: &[&str]) {
        let args: Vec<String> = line.split_whitespace().map(|word| word.replace('~', " ")).collect();
        let before = self.entries();
        let output = self.command(&args).output().unwrap();
        let message = judged(line, &output);
        let wrong =
            |why: String| self.wrong.borrow_mut().push(format!("dolphin {line}\n  {why}\n  {message}"));
        if output.status.code() != Some(exit) {
            wrong(format!("exit {:?}, not {exit}", output.status.code()));
        }
        for word in words.iter().filter(|word| !message.contains(**word)) {
            wrong(format!("`{word}` is not in what it says"));
        }
        if exit >= 2 && self.entries() != before {
            wrong(format!("it failed and left {:?}", self.entries()));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let wrong = self.wrong.borrow();
        assert!(wrong.is_empty() || std::thread::panicking(), "{}", wrong.join("\n"));
    }
}

/// What it said on both ways, which must be fit to be read.
fn judged(line: &str, output: &Output) -> String {
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(!said.contains("panicked"), "dolphin {line}: {said}");
    assert!(!said.contains('\u{1b}'), "dolphin {line}: colour where there is no terminal: {said}");
    let pairs = said.lines().flat_map(|l| l.split_whitespace().zip(l.split_whitespace().skip(1)));
    for (one, many) in pairs {
        let many = many.trim_end_matches([',', '.', ';', ':', ')']);
        assert!(!(one == "1" && COUNTED.contains(&many)), "dolphin {line}: `1 {many}` in {said}");
        let zero = one.trim_start_matches('(').strip_prefix('-').is_some_and(|rest| {
            rest.contains('.') && rest.trim_end_matches([',', ')']).bytes().all(|b| matches!(b, b'0' | b'.'))
        });
        assert!(!zero, "dolphin {line}: `{one}` in {said}");
    }
    said
}

/// Things that are counted somewhere.
const COUNTED: [&str; 16] = [
    "trades",
    "days",
    "bars",
    "symbols",
    "orders",
    "fills",
    "entries",
    "exits",
    "keys",
    "checks",
    "seeds",
    "rows",
    "frames",
    "files",
    "assets",
    "combinations",
];

/// A port where nobody listens.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn offline_commands_end_with_the_documented_code() {
    let place = Place::new();
    let row = |line: &str, exit: i32, words: &[&str]| place.row(line, exit, words);
    row("replay --data days", 2, &["--config"]);
    row("replay --config none.yml --data days", 2, &["none.yml"]);
    row("replay --config typo.yml --data days", 2, &["typo.yml:2:3", "tick_ms"]);
    row("replay --config blue.yml --data none", 3, &["none"]);
    row("replay --config blue.yml --data empty", 3, &["empty"]);
    row("replay --config blue.yml --data broken --out out", 3, &["2026-02-01.parquet"]);
    row("replay --config blue.yml --data days --from 2026-02-02 --to 2026-02-01", 2, &["lies after"]);
    row("replay --config blue.yml --data days --from 2027-01-01", 3, &["days"]);
    row("replay --config blue.yml --data days --from yesterday", 2, &["yesterday"]);
    row("replay --config blue.yml --data days --posture-file none.json", 3, &["none.json"]);
    row("replay --config blue.yml --data days --acb-file garbage.json", 3, &["garbage.json"]);
    row("replay --config blue.yml --data days --factors-file garbage.json", 3, &["garbage.json"]);
    row("replay --config blue.yml --data days --set fractoin=1", 2, &["fraction"]);
    row("replay --config blue.yml --data days --set fraction", 2, &["KEY=VALUE"]);
    row("replay --config blue.yml --data days --threads 0", 2, &["threads"]);
    row("replay --config blue.yml --data days --sweep fraction=0.1 --out grid.txt", 2, &[".csv"]);
    row("replay --config blue.yml --data days --force", 2, &["--out"]);
    row("replay --config blue.yml --data days --out garbage.txt", 2, &["garbage.txt"]);
    row("replay --config blue.yml --data days --out garbage.txt/out", 2, &["garbage.txt"]);
    row("replay --journal none", 3, &["none"]);
    row("replay --config blue.yml --data days --from 2026-02-01 --to 2026-02-01", 0, &["1 day, 200 bars"]);
    row("parity --config blue.yml --data days", 2, &["--expected"]);
    row("parity --config blue.yml --data days --expected none.csv", 3, &["none.csv"]);
    row("parity --config blue.yml --data days --expected garbage.txt", 3, &["garbage.txt"]);
    row("parity --config blue.yml --data days --expected champion --rtol 2", 2, &["--rtol"]);
    row("parity --config blue.yml --data days --expected champion", 1, &["champion"]);
    row("eigen --data none --out new", 3, &["none"]);
    row("eigen --data days --out days", 2, &["--out"]);
    row("eigen --data days --out new --stride 0", 2, &["stride"]);
    row("features --recording none.gz --out f.parquet", 3, &["none.gz"]);
    row("features --recording garbage.txt --out f.parquet", 3, &["garbage.txt"]);
    row("features --recording garbage.txt --out keys.toml", 2, &["keys.toml", "--force"]);
    row("features --recording garbage.txt --out f.parquet --interval-ms 0", 2, &["interval"]);
    row("config show --config none.yml", 2, &["none.yml"]);
    row("config diff blue.yml blue.yml", 0, &[]);
    row("config diff blue.yml green.yml", 1, &["differ"]);
    row("supervise --config none.yml --data days", 2, &["none.yml"]);
    row("supervise --config blue.yml --data none --dry-run --retry-delay 0", 3, &["none"]);
    row(
        "supervise --config blue.yml --data days --date 2026-03-01 --dry-run --retry-delay 0",
        3,
        &["2026-03-01"],
    );
    row("supervise --config blue.yml --data days --retry-delay=-1", 2, &["retry-delay"]);
    row("sim --seeds 5..1", 2, &["5..1"]);
    row("sim --seed 1 --minutes 0", 2, &["minutes"]);
    row("sim --seed 1 --script none.json", 3, &["none.json"]);
    row("sim --seed 1 --script garbage.json", 3, &["garbage.json"]);
    row("topology --role cook", 2, &["cook"]);
    row("journal list none", 3, &["none"]);
    row("journal verify none", 3, &["none"]);
    row("bench nothing", 2, &["nothing"]);
    row("completions cobol", 2, &["cobol"]);
    row("man garbage.txt", 2, &["garbage.txt"]);
}

#[test]
fn results_of_an_earlier_run_are_refused_and_replaced_only_by_force() {
    let place = Place::new();
    let replay = "replay --config blue.yml --data days --out out";
    place.row(replay, 0, &["results: out"]);
    let first = fs::read(place.path("out/summary.json")).unwrap();
    place.row(replay, 2, &["out", "earlier run", "summary.json", "--force", "another directory"]);
    assert_eq!(fs::read(place.path("out/summary.json")).unwrap(), first);
    place.row("demo --seconds 1 --out out", 2, &["earlier run"]);
    place.row(&format!("{replay} --force --set fraction=0.1"), 0, &["replaced", "custom"]);
    assert_ne!(fs::read(place.path("out/summary.json")).unwrap(), first);
    // Without --out it just answers.
    let output = place.command(&words("replay --config blue.yml --data days --json")).output().unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &summary["days"]), (Some(0), &serde_json::json!(2)));
    place.row("replay --config blue.yml --data days --set fraction=0.1 --out other", 0, &["other"]);
    place.row("report out other --out both.html", 0, &["entries in common", "max drawdown", "both.html"]);
    place.row("report out other --out both.html", 2, &["both.html", "--force"]);
    place.row("report out none", 3, &["none", "--out"]);
    place.row("report", 2, &["DIR"]);
    let page = fs::read_to_string(place.path("both.html")).unwrap();
    assert!(page.contains("<path ") && page.contains("other") && !page.contains("<script"), "{page}");
    let grid = "replay --config blue.yml --data days --sweep fraction=0.1 --out grid.csv";
    place.row(grid, 0, &["1 combination × 2 days"]);
    place.row(grid, 2, &["grid.csv", "--force"]);
    place.row(&format!("{grid} --force"), 0, &[]);
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn commands_that_need_others_end_with_the_documented_code() {
    let place = Place::new();
    let row = |line: &str, exit: i32, words: &[&str]| place.row(line, exit, words);
    let nobody = nobody();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    row("live", 2, &["--config"]);
    row("live --config typo.yml", 2, &["typo.yml:2:3"]);
    row("live --config blue.yml", 2, &["no API key", "--paper"]);
    row("live --config blue.yml --keys none.toml", 2, &["none.toml"]);
    row(&format!("live --config blue.yml --keys open.toml --venue {nobody}"), 2, &["chmod 600"]);
    row("live --config blue.yml --keys keys.toml --venue nowhere", 2, &["host:port"]);
    row("live --config blue.yml --keys keys.toml --venue mainnet", 2, &["--mainnet"]);
    row("live --config blue.yml --paper --dry-run", 2, &["--paper"]);
    row("live --config blue.yml --symbols BTCUSDT --keys keys.toml", 2, &["--role ingest"]);
    row(&format!("live --config blue.yml --keys keys.toml --venue {nobody} --warm-start none"), 3, &["none"]);
    row(&format!("live --config blue.yml --keys keys.toml --venue {nobody}"), 4, &[&nobody]);
    row(&format!("check --config blue.yml --keys keys.toml --venue {nobody}"), 1, &["FAIL", "failed"]);
    row("check --config none.yml", 2, &["none.yml"]);
    row("demo --seconds 0", 2, &["--seconds"]);
    row("demo --recording none.gz", 3, &["none.gz"]);
    row(&format!("demo --port {port}"), 4, &["listen"]);
    row(&format!("venue --listen 127.0.0.1:{port}"), 4, &["listen"]);
    row("venue --listen here", 2, &["here"]);
    row("venue --listen 127.0.0.1:0 --symbols 0", 2, &["symbols"]);
    row("venue --listen 127.0.0.1:0 --recording garbage.txt", 3, &["garbage.txt"]);
    row("venue --listen 127.0.0.1:0 --secret-file none", 2, &["none"]);
    row("venue --listen 127.0.0.1:0 --commission much", 2, &["much"]);
    row(&format!("record --symbols BTCUSDT --venue {nobody} --out m.zst"), 4, &[&nobody]);
    row("record --symbols BTCUSDT --venue nowhere --out m.zst", 2, &["nowhere"]);
    row("record --symbols BTCUSDT --out m.zst --seconds 0", 2, &["seconds"]);
    row("kill", 2, &["--config"]);
    row("kill --config none.yml", 2, &["none.yml"]);
    row("kill --file none/kill --timeout 0", 2, &["none/kill"]);
    row("kill --file k --timeout=-1", 2, &["timeout"]);
    row("rearm --config blue.yml", 2, &["--reason"]);
    row("rearm --config blue.yml --reason short", 2, &["reason"]);
    row("rearm --config none.yml --reason long~enough~it~is", 2, &["none.yml"]);
    row(&format!("status --at http://{nobody}"), 4, &[&nobody]);
    row("status --config none.yml", 2, &["none.yml"]);
    row(&format!("top --at http://{nobody}"), 2, &["terminal"]);
    row("notify test --config blue.yml", 2, &["notify"]);
    row("notify test --config none.yml", 2, &["none.yml"]);
    row("memory get M k", 2, &["--config"]);
    row("memory --embedded none.memory get M k", 4, &["none.memory"]);
    row("memory --embedded garbage.json get M k", 4, &["garbage.json"]);
    row(&format!("memory --hazelcast {nobody} --timeout-ms 300 get M k"), 4, &[&nobody]);
    row("memory --embedded m put DOLPHIN_FEATURES acb_boost 1", 3, &["acb_boost"]);
}

#[test]
fn what_cannot_be_printed_is_exit_4() {
    let place = Place::new();
    for line in
        ["topology", "config schema", "completions bash", "replay --config blue.yml --data days --json"]
    {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = place.command(&words(line)).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let message = judged(line, &output);
        assert_eq!(output.status.code(), Some(4), "dolphin {line}: {message}");
        assert!(message.contains("No space left"), "dolphin {line}: {message}");
    }
}

/// On a file system of one page, in a mount namespace of its own that ends with the command.
#[test]
fn a_full_disk_is_exit_4_and_leaves_nothing_half_written() {
    let place = Place::new();
    fs::create_dir(place.path("full")).unwrap();
    let inside = |script: &str, args: &[String]| {
        let mut command = Command::new("unshare");
        let script = format!("mount -t tmpfs -o size=4k none full && {script}");
        command.args(["-rm", "sh", "-c", &script, env!("CARGO_BIN_EXE_dolphin")]).args(args);
        place.prepare(&mut command);
        command.output().unwrap()
    };
    if !inside("true", &[]).status.success() {
        println!("skipped: no namespace of one's own here");
        return;
    }
    for line in [
        "replay --config blue.yml --data days --out full/out",
        "replay --config blue.yml --data days --sweep fraction=0.1 --out full/grid.csv",
        "eigen --data days --out full/new",
        "man full/pages",
        "supervise --config blue.yml --data days --date 2026-02-01 --pnl-log full/pnl.jsonl --retry-delay 0",
    ] {
        let fill = "head -c 4096 /dev/zero > full/rest; \"$0\" \"$@\"";
        let output = inside(fill, &words(line));
        let message = judged(line, &output);
        assert_eq!(output.status.code(), Some(4), "dolphin {line}: {message}");
        assert!(message.contains("No space left"), "dolphin {line}: {message}");
    }
}

/// A local venue until it is dropped.
struct LocalVenue(std::process::Child, String);

impl LocalVenue {
    fn start(place: &Place) -> Self {
        use std::io::BufRead;
        let mut child = place
            .command(&words("venue --listen 127.0.0.1:0 --seed 7 --symbols 8"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self(child, line.trim().to_owned())
    }
}

impl Drop for LocalVenue {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// What a live node says first, in ten lines, holds all of `wanted`.
fn first_lines(place: &Place, line: &str, exit: i32, wanted: &[&str]) {
    let output = place.command(&words(line)).output().unwrap();
    judged(line, &output);
    let said = String::from_utf8_lossy(&output.stderr);
    let first: Vec<&str> = said.lines().take(10).collect();
    assert_eq!(output.status.code(), Some(exit), "dolphin {line}: {said}");
    for word in wanted {
        assert!(first.iter().any(|l| l.contains(word)), "dolphin {line}: `{word}` is not in {first:#?}");
    }
}

#[test]
fn the_first_lines_of_a_live_node_say_what_happens_and_what_comes_next() {
    let place = Place::new();
    let venue = LocalVenue::start(&place);
    let live = |config: &str| {
        format!("live --config {config} --keys keys.toml --venue {} --seconds 6 --listen off", venue.1)
    };
    let warm_up = [
        "next, within seconds",
        "warm-up: 0 of 152 bars; no entry for about 13 min",
        "--warm-start DIR",
        "account was compared",
        "NOT ARMED: warm-up",
        "min left",
    ];
    first_lines(&place, &live("blue.yml"), 0, &warm_up);
    let hazelcast = format!(
        "memory: {{backend: hazelcast, start_timeout_ms: 500, hazelcast: {{members: [\"{}\"]}}}}\n",
        nobody()
    );
    place.write("silent.yml", &hazelcast);
    let silent = ["does not answer", "starting without system memory", "until system memory answers"];
    first_lines(&place, &live("silent.yml"), 0, &silent);
    first_lines(&place, "live --config blue.yml", 2, &["keys.example.toml", "--paper", "dolphin demo"]);
    let mut alone = Command::new("unshare");
    alone.args(["-rn", env!("CARGO_BIN_EXE_dolphin")]).args(words("live --paper --config blue.yml"));
    place.prepare(&mut alone);
    let output = alone.output().unwrap();
    let said = judged("live without a network", &output);
    if !said.contains("unshare") {
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(said.contains("is the network up?") && said.contains("dolphin demo"), "{said}");
    }
}
