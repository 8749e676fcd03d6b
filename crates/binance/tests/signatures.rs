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

/// The venue's documented payload under an RFC 8032 key pair (§7.1, test 1).
#[test]
fn ed25519_signs_the_documented_payload_and_verifies() {
    use base64::Engine;
    use ed25519_dalek::pkcs8::EncodePrivateKey;
    use ed25519_dalek::{SigningKey, Verifier};
    let seed: [u8; 32] = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
        .unwrap()
        .try_into()
        .unwrap();
    let signing = SigningKey::from_bytes(&seed);
    assert_eq!(
        hex::encode(signing.verifying_key().as_bytes()),
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    );
    let pem = signing.to_pkcs8_pem(Default::default()).unwrap();
    let signer = Signer::new(&ApiKey::ed25519("K", &pem).unwrap()).unwrap();
    let decode = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    assert_eq!(
        hex::encode(decode(&signer.sign(b""))),
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    );
    let payload = "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000&timestamp=1591702613943";
    let signature = ed25519_dalek::Signature::from_slice(&decode(&signer.sign(payload.as_bytes()))).unwrap();
    signing.verifying_key().verify(payload.as_bytes(), &signature).unwrap();
    assert!(signing.verifying_key().verify(payload.replace("BUY", "SELL").as_bytes(), &signature).is_err());
}
