use std::fs;

use proptest::prelude::*;

use super::*;

fn rows(name: &str) -> Option<Vec<Vec<String>>> {
    let path = testkit::shared_data("hazelcast/vectors")?.join(name);
    let text = fs::read_to_string(path).unwrap();
    let rows: Vec<Vec<String>> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect();
    assert!(rows.len() > 10, "{name} has {} rows", rows.len());
    Some(rows)
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

#[test]
fn murmur_as_in_java() {
    let Some(rows) = rows("murmur3_java.tsv") else { return };
    for row in rows {
        let payload: String = serde_json::from_str(&row[0]).unwrap();
        assert_eq!(murmur3(payload.as_bytes()).to_string(), row[1], "{payload}");
        let mut data = vec![0; DATA_HEADER];
        data.extend_from_slice(payload.as_bytes());
        assert_eq!(partition(&data, 271).to_string(), row[2], "{payload}");
    }
}

#[test]
fn keys_and_partitions_as_in_python() {
    let Some(rows) = rows("string_key_partition.tsv") else { return };
    for row in rows {
        let key: String = serde_json::from_str(&row[0]).unwrap();
        let data = to_data(&key);
        assert_eq!(data, unhex(&row[1]), "{key}");
        assert_eq!(partition(&data, 271).to_string(), row[3], "{key}");
        assert_eq!(to_text(&data), Ok(Some(key)));
    }
}

#[test]
fn values_as_in_python() {
    let Some(rows) = rows("values.tsv") else { return };
    let mut seen = [0; 4];
    for row in rows {
        let (kind, shown, hex) = (&row[0], &row[1], &row[2]);
        if hex.is_empty() || hex == "NULL_FRAME" {
            continue;
        }
        let data = unhex(hex);
        if kind.starts_with("string") || kind.starts_with("HazelcastJsonValue") {
            let text: String = serde_json::from_str(shown).unwrap();
            assert_eq!(to_text(&data).as_ref(), Ok(&Some(text.clone())), "{kind} {shown}");
            if kind.starts_with("string") {
                assert_eq!(to_data(&text), data);
            }
            seen[0] += 1;
        } else if kind.contains("-120") || kind.contains("-29") {
            let found = to_text(&data).unwrap_err();
            assert!(found.contains("pickle") || found.contains("list"), "{found}");
            seen[1] += 1;
        } else {
            let text = to_text(&data).unwrap().unwrap();
            let shown: String = serde_json::from_str(shown).unwrap();
            assert_eq!(text.to_lowercase(), shown.to_lowercase(), "{kind}");
            seen[2] += 1;
        }
    }
    assert!(seen[0] >= 10 && seen[1] == 2 && seen[2] >= 7, "{seen:?}");
}

/// Every UTF-16 code unit but the surrogates, then NUL up to the number of code units, from the compatibility file of
/// the Python client.
#[test]
fn the_string_of_the_compatibility_file() {
    let Some(folder) = testkit::shared_data("hazelcast/serialization") else { return };
    let bytes = fs::read(folder.join("python.1.serialization.compatibility.binary")).unwrap();
    let mut at = 0;
    let mut texts = 0;
    while at < bytes.len() {
        let name_length = usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
        let name = std::str::from_utf8(&bytes[at + 2..at + 2 + name_length]).unwrap();
        at += 2 + name_length;
        let length = i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        at += 4;
        if length < 0 {
            continue;
        }
        let data = &bytes[at..at + length as usize];
        at += length as usize;
        let text = to_text(data); // whatever it is, it does not panic
        if name == "1-String-BIG_ENDIAN" {
            let mut expected: String = (0..0xffffu32).filter_map(char::from_u32).collect();
            expected.push_str(&"\0".repeat(0x800));
            assert_eq!(text, Ok(Some(expected.clone())));
            assert_eq!(to_data(&expected), data);
            texts += 1;
        }
    }
    assert_eq!(texts, 1);
}

#[test]
fn the_smallest_hash_has_partition_zero() {
    let mut data = i32::MIN.to_be_bytes().to_vec();
    data.extend_from_slice(&[0; 8]);
    assert_eq!(partition(&data, 271), 0);
    assert_eq!(partition(&[], 0), 0);
}

proptest! {
    #[test]
    fn any_text_survives(text in any::<String>()) {
        prop_assert_eq!(to_text(&to_data(&text)), Ok(Some(text)));
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..40), id in prop::sample::select(vec![0i32, -4, -7, -8, -10, -11, -130, -120])) {
        let _ = to_text(&bytes);
        let mut data = vec![0; 4];
        data.extend_from_slice(&id.to_be_bytes());
        data.extend_from_slice(&bytes);
        let _ = to_text(&data);
        prop_assert!((0..271).contains(&partition(&data, 271)));
    }
}
