//! What a person sees of a run while it goes on: progress, metrics, events, sample grids.

use anyhow::Result;
use vdm_core::bound::bits_per_dim;
use vdm_core::{LogSnr, NoiseSchedule};
use vdm_report::files;
use vdm_report::metrics::{MetricsLog, Record, Timing, TimingsLog, TrainRecord, ValidationRecord};
use vdm_report::result::NoiseLevels;
use vdm_report::tensorboard::EventWriter;
use vdm_torch::checkpoint::CheckpointInfo;
use vdm_torch::diffusion::{DiffusionTrainer, DiffusionTraining};
use vdm_torch::train::{Observer, StepReport, Trainable, Window};
use vdm_torch::{EndTerms, Likelihood, RunConfig};

use crate::claim::Claim;
use crate::progress::{Lines, Progress};
use crate::stop::Stop;
use crate::{logs, output, terminal};

/// Writes a run's folder and shows its progress.
#[derive(Debug)]
pub(crate) struct Recorder<'a> {
    config: &'a RunConfig,
    claim: &'a Claim,
    stop: &'a Stop,
    progress: Progress,
    /// The step that the run goes on from, if an interrupted process had drawn its samples.
    drawn: Option<u64>,
    metrics: MetricsLog,
    timings: TimingsLog,
    events: EventWriter,
    /// What makes the diffusion loss a bound; `None` under a weighting that nothing does it for.
    ends: Option<EndTerms>,
}

/// Points of a curve that the report draws.
const POINTS: u32 = 200;

impl<'a> Recorder<'a> {
    /// Continues the records of a run after the checkpoint `from`, or starts them. `ends` are the
    /// two terms of the bound that do not depend on the network, unless the loss is weighted.
    pub(crate) fn new(
        config: &'a RunConfig,
        claim: &'a Claim,
        stop: &'a Stop,
        trainer: &DiffusionTrainer,
        from: Option<&CheckpointInfo>,
        ends: Option<EndTerms>,
    ) -> Result<Self> {
        let (run, step) = (claim.run(), trainer.steps_done());
        let (metrics, timings) = logs::open(run, from, trainer.plan().training.steps)?;
        let drawn = run.samples_at(step).exists().then_some(step);
        let events = EventWriter::create(run.root(), step + 1)?;
        let progress =
            Progress::new("training", "steps", trainer.plan().training.steps, Lines::Results)?;
        progress.set(step);
        Ok(Self { config, claim, stop, progress, drawn, metrics, timings, events, ends })
    }

    fn log(&mut self, trainer: &DiffusionTrainer, report: &StepReport) -> Result<()> {
        let dims = trainer.average().model().spec().shape.dims();
        let since = trainer.window();
        let mean = |sum: f64| bits_per_dim(sum / since.steps as f64, dims);
        let (diffusion, ends) = match self.ends {
            Some(EndTerms { prior, reconstruction }) => {
                let learned: f64 = since.terms.values().sum();
                let ends =
                    if since.terms.is_empty() { prior + reconstruction } else { mean(learned) };
                (mean(since.loss), ends)
            }
            None => (f64::NAN, f64::NAN),
        };
        let per_dim = |nats: f64| nats / dims as f64;
        let weighted_loss = self.ends.is_none().then(|| per_dim(since.loss / since.steps as f64));
        // A square of nats has the factor twice.
        let squared = |variance: f64| match self.ends {
            Some(_) => bits_per_dim(bits_per_dim(variance, dims), dims),
            None => per_dim(per_dim(variance)),
        };
        let loss_variance = trainer.model().loss_variance();
        let variance = loss_variance.variance();
        let record = TrainRecord {
            step: report.step,
            loss_bits_per_dim: diffusion + ends,
            diffusion_bits_per_dim: diffusion,
            weighted_loss,
            learning_rate: report.learning_rate,
            gradient_norm: report.gradient_norm,
            loss_variance: squared(variance),
            relative_variance: variance / loss_variance.mean().powi(2),
            least_variance_share: loss_variance.least_variance() / variance,
        };
        let timing = timing(trainer, since);
        let (tag, loss, shown) = match weighted_loss {
            Some(loss) => ("train/weighted_loss", loss, format!("weighted loss {loss:.4}")),
            None => {
                let loss = record.loss_bits_per_dim;
                ("train/loss_bits_per_dim", loss, format!("loss {loss:.3} bits/dim"))
            }
        };
        self.progress.mention(format!("{shown}  {:.0} images/s", timing.images_per_second));
        for (tag, value) in [
            (tag, loss),
            ("train/learning_rate", record.learning_rate),
            ("train/gradient_norm", record.gradient_norm),
            ("train/images_per_second", timing.images_per_second),
            ("train/relative_variance", record.relative_variance),
            ("train/least_variance_share", record.least_variance_share),
        ] {
            self.events.scalar(report.step, tag, value)?;
        }
        self.metrics.append(&Record::Train(record))?;
        self.timings.append(&timing)?;
        Ok(())
    }
}

/// How long the steps of a window took.
fn timing(trainer: &DiffusionTrainer, since: &Window) -> Timing {
    let items = since.steps * trainer.plan().training.batch as u64;
    let seconds = trainer.seconds();
    let images_per_second = items as f64 / (seconds - since.seconds_before);
    Timing { step: trainer.steps_done(), seconds, images_per_second }
}

/// Where training noises its items by now.
pub(crate) fn noise_levels(config: &RunConfig, trainer: &DiffusionTrainer) -> NoiseLevels {
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
        schedule_at_start: curve(&config.diffusion.schedule),
        schedule: curve(&trainer.average().model().spec().diffusion.schedule),
        density: shares().map(density).collect(),
    }
}

impl Observer<DiffusionTraining> for Recorder<'_> {
    type Error = anyhow::Error;

    fn step(&mut self, trainer: &DiffusionTrainer, report: &StepReport) -> Result<()> {
        self.stop.hold();
        self.claim.check()?;
        self.progress.set(report.step);
        let plan = trainer.plan();
        if report.step.is_multiple_of(plan.output.log_every) || report.step == plan.training.steps {
            self.log(trainer, report)?;
        }
        Ok(())
    }

    fn saved(&mut self, trainer: &DiffusionTrainer) -> Result<()> {
        self.stop.release(output::stopped(self.claim.run(), trainer.steps_done()));
        self.claim.check()
    }

    fn validation(&mut self, trainer: &DiffusionTrainer, result: &Likelihood) -> Result<()> {
        self.claim.check()?;
        let step = trainer.steps_done();
        terminal::print(format_args!(
            "step {step} after {:.0} s: validation {:.4} ± {:.4} bits/dim",
            trainer.seconds(),
            result.bits_per_dim,
            result.standard_error
        ))?;
        files::write_sealed(&self.claim.run().noise_levels(), &noise_levels(self.config, trainer))?;
        self.events.scalar(step, "validation/bits_per_dim", result.bits_per_dim)?;
        self.metrics.append(&Record::Validation(ValidationRecord {
            step,
            bits_per_dim: result.bits_per_dim,
            standard_error: result.standard_error,
            prior: result.prior,
            reconstruction: result.reconstruction,
            diffusion: result.diffusion,
        }))?;
        Ok(())
    }

    fn samples(&mut self, trainer: &DiffusionTrainer) -> Result<()> {
        let step = trainer.steps_done();
        if self.drawn == Some(step) {
            return Ok(());
        }
        let pixels = trainer.average().samples(trainer.plan().output.samples)?;
        self.claim.check()?;
        let spec = trainer.average().model().spec();
        let preview = output::overview(&pixels, spec.shape, spec.values)?;
        preview.save(&self.claim.run().samples_at(step))?;
        self.events.image(step, "samples", &preview)?;
        Ok(())
    }
}
