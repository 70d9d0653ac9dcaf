//! A network with its meaning: what it predicts, of which data, over which noise levels.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use vdm_core::likelihood::Discretized;
use vdm_core::{
    Denoiser, NoiseLevel, NoiseSchedule, Parameterization, Prediction, Scaling, Schedule, Weighting,
};
use vdm_data::Shape;
use vdm_sample::Seed;

use crate::nn::{Network, NetworkSpec, Parameters};
use crate::{Batch, Error, PerSample};

/// How a network's output becomes a prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// `ε̂ = z + output` (VDM).
    Noise,
    /// `x̂ = output`.
    Image,
    /// `v̂ = output`.
    Velocity,
    /// `x̂` as the mean over the data's own levels `f_k`, whose log-probabilities are the output
    /// plus that of `z` itself, `−(z − αf_k)²/2σ²`.
    ///
    /// The exact posterior `p(x_i = k|z)` has this form, with the output standing for what the
    /// other pixels say of pixel `i`; so the prediction is right at low noise before any training.
    Levels,
}

/// Precision of the network's matrix products and convolutions. Weights, sums and the loss are
/// always f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// 16-bit brain floats through autocast.
    Bf16,
}

/// How a network is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// Whether dropout is on.
    pub train: bool,
    /// Precision of products.
    pub precision: Precision,
}

impl Mode {
    /// No dropout, full precision.
    pub const EVALUATION: Self = Self { train: false, precision: Precision::F32 };
}

/// The process a model belongs to. Saved with every checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diffusion {
    /// How log-SNR falls with time.
    pub schedule: Schedule,
    /// How signal and noise scales follow from it.
    pub scaling: Scaling,
    /// Which levels the loss counts how much.
    pub weighting: Weighting,
}

/// Everything that fixes a model but its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// Channels, height and width of an item.
    pub shape: Shape,
    /// Number of values a component takes.
    pub levels: u16,
    /// The process.
    pub diffusion: Diffusion,
    /// The architecture.
    pub network: NetworkSpec,
    /// The meaning of its output.
    pub head: Head,
}

/// A denoiser with weights.
#[derive(Debug)]
pub struct Model {
    spec: ModelSpec,
    network: Network,
    parameters: Parameters,
    code: Discretized,
    /// Cell centers of all levels, `[1, 1, K, 1, 1]`.
    centers: Tensor,
    device: Device,
}

impl Model {
    /// With weights drawn from the seed.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Core`] if the specification is not legal.
    pub fn new(spec: &ModelSpec, seed: Seed, device: Device) -> Result<Self, Error> {
        let code = Discretized::new(spec.levels)?;
        if spec.shape.dims() == 0 {
            return Err(Error::Config {
                field: "shape",
                value: format!("{:?}", spec.shape),
                remedy: "items need at least one component",
            });
        }
        let ends = spec.diffusion.schedule.range();
        if ends.finite().is_err() {
            return Err(Error::Config {
                field: "diffusion.schedule",
                value: format!("log-SNR from {} to {}", ends.max(), ends.min()),
                remedy: "give it finite ends with log_snr_max and log_snr_min",
            });
        }
        let centers: Vec<f32> = (0..spec.levels).map(|k| code.encode(k) as f32).collect();
        let centers = Tensor::from_slice(&centers).view([1, 1, -1, 1, 1]).to_device(device);
        let parameters = Parameters::new(seed, device);
        let outputs = if spec.head == Head::Levels { i64::from(spec.levels) } else { 1 };
        let network = spec.network.build(spec.shape, outputs, &parameters.root())?;
        Ok(Self { spec: spec.clone(), network, parameters, code, centers, device })
    }

    /// What it was made from.
    #[must_use]
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Its weights.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Where its weights are.
    #[must_use]
    pub fn device(&self) -> Device {
        self.device
    }

    /// The code between data values and latents.
    #[must_use]
    pub fn code(&self) -> Discretized {
        self.code
    }

    /// The prediction for items at their own noise levels, with gradients unless the caller turned
    /// them off.
    ///
    /// # Errors
    /// [`Error::Shim`] if the precision cannot be had.
    pub fn predict(
        &self,
        z: &Batch,
        at: &NoiseLevel<PerSample>,
        mode: Mode,
    ) -> Result<Prediction<Batch>, Error> {
        let range = self.spec.diffusion.schedule.range();
        let time = (range.max() - &at.log_snr.0) / (range.max() - range.min());
        let forward = || self.network.forward(&z.0, &time.view([-1]), mode.train);
        let output = match mode.precision {
            Precision::F32 => forward(),
            // Around the network alone: what follows is f32 arithmetic of the bound.
            Precision::Bf16 => vdm_torch_sys::autocast_bf16(self.device.is_cuda(), forward)?,
        };
        let output = output.to_kind(Kind::Float);
        let (value, of) = match self.spec.head {
            Head::Noise => (output + &z.0, Parameterization::Noise),
            Head::Image => (output, Parameterization::Image),
            Head::Velocity => (output, Parameterization::Velocity),
            Head::Levels => (self.mean_level(&output, &z.0, at), Parameterization::Image),
        };
        Ok(Prediction { value: Batch(value), of })
    }

    /// `Σ_k f_k softmax_k(output_k − (z − αf_k)²/2σ²)`, with `[B, C·K, H, W]` outputs.
    ///
    /// With 256 levels these are the largest tensors of the whole step, so each line is one pass
    /// over them.
    fn mean_level(&self, output: &Tensor, z: &Tensor, at: &NoiseLevel<PerSample>) -> Tensor {
        let [batch, channels, height, width] = [0, 1, 2, 3].map(|i| z.size()[i]);
        let output = output.view([batch, channels, -1, height, width]);
        let centers = &self.centers;
        let scale = at.sigma.0.unsqueeze(-1) * std::f64::consts::SQRT_2;
        let (z, mean) = (z.unsqueeze(2) / &scale, centers * at.alpha.0.unsqueeze(-1) / &scale);
        // −d² as d·(−d): the square itself, whose terms near the answer are small and exact.
        let logits = output.addcmul(&(&z - &mean), &(&mean - &z));
        let posterior = logits.softmax(2, Kind::Float);
        let posterior = posterior.view([batch * channels, -1, height * width]);
        centers.view([1, -1]).matmul(&posterior).view([batch, channels, height, width])
    }

    /// Cell centers of all levels, `[1, 1, K, 1, 1]`.
    pub(crate) fn centers(&self) -> &Tensor {
        &self.centers
    }

    /// Data values `[B, C, H, W]` of any integer kind to latents.
    #[must_use]
    pub fn encode(&self, values: &Tensor) -> Batch {
        let scale = 2.0 / f64::from(self.spec.levels);
        Batch((values.to_kind(Kind::Float) + 0.5) * scale - 1.0)
    }

    /// The most likely data values of latents at the cleanest level, as bytes in host memory.
    #[must_use]
    pub fn decode(&self, z0: &Batch, at: &NoiseLevel) -> Vec<u8> {
        let top = f64::from(self.spec.levels - 1);
        let cells = ((&z0.0 / at.alpha + 1.0) * (f64::from(self.spec.levels) / 2.0)).floor();
        let bytes = cells.clamp(0.0, top).to_kind(Kind::Uint8).to_device(Device::Cpu);
        Vec::try_from(bytes.flatten(0, -1)).unwrap_or_default()
    }
}

impl Denoiser<Batch> for Model {
    type Error = Error;

    /// At a level of any scaling: latents of equal log-SNR are proportional (monograph §2.3.3), so
    /// those of another scaling than the model's are rescaled for the network, and its prediction
    /// is handed on as the image or noise it implies, which no scaling changes.
    fn denoise(&self, z: &Batch, at: &NoiseLevel) -> Result<Prediction<Batch>, Error> {
        let own = self.spec.diffusion.scaling.level(at.log_snr);
        let per_item = PerSample::level(&own, z.0.size()[0], self.device);
        let predict = |z: &Batch| tch::no_grad(|| self.predict(z, &per_item, Mode::EVALUATION));
        if own == *at {
            return predict(z);
        }
        let z = Batch(&z.0 * (own.alpha / at.alpha));
        let prediction = predict(&z)?;
        match prediction.of {
            Parameterization::Image | Parameterization::Noise => Ok(prediction),
            _ => Ok(Prediction { value: prediction.image(&z, &own), of: Parameterization::Image }),
        }
    }
}
