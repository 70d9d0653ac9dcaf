//! `vdm train`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use vdm_core::Weighting;
use vdm_data::Dataset;
use vdm_report::result::{DataSource, LossByLogSnr, NoiseLevels, RunResult};
use vdm_report::{files, report as html};
use vdm_torch::checkpoint::{CheckpointInfo, Checkpoints, Chosen};
use vdm_torch::diffusion::DiffusionTrainer;
use vdm_torch::train::Outcome;
use vdm_torch::{EndTerms, Likelihood, Model, RunConfig, TimeDiscretization};

use crate::claim::{self, Claim};
use crate::configuration::ConfigOptions;
use crate::engine::Engine;
use crate::observer::Recorder;
use crate::progress::{Lines, Progress};
use crate::stop::Stop;
use crate::{evaluate, observer, opened, output, terminal};

/// Latents along sampling that are shown.
const DENOISING_COLUMNS: usize = 12;

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
    let (session, mut trainer) = match &options.resume {
        Some(folder) => Session::resumed(folder, options.steps, device)?,
        None => Session::started(options, device)?,
    };
    let run = session.claim.run();
    files::write_sealed(&run.config(), &session.config)?;
    terminal::print(session.headline(&trainer, device))?;
    session.data.notes.iter().try_for_each(|note| terminal::print(format_args!("note: {note}")))?;
    terminal::print(run.root().display())?;
    stop.release(output::stopped(run, trainer.steps_done()));
    let ends = session.end_terms(&trainer);
    let outcome = {
        let mut recorder = {
            let Session { config, claim, from, .. } = &session;
            Recorder::new(config, claim, stop, &trainer, from.as_ref(), ends)?
        };
        let (data, checkpoints) = (&session.data, &session.checkpoints);
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

/// What to say of a run that has nothing left to do.
fn finished(folder: &Path, steps: Option<u64>) -> Result<Option<String>> {
    let run = opened::existing_run(folder)?;
    let (config, _) = opened::configuration(&run)?;
    let total = steps.unwrap_or(config.training.steps);
    // One that is damaged is news.
    let done = opened::checkpoints(&run, &config)?.to_continue().ok().flatten();
    let done = done.filter(|done| done.passed_over.is_empty());
    let done = done.map(|done| done.checkpoint.info().step);
    let concluded = files::read_sealed::<RunResult>(&run.result()).is_ok_and(|r| r.steps == total)
        && LossByLogSnr::read(&run.loss_by_log_snr()).is_ok()
        && files::read_sealed::<NoiseLevels>(&run.noise_levels()).is_ok();
    Ok((done == Some(total) && concluded && run.report().exists()).then(|| {
        format!(
            "{0} is finished: its {total} steps are done, and {1} says what came out; to train it \
             further give a larger total, such as `cargo xtask train --resume {0} --steps {2}`",
            folder.display(),
            run.report().display(),
            total.saturating_mul(2)
        )
    }))
}

/// A run folder that is ours while the process lives, with what is to be done in it.
#[derive(Debug)]
struct Session {
    claim: Claim,
    config: RunConfig,
    data: Dataset,
    checkpoints: Checkpoints,
    /// What the checkpoint says that the run goes on from.
    from: Option<CheckpointInfo>,
}

impl Session {
    fn started(options: &Options, device: tch::Device) -> Result<(Self, DiffusionTrainer)> {
        if let Some(folder) = &options.out {
            claim::check_free(folder)?;
        }
        let (config, data) = options.config.resolve(options.steps)?;
        let trainer = config.trainer(&data, device)?;
        // Only a run that can start leaves a folder.
        let claim = match &options.out {
            Some(folder) => Claim::new_run(folder)?,
            None => Claim::next_run(Path::new("runs"), &config.preset)?,
        };
        let checkpoints = opened::checkpoints(claim.run(), &config)?;
        Ok((Self { claim, config, data, checkpoints, from: None }, trainer))
    }

    fn resumed(
        folder: &Path,
        steps: Option<u64>,
        device: tch::Device,
    ) -> Result<(Self, DiffusionTrainer)> {
        let claim = Claim::existing_run(folder)?;
        let (mut config, seal) = opened::configuration(claim.run())?;
        let checkpoints = opened::checkpoints(claim.run(), &config)?;
        checkpoints.put_back()?;
        // A run killed before its first checkpoint starts again: same seed, same result.
        let from = checkpoints.to_continue()?;
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
        let trainer = match checkpoint {
            None => config.trainer(&data, device)?,
            Some(checkpoint) => config.resumed(&data, device, checkpoint)?,
        };
        // Only now that one is loaded.
        if let Some(Chosen { passed_over, .. }) = &from {
            opened::set_aside(&checkpoints, passed_over)?;
        }
        checkpoints.clear_up()?;
        let from = checkpoint.map(|checkpoint| checkpoint.info().clone());
        Ok((Self { claim, config, data, checkpoints, from }, trainer))
    }

    /// What turns the diffusion loss of training into a bound. Nothing does if it is weighted.
    fn end_terms(&self, trainer: &DiffusionTrainer) -> Option<EndTerms> {
        let bound = self.config.diffusion.weighting == Weighting::Elbo;
        bound.then(|| {
            vdm_torch::end_terms(trainer.average().model(), &self.data.validation, self.config.seed)
        })
    }

    fn headline(&self, trainer: &DiffusionTrainer, device: tch::Device) -> String {
        let Dataset { name, train, validation, test, .. } = &self.data;
        let labels = if train.labels().is_some() { ", whose labels are not used" } else { "" };
        format!(
            "{}: {} training, {} validation and {} test items of {name}{labels}; {} parameters; {}; \
             step {} of {}",
            self.config.preset,
            train.len(),
            validation.len(),
            test.len(),
            trainer.average().model().parameters().count(),
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
    fn conclude(&self, trainer: &DiffusionTrainer, device: tch::Device) -> Result<()> {
        let run = self.claim.run();
        let best = opened::best(&self.checkpoints)?;
        let (model, info) = (Model::of_checkpoint(&best, device)?, best.info());
        self.draw(&model)?;
        let likelihood = self.test(&model)?;
        let curve = &likelihood.curve;
        let curve = LossByLogSnr {
            log_snr: curve.log_snr.clone(),
            loss: curve.loss.clone(),
            standard_error: curve.standard_error.clone(),
            data_dims: self.data.shape.dims() as u64,
        };
        self.claim.check()?;
        files::write_sealed(&run.loss_by_log_snr(), &curve)?;
        files::write_sealed(&run.noise_levels(), &observer::noise_levels(&self.config, trainer))?;
        files::write_sealed(&run.result(), &self.result(trainer, info, &likelihood, device))?;
        let report = html::write(run)?;
        terminal::print_lines(&format!("test {likelihood}"))?;
        terminal::print(format_args!("samples  {}", run.samples_png().display()))?;
        terminal::print(format_args!("report   {}", report.display()))
    }

    fn draw(&self, model: &Model) -> Result<()> {
        let progress = Progress::drawing(Lines::Results)?;
        let drawn = output::draw(&self.config, model, DENOISING_COLUMNS, |s| progress.share(s))?;
        let (run, spec) = (self.claim.run(), model.spec());
        self.claim.check()?;
        let (png, array) = (run.samples_png(), run.samples_npy());
        output::save_samples(&drawn.pixels, spec.shape, spec.values, &png, &array)?;
        let preview = output::denoising(&drawn, spec.shape, spec.values)?;
        Ok(preview.save(&run.denoising())?)
    }

    fn test(&self, model: &Model) -> Result<Likelihood> {
        let RunConfig { evaluation, seed, .. } = self.config;
        let items = &self.data.test;
        let progress = Progress::new("testing", "items", items.len() as u64, Lines::Results)?;
        let done = |items: usize| progress.set(items as u64);
        Ok(vdm_torch::evaluate(
            model,
            items,
            TimeDiscretization::Continuous,
            evaluation,
            seed,
            done,
        )?)
    }

    fn result(
        &self,
        trainer: &DiffusionTrainer,
        info: &CheckpointInfo,
        likelihood: &Likelihood,
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
            seconds: trainer.seconds(),
            images_per_second: images as f64 / trainer.seconds(),
            parameters: trainer.average().model().parameters().count() as u64,
            device: describe(device),
            libtorch: vdm_torch::LIBTORCH_VERSION.into(),
            seed: self.config.seed.0,
            test: evaluate::likelihood(likelihood),
            other,
        }
    }
}

fn describe(device: tch::Device) -> String {
    match device {
        tch::Device::Cpu => format!("cpu, {} threads", tch::get_num_threads()),
        tch::Device::Cuda(index) => format!("cuda:{index}"),
        other => format!("{other:?}"),
    }
}
