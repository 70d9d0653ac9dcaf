//! Exact references to the last digits: integrals of the oracle and of the reconstruction term against
//! others' integrals of the same functions. How the fixture was made, with 30 digits and with break
//! points wherever a component begins or two change places, is in `fixtures/exact.py` beside it.

use serde::Deserialize;
use vdm_core::likelihood::Discretized;
use vdm_core::{GaussianMixture, LogSnr, NoiseLevel, Scaling};

const VP: Scaling = Scaling::VariancePreserving;

#[derive(Deserialize)]
struct Fixture {
    mixtures: Vec<Mixture>,
    mmse: Vec<Mmse>,
    noise_error: Vec<NoiseError>,
    reconstruction: Vec<Reconstruction>,
}

/// A mixture whose means lie on a line.
#[derive(Deserialize)]
struct Mixture {
    name: String,
    weights: Vec<f64>,
    means: Vec<f64>,
    stds: Vec<f64>,
}

#[derive(Deserialize)]
struct Mmse {
    mixture: String,
    dims: usize,
    log_snr: f64,
    exact: f64,
}

#[derive(Deserialize)]
struct NoiseError {
    mixture: String,
    x: f64,
    log_snr: f64,
    exact: f64,
}

#[derive(Deserialize)]
struct Reconstruction {
    levels: u16,
    k: u16,
    log_snr: f64,
    exact: f64,
}

impl Fixture {
    fn read() -> Self {
        serde_json::from_str(include_str!("../fixtures/exact.json")).unwrap()
    }

    /// In one to three dimensions, the line in a direction that no axis has.
    fn mixture(&self, name: &str, dims: usize) -> GaussianMixture {
        let found = self.mixtures.iter().find(|mixture| mixture.name == name).unwrap();
        let direction = match dims {
            1 => vec![1.0],
            2 => vec![0.6, 0.8],
            _ => vec![1.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0],
        };
        let place = |mean: &f64| direction.iter().map(|d| d * mean).collect();
        let means = found.means.iter().map(place).collect();
        GaussianMixture::new(found.weights.clone(), means, found.stds.clone()).unwrap()
    }
}

#[track_caller]
fn assert_to_the_last_digits(got: f64, exact: f64, of: &str) {
    assert!((got / exact - 1.0).abs() < 1e-13, "{of}: {got:e}, not {exact:e}");
}

fn mmse_is_exact(dims: usize) {
    let fixture = Fixture::read();
    let cases: Vec<&Mmse> = fixture.mmse.iter().filter(|case| case.dims == dims).collect();
    assert!(cases.len() >= 5, "cases of {dims} dimensions");
    for Mmse { mixture, log_snr, exact, .. } in cases {
        let got = fixture.mixture(mixture, dims).mmse(&VP.level(*log_snr));
        assert_to_the_last_digits(got, *exact, &format!("{mixture}, {dims} dims, λ = {log_snr}"));
    }
}

#[test]
fn the_least_error_of_any_mixture_is_exact() {
    mmse_is_exact(1);
}

#[test]
fn the_least_error_in_the_plane_is_exact() {
    mmse_is_exact(2);
}

#[test]
#[ignore = "slow: cargo xtask test --full"]
fn the_least_error_in_space_is_exact() {
    mmse_is_exact(3);
}

/// One data point may lie anywhere, so that the posterior switches components within a thousandth
/// of the noise.
#[test]
fn the_noise_error_at_any_point_is_exact() {
    let fixture = Fixture::read();
    for NoiseError { mixture, x, log_snr, exact } in &fixture.noise_error {
        let got = fixture.mixture(mixture, 1).noise_error(&[*x], &VP.level(*log_snr));
        assert_to_the_last_digits(got, *exact, &format!("{mixture}, x = {x}, λ = {log_snr}"));
    }
}

#[test]
fn the_reconstruction_term_is_exact() {
    for Reconstruction { levels, k, log_snr, exact } in Fixture::read().reconstruction {
        let code = Discretized::new(levels).unwrap();
        let got = code.reconstruction(k, LogSnr::new(log_snr));
        assert_to_the_last_digits(got, exact, &format!("{k} of {levels}, λ = {log_snr}"));
    }
}

/// In the plane, by the trapezoidal rule with a step of a twentieth of a component's width, from the definition alone:
/// another integrand than that of [`GaussianMixture::mmse`].
fn by_definition(data: &GaussianMixture, at: &NoiseLevel) -> f64 {
    let step = 0.05;
    let nodes: Vec<f64> = (-160..=160).map(|i| f64::from(i) * step).collect();
    let density = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
    let mut sum = 0.0;
    for (weight, mean, std) in data.components() {
        let spread = ((at.alpha * std).powi(2) + at.sigma.powi(2)).sqrt();
        for x in &nodes {
            let column = nodes.iter().map(|y| {
                let place = |axis: usize, xi: f64| at.alpha * mean[axis] + spread * xi;
                density(*y) * data.posterior_variance(&[place(0, *x), place(1, *y)], at)
            });
            sum += weight * step * step * density(*x) * column.sum::<f64>();
        }
    }
    sum
}

/// Components in general position, which no fixture's formula serves.
#[test]
fn components_anywhere_in_the_plane_agree_with_a_step_four_times_finer() {
    let data = GaussianMixture::new(
        vec![0.3, 0.1, 0.4, 0.2],
        vec![vec![-1.0, 0.5], vec![0.8, 0.8], vec![0.2, -1.1], vec![0.3, 0.4]],
        vec![0.3, 0.2, 0.5, 0.25],
    )
    .unwrap();
    for log_snr in [-2.0, 3.0] {
        let at = VP.level(log_snr);
        let (got, finer) = (data.mmse(&at), by_definition(&data, &at));
        assert_to_the_last_digits(got, finer, &format!("λ = {log_snr}"));
    }
}
