//! Histograms as an HdrHistogram interval log (V2, compressed), for the plotters that read it.

use std::io::Write as _;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use hdrhistogram::Histogram;

use crate::ways::{Ways, histogram_of};

const V2: u32 = 0x1c84_9303 | 0x10;
const V2_COMPRESSED: u32 = 0x1c84_9304 | 0x10;

/// ZigZag and LEB128 in nine bytes at most, as HdrHistogram has it.
fn varint(value: i64, out: &mut Vec<u8>) {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    for _ in 0..8 {
        if left < 0x80 {
            out.push(left as u8);
            return;
        }
        out.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

/// Counts by place, runs of zeros as one negative number.
fn counts(h: &Histogram<u64>) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut zeros, mut left) = (0i64, h.len());
    // `iter_all` gives each place once; behind the largest value nothing is written.
    for place in h.iter_all() {
        if left == 0 {
            break;
        }
        left -= place.count_at_value();
        match place.count_at_value() {
            0 => zeros += 1,
            n => {
                if zeros > 0 {
                    varint(-zeros, &mut out);
                    zeros = 0;
                }
                varint(i64::try_from(n).unwrap_or(i64::MAX), &mut out);
            }
        }
    }
    out
}

/// V2 of a histogram.
fn encode(h: &Histogram<u64>) -> Vec<u8> {
    let counts = counts(h);
    let mut out = Vec::with_capacity(counts.len() + 40);
    out.extend(V2.to_be_bytes());
    out.extend((counts.len() as u32).to_be_bytes());
    // Normalising index offset.
    out.extend(0u32.to_be_bytes());
    out.extend(u32::from(h.sigfig()).to_be_bytes());
    out.extend(h.low().to_be_bytes());
    out.extend(h.high().to_be_bytes());
    out.extend(1.0f64.to_be_bytes());
    out.extend(counts);
    out
}

/// The compressed form.
fn compressed(h: &Histogram<u64>) -> String {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    // Writing to memory does not fail.
    let packed = zlib.write_all(&encode(h)).and_then(|()| zlib.finish()).unwrap_or_default();
    let mut out = V2_COMPRESSED.to_be_bytes().to_vec();
    out.extend((packed.len() as u32).to_be_bytes());
    out.extend(packed);
    BASE64_STANDARD.encode(out)
}

/// The paths of a run, one line a path and figure.
pub fn text(ways: &Ways, seconds: f64) -> String {
    let mut out = "#[Histogram log format version 1.3]\n#[StartTime: 0.0 (seconds since epoch)]\n\
                   \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n"
        .to_owned();
    for (path, ways) in &ways.paths {
        for (what, h) in [
            ("within", histogram_of(ways, |w| w.within)),
            ("wire", histogram_of(ways, |w| w.wire)),
            ("wire_response", histogram_of(ways, |w| w.wire_response)),
        ] {
            // The interval's largest value in ms, as its readers expect.
            let max = h.max() as f64 / 1e6;
            let tag = format!("{}_{what}", path.key());
            out += &format!("Tag={tag},0.000,{seconds:.3},{max:.3},{}\n", compressed(&h));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::ZlibDecoder;

    use super::*;

    /// Reads back what was written, by the format's own rules.
    fn decode(text: &str) -> Vec<(usize, u64)> {
        let bytes = BASE64_STANDARD.decode(text).unwrap();
        assert_eq!(bytes[..4], V2_COMPRESSED.to_be_bytes());
        let mut plain = Vec::new();
        ZlibDecoder::new(&bytes[8..]).read_to_end(&mut plain).unwrap();
        assert_eq!(plain[..4], V2.to_be_bytes());
        assert_eq!(u32::from_be_bytes(plain[4..8].try_into().unwrap()) as usize, plain.len() - 40);
        let (mut i, mut place, mut out) = (40, 0usize, Vec::new());
        while i < plain.len() {
            let (mut raw, mut shift) = (0u64, 0);
            loop {
                let byte = plain[i];
                i += 1;
                let last = shift == 56;
                raw |= u64::from(if last { byte } else { byte & 0x7f }) << shift;
                shift += 7;
                if last || byte & 0x80 == 0 {
                    break;
                }
            }
            let value = (raw >> 1) as i64 ^ -((raw & 1) as i64);
            if value < 0 {
                place += value.unsigned_abs() as usize;
            } else {
                out.push((place, value as u64));
                place += 1;
            }
        }
        out
    }

    #[test]
    fn a_histogram_is_read_back_as_it_was() {
        let mut h = runtime::latency::histogram();
        for v in [1, 1, 1, 700, 2_047, 2_048, 5_000, 123_456_789] {
            h.saturating_record(v);
        }
        let read = decode(&compressed(&h));
        assert_eq!(read.iter().map(|(_, n)| n).sum::<u64>(), 8);
        // Below 2048 each value has its own place.
        assert_eq!(read[..3], [(1, 3), (700, 1), (2_047, 1)]);
        let values: Vec<u64> = h.iter_recorded().map(|v| v.count_at_value()).collect();
        assert_eq!(read.iter().map(|(_, n)| *n).collect::<Vec<_>>(), values);
    }
}
