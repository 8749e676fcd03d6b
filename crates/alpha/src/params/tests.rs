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
