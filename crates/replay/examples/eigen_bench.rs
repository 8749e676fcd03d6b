//! Prints what `dolphin bench eigen` measures: `cargo run --release -p replay --example eigen_bench`.

use replay::eigen::bench::{Options, Times, run};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!(
        "{:<34}{:>8}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}  µs",
        "", "n", "min", "p50", "p90", "p99", "p99.9", "max"
    );
    for (assets, stride, ticks, decompositions) in
        [(48, 1, 20_000, 200), (400, 1, 4_000, 20), (48, 50, 20_000, 0), (400, 50, 2_000, 0)]
    {
        let m = run(Options { assets, stride, ticks, decompositions, seed: 1 })?;
        let name = format!("N = {assets}, S = {stride}");
        println!("{name}: {:.1} MB, mean lambda {:.3?}", m.memory_bytes as f64 / 1e6, m.mean_lambda);
        row("  scanner", &m.scanner);
        if stride == 1 {
            row("  faer eigenvalues of 4 matrices", &m.eigenvalues);
            row("  faer matrices + eigenvectors", &m.from_scratch);
            println!(
                "  ratio {:.0} (from scratch {:.0}), largest error of lambda {:.1e}",
                m.ratio_eigenvalues, m.ratio_from_scratch, m.largest_error
            );
        }
    }
    Ok(())
}

fn row(name: &str, t: &Times) {
    println!(
        "{name:<34}{:>8}{:>9.1}{:>9.1}{:>9.1}{:>9.1}{:>9.1}{:>9.1}",
        t.n, t.min, t.p50, t.p90, t.p99, t.p99_9, t.max
    );
}
