//! What a person sees of a run while it goes on: progress, metrics, events, sample grids.

use anyhow::Result;
use vdm_report::metrics::{MetricsLog, Record, Timing, TimingsLog, TrainRecord, ValidationRecord};
use vdm_report::tensorboard::EventWriter;
use vdm_torch::RunConfig;
use vdm_torch::checkpoint::CheckpointInfo;
use vdm_torch::train::{Observer, StepReport, Trainable, Trainer, Window};

use crate::claim::Claim;
use crate::family::{Recorded, TrainingLoss, Validation};
use crate::progress::{Lines, Progress};
use crate::stop::Stop;
use crate::{logs, output, terminal};

/// Writes a run's folder and shows its progress.
#[derive(Debug)]
pub(crate) struct Recorder<'a, M: Recorded> {
    config: &'a RunConfig<M>,
    claim: &'a Claim,
    stop: &'a Stop,
    /// Number of values of the data.
    values: u16,
    progress: Progress,
    /// The step that the run goes on from, if an interrupted process had drawn its samples.
    drawn: Option<u64>,
    metrics: MetricsLog,
    timings: TimingsLog,
    events: EventWriter,
    ends: M::Ends,
}

impl<'a, M: Recorded> Recorder<'a, M> {
    /// Continues the records of a run after the checkpoint `from`, or starts them.
    pub(crate) fn new(
        config: &'a RunConfig<M>,
        claim: &'a Claim,
        stop: &'a Stop,
        trainer: &Trainer<M::Training>,
        from: Option<&CheckpointInfo>,
        (values, ends): (u16, M::Ends),
    ) -> Result<Self> {
        let (run, step) = (claim.run(), trainer.steps_done());
        let (metrics, timings) = logs::open(run, from, trainer.plan().training.steps)?;
        let drawn = run.samples_at(step).exists().then_some(step);
        let events = EventWriter::create(run.root(), step + 1)?;
        let progress =
            Progress::new("training", "steps", trainer.plan().training.steps, Lines::Results)?;
        progress.set(step);
        Ok(Self { config, claim, stop, values, progress, drawn, metrics, timings, events, ends })
    }

    fn log(&mut self, trainer: &Trainer<M::Training>, report: &StepReport) -> Result<()> {
        let TrainingLoss { bits_per_dim, terms, weighted, variance } = M::loss(trainer, &self.ends);
        let timing = timing(trainer, trainer.window());
        let (tag, loss, shown) = match weighted {
            Some(loss) => ("train/weighted_loss", loss, format!("weighted loss {loss:.4}")),
            None => {
                let shown = format!("loss {bits_per_dim:.3} bits/dim");
                ("train/loss_bits_per_dim", bits_per_dim, shown)
            }
        };
        self.progress.mention(format!("{shown}  {:.0} images/s", timing.images_per_second));
        let mut scalars = vec![
            (tag, loss),
            ("train/learning_rate", report.learning_rate),
            ("train/gradient_norm", report.gradient_norm),
            ("train/images_per_second", timing.images_per_second),
        ];
        if let Some(variance) = &variance {
            scalars.push(("train/relative_variance", variance.relative_variance));
            scalars.push(("train/least_variance_share", variance.least_variance_share));
        }
        if trainer.plan().training.optimizer.skip_above.is_some() {
            scalars.push(("train/skipped_steps", trainer.steps_skipped() as f64));
        }
        for (tag, value) in scalars {
            self.events.scalar(report.step, tag, value)?;
        }
        self.metrics.append(&Record::Train(TrainRecord {
            step: report.step,
            skipped: trainer.window().skipped,
            loss_bits_per_dim: bits_per_dim,
            terms,
            weighted_loss: weighted,
            learning_rate: report.learning_rate,
            gradient_norm: report.gradient_norm,
            variance,
        }))?;
        self.timings.append(&timing)?;
        Ok(())
    }
}

/// How long the steps of a window took.
fn timing<T: Trainable>(trainer: &Trainer<T>, since: &Window) -> Timing {
    let items = since.steps * trainer.plan().training.batch as u64;
    let seconds = trainer.seconds();
    let images_per_second = items as f64 / (seconds - since.seconds_before);
    Timing { step: trainer.steps_done(), seconds, images_per_second }
}

impl<M: Recorded> Observer<M::Training> for Recorder<'_, M> {
    type Error = anyhow::Error;

    fn step(&mut self, trainer: &Trainer<M::Training>, report: &StepReport) -> Result<()> {
        self.stop.hold();
        self.claim.check()?;
        self.progress.set(report.step);
        let plan = trainer.plan();
        if report.step.is_multiple_of(plan.output.log_every) || report.step == plan.training.steps {
            self.log(trainer, report)?;
        }
        Ok(())
    }

    fn saved(&mut self, trainer: &Trainer<M::Training>) -> Result<()> {
        self.stop.release(output::stopped(self.claim.run(), trainer.steps_done()));
        self.claim.check()
    }

    fn validation(
        &mut self,
        trainer: &Trainer<M::Training>,
        bound: &<M::Training as Trainable>::Bound,
    ) -> Result<()> {
        self.claim.check()?;
        let step = trainer.steps_done();
        let Validation { bits_per_dim, standard_error, terms } = M::validation(bound);
        let error = if standard_error.is_finite() {
            format!(" ± {standard_error:.4} bits/dim")
        } else {
            " bits/dim (1 item: no standard error)".into()
        };
        let skipped = match trainer.steps_skipped() {
            0 => String::new(),
            1 => ", 1 step skipped".into(),
            steps => format!(", {steps} steps skipped"),
        };
        terminal::print(format_args!(
            "step {step} after {:.0} s: validation {bits_per_dim:.4}{error}{skipped}",
            trainer.seconds(),
        ))?;
        M::show_progress(self.config, trainer, self.claim.run())?;
        self.events.scalar(step, "validation/bits_per_dim", bits_per_dim)?;
        let record = ValidationRecord { step, bits_per_dim, standard_error, terms };
        Ok(self.metrics.append(&Record::Validation(record))?)
    }

    fn samples(&mut self, trainer: &Trainer<M::Training>) -> Result<()> {
        let step = trainer.steps_done();
        if self.drawn == Some(step) {
            return Ok(());
        }
        let pixels = trainer.average().samples(trainer.plan().output.samples)?;
        self.claim.check()?;
        let preview = output::overview(&pixels, trainer.average().shape(), self.values)?;
        preview.save(&self.claim.run().samples_at(step))?;
        self.events.image(step, "samples", &preview)?;
        Ok(())
    }
}
