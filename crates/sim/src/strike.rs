//! How a fault is brought about in a world.

use market::Nanos;

use crate::disk::Trouble;
use crate::faults::Fault;
use crate::world::World;

/// Lets a fault happen now. `false`: there was nothing it could happen to.
#[expect(clippy::too_many_lines, reason = "one line or two for each kind of fault")]
pub fn strike(world: &World, fault: &Fault) -> bool {
    let now = world.time.now_ns();
    let until = |ms: u64| now + ms * Nanos::MS;
    let network = &world.network;
    match fault {
        Fault::Delay { machine, latency_ms, jitter_ms, for_ms: _ } => {
            network.change(*machine, |c| {
                c.latency = latency_ms * Nanos::MS;
                c.jitter = jitter_ms * Nanos::MS;
            });
            true
        }
        Fault::Reset { machine, link } => network.reset(*machine, *link),
        Fault::HalfOpen { machine, link } => network.deaden(*machine, *link, true, true),
        Fault::OneWay { machine, link, up } => network.deaden(*machine, *link, *up, !*up),
        Fault::Partition { machine, up, down, for_ms } => {
            network.change(*machine, |c| {
                if *up {
                    c.up_stalled_until = until(*for_ms);
                }
                if *down {
                    c.down_stalled_until = until(*for_ms);
                }
            });
            true
        }
        Fault::Flip { machine, link, up, bit } => network.flip(*machine, *link, *up, *bit),
        Fault::Truncate { machine, link } => network.truncate(*machine, *link),
        Fault::Split { machine, for_ms } => {
            network.change(*machine, |c| c.split_until = until(*for_ms));
            true
        }
        Fault::SlowReader { machine, for_ms } => {
            network.change(*machine, |c| c.slow_until = until(*for_ms));
            true
        }
        Fault::BreakRequests { machine } => network.break_requests(*machine) > 0,
        Fault::Kill { machine, after_polls, power, back_ms } => {
            world.kill(*machine, *after_polls, *power, *back_ms)
        }
        Fault::Pause { machine, for_ms } => world.pause(*machine, *for_ms),
        Fault::Hang { machine } => world.hang(*machine),
        Fault::Stall { machine, worker, for_ms } => world.stall(*machine, worker, *for_ms),
        Fault::Panic { machine, worker } => world.panic(*machine, worker),
        Fault::Terminate { machine, back_ms } => world.terminate(*machine, *back_ms),
        Fault::ClockStep { machine, ms } => {
            world.slots.borrow()[*machine].host.clock.step(ms * Nanos::MS as i64);
            true
        }
        Fault::ClockDrift { machine, ppm, for_ms } => {
            let mut slots = world.slots.borrow_mut();
            slots[*machine].host.clock.drift(*ppm, now);
            slots[*machine].clock_right_at = until(*for_ms);
            true
        }
        Fault::DiskFull { machine, for_ms } => world.disk(*machine, Trouble::Full, until(*for_ms)),
        Fault::DiskBroken { machine, for_ms } => world.disk(*machine, Trouble::Broken, until(*for_ms)),
        Fault::DiskSlow { machine, ms, for_ms } => {
            world.disk(*machine, Trouble::Slow(ms * Nanos::MS), until(*for_ms))
        }
        Fault::MemoryAway { machine, for_ms } => {
            world.cluster.change(*machine, |a| a.away_until = until(*for_ms));
            true
        }
        Fault::MemorySlow { machine, ms, for_ms } => {
            world.cluster.change(*machine, |a| (a.slow_ms, a.slow_until) = (*ms, until(*for_ms)));
            true
        }
        Fault::MemoryAnswerLost { machine, times } => {
            world.cluster.change(*machine, |a| a.lose_answers = *times);
            true
        }
        Fault::MemorySplit { machine, for_ms } => {
            world.cluster.split(&[*machine]);
            world.merge_at.set(until(*for_ms));
            true
        }
        Fault::Venue { rule, for_ms } => {
            let injected = world.venue.borrow_mut().inject(rule.clone(), *for_ms, Nanos(now));
            if let Err(why) = &injected {
                tracing::debug!(why, "the venue does not take the fault");
            }
            injected.is_ok()
        }
        Fault::ClosedByHand { unheard } => world.close_by_hand(*unheard),
        Fault::KillOrder { flatten } => {
            world.order_kill(*flatten);
            true
        }
        Fault::KillSwitch { machine, flatten } => {
            world.kill_switch(*machine, *flatten);
            true
        }
    }
}
