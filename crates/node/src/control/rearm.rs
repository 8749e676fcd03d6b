//! Letting trading go on after something latched (`dolphin rearm --reason`): the order comes by a file of this machine or
//! through memory, is carried out once by the router, and is answered where it came from.

use std::path::Path;

use execution::RearmError;
use market::Nanos;
use memory::WriteBehind;
use memory::schema::{CONTROL, Deployment, FromMemory, RearmOrder};
use serde_json::json;

use super::state::Control;
use crate::day::SharedDay;
use crate::killed::{rearm_file, rearm_report_file};
use crate::stages::router::RouterCommand;

/// Between two looks for the file.
const LOOK_NS: u64 = 200 * Nanos::MS;

/// Orders to rearm, and where their answers go.
#[derive(Debug, Default)]
pub(super) struct Rearming {
    day: SharedDay,
    writes: Option<(WriteBehind, Deployment)>,
    look_at: u64,
    /// Ids in the order in which the router answers.
    asked: Vec<String>,
}

impl Control {
    /// Where the router's day is kept, and answers are written.
    pub fn keeps_day(&mut self, day: SharedDay, writes: WriteBehind, deployment: crate::config::Deployment) {
        // The wallet that was kept holds the transfers before it; those after it are no loss of the day.
        if let Some(state) = day.get().state.filter(|state| state.wallet.is_some()) {
            self.private.transfers_since_ms =
                self.private.transfers_since_ms.min(state.wallet_as_of.0.millis());
        }
        self.rearming.day = day;
        self.rearming.writes = Some((writes, deployment.into()));
    }

    /// Is there an order?
    pub(super) fn look_for_rearm(&mut self, now: u64) {
        if now < self.rearming.look_at {
            return;
        }
        self.rearming.look_at = now + LOOK_NS;
        if let Some(order) = self.rearm_in_a_file() {
            self.rearm(&order);
        }
        let order = self.lease_view.as_ref().and_then(|view| view.borrow().rearm.clone());
        if let Some(order) = order {
            self.rearm(&order);
        }
    }

    fn rearm_in_a_file(&self) -> Option<RearmOrder> {
        let file = rearm_file(self.orders.kill_file.as_deref()?);
        let text = self.files.read(&file).ok().flatten()?;
        if let Err(error) = self.files.remove(&file) {
            tracing::error!("{} cannot be removed and is not followed: {error}", file.display());
            return None;
        }
        RearmOrder::from_memory(&text).inspect_err(|e| tracing::error!("{}: {e}", file.display())).ok()
    }

    fn rearm(&mut self, order: &RearmOrder) {
        let kept = self.rearming.day.get();
        if kept.rearm == order.id || self.rearming.asked.contains(&order.id) {
            return;
        }
        // What latched after the order was given is not what it was given for.
        let later = kept.state.as_ref().and_then(|s| s.latches.iter().map(|l| l.at).max());
        if later.is_some_and(|at| at > order.at) {
            tracing::info!("an order to rearm is older than what latched: it is passed over");
            return self.rearming.day.rearmed(&order.id);
        }
        tracing::warn!("rearmed by {}: {}", order.by, order.reason);
        self.rearming.asked.push(order.id.clone());
        let (day, reason) = (order.day, order.reason.as_str().into());
        self.router_commands.push_back(RouterCommand::Rearm { day, reason });
    }

    /// The router has carried one out, or says why not.
    pub(super) fn rearmed(&mut self, done: Result<(), RearmError>) {
        if self.rearming.asked.is_empty() {
            return;
        }
        let id = self.rearming.asked.remove(0);
        match done {
            Ok(()) => tracing::warn!("what had latched is lifted; entries go on once the venue was compared"),
            Err(error) => tracing::info!("nothing is lifted: {error}"),
        }
        self.rearming.day.rearmed(&id);
        let why = done.err().map(|e| e.to_string());
        let answer = json!({ "id": id, "done": done.is_ok(), "why": why }).to_string();
        if let Some(file) = self.orders.kill_file.as_deref() {
            self.answer(&rearm_report_file(file), &answer);
        }
        if let Some((writes, deployment)) = &self.rearming.writes {
            // A refusal (too much waits) is counted and logged by the writer behind.
            let _ = writes.put(CONTROL, deployment.rearm_report_key(), answer);
        }
    }

    fn answer(&self, file: &Path, text: &str) {
        if let Err(error) = self.files.write(file, text) {
            tracing::error!("cannot write {}: {error}", file.display());
        }
    }
}
