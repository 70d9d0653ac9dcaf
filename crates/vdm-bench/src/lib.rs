//! What the criterion targets under `benches/` measure, in one place.

pub mod clock;
pub mod objectives;
pub mod work_precision;

use std::convert::Infallible;

use tch::Device;
use vdm_core::{Denoiser, Latent, NoiseLevel, Parameterization, Prediction, Scaling, Schedule};
use vdm_sample::TimeGrid;
use vdm_torch::{Model, PRESETS, RunConfig};

/// A model that costs nothing: it answers with its input, without copying where it can. Time spent
/// around it is the solver's own.
#[derive(Debug, Clone, Copy)]
pub struct FreeDenoiser;

impl<Z: Latent> Denoiser<Z> for FreeDenoiser {
    type Error = Infallible;

    fn denoise(&self, z: &Z, _: &NoiseLevel) -> Result<Prediction<Z>, Infallible> {
        Ok(Prediction { value: Z::lincomb(&[(1.0, z)]), of: Parameterization::Noise })
    }

    /// Leaves `out` as it is: any numbers cost a solver the same.
    fn denoise_into(
        &self,
        _: &Z,
        _: &NoiseLevel,
        _: &mut Z,
    ) -> Result<Parameterization, Infallible> {
        Ok(Parameterization::Noise)
    }
}

/// The grid of the peers: 20 steps, of them 19 of Karras from 80 to 0.002, and one to zero.
///
/// # Errors
/// None: the range is legal.
pub fn karras_20() -> anyhow::Result<TimeGrid> {
    let schedule = Schedule::geometric(0.002, 80.0)?;
    let karras = TimeGrid::karras(19, 7.0, &schedule, Scaling::VarianceExploding)?;
    Ok(karras.to_clean())
}

/// The configuration of a preset.
///
/// # Errors
/// An unknown name.
pub fn preset(name: &str) -> anyhow::Result<RunConfig> {
    let text = PRESETS.iter().find(|(preset, _)| *preset == name).map(|(_, text)| *text);
    let text = text.ok_or_else(|| anyhow::anyhow!("there is no preset {name:?}"))?;
    Ok(serde_json::from_str(text)?)
}

/// The network of the digits preset with untrained weights, which cost the same.
///
/// # Errors
/// If the preset cannot be built.
pub fn digits_model() -> anyhow::Result<Model> {
    let config = preset("digits")?;
    let shape = vdm_data::Shape { channels: 1, height: 8, width: 8 };
    let spec = vdm_torch::ModelSpec {
        shape,
        values: 17,
        diffusion: config.model.diffusion,
        network: config.model.network,
        head: config.model.head,
        clock: None,
    };
    Ok(Model::new(&spec, config.seed, Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_can_be_built() {
        assert!(digits_model().unwrap().parameters().count() > 100_000);
        assert!(preset("nothing").is_err());
    }
}
