use proptest::prelude::*;

use super::*;

fn frame(flags: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = ((payload.len() + HEADER) as u32).to_le_bytes().to_vec();
    bytes.extend_from_slice(&flags.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn messages(bytes: &[u8]) -> Result<Vec<Message>, ProtocolError> {
    let mut assembler = Assembler::default();
    assembler.feed(bytes);
    let mut out = Vec::new();
    while let Some(message) = assembler.next()? {
        out.push(message);
    }
    Ok(out)
}

#[test]
fn fragments_of_interleaved_messages_are_joined() {
    let initial = [7u8; 16];
    let part = |id: i64, flags: u16, frames: &[(u16, &[u8])]| {
        let mut bytes = frame(flags, &id.to_le_bytes());
        for (at, (flags, payload)) in frames.iter().enumerate() {
            let last = if at + 1 == frames.len() { IS_FINAL } else { 0 };
            bytes.extend(frame(flags | last, payload));
        }
        bytes
    };
    let mut bytes = part(1, BEGIN_FRAGMENT, &[(UNFRAGMENTED, &initial), (0, b"a")]);
    bytes.extend(part(2, BEGIN_FRAGMENT, &[(UNFRAGMENTED, &initial)]));
    bytes.extend(part(1, 0, &[(0, b"b")]));
    bytes.extend(part(2, END_FRAGMENT, &[(0, b"x")]));
    bytes.extend(part(1, END_FRAGMENT, &[(0, b"c")]));
    let joined = messages(&bytes).unwrap();
    let payloads: Vec<Vec<&[u8]>> = joined
        .iter()
        .map(|m| {
            let mut rest = m.rest();
            std::iter::from_fn(|| rest.next().ok().map(|f| f.payload.as_slice())).collect()
        })
        .collect();
    assert_eq!(payloads, [vec![b"x".as_slice()], vec![b"a", b"b", b"c"]]);
    assert!(messages(&part(9, END_FRAGMENT, &[(0, b"x")])).unwrap_err().0.contains("never began"));
}

#[test]
fn limits_hold_before_the_bytes_are_there() {
    let huge = [0xff, 0xff, 0xff, 0x7f, 0, 0xe0];
    assert!(messages(&huge).unwrap_err().0.contains("limit"));
    assert!(messages(&[5, 0, 0, 0, 0, 0]).unwrap_err().0.contains("5 bytes"));
    assert!(messages(&frame(UNFRAGMENTED | IS_FINAL, b"short")).unwrap_err().0.contains("initial frame"));
    let many = frame(0, b"").repeat(MAX_FRAMES + 1);
    assert!(messages(&many).unwrap_err().0.contains("frames"));
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 1usize..50) {
        let mut assembler = Assembler::default();
        'outer: for piece in bytes.chunks(cut) {
            assembler.feed(piece);
            loop {
                match assembler.next() {
                    Ok(Some(message)) => { let _ = (message.kind(), message.correlation(), message.is_event()); }
                    Ok(None) => break,
                    Err(_) => break 'outer,
                }
            }
        }
    }
}
