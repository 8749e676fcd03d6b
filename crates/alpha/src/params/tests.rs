use super::*;

#[test]
fn the_champion_has_the_champion_hash() {
    let champion = Params::default();
    assert_eq!(champion.hash(), CHAMPION_HASH);
    assert_eq!(champion.verify().unwrap(), CHAMPION_HASH);
    assert!(champion.drift().is_empty());
}

#[test]
fn drift_is_named_with_both_values() {
    let mut p = Params { fraction: 0.25, max_hold_bars: 100, ..Params::default() };
    let message = p.verify().unwrap_err().to_string();
    assert!(message.contains("fraction is 0.25 (frozen: 0.2)"), "{message}");
    assert!(message.contains("max_hold_bars is 100 (frozen: 120)"), "{message}");
    p.profile = "mine".into();
    assert_eq!(p.verify().unwrap(), p.hash());
    assert_ne!(p.hash(), CHAMPION_HASH);
}

#[test]
fn every_preset_is_valid_and_knows_its_name() {
    for name in PRESETS {
        let p = Params::preset(name).unwrap();
        assert_eq!(p.profile, name);
        assert_eq!(p.verify().unwrap() == CHAMPION_HASH, name == CHAMPION);
    }
    let error = Params::preset("conservativ").unwrap_err().to_string();
    assert!(error.contains("did you mean `conservative`?"), "{error}");
}

#[test]
fn the_profile_of_a_file_is_its_preset() {
    let read = |text: &str| serde_json::from_str::<Params>(text).unwrap();
    for name in PRESETS {
        let p = read(&format!(r#"{{"profile": "{name}"}}"#));
        assert_eq!(p, Params::preset(name).unwrap(), "{name}");
        // And through a round trip: what stands in a file is what is meant.
        assert_eq!(read(&serde_json::to_string(&p).unwrap()), p);
    }
    let hashes: std::collections::BTreeSet<String> =
        PRESETS.iter().map(|name| Params::preset(name).unwrap().hash()).collect();
    assert_eq!(hashes.len(), PRESETS.len(), "each has a hash of its own");
    // A key that stands in the file wins over the preset, wherever the profile stands.
    let p = read(r#"{"fraction": 0.2, "profile": "conservative", "vol_p60": 0.1}"#);
    assert_eq!((p.fraction, p.max_leverage, p.vol_p60), (0.2, 3.0, 0.1));
    // A word of one's own starts from the champion.
    assert_eq!(read(r#"{"profile": "mine"}"#).hash(), CHAMPION_HASH);
    assert!(serde_json::from_str::<Params>(r#"{"profile": "growth", "fracton": 1}"#).is_err());
}

#[test]
fn a_profile_that_is_nearly_a_preset_is_refused() {
    for (name, meant) in
        [("conservativ", "conservative"), ("Champion", "champion"), ("agressive", "aggressive")]
    {
        let error = Params { profile: name.into(), ..Params::default() }.verify().unwrap_err().to_string();
        assert!(error.contains(&format!("did you mean `{meant}`?")), "{error}");
    }
    for name in ["mine", "demo", "custom", "test", "champion-2", "growth_plus"] {
        Params { profile: name.into(), ..Params::default() }.verify().unwrap();
    }
}

#[test]
fn setting_a_preset_takes_its_numbers() {
    let mut p = Params::default();
    p.set("vol_p60", "0.1").unwrap();
    assert_eq!(p.set("profile", "growth"), Ok(false));
    assert_eq!(p, Params { vol_p60: 0.1, ..Params::preset("growth").unwrap() });
    assert_eq!(p.set("profile", "champion"), Ok(false));
    assert_eq!(p.verify().unwrap(), CHAMPION_HASH);
    assert_eq!(p.set("profile", "mine"), Ok(false));
    assert_eq!((p.hash().as_str(), p.profile.as_str()), (CHAMPION_HASH, "mine"));
}

#[test]
fn differences_from_the_champion_are_named() {
    assert!(Params::default().differences().is_empty());
    let p = Params { vol_p60: 0.5, ..Params::preset("conservative").unwrap() };
    let lines: Vec<String> = p.differences().iter().map(Difference::to_string).collect();
    assert_eq!(
        lines,
        [
            "abs_max_leverage is 4.0 (champion: 6.0)",
            "fraction is 0.1 (champion: 0.2)",
            "max_leverage is 3.0 (champion: 5.0)",
            "profile is conservative (champion: champion)",
            "vol_p60 is 0.5 (champion: 9.9e-05)",
        ]
    );
}

#[test]
fn set_reads_every_kind() {
    let mut p = Params::default();
    assert_eq!(p.set("vol_p60", "0.0002"), Ok(false));
    assert_eq!(p.set("fee_model", "expected"), Ok(false));
    assert_eq!(p.set("use_alpha_layers", "false"), Ok(false));
    assert_eq!(p.set("excluded_assets", "AUSDT, BUSDT"), Ok(false));
    assert_eq!(p.excluded_assets, ["AUSDT", "BUSDT"]);
    assert_eq!(p.set("excluded_assets", "[\"CUSDT\"]"), Ok(false));
    assert_eq!(p.set("excluded_assets", ""), Ok(false));
    assert_eq!(p.set("mc_models_dir", "models"), Ok(false));
    assert_eq!(p.mc_models_dir.as_deref(), Some("models"));
    assert_eq!(p.set("boost_mode", "proxy_b"), Ok(false));
    assert_eq!(p.set("initial_capital", "50000"), Ok(false));
    assert_eq!(p.profile, CHAMPION);
    assert_eq!(p.set("max_hold_bars", "60"), Ok(true));
    assert_eq!((p.max_hold_bars, p.profile.as_str()), (60, CUSTOM));
    assert_eq!((p.vol_p60, p.fee_model, p.boost_mode), (0.0002, FeeModel::Expected, BoostMode::ProxyB));
}

#[test]
fn a_refused_value_changes_nothing() {
    let mut p = Params::default();
    for (key, text) in [
        ("fracton", "0.1"),
        ("fraction", "nan"),
        ("fraction", "lots"),
        ("fraction", "1.5"),
        ("max_hold_bars", "1.5"),
        ("max_hold_bars", "0"),
        ("max_hold_bars", "-3"),
        ("vel_div_threshold", "0.02"),
        ("use_alpha_layers", "yes"),
        ("fee_model", "guess"),
        ("seed", "4294967296"),
        ("excluded_assets", "[1]"),
    ] {
        assert!(p.set(key, text).is_err(), "{key}={text}");
        assert_eq!(p, Params::default());
    }
    let error = p.set("fracton", "0.1").unwrap_err().to_string();
    assert!(error.contains("did you mean `fraction`?"), "{error}");
}

#[test]
fn parameters_that_contradict_each_other_are_refused_in_the_end() {
    let mut p = Params::default();
    p.set("min_leverage", "9").unwrap();
    assert!(p.verify().unwrap_err().to_string().contains("max_leverage"));
    p.set("max_leverage", "9").unwrap();
    p.verify().unwrap();
    p.set("vel_div_extreme", "-0.02").unwrap();
    assert!(p.verify().unwrap_err().to_string().contains("vel_div_extreme"));
}

#[test]
fn unknown_keys_of_a_file_are_refused() {
    let error = serde_json::from_str::<Params>(r#"{"fracton": 0.1}"#).unwrap_err().to_string();
    assert!(error.contains("fracton"), "{error}");
    assert_eq!(serde_json::from_str::<Params>("{}").unwrap(), Params::default());
    assert_eq!(Params::keys().len(), 36);
}
