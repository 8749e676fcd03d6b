//! Which crate may know which, read from the manifests; that the files of a crate import each other one way; what pure
//! crates must not hold; and that the documentation's picture of the node is the printed one.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Our crates and those of ours that each one's `[dependencies]` names.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let names: BTreeSet<String> = fs::read_dir(crates())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| crates().join(name).join("Cargo.toml").exists())
        .collect();
    let arrow = |name: &String| {
        let manifest: toml::Table = read(&crates().join(name).join("Cargo.toml")).parse().unwrap();
        let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
        let ours = dependencies.map(|d| d.keys().filter(|k| names.contains(*k)).cloned().collect());
        (name.clone(), ours.unwrap_or_default())
    };
    names.iter().map(arrow).collect()
}

#[test]
fn dependencies_point_one_way() {
    // What each crate may know. `dolphin` may know them all.
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("market", &[][..]),
        ("runtime", &[]),
        ("testkit", &[]),
        ("book", &["market"]),
        ("alpha", &["market"]),
        ("execution", &["market"]),
        ("binance", &["market"]),
        ("archive", &["market"]),
        ("memory", &["market", "runtime"]),
        ("telemetry", &["market"]),
        ("venue", &["market", "archive"]),
        ("replay", &["market", "book", "alpha", "binance", "archive"]),
        ("node", &["market", "runtime", "book", "alpha", "execution", "binance", "memory", "telemetry"]),
        ("flows", &["market", "runtime", "alpha", "archive", "memory", "replay", "node"]),
        (
            "bench",
            &["market", "runtime", "alpha", "archive", "binance", "memory", "venue", "node", "telemetry"],
        ),
        (
            "sim",
            &["market", "runtime", "alpha", "execution", "binance", "memory", "venue", "node", "telemetry"],
        ),
    ]);
    for (name, ours) in arrows() {
        if name == "dolphin" {
            assert!(!ours.contains("testkit"), "testkit is for tests");
            continue;
        }
        let may =
            allowed.get(name.as_str()).unwrap_or_else(|| panic!("crate `{name}` has no place in this table"));
        for other in &ours {
            assert!(may.contains(&other.as_str()), "`{name}` must not depend on `{other}`");
        }
    }
}

#[test]
fn money_is_counted_with_overflow_checks() {
    let manifest: toml::Table = read(&crates().join("../Cargo.toml")).parse().unwrap();
    for name in ["market", "execution", "binance", "memory", "node"] {
        let checked = manifest["profile"]["release"]["package"][name]["overflow-checks"].as_bool();
        assert_eq!(checked, Some(true), "{name}");
    }
}

#[test]
fn only_runtime_departs_from_the_lint_table() {
    for name in arrows().keys() {
        let manifest: toml::Table = read(&crates().join(name).join("Cargo.toml")).parse().unwrap();
        let inherits = manifest["lints"].get("workspace").and_then(toml::Value::as_bool) == Some(true);
        assert_eq!(inherits, name != "runtime", "lints of `{name}`");
    }
    let root: toml::Table = read(&crates().join("../Cargo.toml")).parse().unwrap();
    assert_eq!(root["workspace"]["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
}

#[test]
fn pure_crates_name_no_clock_and_do_no_io() {
    let banned = [
        "Instant::now",
        "SystemTime::now",
        "thread::spawn",
        "thread::sleep",
        "std::fs",
        "std::net",
        "println!",
    ];
    for name in ["market", "book", "alpha", "execution"] {
        let clippy = read(&crates().join(name).join("clippy.toml"));
        assert!(clippy.contains("std::time::Instant::now"), "`{name}` must ban the clock by clippy");
        for file in sources(&crates().join(name).join("src")) {
            let text = read(&file);
            // Tests may read files.
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for word in banned {
                assert!(!code.contains(word), "{} holds `{word}`", file.display());
            }
        }
    }
}

/// The documentation shows what `dolphin topology` prints.
#[test]
fn the_documented_topology_is_the_printed_one() {
    use node::{role::Role, topology::table};
    let printed = table::picture(Role::All);
    let shown = read(&crates().join("node/src/topology/picture.txt"));
    assert_eq!(shown, printed, "write `dolphin topology --role all` to crates/node/src/topology/picture.txt");
    let text = read(&crates().join("../ARCHITECTURE.md"));
    for role in Role::EACH {
        let way = table::picture(role).lines().next().unwrap_or_default().to_owned();
        assert!(text.contains(&way), "ARCHITECTURE.md must hold `{way}`");
    }
}

// ---- imports within a crate -------------------------------------------------------------------------------------

/// Circles that remain, each with its crate: their owners take them out. Nothing may be added here.
#[rustfmt::skip]
const ALLOWED: [(&str, &[&str]); 14] = [
    ("alpha",   &["eigen", "eigen::window"]),
    ("alpha",   &["engine", "engine::resume", "engine::snapshot", "engine::venue"]),
    ("alpha",   &["forewarner", "forewarner::onnx"]),
    ("archive", &["day", "day::list", "day::scan", "day::table_file", "day::writer"]),
    ("archive", &["recording", "recording::survey"]),
    ("binance", &["rest", "rest::client"]),
    ("market",  &["instrument", "order"]),
    ("memory",  &["schema", "schema::features"]),
    ("node",    &["memory_link", "memory_link::writer"]),
    ("replay",  &["output", "parity", "parity::expected", "parity::summary", "report"]),
    ("runtime", &["environment", "worker"]),
    ("venue",   &["core", "core::account", "core::ladder", "core::listing", "core::margin", "core::order", "core::trading"]),
    ("venue",   &["face::public", "face::trade", "face::world"]),
    ("venue",   &["sim", "sim::book"]),
];

/// A module, by its path below the crate: `["stages", "book"]`.
type Module = Vec<String>;

/// The modules of a crate, each with its code: no tests, no comments, no texts.
fn modules(name: &str) -> BTreeMap<Module, String> {
    let src = crates().join(name).join("src");
    let mut found = BTreeMap::new();
    for file in sources(&src) {
        let below = file.strip_prefix(&src).unwrap().with_extension("");
        let mut path: Module = below.iter().map(|p| p.to_string_lossy().into_owned()).collect();
        if path.last().is_some_and(|last| matches!(last.as_str(), "lib" | "mod" | "main")) {
            path.pop();
        }
        let text = read(&file);
        let text = text.replace("#[cfg(test)]\npub(crate) mod tests", "#[cfg(test)]\nmod tests");
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        *found.entry(path).or_insert_with(String::new) += &without_texts(code);
    }
    found
}

fn without_texts(code: &str) -> String {
    let mut out = String::new();
    for line in code.lines() {
        let line = line.split("//").next().unwrap_or_default();
        // What stands between quotes is text; a lone quote (`'"'`) leaves the rest of its line out, which is harmless.
        out.extend(line.split('"').step_by(2));
        out.push('\n');
    }
    out
}

/// The paths of a `use` tree or an expression that begins at `text`: `a::{b, c::d}` gives `a b` and `a c d`.
fn paths(text: &str) -> Vec<Vec<String>> {
    fn tree(
        text: &mut std::iter::Peekable<std::str::Chars<'_>>,
        before: &[String],
        out: &mut Vec<Vec<String>>,
    ) {
        let mut path = before.to_vec();
        loop {
            while text.next_if(|c| c.is_whitespace()).is_some() {}
            let mut word = String::new();
            while let Some(c) = text.next_if(|c| c.is_alphanumeric() || *c == '_') {
                word.push(c);
            }
            if !word.is_empty() {
                path.push(word);
            } else if text.next_if_eq(&'{').is_some() {
                loop {
                    tree(text, &path, out);
                    while text.next_if(|c| c.is_whitespace()).is_some() {}
                    if text.next_if_eq(&',').is_none() {
                        break;
                    }
                }
                text.next_if_eq(&'}');
                return;
            }
            if text.next_if_eq(&':').is_none() || text.next_if_eq(&':').is_none() {
                break;
            }
        }
        // `X as Y` ends with X.
        while text.next_if(|c| !matches!(c, ',' | '}' | ';' | '(' | ')')).is_some() {}
        out.push(path);
    }
    let mut out = Vec::new();
    tree(&mut text.chars().peekable(), &[], &mut out);
    out
}

/// Places where a path begins that leads to a module of the same crate.
fn references(modules: &BTreeMap<Module, String>, module: &Module) -> Vec<Module> {
    let code = &modules[module];
    let children: Vec<&str> = modules
        .keys()
        .filter(|m| m.len() == module.len() + 1 && m.starts_with(module))
        .map(|m| m[module.len()].as_str())
        .collect();
    let mut found = Vec::new();
    for word in ["crate", "super", "self"].iter().chain(&children) {
        for (at, _) in code.match_indices(&format!("{word}::")) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            for path in paths(&code[at..]) {
                let mut base: Module = module.clone();
                let mut rest = path.as_slice();
                if rest[0] == "crate" {
                    (base, rest) = (Vec::new(), &rest[1..]);
                }
                while let Some(first) = rest.first().filter(|w| matches!(w.as_str(), "super" | "self")) {
                    if first == "super" {
                        base.pop();
                    }
                    rest = &rest[1..];
                }
                base.extend_from_slice(rest);
                found.push(base);
            }
        }
    }
    found
}

/// The module whose file defines what `path` names: through re-exports, to the end.
fn definer(
    modules: &BTreeMap<Module, String>,
    exports: &BTreeMap<Module, BTreeMap<String, Module>>,
    path: &Module,
    depth: usize,
) -> Module {
    let mut at: Module = Vec::new();
    for word in path {
        at.push(word.clone());
        if !modules.contains_key(&at) {
            at.pop();
            let next = exports.get(&at).and_then(|names| names.get(word));
            return match next {
                Some(next) if depth < 8 => definer(modules, exports, next, depth + 1),
                _ => at,
            };
        }
    }
    at
}

/// What each module hands on by `pub use`, by name.
fn exports(modules: &BTreeMap<Module, String>) -> BTreeMap<Module, BTreeMap<String, Module>> {
    let mut all = BTreeMap::new();
    for (module, code) in modules {
        let mut names = BTreeMap::new();
        for (at, _) in code.match_indices("pub use ") {
            for path in paths(&code[at + "pub use ".len()..]) {
                let (mut base, mut rest) = (module.clone(), path.as_slice());
                if rest.first().is_some_and(|w| w == "crate") {
                    (base, rest) = (Vec::new(), &rest[1..]);
                }
                while let Some(first) = rest.first().filter(|w| matches!(w.as_str(), "super" | "self")) {
                    if first == "super" {
                        base.pop();
                    }
                    rest = &rest[1..];
                }
                base.extend_from_slice(rest);
                if let Some(name) = base.last().cloned() {
                    names.insert(name, base);
                }
            }
        }
        all.insert(module.clone(), names);
    }
    all
}

/// The shortest circle through `start`, if there is one.
fn circle(imports: &BTreeMap<Module, BTreeSet<Module>>, start: &Module) -> Option<Vec<Module>> {
    let mut before: BTreeMap<&Module, &Module> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for next in imports.get(at)? {
            if next == start {
                let (mut circle, mut at) = (vec![start.clone()], at);
                while at != start {
                    circle.push(at.clone());
                    at = before[at];
                }
                circle.push(start.clone());
                circle.reverse();
                return Some(circle);
            }
            if !before.contains_key(next) {
                before.insert(next, at);
                queue.push_back(next);
            }
        }
    }
    None
}

fn imports(modules: &BTreeMap<Module, String>) -> BTreeMap<Module, BTreeSet<Module>> {
    let exports = exports(modules);
    let of = |module: &Module| {
        let paths = references(modules, module);
        let to = paths.iter().map(|path| definer(modules, &exports, path, 0));
        to.filter(|to| to != module).collect()
    };
    modules.keys().map(|module| (module.clone(), of(module))).collect()
}

/// Everything that `start` imports, directly or not.
fn reach(imports: &BTreeMap<Module, BTreeSet<Module>>, start: &Module) -> BTreeSet<Module> {
    let (mut found, mut queue) = (BTreeSet::new(), vec![start]);
    while let Some(at) = queue.pop() {
        queue.extend(imports[at].iter().filter(|next| found.insert((*next).clone())));
    }
    found
}

#[test]
fn the_files_of_a_crate_import_each_other_one_way() {
    let text = |module: &Module| module.join("::");
    let mut circles = Vec::new();
    for name in arrows().keys() {
        let imports = imports(&modules(name));
        let reached: BTreeMap<&Module, BTreeSet<Module>> =
            imports.keys().map(|module| (module, reach(&imports, module))).collect();
        let mut told: BTreeSet<&Module> = BTreeSet::new();
        for module in imports.keys().filter(|module| reached[*module].contains(*module)) {
            let around =
                reached.keys().filter(|m| reached[module].contains(**m) && reached[**m].contains(module));
            let around: Vec<&Module> = around.copied().collect();
            let mut allowed = ALLOWED.iter().filter(|(of, _)| of == name);
            let known = allowed.any(|(_, files)| around.iter().all(|m| files.contains(&text(m).as_str())));
            if known || !told.insert(module) {
                continue;
            }
            told.extend(&around);
            let path: Vec<String> = circle(&imports, module).iter().flatten().map(text).collect();
            let all: Vec<String> = around.iter().map(|m| text(m)).collect();
            circles.push(format!("{name}: {} (all that it runs through: {all:?})", path.join(" -> ")));
        }
    }
    assert!(circles.is_empty(), "circles of imports:\n{}", circles.join("\n"));
}

#[test]
fn a_circle_of_imports_is_found_and_a_re_export_is_followed() {
    let module =
        |text: &str| text.split("::").filter(|w| !w.is_empty()).map(str::to_owned).collect::<Module>();
    let mut files = BTreeMap::from([
        (module(""), "pub mod a;\npub mod b;\npub use a::{Item, inner::{Deep as Other}};".to_owned()),
        (module("a"), "mod inner;\npub use self::inner::Deep;\npub struct Item;".to_owned()),
        (module("a::inner"), "pub struct Deep;".to_owned()),
        (module("b"), "use crate::{Item, a::Deep};".to_owned()),
    ]);
    let found = imports(&files);
    assert_eq!(found[&module("b")], BTreeSet::from([module("a"), module("a::inner")]));
    assert!(files.keys().all(|m| circle(&found, m).is_none()));
    // A child that takes what its parent's file defines, where the parent takes something of the child.
    files.insert(module("a::inner"), "pub struct Deep;\nfn f(_: super::Item) {}".to_owned());
    let found = imports(&files);
    let around = circle(&found, &module("a")).expect("there is one");
    assert_eq!(around, [module("a"), module("a::inner"), module("a")]);
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            found.extend(sources(&path));
        } else if name.ends_with(".rs") && name != "tests.rs" {
            found.push(path);
        }
    }
    found
}
