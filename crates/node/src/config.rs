//! The configuration file: YAML, unknown keys refused with the nearest known one, every range checked at load.

mod breaker;
mod check;
mod document;
mod effective;
mod load;
pub mod schema;
mod sections;

pub use breaker::BreakerConfig;
pub use effective::{Effective, effective};
pub use sections::{
    Backend, Config, Deployment, Direction, HibernateAction, JournalConfig, JournalContent, MAINNET_LINE,
    MarketConfig, MemorySection, Rates, RolesConfig, RuntimeConfig, Signal, VenueConfig,
};
pub use telemetry::config::TelemetrySection;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use alpha::Params;

    use super::*;

    fn error(text: &str) -> String {
        Config::parse(text).unwrap_err()
    }

    #[test]
    fn unknown_keys_are_named_with_place_and_the_nearest() {
        assert_eq!(
            error("market:\n  tick_mss: 100\n"),
            ":2:3: unknown key `tick_mss`; did you mean `tick_ms`?"
        );
        let e = error("alpha:\n  vel_div_treshold: -0.03\n");
        assert!(e.starts_with(":2:3") && e.contains("vel_div_threshold"), "{e}");
        let e = error("router:\n  risk:\n    max_position: 1\n");
        assert!(e.starts_with(":3:5") && e.contains("max_position_usd"), "{e}");
    }

    #[test]
    fn every_fault_is_told_at_once_with_place_key_and_what_is_allowed() {
        let e = error("direction: shrot\nmarket:\n  tick_ms: 1\n  tick_mss: 2\n  bar_ms: fast\nrouter: 7\n");
        let lines: Vec<&str> = e.lines().collect();
        assert_eq!(lines[0], ":1:12: `direction` is `shrot`; did you mean `short`?");
        assert_eq!(lines[1], ":3:12: `market.tick_ms` is 1 ms, it lies in 10 … 60000 ms");
        assert_eq!(lines[2], ":4:3: unknown key `tick_mss`; did you mean `tick_ms`?");
        assert_eq!(lines[3], ":5:11: `market.bar_ms` is `fast`, it is 10 … 3600000 ms");
        assert!(lines[4].starts_with(":6:9: `router` is a section of keys (ack_timeout_ms, "), "{e}");
        assert_eq!(lines.len(), 5);
    }

    #[test]
    fn nothing_nonsense_and_long_numbers_are_short_errors() {
        for empty in ["", "# only a comment\n", "---\n", "~"] {
            assert!(error(empty).contains("nothing stands in it"), "{empty:?}");
        }
        assert_eq!(error("direction: ["), ":1:12: this is not YAML");
        let e = error(&format!("market: {{tick_ms: {}}}", "9".repeat(300)));
        assert!(e.len() < 120, "{e}");
        assert!(error("alpha: {fraction: .nan}").contains("fraction"));
        assert!(error("market: {symbols: 3}").contains("a list"));
        assert!(error("router: {smart_placer: yes}").contains("true or false"));
        assert!(error("market: {tick_ms: 100, tick_ms: 200}").contains("stands twice"));
    }

    #[test]
    fn values_are_held_against_each_other_at_their_place() {
        assert!(error("market: {tick_ms: 70}").contains("no multiple"));
        assert!(error("market:\n  ob_stale_after_ms: 50\n").starts_with(":2:3: `market.ob_stale_after_ms`"));
        assert!(
            error("router:\n  dead_man_refresh_ms: 20000\n")
                .starts_with(":2:3: `router.dead_man_refresh_ms` is 20000")
        );
        assert!(error("runtime: {layout: 3}").contains("1, 2, 4, 6"));
        assert!(error("venue: {commission: {maker: 0.02}}").contains("-0.01 … 0.01"));
        assert!(error("router: {disaster_stop_pct: 80}").contains("0 … 50"));
        assert!(error("alpha: {max_leverage: 0.1}").contains("at least min_leverage"));
    }

    /// Each range is written twice: at the field for people, and where the crate checks itself. Both say the same.
    #[test]
    fn what_the_schema_allows_at_its_ends_the_crates_allow_and_no_more() {
        let own = |key: &str| key.starts_with("router.") || key.starts_with("alpha.");
        for key in schema::keys().iter().filter(|k| own(&k.path)) {
            let pointer = format!("/properties/{}", key.path.replace('.', "/properties/"));
            let schema = schema::schema();
            let bounds = schema.pointer(&pointer).unwrap();
            for (end, outward) in [("maximum", 1.0), ("minimum", -1.0)] {
                let Some(x) = bounds[end].as_f64() else { continue };
                let x = x + outward * x.abs().max(100.0) * 0.01;
                let mut config = serde_json::to_value(Config::default()).unwrap();
                let value = config.pointer_mut(&format!("/{}", key.path.replace('.', "/"))).unwrap();
                *value = match schema::is_kind(bounds, "integer") {
                    true => serde_json::json!(x as i64),
                    false => serde_json::json!(x),
                };
                // An unsigned number has no value below nothing.
                let Ok(config) = serde_json::from_value::<Config>(config) else { continue };
                assert!(config.validate().is_err(), "{} = {x} is beyond its {end} and passes", key.path);
            }
        }
    }

    #[test]
    fn a_section_by_itself_is_checked_as_in_the_whole() {
        fn without_defaults(schema: &serde_json::Value) -> serde_json::Value {
            match schema {
                serde_json::Value::Object(map) => {
                    let kept = map.iter().filter(|(key, _)| *key != "default");
                    kept.map(|(key, value)| (key.clone(), without_defaults(value))).collect()
                }
                serde_json::Value::Array(list) => list.iter().map(without_defaults).collect(),
                other => other.clone(),
            }
        }
        let whole = schema::schema();
        let names: Vec<&str> = whole["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let parts = schema::of_sections(names.iter().copied());
        assert!(parts.get("title").is_none(), "a section of the configuration is not in `schema::section`");
        for name in names {
            let [mut part, mut whole] = [&parts, &whole].map(|s| without_defaults(&s["properties"][name]));
            for text in ["description", "title"] {
                part.as_object_mut().unwrap().remove(text);
                whole.as_object_mut().unwrap().remove(text);
            }
            assert_eq!(part, whole, "{name}");
        }
        assert_eq!(schema::of_sections(["alpha", "no_section"]), schema::schema());
    }

    #[test]
    fn the_reference_of_the_book_is_the_program_s_own() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
        let text = std::fs::read_to_string(file).unwrap_or_default();
        assert!(text == schema::reference(), "run: dolphin config schema --markdown > docs/configuration.md");
    }

    #[test]
    fn each_effective_value_says_where_it_comes_from() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.yml");
        std::fs::write(&path, "alpha: {profile: growth}\nmarket:\n  tick_ms: 200\n").unwrap();
        let all = effective(&path).unwrap();
        let origin = |key: &str| all.iter().find(|e| e.key == key).unwrap().origin.clone();
        assert!(origin("market.tick_ms").ends_with("c.yml:3"));
        assert_eq!(origin("market.bar_ms"), "default");
        assert_eq!(origin("alpha.max_leverage"), "profile growth");
    }

    #[test]
    fn a_preset_of_a_file_has_its_own_numbers_and_hash() {
        let hash = |text: &str| Config::parse(text).unwrap().alpha.verify().unwrap();
        for name in ["conservative", "growth", "aggressive"] {
            let preset = Params::preset(name).unwrap();
            assert_eq!(hash(&format!("alpha: {{profile: {name}}}")), preset.hash());
            assert_ne!(preset.hash(), alpha::params::CHAMPION_HASH);
        }
        assert!(error("alpha: {profile: growth, fracton: 0.1}").contains("did you mean `fraction`?"));
        assert!(error("alpha: {profile: growth, fraction: .nan}").contains("fraction"));
    }

    #[test]
    fn the_files_we_ship_load_and_blue_is_the_champion() {
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
        let blue = Config::load(&configs.join("blue.yml")).unwrap();
        assert_eq!(blue.alpha.verify().unwrap(), alpha::params::CHAMPION_HASH);
        assert_eq!((blue.direction, blue.market.stride()), (Direction::Short, 50));
        let green = Config::load(&configs.join("green.yml")).unwrap();
        assert_eq!(green.direction, Direction::Both);
        Config::load(&configs.join("demo.yml")).unwrap();
    }
}
