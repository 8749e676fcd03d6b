//! Lines of cryptofeed's raw recordings (`raw_data_collection`): a header, what was sent and dialled, replies of REST requests
//! as `<url> -> <seconds>: <reply>`, and frames as `<seconds>: <frame>`.

use market::Nanos;

/// What a line is.
pub(super) enum CryptofeedLine<'a> {
    /// A frame, or another reply.
    Frame(Nanos, &'a [u8]),
    /// A depth snapshot of the symbol.
    Snapshot(Nanos, &'a str, &'a [u8]),
    /// It says nothing of the market.
    Other,
}

/// `None`: no line of cryptofeed.
pub(super) fn line(line: &[u8]) -> Option<CryptofeedLine<'_>> {
    if line.starts_with(b"configuration: ") {
        return Some(CryptofeedLine::Other);
    }
    if line.starts_with(b"http") || line.starts_with(b"ws") {
        let text = std::str::from_utf8(line).ok()?;
        if text.contains(" <- ") || text.contains(" <-> ") {
            return Some(CryptofeedLine::Other);
        }
        let (url, rest) = text.split_once(" -> ")?;
        let (at, reply) = stamped(rest.as_bytes())?;
        let symbol = url.split_once("symbol=").and_then(|(_, rest)| rest.split('&').next());
        return Some(match symbol {
            Some(symbol) if super::is_bare_snapshot(reply) => CryptofeedLine::Snapshot(at, symbol, reply),
            _ => CryptofeedLine::Other,
        });
    }
    let (at, frame) = stamped(line)?;
    Some(CryptofeedLine::Frame(at, frame))
}

/// `<seconds>: <text>`: a decimal number as Python writes it, to the nanosecond.
fn stamped(text: &[u8]) -> Option<(Nanos, &[u8])> {
    let colon = text.windows(2).take(32).position(|two| two == b": ")?;
    let (number, frame) = (std::str::from_utf8(&text[..colon]).ok()?, &text[colon + 2..]);
    let (seconds, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if seconds.is_empty() || fraction.len() > 9 || !digits(seconds) || !digits(fraction) {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<9}").parse().ok()?;
    let seconds: u64 = seconds.parse().ok()?;
    Some((Nanos(seconds.checked_mul(Nanos::SECOND)?.checked_add(fraction)?), frame))
}
