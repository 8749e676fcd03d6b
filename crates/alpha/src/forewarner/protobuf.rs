//! Just enough of the protobuf wire format to read an ONNX file: fields one after another, nothing copied.

/// A field's value on the wire.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

impl<'a> Wire<'a> {
    pub fn bytes(self) -> Option<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    pub fn text(self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub fn int(self) -> Option<i64> {
        if let Self::Varint(v) = self { Some(v as i64) } else { None }
    }

    /// Appends a repeated integer field, packed or not.
    pub fn ints(self, out: &mut Vec<i64>) -> Option<()> {
        match self {
            Self::Varint(v) => out.push(v as i64),
            Self::Bytes(mut packed) => {
                while !packed.is_empty() {
                    out.push(varint(&mut packed)? as i64);
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Appends a repeated float field, packed or not.
    pub fn floats(self, out: &mut Vec<f64>) -> Option<()> {
        match self {
            Self::Fixed32(b) => out.push(f64::from(f32::from_le_bytes(b))),
            Self::Bytes(packed) => {
                let (values, rest) = packed.as_chunks::<4>();
                out.extend(values.iter().map(|b| f64::from(f32::from_le_bytes(*b))));
                return rest.is_empty().then_some(());
            }
            _ => return None,
        }
        Some(())
    }

    /// Appends a repeated double field, packed or not.
    pub fn doubles(self, out: &mut Vec<f64>) -> Option<()> {
        match self {
            Self::Fixed64(b) => out.push(f64::from_le_bytes(b)),
            Self::Bytes(packed) => {
                let (values, rest) = packed.as_chunks::<8>();
                out.extend(values.iter().map(|b| f64::from_le_bytes(*b)));
                return rest.is_empty().then_some(());
            }
            _ => return None,
        }
        Some(())
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Calls `field(number, value)` for each field of a message; `None` where the bytes are no message or `field` says so.
pub(super) fn fields<'a>(
    mut bytes: &'a [u8],
    mut field: impl FnMut(u64, Wire<'a>) -> Option<()>,
) -> Option<()> {
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let mut take = |n: usize| {
            let (head, rest) = bytes.split_at_checked(n)?;
            bytes = rest;
            Some(head)
        };
        let value = match key & 7 {
            1 => Wire::Fixed64(take(8)?.try_into().ok()?),
            5 => Wire::Fixed32(take(4)?.try_into().ok()?),
            0 => Wire::Varint(varint(&mut bytes)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (head, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Wire::Bytes(head)
            }
            _ => return None,
        };
        field(key >> 3, value)?;
    }
    Some(())
}
