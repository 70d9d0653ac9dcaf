//! `vdm import`.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use tch::Device;
use vdm_core::Schedule;
use vdm_report::{RunDir, files, folders};
use vdm_sample::Method;
use vdm_torch::interop::{self, DiffusersOptions, Imported, VdmFlaxOptions};
use vdm_torch::{PRESETS, RunConfig};

use crate::{configuration, opened, terminal};

/// What a run of an imported model has in place of a preset.
pub(crate) const PRESET: &str = "imported";

/// The preset whose evaluation, sampler and training an imported run starts with.
const BASE: &str = "cifar10-paper";

/// `vdm import`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What wrote it
    #[arg(long, value_enum)]
    from: Origin,
    /// A checkpoint or .safetensors of google-research/vdm; the folder of a diffusers `UNet2DModel`;
    /// or a file of `vdm export`
    path: PathBuf,
    /// Its data: digits, or a path: IDX or CIFAR-10 folder, .npy, .npz, folder of images
    #[arg(long, value_name = "NAME|PATH")]
    data: String,
    /// Side to which a folder of images is cropped and resized
    #[arg(long, value_name = "PIXELS")]
    size: Option<usize>,
    /// Folder of the run, which must not hold one yet
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Of vdm-flax: `gamma_min` of its configuration [default: -13.3]
    #[arg(long, value_name = "GAMMA", allow_negative_numbers = true)]
    gamma_min: Option<f64>,
    /// Of vdm-flax: `gamma_max` of its configuration [default: 5]
    #[arg(long, value_name = "GAMMA", allow_negative_numbers = true)]
    gamma_max: Option<f64>,
    /// Of diffusers: its training's `scheduler_config.json` [default: in the folder or ../scheduler]
    #[arg(long, value_name = "FILE")]
    scheduler: Option<PathBuf>,
    /// The class to model, if it is conditioned on one
    #[arg(long)]
    label: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Origin {
    /// google-research/vdm
    VdmFlax,
    /// Hugging Face diffusers
    Diffusers,
    /// `vdm export`
    Vdm,
}

impl Options {
    /// That no option is given that this origin does not know.
    fn check(&self) -> Result<()> {
        use Origin::{Diffusers, VdmFlax};
        let given = [
            (self.gamma_min.is_some(), "--gamma-min", [VdmFlax].as_slice()),
            (self.gamma_max.is_some(), "--gamma-max", &[VdmFlax]),
            (self.scheduler.is_some(), "--scheduler", &[Diffusers]),
            (self.label.is_some(), "--label", &[VdmFlax, Diffusers]),
        ];
        for (given, flag, origins) in given {
            let known = origins.contains(&self.from);
            ensure!(!given || known, "{flag} means nothing for this --from; leave it out");
        }
        Ok(())
    }

    fn read(&self) -> Result<Imported, vdm_torch::Error> {
        let usual = VdmFlaxOptions::default();
        match self.from {
            Origin::VdmFlax => interop::vdm_flax(
                &self.path,
                &VdmFlaxOptions {
                    gamma_min: self.gamma_min.unwrap_or(usual.gamma_min),
                    gamma_max: self.gamma_max.unwrap_or(usual.gamma_max),
                    label: self.label.map_or(usual.label, f64::from),
                },
            ),
            Origin::Diffusers => interop::diffusers(
                &self.path,
                &DiffusersOptions {
                    scheduler: self.scheduler.clone(),
                    label: self.label.map(i64::from),
                },
            ),
            Origin::Vdm => interop::exported(&self.path),
        }
    }
}

/// Writes a run folder with one checkpoint, of step 0, that the other commands take.
pub(crate) fn import(options: &Options) -> Result<()> {
    options.check()?;
    folders::vacant(&options.out).context("--out")?;
    let imported = options.read()?;
    let mut config = base()?;
    config.data = configuration::source(&options.data, options.size)?;
    config.model.diffusion = imported.diffusion.clone();
    config.model.network = imported.network.clone();
    config.model.head = imported.head;
    config.model.clock = imported.clock;
    if let Schedule::Discrete(table) = &config.model.diffusion.schedule
        && let Method::OnGrid { steps, .. } = &mut config.model.sampler.method
    {
        // From index to index: every timestep the network was trained on, and no other.
        *steps = table.steps() - 1;
    }
    config.check()?;
    let data = vdm_data::load(&config.data)?;
    let model = imported.model(data.shape, data.values, Device::Cpu)?;
    let mut trainer = config.trainer(&data, Device::Cpu)?;
    trainer.start_from(model.parameters())?;
    folders::write(&options.out, |folder| -> Result<()> {
        let run = RunDir::new(folder);
        trainer.save(&opened::checkpoints(&run, &config)?)?;
        Ok(files::write_sealed(&run.config(), &config)?)
    })?;
    if !imported.converted.is_empty() {
        let kinds = imported.converted.join(", ");
        terminal::print(format_args!("weights in {kinds} became float32"))?;
    }
    terminal::print(format_args!(
        "{} parameters; estimate its likelihood with `vdm eval --run {}`",
        model.parameters().count(),
        options.out.display()
    ))?;
    terminal::print(options.out.display())
}

fn base() -> Result<RunConfig> {
    let preset = PRESETS.iter().find(|(name, _)| *name == BASE);
    let (_, text) = preset.with_context(|| format!("there is no preset {BASE}"))?;
    let config: RunConfig = serde_json::from_str(text)?;
    Ok(RunConfig { preset: PRESET.into(), ..config })
}
