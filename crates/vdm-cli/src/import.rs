//! `vdm import`.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use tch::Device;
use vdm_core::Schedule;
use vdm_data::{Dataset, Source};
use vdm_report::{RunDir, files, folders};
use vdm_sample::Method;
use vdm_torch::hierarchy::{Hierarchy, HierarchyModelSpec, HierarchySpec};
use vdm_torch::interop::{self, DiffusersOptions, Exported, Imported, VdmFlaxOptions};
use vdm_torch::nn::Parameters;
use vdm_torch::{Family, ModelConfig, RunConfig};

use crate::items::sides;
use crate::{configuration, opened, outputs, terminal};

/// What a run of an imported model has in place of a preset.
pub(crate) const PRESET: &str = "imported";

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

    /// The data, read as those of a model of so many values.
    fn source(&self, of_model: u16) -> Result<Source> {
        let mut source = configuration::source(&self.data, self.size)?;
        outputs::check("--out", &self.out, opened::data_path(&source).as_slice())?;
        if let Source::Path { values, .. } = &mut source {
            *values = Some(of_model);
        }
        Ok(source)
    }

    fn read(&self) -> Result<Exported, vdm_torch::Error> {
        let usual = VdmFlaxOptions::default();
        let imported = match self.from {
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
            Origin::Vdm => return interop::exported(&self.path),
        };
        Ok(Exported::Diffusion(imported?))
    }
}

/// Writes a run folder with one checkpoint, of step 0, that the other commands take.
pub(crate) fn import(options: &Options) -> Result<()> {
    options.check()?;
    folders::vacant(&options.out).context("--out")?;
    match options.read()? {
        Exported::Diffusion(imported) => diffusion(options, &imported),
        Exported::Hierarchy(hierarchy) => self::hierarchy(options, &hierarchy),
    }
}

fn diffusion(options: &Options, imported: &Imported) -> Result<()> {
    let mut config: RunConfig = base("cifar10-paper")?;
    config.data = options.source(imported.values)?;
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
    begin(options, &config, &data, model.parameters())?;
    if !imported.converted.is_empty() {
        let kinds = imported.converted.join(", ");
        terminal::print(format_args!("weights in {kinds} became float32"))?;
    }
    tell(options, model.parameters())
}

fn hierarchy(options: &Options, model: &Hierarchy) -> Result<()> {
    let HierarchyModelSpec { shape, values, hierarchy } = model.spec();
    let mut config: RunConfig<HierarchySpec> = base("digits-hvae-top-down")?;
    config.data = options.source(*values)?;
    config.model = hierarchy.clone();
    config.check()?;
    let data = vdm_data::load(&config.data)?;
    ensure!(
        (data.shape, data.values) == (*shape, *values),
        "--data {} holds items of {} and {} values, but the model is one of {} and {values}; give data of the kind \
         that it was trained on",
        options.data,
        sides(data.shape),
        data.values,
        sides(*shape)
    );
    begin(options, &config, &data, model.parameters())?;
    tell(options, model.parameters())
}

/// Writes a run of no steps with these weights.
fn begin<M: Family>(
    options: &Options,
    config: &RunConfig<M>,
    data: &Dataset,
    parameters: &Parameters,
) -> Result<()> {
    let mut trainer = config.trainer(data, Device::Cpu)?;
    trainer.start_from(parameters)?;
    folders::write(&options.out, |folder| -> Result<()> {
        let run = RunDir::new(folder);
        trainer.save(&opened::checkpoints(&run, config)?)?;
        Ok(files::write_sealed(&run.config(), config)?)
    })
}

fn tell(options: &Options, parameters: &Parameters) -> Result<()> {
    terminal::print(format_args!(
        "{} parameters; estimate its likelihood with `vdm eval --run {}`",
        parameters.count(),
        options.out.display()
    ))?;
    terminal::print(options.out.display())
}

/// The preset whose evaluation, sampler and training an imported run starts with.
fn base<M: ModelConfig>(name: &str) -> Result<RunConfig<M>> {
    let config: RunConfig<M> = serde_json::from_str(configuration::preset(name)?)?;
    Ok(RunConfig { preset: PRESET.into(), ..config })
}
