//! What became of an order: replies lost, wrong, late; reports lost, doubled, late.

use venue::faults::{Ending, Fault, Rule};

use super::{in_order, setup};

const PLACE: &str = "order.place";
const CANCEL: &str = "order.cancel";
const STATUS: &str = "order.status";
const UPDATES: &str = "user@ORDER_TRADE_UPDATE@*";

fn error(on: &str, code: i32, status: u16, msg: &str, executed: bool) -> Fault {
    Fault::ReplyError { on: on.into(), code, msg: msg.into(), status, executed }
}

#[test]
fn row_14_a_lost_acknowledgement_is_made_good_by_the_user_stream() {
    setup(14).start(async |node| {
        for _ in 0..3 {
            node.survives(Fault::ReplyNever { on: PLACE.into(), executed: true }).await;
        }
        node.survives(Fault::ReplyDelay { on: PLACE.into(), ms: 1_500 }).await;
        node.trades_again().await;
        node.finish().await;
    });
}

#[test]
fn row_15_no_reply_ever_executed_or_not() {
    setup(15).start(async |node| {
        for executed in [false, true, false] {
            node.survives(Fault::ReplyNever { on: PLACE.into(), executed }).await;
        }
        node.survives(Fault::ReplyNever { on: CANCEL.into(), executed: false }).await;
        node.survives(Fault::ReplyNever { on: CANCEL.into(), executed: true }).await;
        node.trades_again().await;
        node.finish().await;
    });
}

#[test]
fn row_15_connection_reset_after_the_request_executed_or_not() {
    setup(16).start(async |node| {
        for executed in [true, false, true] {
            node.survives(Fault::ReplyLost { on: PLACE.into(), executed }).await;
        }
        node.survives(Fault::ReplyLost { on: CANCEL.into(), executed: false }).await;
        node.trades_again().await;
        node.finish().await;
    });
}

#[test]
fn row_15_unknown_outcomes_of_the_backend_executed_or_not() {
    setup(17).start(async |node| {
        for executed in [true, false] {
            node.survives(error(PLACE, -1006, 400, "An unexpected response was received.", executed)).await;
            node.survives(error(
                PLACE,
                -1007,
                408,
                "Timeout waiting for response from backend server.",
                executed,
            ))
            .await;
            let text = "Unknown error, please check your request or try again later.";
            node.survives(error(PLACE, 0, 503, text, executed)).await;
            node.survives(error(PLACE, 0, 408, "", executed)).await;
            node.survives(error(
                CANCEL,
                -1007,
                408,
                "Timeout waiting for response from backend server.",
                executed,
            ))
            .await;
        }
        node.trades_again().await;
        let summary = node.finish().await;
        assert!(summary.alerts.contains_key("OrderUnknown"), "{}", summary.text());
    });
}

#[test]
fn row_16_a_definite_failure_leads_to_a_new_decision() {
    setup(18).start(async |node| {
        node.survives(error(PLACE, 0, 503, "Service Unavailable.", false)).await;
        node.survives(error(PLACE, -2010, 400, "NEW_ORDER_REJECTED", false)).await;
        node.survives(error(PLACE, -5022, 400, "Due to the order could not be executed as maker.", false))
            .await;
        node.trades_again().await;
        node.finish().await;
    });
}

#[test]
fn row_17_doubled_reordered_and_late_reports_count_once() {
    setup(19).start(async |node| {
        let doubled = node.inject(Fault::Duplicate { stream: UPDATES.into() });
        node.trades_again().await;
        assert!(node.venue.hits(doubled) > 4);
        node.venue.clear_faults();
        let reordered = node.inject(Fault::Reorder { stream: UPDATES.into() });
        node.trades_again().await;
        assert!(node.venue.hits(reordered) > 2);
        node.venue.clear_faults();
        node.inject(Fault::ReplayEvents { count: 64 });
        for _ in 0..2 {
            node.holds().await;
            node.inject(Fault::Disconnect { route: "private".into(), how: Ending::Reset });
            node.until("the loss was noticed", |now| !now.seen.gate.user_stream).await;
            node.until("in order after old events were told again", in_order).await;
        }
        node.trades_again().await;
        node.venue.clear_faults();
        let late = node.inject(Fault::Late { stream: UPDATES.into(), ms: 700 });
        node.trades_again().await;
        assert!(node.venue.hits(late) > 4);
        node.finish().await;
    });
}

#[test]
fn row_17_a_lost_fill_report_is_made_good_by_the_venues_list_of_fills() {
    setup(20).start(async |node| {
        for _ in 0..3 {
            node.survives(Fault::Drop { stream: "user@ORDER_TRADE_UPDATE@TRADE".into() }).await;
        }
        node.trades_again().await;
        let summary = node.finish().await;
        assert!(!summary.alerts.contains_key("ReconcileMismatch"), "{}", summary.text());
    });
}

#[test]
fn row_19_a_cancel_that_meets_a_fill_or_an_end() {
    setup(21).start(async |node| {
        for executed in [true, false, true] {
            node.survives(error(CANCEL, -2011, 400, "Unknown order sent.", executed)).await;
        }
        // The cancel arrives late: there is time for a fill before it.
        node.inject(Rule { fault: Fault::RequestDelay { on: CANCEL.into(), ms: 300 }, times: 0, skip: 0 });
        node.trades_again().await;
        node.venue.clear_faults();
        node.until("in order", in_order).await;
        node.finish().await;
    });
}

#[test]
fn row_19_every_cancel_comes_too_late() {
    setup(26).start(async |node| {
        let whole = node.inject(Rule {
            fault: Fault::FillFirst { symbol: "*".into(), quantity: None },
            times: 3,
            skip: 0,
        });
        node.until("three cancels met a fill", |now| now.venue.hits(whole) == 3).await;
        node.until("in order", in_order).await;
        node.trades_again().await;
        node.finish().await;
    });
}

#[test]
fn row_19_three_cancels_without_effect_lead_to_a_question() {
    setup(22).start(async |node| {
        let id = node.inject(Fault::ReplyNever { on: CANCEL.into(), executed: false });
        node.until("cancels came to nothing", |now| now.alerts("StuckCancel") >= 1).await;
        assert!(node.venue.hits(id) >= 3);
        node.venue.clear_faults();
        node.until("in order", in_order).await;
        node.trades_again().await;
        node.finish().await;
    });
}

#[test]
fn row_15_an_order_that_is_not_visible_yet_is_no_rejected_order() {
    setup(23).start(async |node| {
        node.inject(Fault::ReadLag { ms: 800 });
        for executed in [true, true] {
            let never = Fault::ReplyNever { on: PLACE.into(), executed };
            let lost = Fault::Drop { stream: "user@ORDER_TRADE_UPDATE@NEW".into() };
            node.inject_once(lost);
            node.survives(never).await;
        }
        node.trades_again().await;
        node.finish().await;
    });
}

#[test]
fn row_15_a_duplicate_id_means_that_the_first_attempt_lives() {
    setup(24).start(async |node| {
        for executed in [true, false] {
            node.survives(error(PLACE, -4116, 400, "Client order id is duplicated.", executed)).await;
        }
        node.trades_again().await;
        node.finish().await;
    });
}

#[test]
fn row_15_questions_that_fail_are_asked_again() {
    setup(25).start(async |node| {
        node.inject(Rule { fault: error(STATUS, -1007, 408, "Timeout", true), times: 2, skip: 0 });
        node.survives(Fault::ReplyNever { on: PLACE.into(), executed: false }).await;
        node.inject(Rule {
            fault: Fault::ReplyNever { on: STATUS.into(), executed: true },
            times: 2,
            skip: 0,
        });
        node.survives(Fault::ReplyNever { on: PLACE.into(), executed: false }).await;
        node.trades_again().await;
        node.finish().await;
    });
}
