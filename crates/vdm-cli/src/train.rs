//! `vdm train`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use vdm_data::Dataset;
use vdm_report::metrics::{MetricsLog, Record, TimingsLog};
use vdm_report::result::{DataSource, RunResult, TestLikelihood};
use vdm_report::{RunDir, files, preview, report as html};
use vdm_torch::checkpoint::{CheckpointInfo, Checkpoints, Chosen};
use vdm_torch::hierarchy::HierarchySpec;
use vdm_torch::train::{Outcome, Trainable, Trainer};
use vdm_torch::{AnyModel, DiffusionConfig, ModelConfig, RunConfig};

use crate::claim::{self, Claim};
use crate::configuration::ConfigOptions;
use crate::engine::Engine;
use crate::family::{Conclusion, Recorded};
use crate::observer::Recorder;
use crate::stop::Stop;
use crate::{opened, output, outputs, terminal};

/// The folder of runs that are given none.
const RUNS: &str = "runs";

/// `vdm train`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    config: ConfigOptions,
    /// Optimizer steps; with --resume, a new total
    #[arg(long)]
    steps: Option<u64>,
    /// Folder of the run, which must not hold one yet [default: runs/PRESET, runs/PRESET-2, …]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Continue the run in this folder from its last checkpoint
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
    #[command(flatten)]
    engine: Engine,
}

/// Trains, then samples, evaluates and reports.
pub(crate) fn train(options: &Options, stop: &Stop) -> Result<ExitCode> {
    if let (Some(_), Some(flag)) = (&options.resume, options.config.given()) {
        bail!(
            "{flag} cannot change a run that is continued; start a new one without --resume, or edit \
             config.json in its folder: what is below training.optimizer, evaluation, sampler and \
             output may change"
        );
    }
    if let Some(folder) = &options.resume
        && let Some(line) = finished(folder, options.steps)?
    {
        return terminal::print(line).map(|()| ExitCode::SUCCESS);
    }
    let device = options.engine.start()?;
    let begun = match &options.resume {
        Some(folder) => Begun::resumed(folder, options.steps)?,
        None => Begun::started(options)?,
    };
    match begun.config.model.clone() {
        AnyModel::Diffusion(model) => begun.with(*model).run(device, stop),
        AnyModel::Hierarchy(model) => begun.with(model).run(device, stop),
    }
}

/// What to say of a run that has nothing left to do.
fn finished(folder: &Path, steps: Option<u64>) -> Result<Option<String>> {
    let run = opened::existing_run(folder)?;
    let (config, _) = opened::configuration(&run)?;
    let total = steps.unwrap_or(config.training.steps);
    // One that is damaged is news.
    let done = opened::checkpoints(&run, &config)?.to_continue().ok().flatten();
    let done = done.filter(|done| done.passed_over.is_empty());
    let done = done.map(|done| done.checkpoint.info().step);
    let files = match config.model {
        AnyModel::Diffusion(_) => DiffusionConfig::is_concluded(&run),
        AnyModel::Hierarchy(_) => HierarchySpec::is_concluded(&run),
    };
    let concluded =
        files::read_sealed::<RunResult>(&run.result()).is_ok_and(|r| r.steps == total) && files;
    // So are logs that are damaged.
    let logs = MetricsLog::read(&run.metrics()).is_ok() && TimingsLog::read(&run.timings()).is_ok();
    let shown = run.report().exists()
        && run.samples_npy().exists()
        && preview::is_whole(&run.samples_png());
    Ok((done == Some(total) && concluded && logs && shown).then(|| {
        format!(
            "{0} is finished: its {total} steps are done, and {1} says what came out; to train it \
             further give a larger total, such as `cargo xtask train --resume {0} --steps {2}`",
            folder.display(),
            run.report().display(),
            total.saturating_mul(2)
        )
    }))
}

/// That a run without a checkpoint never had one: a checkpoint is written before its validation and samples, and before
/// any step that follows the first of them.
fn check_begun(run: &RunDir, checkpoint_every: u64) -> Result<()> {
    let metrics = run.metrics();
    let records = if metrics.exists() { MetricsLog::intact(&metrics)?.intact } else { Vec::new() };
    let is_later = |record: &Record| match record {
        Record::Train(record) => record.step > checkpoint_every,
        Record::Validation(_) => true,
    };
    let witness = match records.iter().rfind(|record| is_later(record)) {
        Some(record) => Some((metrics, record.step())),
        None => run.sample_steps()?.last().map(|step| (run.samples_at(*step), *step)),
    };
    if let Some((witness, step)) = witness {
        bail!(
            "{} knows of step {step}, but {} holds no checkpoint; bring them back, or start anew in another folder with \
             --config {}",
            witness.display(),
            run.checkpoints().display(),
            run.config().display()
        );
    }
    Ok(())
}

/// A configuration with its data, and where its run is or will be.
#[derive(Debug)]
struct Begun<M: ModelConfig = AnyModel> {
    config: RunConfig<M>,
    data: Dataset,
    place: Place,
}

/// Where a run is.
#[derive(Debug)]
enum Place {
    /// In a folder that it will have once it can start: only such a run leaves one.
    New(Option<PathBuf>),
    /// In one that is ours, to go on from a checkpoint, if it has one.
    Old { claim: Claim, from: Option<Box<Chosen>> },
}

impl Begun {
    fn started(options: &Options) -> Result<Self> {
        if let Some(folder) = &options.out {
            claim::check_free(folder)?;
        }
        let (config, data) = options.config.resolve(options.steps)?;
        let place = options.out.as_deref().unwrap_or(Path::new(RUNS));
        outputs::check("--out", place, opened::data_path(&config.data).as_slice())?;
        Ok(Self { config, data, place: Place::New(options.out.clone()) })
    }

    fn resumed(folder: &Path, steps: Option<u64>) -> Result<Self> {
        let claim = Claim::existing_run(folder)?;
        let (mut config, seal) = opened::configuration(claim.run())?;
        let checkpoints = opened::checkpoints(claim.run(), &config)?;
        checkpoints.put_back()?;
        // A run killed before its first checkpoint starts again: same seed, same result.
        let from = checkpoints.to_continue()?;
        if from.is_none() {
            check_begun(claim.run(), config.output.checkpoint_every)?;
        }
        let checkpoint = from.as_ref().map(|from| &from.checkpoint);
        opened::note_changes(&config, seal, checkpoint, &[])?;
        config.training.steps = steps.unwrap_or(config.training.steps);
        let (total, done) = (config.training.steps, checkpoint.map_or(0, |c| c.info().step));
        ensure!(
            total >= done,
            "a total of {total} steps is less than the {done} that {} has done; give a larger one with \
             --steps",
            folder.display()
        );
        let data = vdm_data::load(&config.data)?;
        Ok(Self { config, data, place: Place::Old { claim, from: from.map(Box::new) } })
    }

    fn with<M: ModelConfig>(self, model: M) -> Begun<M> {
        let Self { config, data, place } = self;
        Begun { config: config.with_model(model), data, place }
    }
}

impl<M: Recorded> Begun<M> {
    /// The run with its trainer.
    fn session(self, device: tch::Device) -> Result<(Session<M>, Trainer<M::Training>)> {
        let Self { config, data, place } = self;
        match place {
            Place::New(folder) => {
                let trainer = config.trainer(&data, device)?;
                let claim = match &folder {
                    Some(folder) => Claim::new_run(folder)?,
                    None => Claim::next_run(Path::new(RUNS), &config.preset)?,
                };
                let checkpoints = opened::checkpoints(claim.run(), &config)?;
                Ok((Session { claim, config, data, checkpoints, from: None }, trainer))
            }
            Place::Old { claim, from } => {
                let checkpoints = opened::checkpoints(claim.run(), &config)?;
                let trainer = match &from {
                    None => config.trainer(&data, device)?,
                    Some(from) => config.resumed(&data, device, &from.checkpoint)?,
                };
                // Only now that one is loaded.
                if let Some(from) = &from {
                    opened::set_aside(&checkpoints, &from.passed_over)?;
                }
                checkpoints.clear_up()?;
                let from = from.map(|from| from.checkpoint.info().clone());
                Ok((Session { claim, config, data, checkpoints, from }, trainer))
            }
        }
    }

    fn run(self, device: tch::Device, stop: &Stop) -> Result<ExitCode> {
        let (session, mut trainer) = self.session(device)?;
        let run = session.claim.run();
        files::write_sealed(&run.config(), &session.config)?;
        terminal::print(session.headline(&trainer, device))?;
        let notes = &session.data.notes;
        notes.iter().try_for_each(|note| terminal::print(format_args!("note: {note}")))?;
        terminal::print(run.root().display())?;
        stop.release(output::stopped(run, trainer.steps_done()));
        let ends = M::ends(&session.config, &trainer, &session.data);
        let outcome = {
            let Session { config, claim, from, data, checkpoints } = &session;
            let mut recorder =
                Recorder::new(config, claim, stop, &trainer, from.as_ref(), (data.values, ends))?;
            vdm_torch::train::run(&mut trainer, data, checkpoints, stop.asked(), &mut recorder)
        };
        match outcome.inspect_err(|error| session.dump(error))? {
            Outcome::Finished => session.conclude(&trainer, device).map(|()| ExitCode::SUCCESS),
            Outcome::Stopped => {
                terminal::print(output::stopped(run, trainer.steps_done()))?;
                Ok(ExitCode::from(stop.exit_code()))
            }
        }
    }
}

/// A run folder that is ours while the process lives, with what is to be done in it.
#[derive(Debug)]
struct Session<M: Recorded> {
    claim: Claim,
    config: RunConfig<M>,
    data: Dataset,
    checkpoints: Checkpoints,
    /// What the checkpoint says that the run goes on from.
    from: Option<CheckpointInfo>,
}

impl<M: Recorded> Session<M> {
    fn headline(&self, trainer: &Trainer<M::Training>, device: tch::Device) -> String {
        let Dataset { name, train, validation, test, .. } = &self.data;
        let labels = if train.labels().is_some() { ", whose labels are not used" } else { "" };
        format!(
            "{}: {} training, {} validation and {} test items of {name}{labels}; {} parameters; {}; \
             step {} of {}",
            self.config.preset,
            train.len(),
            validation.len(),
            test.len(),
            trainer.average().parameters().count(),
            describe(device),
            trainer.steps_done(),
            self.config.training.steps,
        )
    }

    /// Leaves what led to a loss that is not finite in the run folder.
    fn dump(&self, error: &anyhow::Error) {
        if let Some(vdm_torch::Error::NonFinite { dump, .. }) = error.downcast_ref() {
            let path = self.claim.run().non_finite();
            match files::write_json(&path, dump) {
                Ok(()) => terminal::note(format_args!("what led to it is in {}", path.display())),
                Err(error) => {
                    terminal::note(format_args!("and it could not be written down: {error}"));
                }
            }
        }
    }

    /// Samples, test likelihood, `result.json` and `report.html`, all of the best checkpoint.
    fn conclude(&self, trainer: &Trainer<M::Training>, device: tch::Device) -> Result<()> {
        let run = self.claim.run();
        let best = opened::best(&self.checkpoints)?;
        let Conclusion { samples, test } =
            M::conclude(&self.config, &self.data, &best, device, &self.claim)?;
        self.claim.check()?;
        let (png, array) = (run.samples_png(), run.samples_npy());
        output::save_samples(&samples, self.data.shape, self.data.values, None, &png, &array)?;
        M::show_progress(&self.config, trainer, run)?;
        let line = format!("test {test}");
        files::write_sealed(&run.result(), &self.result(trainer, best.info(), test, device))?;
        let report = html::write(run)?;
        terminal::print_lines(&line)?;
        terminal::print(format_args!("samples  {}", run.samples_png().display()))?;
        terminal::print(format_args!("report   {}", report.display()))
    }

    fn result(
        &self,
        trainer: &Trainer<M::Training>,
        info: &CheckpointInfo,
        test: TestLikelihood,
        device: tch::Device,
    ) -> RunResult {
        let data = &self.data;
        let items = data.train.len() + data.validation.len() + data.test.len();
        let images = trainer.steps_done() * self.config.training.batch as u64;
        let mut other = serde_json::Map::new();
        other.insert("checkpoint_step".into(), info.step.into());
        other.insert("validation_bits_per_dim".into(), info.validation.into());
        RunResult {
            preset: self.config.preset.clone(),
            data: DataSource {
                name: data.name.clone(),
                sha256: data.sha256.clone(),
                items: items as u64,
            },
            steps: trainer.steps_done(),
            skipped: trainer.steps_skipped(),
            seconds: trainer.seconds(),
            images_per_second: images as f64 / trainer.seconds(),
            parameters: trainer.average().parameters().count() as u64,
            device: describe(device),
            libtorch: vdm_torch::LIBTORCH_VERSION.into(),
            seed: self.config.seed.0,
            test,
            other,
        }
    }
}

fn describe(device: tch::Device) -> String {
    match device {
        tch::Device::Cpu => match tch::get_num_threads() {
            1 => "cpu, 1 thread".into(),
            threads => format!("cpu, {threads} threads"),
        },
        tch::Device::Cuda(index) => format!("cuda:{index}"),
        other => format!("{other:?}"),
    }
}
