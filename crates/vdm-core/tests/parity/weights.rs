//! The reference table of weightings.

use serde_json::Value;
use vdm_core::Weighting;

pub(crate) fn fixture() -> Value {
    serde_json::from_str(include_str!("../fixtures/weights.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

/// Columns of one length, turned into rows.
pub(crate) fn rows<const N: usize>(
    table: &Value,
    names: [&str; N],
) -> impl Iterator<Item = [f64; N]> {
    let columns = names.map(|name| numbers(&table[name]));
    (0..columns[0].len()).map(move |i| columns.each_ref().map(|column| column[i]))
}

pub(crate) fn weighting(row: &Value) -> Weighting {
    let p = |name: &str| row["params"][name].as_f64().unwrap();
    match row["name"].as_str().unwrap() {
        "elbo" => Weighting::Elbo,
        "iddpm_eps_cosine" => Weighting::IddpmCosine,
        "edm" => {
            Weighting::Edm { p_mean: p("P_mean"), p_std: p("P_std"), data_std: p("sigma_data") }
        }
        "edm_monotonic" => Weighting::EdmMonotonic {
            p_mean: p("P_mean"),
            p_std: p("P_std"),
            data_std: p("sigma_data"),
        },
        "v_cosine" => Weighting::VelocityCosine,
        "fm_ot" => Weighting::FlowMatching,
        "indi" => Weighting::Indi,
        "p2_gamma0.5" | "p2_gamma1.0" => Weighting::P2 { gamma: p("gamma"), k: p("k") },
        "min_snr_gamma5.0" => Weighting::MinSnr { gamma: p("gamma") },
        name => {
            assert!(name.starts_with("sigmoid"), "{name}");
            Weighting::Sigmoid { bias: p("b") }
        }
    }
}
