//! Order requests to signed bytes on the order connection. Nothing is sent behind the fence.

use std::collections::VecDeque;

use binance::gateway::{Gateway, Outgoing};
use binance::net::WsConn;
use market::planted::{Bug, planted};
use market::{ClientOrderId, Nanos, OrderRequest};
use runtime::clock::Clock;
use runtime::latency::Probe;
use runtime::ring::Tx;

use super::news::GatewayNews;
use super::reader::Outbound;
use crate::roles::lease::Fence;
use crate::stages::{Hop, StampedRequest, Timeline};

/// Error of a clock that was never compared with the venue's, ns.
pub const UNMEASURED: u64 = Nanos::SECOND;
/// Orders whose acknowledgement is waited for at one time, for the latency alone.
const WRITTEN: usize = 64;

/// See the module's text.
pub struct Writer {
    fence: Fence,
    /// When each of the last orders was written, for the time to the venue's first word.
    written: VecDeque<(ClientOrderId, u64)>,
    clock: Clock,
    probe: Probe,
    timelines: Tx<Timeline>,
}

impl Writer {
    /// Behind this fence.
    pub fn new(fence: Fence, clock: Clock, probe: Probe, timelines: Tx<Timeline>) -> Self {
        Self { fence, written: VecDeque::with_capacity(WRITTEN), clock, probe, timelines }
    }

    /// Sends a request, or says why not.
    pub fn send(
        &mut self,
        (core, api): (&mut Gateway, &mut WsConn),
        outbound: &mut Outbound,
        stamped: &StampedRequest,
        now: Nanos,
    ) {
        let request = &stamped.request;
        let sent_at = self.clock.now_ns();
        if !self.fence.is_open(sent_at) && !planted(Bug::FenceCheckedOnlyWhereDecided) {
            // Another node may act for this account by now; the control thread ends the run.
            return outbound.news(GatewayNews::Fenced);
        }
        if let OrderRequest::New(order) = request {
            outbound.news(GatewayNews::Traded(order.symbol));
        }
        let open = api.is_open();
        // No request may arrive after the lease has ended: the next holder takes what it then finds for the truth.
        let clock_error = core.clock().error_bound().unwrap_or(UNMEASURED);
        let mut window_ms = self.fence.window_ms(sent_at, clock_error, core.config().recv_window_ms);
        if planted(Bug::FenceCheckedOnlyWhereDecided) {
            window_ms = core.config().recv_window_ms;
        }
        if let OrderRequest::New(order) = request {
            // The router reckons with a window from when it decided: a worker that hung sends nothing late.
            let waited = sent_at.saturating_sub(stamped.routed_ns).div_ceil(Nanos::MS);
            let waited = u32::try_from(waited).unwrap_or(u32::MAX);
            window_ms = window_ms.min(order.recv_window_ms.saturating_sub(waited));
        }
        let made =
            if open { core.request(request, window_ms, now) } else { core.request_over_rest(request, now) };
        let outgoing = match made {
            Ok(outgoing) => outgoing,
            Err(refusal) => {
                tracing::warn!(%refusal, "request not sent");
                return outbound.report(refusal.report(request));
            }
        };
        match outgoing {
            Outgoing::Rest(request) => outbound.news(GatewayNews::Rest(request)),
            Outgoing::Frame(frame) => {
                // A send that fails says nothing of the bytes before it; the deadline reports the request unknown.
                let sent = api.send(frame).is_ok();
                let written = self.clock.now_ns();
                if sent {
                    self.measure(stamped, sent_at, written);
                }
            }
        }
    }

    fn measure(&mut self, stamped: &StampedRequest, sent_ns: u64, written: u64) {
        self.probe.record(Hop::Gateway as u8, written - stamped.routed_ns);
        let StampedRequest { request, trace, routed_ns, .. } = *stamped;
        // Telemetry: what finds no room is given up, and the ring counts it.
        let _ = self.timelines.push(Timeline { request, trace, routed_ns, sent_ns, written_ns: written });
        if let OrderRequest::New(order) = stamped.request {
            if stamped.recv_ns != 0 {
                self.probe.record(Hop::TickToOrder as u8, written - stamped.recv_ns);
            }
            if self.written.len() == WRITTEN {
                self.written.pop_front();
            }
            self.written.push_back((order.client_order_id, written));
        }
    }

    /// The venue's first word of an order has come.
    pub fn acknowledged(&mut self, id: ClientOrderId) {
        if let Some(at) = self.written.iter().position(|(written, _)| *written == id) {
            let (_, written) = self.written.remove(at).expect("the place was just found");
            self.probe.record(Hop::Acknowledged as u8, self.clock.now_ns() - written);
        }
    }
}
