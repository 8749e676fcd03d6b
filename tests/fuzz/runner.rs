//! The loop: choose, mutate, try, keep what answers in a new way; shorten and keep what fails.

use std::cell::Cell;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use crate::mutate::{Mutator, Random};

/// What a target did with an input, as one number: inputs that answer alike teach nothing new.
pub type Answer = u64;

/// An answer of anything that can be hashed.
pub fn answer(what: impl Hash) -> Answer {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// An answer by a message, its numbers left out.
pub fn message(text: &str) -> Answer {
    answer(text.chars().filter(|c| !c.is_ascii_digit()).take(60).collect::<String>())
}

/// With the test command: a fixed start of the fixed sequence, however fast the machine.
const SHORT: u64 = 20_000;
/// Most inputs that are kept.
const KEPT: usize = 4_000;
/// Longest input that is made.
const LONGEST: usize = 64 * 1024;

fn number(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// Did somebody say how long?
pub fn is_long() -> bool {
    std::env::var_os("DOLPHIN_FUZZ_SECONDS").is_some()
}

/// Tries `target` on inputs made of `corpus`. `DOLPHIN_FUZZ_SECONDS` and `DOLPHIN_FUZZ_SEED` say how long and which.
pub fn fuzz<B: AsRef<[u8]>>(name: &str, corpus: &[B], mut target: impl FnMut(&[u8]) -> Answer) {
    let budget = Duration::from_secs_f64(number("DOLPHIN_FUZZ_SECONDS", 0.8));
    let mut random = Random(number("DOLPHIN_FUZZ_SEED", 1.0) as u64);
    let mut kept: Vec<Vec<u8>> = corpus.iter().map(|input| input.as_ref().to_vec()).collect();
    kept.extend(found_before(name));
    let (mut seen, mut tries) = (HashSet::new(), 0_u64);
    for input in &kept {
        seen.insert(attempt(name, input, &mut target));
    }
    let (whole, begun) = (kept.len(), Instant::now());
    let mutator = Mutator::new(&kept);
    let most = if is_long() { u64::MAX } else { SHORT };
    while begun.elapsed() < budget && tries < most {
        for _ in 0..16 {
            let mut input = kept[random.below(kept.len())].clone();
            mutator.mutate(&mut input, &kept, &mut random);
            input.truncate(LONGEST);
            tries += 1;
            if seen.insert(attempt(name, &input, &mut target)) {
                if kept.len() < KEPT {
                    kept.push(input);
                } else {
                    // The whole inputs stay; of the others a new one is worth as much as an old one.
                    let place = whole + random.below(kept.len() - whole);
                    kept[place] = input;
                }
            }
        }
    }
    let (n, answers) = (kept.len(), seen.len());
    println!(
        "{name}: {tries} inputs in {:.1} s, {answers} different answers, {n} kept",
        begun.elapsed().as_secs_f64()
    );
    assert!(answers > 2, "{name}: everything is answered alike: the target sees nothing");
}

fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/found").join(name)
}

/// Inputs that failed once.
fn found_before(name: &str) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(place(name)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn attempt(name: &str, input: &[u8], target: &mut impl FnMut(&[u8]) -> Answer) -> Answer {
    let tried = quietly(|| target(input));
    tried.unwrap_or_else(|why| {
        let short = shortened(input, target);
        let path = std::env::temp_dir().join(format!("{name}-{:016x}", answer(&short)));
        std::fs::write(&path, &short).unwrap();
        let text = why.downcast_ref::<String>().cloned();
        let why = text.or_else(|| why.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        panic!(
            "{name}: fails ({}) on {} bytes, kept in {}: {}",
            why.unwrap_or_default(),
            short.len(),
            path.display(),
            short.escape_ascii().to_string().chars().take(600).collect::<String>()
        );
    })
}

thread_local! {
    /// Is a panic of this thread expected, so that it is not told where it happens?
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

fn quietly(work: impl FnOnce() -> Answer) -> std::thread::Result<Answer> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    QUIET.set(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(false);
    done
}

/// The same failure with less: pieces are left out while it goes on failing.
fn shortened(input: &[u8], target: &mut impl FnMut(&[u8]) -> Answer) -> Vec<u8> {
    let until = Instant::now() + Duration::from_secs(2);
    let mut short = input.to_vec();
    let mut piece = short.len() / 2;
    while piece > 0 && Instant::now() < until {
        let mut at = 0;
        while at < short.len() && Instant::now() < until {
            let mut less = short.clone();
            less.drain(at..(at + piece).min(short.len()));
            if quietly(|| target(&less)).is_err() {
                short = less;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    short
}
