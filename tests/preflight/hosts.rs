//! Hosts that are no venue: each is told as what it is, and nothing is followed or downgraded.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::stage::{Set, dolphin, fails};

/// Answers every request with the same bytes; gives its address and how often it was asked.
fn answers(reply: String) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { return };
            let mut request = [0u8; 4096];
            if socket.read(&mut request).is_ok_and(|n| n > 0) {
                count.fetch_add(1, Ordering::Relaxed);
                let _ = socket.write_all(reply.as_bytes());
            }
        }
    });
    (at, asked)
}

fn http(status: &str, headers: &str, body: &str) -> String {
    let n = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {n}\r\nConnection: close\r\n{headers}\r\n{body}")
}

#[test]
fn a_host_that_is_no_venue() {
    let set = Set::plain();
    let (config, keys) = (set.path("node.yml"), set.path("keys.toml"));
    for (reply, words) in [
        (
            http("200 OK", "", "<html><title>Welcome</title></html>"),
            ["not understood", "is this host a Binance futures venue"],
        ),
        (
            http("404 Not Found", "", "<html>\n<b>nothing\x1b[2J here</b></html>"),
            ["404", "no Binance futures venue; check --venue"],
        ),
        (http("302 Found", "Location: http://127.0.0.1:1/\r\n", ""), ["sends us elsewhere", "wrong host?"]),
        (http("403 Forbidden", "", "<html>WAF</html>"), ["403", "firewall"]),
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), ["/fapi/v1/time", "127.0.0.1"]),
    ] {
        let (at, asked) = answers(reply);
        let said = fails(dolphin(&["live", "--config", &config, "--keys", &keys, "--venue", &at]), 4, &words);
        assert!(!said.contains('\x1b'), "{said:?}");
        assert_eq!(asked.load(Ordering::Relaxed), 1, "asked once: {said}");
    }
}

#[test]
fn a_closed_port_and_a_name_without_address() {
    let set = Set::plain();
    let (config, keys) = (set.path("node.yml"), set.path("keys.toml"));
    let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let live = dolphin(&["live", "--config", &config, "--keys", &keys, "--venue", &at]);
    fails(live, 4, &[&at, "is the port open", "refused"]);
    // A label of 64 letters is no name: the resolver says so without asking anybody.
    let name = format!("https://{}.invalid", "a".repeat(64));
    let path =
        set.write("name.yml", &format!("venue: {{rest_url: \"{name}\"}}\n"), 0o644).display().to_string();
    let live = dolphin(&["live", "--config", &path, "--keys", &keys, "--venue", "testnet"]);
    fails(live, 4, &["cannot resolve", "aaaa"]);
}

#[test]
fn a_certificate_that_nobody_vouches_for() {
    let set = Set::plain();
    let pem = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/preflight/self-signed.pem");
    let chain = vec![CertificateDer::from_pem_file(&pem).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&pem).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&heard);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { return };
            let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut text = [0u8; 1024];
            if let Ok(n) = rustls::Stream::new(&mut tls, &mut socket).read(&mut text) {
                count.fetch_add(n, Ordering::Relaxed);
            }
        }
    });
    let keys = set.path("keys.toml");
    let text = format!("venue: {{rest_url: \"https://localhost:{port}\"}}\n");
    let path = set.write("tls.yml", &text, 0o644).display().to_string();
    let live = dolphin(&["live", "--config", &path, "--keys", &keys, "--venue", "testnet"]);
    fails(live, 4, &["localhost", "certificate"]);
    assert_eq!(heard.load(Ordering::Relaxed), 0, "no byte of a request left");
    // A plaintext server where TLS is wanted: no downgrade.
    let (at, _) = answers(http("200 OK", "", "{\"serverTime\":1}"));
    let text = format!("venue: {{rest_url: \"https://{at}\"}}\n");
    let path = set.write("plain.yml", &text, 0o644).display().to_string();
    fails(
        dolphin(&["live", "--config", &path, "--keys", &keys, "--venue", "testnet"]),
        4,
        &["/fapi/v1/time", &at],
    );
}
