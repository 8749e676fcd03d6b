//! TLS and credentials. Community members know neither, so TLS ends in a proxy before the member.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use memory::{Credentials, HazelcastConfig, TlsConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use testkit::hazelcast::{CURRENT, Cluster, PATIENCE};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;

use super::support::{config, eventually, open};

const NAME: &str = "member.test";

/// A certificate that is its own authority, and its key.
fn certificate(folder: &Path) -> Option<(PathBuf, PathBuf)> {
    let (settings, certificate, key) =
        (folder.join("settings"), folder.join("certificate.pem"), folder.join("key.pem"));
    let text = format!(
        "[req]\ndistinguished_name=name\nx509_extensions=more\nprompt=no\n[name]\nCN={NAME}\n[more]\nsubjectAltName=DNS:{NAME}\n"
    );
    std::fs::write(&settings, text).unwrap();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"])
        .args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-config"])
        .arg(&settings)
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match made {
        Ok(status) if status.success() => Some((certificate, key)),
        _ => {
            testkit::skipped("openssl makes no certificate");
            None
        }
    }
}

/// Decrypts, and passes on to a member. Its address.
async fn proxy(certificate: &Path, key: &Path, member: String) -> String {
    let chain = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, member) = (acceptor.clone(), member.clone());
            tokio::spawn(async move {
                let Ok(mut client) = acceptor.accept(stream).await else { return };
                let mut member = TcpStream::connect(member).await.unwrap();
                tokio::io::copy_bidirectional(&mut client, &mut member).await.ok();
            });
        }
    });
    address
}

#[tokio::test]
async fn tls_and_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let Some((certificate, key)) = certificate(folder.path()) else { return };
    let Some(cluster) = Cluster::start(CURRENT, 1) else { return };
    let proxy = proxy(&certificate, &key, cluster.members[0].address()).await;
    let with = |ca_file: Option<PathBuf>, server_name: &str| HazelcastConfig {
        members: vec![proxy.clone()],
        tls: Some(TlsConfig { ca_file, server_name: Some(server_name.to_owned()) }),
        ..config(&cluster)
    };

    let memory = open(with(Some(certificate.clone()), NAME));
    memory.wait_ready(PATIENCE).await.unwrap();
    let large = "x".repeat(1 << 20);
    memory.put("tls", "k", &large).await.unwrap();
    assert!(memory.get("tls", "k").await.unwrap().as_ref() == Some(&large));

    // An authority we do not know, and a name that is not the member's.
    for bad in [with(None, NAME), with(Some(certificate.clone()), "other.test")] {
        let memory = open(HazelcastConfig { invocation_timeout_ms: 500, ..bad });
        eventually("the refusal", async || memory.status().detail.contains("TLS: ")).await;
        assert!(memory.get("tls", "k").await.unwrap_err().is_outage());
    }

    // A community member refuses whoever brings credentials, and we say so without showing them.
    let password = "not to be seen".to_owned();
    let credentials = Credentials { username: "us".into(), password: password.clone().into() };
    let config = HazelcastConfig { credentials: Some(credentials), ..config(&cluster) };
    assert!(!format!("{config:?}").contains(&password));
    let memory = open(config);
    eventually("the refusal", async || memory.status().detail.contains("credentials are wrong")).await;
}
