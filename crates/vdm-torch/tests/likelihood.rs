//! Estimators of likelihood on tensors, against a distribution that is known: independent components, uniform
//! over 17 levels, of which an untrained categorical head is the exact denoiser; and one trained model under
//! every specification.

mod common;
#[path = "common/moved.rs"]
mod moved;

use std::sync::Arc;

use common::tiny;
use moved::move_weights;
use serde_json::{Value, json};
use tch::Device;
use vdm_core::schedule::{LogSnrRange, Monotone};
use vdm_core::{NoiseSchedule, Scaling, Schedule};
use vdm_data::{Items, Shape, Source};
use vdm_sample::estimate::{Dequantization, DiffusionTerm, FlowBound, Rounds, Summary, Trace};
use vdm_sample::grid::GridKind;
use vdm_sample::likelihood::ProbeDistribution;
use vdm_sample::noise::Purpose;
use vdm_sample::{AdaptiveOde, GridSpec, SamplerSpec, Seed};
use vdm_torch::nn::{MlpSpec, NetworkSpec};

use vdm_torch::{Diffusion, Evaluation, Head, Model, ModelSpec, Sampling};

fn model(head: Head) -> Model {
    let diffusion = Diffusion::variational(Schedule::linear(9.0, -9.0).unwrap());
    let spec = ModelSpec {
        shape: Shape { channels: 1, height: 1, width: 2 },
        values: 17,
        diffusion,
        network: NetworkSpec::Mlp(MlpSpec::new(8, 1)),
        head,
        clock: None,
    };
    Model::new(&spec, Seed(0), Device::Cpu).unwrap()
}

fn items(count: u64) -> Items {
    let level = |i| (17.0 * Seed(7).uniform(Purpose::Prior, 0, i)) as u8;
    Items::new("uniform".as_ref(), 2, (0..2 * count).map(level).collect(), None).unwrap()
}

/// `log2 17` bits per dimension for every item, from whom any number is off by its error, which tells
/// something.
fn near_entropy(found: Summary, slack: f64) {
    let bits = found.bits_per_dim(2);
    let (off, error) = ((bits.mean - 17.0_f64.log2()).abs(), bits.draw_error.unwrap());
    println!("{off:.4}, error {error:.4}");
    assert!(off < 4.0 * error + slack && error < 0.12, "{bits:?}");
}

/// The continuous bound is tight for an exact denoiser, and the flow's under the posterior too; the
/// importance-weighted one of 100 steps lies between it and `L_100`. 2e-3 for tolerances of 1e-4. Items are
/// few: under this distribution all cost the same.
#[test]
fn every_estimator_finds_the_entropy() {
    let (model, items) = (model(Head::Categorical), items(6));
    let evaluation = Evaluation::new(&model, &items, Seed(1), 512);
    let term = DiffusionTerm::Continuous { draws: 64 };
    let bound = evaluation.bound(term, Rounds::exactly(64), |_, _| ()).unwrap();
    near_entropy(bound.estimate.total, 1e-3);
    let weighted = evaluation.importance_weighted(100, 2, Rounds::exactly(20), |_, _| ()).unwrap();
    let term = DiffusionTerm::AllSteps { steps: 100 };
    let dense = evaluation.bound(term, Rounds::exactly(64), |_, _| ()).unwrap().estimate.total;
    let [weighted, dense] = [weighted.total, dense].map(|total| total.bits_per_dim(2));
    let error = weighted.draw_error.unwrap().hypot(dense.draw_error.unwrap());
    println!("K = 2: {weighted:?}, L_100: {dense:?}");
    assert!(weighted.mean < dense.mean + 4.0 * error && error < 0.1);
    assert!(weighted.mean > 17.0_f64.log2() - 4.0 * error);
    let solver = AdaptiveOde { absolute: 1e-4, relative: 1e-4, ..AdaptiveOde::default() };
    let plan = FlowBound {
        solver,
        range: evaluation.schedule.range(),
        dequantization: Dequantization::Posterior,
        trace: Trace::Exact,
        samples: 1,
        rounds: Rounds::exactly(2),
        batch: 64,
    };
    let exact = evaluation.flow(plan, |_, _| ()).unwrap();
    near_entropy(exact.estimate.total, 2e-3);
    // Of signs any one gives the trace of this head's Jacobian, which is diagonal; normals do not.
    let trace = Trace::Hutchinson { probes: 8, distribution: ProbeDistribution::Gaussian };
    let plan = FlowBound { rounds: Rounds::exactly(16), ..plan };
    near_entropy(
        evaluation.flow(FlowBound { trace, ..plan }, |_, _| ()).unwrap().estimate.total,
        2e-3,
    );
}

/// M48 on a network: latents in other scalings change no term; another schedule of the same
/// ends changes `L_∞` within 4 standard errors.
#[test]
fn m48_a_trained_models_bound_is_the_same_under_every_specification() {
    let (model, items) = (model(Head::Velocity), items(30));
    move_weights(&model, 0.2);
    let under = |scaling, schedule: Schedule| {
        let own = Evaluation::new(&model, &items, Seed(1), 512);
        let evaluation = Evaluation { scaling, schedule, ..own };
        let term = DiffusionTerm::Continuous { draws: 32 };
        evaluation.bound(term, Rounds::exactly(8), |_, _| ()).unwrap().estimate.total
    };
    let [linear, cosine] =
        [Schedule::linear(9.0, -9.0), Schedule::cosine(9.0, -9.0)].map(Result::unwrap);
    let here = under(Scaling::VariancePreserving, linear.clone());
    for scaling in [Scaling::VarianceExploding, Scaling::StraightLine] {
        let there = under(scaling, linear.clone());
        assert!((there.mean / here.mean - 1.0).abs() < 1e-7, "{scaling:?}: {here:?} {there:?}");
    }
    let there = under(Scaling::VariancePreserving, cosine);
    let error = here.draw_error.unwrap().hypot(there.draw_error.unwrap());
    assert!((here.mean - there.mean).abs() < 4.0 * error, "{here:?} {there:?}");
    assert!(error < 0.05 * here.mean, "{here:?} {there:?}");
}

/// M48: with network and latents in f64 nothing is left but the last rounding, to the f32 of the result.
#[test]
fn m48_samples_in_f64_are_the_same_under_every_scaling() {
    let model = model(Head::Velocity);
    move_weights(&model, 0.2);
    let model = model.in_f64().unwrap();
    for solver in ["ddim", "dpm_solver_pp_3m", "ancestral", "restart"] {
        let sampler = json!({"solver": solver, "grid": "uniform_log_snr", "steps": 30});
        let sampler: SamplerSpec = serde_json::from_value(sampler).unwrap();
        let own = Sampling::new(&model, &sampler, Seed(3), 8);
        let latents =
            |scaling| Sampling { scaling, ..own.clone() }.draw(0, 2, 0, |_| ()).unwrap().latents;
        let wanted = latents(Scaling::VariancePreserving);
        for scaling in [Scaling::VarianceExploding, Scaling::StraightLine] {
            for (a, b) in wanted.iter().zip(latents(scaling)) {
                assert!((a - b).abs() <= f32::EPSILON * a.abs(), "{scaling:?}, {solver}: {a} {b}");
            }
        }
    }
}

/// A schedule of the form that is learned.
fn fast_at_first(range: LogSnrRange) -> Monotone {
    Monotone::new(range, vec![2.0, 0.5, -1.0]).unwrap()
}

/// M48: one model, trained as variance preserving, gives the same samples (1e-6 of data from −1 to 1) and
/// bits per dimension (1e-3) in four other scalings and under two other schedules, for the same levels and
/// noise. What is left of samples is the last rounding of an f64 latent to the network's f32, which is another
/// for one in 10⁸, and of the bound less; of the importance-weighted bound, whose latents are f32, other
/// roundings of each.
#[test]
fn m48_a_trained_model_samples_alike_under_every_specification() {
    let config = tiny(|c| c["training"]["optimizer"]["warmup"] = 5.into());
    let data = vdm_data::load(&Source::Digits {}).unwrap();
    let mut trainer = config.trainer(&data, Device::Cpu).unwrap();
    let mut batches = trainer.batches(Arc::new(data.train.clone())).unwrap();
    for _ in 0..10 {
        trainer.train_step(&batches.next().unwrap().unwrap()).unwrap();
    }
    let model = trainer.average().model();
    let items = data.test.select(&(0..4).collect::<Vec<_>>());
    let on_grid = |solver| json!({"solver": solver, "grid": "uniform_log_snr", "steps": 10});
    let solvers = ["ddim", "dpm_solver_pp_2m", "ancestral", "dpm_solver_pp_sde"].map(on_grid);
    let solvers = [&solvers[..], &[json!({"solver": "adaptive_ode"})]].concat();
    let under = |scaling, schedule: Schedule| {
        let sample = |sampler: &Value| {
            let sampler: SamplerSpec = serde_json::from_value(sampler.clone()).unwrap();
            let own = Sampling::new(model, &sampler, Seed(3), 8);
            let schedule = schedule.clone();
            Sampling { scaling, schedule, ..own }.draw(0, 2, 0, |_| ()).unwrap().latents
        };
        let samples: Vec<Vec<f32>> = solvers.iter().map(sample).collect();
        let grid: GridSpec = GridKind::UniformLogSnr.into();
        let own = Evaluation::new(model, &items, Seed(1), 64);
        let evaluation = Evaluation { scaling, schedule, grid, ..own };
        let term = DiffusionTerm::SampledSteps { steps: 100, draws: 8 };
        let bound = evaluation.bound(term, Rounds::exactly(1), |_, _| ()).unwrap().estimate.total;
        let weighted = evaluation.importance_weighted(4, 2, Rounds::exactly(1), |_, _| ()).unwrap();
        (samples, [bound, weighted.total].map(|total| total.bits_per_dim(64).mean))
    };
    let own = &model.spec().diffusion.schedule;
    let (max, min) = (own.range().max(), own.range().min());
    let (samples, bits) = under(Scaling::VariancePreserving, own.clone());
    for (scaling, schedule) in [
        (Scaling::VarianceExploding, own.clone()),
        (Scaling::StraightLine, own.clone()),
        (Scaling::SubVariancePreserving, own.clone()),
        (Scaling::UnitVariance { data_std: 0.5 }, own.clone()),
        (Scaling::VariancePreserving, Schedule::cosine(max, min).unwrap()),
        (Scaling::VarianceExploding, Schedule::Monotone(fast_at_first(own.range()))),
    ] {
        let (others, other_bits) = under(scaling, schedule);
        for ((solver, own), other) in solvers.iter().zip(&samples).zip(&others) {
            let off = own.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off < 1e-6, "{scaling:?}, {solver}: {off}");
        }
        for ((own, other), tolerance) in bits.iter().zip(other_bits).zip([1e-6, 1e-3]) {
            assert!((own - other).abs() < tolerance, "{scaling:?}: {own}, {other}");
        }
    }
}
