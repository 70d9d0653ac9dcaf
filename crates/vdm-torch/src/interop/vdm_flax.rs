//! google-research/vdm: Kingma et al.'s own code and networks.
//!
//! Its `ScoreUNet` is our [`UNet`](crate::nn::UNet) in other names and layouts: images and kernels
//! have channels last, dense kernels are `[inputs, outputs]`, `q`, `k`, `v` are separate, and
//! Fourier features are ordered by channel first.

use std::path::Path;

use tch::{Kind, Tensor};
use vdm_core::Schedule;
use vdm_core::schedule::{Linear, LogSnrRange, MonotoneNetwork, MonotoneWeights};

use super::tensors::{self, Tensors};
use super::{Imported, file, flax};
use crate::Error;
use crate::head::Head;
use crate::model::Diffusion;
use crate::nn::{Attention, NetworkSpec, PUBLISHED_BAND_LIMIT, UNetSpec};
use crate::weights::Named;

/// What its files of weights do not say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VdmFlaxOptions {
    /// `gamma_min` of the model's configuration: the cleanest level as a fixed schedule has it, and
    /// as the network knows it.
    pub gamma_min: f64,
    /// `gamma_max`, the noisiest.
    pub gamma_max: f64,
    /// The number given as `clock`, a class label; 0 for models without.
    pub label: f64,
}

impl Default for VdmFlaxOptions {
    /// Those of the published configurations.
    fn default() -> Self {
        Self { gamma_min: -13.3, gamma_max: 5.0, label: 0.0 }
    }
}

/// Exponents of its Fourier features.
const FOURIER: [i32; 2] = [6, 7];
/// Flax's default of `GroupNorm`.
const GROUPS: i64 = 32;

/// Reads a safetensors file with names `param/<path>`, or a Flax checkpoint.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::Interop`] saying what the file is if it is neither,
/// or naming the first tensor that is missing, mis-shaped, left over, not finite or quantized;
/// [`Error::Core`] if the schedule is none.
pub fn vdm_flax(path: &Path, options: &VdmFlaxOptions) -> Result<Imported, Error> {
    let bytes = file::read(path, u64::MAX)?;
    let mut found = if is_safetensors(path, &bytes) {
        let found = Tensors::of(path, &tensors::opened(path, &bytes)?, "param/")?;
        if found.is_empty() {
            return Err(found.refuse(
                "has no tensor whose name starts with param/, such as \
                 param/score_model/conv_in/kernel"
                    .into(),
            ));
        }
        found
    } else {
        flax::parameters(path, &bytes)?
    };
    drop(bytes);
    let converted = found.converted();
    let known = LogSnrRange::new(-options.gamma_min, -options.gamma_max)?;
    let schedule = schedule(&mut found, known)?;
    let (spec, channels) = spec(&found)?;
    let mut score = Score { found, weights: Vec::new() };
    score.network(&spec, channels, options.label)?;
    score.found.finish()?;
    Ok(Imported {
        diffusion: Diffusion::variational(schedule),
        network: NetworkSpec::Unet(spec),
        head: Head::Noise,
        clock: Some(known),
        values: 256,
        converted,
        path: path.into(),
        weights: score.weights,
    })
}

/// By its start, the length of a header and then JSON, or at least by its name.
fn is_safetensors(path: &Path, bytes: &[u8]) -> bool {
    let header = bytes.first_chunk().map(|length| u64::from_le_bytes(*length));
    let fits = header.is_some_and(|length| length < bytes.len() as u64);
    fits && bytes.get(8) == Some(&b'{') || path.extension().is_some_and(|e| e == "safetensors")
}

/// `gamma_type` `fixed`, `learnable_scalar` or `learnable_nnet`, told apart by what there is.
fn schedule(found: &mut Tensors, known: LogSnrRange) -> Result<Schedule, Error> {
    if found.has("gamma/w") {
        let mut number = |name| found.take(name, &[1]).map(|t| t.double_value(&[0]));
        let (slope, bias) = (number("gamma/w")?.abs(), number("gamma/b")?);
        return Ok(Schedule::linear(-bias, -(bias + slope))?);
    }
    if !found.has("gamma/l1/kernel") {
        return Ok(Schedule::Linear(Linear::new(known)?));
    }
    let slope = found.take("gamma/l1/kernel", &[1, 1])?.double_value(&[0, 0]);
    let bias = found.take("gamma/l1/bias", &[1])?.double_value(&[0]);
    let nonlinear = found.has("gamma/l2/bias");
    let units = if nonlinear { found.shape("gamma/l2/bias")?.iter().product() } else { 0 };
    let mut list = |name, shape: &[i64]| -> Result<Vec<f64>, Error> {
        if !nonlinear {
            return Ok(Vec::new());
        }
        Ok(Vec::try_from(found.take(name, shape)?.to_kind(Kind::Double).view([-1]))?)
    };
    let weights = MonotoneWeights {
        slope,
        hidden: list("gamma/l2/kernel", &[1, units])?,
        hidden_bias: list("gamma/l2/bias", &[units])?,
        output: list("gamma/l3/kernel", &[units, 1])?,
    };
    Ok(Schedule::MonotoneNetwork(MonotoneNetwork::with_bias(bias, weights)?))
}

/// The architecture, read off the shapes, and the number of channels of an image.
fn spec(found: &Tensors) -> Result<(UNetSpec, i64), Error> {
    let ends = |name: &str| match found.shape(name)?.as_slice() {
        &[3, 3, inputs, outputs] => Ok((inputs, outputs)),
        shape => Err(found.refuse(format!("{name} has shape {shape:?} instead of [3, 3, …, …]"))),
    };
    let (inputs, width) = ends("score_model/conv_in/kernel")?;
    let (_, channels) = ends("score_model/conv_out/kernel")?;
    let with_features = channels * (1 + 2 * FOURIER.len() as i64);
    let fourier = if inputs == with_features { FOURIER.to_vec() } else { Vec::new() };
    let block = |i: usize| format!("score_model/down.block_{i}/conv1/kernel");
    let attention = found.has("score_model/up.attn_0/q/kernel");
    let spec = UNetSpec {
        width,
        depth: (0..).take_while(|i| found.has(&block(*i))).count(),
        groups: GROUPS,
        fourier,
        band_limit: PUBLISHED_BAND_LIMIT,
        attention: if attention { Attention::Everywhere } else { Attention::Middle },
        dropout: 0.0,
        patch: 1,
        output_kernel: 3,
        trunk: None,
    };
    Ok((spec, channels))
}

/// Moves tensors from their layouts to ours.
struct Score {
    found: Tensors,
    weights: Named,
}

impl Score {
    fn network(&mut self, spec: &UNetSpec, channels: i64, label: f64) -> Result<(), Error> {
        let width = spec.width;
        self.embedding(width, label)?;
        self.input(spec, channels)?;
        let everywhere = spec.attention == Attention::Everywhere;
        let mut stage = |ours: String, block: String, attention: Option<String>, inputs| {
            self.block(&format!("{ours}.block"), &block, inputs, width)?;
            attention
                .map_or(Ok(()), |name| self.attention(&format!("{ours}.attention"), &name, width))
        };
        let attention = |place: &str, i| everywhere.then(|| format!("{place}.attn_{i}"));
        for i in 0..spec.depth {
            stage(format!("down.{i}"), format!("down.block_{i}"), attention("down", i), width)?;
        }
        stage("middle.0".into(), "mid.block_1".into(), Some("mid.attn_1".into()), width)?;
        stage("middle.1".into(), "mid.block_2".into(), None, width)?;
        for i in 0..=spec.depth {
            stage(format!("up.{i}"), format!("up.block_{i}"), attention("up", i), 2 * width)?;
        }
        self.norm("norm", "GroupNorm_0", width)?;
        self.conv("output", "conv_out", width, channels)
    }

    fn take(&mut self, name: &str, shape: &[i64]) -> Result<Tensor, Error> {
        self.found.take(&format!("score_model/{name}"), shape)
    }

    fn put(&mut self, name: String, tensor: &Tensor) {
        self.weights.push((name, tensor.contiguous()));
    }

    /// The network's condition is one number beside the embedded time. For a number that stays the
    /// same it is an offset.
    fn embedding(&mut self, width: i64, label: f64) -> Result<(), Error> {
        let kernel = self.take("dense0/kernel", &[width + 1, 4 * width])?;
        let bias = self.take("dense0/bias", &[4 * width])?;
        self.put("embedding.0.weight".into(), &kernel.narrow(0, 0, width).transpose(0, 1));
        self.put("embedding.0.bias".into(), &(bias + kernel.get(width) * label));
        let kernel = self.take("dense1/kernel", &[4 * width, 4 * width])?;
        let bias = self.take("dense1/bias", &[4 * width])?;
        self.put("embedding.1.weight".into(), &kernel.transpose(0, 1));
        self.put("embedding.1.bias".into(), &bias);
        Ok(())
    }

    /// Features come as `[sin or cos, channel, frequency]` and are `[sin or cos, frequency,
    /// channel]` here.
    fn input(&mut self, spec: &UNetSpec, channels: i64) -> Result<(), Error> {
        let count = spec.fourier.len() as i64;
        let inputs = channels * (1 + 2 * count);
        let kernel = self.take("conv_in/kernel", &[3, 3, inputs, spec.width])?;
        let bias = self.take("conv_in/bias", &[spec.width])?;
        let features = kernel.narrow(2, channels, inputs - channels);
        let features = features
            .reshape([9, 2, channels, count, spec.width])
            .transpose(2, 3)
            .reshape([3, 3, inputs - channels, spec.width]);
        let kernel = Tensor::cat(&[kernel.narrow(2, 0, channels), features], 2);
        self.put("input.weight".into(), &channels_first(&kernel));
        self.put("input.bias".into(), &bias);
        Ok(())
    }

    fn block(&mut self, ours: &str, theirs: &str, inputs: i64, width: i64) -> Result<(), Error> {
        self.norm(&format!("{ours}.norm1"), &format!("{theirs}/GroupNorm_0"), inputs)?;
        self.conv(&format!("{ours}.conv1"), &format!("{theirs}/conv1"), inputs, width)?;
        let condition = self.take(&format!("{theirs}/cond_proj/kernel"), &[4 * width, width])?;
        self.put(format!("{ours}.condition.weight"), &condition.transpose(0, 1));
        self.norm(&format!("{ours}.norm2"), &format!("{theirs}/GroupNorm_1"), width)?;
        self.conv(&format!("{ours}.conv2"), &format!("{theirs}/conv2"), width, width)?;
        if inputs == width {
            return Ok(());
        }
        let [weight, bias] = self.pixelwise(&format!("{theirs}/nin_shortcut"), inputs, width)?;
        self.put(format!("{ours}.shortcut.weight"), &weight);
        self.put(format!("{ours}.shortcut.bias"), &bias);
        Ok(())
    }

    fn attention(&mut self, ours: &str, theirs: &str, width: i64) -> Result<(), Error> {
        self.norm(&format!("{ours}.norm"), &format!("{theirs}/GroupNorm_0"), width)?;
        let mut weights = Vec::new();
        let mut biases = Vec::new();
        for name in ["q", "k", "v"] {
            let [weight, bias] = self.pixelwise(&format!("{theirs}/{name}"), width, width)?;
            weights.push(weight);
            biases.push(bias);
        }
        self.put(format!("{ours}.qkv.weight"), &Tensor::cat(&weights, 0));
        self.put(format!("{ours}.qkv.bias"), &Tensor::cat(&biases, 0));
        let [weight, bias] = self.pixelwise(&format!("{theirs}/proj_out"), width, width)?;
        self.put(format!("{ours}.output.weight"), &weight);
        self.put(format!("{ours}.output.bias"), &bias);
        Ok(())
    }

    fn norm(&mut self, ours: &str, theirs: &str, channels: i64) -> Result<(), Error> {
        let scale = self.take(&format!("{theirs}/scale"), &[channels])?;
        let bias = self.take(&format!("{theirs}/bias"), &[channels])?;
        self.put(format!("{ours}.weight"), &scale);
        self.put(format!("{ours}.bias"), &bias);
        Ok(())
    }

    fn conv(&mut self, ours: &str, theirs: &str, inputs: i64, outputs: i64) -> Result<(), Error> {
        let kernel = self.take(&format!("{theirs}/kernel"), &[3, 3, inputs, outputs])?;
        let bias = self.take(&format!("{theirs}/bias"), &[outputs])?;
        self.put(format!("{ours}.weight"), &channels_first(&kernel));
        self.put(format!("{ours}.bias"), &bias);
        Ok(())
    }

    /// A dense layer over channels as the 1×1 convolution it is here: weight and bias.
    fn pixelwise(&mut self, name: &str, inputs: i64, outputs: i64) -> Result<[Tensor; 2], Error> {
        let kernel = self.take(&format!("{name}/kernel"), &[inputs, outputs])?;
        let bias = self.take(&format!("{name}/bias"), &[outputs])?;
        Ok([kernel.transpose(0, 1).unsqueeze(-1).unsqueeze(-1), bias])
    }
}

/// `[height, width, inputs, outputs]` to `[outputs, inputs, height, width]`.
fn channels_first(kernel: &Tensor) -> Tensor {
    kernel.permute([3, 2, 0, 1])
}
