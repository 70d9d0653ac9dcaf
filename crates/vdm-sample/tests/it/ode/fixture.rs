//! Reading the reference solutions.

use std::collections::BTreeMap;

use serde_json::Value;
use vdm_core::{GaussianMixture, Scaling};

/// One path of the probability-flow ODE that another program solved.
pub(crate) struct Case {
    pub(crate) model: GaussianMixture,
    pub(crate) scaling: Scaling,
    pub(crate) fields: Value,
}

impl Case {
    pub(crate) fn number(&self, field: &str) -> f64 {
        self.fields[field].as_f64().unwrap_or_else(|| panic!("{field} of {}", self.fields))
    }

    pub(crate) fn latent(&self, field: &str) -> Vec<f64> {
        serde_json::from_value(self.fields[field].clone()).unwrap()
    }
}

fn file() -> Value {
    serde_json::from_str(include_str!("../../fixtures/ode.json")).unwrap()
}

/// The data of the cases, by name.
pub(crate) fn mixtures() -> BTreeMap<String, GaussianMixture> {
    let read = |field: &Value| serde_json::from_value(field.clone()).unwrap();
    let mixture = |m: &Value| {
        let means = serde_json::from_value(m["means"].clone()).unwrap();
        GaussianMixture::new(read(&m["weights"]), means, read(&m["stds"])).unwrap()
    };
    let file = file();
    let entries = file["mixtures"].as_object().unwrap().iter();
    entries.map(|(name, m)| (name.clone(), mixture(m))).collect()
}

pub(crate) fn cases() -> Vec<Case> {
    let mixtures = mixtures();
    let case = |fields: &Value| Case {
        model: mixtures[fields["mixture"].as_str().unwrap()].clone(),
        scaling: match fields["family"].as_str().unwrap() {
            "ve" => Scaling::VarianceExploding,
            "fm_ot" => Scaling::StraightLine,
            _ => Scaling::VariancePreserving,
        },
        fields: fields.clone(),
    };
    file()["cases"].as_array().unwrap().iter().map(case).collect()
}
