//! Who is asking: API keys, signatures, timestamps (BINANCE.md §3.2, §3.3).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::pkcs8::DecodePublicKey;
use ed25519_dalek::{Signature, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config::{AccountConfig, Credential, VenueError};
use crate::core::{AccountId, Reject, reject};

/// A key that can verify signatures.
#[derive(Clone)]
enum Verifier {
    Hmac(Vec<u8>),
    Ed25519(Box<VerifyingKey>),
}

/// The keys of the venue.
pub(crate) struct Keys {
    keys: BTreeMap<String, (AccountId, Verifier)>,
}

impl Keys {
    pub(crate) fn new(accounts: &[AccountConfig]) -> Result<Self, VenueError> {
        let mut keys = BTreeMap::new();
        for (i, a) in accounts.iter().enumerate() {
            let verifier = match &a.credential {
                Credential::Hmac(secret) => Verifier::Hmac(secret.clone().into_bytes()),
                Credential::Ed25519(text) => {
                    Verifier::Ed25519(Box::new(public_key(text).ok_or_else(|| {
                        VenueError::Config(format!(
                            "account {i}: the Ed25519 public key is neither PEM nor base64 of 32 bytes"
                        ))
                    })?))
                }
            };
            let id = AccountId(
                u16::try_from(i).map_err(|_| VenueError::Config("more than 65535 accounts".into()))?,
            );
            if a.api_key.is_empty() || keys.insert(a.api_key.clone(), (id, verifier)).is_some() {
                return Err(VenueError::Config(format!("account {i}: empty or repeated api_key")));
            }
        }
        Ok(Self { keys })
    }

    /// The account of a key (−2014, −2015).
    pub(crate) fn account(&self, api_key: Option<&str>) -> Result<AccountId, Reject> {
        let key = api_key.filter(|k| !k.is_empty()).ok_or(reject::BAD_KEY_FORMAT)?;
        self.keys.get(key).map(|(id, _)| *id).ok_or(reject::BAD_KEY)
    }

    /// Is the key an Ed25519 one (the only kind that may log on to a WS-API session)?
    pub(crate) fn is_ed25519(&self, api_key: &str) -> bool {
        matches!(self.keys.get(api_key), Some((_, Verifier::Ed25519(_))))
    }

    /// Forgets a key.
    pub(crate) fn revoke(&mut self, api_key: &str) -> bool {
        self.keys.remove(api_key).is_some()
    }

    /// Does `signature` belong to `payload`? (−1022)
    pub(crate) fn verify(&self, api_key: &str, payload: &str, signature: &str) -> Result<(), Reject> {
        let (_, verifier) = self.keys.get(api_key).ok_or(reject::BAD_KEY)?;
        let good = match verifier {
            Verifier::Hmac(secret) => hex::decode(signature).is_ok_and(|bytes| {
                let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
                mac.update(payload.as_bytes());
                mac.verify_slice(&bytes).is_ok()
            }),
            Verifier::Ed25519(key) => BASE64
                .decode(signature)
                .ok()
                .and_then(|bytes| Signature::from_slice(&bytes).ok())
                .is_some_and(|s| key.verify_strict(payload.as_bytes(), &s).is_ok()),
        };
        if good { Ok(()) } else { Err(reject::BAD_SIGNATURE) }
    }
}

fn public_key(text: &str) -> Option<VerifyingKey> {
    if text.contains("BEGIN PUBLIC KEY") {
        return VerifyingKey::from_public_key_pem(text.trim()).ok();
    }
    let bytes = BASE64.decode(text.trim()).ok()?;
    VerifyingKey::from_bytes(&bytes.try_into().ok()?).ok()
}

/// The venue's window: `timestamp < now + 1000 && now − timestamp ≤ recvWindow` (−1021, −1131).
pub(crate) fn check_time(timestamp: u64, recv_window: u64, now_ms: u64) -> Result<(), Reject> {
    if recv_window > 60_000 {
        return Err(Reject::new(-1131, "recvWindow must be less than 60000."));
    }
    if timestamp >= now_ms + 1000 {
        return Err(reject::TIMESTAMP_AHEAD);
    }
    if now_ms.saturating_sub(timestamp) > recv_window {
        return Err(reject::TIMESTAMP);
    }
    Ok(())
}

/// The text that was signed: query and body, concatenated, without the `signature` parameter.
pub(crate) fn rest_payload(query: &str, body: &str) -> (String, Option<String>) {
    let mut signature = None;
    let mut strip = |text: &str| -> String {
        let kept: Vec<&str> = (text.split('&'))
            .filter(|part| match part.strip_prefix("signature=") {
                Some(s) => {
                    signature.get_or_insert_with(|| s.to_owned());
                    false
                }
                None => true,
            })
            .collect();
        kept.join("&")
    };
    let query = strip(query);
    let body = strip(body);
    (query + &body, signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9";

    fn keys(secret: &str) -> Keys {
        Keys::new(&[AccountConfig::hmac("K", secret, 1)]).unwrap()
    }

    #[test]
    fn the_documented_vectors_verify() {
        let query = "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000&timestamp=1591702613943&signature=3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9";
        let (payload, signature) = rest_payload(query, "");
        keys(SECRET).verify("K", &payload, &signature.unwrap()).unwrap();
        // Query and body are joined without a separator.
        let (payload, signature) = rest_payload(
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC",
            "quantity=1&price=9000&recvWindow=5000&timestamp=1591702613943&signature=30BAAF0FAB549BBEDA7F5EF201898B34122DA25FD23C646CAC2C529AEBE670A4",
        );
        keys(SECRET).verify("K", &payload, &signature.clone().unwrap()).unwrap();
        assert_eq!(keys(SECRET).verify("K", "x", &signature.unwrap()), Err(reject::BAD_SIGNATURE));
        assert_eq!(keys(SECRET).account(Some("nobody")), Err(reject::BAD_KEY));
        assert_eq!(keys(SECRET).account(None), Err(reject::BAD_KEY_FORMAT));
    }

    #[test]
    fn every_recorded_client_signature_verifies() {
        let Some(dir) = testkit::shared_data("venue/client_traces") else { return };
        let keys = keys("S");
        let (mut rest, mut api) = (0, 0);
        for file in std::fs::read_dir(dir).unwrap() {
            for line in std::fs::read_to_string(file.unwrap().path()).unwrap().lines() {
                let v: serde_json::Value = serde_json::from_str(line).unwrap();
                let path = v["p"].as_str().unwrap_or_default();
                if v["k"] == "http" {
                    let query = path.split_once('?').map_or("", |(_, q)| q);
                    let (payload, signature) = rest_payload(query, v["body"].as_str().unwrap_or_default());
                    if let Some(s) = signature {
                        keys.verify("K", &payload, &s).unwrap_or_else(|e| panic!("{line}: {e}"));
                        rest += 1;
                    }
                } else if path.starts_with("/ws-fapi") && v["k"] == "ws-msg" {
                    let frame: serde_json::Value = serde_json::from_str(v["d"].as_str().unwrap()).unwrap();
                    let payload = crate::face::wsapi::payload(&frame["params"]);
                    let s = frame["params"]["signature"].as_str().unwrap();
                    keys.verify("K", &payload, s).unwrap_or_else(|e| panic!("{line}: {e}"));
                    api += 1;
                }
            }
        }
        assert_eq!((rest, api), (16, 4));
    }

    #[test]
    fn the_window_is_half_open_ahead_and_closed_behind() {
        assert_eq!(check_time(10_999, 5000, 10_000), Ok(()));
        assert_eq!(check_time(11_000, 5000, 10_000), Err(reject::TIMESTAMP_AHEAD));
        assert_eq!(check_time(5_000, 5000, 10_000), Ok(()));
        assert_eq!(check_time(4_999, 5000, 10_000), Err(reject::TIMESTAMP));
        assert_eq!(check_time(9_000, 60_001, 10_000).unwrap_err().code, -1131);
    }
}
