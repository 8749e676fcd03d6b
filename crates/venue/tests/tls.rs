//! TLS with a certificate made at the start, for clients that refuse `http` and `ws` or have the exchange's host names built
//! in.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use venue::faults::{Ending, Fault};
use venue::{Venue, VenueConfig, VenueHandle};

fn start() -> VenueHandle {
    ring::default_provider().install_default().ok();
    Venue::start(VenueConfig { symbols: 3, tls: true, ..VenueConfig::default() }).unwrap()
}

fn client(venue: &VenueHandle, trusting: bool) -> reqwest::Client {
    let mut client = reqwest::Client::builder().resolve("fapi.binance.com", venue.addr()).no_proxy();
    if trusting {
        let authority = reqwest::Certificate::from_pem(venue.authority().unwrap().as_bytes()).unwrap();
        client = client.tls_certs_only([authority]);
    }
    client.build().unwrap()
}

async fn connect(venue: &VenueHandle, host: &'static str) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(venue.authority().unwrap().as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let tcp = TcpStream::connect(venue.addr()).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(host).unwrap(), tcp).await.unwrap()
}

#[tokio::test]
async fn requests_and_streams_are_served_by_the_exchanges_names() {
    let venue = start();
    let client = client(&venue, true);
    let port = venue.addr().port();
    for host in ["127.0.0.1", "localhost", "fapi.binance.com"] {
        let reply = client.get(format!("https://{host}:{port}/fapi/v1/time")).send().await.unwrap();
        let time: Value = serde_json::from_str(&reply.text().await.unwrap()).unwrap();
        assert!(time["serverTime"].is_u64(), "{host}: {time}");
    }
    for host in [
        "fstream.binance.com",
        "ws-fapi.binance.com",
        "demo-fstream.binance.com",
        "fstream.binancefuture.com",
    ] {
        let tls = connect(&venue, host).await;
        let url = format!("wss://{host}/public/ws/btcusdt@bookTicker");
        let (mut socket, _) = tokio_tungstenite::client_async(url, tls).await.unwrap();
        let frame =
            tokio::time::timeout(Duration::from_secs(10), socket.next()).await.unwrap().unwrap().unwrap();
        let frame: Value = serde_json::from_str(frame.to_text().unwrap()).unwrap();
        assert_eq!(frame["e"], "bookTicker", "{host}");
    }
}

#[tokio::test]
async fn nobody_trusts_it_unasked_and_a_client_without_tls_is_not_served() {
    let venue = start();
    let url = format!("{}/fapi/v1/ping", venue.http());
    assert!(url.starts_with("https://") && venue.ws().starts_with("wss://"));
    let error = client(&venue, false).get(url).send().await.unwrap_err();
    assert!(error.is_connect(), "{error}");
    let plain = client(&venue, true).get(format!("http://{}/fapi/v1/ping", venue.addr())).send().await;
    assert!(plain.is_err());
    // A client that never does its TLS handshake keeps nobody waiting.
    let _mute = TcpStream::connect(venue.addr()).await.unwrap();
    let ping = client(&venue, true).get(format!("{}/fapi/v1/ping", venue.http())).send();
    assert!(tokio::time::timeout(Duration::from_secs(5), ping).await.unwrap().unwrap().status().is_success());
    let other = start();
    assert_ne!(venue.authority(), other.authority(), "each venue has its own");
}

#[tokio::test]
async fn faults_cut_secure_connections() {
    let venue = start();
    let tls = connect(&venue, "localhost").await;
    let (mut socket, _) =
        tokio_tungstenite::client_async("wss://localhost/public/ws/btcusdt@bookTicker", tls).await.unwrap();
    socket.next().await.unwrap().unwrap();
    venue.inject(Fault::Disconnect { route: "*".into(), how: Ending::Reset }).unwrap();
    let ended = async { while socket.next().await.is_some_and(|m| m.is_ok()) {} };
    tokio::time::timeout(Duration::from_secs(5), ended).await.unwrap();
    let mut raw = socket.into_inner();
    assert!(raw.read_u8().await.is_err());
}
