//! The connections that clients of REST keep open between requests. In a [`super::PolledVenue`] requests come without any,
//! and faults of connections must reach them all the same.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::connection::{self, Admission};
use super::world::World;
use crate::faults::Ending;

/// Connections of one client that wait for its next request.
#[derive(Debug, Default, Clone, Copy)]
struct Idle {
    /// They work.
    open: usize,
    /// They are dead, and their client does not know it yet.
    silent: usize,
}

/// Connections that wait for a request, by the address of their client.
#[derive(Debug, Default)]
pub(super) struct RestConnections(BTreeMap<IpAddr, Idle>);

impl RestConnections {
    /// Takes a connection for a request, one that is kept open or else a new one, the faults willing: what becomes of the
    /// request on it?
    pub(super) fn carry(&mut self, w: &mut World, ip: IpAddr) -> Admission {
        let idle = self.0.entry(ip).or_default();
        if idle.silent > 0 {
            // Its client gives it up with the request.
            idle.silent -= 1;
            return Admission::Ignore;
        }
        if idle.open > 0 {
            idle.open -= 1;
            return Admission::Serve;
        }
        connection::admit(w)
    }

    /// A request was answered: its connection waits for the next one.
    pub(super) fn keep(&mut self, ip: IpAddr) {
        self.0.entry(ip).or_default().open += 1;
    }

    /// All of them end. One that is closed is noticed at once; one that dies without a word, by the next request on it.
    pub(super) fn end(&mut self, how: Ending) {
        for idle in self.0.values_mut() {
            *idle = match how {
                Ending::Close | Ending::Reset => Idle::default(),
                Ending::Silence => Idle { open: 0, silent: idle.silent + idle.open },
            };
        }
    }

    /// The client is gone.
    pub(super) fn client_gone(&mut self, ip: IpAddr) {
        self.0.remove(&ip);
    }
}
