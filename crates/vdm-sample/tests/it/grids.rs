//! Grids against those of k-diffusion and diffusers, as 50-digit arithmetic has them.

use serde_json::Value;
use vdm_core::schedule::{Betas, Discrete, Spacing};
use vdm_core::{Scaling, Schedule};
use vdm_sample::TimeGrid;

fn fixture() -> Value {
    serde_json::from_str(include_str!("../../../vdm-core/tests/fixtures/schedules.json")).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

/// Karras', exponential and polyexponential noise scales. 1e-13: a power of 7 of a sum, or the
/// exponential of a number below 8.
#[test]
fn noise_scales_equal_k_diffusions() {
    let mut seen = 0;
    for case in fixture()["sigma_grids"].as_array().unwrap() {
        let (steps, params) = (case["n"].as_u64().unwrap() as usize - 1, &case["params"]);
        let ve = Scaling::VarianceExploding;
        let schedule = || {
            Schedule::geometric(number(&params["sigma_min"]), number(&params["sigma_max"])).unwrap()
        };
        let grid = match case["kind"].as_str().unwrap() {
            "karras" => TimeGrid::karras(steps, number(&params["rho"]), &schedule(), ve),
            "exponential" => TimeGrid::uniform_log_snr(steps, &schedule(), ve),
            "polyexponential" => {
                TimeGrid::polyexponential(steps, number(&params["rho"]), &schedule(), ve)
            }
            // Uniform times of another schedule.
            "vp" => continue,
            other => panic!("no grid {other}"),
        };
        let grid = grid.unwrap().to_clean();
        let sigmas: Vec<f64> = case["sigma"].as_array().unwrap().iter().map(number).collect();
        assert_eq!(grid.levels().len(), sigmas.len(), "{case}");
        for (level, sigma) in grid.levels().iter().zip(sigmas) {
            assert!((level.sigma - sigma).abs() <= 1e-13 * sigma, "{level:?}, not {sigma}");
        }
        seen += 1;
    }
    assert_eq!(seen, 4);
}

/// The table's entries at the timesteps that diffusers visits, with the tolerance of the tables.
#[test]
fn timesteps_equal_those_of_diffusers() {
    let mut seen = 0;
    for case in fixture()["discrete"].as_array().unwrap() {
        let (params, size) = (&case["params"], case["params"]["T"].as_u64());
        let (steps, b) = (size.unwrap() as usize, |name: &str| number(&params[name]));
        let betas = match case["family"].as_str().unwrap() {
            "linear" => Betas::Linear { steps, beta_start: b("b0"), beta_end: b("b1") },
            "scaled_linear" => {
                Betas::ScaledLinear { steps, beta_start: b("b0"), beta_end: b("b1") }
            }
            _ => continue,
        };
        let table = Discrete::new(betas, false).unwrap();
        let listed: Vec<u64> =
            case["index"].as_array().unwrap().iter().map(|i| i.as_u64().unwrap()).collect();
        for (count, spacings) in case["diffusers_ddpm_timesteps"].as_object().unwrap() {
            for (name, timesteps) in spacings.as_object().unwrap() {
                let spacing: Spacing = serde_json::from_value(name.as_str().into()).unwrap();
                let count = count.parse().unwrap();
                let vp = Scaling::VariancePreserving;
                let grid = TimeGrid::timesteps(count, spacing, 0, &table, vp).unwrap();
                let timesteps = timesteps.as_array().unwrap();
                assert_eq!(grid.steps(), timesteps.len());
                for (level, n) in grid.levels().iter().zip(timesteps) {
                    // The fixture lists some of the entries.
                    let Ok(row) = listed.binary_search(&n.as_u64().unwrap()) else { continue };
                    let wanted = number(&case["logsnr"][row]);
                    assert!((level.log_snr - wanted).abs() < 2e-11, "{name} {n}: {level:?}");
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 50, "{seen} levels compared");
}
