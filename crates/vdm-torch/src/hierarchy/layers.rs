//! The networks of a hierarchy: residual blocks at several resolutions.

use tch::{Device, Kind, Tensor};
use vdm_data::Shape;

use super::likelihood::{LikelihoodSpec, Logistics};
use super::node::{Belief, Gaussian, State};
use super::spec::{HierarchySpec, Inference};
use crate::nn::layers::{Conv, Start};
use crate::nn::{Initial, Scope, fourier_features};

/// Height and width.
pub(super) type Size = [i64; 2];

/// One use of a hierarchy's networks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass {
    /// Items.
    pub(super) batch: i64,
    pub(super) device: Device,
    /// The share of hidden features that are dropped; 0 but for training.
    pub(super) dropout: f64,
}

/// `x + scale·conv(drop(silu(conv(silu(x)))))`, the identity at first.
#[derive(Debug)]
struct Block {
    first: Conv,
    second: Conv,
    scale: f64,
}

/// Pixels around one that a block sees: none where there are no neighbors.
fn kernel(size: Size) -> i64 {
    if size == [1, 1] { 1 } else { 3 }
}

impl Block {
    fn new(scope: &Scope<'_>, spec: &HierarchySpec, size: Size) -> Self {
        let (width, kernel) = (spec.width, kernel(size));
        Self {
            first: Conv::new(&scope.child("first"), width, width, kernel, Start::FanIn),
            second: Conv::new(&scope.child("second"), width, width, kernel, Start::Zero),
            scale: spec.residual_scale(),
        }
    }

    fn forward(&self, x: &Tensor, pass: Pass) -> Tensor {
        let hidden = self.first.forward(&x.silu()).silu();
        let hidden = if pass.dropout > 0.0 { hidden.dropout(pass.dropout, true) } else { hidden };
        x + scaled(self.second.forward(&hidden), self.scale)
    }
}

/// A residual times its scale.
fn scaled(residual: Tensor, scale: f64) -> Tensor {
    if scale == 1.0 { residual } else { residual * scale }
}

/// Blocks at one resolution, to which their input is brought first.
#[derive(Debug)]
struct Stage {
    size: Size,
    blocks: Vec<Block>,
}

impl Stage {
    fn new(scope: &Scope<'_>, spec: &HierarchySpec, size: Size) -> Self {
        let block = |i| Block::new(&scope.child(i), spec, size);
        Self { size, blocks: (0..spec.blocks).map(block).collect() }
    }

    fn forward(&self, x: &Tensor, pass: Pass) -> Tensor {
        let x = resized(x, self.size);
        self.blocks.iter().fold(x, |x, block| block.forward(&x, pass))
    }
}

/// Means over pixels where the new size is smaller, copies of pixels where it is larger.
fn resized(x: &Tensor, size: Size) -> Tensor {
    let [height, width] = [2, 3].map(|side| x.size()[side]);
    if [height, width] == size {
        x.shallow_clone()
    } else if size[0] <= height && size[1] <= width {
        x.adaptive_avg_pool2d(size)
    } else {
        // Of one pixel, as of one channel, the order cannot be seen, and is lost.
        channels_last(&x.upsample_nearest2d(size, None, None))
    }
}

/// The same `[B, C, H, W]` with the channels of a pixel side by side in memory, an order that convolutions and what acts
/// on each number keep. In the other one oneDNN reorders input and output around every convolution.
fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// Data as a network sees them: images, or points as one pixel of as many channels as they have components.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) shape: Shape,
    pub(super) values: u16,
    channels: i64,
    pub(super) size: Size,
}

/// Items of fewer pixels are points.
const LEAST_IMAGE: usize = 16;

impl Layout {
    pub(super) fn new(shape: Shape, values: u16) -> Self {
        let Shape { channels, height, width } = shape;
        let (channels, size) = if height * width < LEAST_IMAGE {
            (shape.dims(), [1, 1])
        } else {
            (channels, [height as i64, width as i64])
        };
        Self { shape, values, channels: channels as i64, size }
    }

    /// The resolution that is coarser than the data by a factor.
    pub(super) fn coarser(&self, scale: usize) -> Size {
        self.size.map(|side| (side as usize).div_ceil(scale) as i64)
    }

    /// Data values in `[−1, 1]` as an image.
    fn image(&self, values: &Tensor) -> Tensor {
        let [height, width] = self.size;
        let scale = 2.0 / f64::from(self.values);
        let x = (values.to_kind(Kind::Float) + 0.5) * scale - 1.0;
        x.view([-1, self.channels, height, width])
    }

    /// `count` numbers for each component of the data, `[B, C, count, H, W]`, from an image of `C·count` channels.
    fn by_component(&self, image: &Tensor, count: i64) -> Tensor {
        let Shape { channels, height, width } = self.shape;
        let [channels, height, width] = [channels, height, width].map(|side| side as i64);
        let batch = image.size()[0];
        if self.size == [1, 1] {
            // Components are channels of the one pixel.
            image.view([batch, channels, height, width, count]).permute([0, 1, 4, 2, 3])
        } else {
            image.view([batch, channels, count, height, width])
        }
    }
}

/// From data to features at every resolution, finest first.
#[derive(Debug)]
pub(super) struct Encoder {
    layout: Layout,
    fourier: Vec<i32>,
    input: Conv,
    stages: Vec<Stage>,
}

impl Encoder {
    pub(super) fn new(
        spec: &HierarchySpec,
        layout: Layout,
        sizes: &[Size],
        scope: &Scope<'_>,
    ) -> Self {
        let inputs = layout.channels * (1 + 2 * spec.fourier.len() as i64);
        let kernel = kernel(layout.size);
        let input = Conv::new(&scope.child("input"), inputs, spec.width, kernel, Start::FanIn);
        let stage = |(i, size): (usize, &Size)| Stage::new(&scope.child(i), spec, *size);
        let stages = sizes.iter().enumerate().map(stage).collect();
        Self { layout, fourier: spec.fourier.clone(), input, stages }
    }

    pub(super) fn forward(&self, values: &Tensor, pass: Pass) -> Vec<Tensor> {
        let x = self.layout.image(values);
        let detail = fourier_features(&x, &self.fourier);
        let x = Tensor::cat(&std::iter::once(&x).chain(&detail).collect::<Vec<_>>(), 1);
        let mut features: Vec<Tensor> = Vec::new();
        for stage in &self.stages {
            let first = || channels_last(&self.input.forward(&x));
            let x = features.last().map_or_else(first, Tensor::shallow_clone);
            features.push(stage.forward(&x, pass));
        }
        features
    }
}

/// From the state of the lowest layer of latents to the distribution of the data.
#[derive(Debug)]
pub(super) struct Decoder {
    layout: Layout,
    likelihood: LikelihoodSpec,
    input: Option<Conv>,
    stages: Vec<Stage>,
    output: Conv,
}

impl Decoder {
    /// Of a state of `channels`; `sizes` lead from the coarsest to that of the data.
    pub(super) fn new(
        spec: &HierarchySpec,
        layout: Layout,
        channels: Option<i64>,
        sizes: &[Size],
        scope: &Scope<'_>,
    ) -> Self {
        let embed = |channels| {
            Conv::new(&scope.child("input"), channels, spec.width, kernel(sizes[0]), Start::FanIn)
        };
        let stage = |(i, size): (usize, &Size)| Stage::new(&scope.child(i), spec, *size);
        let outputs = layout.channels * spec.likelihood.parameters(layout.values);
        Self {
            layout,
            likelihood: spec.likelihood,
            input: channels.map(embed),
            stages: sizes.iter().enumerate().map(stage).collect(),
            output: Conv::new(
                &scope.child("output"),
                spec.width,
                outputs,
                kernel(layout.size),
                Start::FanIn,
            ),
        }
    }

    /// The distribution of the data.
    pub(super) fn forward<'a>(&self, state: &Tensor, pass: Pass) -> Belief<'a> {
        let x = self.input.as_ref().map_or_else(|| state.shallow_clone(), |c| c.forward(state));
        let x = self.stages.iter().fold(x, |x, stage| stage.forward(&x, pass));
        let output = self.output.forward(&x.silu()).to_kind(Kind::Float);
        let values = self.layout.values;
        let output = self.layout.by_component(&output, self.likelihood.parameters(values));
        match self.likelihood {
            LikelihoodSpec::Categorical {} => {
                Belief::Categorical { log_probabilities: output.log_softmax(2, Kind::Float) }
            }
            LikelihoodSpec::Logistics { .. } => Belief::Logistics(Logistics::of(&output, values)),
        }
    }
}

/// A Gaussian of one layer given a tensor of another: `[B, inputs, …]` to `[B, 2c, h, w]`.
#[derive(Debug)]
pub(super) struct Link {
    input: Conv,
    stage: Stage,
    output: Conv,
}

impl Link {
    fn new(
        spec: &HierarchySpec,
        [inputs, outputs]: [i64; 2],
        [from, to]: [Size; 2],
        scope: &Scope<'_>,
    ) -> Self {
        Self {
            input: Conv::new(&scope.child("input"), inputs, spec.width, kernel(from), Start::FanIn),
            stage: Stage::new(scope, spec, to),
            output: Conv::new(
                &scope.child("output"),
                spec.width,
                2 * outputs,
                kernel(to),
                Start::Zero,
            ),
        }
    }

    fn output(&self, x: &Tensor, pass: Pass) -> Tensor {
        let x = self.stage.forward(&self.input.forward(x), pass);
        self.output.forward(&x.silu())
    }

    fn forward<'a>(&self, x: &Tensor, pass: Pass) -> Gaussian<'a> {
        Gaussian::of(&self.output(x, pass), None)
    }
}

/// One layer of latents.
#[derive(Debug)]
pub(super) struct Layer {
    /// Of the latents.
    pub(super) channels: i64,
    pub(super) size: Size,
    /// Which of the encoder's features are of this resolution.
    feature: usize,
    kind: Kinds,
}

/// The standard deviation of evidence before any training, as a logarithm: an eighth of the posterior's precision.
/// Evidence as sharp as the prior costs a divergence before it tells anything, and is given up for it.
const FAINT: f64 = 1.0;

/// How a layer is generated and inferred.
#[derive(Debug)]
enum Kinds {
    /// Its prior sees the latents of the layer above, and its posterior those of the layer below, or the data's
    /// features.
    BottomUp { prior: Option<Link>, posterior: Link },
    /// Its prior sees the latents of the layer above, and its posterior is that prior times what the data's
    /// features say.
    Ladder { prior: Option<Link>, evidence: Link },
    /// Both see the hidden state of all layers above.
    TopDown(Residual),
}

/// A layer between the hidden states of a top-down path.
#[derive(Debug)]
struct Residual {
    size: Size,
    /// The state above the top layer.
    start: Option<Tensor>,
    prior: Conv,
    gate: Conv,
    evidence: Conv,
    difference: Conv,
    merge: Conv,
    scale: f64,
    stage: Stage,
}

impl Residual {
    fn new(
        spec: &HierarchySpec,
        channels: i64,
        size: Size,
        is_top: bool,
        scope: &Scope<'_>,
    ) -> Self {
        let (width, kernel) = (spec.width, kernel(size));
        let conv =
            |name, from, to, kernel, start| Conv::new(&scope.child(name), from, to, kernel, start);
        let bare = |name, from, to, kernel, start| {
            Conv::without_bias(&scope.child(name), from, to, kernel, start)
        };
        Self {
            size,
            start: is_top
                .then(|| scope.tensor("start", &[1, width, size[0], size[1]], Initial::Zeros)),
            prior: conv("prior", width, 2 * channels, kernel, Start::Zero),
            gate: conv("gate", width, width, kernel, Start::FanIn),
            evidence: bare("evidence", width, width, kernel, Start::FanIn),
            difference: bare("difference", width, 2 * channels, 1, Start::Zero),
            merge: conv("merge", channels, width, 1, Start::FanIn),
            scale: spec.residual_scale(),
            stage: Stage::new(scope, spec, size),
        }
    }

    /// The state that the layer sees, of `batch` items, given that below the layer above it, and the prior's
    /// parameters.
    fn state(&self, above: Option<&State>, batch: i64) -> [Tensor; 2] {
        let prior = |state: &Tensor| self.prior.forward(&state.silu());
        match (above, &self.start) {
            (Some(above), _) => {
                let state = resized(above.features(), self.size);
                let prior = above.prior(|| prior(&state));
                [state, prior]
            }
            (None, Some(start)) => {
                let expanded = |x: &Tensor| channels_last(&x.expand([batch, -1, -1, -1], true));
                [expanded(start), expanded(&prior(start))]
            }
            (None, None) => panic!("only the top layer has none above it"),
        }
    }

    /// The Gaussian of a network's output, whose latents join the state.
    fn gaussian(&self, output: &Tensor, state: Tensor, pass: Pass) -> Gaussian<'_> {
        let below = move |z: &Tensor| {
            let merged = scaled(self.merge.forward(z), self.scale);
            self.stage.forward(&(&state + merged), pass)
        };
        Gaussian::of(output, Some(Box::new(below)))
    }

    /// What the data's features change of the prior. Nothing, to the last bit, where they are zero: inference and
    /// generation are then the same pass.
    fn difference(&self, state: &Tensor, features: &Tensor) -> Tensor {
        let gate = self.gate.forward(&state.silu()).silu();
        self.difference.forward(&(gate * self.evidence.forward(features)))
    }
}

impl Layer {
    /// Layer number `t` of `sizes` and `channels`, from the data up.
    pub(super) fn new(
        spec: &HierarchySpec,
        (t, all): (usize, &[(i64, Size)]),
        feature: usize,
        scope: &Scope<'_>,
    ) -> Self {
        let (channels, size) = all[t];
        let width = spec.width;
        let prior = || {
            let (above, from) = *all.get(t + 1)?;
            Some(Link::new(spec, [above, channels], [from, size], &scope.child("prior")))
        };
        let posterior = |inputs, from, name| {
            Link::new(spec, [inputs, channels], [from, size], &scope.child(name))
        };
        let kind = match spec.inference {
            Inference::BottomUp => {
                let (inputs, from) = if t == 0 { (width, size) } else { all[t - 1] };
                let posterior = posterior(inputs, from, "posterior");
                Kinds::BottomUp { prior: prior(), posterior }
            }
            Inference::Ladder => {
                Kinds::Ladder { prior: prior(), evidence: posterior(width, size, "evidence") }
            }
            Inference::TopDown => {
                let is_top = t + 1 == all.len();
                Kinds::TopDown(Residual::new(spec, channels, size, is_top, scope))
            }
        };
        Self { channels, size, feature, kind }
    }

    /// `p(z_t | z_{t+1})`.
    pub(super) fn prior(&self, above: Option<&State>, pass: Pass) -> Gaussian<'_> {
        let link = match &self.kind {
            Kinds::TopDown(residual) => {
                let [state, prior] = residual.state(above, pass.batch);
                return residual.gaussian(&prior, state, pass);
            }
            Kinds::BottomUp { prior, .. } | Kinds::Ladder { prior, .. } => prior,
        };
        match (link, above) {
            (Some(link), Some(above)) => {
                let output = above.prior(|| link.output(above.features(), pass));
                Gaussian::of(&output, None)
            }
            _ => {
                let [height, width] = self.size;
                let size = [pass.batch, self.channels, height, width];
                Gaussian::standard(&Tensor::zeros(size, (Kind::Float, pass.device)))
            }
        }
    }

    /// `q` of the layer: given the layer below in bottom-up inference, else given the layer above and the data's
    /// features.
    pub(super) fn posterior(
        &self,
        neighbor: Option<&State>,
        features: Option<&[Tensor]>,
        pass: Pass,
    ) -> Gaussian<'_> {
        let own = features.map(|features| &features[self.feature]);
        match (&self.kind, own) {
            (Kinds::BottomUp { posterior, .. }, _) => {
                let below = neighbor.map(State::features).or(own);
                posterior.forward(below.expect("a layer below, or the data"), pass)
            }
            (Kinds::Ladder { evidence, .. }, Some(own)) => {
                self.prior(neighbor, pass).product(&evidence.forward(own, pass).broader(FAINT))
            }
            (Kinds::TopDown(residual), Some(own)) => {
                let [state, prior] = residual.state(neighbor, pass.batch);
                let output = prior + residual.difference(&state, own);
                residual.gaussian(&output, state, pass)
            }
            (_, None) => panic!("inference sees the data"),
        }
    }
}

#[cfg(test)]
mod tests {
    use vdm_core::hlvm::Distribution;
    use vdm_sample::Seed;

    use super::super::{Hierarchy, HierarchyModelSpec, LayerSpec};
    use super::*;

    const IMAGE: Shape = Shape { channels: 1, height: 8, width: 8 };

    fn top_down(repeat: usize, scaled_residuals: bool) -> HierarchySpec {
        HierarchySpec {
            inference: Inference::TopDown,
            layers: vec![LayerSpec { scale: 1, channels: 16, repeat }],
            width: 16,
            blocks: 1,
            fourier: vec![],
            dropout: 0.0,
            scaled_residuals,
            likelihood: LikelihoodSpec::Categorical {},
            kl_warmup: 0,
            free_nats: 0.0,
            free_nats_steps: 0,
        }
    }

    /// Speed depends on it, and nothing else: whatever undoes the order would not be seen in a result.
    #[test]
    fn features_have_the_channels_of_a_pixel_side_by_side() {
        for top in [8, 2] {
            let layer = |scale| LayerSpec { scale, channels: 4, repeat: 1 };
            let hierarchy =
                HierarchySpec { layers: vec![layer(top), layer(1)], ..top_down(1, false) };
            let spec = HierarchyModelSpec { shape: IMAGE, values: 2, hierarchy };
            let model = Hierarchy::new(&spec, Seed(1), Device::Cpu).unwrap();
            let data = model.data(&Tensor::zeros([2, 1, 8, 8], (Kind::Uint8, Device::Cpu)), true);
            let mut seen: Vec<Tensor> = data.features().iter().map(Tensor::shallow_clone).collect();
            let mut state: Option<State> = None;
            for layer in model.layers.iter().rev() {
                let pass = model.pass(2, true);
                let posterior = layer.posterior(state.as_ref(), Some(data.features()), pass);
                let noise = posterior.mean.randn_like();
                let below = Belief::Gaussian(posterior).reparameterize(&noise).state().clone();
                seen.push(below.features().shallow_clone());
                state = Some(below);
            }
            // Of a single pixel any order is both.
            seen.retain(|features| features.size()[2] > 1);
            assert_eq!(seen.len(), if top == 8 { 2 } else { 4 });
            for features in seen {
                assert_eq!(features.stride()[1], 1, "{:?} below {top}", features.size());
            }
        }
    }

    /// Variance of the features below the lowest of `repeat` layers, before any training.
    fn variance(repeat: usize, scaled_residuals: bool) -> f64 {
        let hierarchy = top_down(repeat, scaled_residuals);
        let spec = HierarchyModelSpec { shape: IMAGE, values: 2, hierarchy };
        let model = Hierarchy::new(&spec, Seed(1), Device::Cpu).unwrap();
        tch::manual_seed(2);
        let mut state: Option<State> = None;
        for layer in model.layers.iter().rev() {
            let prior = Belief::Gaussian(layer.prior(state.as_ref(), model.pass(8, false)));
            let noise = Tensor::randn([8, 16, 8, 8], (Kind::Float, Device::Cpu));
            state = Some(prior.reparameterize(&noise).state().clone());
        }
        state.unwrap().features().var(true).double_value(&[])
    }

    /// Each layer adds its latents to the features: their variance grows with depth, and does not where residuals are
    /// scaled by it. Of 8,192 numbers a variance is good to a few percent; how much each merge adds to it is up to the
    /// weights that are drawn, four of which are few.
    #[test]
    fn features_of_deep_hierarchies_do_not_grow_where_residuals_are_scaled() {
        let grown = variance(64, false) / variance(4, false);
        assert!((10.0..24.0).contains(&grown), "16 times as many layers: {grown}");
        let kept = variance(64, true) / variance(4, true);
        assert!((0.6..1.5).contains(&kept), "{kept}");
    }
}
