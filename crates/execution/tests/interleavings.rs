//! Every order of arrival, and every loss, of the reports on two orders: a take-profit order that is partly filled and
//! then cancelled, and the market order of a stop that closes the rest.
//!
//! Six reports: 720 orders of arrival, and for each of them all 64 subsets that may be lost. Whatever came, asking
//! the venue must lead to the same end: flat, one outcome, nothing counted twice.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

mod common;

use common::*;
use market::*;

fn permutations(items: &mut Vec<usize>, k: usize, out: &mut Vec<Vec<usize>>) {
    if k == items.len() {
        out.push(items.clone());
        return;
    }
    for i in k..items.len() {
        items.swap(k, i);
        permutations(items, k + 1, out);
        items.swap(k, i);
    }
}

struct Scenario {
    harness: Harness,
    tp: NewOrder,
    exit: NewOrder,
    reports: [ExecutionReport; 6],
}

fn scenario() -> Scenario {
    let mut d = Harness::holding(1, 100);
    let tp = d.tp.expect("its take-profit order");
    d.exit(ExitReason::Stop);
    assert_eq!(d.sent_cancel(), tp.client_order_id);
    let exit = d.sent_new();
    let trade = |d: &Harness, o: &NewOrder, id, last, cum, px, maker| ExecutionReport {
        exec_type: ExecType::Trade,
        status: OrderStatus::PartiallyFilled,
        last_px: Px(px),
        last_qty: Qty(last),
        cum_qty: Qty(cum),
        trade_id: id,
        commission: Amount(id as i64),
        maker,
        ..d.base(o)
    };
    let end = |d: &Harness, o: &NewOrder, exec_type, status, cum| ExecutionReport {
        exec_type,
        status,
        cum_qty: Qty(cum),
        ..d.base(o)
    };
    let reports = [
        trade(&d, &tp, 101, 40, 40, tp.px.0, true),
        end(&d, &tp, ExecType::Canceled, OrderStatus::Canceled, 40),
        end(&d, &exit, ExecType::New, OrderStatus::New, 0),
        trade(&d, &exit, 102, 25, 25, 9_990, false),
        trade(&d, &exit, 103, 35, 60, 9_980, false),
        end(&d, &exit, ExecType::Expired, OrderStatus::Expired, 60),
    ];
    Scenario { harness: d, tp, exit, reports }
}

impl Scenario {
    /// The venue answers what it is asked, for up to 30 s.
    fn settle(&mut self) {
        for _ in 0..300 {
            let d = &mut self.harness;
            while let Some(r) = d.requests.pop_front() {
                match r {
                    OrderRequest::Query(q) | OrderRequest::Cancel(q)
                        if q.client_order_id == self.tp.client_order_id =>
                    {
                        d.says(&self.tp, ExecType::Status, OrderStatus::Canceled, 40, 0);
                    }
                    OrderRequest::Query(q) if q.client_order_id == self.exit.client_order_id => {
                        d.says(&self.exit, ExecType::Status, OrderStatus::Expired, 60, 0);
                    }
                    // Nothing is left to reduce: another exit is refused.
                    OrderRequest::New(o) => {
                        assert!(o.reduce_only);
                        d.says(&o, ExecType::Rejected, OrderStatus::Rejected, 0, -2022);
                    }
                    other => panic!("{other:?}"),
                }
            }
            d.wait(100);
            if d.requests.is_empty() && d.router.orders().live().next().is_none() && !d.outcomes.is_empty() {
                break;
            }
        }
    }

    fn check(&mut self, complete: bool, what: &str) {
        let d = &mut self.harness;
        assert_eq!(d.router.position(SYM).qty, Qty::ZERO, "{what}");
        assert_eq!(d.outcomes.len(), 1, "{what}: {:?}", d.outcomes);
        let Outcome::Exited(x) = d.outcome() else { panic!("{what}") };
        if complete {
            let value = 40 * self.tp.px.0 + 25 * 9_990 + 35 * 9_980;
            assert_eq!(x.avg_px, value as f64 / 10_000.0, "{what}");
            assert_eq!((x.commission, x.maker_share), (Amount(306), 0.4), "{what}");
            assert_eq!(d.router.position(SYM).realised, Amount((value - 1_000_000) * 10_000), "{what}");
        }
        let cum = |id| d.router.orders().iter().find(|o| o.id == id).expect("a remembered order").cum;
        assert_eq!(cum(self.tp.client_order_id), Qty(40), "{what}");
        assert_eq!(cum(self.exit.client_order_id), Qty(60), "{what}");
        assert!(d.router.orders().live().next().is_none(), "{what}");
    }
}

#[test]
fn every_order_of_arrival_and_every_loss() {
    let mut orders = Vec::new();
    permutations(&mut (0..6).collect(), 0, &mut orders);
    assert_eq!(orders.len(), 720);
    for order in &orders {
        for lost in 0..64u32 {
            let mut s = scenario();
            for &k in order.iter().filter(|k| lost & (1 << **k) == 0) {
                s.harness.at(1);
                let r = s.reports[k];
                s.harness.report(r);
            }
            s.settle();
            s.check(lost == 0, &format!("order {order:?} lost {lost:06b}"));
        }
    }
}

#[test]
fn every_order_of_arrival_told_twice() {
    let mut orders = Vec::new();
    permutations(&mut (0..6).collect(), 0, &mut orders);
    for order in &orders {
        let mut s = scenario();
        for &k in order.iter().chain(order) {
            s.harness.at(1);
            let r = s.reports[k];
            s.harness.report(r);
        }
        s.settle();
        s.check(true, &format!("order {order:?} twice"));
        assert_eq!(s.harness.router.stats().duplicate_reports, 3);
    }
}
