//! Request signatures (BINANCE.md §3.2): HMAC-SHA256 in hexadecimal, or Ed25519 in base64.
//!
//! The HMAC key is expanded once; each signature clones the prepared state (0.26 µs instead of 0.36). Ed25519 takes
//! 25 µs a signature, so a session logs on once and its orders go unsigned.

use std::fmt;

use arrayvec::ArrayString;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer as _;
use ed25519_dalek::pkcs8::DecodePrivateKey;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::key::{ApiKey, KeyError, Secret, fingerprint};

/// A signature as text: 64 hexadecimal or 88 base64 characters.
pub type Signature = ArrayString<88>;

enum Scheme {
    Hmac(Hmac<Sha256>),
    Ed25519(Box<ed25519_dalek::SigningKey>),
}

/// Signs requests with one key.
pub struct Signer {
    key: SecretString,
    scheme: Scheme,
}

impl Signer {
    /// Prepares the key.
    pub fn new(key: &ApiKey) -> Result<Self, KeyError> {
        let scheme = match &key.secret {
            Secret::Hmac(secret) => Scheme::Hmac(
                Hmac::new_from_slice(secret.expose_secret().as_bytes())
                    .expect("HMAC takes a key of any length"),
            ),
            Secret::Ed25519(pem) => {
                let key = ed25519_dalek::SigningKey::from_pkcs8_pem(pem.expose_secret());
                Scheme::Ed25519(Box::new(key.map_err(|_| KeyError::NotEd25519)?))
            }
        };
        Ok(Self { key: key.key.clone(), scheme })
    }

    /// Can a session log on with this key? (Ed25519 only.)
    pub const fn can_log_on(&self) -> bool {
        matches!(self.scheme, Scheme::Ed25519(_))
    }

    /// The signature of `payload`. It never allocates with HMAC.
    #[inline]
    pub fn sign(&self, payload: &[u8]) -> Signature {
        let mut text = [0u8; 88];
        let len = match &self.scheme {
            Scheme::Hmac(keyed) => {
                let mut mac = keyed.clone();
                mac.update(payload);
                let tag = mac.finalize().into_bytes();
                hex::encode_to_slice(&tag[..], &mut text[..64]).expect("32 bytes are 64 digits");
                64
            }
            Scheme::Ed25519(key) => {
                let signature = key.sign(payload).to_bytes();
                STANDARD.encode_slice(signature, &mut text).expect("64 bytes are 88 characters")
            }
        };
        let text = std::str::from_utf8(&text[..len]).expect("hexadecimal and base64 are ASCII");
        Signature::from(text).expect("at most 88 characters")
    }

    /// The API key, for the header or the `apiKey` parameter. It must not reach a log.
    pub(crate) fn api_key(&self) -> &str {
        self.key.expose_secret()
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", fingerprint(self.api_key()))
    }
}

/// Appends `text` percent-encoded as in a query: what is not unreserved (RFC 3986) becomes `%XX`.
pub(crate) fn percent_encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(b));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(b >> 4)]));
            out.push(char::from(HEX[usize::from(b & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_venues_documented_vectors() {
        let key =
            ApiKey::hmac("K", "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9").unwrap();
        let signer = Signer::new(&key).unwrap();
        let query = "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000&timestamp=1591702613943";
        assert_eq!(
            signer.sign(query.as_bytes()).as_str(),
            "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"
        );
        // Query and body are joined with nothing between.
        let mixed = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTCquantity=1&price=9000&recvWindow=5000&timestamp=1591702613943";
        assert_eq!(
            signer.sign(mixed.as_bytes()).as_str(),
            "30baaf0fab549bbeda7f5ef201898b34122da25fd23c646cac2c529aebe670a4"
        );
    }

    #[test]
    fn ed25519_as_in_rfc_8032_and_verifiable() {
        use ed25519_dalek::pkcs8::EncodePrivateKey;
        use ed25519_dalek::{SigningKey, Verifier};
        // RFC 8032 §7.1, test 2: the message is one byte, 0x72.
        let seed: [u8; 32] = hex::decode("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
            .unwrap()
            .try_into()
            .unwrap();
        let signing = SigningKey::from_bytes(&seed);
        let pem = signing.to_pkcs8_pem(Default::default()).unwrap();
        let signer = Signer::new(&ApiKey::ed25519("K", &pem).unwrap()).unwrap();
        assert!(signer.can_log_on());
        let expected = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                        085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        let got = STANDARD.decode(signer.sign(&[0x72]).as_bytes()).unwrap();
        assert_eq!(hex::encode(&got), expected);
        let signature = ed25519_dalek::Signature::from_slice(&got).unwrap();
        signing.verifying_key().verify(&[0x72], &signature).unwrap();
    }

    #[test]
    fn percent_encoding_is_of_utf8() {
        let mut out = String::new();
        percent_encode("abc:1 币安USDT", &mut out);
        assert_eq!(out, "abc%3A1%20%E5%B8%81%E5%AE%89USDT");
    }
}
