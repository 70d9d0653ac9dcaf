//! Four models, one bound: every item of the monograph's chapter 2, and the bridge to diffusion.

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use proptest::prelude::*;
use vdm_core::hlvm::diffusion::Chain;
use vdm_core::hlvm::{
    Conditional, Factor, Graph, Hlvm, Joint, Linear, Normal, layered, monte_carlo, sigma_points,
};
use vdm_core::{Dual, GaussianMixture, LogSnr, NoiseLevel, Scaling, bound, quadrature};

use crate::random::Random;

const VP: Scaling = Scaling::VariancePreserving;

impl Random {
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }
}

/// Fails if the mean of `samples` is more than 4 standard errors from `wanted`: by chance once in
/// 16,000 times, and with the fixed seeds of this file never.
fn assert_mean(samples: &[f64], wanted: f64, what: &str) {
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    let var = samples.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let z = (mean - wanted) / (var / n).sqrt();
    assert!(z.abs() < 4.0, "{what}: {mean} for {wanted}, {z} standard errors");
}

fn assert_close(got: f64, wanted: f64, tolerance: f64, what: &str) {
    let allowed = tolerance * (1.0 + wanted.abs());
    assert!((got - wanted).abs() <= allowed, "{what}: {got} for {wanted}");
}

fn exact<P: Conditional, Q: Conditional>(model: &Hlvm<P, Q>, x: &[f64]) -> f64 {
    model.elbo(x, sigma_points(model.latents())).total()
}

/// The bound at each of `n` random draws.
fn estimates<P: Conditional, Q: Conditional>(
    model: &Hlvm<P, Q>,
    x: &[f64],
    n: usize,
    seed: u64,
) -> Vec<f64> {
    let mut random = Random::new(seed);
    let mut one = || model.elbo(x, monte_carlo(1, model.latents(), || random.normal())).total();
    (0..n).map(|_| one()).collect()
}

/// `log p(x, z) − log q(z | x)` at a draw from `q`, by ancestral sampling.
fn log_ratio<P: Conditional, Q: Conditional>(model: &Hlvm<P, Q>, x: &[f64], eps: &[f64]) -> f64 {
    let mut values: BTreeMap<usize, f64> =
        model.observed().iter().copied().zip(x.iter().copied()).collect();
    for (factor, eps) in model.inference().factors().iter().zip(eps) {
        let z = factor.at(&values).unwrap().reparameterize(*eps);
        values.insert(factor.child, z);
    }
    let log_p = model.generative().log_density(&values).unwrap();
    log_p - model.inference().log_density(&values).unwrap()
}

fn root(mean: f64, var: f64) -> Linear {
    Linear::new(mean, [], var)
}

// Two-dimensional Gaussians, written out: the truth that the graphs are held against.

type Vector = [f64; 2];
type Matrix = [[f64; 2]; 2];

fn determinant(m: &Matrix) -> f64 {
    m[0][0] * m[1][1] - m[0][1] * m[1][0]
}

fn inverse(m: &Matrix) -> Matrix {
    let d = determinant(m);
    [[m[1][1] / d, -m[0][1] / d], [-m[1][0] / d, m[0][0] / d]]
}

fn quadratic(m: &Matrix, v: Vector) -> f64 {
    v[0] * (m[0][0] * v[0] + m[0][1] * v[1]) + v[1] * (m[1][0] * v[0] + m[1][1] * v[1])
}

fn kl_2d(mean_q: Vector, cov_q: &Matrix, mean_p: Vector, cov_p: &Matrix) -> f64 {
    let precision = inverse(cov_p);
    let trace: f64 =
        (0..2).map(|i| (0..2).map(|j| precision[i][j] * cov_q[j][i]).sum::<f64>()).sum();
    let gap = [mean_q[0] - mean_p[0], mean_q[1] - mean_p[1]];
    let shape = trace - 2.0 - (determinant(cov_q) / determinant(cov_p)).ln();
    0.5 * (quadratic(&precision, gap) + shape)
}

/// Two pixels, two latents, an encoder that is not the posterior.
fn linear_vae() -> Hlvm<Linear, Linear> {
    let decoder = vec![Linear::new(0.3, [0.9, -0.4], 0.5), Linear::new(-0.2, [0.2, 1.1], 0.3)];
    let encoder = vec![Linear::new(0.1, [0.4, 0.2], 0.6), Linear::new(-0.3, [-0.1, 0.5], 0.4)];
    let prior = vec![root(0.0, 1.0), root(0.0, 1.0)];
    let generative = layered::generative(vec![decoder, prior]);
    Hlvm::new(generative, layered::bottom_up(2, vec![encoder])).unwrap()
}

/// A chain `z_2 → z_1 → x` of scalars, nodes 2, 1, 0.
fn chain_of_two() -> Graph<Linear> {
    let layers = [Linear::new(0.2, [0.8], 0.5), Linear::new(-0.1, [1.2], 0.7), root(0.4, 1.5)];
    layered::generative(layers.map(|layer| vec![layer]).to_vec())
}

/// 1e-10: a dozen operations of f64 on numbers of order one, with two digits to spare.
#[test]
fn m1_the_gap_of_the_bound_is_the_divergence_from_the_posterior() {
    let (model, x) = (linear_vae(), [1.3, -0.6]);
    // x = b + Wz + noise, in matrices: p(x) = N(b, WWᵀ + R), and the posterior has precision
    // I + WᵀR⁻¹W.
    let (b, w, r) = ([0.3, -0.2], [[0.9, -0.4], [0.2, 1.1]], [0.5, 0.3]);
    let residual = [x[0] - b[0], x[1] - b[1]];
    let product = |i: usize, j: usize| w[i][0] * w[j][0] + w[i][1] * w[j][1];
    let cov_x = [[product(0, 0) + r[0], product(0, 1)], [product(1, 0), product(1, 1) + r[1]]];
    let square = quadratic(&inverse(&cov_x), residual);
    let log_p = -0.5 * (square + determinant(&cov_x).ln()) - TAU.ln();
    let gram = |i: usize, j: usize| w[0][i] * w[0][j] / r[0] + w[1][i] * w[1][j] / r[1];
    let cov_p = inverse(&[[1.0 + gram(0, 0), gram(0, 1)], [gram(1, 0), 1.0 + gram(1, 1)]]);
    let evidence = [0, 1].map(|i| w[0][i] * residual[0] / r[0] + w[1][i] * residual[1] / r[1]);
    let mean_p = [0, 1].map(|i| cov_p[i][0] * evidence[0] + cov_p[i][1] * evidence[1]);
    let mean_q = [0.1 + 0.4 * x[0] + 0.2 * x[1], -0.3 - 0.1 * x[0] + 0.5 * x[1]];
    let gap = kl_2d(mean_q, &[[0.6, 0.0], [0.0, 0.4]], mean_p, &cov_p);

    let joint = model.generative().joint().unwrap();
    assert_close(joint.log_density(&[(0, x[0]), (1, x[1])]), log_p, 1e-10, "log p(x)");
    assert!(gap > 0.1, "the encoder is not the posterior: {gap}");
    assert_close(log_p - exact(&model, &x), gap, 1e-10, "gap");

    let posterior = joint.posterior(&[2, 3], &[0, 1]);
    let model = Hlvm::new(model.generative().clone(), posterior).unwrap();
    assert_close(exact(&model, &x), log_p, 1e-10, "bound of the posterior");
}

#[test]
fn m2_both_forms_of_the_bound_agree_in_expectation() {
    let (model, x) = (linear_vae(), [1.3, -0.6]);
    let wanted = exact(&model, &x);
    let mut random = Random::new(2);
    let ratios: Vec<f64> =
        (0..20_000).map(|_| log_ratio(&model, &x, &[random.normal(), random.normal()])).collect();
    assert_mean(&ratios, wanted, "log-joint minus log q");
    let single = estimates(&model, &x, 20_000, 3);
    assert_mean(&single, wanted, "reconstruction minus KL");
    let mut random = Random::new(3);
    let average = model.elbo(&x, monte_carlo(20_000, 2, || random.normal())).total();
    assert_close(average, single.iter().sum::<f64>() / 20_000.0, 1e-11, "average of single draws");
}

#[test]
fn m2_analytic_integrals_agree_with_draws() {
    let (q, p) = (Normal::new(0.7, 0.3), Normal::new(-0.4, 1.9));
    let mut random = Random::new(4);
    let draws: Vec<f64> = (0..20_000).map(|_| q.reparameterize(random.normal())).collect();
    let mean_of = |f: &dyn Fn(&f64) -> f64| draws.iter().map(f).collect::<Vec<f64>>();
    assert_mean(&mean_of(&|z| q.log_density(z) - p.log_density(z)), q.kl(&p), "KL");
    assert_mean(&mean_of(&|z| -q.log_density(z)), q.entropy(), "entropy");
    assert_mean(&mean_of(&|z| -p.log_density(z)), q.cross_entropy(&p), "cross-entropy");
    let by_quadrature = quadrature::normal(1, |eps| {
        let z = q.reparameterize(eps[0]);
        q.log_density(&z) - p.log_density(&z)
    });
    assert_close(q.kl(&p), by_quadrature, 1e-13, "KL by quadrature");
    assert_eq!(q.kl(&q).to_bits(), 0.0_f64.to_bits());
}

/// ELBO(a, w, v) = −½ln(2πr) − ((x − awx)² + a²v)/2r − ½(w²x² + v − 1 − ln v), differentiated by
/// hand, against the derivative that `Dual` carries through the draws.
#[test]
fn m3_reparameterized_gradients_are_unbiased() {
    let (x, r) = (1.4, 0.5);
    let at = [0.8, 0.3, 0.6];
    let [a, w, v] = at;
    let wanted = [
        (w * x * x * (1.0 - a * w) - a * v) / r,
        a * x * x * (1.0 - a * w) / r - w * x * x,
        -0.5 * a * a / r - 0.5 * (1.0 - 1.0 / v),
    ];
    for (i, (name, wanted)) in ["decoder", "encoder", "variance"].iter().zip(wanted).enumerate() {
        let mut parameters = at.map(Dual::constant);
        parameters[i] = Dual::variable(at[i]);
        let [a, w, v] = parameters;
        let [zero, one, r] = [0.0, 1.0, r].map(Dual::constant);
        let decoder = vec![Linear::new(zero, [a], r)];
        let prior = vec![Linear::new(zero, [], one)];
        let encoder = layered::bottom_up(1, vec![vec![Linear::new(zero, [w], v)]]);
        let model = Hlvm::new(layered::generative(vec![decoder, prior]), encoder).unwrap();
        let x = [Dual::constant(x)];
        let gradient = model.elbo(&x, sigma_points(1)).total().derivative;
        assert_close(gradient, wanted, 1e-14, name);
        let mut random = Random::new(5);
        let mut draw = || model.elbo(&x, monte_carlo(1, 1, || random.normal())).total().derivative;
        let samples: Vec<f64> = (0..20_000).map(|_| draw()).collect();
        assert_mean(&samples, wanted, name);
    }
}

/// A bottom-up posterior that is not exact, `q(z_1|x) q(z_2|z_1)`, as moments by hand.
#[test]
fn m4_a_bottom_up_bound_is_divergences_and_entropies() {
    let x = 0.9;
    let (q1, q2) = (Linear::new(0.3, [0.5], 0.4), Linear::new(0.1, [0.6], 0.8));
    let inference = layered::bottom_up(1, vec![vec![q1], vec![q2]]);
    let model = Hlvm::new(chain_of_two(), inference).unwrap();
    let bound = model.elbo(&[x], sigma_points(2));

    let (m1, v1) = (0.3 + 0.5 * x, 0.4);
    let (m2, v2) = (0.1 + 0.6 * m1, 0.36 * v1 + 0.8);
    let c12 = 0.6 * v1;
    let reconstruction =
        -0.5 * ((TAU * 0.5).ln() + ((x - 0.2 - 0.8 * m1).powi(2) + 0.64 * v1) / 0.5);
    let square = (m1 + 0.1 - 1.2 * m2).powi(2) + v1 - 2.4 * c12 + 1.44 * v2;
    let cross = 0.5 * ((TAU * 0.7).ln() + square / 0.7);
    let entropy = 0.5 * ((TAU * v1).ln() + 1.0);
    // KL(N(·, 0.8) ‖ N(·, 1.5)) at equal means, and what their distance adds on average.
    let top = 0.5 * (0.8 / 1.5 - 1.0 - (0.8_f64 / 1.5).ln())
        + 0.5 * ((m2 - 0.4).powi(2) + 0.36 * v1) / 1.5;
    assert_close(bound.terms[&0], reconstruction, 1e-14, "reconstruction");
    assert_close(bound.terms[&1], entropy - cross, 1e-14, "entropy and cross-entropy of z_1");
    assert_close(bound.terms[&2], -top, 1e-14, "divergence of z_2");

    // p(z_1, z_2 | x): prior precisions of the chain plus those of the likelihood.
    let precision = [[1.0 / 0.7 + 0.64 / 0.5, -1.2 / 0.7], [-1.2 / 0.7, 1.0 / 1.5 + 1.44 / 0.7]];
    let potential = [-0.1 / 0.7 + 0.8 * (x - 0.2) / 0.5, 0.4 / 1.5 + 1.2 * 0.1 / 0.7];
    let cov = inverse(&precision);
    let mean = [0, 1].map(|i| cov[i][0] * potential[0] + cov[i][1] * potential[1]);
    let gap = kl_2d([m1, m2], &[[v1, c12], [c12, v2]], mean, &cov);
    let (mean_x, var_x) = (0.2 + 0.8 * (-0.1 + 1.2 * 0.4), 0.5 + 0.64 * (0.7 + 1.44 * 1.5));
    let log_p = Normal::new(mean_x, var_x).log_density(&x);
    assert_close(bound.total(), log_p - gap, 1e-13, "log p(x) − KL(q‖p)");
}

#[test]
fn m5_a_layer_is_inferred_by_the_likelihood_below_and_the_prior_above() {
    let (model, x, z2) = (chain_of_two(), 0.9, -0.3);
    let joint = model.joint().unwrap();
    // As a function of z_1, p(x | z_1) is a Gaussian around (x − b)/w.
    let likelihood = Normal::new((x - 0.2) / 0.8, 0.5 / 0.64);
    let prior = Normal::new(-0.1 + 1.2 * z2, 0.7);
    let by_conjugacy = likelihood.product(&prior);
    let by_regression = joint.conditional(1, &[2, 0]).given(&[z2, x]);
    assert_close(by_conjugacy.mean, by_regression.mean, 1e-14, "mean of z_1");
    assert_close(by_conjugacy.var, by_regression.var, 1e-14, "variance of z_1");
    // The top layer sees x through z_1: slope 0.8·1.2, variance 0.5 + 0.8²·0.7.
    let likelihood = Normal::new((x - 0.2 + 0.08) / 0.96, (0.5 + 0.64 * 0.7) / 0.96_f64.powi(2));
    let by_conjugacy = likelihood.product(&Normal::new(0.4, 1.5));
    let by_regression = joint.conditional(2, &[0]).given(&[x]);
    assert_close(by_conjugacy.mean, by_regression.mean, 1e-14, "mean of z_2");
    assert_close(by_conjugacy.var, by_regression.var, 1e-14, "variance of z_2");

    let shape = || vec![vec![()]; 2];
    let log_p = joint.log_density(&[(0, x)]);
    for (name, posterior) in [
        ("bottom-up", joint.project(&layered::bottom_up(1, shape()))),
        ("top-down", joint.project(&layered::top_down(1, shape()))),
    ] {
        let model = Hlvm::new(model.clone(), posterior).unwrap();
        assert_close(exact(&model, &[x]), log_p, 1e-13, name);
    }
    // Without the edge from z_1 to z_2 no posterior of that shape is exact.
    let blind = Graph::new(vec![Factor::new(1, [0], ()), Factor::new(2, [0], ())]).unwrap();
    let model = Hlvm::new(model, joint.project(&blind)).unwrap();
    assert!(log_p - exact(&model, &[x]) > 0.1);
}

#[test]
fn m6_a_top_down_bound_is_a_sum_over_levels() {
    let generative = layered::generative(vec![
        vec![Linear::new(0.2, [0.8, -0.5], 0.5), Linear::new(0.0, [0.3, 0.7], 0.4)],
        vec![Linear::new(-0.1, [1.2], 0.7), Linear::new(0.5, [-0.6], 0.9)],
        vec![root(0.4, 1.5)],
    ]);
    let inference = layered::top_down(
        2,
        vec![
            vec![Linear::new(0.1, [0.4, 0.3, 0.1], 0.5), Linear::new(0.0, [-0.2, 0.2, 0.4], 0.3)],
            vec![Linear::new(0.2, [0.3, -0.1], 1.1)],
        ],
    );
    let (model, x) = (Hlvm::new(generative, inference).unwrap(), [0.9, -0.4]);
    let bound = exact(&model, &x);
    let jointly: f64 = sigma_points(3).map(|d| d.weight * log_ratio(&model, &x, &d.eps)).sum();
    assert_close(jointly, bound, 1e-13, "one joint expectation");
    let mut random = Random::new(6);
    let mut draw = || log_ratio(&model, &x, &[(); 3].map(|()| random.normal()));
    let samples: Vec<f64> = (0..20_000).map(|_| draw()).collect();
    assert_mean(&samples, bound, "one joint Monte-Carlo estimate");
}

// Diffusion.

/// `T + 1` levels, evenly spaced in λ.
fn levels(steps: usize) -> Vec<NoiseLevel> {
    (0..=steps).map(|i| VP.level(6.0 - 10.0 * i as f64 / steps as f64)).collect()
}

/// The discrete-time bound of the monograph's §2.2, term by term; `noise_error` is
/// `E‖ε − ε̂(z_t)‖²` over the one-shot distribution of `z_t`.
fn closed_form(x: &[f64], levels: &[NoiseLevel], noise_error: impl Fn(&NoiseLevel) -> f64) -> f64 {
    let lambda = |level: &NoiseLevel| LogSnr::new(level.log_snr);
    let top = levels.last().unwrap();
    let prior: f64 = x.iter().map(|x| bound::prior_kl(lambda(top), *x)).sum();
    // z_0/α_0 − x = (σ_0/α_0)·ε, so the reconstruction is minus an entropy.
    let reconstruction = 0.5 * x.len() as f64 * ((TAU.ln() + 1.0) - levels[0].log_snr);
    let step = |pair: &[NoiseLevel]| {
        bound::discrete_factor(lambda(&pair[0]), lambda(&pair[1])) * noise_error(&pair[1])
    };
    -(prior + reconstruction + levels.windows(2).map(step).sum::<f64>())
}

/// Data `N(m, s²)` in each dimension and its exact denoiser, which is linear: sigma points make the
/// bound exact. 1e-11: `expm1(λ_s − λ_t)` reaches e^10 at T = 1, where errors of ε count for more.
#[test]
fn m11_the_bound_of_a_diffusion_chain_is_the_diffusion_bound() {
    let (mean, var) = (0.4, 0.3);
    let gain = |at: &NoiseLevel| at.alpha * var / (at.alpha * at.alpha * var + at.sigma * at.sigma);
    let x_hat = |z: &[f64], at: &NoiseLevel| -> Vec<f64> {
        z.iter().map(|z| mean + gain(at) * (z - at.alpha * mean)).collect()
    };
    for (x, steps) in (1..=8).flat_map(|steps| [(vec![-0.7], steps), (vec![1.1, 0.2], steps)]) {
        let levels = levels(steps);
        // x − x̂ = (1 − αg)(x − m) − gσε, so ε − ε̂ = −α/σ times it.
        let wanted = closed_form(&x, &levels, |at| {
            let (g, ratio) = (gain(at), at.alpha / at.sigma);
            let bias = |x: &f64| ((1.0 - at.alpha * g) * (x - mean)).powi(2);
            ratio * ratio * x.iter().map(|x| bias(x) + (g * at.sigma).powi(2)).sum::<f64>()
        });
        let chain = Chain::new(&levels, x.len()).unwrap();
        let (prior, likelihood) = (Normal::new(0.0, 1.0), chain.likelihood());
        let generative = || chain.generative(&prior, &x_hat, &likelihood);
        let top_down = Hlvm::new(generative(), chain.top_down()).unwrap();
        let bottom_up = Hlvm::new(generative(), chain.bottom_up()).unwrap();
        assert_close(exact(&top_down, &x), wanted, 1e-11, &format!("top-down, T = {steps}"));
        assert_close(exact(&bottom_up, &x), wanted, 1e-11, &format!("bottom-up, T = {steps}"));
    }
}

/// The mean of `f(ε)` over standard normals in `dims` dimensions, by the trapezoidal rule on
/// [−8, 8], which for smooth functions is exact up to the tail (1e-15) once it resolves them.
fn quadrature(dims: usize, f: impl Fn(&[f64]) -> f64) -> f64 {
    let points: Vec<(f64, f64)> = (-160..=160)
        .map(|i| f64::from(i) * 0.05)
        .map(|eps| (eps, 0.05 * Normal::new(0.0, 1.0).log_density(&eps).exp()))
        .collect();
    match dims {
        1 => points.iter().map(|(eps, w)| w * f(&[*eps])).sum(),
        _ => {
            let row = |a: f64| points.iter().map(|(b, w)| w * f(&[a, *b])).sum::<f64>();
            points.iter().map(|(a, w)| w * row(*a)).sum()
        }
    }
}

/// Chains of these lengths, for data on a line and in the plane.
fn holds_for_chains_that_are_not_linear(on_line: &[usize], in_plane: &[usize]) {
    let mixture = |means: [Vec<f64>; 2]| {
        GaussianMixture::new(vec![0.3, 0.7], means.to_vec(), vec![0.4, 0.3]).unwrap()
    };
    let line = mixture([vec![-1.0], vec![0.8]]);
    let plane = mixture([vec![-1.0, 0.5], vec![0.8, -0.2]]);
    let cases = on_line.iter().map(|steps| (&line, vec![0.1], *steps));
    let more = in_plane.iter().map(|steps| (&plane, vec![-0.2, 0.3], *steps));
    for (data, x, steps) in cases.chain(more) {
        let levels = levels(steps);
        let x_hat = |z: &[f64], at: &NoiseLevel| data.posterior_mean(z, at);
        let wanted = closed_form(&x, &levels, |at| {
            quadrature(x.len(), |eps| {
                let noised = x.iter().zip(eps).map(|(x, eps)| at.alpha * x + at.sigma * eps);
                let image = x_hat(&noised.collect::<Vec<f64>>(), at);
                let square = |(x, x_hat): (&f64, &f64)| (at.alpha / at.sigma * (x - x_hat)).powi(2);
                x.iter().zip(&image).map(square).sum()
            })
        });
        let chain = Chain::new(&levels, x.len()).unwrap();
        let (prior, likelihood) = (Normal::new(0.0, 1.0), chain.likelihood());
        let generative = || chain.generative(&prior, &x_hat, &likelihood);
        let top_down = Hlvm::new(generative(), chain.top_down()).unwrap();
        let bottom_up = Hlvm::new(generative(), chain.bottom_up()).unwrap();
        let name = |order| format!("{order}, D = {}, T = {steps}", x.len());
        assert_mean(&estimates(&top_down, &x, 4_000, 7), wanted, &name("top-down"));
        assert_mean(&estimates(&bottom_up, &x, 4_000, 8), wanted, &name("bottom-up"));
    }
}

#[test]
#[ignore = "slow: cargo xtask test --full"]
fn m11_it_holds_for_a_denoiser_that_is_not_linear() {
    holds_for_chains_that_are_not_linear(&[1, 3], &[2]);
}

#[test]
#[ignore = "slow: cargo xtask test --full"]
fn m11_it_holds_for_chains_of_every_length() {
    holds_for_chains_that_are_not_linear(&[2, 4, 5, 6, 7, 8], &[1, 3, 8]);
}

/// The derivative by the noisiest λ, against a central difference: h = 1e-5, error O(h²) + ε/h.
#[test]
fn m11_the_bound_of_a_chain_has_a_derivative_by_its_noise_levels() {
    let at = |top: Dual| {
        let levels = [Dual::constant(5.0), Dual::constant(1.0), top].map(|l| VP.level(l));
        let chain = Chain::new(&levels, 1).unwrap();
        let prior = Normal::new(Dual::constant(0.0), Dual::constant(1.0));
        let x_hat = |z: &[Dual], at: &NoiseLevel<Dual>| vec![Dual::constant(0.9) * at.alpha * z[0]];
        let likelihood = chain.likelihood();
        let model = Hlvm::new(chain.generative(&prior, &x_hat, &likelihood), chain.top_down());
        model.unwrap().elbo(&[Dual::constant(0.6)], sigma_points(3)).total()
    };
    let numeric =
        (at(Dual::constant(-2.0 + 1e-5)).value - at(Dual::constant(-2.0 - 1e-5)).value) / 2e-5;
    let gradient = at(Dual::variable(-2.0)).derivative;
    assert!(gradient.abs() > 1e-3);
    assert_close(gradient, numeric, 1e-8, "dELBO/dλ_T");
}

/// The edges drawn are those of the factors, solid for generation and dashed for inference.
#[test]
fn m12_the_four_models_are_drawn_from_their_factors() {
    let shape = |layers: usize| vec![vec![()]; layers];
    let levels = levels(1);
    let chain = Chain::new(&levels, 2).unwrap();
    let (prior, likelihood) = (Normal::new(0.0, 1.0), chain.likelihood());
    let x_hat = |z: &[f64], _: &NoiseLevel| z.to_vec();
    let hierarchy = |inference| Hlvm::new(layered::generative(shape(3)), inference).unwrap();
    let vae = Hlvm::new(layered::generative(shape(2)), layered::bottom_up(1, shape(1))).unwrap();
    let bottom_up = hierarchy(layered::bottom_up(1, shape(2)));
    let top_down = hierarchy(layered::top_down(1, shape(2)));
    let diffusion =
        Hlvm::new(chain.generative(&prior, &x_hat, &likelihood), chain.top_down()).unwrap();

    assert_eq!(drawn(&vae), ("1>0".into(), "0>1".into()));
    assert_eq!(drawn(&bottom_up), ("2>1 1>0".into(), "0>1 1>2".into()));
    assert_eq!(drawn(&top_down), ("2>1 1>0".into(), "0>2 2>1 0>1".into()));
    // x = (0, 1), z_0 = (2, 3), z_1 = (4, 5): the denoiser sees the whole latent, q its own node.
    let generation = "4>2 5>2 4>3 5>3 2>0 3>1".into();
    assert_eq!(drawn(&diffusion), (generation, "0>4 1>5 4>2 0>2 5>3 1>3".into()));
}

/// Solid and dashed edges of a figure, read back from its text and checked against the factors.
fn drawn<P, Q>(model: &Hlvm<P, Q>) -> (String, String) {
    let figure = model.to_dot(|node| format!("n{node}"));
    let (dashed, solid): (Vec<&str>, Vec<&str>) =
        figure.lines().filter(|l| l.contains("->")).partition(|l| l.contains("dashed"));
    let edges = |lines: Vec<&str>| {
        let ends = |line: &str| -> Vec<usize> {
            let names = line.split('"').skip(1).step_by(2);
            names.map(|name| name[1..].parse().unwrap()).collect()
        };
        lines.into_iter().map(ends).map(|e| (e[0], e[1])).collect::<Vec<(usize, usize)>>()
    };
    let (solid, dashed) = (edges(solid), edges(dashed));
    assert_eq!(solid, model.generative().edges().collect::<Vec<_>>());
    assert_eq!(dashed, model.inference().edges().collect::<Vec<_>>());
    let shaded: Vec<String> =
        model.observed().iter().map(|x| format!("\"n{x}\" [style=filled];")).collect();
    assert!(shaded.iter().all(|line| figure.contains(line)));
    assert_eq!(figure.matches("filled").count(), shaded.len());
    let text = |edges: Vec<(usize, usize)>| {
        edges.iter().map(|(a, b)| format!("{a}>{b}")).collect::<Vec<_>>().join(" ")
    };
    (text(solid), text(dashed))
}

/// Data `N(0, var)` followed by the forward process, as one generative graph.
fn forward_joint(chain: &Chain, var: f64) -> Joint {
    let data = Factor::new(chain.node(0, 0), [], root(0.0, var));
    let mut factors = vec![data];
    factors.extend(chain.bottom_up().factors().iter().cloned());
    Graph::new(factors).unwrap().joint().unwrap()
}

/// Marginals, transitions and posteriors are all regressions of one joint distribution, that of the forward
/// factors; none of the formulas of `transition.rs` but `q(z_t | z_s)` goes in. 1e-9 because the
/// regression on two nodes that are nearly the same (λ = 4) loses digits.
#[test]
fn m20_every_distribution_follows_from_the_forward_factors() {
    for scaling in [VP, Scaling::VarianceExploding, Scaling::StraightLine] {
        let levels = [4.0, 1.5, 0.0, -3.0].map(|l| scaling.level(l));
        let chain = Chain::new(&levels, 1).unwrap();
        let joint = forward_joint(&chain, 0.8);
        for (t, level) in levels.iter().enumerate() {
            let marginal = joint.conditional(t + 1, &[0]);
            assert_close(marginal.weights[0], level.alpha, 1e-12, "mean of q(z_t|x)");
            assert_close(marginal.var, level.sigma.powi(2), 1e-12, "variance of q(z_t|x)");
        }
        let top_down = chain.top_down();
        for (exact, closed) in joint.project(&top_down).factors().iter().zip(top_down.factors()) {
            assert_close(exact.given.var, closed.given.var, 1e-9, "variance of q(z_s|z_t,x)");
            for (exact, closed) in exact.given.weights.iter().zip(&closed.given.weights) {
                assert_close(*exact, *closed, 1e-9, "weight of q(z_s|z_t,x)");
            }
        }
    }
}

// Errata.

/// E7: the posterior by matching the coefficients of `−z²/2σ² + μz/σ² − μ²/2σ²`. Two terms are
/// misprinted: `μ²/(2σ_2)` for the constant, and `σ_t²` where `σ²_{t|s}` is meant.
#[test]
fn e7_moment_matching_is_conjugacy_and_the_misprints_are_neither() {
    let (s, t, x, z_t) = (VP.level(1.0_f64), VP.level(0.2), 0.7, -0.4);
    let levels = [s, t];
    let q = &Chain::new(&levels, 1).unwrap().top_down();
    let posterior = q.factor(1).unwrap().given.given(&[z_t, x]);
    let alpha_ts = t.alpha / s.alpha;
    let var_ts = t.sigma.powi(2) - alpha_ts.powi(2) * s.sigma.powi(2);
    let matched = |var_ts: f64| {
        let precision = alpha_ts.powi(2) / var_ts + s.sigma.powi(-2);
        let linear = alpha_ts * z_t / var_ts + s.alpha * x / s.sigma.powi(2);
        Normal::new(linear / precision, 1.0 / precision)
    };
    let likelihood = Normal::new(z_t / alpha_ts, var_ts / alpha_ts.powi(2));
    let by_conjugacy = likelihood.product(&Normal::new(s.alpha * x, s.sigma.powi(2)));
    for other in [matched(var_ts), by_conjugacy] {
        assert_close(other.mean, posterior.mean, 1e-13, "mean");
        assert_close(other.var, posterior.var, 1e-13, "variance");
    }
    let misprint = matched(t.sigma.powi(2));
    assert!((misprint.var - posterior.var).abs() > 0.01);
    assert!((misprint.mean - posterior.mean).abs() > 0.01);

    let Normal { mean, var } = posterior;
    let exponent = |z: f64| posterior.log_density(&z) + 0.5 * (TAU * var).ln();
    let with_constant = |c: f64, z: f64| -z * z / (2.0 * var) + mean * z / var - c;
    assert_close(with_constant(mean * mean / (2.0 * var), 0.3), exponent(0.3), 1e-13, "exponent");
    let misprint = with_constant(mean * mean / (2.0 * var.sqrt()), 0.3);
    assert!((misprint - exponent(0.3)).abs() > 0.01);
}

/// E12: latents at two levels are not independent given the image. The cross-entropy of the exact
/// reverse step under the joint, and under the printed `q(z_t|x) q(z_{t+dt:1}|x)`, which is the
/// joint without its edge from `z_t` to `z_1`. Data `N(0, 1)` at `λ = 2` and `λ = 0`.
#[test]
fn e12_the_joint_does_not_factor_over_levels() {
    let levels = [2.0, 0.0].map(|l| VP.level(l));
    let joint = forward_joint(&Chain::new(&levels, 1).unwrap(), 1.0);
    let (x, z_t, z_1) = (0, 1, 2);
    let shape = vec![Factor::new(x, [], ()), Factor::new(z_t, [x], ()), Factor::new(z_1, [x], ())];
    let printed = joint.project(&Graph::new(shape).unwrap()).joint().unwrap();

    let reverse = joint.conditional(z_t, &[z_1]);
    let cross_entropy = |distribution: &Joint| {
        let w = reverse.weights[0];
        let square = distribution.covariance(z_t, z_t)
            - 2.0 * w * distribution.covariance(z_t, z_1)
            + w * w * distribution.covariance(z_1, z_1);
        Normal::new(0.0, square).cross_entropy(&Normal::new(0.0, reverse.var))
    };
    let (right, wrong) = (cross_entropy(&joint), cross_entropy(&printed));
    assert!((right - 0.9997).abs() < 5e-5 && (wrong - 1.1562).abs() < 5e-5, "{right}, {wrong}");

    // Both distributions simulated, which uses neither the joint nor the projection.
    let mut random = Random::new(12);
    let [t, one] = levels;
    let ratio = one.alpha / t.alpha;
    let noise = (one.sigma.powi(2) - ratio.powi(2) * t.sigma.powi(2)).sqrt();
    let mut sampled = [vec![], vec![]];
    for _ in 0..40_000 {
        let x = random.normal();
        let z_t = t.alpha * x + t.sigma * random.normal();
        let after = ratio * z_t + noise * random.normal();
        let apart = one.alpha * x + one.sigma * random.normal();
        // With data of variance 1 all marginals are N(0, 1), so the reverse step is plain.
        for (z_1, losses) in [after, apart].iter().zip(&mut sampled) {
            losses.push(-Normal::new(ratio * z_1, 1.0 - ratio * ratio).log_density(&z_t));
        }
    }
    assert_mean(&sampled[0], right, "the joint");
    assert_mean(&sampled[1], wrong, "as printed");
}

/// E13: `q(z_1|x) = ∫ q(z_1|z_2,x) q(z_2|x) dz_2`. Without the weight the integral is `1/|slope|`
/// whatever `z_1` is: not a density, since its mass is infinite.
#[test]
fn e13_a_marginal_needs_the_weight_of_what_is_integrated_out() {
    let joint = chain_of_two().joint().unwrap();
    let x = 0.9;
    let (step, weight) = (joint.conditional(1, &[2, 0]), joint.conditional(2, &[0]).given(&[x]));
    let integral = |z1: f64, weighted: bool| -> f64 {
        let term = |z2: f64| {
            let density = step.given(&[z2, x]).log_density(&z1).exp();
            if weighted { density * weight.log_density(&z2).exp() } else { density }
        };
        (-4_000..=4_000).map(|i| 0.01 * term(f64::from(i) * 0.01)).sum()
    };
    let marginal = joint.conditional(1, &[0]).given(&[x]);
    for z1 in [-2.0, 0.0, 0.7, 3.0] {
        assert_close(integral(z1, true), marginal.log_density(&z1).exp(), 1e-12, "weighted");
        assert_close(integral(z1, false), 1.0 / step.weights[0].abs(), 1e-12, "unweighted");
    }
}

// Laws.

/// A graph that draws nodes in a given order, each given the inputs and all nodes before it.
fn random_graph(order: &[usize], inputs: &[usize], random: &mut Random) -> Graph<Linear> {
    let factor = |(i, child): (usize, &usize)| {
        let parents = [inputs, &order[..i]].concat();
        let weights: Vec<f64> = parents.iter().map(|_| random.between(-1.0, 1.0)).collect();
        let bias = random.between(-1.0, 1.0);
        Factor::new(*child, parents, Linear::new(bias, weights, random.between(0.2, 2.0)))
    };
    Graph::new(order.iter().enumerate().map(factor).collect()).unwrap()
}

fn shuffled(mut nodes: Vec<usize>, random: &mut Random) -> Vec<usize> {
    let keys: Vec<f64> = nodes.iter().map(|_| random.uniform()).collect();
    let key = |node: &usize| keys[*node % keys.len()];
    nodes.sort_by(|a, b| key(a).total_cmp(&key(b)));
    nodes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is observed, and in whatever order latents are inferred, no bound exceeds
    /// `log p(x)`, and that of the exact posterior equals it. 1e-9: regressions on up to six
    /// correlated nodes lose some digits.
    #[test]
    fn no_bound_exceeds_the_evidence_and_that_of_the_posterior_equals_it(
        seed in any::<u64>(), nodes in 2..=6_usize, split in 1..=5_usize,
    ) {
        let mut random = Random::new(seed);
        let order = shuffled((0..nodes).collect(), &mut random);
        let generative = random_graph(&order, &[], &mut random);
        let mixed = shuffled((0..nodes).collect(), &mut random);
        let (observed, latents) = mixed.split_at(split.min(nodes - 1));
        let mut observed = observed.to_vec();
        observed.sort_unstable();
        let x: Vec<f64> = observed.iter().map(|_| random.between(-2.0, 2.0)).collect();
        let joint = generative.joint().unwrap();
        let evidence: Vec<(usize, f64)> = observed.iter().copied().zip(x.iter().copied()).collect();
        let log_p = joint.log_density(&evidence);

        let guess = random_graph(latents, &observed, &mut random);
        let guess = exact(&Hlvm::new(generative.clone(), guess).unwrap(), &x);
        prop_assert!(guess <= log_p + 1e-9 * (1.0 + log_p.abs()), "{guess} > {log_p}");
        let posterior = joint.posterior(latents, &observed);
        let tight = exact(&Hlvm::new(generative, posterior).unwrap(), &x);
        prop_assert!((tight - log_p).abs() < 1e-9 * (1.0 + log_p.abs()), "{tight} ≠ {log_p}");
    }
}

#[test]
fn what_does_not_fit_together_is_refused_by_name() {
    let refused = |factors: Vec<Factor<Linear>>| Graph::new(factors).unwrap_err().to_string();
    let at = |child, parents: &[usize]| {
        Factor::new(child, parents, Linear::new(0.0, vec![1.0; parents.len()], 1.0))
    };
    for factors in [vec![at(0, &[]), at(0, &[])], vec![at(0, &[1]), at(1, &[])], vec![at(0, &[0])]]
    {
        let message = refused(factors);
        assert!(message.contains("one factor per node") && message.contains("node"), "{message}");
    }
    let graph = |factors: Vec<Factor<Linear>>| Graph::new(factors).unwrap();
    let p = || graph(vec![at(1, &[]), at(0, &[1])]);
    for (p, q, named) in [
        (graph(vec![at(0, &[1])]), graph(vec![at(0, &[])]), "a factor for every node"),
        (p(), graph(vec![at(2, &[0])]), "a generative factor for every latent"),
        (p(), graph(vec![at(1, &[5])]), "observed nodes as inputs"),
        (p(), graph(vec![at(0, &[]), at(1, &[0])]), "at least one latent and one observed"),
        (p(), graph(vec![]), "at least one latent and one observed"),
    ] {
        let message = Hlvm::new(p, q).unwrap_err().to_string();
        assert!(message.contains(named), "{message}");
    }
    for (factor, named) in [
        (at(0, &[1]), "a factor for every node"),
        (Factor::new(0, [], root(0.0, 0.0)), "a positive finite variance"),
        (Factor::new(0, [], Linear::new(0.0, [1.0], 1.0)), "one weight per parent"),
    ] {
        let message = graph(vec![factor]).joint().unwrap_err().to_string();
        assert!(message.contains(named), "{message}");
    }
    let message = Chain::<f64>::new(&[], 1).unwrap_err().to_string();
    assert!(message.contains("noise level"), "{message}");
}
