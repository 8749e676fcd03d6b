//! JSON as Python writes it.

/// Overwrites `NaN`, `Infinity` and `-Infinity` outside of strings, which JSON does not know, by empty text.
pub fn blank_python_numbers(text: &mut [u8]) {
    let mut in_string = false;
    let mut i = 0;
    while i < text.len() {
        match text[i] {
            b'\\' if in_string => i += 1,
            b'"' => in_string = !in_string,
            b'N' | b'I' | b'-' if !in_string => {
                let word =
                    [&b"NaN"[..], b"Infinity", b"-Infinity"].into_iter().find(|w| text[i..].starts_with(w));
                if let Some(word) = word {
                    let gap = &mut text[i..i + word.len()];
                    gap.fill(b' ');
                    // Every reader here takes empty text for a missing number; `null` would not fit over `NaN`.
                    gap[..2].copy_from_slice(b"\"\"");
                    i += word.len() - 1;
                }
            }
            _ => {}
        }
        i += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_words_are_blanked() {
        let mut text = br#"{"a": NaN, "NaN \" NaN": [-Infinity, Infinity, -1], "b": "Infinity"}"#.to_vec();
        blank_python_numbers(&mut text);
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let want = serde_json::json!({"a": "", "NaN \" NaN": ["", "", -1], "b": "Infinity"});
        assert_eq!(value, want);
    }
}
