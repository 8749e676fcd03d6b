//! Order requests to signed bytes on the WebSocket API ([`writer`]), and the venue's words about orders back to the
//! router ([`reader`]).
//!
//! Two sockets are polled here: the WebSocket API (requests and replies) and the user data stream. Both tell of the
//! same orders; the router takes each fact once, whichever comes first.

mod news;
mod reader;
mod writer;

use binance::gateway::Gateway;
use binance::net::WsConn;
use binance::user::UserDecoder;
use market::{ExecutionReport, Nanos};
use runtime::clock::Clock;
use runtime::latency::Probe;
use runtime::ring::{Rx, Tx};
use runtime::stage::{Stage, Work};

pub use self::news::{GatewayCommand, GatewayNews};
use self::reader::{Outbound, Reader};
pub use self::writer::UNMEASURED;
use self::writer::Writer;
use super::{StampedRequest, Timeline};
use crate::roles::lease::Fence;

/// The ends of the stage's links.
pub struct GatewayLinks {
    /// Lossless.
    pub requests: Rx<StampedRequest>,
    /// Lossless.
    pub commands: Rx<GatewayCommand>,
    /// Lossless: what finds no slot waits in the stage.
    pub reports: Tx<ExecutionReport>,
    /// News; what finds no slot waits too.
    pub news: Tx<GatewayNews>,
    /// The ways of the requests that were written; given up when full.
    pub timelines: Tx<Timeline>,
}

/// The connections of the account, not opened yet.
pub struct GatewayConnections {
    /// WebSocket API.
    pub api: WsConn,
    /// User data stream.
    pub user: WsConn,
    /// User data frames to events.
    pub decoder: UserDecoder,
}

/// The stage.
pub struct GatewayStage {
    /// Requests to frames, replies to reports.
    core: Gateway,
    api: WsConn,
    reader: Reader,
    writer: Writer,
    outbound: Outbound,
    requests: Rx<StampedRequest>,
    commands: Rx<GatewayCommand>,
}

/// Requests written in one duty cycle.
const BATCH: usize = 16;

impl GatewayStage {
    /// Opens the order connection when it is first polled; nothing is sent behind `fence`.
    pub fn new(
        core: Gateway,
        connections: GatewayConnections,
        fence: Fence,
        links: GatewayLinks,
        clock: Clock,
        probe: Probe,
    ) -> Self {
        let GatewayConnections { api, user, decoder } = connections;
        Self {
            core,
            api,
            reader: Reader::new(user, decoder),
            writer: Writer::new(fence, clock, probe, links.timelines),
            outbound: Outbound::new(links.reports, links.news),
            requests: links.requests,
            commands: links.commands,
        }
    }

    fn commands(&mut self) -> bool {
        let mut did = false;
        while let Some(command) = self.commands.pop() {
            did = true;
            match command {
                GatewayCommand::Clock(clock) => self.core.clock_synced(&clock),
                GatewayCommand::UserPath(path) => self.reader.set_user_path(&path),
                GatewayCommand::Report(report) => self.outbound.report(*report),
                GatewayCommand::Symbols(symbols) => {
                    self.core.set_symbols(symbols.clone());
                    self.reader.set_symbols(symbols);
                }
                GatewayCommand::Hold(holds) => {
                    self.core.limits().hold(holds);
                    self.reader.set_held(self.core.limits().holds());
                }
            }
        }
        did
    }

    /// Hands reports and news on; `false` while a report found no room.
    fn flush(&mut self) -> bool {
        let Self { outbound, writer, .. } = self;
        outbound.flush(|id| writer.acknowledged(id))
    }
}

impl Stage for GatewayStage {
    fn name(&self) -> &'static str {
        "gateway"
    }

    /// Reports reach the router in the pass in which they are read, and what it makes of them leaves in it too.
    fn read(&mut self, now_ns: u64) -> Work {
        let now = Nanos(now_ns);
        let mut did = Reader::poll_api(&mut self.core, &mut self.api, &mut self.outbound, now);
        did |= self.reader.poll_user(&mut self.outbound, now);
        self.flush();
        Work::from(did)
    }

    fn poll(&mut self, now_ns: u64) -> Work {
        let now = Nanos(now_ns);
        let mut did = self.commands();
        if self.flush() {
            let Self { core, api, writer, outbound, requests, .. } = self;
            for _ in 0..BATCH {
                let Some(stamped) = requests.pop() else { break };
                writer.send((&mut *core, &mut *api), outbound, &stamped, now);
                did = true;
            }
        }
        self.flush();
        Work::from(did)
    }

    fn rehearse(&mut self, now_ns: u64) {
        std::hint::black_box(self.core.rehearse(Nanos(now_ns)));
    }

    fn housekeep(&mut self, now_ns: u64) {
        self.reader.housekeep(&mut self.core, &mut self.outbound, Nanos(now_ns));
        self.flush();
    }
}
