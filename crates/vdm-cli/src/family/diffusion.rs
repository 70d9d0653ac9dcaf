//! Variational diffusion models.

use anyhow::Result;
use tch::Device;
use vdm_core::bound::bits_per_dim;
use vdm_core::{LogSnr, NoiseSchedule, Weighting};
use vdm_data::Dataset;
use vdm_report::metrics::LevelVariance;
use vdm_report::result::{LossByLogSnr, NoiseLevels, Term, TestLikelihood};
use vdm_report::{RunDir, files, preview};
use vdm_torch::checkpoint::Checkpoint;
use vdm_torch::diffusion::DiffusionTrainer;
use vdm_torch::{
    DiffusionConfig, EndTerms, Likelihood, Model, RunConfig, Sampling, StoredModel,
    TimeDiscretization,
};

use super::{Conclusion, Recorded, TrainingLoss, Validation};
use crate::claim::Claim;
use crate::output;
use crate::progress::{Lines, Progress};

/// Latents along sampling that are shown.
const DENOISING_COLUMNS: usize = 12;

/// Points of a curve that the report draws.
const POINTS: u32 = 200;

impl Recorded for DiffusionConfig {
    /// What makes the diffusion loss a bound; `None` under a weighting that nothing does it for.
    type Ends = Option<EndTerms>;

    fn ends(config: &RunConfig, trainer: &DiffusionTrainer, data: &Dataset) -> Option<EndTerms> {
        let bound = config.model.diffusion.weighting == Weighting::Elbo;
        bound
            .then(|| vdm_torch::end_terms(trainer.average().model(), &data.validation, config.seed))
    }

    fn loss(trainer: &DiffusionTrainer, ends: &Option<EndTerms>) -> TrainingLoss {
        let dims = trainer.average().model().spec().shape.dims();
        let since = trainer.window();
        let mean = |sum: f64| bits_per_dim(since.mean(sum), dims);
        let (diffusion, at_ends) = match ends {
            Some(EndTerms { prior, reconstruction }) => {
                let learned: f64 = since.terms.values().sum();
                let ends =
                    if since.terms.is_empty() { prior + reconstruction } else { mean(learned) };
                (mean(since.loss), ends)
            }
            None => (f64::NAN, f64::NAN),
        };
        let per_dim = |nats: f64| nats / dims as f64;
        // A square of nats has the factor twice.
        let squared = |variance: f64| match ends {
            Some(_) => bits_per_dim(bits_per_dim(variance, dims), dims),
            None => per_dim(per_dim(variance)),
        };
        let loss_variance = trainer.model().loss_variance();
        let variance = loss_variance.variance();
        TrainingLoss {
            bits_per_dim: diffusion + at_ends,
            terms: vec![Term::new("diffusion", diffusion)],
            weighted: ends.is_none().then(|| per_dim(since.mean(since.loss))),
            variance: Some(LevelVariance {
                loss_variance: squared(variance),
                relative_variance: variance / loss_variance.mean().powi(2),
                least_variance_share: loss_variance.least_variance() / variance,
            }),
        }
    }

    fn validation(bound: &Likelihood) -> Validation {
        let Likelihood { bits_per_dim, standard_error, .. } = *bound;
        Validation { bits_per_dim, standard_error, terms: terms(bound) }
    }

    fn show_progress(config: &RunConfig, trainer: &DiffusionTrainer, run: &RunDir) -> Result<()> {
        Ok(files::write_sealed(&run.noise_levels(), &noise_levels(config, trainer))?)
    }

    fn conclude(
        config: &RunConfig,
        data: &Dataset,
        best: &Checkpoint,
        device: Device,
        claim: &Claim,
    ) -> Result<Conclusion> {
        let model = Model::of_checkpoint(best, device)?;
        let RunConfig { seed, evaluation, output, .. } = config;
        let drawn = {
            let progress = Progress::drawing(Lines::Results)?;
            let sampling = Sampling::new(&model, &config.model.sampler, *seed, evaluation.batch);
            sampling.draw(0, output.samples, DENOISING_COLUMNS, |share| progress.share(share))?
        };
        claim.check()?;
        let spec = model.spec();
        output::denoising(&drawn, spec.shape, spec.values)?.save(&claim.run().denoising())?;
        let progress = Progress::new("testing", "items", data.test.len() as u64, Lines::Results)?;
        let done = |items: usize| progress.set(items as u64);
        let test = |time| vdm_torch::evaluate(&model, &data.test, time, *evaluation, *seed, done);
        let time = config.model.objective.time;
        let likelihood = test(time)?;
        // At the few levels of a discrete bound there is no curve over all of them.
        let curve = match time {
            TimeDiscretization::Continuous => likelihood.curve.clone(),
            TimeDiscretization::Discrete { .. } => test(TimeDiscretization::Continuous)?.curve,
        };
        let curve = LossByLogSnr {
            log_snr: curve.log_snr,
            loss: curve.loss,
            standard_error: curve.standard_error,
            data_dims: data.shape.dims() as u64,
        };
        claim.check()?;
        files::write_sealed(&claim.run().loss_by_log_snr(), &curve)?;
        Ok(Conclusion { samples: drawn.pixels, test: test_likelihood(&likelihood) })
    }

    fn is_concluded(run: &RunDir) -> bool {
        // Whole, not drawable: few items may fill no two bins of a curve.
        files::read_sealed::<LossByLogSnr>(&run.loss_by_log_snr()).is_ok()
            && files::read_sealed::<NoiseLevels>(&run.noise_levels()).is_ok()
            && preview::is_whole(&run.denoising())
    }
}

fn terms(bound: &Likelihood) -> Vec<Term> {
    vec![
        Term::new("prior", bound.prior),
        Term::new("reconstruction", bound.reconstruction),
        Term::new("diffusion", bound.diffusion),
    ]
}

/// A likelihood as documents have it.
pub(crate) fn test_likelihood(result: &Likelihood) -> TestLikelihood {
    TestLikelihood {
        bits_per_dim: result.bits_per_dim,
        standard_error: result.standard_error,
        terms: terms(result),
        items: result.items as u64,
        estimator: result.estimator.clone(),
    }
}

/// Where training noises its items by now.
fn noise_levels(config: &RunConfig, trainer: &DiffusionTrainer) -> NoiseLevels {
    let shares = || (0..=POINTS).map(|i| f64::from(i) / f64::from(POINTS));
    let curve =
        |schedule: &dyn NoiseSchedule| shares().map(|t| [t, schedule.log_snr(t).value()]).collect();
    let proposal = trainer.model().proposal();
    let range = proposal.range();
    let density = |share: f64| {
        let log_snr = range.min() * (1.0 - share) + range.max() * share;
        [log_snr, proposal.density(LogSnr::new(log_snr))]
    };
    NoiseLevels {
        step: trainer.steps_done(),
        schedule_at_start: curve(&config.model.diffusion.schedule),
        schedule: curve(&trainer.average().model().spec().diffusion.schedule),
        density: shares().map(density).collect(),
    }
}
