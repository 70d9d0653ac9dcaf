//! Numbers at which formulas are no schedules any more: each is refused by name, or makes one that is finite
//! and falls strictly.

use serde_json::{Value, json};
use vdm_core::count::Cost;
use vdm_core::{LogSnr, NoiseSchedule, Parameterization, Scaling, Schedule, Weighting};

/// What is wrong with a schedule that was accepted.
fn fault(schedule: &Schedule) -> Option<String> {
    let range = schedule.range();
    let mut before = range.max();
    for t in (1..200).map(|i| f64::from(i) / 200.0) {
        let level = schedule.log_snr(t);
        let (slope, density, time) =
            (schedule.slope(t), schedule.density(level), schedule.time(level));
        let sound = level.value() < before
            && level.value().is_finite()
            && (slope < 0.0 && slope.is_finite())
            && (density > 0.0 && density.is_finite())
            && (0.0..=1.0).contains(&time);
        if !sound {
            return Some(format!(
                "at t = {t}: log-SNR {level} after {before}, slope {slope}, density {density}, time {time}"
            ));
        }
        before = level.value();
    }
    (before <= range.min()).then(|| format!("it ends at {before}, not above {}", range.min()))
}

/// Each was accepted once and was none.
#[test]
fn what_is_no_schedule_in_double_precision_is_refused_by_name() {
    for (json, names) in [
        (
            r#"{"kind": "cosine_interpolated", "log_snr_max": 6, "log_snr_min": -5, "shift_data": -1e308,
                "shift_noise": -1e308}"#,
            vec!["shift_data", "-1e308"],
        ),
        (r#"{"kind": "sigmoid", "start": -745, "end": 3, "tau": 1}"#, vec!["start: -745"]),
        (r#"{"kind": "sigmoid", "start": 0, "end": 5e-324, "tau": 1}"#, vec!["end: 5e-324"]),
        (r#"{"kind": "sigmoid", "start": 2, "end": 3, "tau": 1e-16}"#, vec!["tau: 1e-16"]),
        (r#"{"kind": "cosine", "log_snr_max": 1e16}"#, vec!["log_snr_max = 1e16"]),
        (
            r#"{"kind": "karras", "sigma_min": 2, "sigma_max": 80, "rho": 1e-16}"#,
            vec!["rho: 1e-16"],
        ),
        (r#"{"kind": "cosine", "shift": 1e300}"#, vec!["shift: 1e300"]),
        (r#"{"kind": "laplace", "mean": 1e17, "std": 1}"#, vec!["mean: 1e17"]),
        (r#"{"kind": "vp_linear", "beta_min": 1e300, "beta_max": 1}"#, vec!["beta_min", "1e300"]),
        (
            r#"{"kind": "linear", "log_snr_max": 1e308, "log_snr_min": -1e308}"#,
            vec!["log_snr_max = 1e308"],
        ),
        (
            r#"{"kind": "linear", "log_snr_max": 1.0000000000000002, "log_snr_min": 1}"#,
            vec!["max: 1.0000000000000002"],
        ),
        (
            r#"{"kind": "monotone", "log_snr_max": 9, "log_snr_min": -6, "increments": [1, -35, 1]}"#,
            vec!["-35"],
        ),
        (
            r#"{"kind": "monotone_network", "log_snr_max": 9, "log_snr_min": -6, "slope": 0,
                "hidden": [1e9], "hidden_bias": [0], "output": [1]}"#,
            vec!["hidden: [1000000000.0]"],
        ),
        (
            r#"{"kind": "discrete", "betas": {"custom": [0.5, 1e-300, 0.5]}}"#,
            vec!["large enough to change the level"],
        ),
        (
            r#"{"kind": "discrete", "betas": {"linear": {"steps": 18446744073709551615,
                "beta_start": 1e-4, "beta_end": 0.02}}}"#,
            vec!["betas.steps = 18446744073709551615", "1048576"],
        ),
    ] {
        let error = serde_json::from_str::<Schedule>(json).unwrap_err().to_string();
        assert!(names.iter().all(|name| error.contains(name)), "{json}: {error}");
    }
}

/// Legal documents, whose numbers are exchanged for others one at a time.
fn legal() -> Vec<Value> {
    let ends = |mut fields: Value| {
        fields["log_snr_max"] = 9.into();
        fields["log_snr_min"] = (-6).into();
        fields
    };
    vec![
        ends(json!({"kind": "linear"})),
        ends(json!({"kind": "cosine", "shift": -2.5})),
        ends(json!({"kind": "cosine_interpolated", "shift_data": -1, "shift_noise": -3})),
        ends(json!({"kind": "vp_linear", "beta_min": 0.1, "beta_max": 20})),
        ends(json!({"kind": "iddpm_cosine", "offset": 0.008})),
        ends(json!({"kind": "sigmoid", "start": -3, "end": 3, "tau": 1})),
        ends(json!({"kind": "normal", "mean": 2.4, "std": 2.4})),
        ends(json!({"kind": "laplace", "mean": 0, "std": 0.5})),
        ends(json!({"kind": "straight_line", "shift": -2})),
        json!({"kind": "karras", "sigma_min": 0.002, "sigma_max": 80, "rho": 7}),
        json!({"kind": "polyexponential", "sigma_min": 0.002, "sigma_max": 80, "rho": 1.5}),
        json!({"kind": "sigmoid", "start": -3, "end": 3, "tau": 1}),
        json!({"kind": "vp_linear", "beta_min": 0.1, "beta_max": 20}),
    ]
}

#[test]
fn any_number_in_any_field_is_refused_by_name_or_makes_a_schedule() {
    let numbers = [
        0.0, 1.0, -1.0, 2.0, 0.5, 7.0, 11.5, 100.0, 700.0, -745.0, 1e-3, 1e-5, 1e-8, 1e-16, 1e-38,
        1e-300, 5e-324, 1e4, 1e6, 1e10, 1e16, 1e38, 1e154, 1e300, 1e308, -1e4, -1e16, -1e308,
    ];
    let (mut accepted, mut refused) = (0, 0);
    for document in legal() {
        for field in document.as_object().unwrap().keys().filter(|field| *field != "kind") {
            for number in numbers {
                let mut mutant = document.clone();
                mutant[field] = number.into();
                match serde_json::from_value::<Schedule>(mutant.clone()) {
                    Ok(schedule) => {
                        accepted += 1;
                        assert_eq!(fault(&schedule), None, "{mutant}");
                    }
                    Err(error) => {
                        refused += 1;
                        let name = field.strip_prefix("log_snr_").unwrap_or(field);
                        // Of a schedule that does not reach so far, its ends are told.
                        let told = [name, "cannot be cut to"];
                        let error = error.to_string();
                        assert!(told.iter().any(|told| error.contains(told)), "{mutant}: {error}");
                    }
                }
            }
        }
    }
    assert!(accepted > 200 && refused > 200, "{accepted} accepted, {refused} refused");
}

#[test]
fn weights_and_predictions_of_absurd_numbers_are_refused_by_name() {
    for (json, names) in [
        (r#"{"kind": "edm", "p_mean": -1.2, "p_std": 1e-200, "data_std": 0.5}"#, "p_std"),
        (r#"{"kind": "edm", "p_mean": 1e300, "p_std": 1.2, "data_std": 0.5}"#, "p_mean"),
        (r#"{"kind": "p2", "gamma": 1e308, "k": 1}"#, "gamma"),
    ] {
        let error = serde_json::from_str::<Weighting>(json).unwrap_err().to_string();
        assert!(error.contains(names), "{json}: {error}");
    }
    for (json, names) in [
        (r#"{"edm": {"data_std": 0}}"#, "data_std"),
        (r#"{"edm": {"data_std": 1e-300}}"#, "data_std"),
        (r#"{"combination": {"image": 0, "noise": 0}}"#, "image"),
        (r#"{"combination": {"image": 1e300, "noise": 0}}"#, "image"),
    ] {
        let error = serde_json::from_str::<Parameterization>(json).unwrap_err().to_string();
        assert!(error.contains(names), "{json}: {error}");
    }
    assert!(serde_json::from_str::<Scaling>(r#"{"unit_variance": {"data_std": 0}}"#).is_err());
}

/// The limit itself is a table of a size that still serves.
#[test]
fn tables_of_any_legal_number_of_steps_are_schedules() {
    let table = |steps: u64| {
        let betas = json!({"linear": {"steps": steps, "beta_start": 1e-6, "beta_end": 2e-5}});
        serde_json::from_value::<Schedule>(json!({"kind": "discrete", "betas": betas}))
    };
    let largest = table(Cost::List.limit()).unwrap();
    assert!(largest.log_snr(0.5).value() > largest.log_snr(0.6).value());
    assert!(table(Cost::List.limit() + 1).is_err());
    assert!((largest.density(LogSnr::new(largest.log_snr(0.5).value()))).is_finite());
}
