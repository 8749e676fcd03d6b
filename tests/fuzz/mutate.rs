//! How inputs are spoiled.

/// A small generator; the same seed gives the same sequence everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `n`; 0 where `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.next() % n as u64) as usize }
    }
}

/// Numbers at the edges of what is counted somewhere.
const NUMBERS: [&str; 28] = [
    "0",
    "-0",
    "1",
    "-1",
    "0.0",
    "-0.0",
    "1e-9",
    "1e308",
    "1e309",
    "-1e400",
    "0e999999999999",
    "255",
    "256",
    "65535",
    "65536",
    "2147483648",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999999999999999",
    "0.00000000000000000000000000001",
    "00",
    "NaN",
];

/// Pieces that formats are made of.
const PIECES: [&[u8]; 30] = [
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"true",
    b"false",
    b"\\u0000",
    b"\\ud800",
    b"\\\"",
    b"\\",
    b"\n",
    b"\r\n",
    b"\t",
    b" ",
    b"\0",
    b"\xff",
    b"\xc3\xa9",
    b"\xf0\x9f\x90\xac",
    b"- ",
    b"&a ",
    b"*a ",
    b"!!str ",
    b"# ",
    b"\"\"",
    b"{}",
    b"[]",
];

/// Spoils inputs, with words of the corpus they come from.
pub struct Mutator {
    words: Vec<Vec<u8>>,
}

impl Mutator {
    pub fn new(corpus: &[Vec<u8>]) -> Self {
        let mut words: Vec<Vec<u8>> = corpus.iter().flat_map(|input| tokens(input)).collect();
        words.sort();
        words.dedup();
        Self { words }
    }

    /// One to four changes.
    pub fn mutate(&self, input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
        for _ in 0..=random.below(4) {
            self.once(input, corpus, random);
        }
    }

    fn once(&self, input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
        let at = random.below(input.len() + 1);
        let some = |random: &mut Random, most: usize| (at + 1 + random.below(most)).min(input.len());
        match random.below(12) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.next() as u8,
            2 => {
                let end = some(random, 8);
                input.drain(at.min(end)..end);
            }
            3 => {
                let end = some(random, 200);
                input.drain(at.min(end)..end);
            }
            4 => {
                let end = some(random, 64);
                let piece = input[at.min(end)..end].to_vec();
                let to = random.below(input.len() + 1);
                input.splice(to..to, piece);
            }
            5 => input.truncate(at),
            6 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                input.truncate(at);
                input.extend(&other[from..]);
            }
            7 => insert(input, at, PIECES[random.below(PIECES.len())]),
            8 if !self.words.is_empty() => insert(input, at, &self.words[random.below(self.words.len())]),
            // A whole token in the place of another keeps the rest of the text whole: that is how one gets deep.
            9 | 10 => {
                let numeric = |b: &u8| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E');
                replace(input, at, numeric, NUMBERS[random.below(NUMBERS.len())].as_bytes());
            }
            _ if !self.words.is_empty() => {
                let word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'@' | b'.' | b'-');
                replace(input, at, word, &self.words[random.below(self.words.len())].clone());
            }
            _ => {}
        }
    }
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    input.splice(at..at, piece.iter().copied());
}

/// Puts `piece` in the place of the first token from `at` on whose bytes are all `of`.
fn replace(input: &mut Vec<u8>, at: usize, of: impl Fn(&u8) -> bool, piece: &[u8]) {
    let Some(first) = input[at..].iter().position(&of).map(|n| at + n) else { return };
    let end = input[first..].iter().position(|b| !of(b)).map_or(input.len(), |n| first + n);
    input.splice(first..end, piece.iter().copied());
}

fn tokens(input: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    input
        .split(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b'@' | b'.' | b'-')))
        .filter(|token| (1..32).contains(&token.len()))
        .map(<[u8]>::to_vec)
}
