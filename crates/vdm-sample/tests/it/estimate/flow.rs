//! Discrete data under the probability-flow ODE.

use vdm_core::{GaussianMixture, LogSnr, NoiseSchedule, Scalar, Scaling, quadrature};
use vdm_sample::estimate::{
    ContinuousItems, Dequantization, DiscreteItems, FlowBound, FlowEstimate, ItemSource, Rounds,
    Trace,
};
use vdm_sample::likelihood::ProbeDistribution;
use vdm_sample::ode::Pair;
use vdm_sample::{AdaptiveOde, Seed};

use super::fixture::{Known, VP, average, eight_bit, mixture, of_draws, process, schedule};

pub(super) const DISTRIBUTIONS: [Dequantization; 3] =
    [Dequantization::Uniform, Dequantization::TruncatedNormal, Dequantization::Posterior];

pub(super) fn settings(dequantization: Dequantization, samples: usize, rounds: usize) -> FlowBound {
    // An error of 1e-6 of the latent is 1e-4 nats at most: nothing beside the errors below.
    let solver = AdaptiveOde {
        method: Pair::PrinceDormand87,
        absolute: 1e-6,
        relative: 1e-6,
        ..AdaptiveOde::default()
    };
    FlowBound {
        solver,
        range: schedule().range(),
        dequantization,
        trace: Trace::Exact,
        samples,
        rounds: Rounds::exactly(rounds),
        batch: 64,
    }
}

pub(super) fn run(
    settings: FlowBound,
    model: &GaussianMixture,
    items: &dyn Known,
    seed: Seed,
) -> FlowEstimate {
    settings.estimate(&process(model, items, seed), |_, _| ()).unwrap()
}

/// `E_q[log q(z_0|x) − log p(z_0) − log p(x|z_0)]` of each item by quadrature over the cell or the noise,
/// with the exact density of `z_0`.
pub(super) fn exact(
    model: &GaussianMixture,
    items: &dyn Known,
    distribution: Dequantization,
) -> Vec<f64> {
    let at = VP.level(schedule().range().max());
    let std = at.sigma / at.alpha;
    let half = 1.0 / 256.0;
    let density = |x: &[f64], u: [f64; 2]| {
        let z: Vec<f64> = x.iter().zip(u).map(|(x, u)| at.alpha * (x + u)).collect();
        // Of z_0/α_0.
        model.log_density(&z, &at) + 2.0 * at.alpha.ln()
    };
    let mass = 1.0 - 2.0 * (-half / std).normal_cdf();
    let normal =
        |u: f64| (-0.5 * (u / std).powi(2)).exp() / (std * std::f64::consts::TAU.sqrt() * mass);
    let over_cell = |q: &dyn Fn(f64) -> f64, x: &[f64]| {
        quadrature::interval(-half, half, |a| {
            quadrature::interval(-half, half, |b| {
                let q = q(a) * q(b);
                q * (q.ln() - density(x, [a, b]))
            })
        })
    };
    let item = |item| {
        let x: Vec<f64> = items.encode(item);
        match distribution {
            Dequantization::Uniform => over_cell(&|_| 128.0, &x),
            Dequantization::TruncatedNormal => over_cell(&normal, &x),
            Dequantization::Posterior => {
                let clean = LogSnr::new(at.log_snr);
                let entropy = 1.0 + (std::f64::consts::TAU * std * std).ln();
                let density = |eps: &[f64]| density(&x, [std * eps[0], std * eps[1]]);
                items.reconstruction(item, clean) - entropy - quadrature::normal(2, density)
            }
        }
    };
    (0..items.len()).map(item).collect()
}

/// `−log P` of each item's cell under the distribution of `z_0/α_0`, from normal distribution functions alone.
fn cells(model: &GaussianMixture, items: &DiscreteItems) -> f64 {
    let at = VP.level(schedule().range().max());
    let item = |x: &Vec<f64>| {
        let component = |(weight, mean, std): (f64, &[f64], f64)| {
            let spread = std.hypot(at.sigma / at.alpha);
            let side = |(x, m): (&f64, &f64)| {
                let cdf = |edge: f64| ((edge - m) / spread).normal_cdf();
                cdf(x + 1.0 / 256.0) - cdf(x - 1.0 / 256.0)
            };
            weight * x.iter().zip(mean).map(side).product::<f64>()
        };
        -model.components().map(component).sum::<f64>().ln()
    };
    let items: Vec<f64> = (0..items.values().len())
        .map(|i| item(&ItemSource::<Vec<f64>>::encode(items, i)))
        .collect();
    average(&items)
}

/// Each distribution within 4 standard errors of its exact value, and those of cells above the cells' code length.
#[test]
#[ignore = "slow: cargo xtask test --full"]
fn every_law_agrees_with_quadrature() {
    let (model, items) = (mixture(), eight_bit(&mixture(), 2));
    let cells = cells(&model, &items);
    for distribution in DISTRIBUTIONS {
        let found = run(settings(distribution, 1, 30), &model, &items, Seed(3));
        let (mean, error) = of_draws(found.estimate.total);
        let exact = average(&exact(&model, &items, distribution));
        println!("{distribution:?}: {mean:.5} ± {error:.5}, exactly {exact:.5}, cells {cells:.5}");
        // 3e-4 for the prior of z_1, which is the noised data's but for that.
        assert!(
            (mean - exact).abs() < 4.0 * error + 3e-4 && error < 0.05 * exact,
            "{distribution:?}"
        );
        assert!(found.calls.mean() > 20.0);
        if distribution.is_of_cells() {
            assert!(exact > cells, "{distribution:?} is a bound");
        }
    }
}

/// M72: with many samples both distributions of cells tend to the same: the probability of the cell. The bias of 64
/// is their weights' relative variance over 128, below 1e-3.
#[test]
#[ignore = "slow: cargo xtask test --full"]
fn m72_likelihoods_of_discrete_data_are_those_of_their_cells() {
    let (model, items) = (mixture(), eight_bit(&mixture(), 2));
    let cells = cells(&model, &items);
    for distribution in &DISTRIBUTIONS[..2] {
        let found = run(settings(*distribution, 64, 2), &model, &items, Seed(4)).estimate;
        let (mean, error) = of_draws(found.total);
        println!("{distribution:?}, K = 64: {mean:.5} ± {error:.5}, exactly {cells:.5}");
        assert!((mean - cells).abs() < 5.0 * error + 2e-3, "{distribution:?}");
        assert!(mean < found.term("one_sample").unwrap().mean.mean);
    }
}

/// An estimated trace gives the same within its errors, the same in any batch, and no logarithm of a
/// mean.
#[test]
fn estimated_traces_agree_with_exact_ones() {
    let (model, items) = (mixture(), eight_bit(&mixture(), 3));
    let exact = settings(Dequantization::TruncatedNormal, 1, 50);
    let trace = Trace::Hutchinson { probes: 2, distribution: ProbeDistribution::Rademacher };
    let probed = FlowBound { trace, ..exact };
    let [a, b] = [exact, probed].map(|s| of_draws(run(s, &model, &items, Seed(3)).estimate.total));
    let error = a.1.hypot(b.1);
    assert!((a.0 - b.0).abs() < 4.0 * error && error < 0.05 * a.0, "{a:?} {b:?}");
    let few = FlowBound { rounds: Rounds::exactly(2), ..probed };
    let alone = FlowBound { batch: 1, ..few };
    assert_eq!(run(few, &model, &items, Seed(3)), run(alone, &model, &items, Seed(3)));
    let many = FlowBound { samples: 2, ..probed };
    let error = many.estimate(&process(&model, &items, Seed(3)), |_, _| ()).unwrap_err();
    assert!(error.to_string().contains("exact trace"), "{error}");
}

/// Sums follow their parts: a total that is not finite is no news.
#[test]
fn totals_come_before_what_they_are_made_of() {
    let (model, items) = (mixture(), eight_bit(&mixture(), 1));
    let found = run(settings(Dequantization::Posterior, 1, 2), &model, &items, Seed(3)).estimate;
    let names: Vec<&str> = found.terms.iter().map(|term| term.name).collect();
    assert_eq!(names, ["one_sample", "dequantization", "flow", "reconstruction"]);
    let parts: f64 = found.terms[1..].iter().map(|term| term.mean.mean).sum();
    assert!((parts - found.total.mean).abs() < 1e-9 && found.terms[0].mean == found.total);
}

/// A fault is that of an item, whatever the batch it was in.
#[test]
fn the_item_that_fails_is_named() {
    let model = mixture();
    let items = ContinuousItems::new(vec![vec![0.1, 0.2], vec![0.3, 0.1], vec![1e200, 0.0]]);
    let settings = FlowBound { batch: 1, ..settings(Dequantization::Posterior, 1, 1) };
    let error = settings.estimate(&process(&model, &items.unwrap(), Seed(3)), |_, _| ());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("sample 2"), "{error}");
}

/// M48 for the ODE: the likelihood is that of the same model under every scaling. Five times the
/// solver's tolerance of 1e-6 over the noise of `z_0`, 2.5e-3.
#[test]
fn m48_the_flow_gives_the_same_likelihood_under_every_scaling() {
    let (model, items) = (mixture(), eight_bit(&mixture(), 2));
    let with = |scaling| {
        let process =
            vdm_sample::estimate::DenoiserTerms { scaling, ..process(&model, &items, Seed(3)) };
        let settings = settings(Dequantization::Posterior, 1, 2);
        settings.estimate(&process, |_, _| ()).unwrap().estimate.total.mean
    };
    let here = with(VP);
    for scaling in [Scaling::VarianceExploding, Scaling::StraightLine] {
        assert!((here - with(scaling)).abs() < 2e-3, "{scaling:?}: {here} {}", with(scaling));
    }
}
