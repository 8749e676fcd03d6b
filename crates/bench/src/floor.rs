//! What the machine allows: a round trip over the loopback between two polling threads, and how long a core that does
//! nothing else is away from its program.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use hdrhistogram::Histogram;
use runtime::clock::Clock;
use runtime::latency::histogram;
use runtime::worker::pin;
use serde::{Deserialize, Serialize};

/// Bytes each way: an order and its answer.
const MESSAGE: usize = 200;
/// Round trips before it counts.
const WARM: usize = 500;

fn fill(stream: &mut TcpStream, bytes: &mut [u8; MESSAGE]) -> io::Result<()> {
    let mut n = 0;
    while n < MESSAGE {
        match stream.read(&mut bytes[n..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => n += read,
            Err(e) if e.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn open(listener: &TcpListener) -> io::Result<(TcpStream, TcpStream)> {
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    for stream in [&near, &far] {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
    }
    Ok((near, far))
}

/// Round trips of 200 bytes each way, both ends polling, on these cores.
pub fn round_trips(n: usize, cores: [Option<usize>; 2], clock: &Clock) -> io::Result<Histogram<u64>> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let (mut near, mut far) = open(&listener)?;
    let [here, there] = cores;
    let echo = std::thread::spawn(move || -> io::Result<()> {
        there.map(pin);
        let mut bytes = [0; MESSAGE];
        for _ in 0..n + WARM {
            fill(&mut far, &mut bytes)?;
            far.write_all(&bytes)?;
        }
        Ok(())
    });
    let clock = clock.clone();
    let asks = std::thread::spawn(move || -> io::Result<Histogram<u64>> {
        here.map(pin);
        let (mut h, mut bytes) = (histogram(), [0; MESSAGE]);
        for i in 0..n + WARM {
            let began = clock.now_ns();
            near.write_all(&bytes)?;
            fill(&mut near, &mut bytes)?;
            if i >= WARM {
                h.saturating_record((clock.now_ns() - began).max(1));
            }
        }
        Ok(h)
    });
    let panicked = |_| io::Error::other("the thread panicked");
    let h = asks.join().map_err(panicked)?;
    echo.join().map_err(panicked)??;
    h
}

/// How a core that only looks at the clock was kept from it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Jitter {
    /// Core.
    pub core: usize,
    /// How long it was watched, s.
    pub seconds: f64,
    /// Two looks at the clock lay at least so far apart, ns, so many times: 1 µs, 10 µs, 100 µs, 1 ms.
    pub longer: [(u64, u64); 4],
    /// Median of two looks, ns.
    pub p50: u64,
    /// 99th percentile, ns.
    pub p99: u64,
    /// 99.9th percentile, ns.
    pub p999: u64,
    /// Longest, ns.
    pub max: u64,
    /// Share of the time in gaps of 1 µs and more.
    pub away: f64,
}

/// Watches a core for so long.
pub fn jitter(core: usize, length: Duration, clock: &Clock) -> Jitter {
    let clock = clock.clone();
    let watch = move || {
        pin(core);
        let mut h = histogram();
        let mut longer = [(1_000, 0), (10_000, 0), (100_000, 0), (1_000_000, 0)];
        let (began, mut away) = (clock.now_ns(), 0);
        let (end, mut last) = (began + length.as_nanos() as u64, began);
        while last < end {
            let now = clock.now_ns();
            let gap = now - last;
            h.saturating_record(gap.max(1));
            if gap >= 1_000 {
                away += gap;
                longer.iter_mut().filter(|(least, _)| gap >= *least).for_each(|(_, n)| *n += 1);
            }
            last = now;
        }
        let seconds = (last - began) as f64 / 1e9;
        let quantile = |q| h.value_at_quantile(q);
        Jitter {
            core,
            seconds,
            longer,
            p50: quantile(0.5),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: h.max(),
            away: away as f64 / (last - began).max(1) as f64,
        }
    };
    std::thread::spawn(watch).join().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_gaps_are_measured() {
        let clock = Clock::new();
        let h = round_trips(50, [None, None], &clock).unwrap();
        assert_eq!(h.len(), 50);
        assert!(h.min() > 1_000, "no system call is that fast: {} ns", h.min());
        let j = jitter(0, Duration::from_millis(20), &clock);
        assert!(j.seconds >= 0.02 && j.p50 > 0 && j.p50 <= j.p99 && j.p99 <= j.max, "{j:?}");
        assert!(j.longer.windows(2).all(|w| w[0].1 >= w[1].1));
    }
}
