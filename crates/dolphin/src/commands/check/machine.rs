//! What needs no network: files, this machine, and values of the configuration that are allowed and yet unwise.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use alpha::breaker::BreakerLimits;
use node::config::Config;
use node::memory_link;
use node::preflight::Finding;
use runtime::environment::{Files, SystemFiles};
use rustix::process::{Resource, getrlimit};

const MB: u64 = 1 << 20;

/// One line each.
pub fn findings(config: &Config) -> Vec<Finding> {
    let mut found = vec![file(&config.path), kill_file(&config.kill_file())];
    found.extend(disk(&state_directory(config)));
    found.extend([descriptors(), ram(), clock_source(), governor()]);
    found.extend([symbols(config), sizes(config), breaker(&config.breaker.limits())]);
    found.extend(models(config.alpha.mc_models_dir.as_deref()));
    found
}

/// Whoever may write the configuration may raise every limit.
fn file(path: &Path) -> Finding {
    let Ok(meta) = fs::metadata(path) else {
        return Finding::fail("file", format!("{} is gone", path.display()));
    };
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o002 != 0 {
        let text = format!("{} may be written by everybody (mode {mode:o}): chmod 644 it", path.display());
        return Finding::fail("file", text);
    }
    Finding::ok("file", format!("{} has mode {mode:o}", path.display()))
}

/// `dolphin kill` must be able to write it.
fn kill_file(path: &Path) -> Finding {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match probe(directory) {
        Ok(()) => Finding::ok("kill-file", format!("{} can be written", path.display())),
        Err(error) => Finding::fail(
            "kill-file",
            format!(
                "{} cannot be written ({error}), so `dolphin kill` would not stop the node: name another by \
                 runtime.kill_file",
                path.display()
            ),
        ),
    }
}

/// Can a file be made in a directory?
fn probe(directory: &Path) -> std::io::Result<()> {
    let path = directory.join(format!(".dolphin-check-{}", std::process::id()));
    fs::write(&path, b"")?;
    fs::remove_file(&path)
}

fn state_directory(config: &Config) -> PathBuf {
    let named = config.memory.path.as_ref().and_then(|p| p.parent()).map(Path::to_path_buf);
    let found =
        named.or_else(|| memory_link::state_directory(|name| std::env::var_os(name).map(PathBuf::from)));
    // The first directory on the way that is there: the rest is made at the start.
    let mut directory = found.unwrap_or_else(|| PathBuf::from("."));
    while !directory.is_dir() && directory.pop() {}
    if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory }
}

/// State and logs need room: a full disk stops entries (FAULTS row 24).
fn disk(directory: &Path) -> Option<Finding> {
    let free = SystemFiles.room(directory)?.free / MB;
    let text = format!("{free} MB free at {}", directory.display());
    Some(match free {
        0..100 => {
            Finding::fail("disk", format!("{text}: a full disk stops entries; make room (1 GB and more)"))
        }
        100..1_000 => Finding::warn("disk", format!("{text}: make room (1 GB and more)")),
        _ => Finding::ok("disk", text),
    })
}

fn descriptors() -> Finding {
    let limit = getrlimit(Resource::Nofile).current;
    match limit {
        Some(n @ 0..256) => {
            Finding::fail("descriptors", format!("{n} open files allowed, 256 are needed: ulimit -n 4096"))
        }
        Some(n @ 256..1024) => {
            Finding::warn("descriptors", format!("{n} open files allowed: ulimit -n 4096 leaves room"))
        }
        Some(n) => Finding::ok("descriptors", format!("{n} open files allowed")),
        None => Finding::ok("descriptors", "no limit of open files"),
    }
}

/// `MemAvailable` of /proc/meminfo.
fn ram() -> Finding {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"));
    let Some(kb) = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()) else {
        return Finding::ok("ram", "the system does not tell how much is free");
    };
    let mb = kb / 1024;
    match mb {
        0..256 => {
            Finding::fail("ram", format!("{mb} MB available, a node of 48 symbols needs 256: free some"))
        }
        256..600 => Finding::warn("ram", format!("{mb} MB available, enough for 48 symbols but not for 400")),
        _ => Finding::ok("ram", format!("{mb} MB available")),
    }
}

/// Latency stamps read the processor's time stamp counter; where the kernel does not trust it, neither do we.
fn clock_source() -> Finding {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    match fs::read_to_string(path).unwrap_or_default().trim() {
        "" => Finding::ok("clock-source", "the system does not tell"),
        "tsc" => Finding::ok("clock-source", "tsc"),
        other => {
            let text = format!("{other}, not tsc: latency figures and time-outs cost a system call each");
            Finding::warn("clock-source", text)
        }
    }
}

fn governor() -> Finding {
    let path = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor";
    match fs::read_to_string(path).unwrap_or_default().trim() {
        "" => Finding::ok("governor", "the system does not tell"),
        "performance" => Finding::ok("governor", "performance"),
        other => Finding::warn(
            "governor",
            format!("{other}: `ops/tune-host` sets performance; the tail is longer else"),
        ),
    }
}

fn symbols(config: &Config) -> Finding {
    let (listed, p) = (&config.market.symbols, &config.alpha);
    let unique: BTreeSet<&String> = listed.iter().collect();
    if unique.len() < listed.len() {
        return Finding::fail("symbols", "market.symbols names a symbol twice: each once");
    }
    if !listed.is_empty() && !listed.contains(&p.reference_symbol) {
        let text = format!(
            "alpha.reference_symbol {} is not in market.symbols: the gates of volatility and direction have nothing to \
             read; add it",
            p.reference_symbol
        );
        return Finding::fail("symbols", text);
    }
    if !listed.is_empty() && listed.iter().all(|s| p.excluded_assets.contains(s)) {
        return Finding::fail(
            "symbols",
            "every symbol of market.symbols is in alpha.excluded_assets: nothing to trade",
        );
    }
    if listed.iter().any(|s| *s != s.to_uppercase()) {
        return Finding::fail("symbols", "market.symbols are upper-case, as the venue writes them (BTCUSDT)");
    }
    let count = if listed.is_empty() { config.market.max_symbols } else { listed.len() };
    if count < 8 {
        return Finding::warn(
            "symbols",
            format!("{count} symbols: the correlation matrix says little below 8"),
        );
    }
    Finding::ok("symbols", format!("{count}, reference {}", p.reference_symbol))
}

/// The engine's own sizes against the limits: what is larger is cut, every time.
fn sizes(config: &Config) -> Finding {
    let (p, risk) = (&config.alpha, &config.router.risk);
    let largest = p.initial_capital * p.fraction * p.abs_max_leverage;
    let limit = |usd: Option<f64>, times: f64| usd.unwrap_or(times * p.initial_capital);
    for (key, limit) in [
        ("max_order_notional", limit(risk.max_order_notional_usd, risk.max_order_notional_x_capital)),
        ("max_position", limit(risk.max_position_usd, risk.max_position_x_capital)),
        ("max_gross", limit(risk.max_gross_usd, risk.max_gross_x_capital)),
    ] {
        if largest > limit {
            let text = format!(
                "the engine's largest order is {largest:.0} USDT, router.risk.{key}… allows {limit:.0}: entries are cut"
            );
            return Finding::warn("sizes", text);
        }
    }
    Finding::ok("sizes", format!("largest order {largest:.0} USDT, within the limits"))
}

fn breaker(limits: &BreakerLimits) -> Finding {
    let off = [
        limits.max_daily_loss.is_none().then_some("max_daily_loss"),
        limits.max_consecutive_losses.is_none().then_some("max_consecutive_losses"),
        limits.max_reject_rate.is_none().then_some("max_reject_rate"),
    ];
    let off: Vec<&str> = off.into_iter().flatten().collect();
    if off.is_empty() {
        return Finding::ok("breaker", "loss of the day, losses in a row and reject rate are limited");
    }
    Finding::warn("breaker", format!("no limit of {}: set them under breaker", off.join(", ")))
}

fn models(directory: Option<&str>) -> Option<Finding> {
    let directory = directory?;
    Some(match replay::days::forewarner(Path::new(directory)) {
        Ok(_) => Finding::ok("models", format!("forewarner of {directory}")),
        Err(why) => Finding::warn("models", format!("forewarner DISABLED (scale 1.0): {why}")),
    })
}
