//! The reference table of weightings.

use serde_json::Value;
use vdm_core::schedule::{Cosine, Normal, StraightLine};
use vdm_core::{LogSnr, NoiseSchedule, Parameterization, Scaling, Weighting, weighting};

pub(crate) fn fixture() -> Value {
    serde_json::from_str(include_str!("../../fixtures/weights.json")).unwrap()
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

/// A squared error of some prediction at times of some schedule, as published.
pub(crate) struct Loss {
    pub(crate) schedule: Box<dyn NoiseSchedule>,
    scaling: Scaling,
    of: Parameterization,
    /// A factor of its own, as a function of the SNR.
    factor: fn(f64) -> f64,
}

impl Loss {
    /// The weight that it comes to.
    pub(crate) fn implied(&self, at: LogSnr) -> f64 {
        weighting::implied(self.of, self.scaling, &*self.schedule, at) * (self.factor)(at.snr())
    }
}

/// The loss that a weight of the table comes from.
pub(crate) fn loss(name: &str) -> Option<Loss> {
    let plain = |schedule: Box<dyn NoiseSchedule>, scaling, of| Loss {
        schedule,
        scaling,
        of,
        factor: |_| 1.0,
    };
    let on_cosine = |of| plain(Box::<Cosine>::default(), Scaling::VariancePreserving, of);
    let on_the_line = |of| plain(Box::<StraightLine>::default(), Scaling::StraightLine, of);
    let with = |factor| Loss { factor, ..on_cosine(Parameterization::Noise) };
    Some(match name {
        "iddpm_eps_cosine" => on_cosine(Parameterization::Noise),
        "v_cosine" => on_cosine(Parameterization::Velocity),
        "fm_ot" => on_the_line(Parameterization::Flow),
        "indi" => on_the_line(Parameterization::Image),
        "edm" => {
            let normal = Box::new(Normal::edm(-1.2, 1.2).unwrap());
            plain(normal, Scaling::VarianceExploding, Parameterization::Edm { data_std: 0.5 })
        }
        "p2_gamma0.5" => with(|snr| (1.0 + snr).powf(-0.5)),
        "p2_gamma1.0" => with(|snr| 1.0 / (1.0 + snr)),
        "min_snr_gamma5.0" => with(|snr| (5.0_f64 / snr).min(1.0)),
        _ => return None,
    })
}
