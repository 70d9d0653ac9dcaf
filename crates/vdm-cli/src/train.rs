//! `vdm train`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail, ensure};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use vdm_core::Weighting;
use vdm_data::Dataset;
use vdm_report::result::{DataSource, LossByLogSnr, RunResult};
use vdm_report::{RunDir, files, report as html};
use vdm_torch::checkpoint::{CheckpointInfo, Checkpoints, Chosen};
use vdm_torch::train::{Outcome, Trainer, run};
use vdm_torch::{Depth, EndTerms, Likelihood, Model, RunConfig};

use crate::configuration::ConfigOptions;
use crate::engine::Engine;
use crate::observer::Recorder;
use crate::{evaluate, opened, output};

/// Latents along sampling that are shown.
const DENOISING_COLUMNS: usize = 12;

/// Exit code after Ctrl-C, as shells expect.
const INTERRUPTED: u8 = 130;

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
pub(crate) fn train(options: &Options) -> Result<ExitCode> {
    if let (Some(_), Some(flag)) = (&options.resume, options.config.given()) {
        bail!(
            "{flag} cannot change a run that is continued; start a new one without --resume, or edit \
             config.json in its folder: what is below training.optimizer, evaluation, sampler and \
             output may change"
        );
    }
    let device = options.engine.start()?;
    let mut session = match &options.resume {
        Some(folder) => Session::resumed(folder, options.steps)?,
        None => Session::started(options)?,
    };
    let mut trainer = match &session.from {
        None => Trainer::new(&session.config, &session.data, device)?,
        Some(Chosen { checkpoint, .. }) => {
            Trainer::resume(&session.config, &session.data, device, checkpoint)?
        }
    };
    // Only a run that can start leaves a folder.
    session.claim()?;
    let from = session.clear_up()?;
    files::write_sealed(&session.run.config(), &session.config)?;
    output::say(session.headline(&trainer, device));
    let stop = stop_on_interrupt()?;
    let ends = session.end_terms(&trainer);
    let mut recorder = Recorder::new(session.run.clone(), &trainer, from.as_ref(), ends)?;
    let outcome = run(&mut trainer, &session.data, &session.checkpoints, &stop, &mut recorder);
    recorder.finish();
    match outcome.inspect_err(|error| session.dump(error))? {
        Outcome::Finished => session.conclude(&trainer, device).map(|()| ExitCode::SUCCESS),
        Outcome::Stopped => {
            let run = session.run.root().display();
            output::say(format_args!(
                "stopped and saved at step {}; continue with `cargo xtask train --resume {run}`",
                trainer.steps_done()
            ));
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

/// The first Ctrl-C or SIGTERM asks for a clean end, the second ends the process at once. SIGHUP is
/// left alone, so that `nohup` works.
fn stop_on_interrupt() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the flag is looked at before it is set.
        flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(&stop))
            .and_then(|_| flag::register(signal, Arc::clone(&stop)))
            .context("cannot listen for Ctrl-C")?;
    }
    Ok(stop)
}

/// A run folder that is ours while the process lives, with what is to be done in it.
#[derive(Debug)]
struct Session {
    run: RunDir,
    config: RunConfig,
    data: Dataset,
    checkpoints: Checkpoints,
    /// Where to continue from.
    from: Option<Chosen>,
    /// Held from the moment the folder is this process's own.
    lock: Option<File>,
}

impl Session {
    fn started(options: &Options) -> Result<Self> {
        let (config, data) = options.config.resolve(options.steps)?;
        let folder = match &options.out {
            Some(folder) => folder.clone(),
            None => free_folder(Path::new("runs"), &config.preset),
        };
        let run = RunDir::new(&folder);
        ensure!(
            !run.config().exists(),
            "{} already holds a run; continue it with --resume {0} or choose another --out",
            folder.display()
        );
        let checkpoints = opened::checkpoints(&run, &config);
        Ok(Self { run, config, data, checkpoints, from: None, lock: None })
    }

    /// Makes the folder of a new run.
    fn claim(&mut self) -> Result<()> {
        if self.lock.is_none() {
            let folder = self.run.root();
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot create the run folder {}", folder.display()))?;
            self.lock = Some(lock(folder)?);
        }
        Ok(())
    }

    fn resumed(folder: &Path, steps: Option<u64>) -> Result<Self> {
        let run = output::existing_run(folder)?;
        let lock = lock(folder)?;
        let (mut config, seal) = opened::configuration(&run)?;
        let checkpoints = opened::checkpoints(&run, &config);
        checkpoints.put_back()?;
        // A run killed before its first checkpoint starts again: same seed, same result.
        let from = checkpoints.latest()?;
        opened::note_changes(&config, seal, from.as_ref().map(|from| &from.checkpoint), &[])?;
        if let Some(steps) = steps {
            config.training.steps = steps;
        }
        let data = vdm_data::load(&config.data)?;
        Ok(Self { run, config, data, checkpoints, from, lock: Some(lock) })
    }

    /// Once a checkpoint is loaded: what was passed over for it gets out of the way, and what a killed
    /// process left goes. Returns what the checkpoint says of itself, without its bytes.
    fn clear_up(&mut self) -> Result<Option<CheckpointInfo>> {
        let Some(Chosen { checkpoint, passed_over }) = self.from.take() else { return Ok(None) };
        opened::set_aside(&self.checkpoints, &passed_over)?;
        self.checkpoints.clear_up()?;
        Ok(Some(checkpoint.info().clone()))
    }

    /// What turns the diffusion loss of training into a bound. Nothing does if it is weighted.
    fn end_terms(&self, trainer: &Trainer) -> Option<EndTerms> {
        let bound = self.config.diffusion.weighting == Weighting::Elbo;
        bound.then(|| {
            vdm_torch::end_terms(trainer.average(), &self.data.validation, self.config.seed)
        })
    }

    fn headline(&self, trainer: &Trainer, device: tch::Device) -> String {
        let Dataset { name, train, validation, test, .. } = &self.data;
        format!(
            "{}: {} training, {} validation and {} test items of {name}; {} parameters; {}; \
             step {} of {}\n{}",
            self.config.preset,
            train.len(),
            validation.len(),
            test.len(),
            trainer.average().parameters().count(),
            describe(device),
            trainer.steps_done(),
            self.config.training.steps,
            self.run.root().display(),
        )
    }

    /// Leaves what led to a loss that is not finite in the run folder.
    fn dump(&self, error: &anyhow::Error) {
        if let Some(vdm_torch::Error::NonFinite { dump, .. }) = error.downcast_ref() {
            let path = self.run.root().join("non_finite.json");
            match files::write_json(&path, dump) {
                Ok(()) => eprintln!("what led to it is in {}", path.display()),
                Err(error) => eprintln!("and it could not be written down: {error}"),
            }
        }
    }

    /// Samples, test likelihood, `result.json` and `report.html`, all of the best checkpoint.
    fn conclude(&self, trainer: &Trainer, device: tch::Device) -> Result<()> {
        let best = opened::best(&self.checkpoints)?;
        let (model, info) = (best.model(device)?, best.info());
        self.draw(&model)?;
        let RunConfig { evaluation, seed, .. } = self.config;
        let test = &self.data.test;
        let likelihood =
            vdm_torch::evaluate(&model, test, Depth::Continuous, evaluation, seed, |_| ())?;
        let curve = &likelihood.curve;
        let curve = LossByLogSnr {
            log_snr: curve.log_snr.clone(),
            loss: curve.loss.clone(),
            standard_error: curve.standard_error.clone(),
            data_dims: self.data.shape.dims() as u64,
        };
        files::write_sealed(&self.run.loss_by_log_snr(), &curve)?;
        files::write_sealed(&self.run.result(), &self.result(trainer, info, &likelihood, device))?;
        let report = html::write(&self.run)?;
        output::say(format_args!(
            "test {}\nsamples  {}\nreport   {}",
            evaluate::describe(&likelihood),
            self.run.samples_png().display(),
            report.display()
        ));
        Ok(())
    }

    fn draw(&self, model: &Model) -> Result<()> {
        let samples = output::draw(&self.config, model, DENOISING_COLUMNS)?;
        let spec = model.spec();
        let (png, array) = (self.run.samples_png(), self.run.samples_npy());
        output::save_samples(&samples.pixels, spec.shape, spec.levels, &png, &array)?;
        let picture = output::denoising(&samples, spec.shape, spec.levels)?;
        Ok(picture.save(&self.run.denoising())?)
    }

    fn result(
        &self,
        trainer: &Trainer,
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
            parameters: trainer.average().parameters().count() as u64,
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

/// Claims a run folder for this process; released when it ends, however it ends.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(".lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    ensure!(
        file.try_lock().is_ok(),
        "another process is training in {}; wait for it or choose another --out",
        folder.display()
    );
    Ok(file)
}

/// `runs/digits`, or the first of `runs/digits-2, …` that is not there.
fn free_folder(parent: &Path, preset: &str) -> PathBuf {
    let numbered = (2_u64..).map(|n| parent.join(format!("{preset}-{n}")));
    std::iter::once(parent.join(preset))
        .chain(numbered)
        .find(|folder| !folder.exists())
        .unwrap_or_else(|| parent.join(preset))
}
