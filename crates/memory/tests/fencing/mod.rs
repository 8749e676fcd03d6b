//! What holds of fences in every memory. `open` gives another connection to the same memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use memory::schema::{Deployment, LEASES, LeaseRecord, STATE_LATEST_NAUTILUS, to_text};
use memory::{Fence, MemoryError, SystemMemory, Write, WriteBehind, claim_state, fence_of};

const PATIENCE: Duration = Duration::from_secs(120);

pub fn fence(number: u64) -> Fence {
    Fence { lease: "alpha_blue".into(), number }
}

pub fn write(key: &str, value: &str) -> Write {
    Write { map: "STATE".into(), key: key.into(), value: value.into() }
}

async fn hold(memory: &SystemMemory, number: u64) {
    let record = LeaseRecord {
        owner: "somebody".into(),
        identity: "1".into(),
        fence: number,
        beat: 0,
        kill: 0,
        locked: false,
    };
    memory.put(LEASES, "alpha_blue", &to_text(&record)).await.unwrap();
}

fn is_fenced(outcome: &Result<(), MemoryError>, key: &str, ours: u64, newer: u64) {
    let error = outcome.as_ref().unwrap_err();
    let expected =
        MemoryError::Fenced { map: "STATE".into(), key: key.into(), lease: "alpha_blue".into(), ours, newer };
    assert_eq!(*error, expected);
    assert!(!error.is_outage());
}

/// A writer that has been replaced changes nothing of what its successor wrote, read, or may come to read.
pub async fn a_replaced_writer_is_refused(old: &SystemMemory, new: &SystemMemory) {
    hold(old, 5).await;
    let values = [write("latest", r#"{"capital": 5}"#), write("trade.1", "{}"), write("untouched", "{}")];
    old.put_all_fenced(&values, &fence(5)).await.unwrap();
    assert_eq!(old.get("STATE", "latest").await.unwrap().as_deref(), Some(r#"{"fence":5,"capital": 5}"#));
    assert_eq!(old.get("STATE", "trade.1").await.unwrap().as_deref(), Some(r#"{"fence":5}"#));

    // The successor holds the lease and has claimed what it read, before it wrote anything.
    hold(new, 6).await;
    let claimed = new.claim("STATE", "latest", &fence(6)).await.unwrap();
    assert_eq!(claimed.as_deref(), Some(r#"{"fence":6,"capital": 5}"#));
    assert_eq!(new.claim("STATE", "nothing", &fence(6)).await, Ok(None));
    for key in ["latest", "trade.1", "untouched", "never written"] {
        is_fenced(&old.put_all_fenced(&[write(key, "{}")], &fence(5)).await, key, 5, 6);
    }
    assert!(matches!(
        old.claim("STATE", "latest", &fence(5)).await,
        Err(MemoryError::Fenced { newer: 6, .. })
    ));
    assert_eq!(new.get("STATE", "latest").await.unwrap(), claimed);
    assert_eq!(new.get("STATE", "never written").await, Ok(None));

    // The record of the lease is lost: what the successor claimed or wrote is safe all the same.
    new.put_all_fenced(&[write("trade.2", "{}")], &fence(6)).await.unwrap();
    new.remove(LEASES, "alpha_blue").await.unwrap();
    for key in ["latest", "trade.2"] {
        is_fenced(&old.put_all_fenced(&[write(key, "{}")], &fence(5)).await, key, 5, 6);
    }
    // A newer one goes on, over values of the older and over values of nobody; an operator writes what he likes.
    new.put_all_fenced(&[write("latest", r#"{"capital": 7}"#)], &fence(7)).await.unwrap();
    new.put("STATE", "latest", r#"{"capital": 8}"#).await.unwrap();
    new.put_all_fenced(&[write("latest", r#"{"capital": 9}"#)], &fence(7)).await.unwrap();
    assert_eq!(new.get("STATE", "latest").await.unwrap().as_deref(), Some(r#"{"fence":7,"capital": 9}"#));
    let bare = new.put_all_fenced(&[write("latest", "[1]")], &fence(7)).await.unwrap_err();
    assert!(matches!(&bare, MemoryError::Invalid(why) if why.contains("no JSON object")), "{bare}");
}

/// The state that a new holder goes on with is the one its predecessor cannot change any more.
pub async fn a_claimed_state_stays_as_it_was_read(old: &SystemMemory, new: &SystemMemory) {
    let map = Deployment::Green.state_map();
    let state = |capital: u32| Write {
        map: map.into(),
        key: STATE_LATEST_NAUTILUS.into(),
        value: format!("{{\"capital\":{capital},\"date\":null,\"pnl\":0.0,\"param_hash\":\"\"}}"),
    };
    old.put_all_fenced(&[state(26_000)], &fence(5)).await.unwrap();
    assert_eq!(claim_state(new, Deployment::Blue, &fence(6)).await, Ok(None));
    let restored = claim_state(new, Deployment::Green, &fence(6)).await.unwrap().unwrap();
    assert_eq!((restored.key, restored.state.capital), (STATE_LATEST_NAUTILUS, 26_000.0));
    assert!(restored.state.extra.is_empty(), "the fence is not of the state: {:?}", restored.state.extra);
    let late = old.put_all_fenced(&[state(1)], &fence(5)).await.unwrap_err();
    assert!(matches!(late, MemoryError::Fenced { newer: 6, .. }), "{late}");
    let again = claim_state(new, Deployment::Green, &fence(6)).await.unwrap().unwrap();
    assert_eq!(again.state, restored.state);
}

/// Writers of rising fences write the same keys as fast as they can, each over a connection of its own: what is read
/// never carries a smaller fence than what was read before, and ends with the largest.
pub async fn fences_never_go_back(open: impl AsyncFn() -> SystemMemory, rounds: u64) {
    const WRITERS: u64 = 4;
    const KEYS: u64 = 3;
    let reader = open().await;
    let ended = Arc::new(AtomicBool::new(false));
    let landed = Arc::new(AtomicU64::new(0));
    let mut writers = tokio::task::JoinSet::new();
    for number in 1..=WRITERS {
        let (memory, landed) = (open().await, Arc::clone(&landed));
        writers.spawn(async move {
            // Each begins a little later than the one it replaces, and all go on.
            tokio::time::sleep(Duration::from_millis(30 * number)).await;
            let mut refused = 0;
            for round in 0..rounds {
                let key = format!("k{}", round % KEYS);
                let value = format!("{{\"by\":{number},\"round\":{round}}}");
                match memory.put_all_fenced(&[write(&key, &value)], &fence(number)).await {
                    Ok(()) => drop(landed.fetch_add(1, Ordering::Relaxed)),
                    Err(MemoryError::Fenced { newer, .. }) => {
                        assert!(newer > number);
                        refused += 1;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            (number, refused)
        });
    }
    let done = Arc::clone(&ended);
    let watch_back = async move {
        let (mut newest, mut reads) = ([0; KEYS as usize], 0u64);
        loop {
            let last = done.load(Ordering::Acquire);
            for (at, seen) in newest.iter_mut().enumerate() {
                let value = reader.get("STATE", &format!("k{at}")).await.unwrap();
                let found = value.as_deref().and_then(fence_of).unwrap_or(0);
                assert!(found >= *seen, "k{at} went back from fence {seen} to {found}");
                *seen = found;
                reads += 1;
            }
            if last {
                return (newest, reads);
            }
        }
    };
    let all = async {
        while let Some(writer) = writers.join_next().await {
            let (number, refused) = writer.unwrap();
            assert!(number < WRITERS || refused == 0, "the newest is never refused");
        }
        ended.store(true, Ordering::Release);
    };
    let ((newest, reads), ()) = tokio::join!(watch_back, all);
    assert_eq!(newest, [WRITERS; KEYS as usize]);
    assert!(reads > 50 && landed.load(Ordering::Relaxed) > rounds, "{reads} reads, {landed:?} writes");
}

/// What a claim returned is what stands there, whatever its predecessors have under way.
pub async fn a_claim_holds(open: impl AsyncFn() -> SystemMemory, rounds: u64) {
    let memory = open().await;
    let newest = Arc::new(AtomicU64::new(1));
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (memory, newest) = (open().await, Arc::clone(&newest));
        writers.spawn(async move {
            let mut count = 0u64;
            // Writes with the fence before the newest for as long as there is one: always replaced, always late.
            loop {
                let number = newest.load(Ordering::Relaxed);
                if number == u64::MAX {
                    return count;
                }
                let value = format!("{{\"count\":{count}}}");
                let outcome = memory.put_all_fenced(&[write("claimed", &value)], &fence(number)).await;
                count += u64::from(outcome.is_ok());
            }
        });
    }
    for number in 2..rounds + 2 {
        let claimed = memory.claim("STATE", "claimed", &fence(number)).await.unwrap();
        for _ in 0..3 {
            let found = memory.get("STATE", "claimed").await.unwrap();
            assert_eq!(found, claimed, "claimed with fence {number}");
        }
        newest.store(number, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    newest.store(u64::MAX, Ordering::Relaxed);
    while let Some(written) = writers.join_next().await {
        assert!(written.unwrap() > 0);
    }
}

/// What waits to be written when the lease passes on is set aside, counted, and not tried again, unless the lease is ours.
pub async fn write_behind_sets_aside_what_is_fenced(memory: &SystemMemory) {
    hold(memory, 5).await;
    let writes = WriteBehind::start(memory);
    writes.put_fenced("STATE", "behind", r#"{"n": 1}"#.into(), &fence(5)).unwrap();
    assert!(writes.flush(PATIENCE).await);
    memory.claim("STATE", "behind", &fence(6)).await.unwrap();
    hold(memory, 6).await;
    for n in 0..600 {
        writes.put_fenced("STATE", &format!("behind{n}"), r#"{"n": 2}"#.into(), &fence(5)).ok();
    }
    writes.put("OTHER", "unfenced", "1".into()).unwrap();
    writes
        .put_fenced("STATE", "of another lease", "{}".into(), &Fence { lease: "other".into(), number: 1 })
        .unwrap();
    assert!(writes.flush(PATIENCE).await);
    let counts = writes.counts();
    assert_eq!(
        (counts.fenced, counts.delivered, counts.rejected, counts.outages, counts.pending),
        (600, 3, 0, 0, 0)
    );
    assert_eq!(memory.get("STATE", "behind").await.unwrap().as_deref(), Some(r#"{"fence":6,"n": 1}"#));
    assert_eq!(memory.get("STATE", "behind0").await, Ok(None));
    let late = writes.put_fenced("STATE", "behind", "{}".into(), &fence(5));
    assert!(matches!(late, Err(MemoryError::Fenced { newer: 6, .. })), "{late:?}");
    // The same process under a newer fence.
    hold(memory, 7).await;
    writes.put_fenced("STATE", "behind", r#"{"n": 3}"#.into(), &fence(7)).unwrap();
    assert!(writes.flush(PATIENCE).await);
    assert_eq!(memory.get("STATE", "behind").await.unwrap().as_deref(), Some(r#"{"fence":7,"n": 3}"#));
    assert_eq!(writes.counts().fenced, 601);
    // It was its own lease all the time: what was set aside is written, where nothing newer was.
    writes.go_on(&fence(6));
    assert_eq!((writes.passed_on("alpha_blue"), writes.counts().pending), (Some(6), 0));
    writes.put_fenced("STATE", "behind0", r#"{"n": 4}"#.into(), &fence(7)).unwrap();
    writes.go_on(&fence(7));
    assert!(writes.flush(PATIENCE).await);
    assert_eq!(writes.passed_on("alpha_blue"), None);
    for (key, n) in [("behind0", 4), ("behind1", 2), ("behind599", 2)] {
        let written = format!(r#"{{"fence":7,"n": {n}}}"#);
        assert_eq!(memory.get("STATE", key).await.unwrap(), Some(written), "{key}");
    }
}
