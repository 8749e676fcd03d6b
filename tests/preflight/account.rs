//! Clock and account: what is not as the program needs it.

use venue::VenueConfig;
use venue::faults::Fault;

use super::stage::{Running, Set, fails, finish, stderr, until};

#[test]
fn a_clock_that_is_hours_off_is_told_with_its_amount() {
    let set = Set::plain();
    set.venue.inject(Fault::ClockOffset { ms: 2 * 3_600_000 + 5 * 60_000 + 30_000 }).unwrap();
    // No fault of the configuration: whoever supervises it tries again.
    fails(set.live(&[]), 4, &["2 h 5 min behind the venue", "timedatectl set-ntp true"]);
    set.venue.clear_faults();
    set.venue.inject(Fault::ClockOffset { ms: -3 * 3_600_000 - 30_000 }).unwrap();
    fails(set.live(&[]), 4, &["3 h 0 min ahead of the venue"]);
    assert_eq!(set.venue.counters().rejects, 0, "nothing was signed by a wrong clock");
}

#[test]
fn a_venue_that_goes_on_refusing_our_time_is_asked_twice() {
    let set = Set::plain();
    let on = "GET /fapi/v1/positionSide/dual".to_owned();
    let msg = "Timestamp for this request is outside of the recvWindow.".to_owned();
    let fault = Fault::ReplyError { on, code: -1021, msg, status: 400, executed: false };
    let rule = set.venue.inject(fault).unwrap();
    fails(set.live(&[]), 4, &["-1021", "our clock is wrong", "set it"]);
    assert_eq!(set.venue.hits(rule), 2, "the clock is set and the request sent once more, not again");
}

#[test]
fn hedge_mode_is_told() {
    let set = Set::new(VenueConfig { hedge_mode: true, ..VenueConfig::default() });
    fails(set.live(&[]), 2, &["hedge mode", "switch to one-way mode", "start again"]);
    assert_eq!(set.venue.counters().orders, 0);
}

#[test]
fn an_empty_wallet_is_told() {
    let set = Set::with_balance(0);
    fails(set.live(&[]), 2, &["insufficient margin", "0.00 USDT in the wallet", "transfer"]);
    assert_eq!(set.venue.counters().orders, 0);
}

/// The venue refuses every entry for lack of margin (−2019): told once, not once an order.
#[test]
fn margin_that_runs_out_is_told_once() {
    let set = Set::plain();
    let fault = Fault::ReplyError {
        on: "order.place".to_owned(),
        code: -2019,
        msg: "Margin is insufficient.".to_owned(),
        status: 400,
        executed: false,
    };
    let rule = set.venue.inject(fault).unwrap();
    let output = finish(set.live(&["--json", "--seconds", "25"]).spawn().unwrap());
    assert!(set.venue.hits(rule) > 0, "no entry was tried: {}", stderr(&output));
    let said = stderr(&output);
    let lines: Vec<&str> = said.lines().filter(|l| l.contains("-2019")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(
        lines[0].contains("not enough balance or margin") && lines[0].contains("transfer more"),
        "{said}"
    );
}

/// Revoked in the middle: trading ends with one word, and the venue is not asked again and again.
#[test]
fn a_key_that_is_revoked_in_the_middle() {
    let set = Set::plain();
    let running = Running::start(set.live(&["--json", "--seconds", "30"]));
    until("the node trades", || set.venue.counters().orders > 0);
    let before = set.venue.counters();
    set.venue.inject(Fault::RevokeKey { api_key: "K".to_owned() }).unwrap();
    let output = running.finish();
    let said = stderr(&output);
    let lines: Vec<&str> = said.lines().filter(|l| l.contains("trading stops")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(lines[0].contains("-2015") && lines[0].contains("is it a key of this venue"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    let asked = set.venue.counters().rejects - before.rejects;
    assert!(asked < 60, "{asked} refusals: {said}");
}
