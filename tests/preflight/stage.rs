//! The set: a venue, a folder with configuration and keys, the program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use archive::day::{self, Bar, Day};
use market::Date;
use serde_json::Value;
use venue::{AccountConfig, Venue, VenueConfig, VenueHandle};

/// Longest wait for what must come; only a failure takes so long.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// Symbols of a test's market.
pub const SYMBOLS: usize = 24;

const DEMO: &str = include_str!("../../configs/demo.yml");

pub struct Set {
    pub dir: tempfile::TempDir,
    pub venue: VenueHandle,
}

pub fn venue(config: VenueConfig) -> VenueHandle {
    Venue::start(VenueConfig { symbols: SYMBOLS, ..config }).unwrap()
}

impl Set {
    pub fn new(config: VenueConfig) -> Self {
        let set = Self { dir: tempfile::tempdir().unwrap(), venue: venue(config) };
        set.write("node.yml", &format!("{DEMO}runtime: {{idle: park, unpinned: true}}\n"), 0o644);
        set.keys("K", "S");
        set.history();
        set
    }

    /// A healthy venue with one account.
    pub fn plain() -> Self {
        Self::new(VenueConfig::default())
    }

    /// With this balance on the account.
    pub fn with_balance(usdt: i64) -> Self {
        Self::new(VenueConfig {
            accounts: vec![AccountConfig::hmac("K", "S", usdt)],
            ..VenueConfig::default()
        })
    }

    pub fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// The prices that led to the venue's opening: without them the scanner's windows fill for minutes.
    fn history(&self) {
        let preroll = self.venue.preroll(900, Duration::from_millis(500));
        let mut day = Day::new(Date::constant(2026, 1, 1), preroll.symbols);
        for row in &preroll.rows {
            day.push(Bar::EMPTY, row);
        }
        day::write(&self.dir.path().join("2026-01-01.parquet"), &day).unwrap();
    }

    pub fn keys(&self, key: &str, secret: &str) {
        self.write("keys.toml", &keys_text(key, secret), 0o600);
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    pub fn at(&self) -> String {
        self.venue.addr().to_string()
    }

    /// `dolphin live` on this set's venue, further arguments behind.
    pub fn live(&self, more: &[&str]) -> Command {
        let (config, keys, at) = (self.path("node.yml"), self.path("keys.toml"), self.at());
        let mut command = dolphin(&["live", "--config", &config, "--keys", &keys, "--venue", &at]);
        command.args(["--warm-start", &self.path("2026-01-01.parquet")]);
        command.args(more).current_dir(self.dir.path());
        command
    }
}

pub fn keys_text(key: &str, secret: &str) -> String {
    ["local", "testnet", "mainnet"]
        .map(|v| format!("[{v}]\nkey = \"{key}\"\nsecret = \"{secret}\"\n"))
        .concat()
}

/// The program, without anything of our own environment that it would listen to.
pub fn dolphin(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dolphin"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in ["CREDENTIALS_DIRECTORY", "DOLPHIN_API_KEY", "DOLPHIN_API_SECRET", "DOLPHIN_LOG"] {
        command.env_remove(name);
    }
    // What a program keeps by default is kept for this run of the tests, and is nobody's own.
    command.env_remove("STATE_DIRECTORY").env("XDG_STATE_HOME", state_home());
    command
}

fn state_home() -> &'static Path {
    static HOME: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
    HOME.path()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("one JSON object ({e}): {text}\n{}", stderr(output)))
}

/// It ends with this exit code and exactly one message, which holds all of `words`.
pub fn fails(mut command: Command, exit: i32, words: &[&str]) -> String {
    let output = finish(command.spawn().unwrap());
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(exit), "{command:?}: {said}");
    assert!(!said.contains("panicked"), "{said}");
    let messages: Vec<&str> = said.lines().filter(|l| l.starts_with("dolphin: ")).collect();
    assert_eq!(messages.len(), 1, "{said}");
    for word in words {
        assert!(messages[0].contains(word), "`{word}` is not in: {said}");
    }
    messages[0].to_owned()
}

/// Waits for the end; a program that does not end is killed and fails the test.
pub fn finish(child: Child) -> Output {
    let id = child.id();
    let (done, waited) = std::sync::mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        if waited.recv_timeout(PATIENCE).is_err() {
            let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
        }
    });
    let output = child.wait_with_output().unwrap();
    done.send(()).ok();
    guard.join().unwrap();
    output
}

/// Waits for a condition.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A child that is killed if its test fails before its end.
pub struct Running(pub Option<Child>);

impl Running {
    pub fn start(mut command: Command) -> Self {
        Self(Some(command.spawn().unwrap()))
    }

    pub fn id(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    pub fn finish(mut self) -> Output {
        finish(self.0.take().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
