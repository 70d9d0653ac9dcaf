//! A network with its meaning: what it predicts, of which data, over which noise levels.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use vdm_core::count::{Cost, bounded_product};
use vdm_core::likelihood::Discretized;
use vdm_core::schedule::LogSnrRange;
use vdm_core::setting::require;
use vdm_core::{NoiseLevel, NoiseSchedule, Prediction, Scaling, Schedule, Weighting};
use vdm_data::Shape;
use vdm_sample::Seed;

use crate::head::Head;
use crate::nn::{Mode, Network, NetworkSpec, Parameters, Requirements, Scope};
use crate::stored::StoredModel;
use crate::{Batch, Error, PerSample};

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

impl Diffusion {
    /// The variance-preserving process whose loss is the bound.
    #[must_use]
    pub fn variational(schedule: Schedule) -> Self {
        Self { schedule, scaling: Scaling::VariancePreserving, weighting: Weighting::Elbo }
    }
}

/// Everything that fixes a model but its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// Channels, height and width of an item.
    pub shape: Shape,
    /// Number of values a component takes.
    pub values: u16,
    /// The process.
    pub diffusion: Diffusion,
    /// The architecture.
    pub network: NetworkSpec,
    /// The meaning of its output.
    pub head: Head,
    /// The levels that the network takes for times 0 to 1, both ends finite; [`None`] for those of
    /// the schedule. It stays while a schedule is learned, and when a trained model is given another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<LogSnrRange>,
}

impl ModelSpec {
    /// The levels that the network takes for times 0 to 1.
    #[must_use]
    pub fn clock_range(&self) -> LogSnrRange {
        self.clock.unwrap_or_else(|| self.diffusion.schedule.range())
    }
}

/// A denoiser with weights.
#[derive(Debug)]
pub struct Model {
    spec: ModelSpec,
    network: Box<dyn Network>,
    parameters: Parameters,
    code: Discretized,
    /// Cell centers of all values, `[1, 1, K, 1, 1]`.
    centers: Tensor,
    device: Device,
    kind: Kind,
}

impl Model {
    /// With weights drawn from the seed.
    ///
    /// # Errors
    /// [`Error::Setting`] or [`Error::Core`] if the specification is not legal, [`Error::Count`] if it is too large.
    pub fn new(spec: &ModelSpec, seed: Seed, device: Device) -> Result<Self, Error> {
        Self::with_parameters(spec, Parameters::new(seed, device))
    }

    /// The same with a network of your own, which `build` makes for the data's shape and what the head
    /// requires of it, with weights in the scope given. [`ModelSpec::network`] says what files call it:
    /// [`NetworkSpec::Custom`].
    ///
    /// # Errors
    /// As [`Model::new`], and whatever `build` fails with.
    pub fn with_network<N: Network + 'static>(
        spec: &ModelSpec,
        seed: Seed,
        device: Device,
        build: impl FnOnce(Shape, Requirements, &Scope<'_>) -> Result<N, Error>,
    ) -> Result<Self, Error> {
        Self::build(spec, Parameters::new(seed, device), |requirements, scope| {
            Ok(Box::new(build(spec.shape, requirements, scope)?))
        })
    }

    fn build(
        spec: &ModelSpec,
        parameters: Parameters,
        build: impl FnOnce(Requirements, &Scope<'_>) -> Result<Box<dyn Network>, Error>,
    ) -> Result<Self, Error> {
        let code = Discretized::new(spec.values)?;
        let Shape { channels, height, width } = spec.shape;
        bounded_product("components of an item", &[channels, height, width], Cost::Numbers)?;
        let (shape, dims) = (format_args!("{:?}", spec.shape), spec.shape.dims());
        require(dims > 0, "shape", shape, "use items of at least one component")?;
        let ranges = [
            ("diffusion.schedule", spec.diffusion.schedule.range()),
            ("clock", spec.clock_range()),
        ];
        for (field, ends) in ranges {
            let value = format_args!("log-SNR from {} to {}", ends.max(), ends.min());
            let remedy = "give it finite ends with log_snr_max and log_snr_min";
            require(ends.finite().is_ok(), field, value, remedy)?;
        }
        let device = parameters.device();
        let centers: Vec<f32> = (0..spec.values).map(|k| code.encode(k) as f32).collect();
        let centers = Tensor::from_slice(&centers).view([1, 1, -1, 1, 1]).to_device(device);
        spec.head.check()?;
        let requirements = spec.head.requirements(spec.values);
        let network = build(requirements, &parameters.root())?;
        let kind = Kind::Float;
        Ok(Self { spec: spec.clone(), network, parameters, code, centers, device, kind })
    }

    /// The same with its network in f64, of twice the memory and several times the time: to tell the
    /// rounding of the network, 1e-6 of its output, from what the weights say. An answer is of its
    /// latent's kind: f32 for f32, and f64 all the way for f64. For evaluation: it does not train.
    ///
    /// # Errors
    /// [`Error::Torch`] where the device has no f64, or no memory for it.
    pub fn in_f64(mut self) -> Result<Self, Error> {
        self.parameters.to_f64()?;
        self.kind = Kind::Double;
        Ok(self)
    }

    /// What it was made from.
    #[must_use]
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Puts another schedule under the same weights.
    pub(crate) fn set_schedule(&mut self, schedule: Schedule) {
        self.spec.diffusion.schedule = schedule;
    }

    /// Its network.
    #[must_use]
    pub fn network(&self) -> &dyn Network {
        &*self.network
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
    /// them off. Scores and energy gradients, `∓ε/σ`, are predicted as the noise in them, which is of
    /// order 1 at every level.
    ///
    /// # Errors
    /// [`Error::Shim`] if the precision cannot be had; [`Error::Torch`] from an energy's gradient.
    pub fn predict(
        &self,
        z: &Batch,
        at: &NoiseLevel<PerSample>,
        mode: Mode,
    ) -> Result<Prediction<Batch>, Error> {
        let (z, head) = (&z.0, self.spec.head);
        let value = match head {
            Head::Noise => self.output(z, at, mode)? + z,
            Head::PlainNoise | Head::Image | Head::Velocity | Head::Flow => {
                self.output(z, at, mode)?
            }
            Head::Score => z * &at.sigma.0 - self.output(z, at, mode)?,
            Head::Energy => z * &at.sigma.0 + self.potential_gradient(z, at, mode)?,
            Head::Edm { data_std } => {
                // c_in·z/α is the latent of the scaling that gives it unit variance.
                let unit = Scaling::UnitVariance { data_std }.level(at.log_snr.clone());
                self.output(&(z * (unit.alpha / at.alpha.clone()).0), at, mode)?
            }
            Head::Categorical => {
                // In the network's floats: the largest tensors of the step are here.
                let own = |number: &PerSample| PerSample(number.0.to_kind(self.kind));
                let NoiseLevel { log_snr, alpha, sigma } = at;
                let at = NoiseLevel { log_snr: own(log_snr), alpha: own(alpha), sigma: own(sigma) };
                let own = z.to_kind(self.kind);
                self.mean_value(&self.output(&own, &at, mode)?, &own, &at).to_kind(z.kind())
            }
        };
        Ok(Prediction { value: Batch(value), of: head.measured_as() })
    }

    /// The network's own output for an input `[B, C, H, W]`, in the input's kind whatever the network
    /// computes in.
    pub(crate) fn output(
        &self,
        input: &Tensor,
        at: &NoiseLevel<PerSample>,
        mode: Mode,
    ) -> Result<Tensor, Error> {
        let time = self.network.time(&at.log_snr.0.view([-1]), self.spec.clock_range());
        let (own, time) = (input.to_kind(self.kind), time.to_kind(self.kind));
        let forward = || self.network.forward(&own, &time, mode.train);
        // Around the network alone: what follows is f32 arithmetic of the bound.
        let output = mode.precision.run(self.device, forward)?;
        Ok(output.to_kind(input.kind()))
    }

    /// `Σ_k f_k softmax_k(output_k − (z − αf_k)²/2σ²)`, with `[B, C·K, H, W]` outputs.
    ///
    /// With 256 levels these are the largest tensors of the whole step, so each line is one pass
    /// over them.
    fn mean_value(&self, output: &Tensor, z: &Tensor, at: &NoiseLevel<PerSample>) -> Tensor {
        let [batch, channels, height, width] = [0, 1, 2, 3].map(|i| z.size()[i]);
        let output = output.view([batch, channels, -1, height, width]);
        let centers = &self.centers;
        let scale = at.sigma.0.unsqueeze(-1) * std::f64::consts::SQRT_2;
        let (z, mean) = (z.unsqueeze(2) / &scale, centers * at.alpha.0.unsqueeze(-1) / &scale);
        // −d² as d·(−d): the square itself, whose terms near the answer are small and exact.
        let logits = output.addcmul(&(&z - &mean), &(&mean - &z));
        let posterior = logits.softmax(2, logits.kind());
        let posterior = posterior.view([batch * channels, -1, height * width]);
        let centers = centers.view([1, -1]).to_kind(posterior.kind());
        centers.matmul(&posterior).view([batch, channels, height, width])
    }

    /// Cell centers of all values, `[1, 1, K, 1, 1]`.
    pub(crate) fn centers(&self) -> &Tensor {
        &self.centers
    }

    /// Data values `[B, C, H, W]` of any integer kind to latents.
    #[must_use]
    pub fn encode(&self, values: &Tensor) -> Batch {
        let scale = 2.0 / f64::from(self.spec.values);
        Batch((values.to_kind(Kind::Float) + 0.5) * scale - 1.0)
    }

    /// The most likely data values of latents at the cleanest level, as bytes in host memory.
    #[must_use]
    pub fn decode(&self, z0: &Batch, at: &NoiseLevel) -> Vec<u8> {
        let top = f64::from(self.spec.values - 1);
        let cells = ((&z0.0 / at.alpha + 1.0) * (f64::from(self.spec.values) / 2.0)).floor();
        let bytes = cells.clamp(0.0, top).to_kind(Kind::Uint8).to_device(Device::Cpu);
        Vec::try_from(bytes.flatten(0, -1)).unwrap_or_default()
    }
}

/// Of networks that configurations name.
impl StoredModel for Model {
    type Spec = ModelSpec;

    fn with_parameters(spec: &ModelSpec, parameters: Parameters) -> Result<Self, Error> {
        Self::build(spec, parameters, build_named(spec))
    }

    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }
}

/// Builds the network that the specification names.
fn build_named(
    spec: &ModelSpec,
) -> impl FnOnce(Requirements, &Scope<'_>) -> Result<Box<dyn Network>, Error> {
    |requirements, scope| spec.network.build(spec.shape, requirements, scope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::MlpSpec;
    use vdm_core::{Denoiser, LogSnr, Preconditioning};

    /// The image is `c_skip·y + c_out·F(c_in·y)` with `y = z/α` and EDM's own numbers.
    #[test]
    fn the_edm_head_is_karras_preclock() {
        let data_std = 0.6;
        let spec = ModelSpec {
            shape: Shape { channels: 1, height: 1, width: 2 },
            values: 256,
            diffusion: Diffusion::variational(Schedule::linear(12.0, -8.0).unwrap()),
            network: NetworkSpec::Mlp(MlpSpec::new(8, 1)),
            head: Head::Edm { data_std },
            clock: None,
        };
        let model = Model::new(&spec, Seed(2), Device::Cpu).unwrap();
        tch::no_grad(|| {
            for weight in model.parameters.tensors() {
                let wave = Tensor::arange(weight.numel() as i64, (Kind::Float, Device::Cpu)).sin();
                let _ = weight.shallow_clone().g_add_(&wave.view(weight.size().as_slice()));
            }
        });
        let z = Batch::from_slice(&[0.3, -1.2], [1, 1, 1, 2], Device::Cpu);
        for log_snr in [-7.5, -1.0, 3.0, 11.5] {
            let at = Scaling::VariancePreserving.level(log_snr);
            let edm = Preconditioning::edm(LogSnr::new(log_snr), data_std);
            let y = &z.0 / at.alpha;
            let time = Tensor::from_slice(&[((12.0 - log_snr) / 20.0) as f32]);
            let f = model.network.forward(&(&y * edm.c_in), &time, false);
            assert!(f.abs().max().double_value(&[]) > 0.1, "the network says something");
            let wanted = &y * edm.c_skip + f * edm.c_out;
            let got = model.denoise(&z, &at).unwrap().image(&z, &at).0;
            let off = (&got - &wanted).abs().max().double_value(&[]);
            // f32 rounding of y, of order 1/α.
            assert!(off < 1e-5 / at.alpha, "{log_snr}: off by {off}");
        }
    }
}
