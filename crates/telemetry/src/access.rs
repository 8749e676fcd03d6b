//! Who may ask: `Host` and `Origin` must be ours (a page of another site cannot read a node through a name that it points
//! here), no verb that could change anything, no large request, and the token where there is one.

use std::net::SocketAddr;

use axum::http::{HeaderMap, Method, StatusCode, Uri, header};

/// Longest target and longest headers together.
const LONGEST_URI: usize = 2_048;
const LONGEST_HEADERS: usize = 16 * 1024;

/// The rules of one server.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    /// Host names and addresses, with their port, in lower case.
    hosts: Vec<String>,
    token: Option<String>,
}

impl Access {
    pub(crate) fn new(address: SocketAddr, more: &[String], token: Option<String>) -> Self {
        let port = address.port();
        let mut hosts = vec![address.to_string()];
        if address.ip().is_loopback() {
            hosts.extend(["localhost", "127.0.0.1", "[::1]"].map(|name| format!("{name}:{port}")));
        }
        for name in more {
            let name = name.to_ascii_lowercase();
            hosts.push(format!("{name}:{port}"));
            hosts.push(name);
        }
        Self { hosts, token }
    }

    /// Why a request is refused, if it is.
    pub(crate) fn refuse(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Option<(StatusCode, &'static str)> {
        if method != Method::GET && method != Method::HEAD {
            return Some((StatusCode::METHOD_NOT_ALLOWED, "this server only tells: GET and HEAD"));
        }
        let target = uri.path_and_query().map_or(0, |p| p.as_str().len());
        if target > LONGEST_URI {
            return Some((StatusCode::URI_TOO_LONG, "the address is too long"));
        }
        let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if size > LONGEST_HEADERS {
            return Some((StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too large"));
        }
        let has_body = headers.get(header::CONTENT_LENGTH).is_some_and(|n| n != "0")
            || headers.contains_key(header::TRANSFER_ENCODING);
        if has_body {
            return Some((StatusCode::PAYLOAD_TOO_LARGE, "a question has no body"));
        }
        let text = |name| headers.get(name).map(|v| v.to_str().unwrap_or("?").to_ascii_lowercase());
        let host = text(header::HOST).or_else(|| uri.authority().map(|a| a.as_str().to_ascii_lowercase()));
        if !host.is_some_and(|host| self.hosts.contains(&host)) {
            return Some((StatusCode::MISDIRECTED_REQUEST, "this is not the host that was asked for"));
        }
        let is_ours = |origin: &str| {
            let host = origin.split_once("://").map_or("", |(_, host)| host);
            self.hosts.iter().any(|h| h == host)
        };
        if text(header::ORIGIN).is_some_and(|origin| !is_ours(&origin)) {
            return Some((StatusCode::FORBIDDEN, "pages of other origins may not read this"));
        }
        let token = self.token.as_deref()?;
        let shown = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(shown);
        (!shown.is_some_and(|shown| same(&shown, token)))
            .then_some((StatusCode::UNAUTHORIZED, "the token is missing or wrong"))
    }
}

/// The token of `Bearer TOKEN`, or the password of `Basic`, which browsers ask people for.
fn shown(authorization: &str) -> Option<String> {
    if let Some(token) = authorization.strip_prefix("Bearer ") {
        return Some(token.trim().to_owned());
    }
    let pair = decode(authorization.strip_prefix("Basic ")?.trim())?;
    Some(pair.split_once(':')?.1.to_owned())
}

/// Base64 of UTF-8.
fn decode(text: &str) -> Option<String> {
    let (mut bytes, mut bits, mut n) = (Vec::new(), 0u32, 0);
    for c in text.trim_end_matches('=').bytes() {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        n += 6;
        if n >= 8 {
            n -= 8;
            bytes.push((bits >> n) as u8);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Compares without telling by its time where the first difference is.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |d, (a, b)| d | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(access: &Access, method: Method, uri: &str, headers: &[(&str, &str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let refused = access.refuse(&method, &uri.parse().unwrap(), &map);
        refused.map_or(200, |(status, _)| status.as_u16())
    }

    #[test]
    fn foreign_hosts_and_origins_verbs_bodies_and_sizes_are_refused() {
        let access = Access::new("127.0.0.1:9464".parse().unwrap(), &["Node.example".to_owned()], None);
        let get = |headers: &[(&str, &str)]| ask(&access, Method::GET, "/metrics", headers);
        for host in ["127.0.0.1:9464", "localhost:9464", "LOCALHOST:9464", "[::1]:9464", "node.example"] {
            assert_eq!(get(&[("host", host)]), 200, "{host}");
        }
        for host in ["evil.example", "localhost", "localhost:80", "127.0.0.1.evil.example:9464"] {
            assert_eq!(get(&[("host", host)]), 421, "{host}");
        }
        assert_eq!(get(&[]), 421);
        let host = ("host", "localhost:9464");
        assert_eq!(get(&[host, ("origin", "http://localhost:9464")]), 200);
        for origin in ["http://evil.example", "null", "http://localhost:9465"] {
            assert_eq!(get(&[host, ("origin", origin)]), 403, "{origin}");
        }
        assert_eq!(ask(&access, Method::POST, "/metrics", &[host]), 405);
        assert_eq!(ask(&access, Method::DELETE, "/", &[host]), 405);
        assert_eq!(get(&[host, ("content-length", "7")]), 413);
        assert_eq!(get(&[host, ("x", &"a".repeat(20_000))]), 431);
        assert_eq!(ask(&access, Method::GET, &format!("/{}", "a".repeat(3_000)), &[host]), 414);
    }

    #[test]
    fn the_token_is_asked_for_where_there_is_one() {
        let access = Access::new("127.0.0.1:9464".parse().unwrap(), &[], Some("s3cret-ä".to_owned()));
        let host = ("host", "localhost:9464");
        let get = |value: &str| ask(&access, Method::GET, "/", &[host, ("authorization", value)]);
        assert_eq!(ask(&access, Method::GET, "/", &[host]), 401);
        assert_eq!(get("Bearer wrong"), 401);
        assert_eq!(get("Basic !!"), 401);
        // me:s3cret-ä
        assert_eq!(get("Basic bWU6czNjcmV0LcOk"), 200);
        assert_eq!(get("Basic bWU6czNjcmV0LcOl"), 401);
        let plain = Access::new("127.0.0.1:9464".parse().unwrap(), &[], Some("abc".to_owned()));
        assert_eq!(ask(&plain, Method::GET, "/", &[host, ("authorization", "Bearer abc")]), 200);
    }
}
