//! One step of a 100,000-step diffusion: the formulas of this crate and the naive ones, each
//! against 50-digit arithmetic (`fixtures/small_steps.json`, written by `small_steps.py`).

use serde_json::Value;
use vdm_core::{LogSnr, Posterior, Real, Scaling, Transition, bound};

/// Worst relative errors of one quantity over one range of log-SNR.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) quantity: &'static str,
    pub(crate) range: (f64, f64),
    /// This crate in f64, naive in f64, naive in f32.
    pub(crate) worst: [f64; 3],
}

/// `σ²_{t|s}` and `σ_Q²` by this crate.
fn variances<C: Real>(s: C, t: C) -> [C; 2] {
    let (s, t) = (Scaling::VariancePreserving.level(s), Scaling::VariancePreserving.level(t));
    [Transition::between(&s, &t).var_ts, Posterior::between(&s, &t).var]
}

/// The same and the factor of the loss as printed: `σ_t² − α²_{t|s}σ_s²`, `σ²_{t|s}σ_s²/σ_t²`, `½(SNR(s)/SNR(t) − 1)`.
fn naive<C: Real>(s: &C, t: &C) -> [C; 3] {
    let (alpha2_s, alpha2_t) = (s.sigmoid(), t.sigmoid());
    let one = s.lift(1.0);
    let (var_s, var_t) = (one.clone() - alpha2_s.clone(), one.clone() - alpha2_t.clone());
    let transition = var_t.clone() - alpha2_t.clone() / alpha2_s.clone() * var_s.clone();
    let posterior = transition.clone() * var_s.clone() / var_t.clone();
    let factor = s.lift(0.5) * (alpha2_s / var_s / (alpha2_t / var_t) - one);
    [transition, posterior, factor]
}

pub(crate) fn measure() -> Vec<Row> {
    let data: Value =
        serde_json::from_str(include_str!("../../fixtures/small_steps.json")).expect("valid JSON");
    data["ranges"].as_array().expect("ranges").iter().flat_map(over_range).collect()
}

fn over_range(data: &Value) -> [Row; 3] {
    let number = |value: &Value| value.as_f64().expect("a number");
    let range = (number(&data["log_snr_max"]), number(&data["log_snr_min"]));
    let mut worst = [[0.0_f64; 3]; 3];
    for row in data["rows"].as_array().expect("rows") {
        let (s, t) = (number(&row["log_snr_s"]), number(&row["log_snr_t"]));
        let factor = bound::discrete_factor(LogSnr::new(s), LogSnr::new(t));
        let [transition, posterior] = variances(s, t);
        let ours = [transition, posterior, factor];
        let naive_double = naive(&s, &t);
        let naive_single = naive(&(s as f32), &(t as f32)).map(f64::from);
        for (i, name) in ["transition_var", "posterior_var", "discrete_factor"].iter().enumerate() {
            let columns = [ours[i], naive_double[i], naive_single[i]];
            for (worst, got) in worst[i].iter_mut().zip(columns) {
                *worst = worst.max((got / number(&row[name]) - 1.0).abs());
            }
        }
    }
    let quantities = [
        "variance of q(z_t given z_s)",
        "variance of q(z_s given z_t, x)",
        "factor of the discrete loss",
    ];
    [0, 1, 2].map(|i| Row { quantity: quantities[i], range, worst: worst[i] })
}
