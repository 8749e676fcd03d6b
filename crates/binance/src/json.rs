//! A strict JSON reader for small private frames: one pass, no allocation, no recursion into unknown depths.
//!
//! The venue adds fields, drops fields, reorders them and changes a text into a number without warning. A reader
//! that walks every field once and keeps each scalar as the text it was gives all of that tolerance, and keeps
//! decimals exact (a float never comes between the wire and the ticks). Anything that is not JSON is refused
//! whole: a caller that gets `Ok` has seen the frame to its last byte.
//!
//! What JSON is: the grammar of RFC 8259, and, as its §6 lets a reader ask, numbers that a double holds. `1742E85119595`
//! is a number by grammar, but none that the venue sends: it is a time stamp with a damaged byte, and whatever else
//! stands in such a frame is not to be believed. The market decoder (simd-json) and serde_json draw the same line, and
//! the tests hold all three to it. Nor is half of a character (`\ud800` alone) taken.

/// Deepest nesting that is read; the venue's own frames have five levels.
const MAX_DEPTH: u8 = 32;
/// The largest double has 309 digits.
const LONG_NUMBER: usize = 308;

/// Why a frame is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text ends inside a value.
    #[error("the JSON text ends too early")]
    Truncated,
    /// A byte that cannot stand there.
    #[error("unexpected byte at offset {0} of the JSON text")]
    Unexpected(usize),
    /// A number that no double holds.
    #[error("the number at offset {0} of the JSON text is out of range")]
    OutOfRange(usize),
    /// More than 32 levels.
    #[error("JSON nested deeper than 32 levels")]
    TooDeep,
    /// Not UTF-8.
    #[error("the JSON text is not UTF-8")]
    NotUtf8,
}

/// A field's value as it stood on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Scalar<'a> {
    /// The field was not there.
    #[default]
    Missing,
    /// `null`.
    Null,
    /// A text without its quotes, escapes still in it.
    Text(&'a str),
    /// A number.
    Number(&'a str),
    /// `true` or `false`.
    Bool(bool),
    /// An object or array, skipped.
    Container,
}

impl<'a> Scalar<'a> {
    /// The text of a text or number.
    pub(crate) fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(t) | Self::Number(t) => Some(t),
            _ => None,
        }
    }

    /// The text, unless it is empty.
    pub(crate) fn filled(self) -> Option<&'a str> {
        self.text().filter(|t| !t.is_empty())
    }

    /// An unsigned integer, written as a number or a text.
    pub(crate) fn u64(self) -> Option<u64> {
        self.text()?.parse().ok()
    }

    /// A signed integer, written as a number or a text.
    pub(crate) fn i64(self) -> Option<i64> {
        self.text()?.parse().ok()
    }

    /// A finite float, written as a number or a text.
    pub(crate) fn f64(self) -> Option<f64> {
        fast_float2::parse(self.text()?).ok().filter(|x: &f64| x.is_finite())
    }

    /// A boolean, written as one or as a text.
    pub(crate) fn bool(self) -> Option<bool> {
        match self {
            Self::Bool(b) => Some(b),
            Self::Text("true" | "TRUE") => Some(true),
            Self::Text("false" | "FALSE") => Some(false),
            _ => None,
        }
    }
}

/// Reads one JSON text from front to back.
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: u8,
}

impl<'a> Reader<'a> {
    /// A reader of a whole frame.
    pub(crate) fn new(frame: &'a [u8]) -> Result<Self, JsonError> {
        let text = std::str::from_utf8(frame).map_err(|_| JsonError::NotUtf8)?;
        Ok(Self { text, at: 0, depth: 0 })
    }

    /// Reads the single object that the frame must be and gives each field to `field`, which must take its value
    /// by one of the reader's methods.
    pub(crate) fn document(
        mut self,
        field: &mut dyn FnMut(&mut Self, &'a str) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        if self.peek()? != b'{' {
            return Err(self.unexpected());
        }
        self.object(field)?;
        self.end()
    }

    /// Nothing but blanks may follow.
    pub(crate) fn end(&mut self) -> Result<(), JsonError> {
        self.blank();
        if self.at == self.text.len() { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Reads the single array that the frame must be; see [`Self::array`].
    pub(crate) fn list(
        mut self,
        item: &mut dyn FnMut(&mut Self) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.array(item)?;
        self.end()
    }

    /// Is the next value an object?
    pub(crate) fn at_object(&mut self) -> Result<bool, JsonError> {
        Ok(self.peek()? == b'{')
    }

    /// Is the next value an array?
    pub(crate) fn at_array(&mut self) -> Result<bool, JsonError> {
        Ok(self.peek()? == b'[')
    }

    /// Reads an object; see [`Self::document`].
    pub(crate) fn object(
        &mut self,
        field: &mut dyn FnMut(&mut Self, &'a str) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.enter(b'{')?;
        if self.peek()? == b'}' {
            return self.leave();
        }
        loop {
            if self.peek()? != b'"' {
                return Err(self.unexpected());
            }
            let key = self.string()?;
            if self.peek()? != b':' {
                return Err(self.unexpected());
            }
            self.at += 1;
            field(self, key)?;
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => return self.leave(),
                _ => return Err(self.unexpected()),
            }
        }
    }

    /// Reads an array; `item` must take each value.
    pub(crate) fn array(
        &mut self,
        item: &mut dyn FnMut(&mut Self) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.enter(b'[')?;
        if self.peek()? == b']' {
            return self.leave();
        }
        loop {
            item(self)?;
            match self.peek()? {
                b',' => self.at += 1,
                b']' => return self.leave(),
                _ => return Err(self.unexpected()),
            }
        }
    }

    /// Reads any value; a container is checked and skipped.
    pub(crate) fn scalar(&mut self) -> Result<Scalar<'a>, JsonError> {
        match self.peek()? {
            b'"' => self.string().map(Scalar::Text),
            b'{' => self.object(&mut |r, _| r.skip()).map(|()| Scalar::Container),
            b'[' => self.array(&mut |r| r.skip()).map(|()| Scalar::Container),
            b't' => self.word("true", Scalar::Bool(true)),
            b'f' => self.word("false", Scalar::Bool(false)),
            b'n' => self.word("null", Scalar::Null),
            _ => self.number().map(Scalar::Number),
        }
    }

    /// Checks and skips any value.
    pub(crate) fn skip(&mut self) -> Result<(), JsonError> {
        self.scalar().map(|_| ())
    }

    fn enter(&mut self, open: u8) -> Result<(), JsonError> {
        if self.peek()? != open {
            return Err(self.unexpected());
        }
        if self.depth == MAX_DEPTH {
            return Err(JsonError::TooDeep);
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn leave(&mut self) -> Result<(), JsonError> {
        self.depth -= 1;
        self.at += 1;
        Ok(())
    }

    fn unexpected(&self) -> JsonError {
        if self.at >= self.text.len() { JsonError::Truncated } else { JsonError::Unexpected(self.at) }
    }

    fn blank(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.as_bytes().get(self.at) {
            self.at += 1;
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn peek(&mut self) -> Result<u8, JsonError> {
        self.blank();
        self.byte().ok_or(JsonError::Truncated)
    }

    fn word(&mut self, word: &str, value: Scalar<'a>) -> Result<Scalar<'a>, JsonError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.unexpected());
        }
        self.at += word.len();
        Ok(value)
    }

    fn string(&mut self) -> Result<&'a str, JsonError> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let mut i = start;
        loop {
            match *bytes.get(i).ok_or(JsonError::Truncated)? {
                b'"' => break,
                b'\\' => i = self.escape(i)?,
                0..=0x1f => return Err(JsonError::Unexpected(i)),
                _ => i += 1,
            }
        }
        self.at = i + 1;
        Ok(&self.text[start..i])
    }

    /// Checks the escape at `i` and gives the offset behind it.
    fn escape(&self, i: usize) -> Result<usize, JsonError> {
        let bytes = self.text.as_bytes();
        match *bytes.get(i + 1).ok_or(JsonError::Truncated)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(i + 2),
            b'u' => match self.code_unit(i)? {
                // Half of a character says nothing without its other half.
                0xd800..=0xdbff => match self.code_unit(i + 6)? {
                    0xdc00..=0xdfff => Ok(i + 12),
                    _ => Err(JsonError::Unexpected(i)),
                },
                0xdc00..=0xdfff => Err(JsonError::Unexpected(i)),
                _ => Ok(i + 6),
            },
            _ => Err(JsonError::Unexpected(i + 1)),
        }
    }

    /// What the escape `\uXXXX` at `i` stands for.
    fn code_unit(&self, i: usize) -> Result<u16, JsonError> {
        let escape = self.text.as_bytes().get(i..i + 6).ok_or(JsonError::Truncated)?;
        let hex = escape.strip_prefix(b"\\u").filter(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        let unit = hex
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u16::from_str_radix(hex, 16).ok());
        unit.ok_or(JsonError::Unexpected(i))
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while self.byte().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(self.unexpected()) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        let first = self.at;
        self.digits()?;
        if self.text.as_bytes()[first] == b'0' && self.at > first + 1 {
            return Err(JsonError::Unexpected(first + 1));
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        let number = &self.text[start..self.at];
        // Without an exponent only a number of more digits than any double has can be too large.
        let may_overflow = number.len() > LONG_NUMBER || number.contains(['e', 'E']);
        if may_overflow && !fast_float2::parse(number).is_ok_and(f64::is_finite) {
            return Err(JsonError::OutOfRange(start));
        }
        Ok(number)
    }
}

/// A JSON text with its escapes resolved, where it has any (symbols may hold non-ASCII letters written as `\u…`).
pub(crate) fn unescape(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains('\\') {
        return text.into();
    }
    match serde_json::from_str::<String>(&format!("\"{text}\"")) {
        Ok(plain) => plain.into(),
        Err(_) => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accepts(frame: &[u8]) -> bool {
        Reader::new(frame).and_then(|r| r.document(&mut |r, _| r.skip())).is_ok()
    }

    #[test]
    fn scalars_keep_their_text() {
        let mut seen = Vec::new();
        let text = br#" {"a":"0.10","b":1.50 ,"c":true,"d":null,"e":[1,{"x":2}],"f":{}, "g":"\u4e2d"} "#;
        let reader = Reader::new(text).unwrap();
        reader
            .document(&mut |r, key| {
                seen.push((key.to_owned(), format!("{:?}", r.scalar()?)));
                Ok(())
            })
            .unwrap();
        let values: Vec<&str> = seen.iter().map(|(_, v)| v.as_str()).collect();
        let want = [
            "Text(\"0.10\")",
            "Number(\"1.50\")",
            "Bool(true)",
            "Null",
            "Container",
            "Container",
            "Text(\"\\\\u4e2d\")",
        ];
        assert_eq!(values, want);
        assert_eq!(unescape("\\u4e2d"), "中");
    }

    #[test]
    fn ten_thousand_levels_are_refused() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
        let reader = Reader::new(deep.as_bytes()).unwrap();
        assert_eq!(reader.document(&mut |r, _| r.skip()), Err(JsonError::TooDeep));
    }

    /// A byte made `E` turns a time stamp into a number that is JSON by grammar and by nothing else: the three readers of
    /// this program say the same of it.
    #[test]
    fn a_number_that_no_double_holds_is_no_json() {
        let btc = market::Instrument::plain(
            market::SymbolId(0),
            "BTCUSDT",
            market::Increment::decimals(2),
            market::Increment::decimals(2),
        );
        let mut decoder = crate::decode::Decoder::new(&[btc]);
        let nines = |n: usize| "9".repeat(n);
        for (number, holds) in [
            ("1742E85119595".to_owned(), false),
            ("-1e400".to_owned(), false),
            ("1234E678".to_owned(), false),
            (nines(400), false),
            (format!("{}.5", nines(400)), false),
            ("1e308".to_owned(), true),
            ("1e-400".to_owned(), true),
            ("0E5".to_owned(), true),
            ("17425.85119595".to_owned(), true),
        ] {
            let text = format!(r#"{{"e":"other","T":{number}}}"#);
            assert_eq!(accepts(text.as_bytes()), holds, "{text}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), holds, "{text}");
            let market = decoder.decode(text.as_bytes()) != Err(crate::decode::DecodeError::NotJson);
            assert_eq!(market, holds, "{text}");
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            ".{0,8}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::btree_map(".{0,4}", inner, 0..5)
                    .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// The reader accepts exactly the objects that serde_json accepts, also after damage.
        #[test]
        fn agrees_with_serde_json(value in json(), cut in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>(), byte: u8, damage in 0u8..3) {
            let mut text = serde_json::to_vec(&serde_json::json!({"v": value, "w": 1})).unwrap();
            match damage {
                1 => text.truncate(cut.index(text.len())),
                2 => { let i = flip.index(text.len()); text[i] = byte; }
                _ => {}
            }
            let reference = serde_json::from_slice::<serde_json::Value>(&text).is_ok()
                && std::str::from_utf8(&text).is_ok_and(|t| t.trim_start().starts_with('{'));
            prop_assert_eq!(accepts(&text), reference, "{}", String::from_utf8_lossy(&text));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            accepts(&bytes);
        }
    }
}
