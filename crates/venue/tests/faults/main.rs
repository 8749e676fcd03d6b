//! The faults do what they say.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

#[path = "../common/mod.rs"]
mod common;
mod connections;
mod market;
mod orders;

use serde_json::Value;
use venue::VenueHandle;
use venue::faults::{CATALOGUE, Fault, Rule};

const ORDER: &str = "POST /fapi/v1/order";

fn once(fault: Fault) -> Rule {
    Rule::once(fault)
}

/// A buy that rests two percent below the market.
fn far(id: &str) -> String {
    format!(
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.010&price=82000&newClientOrderId={id}"
    )
}

/// A sell or buy that fills at once.
fn market(side: &str, id: &str) -> String {
    format!("symbol=BTCUSDT&side={side}&type=MARKET&quantity=0.010&newClientOrderId={id}")
}

fn u(v: &Value, name: &str) -> u64 {
    v[name].as_u64().unwrap()
}

/// Puts a rule in force over the operator's route, as a user of the binary would: status and reply.
async fn post(venue: &VenueHandle, body: Value) -> (u16, Value) {
    let url = format!("{}/dolphin/faults", venue.http());
    let r = reqwest::Client::new().post(url).body(body.to_string()).send().await.unwrap();
    (r.status().as_u16(), r.json().await.unwrap())
}

#[test]
fn every_kind_has_an_example_that_reads() {
    let mut shown: Vec<String> = Vec::new();
    for (text, what) in CATALOGUE {
        let json: Value = serde_json::from_str(text).unwrap();
        serde_json::from_str::<Rule>(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        shown.push(json["fault"].as_str().unwrap().to_owned());
        assert!(!what.is_empty());
    }
    // The reader names the kinds it knows when it meets another.
    let known = serde_json::from_str::<Fault>(r#"{"fault":"?"}"#).unwrap_err().to_string();
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).filter(|k| *k != "?").collect();
    assert!(known.len() > 40);
    assert_eq!(shown, known);
}
