//! The signatures that seven public clients sent on the wire (dummy key `K`, secret `S`), made again by our signer.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]
use binance::key::ApiKey;
use binance::sign::Signer;
use serde_json::Value;

fn signer() -> Signer {
    Signer::new(&ApiKey::hmac("K", "S").unwrap()).unwrap()
}

/// `query` + `body`, joined with nothing between, without their last parameter, the signature.
fn rest_payload(path: &str, body: &str) -> Option<(String, String)> {
    let query = path.split_once('?').map_or("", |(_, q)| q);
    let all = format!("{query}{body}");
    let at = all.rfind("signature=")?;
    let payload = all[..at].trim_end_matches('&').to_owned();
    Some((payload, all[at + "signature=".len()..].to_owned()))
}

/// The WebSocket API's payload: all parameters but the signature, sorted by name, raw.
fn ws_payload(frame: &Value) -> Option<(String, String)> {
    let params = frame["params"].as_object()?;
    let signature = params.get("signature")?.as_str()?.to_owned();
    let mut pairs: Vec<String> = params
        .iter()
        .filter(|(name, _)| *name != "signature")
        .map(|(name, value)| match value {
            Value::String(s) => format!("{name}={s}"),
            other => format!("{name}={other}"),
        })
        .collect();
    pairs.sort();
    Some((pairs.join("&"), signature))
}

#[test]
fn every_signature_of_the_client_traces() {
    let Some(dir) = testkit::shared_data("venue/client_traces") else { return };
    let (mut rest, mut ws) = (0, 0);
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let found = match line["k"].as_str() {
                Some("http") => {
                    let found =
                        rest_payload(line["p"].as_str().unwrap(), line["body"].as_str().unwrap_or(""));
                    rest += usize::from(found.is_some());
                    found
                }
                Some("ws-msg") => {
                    let frame =
                        serde_json::from_str::<Value>(line["d"].as_str().unwrap_or("")).unwrap_or_default();
                    let found = ws_payload(&frame);
                    ws += usize::from(found.is_some());
                    found
                }
                _ => None,
            };
            if let Some((payload, signature)) = found {
                assert_eq!(
                    signer().sign(payload.as_bytes()).as_str(),
                    signature,
                    "{}: {payload}",
                    path.display()
                );
            }
        }
    }
    assert_eq!((rest, ws), (16, 4), "signed requests in the traces");
}

#[test]
fn secrets_do_not_show() {
    let key = ApiKey::hmac("CANARYKEY", "CANARYSECRET").unwrap();
    let signer = Signer::new(&key).unwrap();
    assert!(!format!("{key:?} {signer:?}").contains("CANARY"));
}
