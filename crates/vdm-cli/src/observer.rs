//! What a person sees of a run while it goes on: bar, metrics, events, sample grids.

use std::time::Duration;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use vdm_core::bound::bits_per_dim;
use vdm_report::RunDir;
use vdm_report::metrics::{MetricsLog, Record, TrainRecord, ValidationRecord};
use vdm_report::tensorboard::EventWriter;
use vdm_torch::train::{Observer, StepReport, Trainer};
use vdm_torch::{EndTerms, Likelihood};

use crate::output;

/// Writes a run's folder and draws its progress bar.
#[derive(Debug)]
pub(crate) struct Recorder {
    run: RunDir,
    bar: ProgressBar,
    metrics: MetricsLog,
    events: EventWriter,
    ends: EndTerms,
    since: Window,
}

/// Sums since the last line of metrics.
#[derive(Debug, Default)]
struct Window {
    steps: u64,
    loss: f64,
    seconds_before: f64,
}

impl Recorder {
    /// Continues the records of a run after `trainer`'s last step, or starts them. `ends` are the
    /// two terms of the bound that do not depend on the network.
    pub(crate) fn new(run: RunDir, trainer: &Trainer, ends: EndTerms) -> Result<Self> {
        let done = trainer.steps_done();
        let metrics = MetricsLog::resume(&run.metrics(), done)?;
        let events = EventWriter::create(run.root(), done + 1)?;
        let bar = ProgressBar::new(trainer.config().training.steps).with_position(done);
        bar.set_style(ProgressStyle::with_template(
            "{bar:24} {pos}/{len}  {msg}  {elapsed} < {eta}",
        )?);
        bar.enable_steady_tick(Duration::from_millis(500));
        let since = Window { seconds_before: trainer.seconds(), ..Window::default() };
        Ok(Self { run, bar, metrics, events, ends, since })
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn say(&self, line: &str) {
        if self.bar.is_hidden() {
            output::say(line);
        } else {
            self.bar.println(line);
        }
    }

    fn log(&mut self, trainer: &Trainer, report: &StepReport) -> Result<()> {
        let dims = trainer.average().spec().shape.dims();
        let seconds = trainer.seconds() - self.since.seconds_before;
        let items = self.since.steps * trainer.config().training.batch as u64;
        let diffusion = bits_per_dim(self.since.loss / self.since.steps as f64, dims);
        let record = TrainRecord {
            step: report.step,
            seconds: trainer.seconds(),
            loss_bits_per_dim: diffusion + self.ends.prior + self.ends.reconstruction,
            diffusion_bits_per_dim: diffusion,
            learning_rate: report.learning_rate,
            gradient_norm: report.gradient_norm,
            images_per_second: items as f64 / seconds,
        };
        self.since = Window { seconds_before: trainer.seconds(), ..Window::default() };
        self.bar.set_message(format!(
            "loss {:.3} bits/dim  {:.0} images/s",
            record.loss_bits_per_dim, record.images_per_second
        ));
        for (tag, value) in [
            ("train/loss_bits_per_dim", record.loss_bits_per_dim),
            ("train/learning_rate", record.learning_rate),
            ("train/gradient_norm", record.gradient_norm),
            ("train/images_per_second", record.images_per_second),
        ] {
            self.events.scalar(report.step, tag, value)?;
        }
        self.metrics.append(&Record::Train(record))?;
        Ok(())
    }
}

impl Observer for Recorder {
    type Error = anyhow::Error;

    fn step(&mut self, trainer: &Trainer, report: &StepReport) -> Result<()> {
        self.since.steps += 1;
        self.since.loss += report.loss;
        self.bar.set_position(report.step);
        let config = trainer.config();
        if report.step.is_multiple_of(config.output.log_every)
            || report.step == config.training.steps
        {
            self.log(trainer, report)?;
        }
        Ok(())
    }

    fn validation(&mut self, trainer: &Trainer, result: &Likelihood) -> Result<()> {
        let step = trainer.steps_done();
        self.say(&format!(
            "step {step} after {:.0} s: validation {:.4} ± {:.4} bits/dim",
            trainer.seconds(),
            result.bits_per_dim,
            result.standard_error
        ));
        self.events.scalar(step, "validation/bits_per_dim", result.bits_per_dim)?;
        self.metrics.append(&Record::Validation(ValidationRecord {
            step,
            seconds: trainer.seconds(),
            bits_per_dim: result.bits_per_dim,
            standard_error: result.standard_error,
            prior: result.prior,
            reconstruction: result.reconstruction,
            diffusion: result.diffusion,
        }))?;
        Ok(())
    }

    fn samples(&mut self, trainer: &Trainer) -> Result<()> {
        let (step, model) = (trainer.steps_done(), trainer.average());
        let drawn = output::draw(trainer.config(), model, 0)?;
        let spec = model.spec();
        let picture = output::overview(&drawn.pixels, spec.shape, spec.levels)?;
        picture.save(&self.run.samples_at(step))?;
        self.events.image(step, "samples", &picture)?;
        Ok(())
    }
}
