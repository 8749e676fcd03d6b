//! Where a venue lives. One value fixes REST, streams and WebSocket API together, so that a testnet stream can
//! never be paired with mainnet orders.
//!
//! Since 2026 the streams are split by route (BINANCE.md §1): `/public` (book), `/market` (trades, mark price),
//! `/private` (user data). A stream asked for on the wrong route is acknowledged and stays silent.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// Why a host cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Not a URL of the wanted kind.
    #[error("`{url}` is not a URL: {why}")]
    NotAUrl {
        /// As given.
        url: String,
        /// What is wrong.
        why: &'static str,
    },
    /// An unencrypted connection to another machine.
    #[error("`{url}` is not encrypted and {addr} is not this machine: use https:// or wss://")]
    PlaintextOffHost {
        /// As given.
        url: String,
        /// The address that the name resolved to.
        addr: IpAddr,
    },
    /// A mainnet host under another venue, or the reverse.
    #[error("`{url}` is {is}, but the venue is {venue}: all hosts of a session must be of one venue")]
    Mixed {
        /// The URL that does not fit.
        url: String,
        /// Whose host it is.
        is: &'static str,
        /// The venue's name.
        venue: &'static str,
    },
    /// The name could not be resolved.
    #[error(
        "cannot resolve `{host}`: {why}; is the network up? Without one: dolphin demo, or a venue of your own (dolphin venue)"
    )]
    Unresolved {
        /// Host name.
        host: String,
        /// What the resolver said.
        why: String,
    },
}

/// The base URLs of a venue, without trailing slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// REST, e.g. `https://fapi.binance.com`.
    pub rest: String,
    /// Book streams, with the route: `wss://…/public`.
    pub public: String,
    /// Trade and mark price streams: `wss://…/market`.
    pub market: String,
    /// User data streams: `wss://…/private`.
    pub private: String,
    /// Orders: `wss://…/ws-fapi/v1`.
    pub ws_api: String,
    /// Where the permissions of a key can be asked for (mainnet only): `https://api.binance.com`.
    pub account: Option<String>,
}

/// A venue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Venue {
    /// A Binance-compatible exchange on this machine, as `host:port`.
    Local(String),
    /// The futures testnet (demo trading).
    Testnet,
    /// The real thing.
    Mainnet,
    /// Hosts given one by one.
    Custom(Hosts),
}

impl Venue {
    /// Its name in configs, key files, logs and labels.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Local(_) => "local",
            Self::Testnet => "testnet",
            Self::Mainnet => "mainnet",
            Self::Custom(_) => "custom",
        }
    }

    /// Its hosts.
    pub fn hosts(&self) -> Hosts {
        match self {
            Self::Local(at) => Hosts {
                rest: format!("http://{at}"),
                public: format!("ws://{at}/public"),
                market: format!("ws://{at}/market"),
                private: format!("ws://{at}/private"),
                ws_api: format!("ws://{at}/ws-fapi/v1"),
                account: None,
            },
            Self::Testnet => Hosts {
                rest: "https://demo-fapi.binance.com".into(),
                public: "wss://fstream.binancefuture.com/public".into(),
                market: "wss://fstream.binancefuture.com/market".into(),
                private: "wss://fstream.binancefuture.com/private".into(),
                ws_api: "wss://testnet.binancefuture.com/ws-fapi/v1".into(),
                account: None,
            },
            Self::Mainnet => Hosts {
                rest: "https://fapi.binance.com".into(),
                public: "wss://fstream.binance.com/public".into(),
                market: "wss://fstream.binance.com/market".into(),
                private: "wss://fstream.binance.com/private".into(),
                ws_api: "wss://ws-fapi.binance.com/ws-fapi/v1".into(),
                account: Some("https://api.binance.com".into()),
            },
            Self::Custom(hosts) => hosts.clone(),
        }
    }

    /// Checks hosts, also overridden ones, against the venue: each must parse, REST over HTTP, the others over
    /// WebSocket, and none may belong to another venue.
    pub fn check(&self, hosts: &Hosts) -> Result<(), HostError> {
        let streams = [&hosts.public, &hosts.market, &hosts.private, &hosts.ws_api].map(|url| (false, url));
        let rest = [Some(&hosts.rest), hosts.account.as_ref()].into_iter().flatten().map(|url| (true, url));
        for (http, url) in rest.chain(streams) {
            let endpoint = Endpoint::parse(url)?;
            if endpoint.http != http {
                let why = if http { "REST wants http or https" } else { "streams want ws or wss" };
                return Err(HostError::NotAUrl { url: url.clone(), why });
            }
            self.check_owner(url, &endpoint.host)?;
        }
        Ok(())
    }

    fn check_owner(&self, url: &str, host: &str) -> Result<(), HostError> {
        const MAINNET: [&str; 6] = [
            "api.binance.com",
            "fapi.binance.com",
            "fstream.binance.com",
            "ws-fapi.binance.com",
            "fstream-mm.binance.com",
            "ws-fapi-mm.binance.com",
        ];
        let mainnet = MAINNET.contains(&host);
        let testnet = host.ends_with("binancefuture.com") || host.starts_with("demo-");
        let is = match self {
            Self::Mainnet if !mainnet => "not a mainnet host",
            Self::Local(_) | Self::Testnet if mainnet => "a mainnet host",
            Self::Local(_) if testnet => "a testnet host",
            // Mainnet must be asked for by its name (SPEC §8), never reached by spelling out its hosts.
            Self::Custom(_) if mainnet => "a mainnet host",
            _ => return Ok(()),
        };
        Err(HostError::Mixed { url: url.to_owned(), is, venue: self.name() })
    }
}

impl FromStr for Venue {
    type Err = HostError;

    /// `testnet`, `mainnet`, or the address of a local venue (`127.0.0.1:9443`, `http://localhost:9443`).
    fn from_str(text: &str) -> Result<Self, HostError> {
        match text {
            "testnet" => Ok(Self::Testnet),
            "mainnet" => Ok(Self::Mainnet),
            other => {
                let url = if other.contains("://") { other.to_owned() } else { format!("http://{other}") };
                let end = Endpoint::parse(&url)?;
                if end.tls || end.path != "/" {
                    let why = "a local venue is given as host:port";
                    return Err(HostError::NotAUrl { url: other.to_owned(), why });
                }
                Ok(Self::Local(end.authority()))
            }
        }
    }
}

/// A URL taken apart. It shows without its path, which may hold a listen key.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `http(s)`, else `ws(s)`.
    pub http: bool,
    /// Encrypted.
    pub tls: bool,
    /// Host name or address (without brackets).
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query, beginning with `/`.
    pub path: String,
}

impl Endpoint {
    /// Takes a URL apart. User names in URLs are refused: secrets do not belong there.
    pub fn parse(url: &str) -> Result<Self, HostError> {
        let fail = |why| HostError::NotAUrl { url: url.to_owned(), why };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| fail("no scheme such as wss://"))?;
        let (http, tls) = match scheme {
            "http" => (true, false),
            "https" => (true, true),
            "ws" => (false, false),
            "wss" => (false, true),
            _ => return Err(fail("the scheme must be http, https, ws or wss")),
        };
        let (authority, path) = match rest.find('/') {
            Some(i) => (&rest[..i], &rest[i..]),
            None => (rest, "/"),
        };
        if authority.contains('@') {
            return Err(fail("it holds a user name"));
        }
        let default = if tls { 443 } else { 80 };
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, after) = v6.split_once(']').ok_or_else(|| fail("`[` without `]`"))?;
                (host, after.strip_prefix(':'))
            }
            None => match authority.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = match port {
            Some(p) => p.parse().map_err(|_| fail("the port is not a number up to 65535"))?,
            None => default,
        };
        let clean = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
        if host.is_empty() || !host.chars().all(clean) {
            return Err(fail("no host, or a character that a host cannot have"));
        }
        if path.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(fail("a blank in the path"));
        }
        Ok(Self { http, tls, host: host.to_owned(), port, path: path.to_owned() })
    }

    /// `host:port`, as in a `Host` header.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The addresses of the host. Blocks on the resolver: never call it on a polling thread. An unencrypted
    /// endpoint must resolve to this machine only.
    #[expect(
        clippy::disallowed_methods,
        reason = "the system's resolver, for the production dialer and client"
    )]
    pub fn resolve(&self) -> Result<Vec<SocketAddr>, HostError> {
        let unresolved = |why: String| HostError::Unresolved { host: self.host.clone(), why };
        let found =
            (self.host.as_str(), self.port).to_socket_addrs().map_err(|e| unresolved(e.to_string()))?;
        let mut addrs: Vec<SocketAddr> = found.collect();
        // IPv4 first: the venue's own hosts have no IPv6, and a local server mostly listens on 127.0.0.1 alone.
        addrs.sort_by_key(|a| !a.is_ipv4());
        addrs.dedup();
        if addrs.is_empty() {
            return Err(unresolved("no address".to_owned()));
        }
        self.check_plaintext(&addrs)?;
        Ok(addrs)
    }

    /// Refuses an unencrypted connection that would leave this machine.
    pub fn check_plaintext(&self, addrs: &[SocketAddr]) -> Result<(), HostError> {
        match addrs.iter().find(|a| !a.ip().is_loopback()) {
            Some(a) if !self.tls => Err(HostError::PlaintextOffHost { url: self.to_string(), addr: a.ip() }),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.http, self.tls) {
            (true, true) => "https",
            (true, false) => "http",
            (false, true) => "wss",
            (false, false) => "ws",
        };
        write!(f, "{scheme}://{}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn built_in_hosts_are_of_their_venue() {
        for venue in [Venue::Testnet, Venue::Mainnet, Venue::Local("127.0.0.1:9000".into())] {
            venue.check(&venue.hosts()).unwrap();
        }
    }

    #[test]
    fn venues_do_not_mix() {
        let mut hosts = Venue::Testnet.hosts();
        hosts.ws_api = Venue::Mainnet.hosts().ws_api;
        assert!(matches!(Venue::Testnet.check(&hosts), Err(HostError::Mixed { .. })));
        let custom = Venue::Custom(Venue::Mainnet.hosts());
        assert!(matches!(custom.check(&custom.hosts()), Err(HostError::Mixed { .. })));
        let mut hosts = Venue::Mainnet.hosts();
        hosts.rest = Venue::Testnet.hosts().rest;
        assert!(matches!(Venue::Mainnet.check(&hosts), Err(HostError::Mixed { .. })));
    }

    #[test]
    fn plaintext_stays_on_this_machine() {
        let local = Endpoint::parse("ws://127.0.0.1:9443/public").unwrap();
        assert_eq!(local.resolve().unwrap(), ["127.0.0.1:9443".parse().unwrap()]);
        let away = Endpoint::parse("ws://192.0.2.7:9443/public").unwrap();
        let said = away.resolve().unwrap_err().to_string();
        assert!(said.contains("192.0.2.7 is not this machine"), "{said}");
        assert!(Endpoint::parse("wss://192.0.2.7/").unwrap().resolve().is_ok());
    }

    #[test]
    fn a_venue_by_its_text() {
        assert_eq!("mainnet".parse(), Ok(Venue::Mainnet));
        assert_eq!("localhost:9443".parse(), Ok(Venue::Local("localhost:9443".into())));
        assert_eq!("http://[::1]:80/".parse(), Ok(Venue::Local("[::1]:80".into())));
        assert!("https://example.org".parse::<Venue>().is_err());
        assert!("mainet!".parse::<Venue>().is_err());
    }

    proptest! {
        #[test]
        fn no_url_panics(url in ".{0,40}") {
            let _ = Endpoint::parse(&url);
            let _ = Endpoint::parse(&format!("wss://{url}"));
        }
    }
}
