//! Hierarchies whose posterior is learned.

use anyhow::Result;
use tch::Device;
use vdm_core::bound::bits_per_dim;
use vdm_core::likelihood::Discretized;
use vdm_data::{Dataset, Items, Shape};
use vdm_report::result::{Latents, LayerResult, Layers, Term, TestLikelihood};
use vdm_report::{RunDir, files, preview};
use vdm_sample::estimate::{EstimateTerm, Summary};
use vdm_torch::checkpoint::Checkpoint;
use vdm_torch::hierarchy::{
    AggregatePosterior, Hierarchy, HierarchyBound, HierarchyEvaluation, HierarchySpec,
    HierarchyTraining,
};
use vdm_torch::train::{Trainable, Trainer};
use vdm_torch::{RunConfig, StoredModel};

use super::{Conclusion, Recorded, TrainingLoss, Validation};
use crate::claim::Claim;
use crate::output;
use crate::progress::{Lines, Progress};

/// Test items that are shown beside their reconstructions.
const RECONSTRUCTIONS: usize = 16;
/// Items, and latents drawn from the prior, that are shown in the plane of two latents.
const SHOWN: usize = 400;
/// Items whose posteriors make up an aggregate: each is compared with every other.
pub(crate) const AGGREGATED: usize = 4096;
/// Draws of each.
const DRAWS: usize = 8;

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
        let latents = latents(&judged, data)?;
        drop(progress);
        claim.check()?;
        let run = claim.run();
        output::pairs(&pairs, data.shape, data.values)?.save(&run.reconstructions())?;
        if let Some(latents) = latents {
            files::write_sealed_line(&run.latents(), &latents)?;
        }
        // Last: where it is, all is.
        files::write_sealed(&run.layers(), &layers(&model, &bound, &active))?;
        Ok(Conclusion { samples, test: test_likelihood(&bound) })
    }

    fn is_concluded(run: &RunDir) -> bool {
        let latents = run.latents();
        files::read_sealed::<Layers>(&run.layers()).is_ok()
            && preview::is_whole(&run.reconstructions())
            && (!latents.exists() || files::read_sealed::<Latents>(&latents).is_ok())
    }
}

/// The aggregate posterior of the first items.
pub(crate) fn aggregate(judged: &HierarchyEvaluation<'_>) -> Result<Option<AggregatePosterior>> {
    let items = aggregated(judged.items);
    Ok(HierarchyEvaluation { items: &items, ..*judged }.aggregate(DRAWS)?)
}

fn aggregated(items: &Items) -> Items {
    items.select(&(0..items.len().min(AGGREGATED)).collect::<Vec<_>>())
}

/// The plane of latents, of a model of two.
fn latents(judged: &HierarchyEvaluation<'_>, data: &Dataset) -> Result<Option<Latents>> {
    let items = aggregated(judged.items);
    let judged = HierarchyEvaluation { items: &items, ..*judged };
    let (Some(plane), Some(aggregate)) = (judged.plane(SHOWN)?, judged.aggregate(DRAWS)?) else {
        return Ok(None);
    };
    let made = judged.model.samples(judged.seed, 0, SHOWN, judged.batch, 1.0)?;
    let code = Discretized::new(data.values)?;
    let points = |pixels: &[u8]| -> Vec<[f64; 2]> {
        let place = |pair: &[u8]| [pair[0], pair[1]].map(|k| code.encode(u16::from(k)));
        let shown = if output::is_points(data.shape) { SHOWN } else { 0 };
        pixels.chunks(2).take(shown).map(place).map(|point| point.map(digits)).collect()
    };
    Ok(Some(Latents {
        hole: aggregate.hole.mean,
        standard_error: aggregate.hole.standard_error.unwrap_or(f64::INFINITY),
        items: plane.items.into_iter().take(SHOWN).map(|point| point.map(digits)).collect(),
        drawn: plane.drawn.into_iter().map(|point| point.map(digits)).collect(),
        log_ratio: plane.log_ratio.into_iter().map(digits).collect(),
        item_points: points(items.pixels()),
        drawn_points: points(&made),
    }))
}

/// As many digits as a plot shows.
fn digits(x: f64) -> f64 {
    (x * 1e4).round() / 1e4
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
