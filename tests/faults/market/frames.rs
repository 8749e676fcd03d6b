//! Faults of frames: malformed, cut, oversize, deep, strange, with numbers that are none.

use venue::faults::{Fault, Rule};

use super::{ETH, all_well, depth};
use crate::harness::{Node, Setup};

/// Replaces one frame of the stream, waits until it is refused, and until the book is whole again.
async fn refused(node: &Node, text: &str) {
    let before = node.seen().book.rejected;
    node.inject_once(Fault::Replace { stream: depth(), text: text.into() });
    node.until("the frame is refused whole", |now| now.seen.book.rejected > before).await;
    node.until("what it held is taken again", all_well).await;
}

#[test]
fn row_08_malformed_frames_are_refused_whole_and_their_book_is_taken_again() {
    Setup::new(31).start(async |node| {
        for text in [
            "",
            "not json",
            "{\"e\":\"depthUpdate\"",
            "{}}",
            "[1,2",
            "{\"e\":\"depthUpdate\",\"s\":\"ETHUSDT\"}x",
        ] {
            refused(&node, text).await;
        }
        node.inject_once(Fault::Truncate { stream: depth() });
        node.until("cut in the middle", |now| now.seen.book.rejected >= 7).await;
        node.until("and healed", all_well).await;
        let summary = node.finish().await;
        let (b, text) = (&summary.book, summary.text());
        assert_eq!((b.rejected, b.gaps), (7, 7), "{text}");
        assert!(summary.connections.values().all(|c| c.opened == 1 && c.replaced == 0), "{text}");
    });
}

#[test]
fn row_08_too_many_bad_frames_replace_the_connection() {
    Setup::new(32).config(|c| c.market.max_bad_frames_per_min = 5).start(async |node| {
        node.inject(Rule { fault: Fault::Truncate { stream: "*@markPrice@1s".into() }, times: 8, skip: 0 });
        node.until("the connection is replaced", |now| now.seen.connections["market"].replaced >= 1).await;
        node.until("marks are back", |now| all_well(now) && now.seen.book.rejected == 8).await;
        let summary = node.finish().await;
        assert_eq!(summary.alerts.get("BadFrames"), Some(&1), "{}", summary.text());
        assert!(summary.connections["public"].replaced == 0, "{}", summary.text());
    });
}

#[test]
fn row_09_an_oversize_frame_closes_the_connection_with_the_reason() {
    Setup::new(33).start(async |node| {
        node.inject_once(Fault::Oversize { stream: depth(), bytes: 64 << 20 });
        node.until("closed", |now| now.seen.connections["public"].lost.contains_key("protocol")).await;
        node.until("and back", |now| now.seen.connections["public"].opened == 2 && all_well(now)).await;
        node.finish().await;
    });
}

#[test]
fn row_09_deep_nesting_is_refused() {
    Setup::new(34).start(async |node| {
        refused(&node, &format!("{}{}", "[".repeat(10_000), "]".repeat(10_000))).await;
        refused(&node, &"{\"a\":".repeat(10_000)).await;
        node.finish().await;
    });
}

#[test]
fn row_10_unknown_fields_other_types_and_foreign_symbols_do_no_harm() {
    Setup::new(35).start(async |node| {
        for stream in ["*@depth@100ms", "*@aggTrade", "*@markPrice@1s"] {
            node.inject(Rule { fault: Fault::StrangeFields { stream: stream.into() }, times: 40, skip: 0 });
        }
        let events = node.seen().book.events;
        node.until("frames of a later version pass", |now| now.seen.book.events > events + 300).await;
        assert_eq!((node.seen().book.rejected, node.seen().book.gaps), (0, 0));
        let mark = |symbol: &str, price: &str| {
            format!(r#"{{"e":"markPriceUpdate","E":1,"s":"{symbol}","p":"{price}","i":"1","r":"","T":1}}"#)
        };
        let ignored = node.seen().book.ignored;
        for symbol in ["币安人生USDT", "NOSUCHUSDT"] {
            node.inject_once(Fault::Replace {
                stream: "ethusdt@markPrice@1s".into(),
                text: mark(symbol, "1"),
            });
        }
        node.until("symbols that nobody asked for are ignored", |now| now.seen.book.ignored >= ignored + 2)
            .await;
        // A needed field is missing, twice there, or of a wrong type.
        for (i, text) in [
            mark(ETH, "1").replace(r#""p":"1","#, ""),
            mark(ETH, "1").replace(r#""p":"1","#, r#""p":"1","p":"2","#),
            mark(ETH, "1").replace(r#""p":"1","#, r#""p":[1],"#),
        ]
        .into_iter()
        .enumerate()
        {
            node.inject_once(Fault::Replace { stream: "ethusdt@markPrice@1s".into(), text });
            node.until("refused", |now| now.seen.book.rejected == i as u64 + 1).await;
        }
        let summary = node.finish().await;
        assert_eq!(summary.book.gaps, 0, "{}", summary.text());
    });
}

#[test]
fn row_11_numbers_that_are_none_never_reach_a_book_or_a_signal() {
    Setup::new(36).start(async |node| {
    for px in ["NaN", "Infinity", "1e400", "-1", "0", "99999999999999999999999999", "1.000000001", ""] {
        let text = format!(
            r#"{{"e":"depthUpdate","E":1,"T":1,"s":"ETHUSDT","U":1,"u":2,"pu":0,"b":[["{px}","1"]],"a":[]}}"#
        );
        refused(&node, &text).await;
    }
    for px in ["NaN", "1e400", "-5", "0"] {
        let text =
            format!(r#"{{"e":"markPriceUpdate","E":1,"s":"ETHUSDT","p":"{px}","i":"1","r":"","T":1}}"#);
        let before = node.seen().book.rejected;
        node.inject_once(Fault::Replace { stream: "ethusdt@markPrice@1s".into(), text });
        node.until("refused", |now| now.seen.book.rejected > before).await;
    }
    let summary = node.finish().await;
    assert_eq!((summary.book.rejected, summary.book.gaps), (12, 8), "{}", summary.text());
});
}
