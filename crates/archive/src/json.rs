//! JSON as Python writes it.

/// Overwrites `NaN`, `Infinity` and `-Infinity` outside of strings by empty text.
pub(crate) fn blank_python_numbers(text: &mut [u8]) {
    let mut in_string = false;
    let mut i = 0;
    while i < text.len() {
        match text[i] {
            b'\\' if in_string => i += 1,
            b'"' => in_string = !in_string,
            b'N' | b'I' | b'-' if !in_string => {
                let word = [&b"NaN"[..], b"Infinity", b"-Infinity"].into_iter().find(|w| text[i..].starts_with(w));
                if let Some(word) = word {
                    let gap = &mut text[i..i + word.len()];
                    gap.fill(b' ');
                    // Empty text stands for a missing number, too to every reader here: `null` would not fit over `NaN`.
                    gap[..2].copy_from_slice(b"\"\"");
                    i += word.len() - 1;
                }
            }
            _ => {}
        }
        i += 1;
    }
}
