//! The averages over minutes that features are compared with (SPEC §5), over a restart: every record that memory has of a
//! symbol's features says them, so that whoever has books of his own goes on from the newest.

use std::time::Duration;

use market::text::counted;
use market::{Instrument, Nanos, ObAverages};
use memory::SystemMemory;

/// Records older than this say nothing of now: a fifth of the averages' half-life.
const KEPT_FOR: Nanos = Nanos(60 * Nanos::SECOND);
/// Memory has this long to tell them; a start waits no longer for what comes back by itself within minutes.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// The averages by column, as memory has them; `None`: it has none that is new enough.
pub async fn kept(memory: &SystemMemory, instruments: &[Instrument], now: Nanos) -> Vec<Option<ObAverages>> {
    let found = match tokio::time::timeout(TOLD_WITHIN, memory::discover(memory, now, KEPT_FOR)).await {
        Ok(Ok(found)) => found.records,
        Ok(Err(error)) => {
            tracing::warn!("the averages of the features begin anew: {error}");
            Vec::new()
        }
        Err(_) => {
            tracing::warn!("the averages of the features begin anew: memory did not tell them in time");
            Vec::new()
        }
    };
    let of = |instrument: &Instrument| {
        let at = found.binary_search_by(|record| record.symbol.cmp(&instrument.symbol)).ok()?;
        ObAverages::after(&found[at].features)
    };
    let averages: Vec<_> = instruments.iter().map(of).collect();
    let known = averages.iter().flatten().count();
    if known > 0 {
        let all = counted(instruments.len(), "symbol");
        tracing::info!("the averages of the features go on for {known} of {all}");
    }
    averages
}

#[cfg(test)]
mod tests {
    use market::{CrossAsset, Increment, ObFeatures, SymbolId};
    use memory::schema::{ObRecord, features_map, to_text};
    use memory::{EmbeddedConfig, MemoryConfig, MemoryEnvironment};

    use super::*;

    #[tokio::test]
    async fn they_are_those_of_the_newest_record_if_it_is_new_enough() {
        let folder = tempfile::tempdir().unwrap();
        let embedded = MemoryConfig::Embedded(EmbeddedConfig::at(folder.path().join("memory")));
        let memory = SystemMemory::open(embedded, &MemoryEnvironment::system()).unwrap();
        let now = Nanos::from_millis(1_800_000_000_000);
        let features = ObFeatures {
            bid_notional: [3e6; 5],
            ask_notional: [1e6; 5],
            depth_quality: 4.0 / (4.0 + 5.0),
            macro_imbalance: 0.25,
            macro_spread_bps: 1.5,
            ..ObFeatures::plain()
        };
        for (symbol, age) in [("BTCUSDT", 1), ("ETHUSDT", 59), ("XRPUSDT", 61)] {
            let timestamp = Nanos(now.0 - age * Nanos::SECOND);
            let record = ObRecord {
                symbol: symbol.to_owned(),
                timestamp,
                features,
                cross_asset: CrossAsset::default(),
            };
            memory.put(&features_map(symbol), symbol, &to_text(&record)).await.unwrap();
        }
        let unit = Increment::decimals(2);
        let instrument =
            |(i, symbol): (usize, &&str)| Instrument::plain(SymbolId(i as u16), symbol, unit, unit);
        let symbols = ["XRPUSDT", "ETHUSDT", "ADAUSDT", "BTCUSDT"];
        let instruments: Vec<Instrument> = symbols.iter().enumerate().map(instrument).collect();
        let averages = kept(&memory, &instruments, now).await;
        assert_eq!((averages[0], averages[2]), (None, None), "too old, and unknown");
        assert_eq!(averages[1], averages[3]);
        let of = averages[1].unwrap();
        assert!((of.depth / 5e6 - 1.0).abs() < 1e-12, "{of:?}");
        assert_eq!((of.asymmetry, of.spread), (0.25, 1.5));
    }
}
