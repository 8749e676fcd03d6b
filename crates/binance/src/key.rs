//! API keys: read from a file, the environment or systemd's credentials, held so that they cannot be printed.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

/// Name of the key file in systemd's credentials directory.
pub const CREDENTIAL_NAME: &str = "dolphin-keys.toml";
/// Environment variables of the key and its secret.
pub const ENV_NAMES: (&str, &str) = ("DOLPHIN_API_KEY", "DOLPHIN_API_SECRET");
/// Largest key file that is read, bytes.
const MAX_FILE: u64 = 64 * 1024;

/// Why there is no key. No message holds any part of a secret.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read the key file {path}: {source}")]
    Io {
        /// File.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is a symbolic link, or was exchanged while it was opened.
    #[error("the key file {0} is a symbolic link: give the file itself")]
    Symlink(PathBuf),
    /// Others may read the file.
    #[error("the key file {path} may be read by others (mode {mode:03o}): run `chmod 600 {path}`")]
    Mode {
        /// File.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Too large, or not a file.
    #[error("{0} is not a key file (a regular file of at most 64 KiB)")]
    NotAFile(PathBuf),
    /// The text is not the TOML that is wanted.
    #[error(
        "the key file {path} is not understood near line {line}: it needs [{venue}] with `key` and `secret` (HMAC) \
         or `private_key` (Ed25519, PEM)"
    )]
    Format {
        /// File.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Section looked for.
        venue: String,
    },
    /// No key for the venue.
    #[error(
        "the key file {path} has no section [{venue}]: keys of one venue are never sent to another; see keys.example.toml"
    )]
    NoSection {
        /// File.
        path: PathBuf,
        /// Section looked for.
        venue: String,
    },
    /// A key or secret is empty or has characters that no key has.
    #[error("the {what} is empty or has blanks or control characters")]
    Malformed {
        /// Which part.
        what: &'static str,
    },
    /// The private key is not an Ed25519 key in PKCS#8 PEM.
    #[error("the private key is not an Ed25519 key in PKCS#8 PEM (`openssl genpkey -algorithm ed25519`)")]
    NotEd25519,
    /// Nothing is set.
    #[error(
        "no API key: give a key file with --keys (keys.example.toml says how it looks and where testnet keys are made), \
         or set {} and {}; without a key: dolphin demo, or dolphin live --paper",
        ENV_NAMES.0,
        ENV_NAMES.1
    )]
    NotThere,
}

/// How requests are signed.
pub(crate) enum Secret {
    /// HMAC-SHA256 with this text.
    Hmac(SecretString),
    /// Ed25519 with this PKCS#8 PEM.
    Ed25519(SecretString),
}

/// Where a key came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A private file.
    File(PathBuf),
    /// systemd's credentials directory.
    Credentials(PathBuf),
    /// The environment, which every child process inherits.
    Environment,
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Credentials(path) => write!(f, "systemd credential {}", path.display()),
            Self::Environment => f.write_str("environment"),
        }
    }
}

/// An API key and its secret. It has no way to print either; it shows as its fingerprint.
pub struct ApiKey {
    pub(crate) key: SecretString,
    pub(crate) secret: Secret,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    key: String,
    secret: Option<String>,
    private_key: Option<String>,
}

impl Drop for Section {
    fn drop(&mut self) {
        self.key.zeroize();
        self.secret.zeroize();
        self.private_key.zeroize();
    }
}

impl ApiKey {
    /// A key with an HMAC secret.
    pub fn hmac(key: &str, secret: &str) -> Result<Self, KeyError> {
        check("API key", key)?;
        check("secret", secret)?;
        Ok(Self { key: key.into(), secret: Secret::Hmac(secret.into()) })
    }

    /// A key with an Ed25519 private key (PKCS#8, PEM).
    pub fn ed25519(key: &str, pem: &str) -> Result<Self, KeyError> {
        use ed25519_dalek::pkcs8::DecodePrivateKey;
        check("API key", key)?;
        ed25519_dalek::SigningKey::from_pkcs8_pem(pem.trim()).map_err(|_| KeyError::NotEd25519)?;
        Ok(Self { key: key.into(), secret: Secret::Ed25519(pem.trim().into()) })
    }

    /// The key of `venue` (`testnet`, `mainnet`, …): from `file` if one is given, else from systemd's credentials
    /// directory, else from the environment (which child processes inherit: the last resort).
    pub fn load(file: Option<&Path>, venue: &str) -> Result<(Self, KeySource), KeyError> {
        if let Some(path) = file {
            return Ok((Self::from_file(path, venue)?, KeySource::File(path.to_owned())));
        }
        if let Some(dir) = std::env::var_os("CREDENTIALS_DIRECTORY") {
            let path = Path::new(&dir).join(CREDENTIAL_NAME);
            if path.exists() {
                return Ok((Self::read(&path, venue, GROUP_READS)?, KeySource::Credentials(path)));
            }
        }
        let (key, secret) = ENV_NAMES;
        let (Ok(key), Ok(secret)) = (std::env::var(key), std::env::var(secret)) else {
            return Err(KeyError::NotThere);
        };
        let (key, secret) = (Zeroizing::new(key), Zeroizing::new(secret));
        let pem = secret.contains("PRIVATE KEY");
        let found = if pem { Self::ed25519(&key, &secret)? } else { Self::hmac(&key, &secret)? };
        Ok((found, KeySource::Environment))
    }

    /// The key in section `[venue]` of a TOML file that only its owner can read.
    pub fn from_file(path: &Path, venue: &str) -> Result<Self, KeyError> {
        Self::read(path, venue, 0)
    }

    /// … and whom `allowed` lets read it too.
    fn read(path: &Path, venue: &str, allowed: u32) -> Result<Self, KeyError> {
        let text = read_private(path, allowed)?;
        // The parser's own message would quote the file: only the line is told.
        let format = |offset: Option<usize>| {
            let line =
                text[..offset.unwrap_or(0).min(text.len())].bytes().filter(|b| *b == b'\n').count() + 1;
            KeyError::Format { path: path.to_owned(), line, venue: venue.to_owned() }
        };
        let mut sections: std::collections::BTreeMap<String, Section> =
            toml::from_str(&text).map_err(|e| format(e.span().map(|s| s.start)))?;
        let section = sections
            .remove(venue)
            .ok_or_else(|| KeyError::NoSection { path: path.to_owned(), venue: venue.to_owned() })?;
        match (&section.secret, &section.private_key) {
            (Some(secret), None) => Self::hmac(&section.key, secret),
            (None, Some(pem)) => Self::ed25519(&section.key, pem),
            _ => Err(format(None)),
        }
    }

    /// First four bytes of the API key's SHA-256, in hexadecimal: names the key without telling it.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.key.expose_secret())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.fingerprint())
    }
}

/// First four bytes of the SHA-256 of `text`, in hexadecimal.
pub(crate) fn fingerprint(text: &str) -> String {
    hex::encode(&Sha256::digest(text.as_bytes())[..4])
}

fn check(what: &'static str, text: &str) -> Result<(), KeyError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\') {
        return Err(KeyError::Malformed { what });
    }
    Ok(())
}

/// systemd gives a credential to a service's user by an access control list; its mask shows as the group's bits (0440), and
/// the group itself may read nothing. Under `$CREDENTIALS_DIRECTORY`, which only the service may enter, that is private.
const GROUP_READS: u32 = 0o040;

/// Reads a regular file that is not a link and that no one else may read, but by the mode bits `allowed`. The opened file is compared with what
/// was looked at, so that it cannot be exchanged in between.
fn read_private(path: &Path, allowed: u32) -> Result<Zeroizing<String>, KeyError> {
    let io = |source| KeyError::Io { path: path.to_owned(), source };
    let seen = std::fs::symlink_metadata(path).map_err(io)?;
    if seen.file_type().is_symlink() {
        return Err(KeyError::Symlink(path.to_owned()));
    }
    let mut file = File::open(path).map_err(io)?;
    let opened = file.metadata().map_err(io)?;
    if (opened.dev(), opened.ino()) != (seen.dev(), seen.ino()) {
        return Err(KeyError::Symlink(path.to_owned()));
    }
    if !opened.is_file() || opened.len() > MAX_FILE {
        return Err(KeyError::NotAFile(path.to_owned()));
    }
    let mode = opened.mode() & 0o777;
    if mode & 0o077 & !allowed != 0 {
        return Err(KeyError::Mode { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE as usize));
    file.by_ref().take(MAX_FILE).read_to_string(&mut text).map_err(io)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn file(dir: &Path, text: &str, mode: u32) -> PathBuf {
        let path = dir.join("keys.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_key_file_is_read_only_if_it_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let text = "[testnet]\nkey = \"K1\"\nsecret = \"CANARY\"\n";
        let path = file(dir.path(), text, 0o600);
        let key = ApiKey::from_file(&path, "testnet").unwrap();
        assert_eq!(format!("{key:?}"), format!("ApiKey({})", fingerprint("K1")));
        assert!(matches!(ApiKey::from_file(&path, "mainnet"), Err(KeyError::NoSection { .. })));

        let link = dir.path().join("link.toml");
        symlink(&path, &link).unwrap();
        assert!(matches!(ApiKey::from_file(&link, "testnet"), Err(KeyError::Symlink(_))));

        file(dir.path(), text, 0o640);
        let said = ApiKey::from_file(&path, "testnet").unwrap_err().to_string();
        assert!(said.contains("chmod 600"), "{said}");
    }

    /// Modes as systemd 257 leaves them: 0400 owned by the user, or 0440 where an access control list lets him read.
    #[test]
    fn a_credential_of_systemd_may_show_its_mask_as_the_groups_bits() {
        let dir = tempfile::tempdir().unwrap();
        let text = "[testnet]\nkey = \"K1\"\nsecret = \"CANARY\"\n";
        for (mode, good) in [(0o400, true), (0o440, true), (0o444, false), (0o460, false), (0o441, false)] {
            let path = dir.path().join(format!("{mode:o}"));
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(ApiKey::read(&path, "testnet", GROUP_READS).is_ok(), good, "{mode:o}");
            assert_eq!(ApiKey::from_file(&path, "testnet").is_ok(), mode == 0o400, "{mode:o} elsewhere");
        }
    }

    /// A type that holds a secret has neither `Clone` nor `Serialize` nor a `Debug` of its making; this does not compile
    /// otherwise (two candidates for `A`).
    #[test]
    fn secret_types_cannot_be_copied_or_written() {
        trait Not<A> {
            fn holds() {}
        }
        struct Cloned;
        struct Written;
        struct Shown;
        impl<T: ?Sized> Not<()> for T {}
        impl<T: Clone> Not<Cloned> for T {}
        impl<T: serde::Serialize> Not<Written> for T {}
        impl<T: fmt::Debug> Not<Shown> for T {}
        let _ = <Secret as Not<_>>::holds;
        let _ = <Section as Not<_>>::holds;
        trait Kept<A> {
            fn holds() {}
        }
        impl<T: ?Sized> Kept<()> for T {}
        impl<T: Clone> Kept<Cloned> for T {}
        impl<T: serde::Serialize> Kept<Written> for T {}
        // These two show their fingerprint and nothing else.
        let _ = <ApiKey as Kept<_>>::holds;
        let _ = <crate::sign::Signer as Kept<_>>::holds;
    }

    #[test]
    fn no_error_tells_a_secret() {
        let dir = tempfile::tempdir().unwrap();
        for text in [
            "[testnet]\nkey = \"K1\"\nsecret = CANARY\n",
            "[testnet]\nkey = \"K1\"\nsecret = \"CANARY\nx\"\n",
            "[testnet]\nkey = \"K1\"\nsecret = \"CANARY with blanks\"\n",
            "[testnet]\nkey = \"K1\"\nsecret = [\"CANARY\"]\n",
            "[testnet]\nkey = \"K1\"\nprivate_key = \"CANARY\"\n",
            "[testnet]\nkey = \"K1\"\nsecret = \"CANARY\"\nprivate_key = \"CANARY\"\n",
            "[testnet]\nkey = \"K1\"\nsecrt = \"CANARY\"\n",
            "CANARY",
        ] {
            let path = file(dir.path(), text, 0o600);
            let error = ApiKey::from_file(&path, "testnet").unwrap_err();
            for said in [error.to_string(), format!("{error:?}")] {
                assert!(!said.contains("CANARY"), "{said}");
            }
        }
    }
}
