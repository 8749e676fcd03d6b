//! The one writer of a deployment in the role all: it holds the same lease as a node of the role alpha would.
//!
//! A start takes what is free, waits for the time to live of a holder that is dead, and gives up where the holder lives:
//! it names it and exits 4. Nobody stands by for a node of the role all, so memory that goes away afterwards shuts nothing
//! (SPEC §12, invariant 5); what is written carries the number of the lease, and when memory says that somebody else has it
//! the run ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use market::Nanos;
use memory::schema::Kill;
use memory::{Lease, LeaseConfig};
use tokio::sync::watch;
use tokio::time::Instant;

use super::lease::{Fence, Keeper, Keeping, LeaseView};
use crate::config::{Config, Deployment};
use crate::environment::Environment;
use crate::error::Failure;
use crate::killed;
use crate::memory_link::MemoryLink;
use crate::options::Options;

/// Between two looks at the lease.
const LOOK: Duration = Duration::from_millis(10);

/// The key of a deployment's lease.
pub const fn lease_key(deployment: Deployment) -> &'static str {
    match deployment {
        Deployment::Blue => "alpha_blue",
        Deployment::Green => "alpha_green",
    }
}

/// Begins to ask for the lease of the deployment, on memory's thread. Whoever drops the sender does not end it.
pub fn ask(
    link: &MemoryLink,
    options: &Options,
    (owner, fence): (&str, &Fence),
    alone: bool,
    environment: &Environment,
) -> Result<Asked, Failure> {
    let (config, clock) = (&options.config, &environment.clock);
    let refused = |e: memory::MemoryError| Failure::usage(format!("memory: {e}"));
    let deployment = memory::schema::Deployment::from(config.memory.deployment);
    let asked = LeaseConfig {
        key: lease_key(config.memory.deployment).to_owned(),
        owner: owner.to_owned(),
        identity: environment.entropy.next_u64(),
        ttl: Duration::from_millis(config.roles.lease_ttl_ms),
        kill: Some(deployment.kill_key()),
    };
    let lease = Lease::new(link.memory().clone(), asked).map_err(refused)?;
    let known = killed::known(options.orders.kill_file.as_deref(), &*environment.files);
    let keeping = Keeping { owner: owner.to_owned(), deployment, alone, late: late(config), known };
    let (keeper, view) = Keeper::new(
        lease,
        (link.memory().clone(), link.writes().clone()),
        keeping,
        clock.clone(),
        fence.clone(),
    );
    let (stop, stopped) = watch::channel(false);
    let task = link.spawn("lease", keeper.keep(stopped));
    Ok(Asked { view, stop, task })
}

/// The lease is being asked for.
pub struct Asked {
    /// How it stands.
    pub view: watch::Receiver<LeaseView>,
    /// Tells it to end and to give the lease up.
    pub stop: watch::Sender<bool>,
    /// It, on memory's thread.
    pub task: tokio::task::JoinHandle<()>,
}

/// For how long a request of an earlier holder may be on its way, and the largest error of our idea of the venue's time.
fn late(config: &Config) -> (Duration, Duration) {
    let r = &config.router;
    (Duration::from_millis(r.recv_window_ms), Duration::from_millis(r.risk.max_clock_error_ms))
}

/// The lease of a node that does everything.
#[derive(Debug)]
pub struct Holder {
    /// What every request to the venue must pass.
    pub fence: Fence,
    /// How it stands, and what operators ordered.
    pub view: watch::Receiver<LeaseView>,
    key: &'static str,
}

impl Holder {
    /// Takes the lease. `None`: memory does not answer within `memory: start_timeout_ms`, and nobody is asked any more.
    pub async fn take(
        options: &Options,
        link: &MemoryLink,
        environment: &Environment,
    ) -> Result<Option<Self>, Failure> {
        let config = &options.config;
        let (fence, name) =
            (Fence::shut(), super::process_name("all", config.roles.node.as_deref(), environment));
        let mut asked = ask(link, options, (&name, &fence), true, environment)?;
        let silent_for = Duration::from_millis(config.memory.start_timeout_ms);
        let (mut heard, mut told) = (Instant::now(), false);
        loop {
            let view = asked.view.borrow_and_update().clone();
            if let Some(kill) = view.killed().filter(|_| view.state != "unknown") {
                return Err(refused(kill, options, environment));
            }
            match view.state {
                "held" => break,
                "standby" if view.lives => return Err(held_by(config, &view.holder)),
                "standby" => {
                    heard = Instant::now();
                    if !std::mem::replace(&mut told, true) && !view.holder.is_empty() {
                        tracing::info!(
                            "{} holds the lease, or has died: that shows within {} ms",
                            view.holder,
                            config.roles.lease_ttl_ms
                        );
                    }
                }
                _ if heard.elapsed() >= silent_for => {
                    asked.stop.send_replace(true);
                    return match view.killed() {
                        // What this machine knows of holds until memory says otherwise.
                        Some(kill) => Err(refused(kill, options, environment)),
                        None => Ok(None),
                    };
                }
                _ => {}
            }
            let changed = tokio::time::timeout(LOOK.max(silent_for / 20), asked.view.changed()).await;
            if matches!(changed, Ok(Err(_))) {
                tokio::time::sleep(LOOK).await;
            }
        }
        killed::follow(
            asked.view.borrow().kill.as_ref(),
            options.orders.kill_file.as_deref(),
            &*environment.files,
        );
        link.give_up_at_the_end(asked.stop, asked.task);
        Ok(Some(Self { fence, view: asked.view, key: lease_key(config.memory.deployment) }))
    }

    /// The number with which it writes.
    pub fn lease_fence(&self) -> Option<memory::Fence> {
        let number = self.fence.number()?;
        Some(memory::Fence { lease: self.key.to_owned(), number })
    }

    /// From then on nothing that a holder before us sent can arrive (our clock).
    pub fn alone_from(&self) -> Option<Nanos> {
        self.view.borrow().alone_from
    }
}

fn held_by(config: &Config, holder: &str) -> Failure {
    let deployment = config.memory.deployment.name();
    Failure::unavailable(format!(
        "{holder} trades the deployment {deployment} and holds its lease: one node at a time may; end that one first \
         (`dolphin kill`), or give this one a memory and an account of its own"
    ))
}

fn refused(kill: &Kill, options: &Options, environment: &Environment) -> Failure {
    killed::follow(Some(kill), options.orders.kill_file.as_deref(), &*environment.files);
    killed::refusal(options.orders.kill_file.as_deref(), Some(kill))
}

/// Returns when the flag is set, within a tenth of a second.
pub async fn signalled(flag: &AtomicBool) {
    while !flag.load(Ordering::Acquire) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
