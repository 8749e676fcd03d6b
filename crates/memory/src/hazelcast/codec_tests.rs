//! Against Hazelcast's own compatibility files: what its generator encoded, we encode alike and decode to the
//! reference values.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;

use super::*;
use crate::hazelcast::frame::Assembler;

const VERSIONS: [&str; 4] = ["2.0", "2.7", "2.8", "2.9"];
/// Reference values of the files.
const TEXT: &str = "localhost";
const DATA: &[u8] = b"111313123131313131";
const LONG: i64 = -50_992_225;
const ID: Uuid = Uuid { high: 123_456_789, low: 987_654_321 };

/// The messages of a file by kind: reference values set, and null where null is allowed.
fn file(version: &str, nulls: bool) -> Option<BTreeMap<i32, (Message, Vec<u8>)>> {
    let infix = if nulls { "null." } else { "" };
    let name = format!("hazelcast/protocol/{version}.protocol.compatibility.{infix}binary");
    let bytes = fs::read(testkit::shared_data(&name)?).unwrap();
    let mut messages = BTreeMap::new();
    let mut assembler = Assembler::default();
    let mut start = 0;
    for at in 0..bytes.len() {
        assembler.feed(&bytes[at..=at]);
        if let Some(message) = assembler.next().unwrap() {
            messages.insert(message.kind(), (message, bytes[start..=at].to_vec()));
            start = at + 1;
        }
    }
    assert!(start == bytes.len() && messages.len() > 800, "{name}: {} messages", messages.len());
    Some(messages)
}

fn group() -> RaftGroup {
    RaftGroup { name: TEXT.into(), seed: LONG, id: LONG }
}

/// Sets fixed parameters the builder has its own constants for to the reference values of the files.
fn patched(request: &Request, patches: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = request.with_correlation(0);
    for (at, patch) in patches {
        bytes[HEADER + at..HEADER + at + patch.len()].copy_from_slice(patch);
    }
    bytes
}

fn requests(nulls: bool) -> Vec<(i32, Vec<u8>)> {
    let long: &[u8] = &LONG.to_le_bytes();
    let thread = [(16, long)];
    let thread_ttl = [(16, long), (24, long)];
    let listener = |request: &Request| patched(request, &[(16, &[1][..]), (21, &[1][..])]);
    let text = (!nulls).then_some(TEXT);
    let login = Login {
        cluster: TEXT,
        username: text,
        password: text,
        client: ID,
        serialization_version: 113,
        client_type: TEXT,
        client_version: TEXT,
        client_name: TEXT,
        labels: &[TEXT],
    };
    let mut client = authentication(&login).with_correlation(0);
    if nulls {
        client[HEADER + 16..HEADER + 16 + UUID_BYTES].fill(0);
        client[HEADER + 16] = 1;
    }
    let value = (!nulls).then_some(DATA);
    let plain = |request: &Request| patched(request, &[]);
    vec![
        (0x000100, client),
        (0x000300, plain(&add_cluster_view_listener())),
        (0x000B00, plain(&ping())),
        (0x010200, patched(&map_get(TEXT, DATA, -1), &thread)),
        (0x010F00, patched(&map_set(TEXT, DATA, DATA, -1), &thread_ttl)),
        (0x010900, patched(&map_delete(TEXT, DATA, -1), &thread)),
        (0x010E00, patched(&map_put_if_absent(TEXT, DATA, DATA, -1), &thread_ttl)),
        (0x010500, patched(&map_replace_if_same(TEXT, DATA, DATA, DATA, -1), &thread)),
        (0x012200, plain(&map_key_set(TEXT))),
        (0x012500, plain(&map_entry_set(TEXT))),
        (0x011900, listener(&add_map_listener(TEXT, 25))),
        (0x011800, listener(&add_key_listener(TEXT, DATA, 25))),
        (0x011A00, plain(&remove_listener(TEXT, ID))),
        (0x1E0100, plain(&create_cp_group(TEXT))),
        (0x0A0400, plain(&reference_get(&group(), TEXT))),
        (0x0A0500, patched(&reference_set(&group(), TEXT, value), &[(16, &[1][..])])),
    ]
}

#[test]
fn requests_are_encoded_as_hazelcast_does() {
    let mut compared = 0;
    for version in VERSIONS {
        for nulls in [false, true] {
            let Some(file) = file(version, nulls) else { return };
            for (kind, ours) in requests(nulls) {
                let theirs = &file[&kind].1;
                if kind == 0x000100 && version >= "2.8" {
                    // Two more fixed parameters, which may be left out: a prefix of the initial frame, then equal.
                    assert_eq!(ours[4..40], theirs[4..40], "authentication {version}");
                    assert_eq!(ours[40..], theirs[42..], "authentication {version}");
                } else {
                    assert_eq!(&ours, theirs, "{kind:#08x} {version} nulls: {nulls}");
                }
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 8 * 16);
}

#[test]
fn responses_decode_to_the_reference_values() {
    for version in VERSIONS {
        let (Some(set), Some(null)) = (file(version, false), file(version, true)) else { return };
        let message = |kind: i32| &set[&kind].0;
        let welcome = read_welcome(message(kind::AUTHENTICATION)).unwrap();
        let expected = Welcome {
            status: 113,
            member: Some(ID),
            partitions: 25,
            cluster: Some(ID),
            server_version: TEXT.into(),
        };
        assert_eq!(welcome, expected, "{version}");
        let refused = read_welcome(&null[&kind::AUTHENTICATION].0).unwrap();
        assert_eq!((refused.status, refused.member), (113, None));

        for kind in [0x010201, 0x0A0401, 0x010E01, 0x0A0501] {
            assert_eq!(read_value(message(kind)), Ok(Some(DATA)), "{kind:#08x}");
            assert_eq!(read_value(&null[&kind].0), Ok(None), "{kind:#08x}");
        }
        for kind in [0x010501, 0x011A01] {
            assert_eq!(read_bool(message(kind)), Ok(true), "{kind:#08x}");
        }
        for kind in [0x011801, 0x011901] {
            assert_eq!(read_registration(message(kind)), Ok(ID));
        }
        assert_eq!(read_list(message(0x012201)), Ok(vec![DATA]));
        assert_eq!(read_entries(message(0x012501)), Ok(vec![(DATA, DATA)]));
        assert_eq!(read_raft_group(message(0x1E0101)), Ok(group()));
    }
}

#[test]
fn events_and_errors_decode_to_the_reference_values() {
    for version in VERSIONS {
        let (Some(set), Some(null)) = (file(version, false), file(version, true)) else { return };
        for kind in [kind::KEY_LISTENER_EVENT, kind::MAP_LISTENER_EVENT] {
            assert!(set[&kind].0.is_event());
            let event = read_entry_event(&set[&kind].0).unwrap();
            assert_eq!(event, EntryEvent { kind: 25, key: Some(DATA), value: Some(DATA) });
            assert_eq!(
                read_entry_event(&null[&kind].0).unwrap(),
                EntryEvent { kind: 25, key: None, value: None }
            );
        }
        let member = Member { uuid: ID, host: TEXT.into(), port: 25 };
        for file in [&set, &null] {
            assert_eq!(read_members_view(&file[&kind::MEMBERS_VIEW].0), Ok((25, vec![member.clone()])));
            assert_eq!(read_partitions_view(&file[&kind::PARTITIONS_VIEW].0), Ok((25, vec![(ID, vec![25])])));
        }
        if let Some((message, _)) = set.get(&kind::ERROR) {
            let error = read_error(message).unwrap();
            assert_eq!((error.code, error.class.as_str(), error.message.as_deref()), (25, TEXT, Some(TEXT)));
        }
    }
}

/// What real members sent to the Python client, recorded.
#[test]
fn captures_of_real_members_decode() {
    let Some(folder) = testkit::shared_data("hazelcast/captures") else { return };
    let mut seen = BTreeMap::new();
    for file in fs::read_dir(folder).unwrap() {
        for line in fs::read_to_string(file.unwrap().path()).unwrap().lines() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            if record["dir"] != "S" || record["kind"] != "message" {
                continue;
            }
            let hex = record["hex"].as_str().unwrap();
            let bytes: Vec<u8> = (0..hex.len() / 2)
                .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
                .collect();
            let mut assembler = Assembler::default();
            assembler.feed(&bytes);
            let message = assembler.next().unwrap().expect("the record is a whole message");
            assert_eq!(message.correlation(), record["corr"].as_i64().unwrap());
            *seen.entry(message.kind()).or_insert(0) += 1;
            match message.kind() {
                kind::ERROR => assert!(read_error(&message).unwrap().code > 0),
                kind::AUTHENTICATION => {
                    let welcome = read_welcome(&message).unwrap();
                    let refused = welcome.status == 1 && welcome.member.is_none();
                    assert!(refused || (welcome.status == 0 && welcome.partitions == 271), "{welcome:?}");
                }
                kind::MEMBERS_VIEW => assert_eq!(read_members_view(&message).unwrap().1.len(), 1),
                kind::PARTITIONS_VIEW => {
                    let (_, table) = read_partitions_view(&message).unwrap();
                    assert_eq!(table.iter().map(|(_, owned)| owned.len()).sum::<usize>(), 271);
                }
                kind::KEY_LISTENER_EVENT | kind::MAP_LISTENER_EVENT => {
                    assert!(read_entry_event(&message).unwrap().kind & event::ALL != 0);
                }
                0x012201 => assert!(!read_list(&message).unwrap().is_empty()),
                0x012501 => assert!(!read_entries(&message).unwrap().is_empty()),
                0x1E0101 => assert!(!read_raft_group(&message).unwrap().name.is_empty()),
                _ => {}
            }
        }
    }
    for kind in
        [kind::ERROR, kind::AUTHENTICATION, kind::MEMBERS_VIEW, kind::PARTITIONS_VIEW, 0x012201, 0x1E0101]
    {
        assert!(seen.contains_key(&kind), "{kind:#08x} occurs in the captures");
    }
}

/// Whatever is cut off or changed: an answer or an error, no panic.
#[test]
fn damaged_messages_never_panic() {
    let Some(file) = file("2.9", false) else { return };
    for (message, bytes) in file.values() {
        read_all(message);
        for at in 0..bytes.len() {
            for flip in [0x01, 0x08, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                let mut assembler = Assembler::default();
                assembler.feed(&damaged);
                while let Ok(Some(message)) = assembler.next() {
                    read_all(&message);
                }
            }
            if bytes.len() > 600 {
                break; // the long ones differ in repetitions only
            }
        }
    }
}

fn read_all(message: &Message) {
    let _ = read_welcome(message);
    let _ = read_members_view(message);
    let _ = read_partitions_view(message);
    let _ = read_value(message);
    let _ = read_bool(message);
    let _ = read_registration(message);
    let _ = read_list(message);
    let _ = read_entries(message);
    let _ = read_entry_event(message);
    let _ = read_raft_group(message);
    let _ = read_error(message).map(|e| e.to_string());
}

proptest! {
    #[test]
    fn any_frames_are_survived(frames in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..70)), 1..12)) {
        let mut bytes = Vec::new();
        for (at, (flags, payload)) in frames.iter().enumerate() {
            let edge = if at == 0 { UNFRAGMENTED } else { 0 } | if at + 1 == frames.len() { IS_FINAL } else { 0 };
            bytes.extend_from_slice(&((payload.len() + HEADER) as u32).to_le_bytes());
            bytes.extend_from_slice(&((flags & !IS_FINAL) | edge).to_le_bytes());
            bytes.extend_from_slice(payload);
        }
        let mut assembler = Assembler::default();
        assembler.feed(&bytes);
        if let Ok(Some(message)) = assembler.next() {
            read_all(&message);
        }
    }
}
