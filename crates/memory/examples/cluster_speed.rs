//! How fast system memory is on a real cluster, beside a bare socket in the same run:
//!
//! ```sh
//! cargo run --release --locked -p memory --example cluster_speed
//! ```
//!
//! One member: set and get one after another, and a push from one connection to another at 10 Hz. Three members: the
//! load of the shards, 400 symbols of 1 kB at 10 Hz from one node to another by way of ten map listeners. Compare
//! within a run; the machine, the JVM's warm-up and the clock of the day move everything together.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "an example fails as a test does")]

use std::future::Future;
use std::time::{Duration, Instant};

use memory::schema::{SHARDS, features_map, shard_map};
use memory::{HazelcastConfig, MemoryConfig, MemoryEnvironment, SystemMemory, Watch, Write};
use testkit::hazelcast::{CURRENT, Cluster, PATIENCE, RAW_KEY, RawClient};

const SYMBOLS: usize = 400;
const TICK: Duration = Duration::from_millis(100);
const TICKS: usize = 150;
/// The first ticks warm the JVMs up.
const WARM_TICKS: usize = 50;

fn main() {
    let Some(cluster) = Cluster::start(CURRENT, 1) else { return };
    println!("{:<34}{:>12}{:>12}{:>12}", "one member, loopback", "p50 µs", "p99 µs", "max µs");
    one_after_another(&cluster);
    pushes(&cluster);
    drop(cluster);
    let Some(cluster) = Cluster::start(CURRENT, 3) else { return };
    shards(&cluster);
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

async fn connect(cluster: &Cluster) -> SystemMemory {
    let config = HazelcastConfig { members: cluster.addresses(), ..HazelcastConfig::default() };
    let memory = SystemMemory::open(MemoryConfig::Hazelcast(config), &MemoryEnvironment::system()).unwrap();
    memory.wait_ready(PATIENCE).await.unwrap();
    memory
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    println!("{name:<34}{:>12.0}{:>12.0}{:>12.0}", at(0.5), at(0.99), at(1.0));
}

/// Ours and the bare socket take turns, so that both meet the same machine.
fn one_after_another(cluster: &Cluster) {
    const OPERATIONS: usize = 12_000;
    const WARM: usize = 4_000;
    let value = "x".repeat(1000);
    let mut raw = RawClient::connect(&cluster.members[0].address()).unwrap();
    let mut times: [Vec<Duration>; 4] = Default::default();
    block_on(async {
        let memory = connect(cluster).await;
        for operation in 0..OPERATIONS {
            let begun = Instant::now();
            raw.set("speed", &value).unwrap();
            let raw_set = begun.elapsed();
            let begun = Instant::now();
            memory.put("speed", RAW_KEY, &value).await.unwrap();
            let our_set = begun.elapsed();
            let begun = Instant::now();
            raw.get("speed").unwrap();
            let raw_get = begun.elapsed();
            let begun = Instant::now();
            memory.get("speed", RAW_KEY).await.unwrap();
            let our_get = begun.elapsed();
            if operation >= WARM {
                for (list, time) in times.iter_mut().zip([raw_set, our_set, raw_get, our_get]) {
                    list.push(time);
                }
            }
        }
    });
    for (name, list) in
        ["set 1 kB, bare socket", "set 1 kB", "get 1 kB, bare socket", "get 1 kB"].iter().zip(times)
    {
        report(name, list);
    }
}

/// From before the set on one connection to the change on another, idle between: wake-ups count here.
fn pushes(cluster: &Cluster) {
    const PUSHES: usize = 120;
    let mut writer = RawClient::connect(&cluster.members[0].address()).unwrap();
    let mut listener = RawClient::connect(&cluster.members[0].address()).unwrap();
    listener.listen("bare").unwrap();
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    block_on(async {
        let memory = connect(cluster).await;
        let mut watch = memory.watch("ours", None).unwrap();
        memory.put("ours", RAW_KEY, "begin").await.unwrap();
        watch.next().await;
        for push in 0..PUSHES {
            let value = push.to_string();
            tokio::time::sleep(TICK / 2).await;
            let begun = Instant::now();
            writer.set("bare", &value).unwrap();
            listener.receive().unwrap();
            bare.push(begun.elapsed());
            tokio::time::sleep(TICK / 2).await;
            let begun = Instant::now();
            writer.set("ours", &value).unwrap();
            while watch.next().await.value.as_ref() != Some(&value) {}
            ours.push(begun.elapsed());
        }
    });
    report("push at 10 Hz, bare socket", bare.split_off(PUSHES / 4));
    report("push at 10 Hz", ours.split_off(PUSHES / 4));
}

/// The load of an ingest node and an alpha node.
fn shards(cluster: &Cluster) {
    let begun = Instant::now();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let (written, seen) = std::thread::scope(|scope| {
        let reader = scope.spawn(move || block_on(read_shards(cluster, begun, &ready)));
        is_ready.recv_timeout(PATIENCE).unwrap();
        let written = block_on(write_shards(cluster, begun));
        (written, reader.join().unwrap())
    });
    println!(
        "\n{:<34}{:>12}{:>12}{:>12}",
        format!("three members, {SYMBOLS} × 1 kB × 10 Hz"),
        "p50 µs",
        "p99 µs",
        "max µs"
    );
    report("a tick written (all answered)", written);
    let complete = seen.iter().filter(|ages| ages.len() == SYMBOLS).count();
    let whole =
        seen.iter().filter(|ages| ages.len() == SYMBOLS && ages.iter().all(|age| *age < TICK)).count();
    report("write begun to value read", seen.iter().flatten().copied().collect());
    let ticks = TICKS - WARM_TICKS;
    println!("ticks of {ticks}: all {SYMBOLS} values seen {complete}, all of them within {TICK:?} {whole}");
}

async fn write_shards(cluster: &Cluster, begun: Instant) -> Vec<Duration> {
    let memory = connect(cluster).await;
    let symbols: Vec<String> = (0..SYMBOLS).map(|at| format!("SYM{at:03}USDT")).collect();
    let mut clock = tokio::time::interval(TICK);
    let mut times = Vec::new();
    for tick in 0..TICKS {
        clock.tick().await;
        let start = Instant::now();
        let head = format!("{tick} {} ", begun.elapsed().as_nanos());
        let value = format!("{head}{}", "x".repeat(1000 - head.len()));
        let writes: Vec<Write> = symbols
            .iter()
            .map(|symbol| Write { map: features_map(symbol), key: symbol.clone(), value: value.clone() })
            .collect();
        memory.put_all(&writes).await.unwrap();
        if tick >= WARM_TICKS {
            times.push(start.elapsed());
        }
    }
    times
}

/// Ages of the values of each tick. A value that a newer one overtook is not seen.
async fn read_shards(
    cluster: &Cluster,
    begun: Instant,
    ready: &std::sync::mpsc::Sender<()>,
) -> Vec<Vec<Duration>> {
    let memory = connect(cluster).await;
    let mut watches: Vec<Watch> =
        (0..SHARDS).map(|shard| memory.watch(&shard_map(shard), None).unwrap()).collect();
    // A change of our own on each map tells that its listener stands.
    for (shard, watch) in (0..).zip(&mut watches) {
        memory.put(&shard_map(shard), "ready", "").await.unwrap();
        watch.next().await;
    }
    ready.send(()).unwrap();
    let mut ages = vec![Vec::new(); TICKS];
    let mut last = 0;
    let mut end = None;
    while end.is_none_or(|end: Instant| end.elapsed() < Duration::from_secs(2)) {
        let mut idle = true;
        for watch in &mut watches {
            while let Some(change) = watch.try_next() {
                idle = false;
                let Some(text) = change.value else { continue };
                let mut words = text.split(' ');
                let number = |word: Option<&str>| word.and_then(|word| word.parse::<u64>().ok());
                let (Some(tick), Some(at)) = (number(words.next()), number(words.next())) else { continue };
                ages[tick as usize].push(begun.elapsed().saturating_sub(Duration::from_nanos(at)));
                last = last.max(tick as usize);
            }
        }
        if last == TICKS - 1 && end.is_none() {
            end = Some(Instant::now());
        }
        if idle {
            tokio::time::sleep(Duration::from_millis(1)).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
    ages.split_off(WARM_TICKS)
}
