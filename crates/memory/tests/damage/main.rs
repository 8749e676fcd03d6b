//! A store whose file was cut, emptied, zeroed or changed: it is refused by name, or holds what it held; it is never
//! silently empty, and nothing panics. What can be read of it is saved.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

#[path = "../simulated/surroundings.rs"]
mod surroundings;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use memory::{
    EmbeddedConfig, MemoryConfig, MemoryEnvironment, MemoryError, Repair, SystemMemory, Write, repair,
    restore,
};
use surroundings::{SimulatedDisk, SimulatedSpawner, simulate};

const STORE: &str = "/state/a.memory";
const MAPS: [&str; 3] = ["DOLPHIN_STATE_BLUE", "DOLPHIN_TRADES_BLUE", "DOLPHIN_PNL_BLUE"];

type Contents = BTreeMap<(String, String), String>;

fn open(disk: &Arc<SimulatedDisk>) -> SystemMemory {
    let environment =
        MemoryEnvironment { spawner: Arc::new(SimulatedSpawner), disk: Arc::clone(disk) as Arc<_> };
    let config = EmbeddedConfig { path: STORE.into(), timeout_ms: 200 };
    SystemMemory::open(MemoryConfig::Embedded(config), &environment).unwrap()
}

async fn contents(memory: &SystemMemory) -> Result<Contents, MemoryError> {
    let mut all = Contents::new();
    for map in MAPS {
        for (key, value) in memory.entries(map).await? {
            all.insert((map.to_owned(), key), value);
        }
    }
    Ok(all)
}

/// What a start finds on this disk.
fn found(disk: &Arc<SimulatedDisk>) -> Result<Contents, MemoryError> {
    let disk = Arc::clone(disk);
    simulate(async move {
        let memory = open(&disk);
        let all = contents(&memory).await;
        memory.close(Duration::from_secs(5)).await;
        all
    })
}

fn with(image: &[u8]) -> Arc<SimulatedDisk> {
    let disk = SimulatedDisk::default();
    disk.put(STORE, image.to_vec());
    Arc::new(disk)
}

/// A store with small values, large ones, removed ones; the bytes of its file, and what was there one write before.
struct Sample {
    closed: Vec<u8>,
    killed: Vec<u8>,
    copy: Vec<u8>,
    contents: Contents,
    before: Contents,
}

fn sample() -> Sample {
    let disk = Arc::new(SimulatedDisk::default());
    let used = Arc::clone(&disk);
    let (contents, before, killed) = simulate(async move {
        let memory = open(&used);
        for round in 0..6 {
            let mut writes = Vec::new();
            for at in 0..60 {
                let value = format!("{{\"round\":{round},\"at\":{at}}}");
                writes.push(Write { map: MAPS[at % 2].into(), key: format!("key{at}"), value });
            }
            memory.put_all(&writes).await.unwrap();
            memory.put(MAPS[2], "large", &"0123456789".repeat(900 + round)).await.unwrap();
        }
        memory.remove(MAPS[0], "key0").await.unwrap();
        let before = contents(&memory).await.unwrap();
        memory.put(MAPS[0], "last", "{\"capital\": 25000.5}").await.unwrap();
        let killed = used.image(STORE);
        let all = contents(&memory).await.unwrap();
        memory.close(Duration::from_secs(5)).await;
        (all, before, killed)
    });
    assert_eq!(contents.len(), 61);
    let (closed, copy) = (disk.image(STORE), disk.image("/state/a.memory.copy"));
    Sample { closed, killed, copy, contents, before }
}

fn is_damaged(outcome: &Result<Contents, MemoryError>) -> bool {
    match outcome {
        Err(error @ MemoryError::Damaged { path, .. }) => {
            let text = error.to_string();
            assert!(
                path == Path::new(STORE) && text.contains("repair` saves") && text.contains("restore`"),
                "{text}"
            );
            true
        }
        Err(error) => panic!("{error}"),
        Ok(_) => false,
    }
}

#[test]
fn a_sound_image_is_read_whether_it_was_closed_or_killed() {
    let sample = sample();
    assert_eq!(found(&with(&sample.closed)).unwrap(), sample.contents);
    assert_eq!(found(&with(&sample.killed)).unwrap(), sample.contents);
    assert_eq!(found(&with(&sample.copy)).unwrap(), sample.contents);
}

#[test]
fn a_file_that_was_cut_or_emptied_is_refused() {
    let sample = sample();
    for image in [&sample.closed, &sample.killed] {
        let mut lengths: Vec<usize> = (0..400).chain((400..image.len()).step_by(911)).collect();
        lengths.extend((1..12).map(|back| image.len() - back));
        for length in lengths {
            let disk = with(&image[..length]);
            assert!(is_damaged(&found(&disk)), "cut to {length} of {} bytes", image.len());
            assert_eq!(disk.image(STORE).len(), length, "it is left as it is");
        }
        for zeroed in [0..image.len(), 0..512, 0..4096, 512..image.len(), image.len() / 2..image.len()] {
            let mut image = image.clone();
            image[zeroed.clone()].fill(0);
            let disk = with(&image);
            let outcome = found(&disk);
            // Pages that hold nothing may be anything.
            let harmless = outcome.as_ref().is_ok_and(|all| *all == sample.contents);
            assert!(harmless || is_damaged(&outcome), "zeroed {zeroed:?}");
        }
        let more = [image.as_slice(), &[7; 5000]].concat();
        let outcome = found(&with(&more));
        assert!(outcome.as_ref().is_ok_and(|all| *all == sample.contents) || is_damaged(&outcome));
    }
}

/// Every bit of the header, and one bit of every 61st byte of the rest.
fn flips(image: &[u8]) -> impl Iterator<Item = (usize, u8)> + use<> {
    let header = (0..320usize).flat_map(|at| (0..8u8).map(move |bit| (at, bit)));
    let rest = (320..image.len()).step_by(61).map(|at| (at, (at % 8) as u8));
    header.chain(rest)
}

#[test]
fn a_file_with_a_changed_bit_is_refused_or_holds_what_it_held() {
    let sample = sample();
    for (name, image) in [("closed", &sample.closed), ("killed", &sample.killed)] {
        let (mut refused, mut harmless, mut earlier) = (0, 0, Vec::new());
        for (at, bit) in flips(image) {
            let mut image = image.clone();
            image[at] ^= 1 << bit;
            let outcome = found(&with(&image));
            if is_damaged(&outcome) {
                refused += 1;
                continue;
            }
            let all = outcome.unwrap();
            if all == sample.contents {
                harmless += 1;
            } else {
                assert_eq!(all, sample.before, "{name}: bit {bit} of byte {at}");
                earlier.push((at, bit));
            }
        }
        println!("{name}: {refused} refused, {harmless} without effect, one commit earlier by {earlier:?}");
        assert!(refused > 300, "{name}: {refused} refused, {harmless} harmless");
        // The one bit that says which of the two newest commits counts has no second witness.
        assert!(earlier.len() <= 1, "{name}: {earlier:?}");
    }
}

#[test]
fn what_can_be_read_is_saved_and_nothing_else() {
    let sample = sample();
    for image in [&sample.closed, &sample.killed] {
        for (at, bit) in flips(image).step_by(7) {
            let mut image = image.clone();
            image[at] ^= 1 << bit;
            let disk = with(&image);
            match repair(&*disk, Path::new(STORE)).unwrap() {
                Repair::Sound => {}
                Repair::Repaired { saved, from_copies, aside } => {
                    assert_eq!((from_copies, disk.image(&aside.display().to_string()) == image), (0, true));
                    let all = found(&disk).unwrap();
                    assert_eq!(all.len(), saved);
                    let newest =
                        all.iter().filter(|(key, value)| sample.contents.get(*key) == Some(value)).count();
                    // A value that was hit is gone, or is as it was before.
                    assert!(
                        newest + 1 >= sample.contents.len(),
                        "byte {at}: {newest} of {}",
                        sample.contents.len()
                    );
                    assert!(!all.contains_key(&(MAPS[0].into(), "key0".into())), "what was removed stays so");
                }
            }
        }
        for length in (0..image.len()).step_by(4_999) {
            let disk = with(&image[..length]);
            let repaired = repair(&*disk, Path::new(STORE));
            if let Ok(Repair::Repaired { saved, .. }) = repaired {
                let all = found(&disk).unwrap();
                assert_eq!(all.len(), saved);
            } else {
                assert!(matches!(repaired, Err(MemoryError::Damaged { .. })), "{repaired:?}");
                assert_eq!(disk.image(STORE).len(), length, "it is left as it is");
            }
        }
    }
}

#[test]
fn with_a_copy_nothing_is_lost() {
    let sample = sample();
    let copies = |disk: &SimulatedDisk| disk.put("/state/a.memory.copy", sample.copy.clone());
    for length in (0..sample.closed.len()).step_by(9_973) {
        let disk = with(&sample.closed[..length]);
        copies(&disk);
        assert!(matches!(repair(&*disk, Path::new(STORE)), Ok(Repair::Repaired { .. })));
        assert_eq!(found(&disk).unwrap(), sample.contents);

        let disk = with(&sample.closed[..length]);
        copies(&disk);
        let restored = restore(&*disk, Path::new(STORE), false).unwrap();
        assert_eq!(disk.image(&restored.aside.unwrap().display().to_string()).len(), length);
        assert_eq!(found(&disk).unwrap(), sample.contents);
    }
    // The newest copy is damaged, too: the one before it.
    let disk = with(&sample.closed[..100]);
    disk.put("/state/a.memory.copy", sample.copy[..5_000].to_vec());
    let error = restore(&*disk, Path::new(STORE), false).unwrap_err().to_string();
    assert!(error.contains("no sound copy"), "{error}");
    disk.put("/state/a.memory.copy.1", sample.copy.clone());
    assert!(restore(&*disk, Path::new(STORE), false).unwrap().copy.ends_with("a.memory.copy.1"));
    assert_eq!(found(&disk).unwrap(), sample.contents);
    // A sound one is not thrown away by mistake; there may be none at all.
    let error = restore(&*disk, Path::new(STORE), false).unwrap_err();
    assert!(matches!(&error, MemoryError::Invalid(why) if why.contains("--force")), "{error}");
    assert!(restore(&*disk, Path::new(STORE), true).unwrap().aside.is_some());
    let disk = Arc::new(SimulatedDisk::default());
    copies(&disk);
    assert_eq!(restore(&*disk, Path::new(STORE), false).unwrap().aside, None);
    assert_eq!(found(&disk).unwrap(), sample.contents);
    assert_eq!(repair(&*disk, Path::new(STORE)), Ok(Repair::Sound));
}

/// Bytes that change while the store is open: what was read already may come from memory, the rest is refused; then the
/// store is closed, and refused as a whole.
#[test]
fn damage_under_an_open_store_is_noticed() {
    let sample = sample();
    let disk = with(&sample.closed);
    let used = Arc::clone(&disk);
    simulate(async move {
        let memory = open(&used);
        memory.wait_ready(Duration::from_secs(1)).await.unwrap();
        used.damage(STORE, 4096..sample.closed.len(), 0x55);
        let mut refused = 0;
        for map in MAPS {
            match memory.entries(map).await {
                Err(MemoryError::Damaged { .. }) => refused += 1,
                Ok(all) => assert!(all.iter().all(|(key, value)| {
                    sample.contents.get(&(map.to_owned(), key.clone())) == Some(value)
                })),
                Err(error) => panic!("{error}"),
            }
        }
        let error = memory.put(MAPS[0], "key1", "{}").await;
        assert!(refused > 0 || matches!(error, Err(MemoryError::Damaged { .. })), "{refused}, {error:?}");
    });
    assert!(is_damaged(&found(&disk)));
}

#[test]
fn copies_are_made_daily_and_at_the_end_and_the_one_before_is_kept() {
    let disk = Arc::new(SimulatedDisk::default());
    let used = Arc::clone(&disk);
    simulate(async move {
        let memory = open(&used);
        memory.put(MAPS[0], "day", "{\"day\":0}").await.unwrap();
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert!(used.has("/state/a.memory.copy"), "the first is made soon");
        memory.put(MAPS[0], "day", "{\"day\":1}").await.unwrap();
        tokio::time::sleep(Duration::from_secs(86_401)).await;
        let of_day_1 = used.image("/state/a.memory.copy");
        // Features alone are no reason for a copy.
        memory.put("DOLPHIN_FEATURES_SHARD_03", "X", "{}").await.unwrap();
        tokio::time::sleep(Duration::from_secs(2 * 86_400)).await;
        assert!(used.image("/state/a.memory.copy") == of_day_1);
        memory.put(MAPS[0], "day", "{\"day\":2}").await.unwrap();
        memory.close(Duration::from_secs(5)).await;
        assert!(used.image("/state/a.memory.copy.1") == of_day_1);
        let error = memory.get(MAPS[0], "day").await.unwrap_err();
        assert!(error.to_string().contains("closed"), "{error}");
    });
    for (copy, day) in [("/state/a.memory.copy", 2), ("/state/a.memory.copy.1", 1)] {
        let all = found(&with(&disk.image(copy))).unwrap();
        assert_eq!(all.values().collect::<Vec<_>>(), [&format!("{{\"day\":{day}}}")]);
    }
}

/// A store of the first layout, whose values stood there without a record around them.
#[test]
fn a_store_of_the_first_layout_is_taken_over() {
    use redb::{Database, TableDefinition};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old");
    let old = Database::create(&path).unwrap();
    let transaction = old.begin_write().unwrap();
    let cells = TableDefinition::<&str, &str>::new("cells");
    let state = "DOLPHIN_STATE_BLUE\0latest";
    transaction.open_table(cells).unwrap().insert(state, "{\"capital\": 26000.0}").unwrap();
    transaction
        .open_table(TableDefinition::<&str, u64>::new("format"))
        .unwrap()
        .insert("version", 1)
        .unwrap();
    transaction.commit().unwrap();
    drop(old);
    let disk = with(&std::fs::read(&path).unwrap());
    for _ in 0..2 {
        let all = found(&disk).unwrap();
        assert_eq!(all.into_values().collect::<Vec<_>>(), ["{\"capital\": 26000.0}"]);
    }
    // One of a layout to come is neither damaged nor touched.
    let new = Database::create(folder.path().join("new")).unwrap();
    let transaction = new.begin_write().unwrap();
    transaction
        .open_table(TableDefinition::<&str, u64>::new("format"))
        .unwrap()
        .insert("version", 3)
        .unwrap();
    transaction.commit().unwrap();
    drop(new);
    let error = found(&with(&std::fs::read(folder.path().join("new")).unwrap())).unwrap_err();
    assert!(matches!(&error, MemoryError::Away(why) if why.contains("layout 3")), "{error}");
    // And a redb file of somebody else is no empty memory.
    let foreign = Database::create(folder.path().join("foreign")).unwrap();
    let transaction = foreign.begin_write().unwrap();
    transaction.open_table(TableDefinition::<u64, u64>::new("theirs")).unwrap().insert(1, 1).unwrap();
    transaction.commit().unwrap();
    drop(foreign);
    assert!(is_damaged(&found(&with(&std::fs::read(folder.path().join("foreign")).unwrap()))));
}
