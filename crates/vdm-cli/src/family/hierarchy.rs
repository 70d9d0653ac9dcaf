//! Hierarchies whose posterior is learned.

use anyhow::Result;
use tch::Device;
use vdm_core::bound::bits_per_dim;
use vdm_data::{Dataset, Shape};
use vdm_report::result::{LayerResult, Layers, Term, TestLikelihood};
use vdm_report::{RunDir, files};
use vdm_sample::estimate::{EstimateTerm, Summary};
use vdm_torch::checkpoint::Checkpoint;
use vdm_torch::hierarchy::{
    Hierarchy, HierarchyBound, HierarchyEvaluation, HierarchySpec, HierarchyTraining,
};
use vdm_torch::train::{Trainable, Trainer};
use vdm_torch::{RunConfig, StoredModel};

use super::{Conclusion, Recorded, TrainingLoss, Validation};
use crate::claim::Claim;
use crate::output;
use crate::progress::{Lines, Progress};

/// Test items that are shown beside their reconstructions.
const RECONSTRUCTIONS: usize = 16;

impl Recorded for HierarchySpec {
    type Ends = ();

    fn ends(_: &RunConfig<Self>, _: &Trainer<HierarchyTraining>, _: &Dataset) {}

    /// The bound, whatever the weight of its divergences in the loss.
    fn loss(trainer: &Trainer<HierarchyTraining>, (): &()) -> TrainingLoss {
        let dims = trainer.average().shape().dims();
        let since = trainer.window();
        let term =
            |(name, sum): (&String, &f64)| Term::new(name, bits_per_dim(since.mean(*sum), dims));
        let terms: Vec<Term> = since.terms.iter().map(term).collect();
        TrainingLoss {
            bits_per_dim: terms.iter().map(|term| term.bits_per_dim).sum(),
            terms,
            weighted: None,
            variance: None,
        }
    }

    fn validation(bound: &HierarchyBound) -> Validation {
        in_bits(bound)
    }

    fn show_progress(
        _: &RunConfig<Self>,
        _: &Trainer<HierarchyTraining>,
        _: &RunDir,
    ) -> Result<()> {
        Ok(())
    }

    fn conclude(
        config: &RunConfig<Self>,
        data: &Dataset,
        best: &Checkpoint,
        device: Device,
        claim: &Claim,
    ) -> Result<Conclusion> {
        let model = Hierarchy::of_checkpoint(best, device)?;
        let RunConfig { seed, evaluation, output, .. } = config;
        let samples = model.samples(*seed, 0, output.samples, evaluation.batch, 1.0)?;
        let progress = Progress::new("testing", "items", data.test.len() as u64, Lines::Results)?;
        let judged = HierarchyEvaluation {
            model: &model,
            items: &data.test,
            seed: *seed,
            batch: evaluation.batch,
        };
        let bound = judged.bound(evaluation.draws, |items| progress.set(items as u64))?;
        let active = judged.active()?;
        let pairs = judged.reconstructions(RECONSTRUCTIONS)?;
        drop(progress);
        claim.check()?;
        let run = claim.run();
        output::pairs(&pairs, data.shape, data.values)?.save(&run.reconstructions())?;
        files::write_sealed(&run.layers(), &layers(&model, &bound, &active))?;
        Ok(Conclusion { samples, test: test_likelihood(&bound) })
    }

    fn is_concluded(run: &RunDir) -> bool {
        files::read_sealed::<Layers>(&run.layers()).is_ok()
    }
}

fn in_bits(bound: &HierarchyBound) -> Validation {
    let HierarchyBound { estimate, dims, .. } = bound;
    let total = estimate.total.bits_per_dim(*dims);
    let term = |term: &EstimateTerm| Term::new(term.name, term.mean.bits_per_dim(*dims).mean);
    Validation {
        bits_per_dim: total.mean,
        standard_error: total.standard_error.unwrap_or(f64::INFINITY),
        terms: estimate.terms.iter().map(term).collect(),
    }
}

/// A bound as documents have it.
pub(crate) fn test_likelihood(bound: &HierarchyBound) -> TestLikelihood {
    let Validation { bits_per_dim, standard_error, terms } = in_bits(bound);
    TestLikelihood {
        bits_per_dim,
        standard_error,
        terms,
        items: bound.estimate.items.len() as u64,
        estimator: estimator(bound),
    }
}

/// A bound in words.
pub(crate) fn estimator(bound: &HierarchyBound) -> String {
    format!("evidence lower bound, {} draws per item", bound.estimate.rounds)
}

/// What each layer carries.
pub(crate) fn layers(model: &Hierarchy, bound: &HierarchyBound, active: &[usize]) -> Layers {
    let layer = |((shape, nats), active): ((&Shape, &Summary), &usize)| LayerResult {
        shape: [shape.channels, shape.height, shape.width].map(|side| side as u64),
        rate: nats.bits_per_dim(bound.dims).mean,
        nats: nats.mean,
        active: *active as u64,
    };
    let shapes = model.latents();
    Layers { layers: shapes.iter().zip(&bound.layers).zip(active).map(layer).collect() }
}
