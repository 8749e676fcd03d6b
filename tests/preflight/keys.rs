//! Key files and what the venue says to bad keys.

use std::os::unix::fs::symlink;

use venue::faults::Fault;

use super::stage::{Set, dolphin, fails, finish, json, stderr};

#[test]
fn a_key_that_the_venue_does_not_know() {
    let set = Set::plain();
    set.keys("NOBODY", "S");
    let said = fails(set.live(&[]), 2, &["-2015", "is it a key of this venue", "futures enabled"]);
    assert!(!said.contains("NOBODY"), "{said}");
    assert_eq!(set.venue.counters().rejects, 1, "asked once, not again");
}

#[test]
fn a_key_that_is_malformed_for_the_venue() {
    let set = Set::plain();
    let on = "GET /fapi/v1/positionSide/dual".to_owned();
    let msg = "API-key format invalid.".to_owned();
    set.venue.inject(Fault::ReplyError { on, code: -2014, msg, status: 401, executed: false }).unwrap();
    fails(set.live(&[]), 2, &["-2014", "malformed", "check the key file"]);
}

#[test]
fn a_secret_that_does_not_belong_to_the_key() {
    let set = Set::plain();
    set.keys("K", "not-the-secret");
    let said =
        fails(set.live(&[]), 2, &["-1022", "the secret does not belong to the key", "check the key file"]);
    assert!(!said.contains("not-the-secret"), "{said}");
    assert_eq!(set.venue.counters().rejects, 1, "asked once, not again");
}

#[test]
fn key_files_that_are_not_private_or_not_readable() {
    let set = Set::plain();
    let text = super::stage::keys_text("K", "canary-secret");
    let with = |name: &str| {
        let (config, keys, at) = (set.path("node.yml"), set.path(name), set.at());
        dolphin(&["live", "--config", &config, "--keys", &keys, "--venue", &at])
    };
    set.write("wide.toml", &text, 0o644);
    let run = format!("chmod 600 {}", set.path("wide.toml"));
    let mut said = vec![fails(with("wide.toml"), 2, &["644", &run])];
    symlink(set.path("keys.toml"), set.path("link.toml")).unwrap();
    said.push(fails(with("link.toml"), 2, &["link.toml", "symbolic link"]));
    said.push(fails(with("nowhere.toml"), 2, &["nowhere.toml", "cannot read"]));
    std::fs::create_dir(set.path("folder.toml")).unwrap();
    said.push(fails(with("folder.toml"), 2, &["folder.toml", "not a key file"]));
    set.write("empty.toml", "", 0o600);
    said.push(fails(with("empty.toml"), 2, &["empty.toml", "no section [local]", "keys.example.toml"]));
    set.write("typo.toml", "[local]\nkey = \"K\"\nsecrt = \"canary-secret\"\n", 0o600);
    said.push(fails(with("typo.toml"), 2, &["typo.toml", "line 3", "`secret`"]));
    set.write("blank.toml", "[local]\nkey = \"K\"\nsecret = \"canary secret\"\n", 0o600);
    said.push(fails(with("blank.toml"), 2, &["the secret", "blanks"]));
    set.write("other.toml", "[mainnet]\nkey = \"K\"\nsecret = \"canary-secret\"\n", 0o600);
    said.push(fails(with("other.toml"), 2, &["no section [local]", "never sent to another"]));
    assert!(said.iter().all(|s| !s.contains("canary")), "{said:?}");
    assert_eq!(set.venue.counters().requests, 0, "nothing is asked without a key");
}

#[test]
fn no_key_at_all_and_keys_from_elsewhere() {
    let set = Set::plain();
    let (config, at) = (set.path("node.yml"), set.at());
    let live = || dolphin(&["live", "--config", &config, "--venue", &at, "--seconds", "1", "--json"]);
    fails(live(), 2, &["no API key", "--keys", "DOLPHIN_API_KEY"]);

    let mut environment = live();
    environment.env("DOLPHIN_API_KEY", "K").env("DOLPHIN_API_SECRET", "S");
    let output = finish(environment.spawn().unwrap());
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("comes from the environment"), "{}", stderr(&output));

    // systemd's credentials come before the environment.
    set.write("dolphin-keys.toml", &super::stage::keys_text("K", "S"), 0o600);
    let mut credential = live();
    credential
        .env("CREDENTIALS_DIRECTORY", set.dir.path())
        .env("DOLPHIN_API_KEY", "WRONG")
        .env("DOLPHIN_API_SECRET", "W");
    let output = finish(credential.spawn().unwrap());
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(json(&output)["ended_by"], "its time");
}

#[test]
fn mainnet_is_guarded_and_venues_do_not_mix() {
    let set = Set::plain();
    let keys = set.path("keys.toml");
    let with = |text: &str, more: &[&str]| {
        let path = set.write("guard.yml", text, 0o644).display().to_string();
        let mut command = dolphin(&["live", "--config", &path, "--keys", &keys]);
        command.args(more);
        command
    };
    fails(with("direction: short\n", &["--venue", "mainnet"]), 2, &["real money", "--mainnet"]);
    fails(
        with("direction: short\n", &["--venue", "mainnet", "--mainnet"]),
        2,
        &["guard.yml", "mainnet: I trade real money"],
    );
    fails(with("direction: short\n", &["--venue", "testnet", "--mainnet"]), 2, &["contradicts", "testnet"]);
    let mixed = "venue: {ws_api_url: \"wss://ws-fapi.binance.com/ws-fapi/v1\"}\n";
    fails(with(mixed, &["--venue", "testnet"]), 2, &["a mainnet host", "all hosts of a session"]);
    let mixed =
        "venue: {name: mainnet, mainnet: I trade real money, rest_url: \"https://demo-fapi.binance.com\"}\n";
    fails(with(mixed, &["--mainnet"]), 2, &["not a mainnet host"]);
    let plain = "venue: {rest_url: \"http://192.0.2.7:80\"}\n";
    fails(with(plain, &["--venue", &set.at()]), 2, &["not encrypted", "192.0.2.7 is not this machine"]);
}
