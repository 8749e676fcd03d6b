//! Fences on the embedded backend: in the process that owns the store, and through its socket.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

mod fencing;

use std::path::Path;
use std::time::Duration;

use memory::{EmbeddedConfig, MemoryConfig, MemoryEnvironment, SystemMemory};

/// The first that opens a path owns the store, the others use its socket, as other processes do.
async fn open(path: &Path) -> SystemMemory {
    let config = EmbeddedConfig { timeout_ms: 60_000, ..EmbeddedConfig::at(path) };
    let memory = SystemMemory::open(MemoryConfig::Embedded(config), &MemoryEnvironment::system()).unwrap();
    memory.wait_ready(Duration::from_secs(120)).await.unwrap();
    memory
}

#[tokio::test]
async fn a_replaced_writer_is_refused_by_the_owner_and_through_the_socket() {
    for owner_is_new in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memory.redb");
        let (owner, other) = (open(&path).await, open(&path).await);
        assert!(other.status().detail.ends_with("another process"), "{:?}", other.status());
        let (old, new) = if owner_is_new { (&other, &owner) } else { (&owner, &other) };
        fencing::a_replaced_writer_is_refused(old, new).await;
        fencing::a_claimed_state_stays_as_it_was_read(old, new).await;
    }
}

#[tokio::test]
async fn fences_never_go_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("memory.redb");
    fencing::fences_never_go_back(async || open(&path).await, 60).await;
}

#[tokio::test]
async fn a_claim_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("memory.redb");
    fencing::a_claim_holds(async || open(&path).await, 40).await;
}

#[tokio::test]
async fn write_behind_sets_aside_what_is_fenced() {
    let folder = tempfile::tempdir().unwrap();
    fencing::write_behind_sets_aside_what_is_fenced(&open(&folder.path().join("memory.redb")).await).await;
}
