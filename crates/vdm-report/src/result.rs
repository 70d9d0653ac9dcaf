//! What a finished run found: `result.json` and `loss_by_log_snr.json`.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::log::number_or_null;
use crate::{Error, files};

/// The contents of `result.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// The preset the configuration started from.
    pub preset: String,
    /// The data set.
    pub data: DataSource,
    /// Optimizer steps done.
    pub steps: u64,
    /// How many of them were skipped, for a gradient that was too long.
    #[serde(default)]
    pub skipped: u64,
    /// Seconds of training, evaluation left out.
    #[serde(deserialize_with = "number_or_null")]
    pub seconds: f64,
    /// Training images per second over the whole run.
    #[serde(deserialize_with = "number_or_null")]
    pub images_per_second: f64,
    /// Trainable numbers in the network.
    pub parameters: u64,
    /// Where it ran, for people: "cpu, 2 threads".
    pub device: String,
    /// Version of libtorch.
    pub libtorch: String,
    /// The seed everything random follows from.
    pub seed: u64,
    /// Likelihood of the test split.
    pub test: TestLikelihood,
    /// Whatever else the file holds. Shown in the report as it stands.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The data set a run was trained and tested on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSource {
    /// Its name.
    pub name: String,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// Items in all its splits together.
    pub items: u64,
}

/// A bound on the negative log-likelihood of the test split, in bits per dimension.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestLikelihood {
    /// The sum of its terms.
    #[serde(deserialize_with = "number_or_null")]
    pub bits_per_dim: f64,
    /// Its standard error over the items.
    #[serde(deserialize_with = "number_or_null")]
    pub standard_error: f64,
    /// What it is the sum of.
    pub terms: Vec<Term>,
    /// Test items used.
    pub items: u64,
    /// How it was estimated, for people.
    pub estimator: String,
}

impl fmt::Display for TestLikelihood {
    /// The bound, its terms and its estimator, on three lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4}", self.bits_per_dim)?;
        // One item tells no error.
        if self.standard_error.is_finite() {
            write!(f, " ± {:.4}", self.standard_error)?;
        }
        let items = if self.items == 1 { "item" } else { "items" };
        writeln!(f, " bits/dim on {} {items}", self.items)?;
        for (i, Term { name, bits_per_dim }) in self.terms.iter().enumerate() {
            write!(f, "{} {name} {bits_per_dim:.4}", if i == 0 { "  =" } else { " +" })?;
        }
        write!(f, "\n  {}", self.estimator)
    }
}

/// A part of a bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Term {
    /// Such as `prior`, `reconstruction` and `diffusion`, or `distortion` and `rate`.
    pub name: String,
    /// In bits per dimension.
    #[serde(deserialize_with = "number_or_null")]
    pub bits_per_dim: f64,
}

impl Term {
    /// A part of a bound by name.
    #[must_use]
    pub fn new(name: &str, bits_per_dim: f64) -> Self {
        Self { name: name.to_owned(), bits_per_dim }
    }
}

/// The contents of `layers.json`: what each layer of latents of a hierarchy carries, from the data up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layers {
    /// By layer.
    pub layers: Vec<LayerResult>,
}

/// What a layer of latents carries about the test items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerResult {
    /// Channels, height and width.
    pub shape: [u64; 3],
    /// Its divergence from the prior, in bits per dimension of an item.
    #[serde(deserialize_with = "number_or_null")]
    pub rate: f64,
    /// The same in nats per item.
    #[serde(deserialize_with = "number_or_null")]
    pub nats: f64,
    /// Latents whose posterior mean varies over the data by more than the threshold.
    pub active: u64,
}

/// The contents of `latents.json`: the plane of a hierarchy's two latents, where its items are in it, and what the
/// model makes of the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latents {
    /// `KL(q(z)‖p(z))` in nats, with `q(z)` the mean of the posteriors of items.
    #[serde(deserialize_with = "number_or_null")]
    pub hole: f64,
    /// Its standard error over the items.
    #[serde(deserialize_with = "number_or_null")]
    pub standard_error: f64,
    /// Latents of items, one draw from each posterior.
    pub items: Vec<[f64; 2]>,
    /// Latents drawn from the prior.
    pub drawn: Vec<[f64; 2]>,
    /// `log p(z) − log q(z)` of each of these, in nats.
    #[serde(deserialize_with = "numbers_or_null")]
    pub log_ratio: Vec<f64>,
    /// Where data are points of the plane: those of the items, from −1 to 1; else empty.
    pub item_points: Vec<[f64; 2]>,
    /// And what the model makes of the latents drawn from the prior.
    pub drawn_points: Vec<[f64; 2]>,
}

/// The contents of `loss_by_log_snr.json`: the loss `E‖ε − ε̂‖² / D` in bins of the log-SNR `λ`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LossByLogSnr {
    /// Bin centers, strictly ascending.
    pub log_snr: Vec<f64>,
    /// Mean over a bin of `‖ε − ε̂‖² / D`; 1 is what a network scores that always answers 0.
    #[serde(deserialize_with = "numbers_or_null")]
    pub loss: Vec<f64>,
    /// Standard errors of `loss`.
    #[serde(deserialize_with = "numbers_or_null")]
    pub standard_error: Vec<f64>,
    /// Dimensions `D` of one item.
    pub data_dims: u64,
}

impl LossByLogSnr {
    /// Reads the file and checks that its arrays belong together.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Json`], [`Error::Damaged`], or [`Error::Inconsistent`] for arrays of different lengths,
    /// fewer than two bins, or bin centers that do not ascend.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let curve: Self = files::read_sealed(path)?;
        match curve.fault() {
            None => Ok(curve),
            Some(reason) => Err(Error::Inconsistent { path: path.to_owned(), reason }),
        }
    }

    fn fault(&self) -> Option<String> {
        let (n, loss, error) = (self.log_snr.len(), self.loss.len(), self.standard_error.len());
        if n != loss || n != error {
            return Some(format!(
                "{n} values of log_snr, {loss} of loss, {error} of standard_error"
            ));
        }
        if n < 2 {
            return Some(format!("{n} bins make no curve; 2 or more come of more items or draws"));
        }
        let unsorted = self.log_snr.windows(2).position(|pair| pair[0] >= pair[1])?;
        Some(format!("log_snr does not ascend at entry {}", unsorted + 1))
    }

    /// What each unit of `λ` adds to the diffusion term, in bits per dimension: `loss / (2 ln 2)`,
    /// since the continuous-time bound is `½ ∫ E‖ε − ε̂‖² dλ` nats.
    ///
    /// ```
    /// # let curve = vdm_report::result::LossByLogSnr {
    /// #     log_snr: vec![-1.0, 0.0, 1.0], loss: vec![0.2, 0.4, 0.6],
    /// #     standard_error: vec![0.0; 3], data_dims: 64 };
    /// assert_eq!(curve.log_snr, [-1.0, 0.0, 1.0]);
    /// assert_eq!(curve.loss, [0.2, 0.4, 0.6]);
    /// // Three bins one wide: 1.2 / (2 ln 2) bits.
    /// assert!((curve.diffusion_bits_per_dim() - 1.2 / (2.0 * 2.0_f64.ln())).abs() < 1e-12);
    /// ```
    #[must_use]
    pub fn integrand(&self) -> Vec<f64> {
        self.loss.iter().map(|loss| loss / (2.0 * std::f64::consts::LN_2)).collect()
    }

    /// The area under [`LossByLogSnr::integrand`], each value standing for its whole bin. Bins
    /// without a finite loss count nothing.
    #[must_use]
    pub fn diffusion_bits_per_dim(&self) -> f64 {
        let bins = bin_widths(&self.log_snr).into_iter().zip(self.integrand());
        bins.map(|(width, value)| width * value).filter(|area| area.is_finite()).sum()
    }
}

/// `noise_levels.json`: where a training noised its items. Points are `[x, y]`, x ascending.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoiseLevels {
    /// Optimizer steps taken when it was written.
    pub step: u64,
    /// `(t, λ)` of the noise schedule as configured.
    pub schedule_at_start: Vec<[f64; 2]>,
    /// The same by now: another curve if the schedule is learned.
    pub schedule: Vec<[f64; 2]>,
    /// `(λ, p(λ))`: the density that levels are drawn with by now.
    pub density: Vec<[f64; 2]>,
}

/// Widths of the bins around these centers: edges lie half-way, and the outer bins are symmetric.
fn bin_widths(centers: &[f64]) -> Vec<f64> {
    let gap = |i: usize| centers[i + 1] - centers[i];
    let last = centers.len() - 1;
    (0..=last).map(|i| 0.5 * (gap(i.max(1) - 1) + gap(i.min(last - 1)))).collect()
}

/// For `deserialize_with`: an array in which `null` stands for a number that was not finite.
fn numbers_or_null<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    let numbers = Vec::<Option<f64>>::deserialize(from)?;
    Ok(numbers.into_iter().map(|number| number.unwrap_or(f64::NAN)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_follow_the_neighbors() {
        assert_eq!(bin_widths(&[0.0, 1.0, 3.0]), [1.0, 1.5, 2.0]);
        assert_eq!(bin_widths(&[0.0, 2.0]), [2.0, 2.0]);
    }

    #[test]
    fn a_curve_that_contradicts_itself_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("loss_by_log_snr.json");
        let message = |text: &str| {
            let curve: Value = serde_json::from_str(text).unwrap();
            files::write_sealed(&path, &curve).unwrap();
            LossByLogSnr::read(&path).unwrap_err().to_string()
        };
        let curve = |log_snr: &str, loss: &str| {
            format!(
                r#"{{"log_snr":{log_snr},"loss":{loss},"standard_error":[0,0],"data_dims":64}}"#
            )
        };
        assert!(message(&curve("[0,1]", "[1]")).contains("1 of loss"));
        assert!(message(&curve("[1,1]", "[1,1]")).contains("ascend at entry 1"));
        assert!(message("{}").contains("missing field"));
        let none = r#"{"log_snr":[],"loss":[],"standard_error":[],"data_dims":64}"#;
        assert!(message(none).contains("0 bins"));
    }

    #[test]
    fn an_empty_bin_counts_nothing() {
        let text =
            r#"{"log_snr":[0,1,2],"loss":[1,null,1],"standard_error":[0,null,0],"data_dims":4}"#;
        let curve: LossByLogSnr = serde_json::from_str(text).unwrap();
        let bits = 2.0 / (2.0 * std::f64::consts::LN_2);
        assert!((curve.diffusion_bits_per_dim() - bits).abs() < 1e-12);
    }

    #[test]
    fn fields_of_others_survive_a_round_trip() {
        let text = serde_json::json!({
            "preset": "digits", "data": {"name": "digits", "sha256": "00", "items": 1797},
            "steps": 1, "skipped": 0, "seconds": 2.0, "images_per_second": null, "parameters": 3,
            "device": "cpu", "libtorch": "2.11.0", "seed": 0, "git": "abc",
            "test": {"bits_per_dim": 1.5, "standard_error": 0.1,
                     "terms": [{"name": "prior", "bits_per_dim": 1.5}], "items": 359, "estimator": "L_inf"},
        });
        let result: RunResult = serde_json::from_value(text.clone()).unwrap();
        assert!(result.images_per_second.is_nan());
        assert_eq!(result.other["git"], "abc");
        assert_eq!(serde_json::to_value(&result).unwrap(), text);
    }
}
