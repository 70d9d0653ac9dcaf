//! Latents that are libtorch tensors, and coefficients that are one number per item.

use std::ops::{Add, Div, Mul, Neg, Sub};

use tch::{Device, Kind, Tensor};
use vdm_core::{Latent, LogSnr, NoiseLevel, Real, Scaling};
use vdm_sample::likelihood::{ProbeSource, Probes};
use vdm_sample::noise::NoiseError;
use vdm_sample::spec::NoisePath;
use vdm_sample::{InnerProduct, NoiseSource};

/// Items `[B, C, H, W]`: f32 in training, f64 in the variational bound and while samples are drawn. A newtype,
/// since neither [`Latent`] nor [`Tensor`] is ours.
#[derive(Debug)]
pub struct Batch(pub Tensor);

/// One number per item, `[B, 1, 1, 1]`, in the floats of the items: noise levels of a training batch,
/// with gradients flowing through all arithmetic.
#[derive(Debug)]
pub struct PerSample(pub Tensor);

impl Batch {
    /// From host memory, row-major.
    #[must_use]
    pub fn from_slice(values: &[f32], [n, c, h, w]: [i64; 4], device: Device) -> Self {
        Self(Tensor::from_slice(values).view([n, c, h, w]).to_device(device))
    }

    /// Other values of the shape and kind and on the device of `self`.
    fn with_values(&self, values: &[f32]) -> Self {
        let values = Tensor::from_slice(values).view(self.0.size().as_slice());
        Self(values.to_device(self.0.device()).to_kind(self.0.kind()))
    }

    /// Kind and device, as libtorch makes tensors by.
    fn options(&self) -> (Kind, Device) {
        (self.0.kind(), self.0.device())
    }

    /// Sum over all but the first dimension: one number per item, `[B]`.
    pub fn sum_per_item(&self) -> Tensor {
        self.0.flatten(1, -1).sum_dim_intlist([1_i64].as_slice(), false, self.0.kind())
    }
}

impl Clone for Batch {
    /// A copy of its own memory, as of any value.
    fn clone(&self) -> Self {
        Self(self.0.copy())
    }
}

impl PerSample {
    /// From host numbers, each rounded to f32 once.
    #[must_use]
    pub fn new(values: &[f64], device: Device) -> Self {
        Self::column(values, (Kind::Float, device))
    }

    /// One number per item of `batch`, each rounded to its floats once.
    #[must_use]
    pub fn like(values: &[f64], batch: &Batch) -> Self {
        Self::column(values, batch.options())
    }

    fn column(values: &[f64], (kind, device): (Kind, Device)) -> Self {
        let values = Tensor::from_slice(values).to_kind(kind);
        Self(values.view([-1, 1, 1, 1]).to_device(device))
    }

    /// The same level for every item of `batch`, in its floats.
    #[must_use]
    pub fn level(at: &NoiseLevel, batch: &Batch) -> NoiseLevel<Self> {
        let size = [batch.0.size()[0], 1, 1, 1];
        let constant = |value: f64| Self(Tensor::full(size, value, batch.options()));
        NoiseLevel {
            log_snr: constant(at.log_snr),
            alpha: constant(at.alpha),
            sigma: constant(at.sigma),
        }
    }

    /// The levels of given log-SNRs. Computed in f64 on the host, then rounded to f32 once.
    #[must_use]
    pub fn levels_at(log_snrs: &[f64], scaling: Scaling, device: Device) -> NoiseLevel<Self> {
        let levels: Vec<NoiseLevel> =
            log_snrs.iter().map(|log_snr| scaling.level(*log_snr)).collect();
        Self::columns(&levels, (Kind::Float, device))
    }

    /// One level per item of `batch`, each number rounded to its floats once.
    #[must_use]
    pub fn levels(levels: &[NoiseLevel], batch: &Batch) -> NoiseLevel<Self> {
        Self::columns(levels, batch.options())
    }

    fn columns(levels: &[NoiseLevel], options: (Kind, Device)) -> NoiseLevel<Self> {
        let column = |read: fn(&NoiseLevel) -> f64| {
            Self::column(&levels.iter().map(read).collect::<Vec<_>>(), options)
        };
        NoiseLevel {
            log_snr: column(|l| l.log_snr),
            alpha: column(|l| l.alpha),
            sigma: column(|l| l.sigma),
        }
    }
}

impl Clone for PerSample {
    fn clone(&self) -> Self {
        Self(self.0.shallow_clone())
    }
}

impl Neg for PerSample {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

macro_rules! impl_operator {
    ($($trait:ident $method:ident $op:tt),*) => {$(
        impl $trait for PerSample {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                Self(self.0 $op other.0)
            }
        }
    )*};
}
impl_operator!(Add add +, Sub sub -, Mul mul *, Div div /);

impl Real for PerSample {
    fn lift(&self, constant: f64) -> Self {
        Self(self.0.full_like(constant))
    }
    fn exp(&self) -> Self {
        Self(self.0.exp())
    }
    fn exp_m1(&self) -> Self {
        Self(self.0.expm1())
    }
    fn ln(&self) -> Self {
        Self(self.0.log())
    }
    fn sqrt(&self) -> Self {
        Self(self.0.sqrt())
    }
    fn tanh(&self) -> Self {
        Self(self.0.tanh())
    }
    fn sigmoid(&self) -> Self {
        Self(self.0.sigmoid())
    }
}

impl Latent for Batch {
    fn lincomb(terms: &[(f64, &Self)]) -> Self {
        let mut out = Self(Tensor::new());
        out.lincomb_into(terms);
        out
    }

    /// # Panics
    /// If the tensors differ in shape or device.
    fn lincomb_into(&mut self, terms: &[(f64, &Self)]) {
        let live: Vec<(f64, &Tensor)> =
            terms.iter().filter(|(c, _)| *c != 0.0).map(|(c, z)| (*c, &z.0)).collect();
        if live.iter().any(|(_, z)| z.requires_grad()) {
            let (c, z) = live[0];
            self.0 = live[1..].iter().fold(z * c, |sum, (c, z)| sum + *z * *c);
        } else if live.is_empty() {
            self.0 = terms[0].1.0.zeros_like();
        } else {
            vdm_torch_sys::lincomb_into(&mut self.0, &live)
                .unwrap_or_else(|error| panic!("linear combination of latents: {error}"));
        }
    }
}

impl Latent<PerSample> for Batch {
    /// No coefficient is skipped: whether one is zero is not known to the host, and in training
    /// every term is finite.
    fn lincomb(terms: &[(PerSample, &Self)]) -> Self {
        let (c, z) = &terms[0];
        Self(terms[1..].iter().fold(&z.0 * &c.0, |sum, (c, z)| sum.addcmul(&z.0, &c.0)))
    }
}

impl InnerProduct for Batch {
    fn dot(&self, other: &Self) -> f64 {
        assert_eq!(self.0.size(), other.0.size(), "latents of different shapes");
        let [a, b] = [self, other].map(|z| z.0.to_kind(Kind::Double).flatten(0, -1));
        a.dot(&b).double_value(&[])
    }

    fn len(&self) -> usize {
        self.0.numel()
    }

    fn into_samples(self) -> Vec<Self> {
        self.0.split(1, 0).into_iter().map(Self).collect()
    }

    fn from_samples(samples: Vec<Self>) -> Self {
        Self(Tensor::cat(&samples.iter().map(|z| &z.0).collect::<Vec<_>>(), 0))
    }
}

/// The items of latent number `index` are samples of their own, so that their directions do not
/// depend on how samples are put together, as long as all latents have as many.
impl ProbeSource<Batch> for Probes {
    fn draw(&self, like: &Batch, index: usize) -> Vec<Batch> {
        let items = like.0.size()[0] as usize;
        let dims = like.0.numel() / items.max(1);
        let probe = |probe| {
            let mut host = vec![0.0_f32; items * dims];
            for (item, components) in host.chunks_mut(dims.max(1)).enumerate() {
                self.fill_slice(components, index * items + item, probe);
            }
            like.with_values(&host)
        };
        (0..self.count).map(probe).collect()
    }
}

impl NoiseSource<Batch> for NoisePath {
    /// Into the tensor's own memory where that is f32 on the host.
    fn fill(&mut self, out: &mut Batch, from: LogSnr, to: LogSnr) -> Result<(), NoiseError> {
        if let Some(memory) = vdm_torch_sys::own_memory(&mut out.0) {
            return self.fill_slice(memory, from, to);
        }
        let mut host = vec![0.0_f32; out.0.numel()];
        self.fill_slice(&mut host, from, to)?;
        *out = out.with_values(&host);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vdm_core::{NoiseSchedule, Parameterization, Posterior, Prediction, Schedule};
    use vdm_sample::Seed;
    use vdm_sample::spec::NoiseSpec;

    const SHAPE: [i64; 4] = [3, 1, 2, 2];

    fn batch(offset: f32) -> Batch {
        let values: Vec<f32> = (0..12_u8).map(|i| (f32::from(i) * 0.37 + offset).sin()).collect();
        Batch::from_slice(&values, SHAPE, Device::Cpu)
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        Vec::try_from(tensor.flatten(0, -1)).expect("f32 tensors convert")
    }

    fn close(a: &[f32], b: &[f32], tolerance: f32) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance)
    }

    #[test]
    fn tensors_combine_like_vectors() {
        let (a, b, c) = (batch(0.0), batch(1.0), batch(2.0));
        let (x, y, z) = (values(&a.0), values(&b.0), values(&c.0));
        let coefficients = [0.3, -1.7, 2.5];
        let tensor =
            Batch::lincomb(&[(coefficients[0], &a), (coefficients[1], &b), (coefficients[2], &c)]);
        let vector =
            Vec::lincomb(&[(coefficients[0], &x), (coefficients[1], &y), (coefficients[2], &z)]);
        assert!(close(&values(&tensor.0), &vector, 1e-6));
    }

    #[test]
    fn a_zero_coefficient_hides_infinities() {
        let infinite = Batch(batch(0.0).0 * f64::INFINITY);
        let sum = Batch::lincomb(&[(0.0, &infinite), (1.0, &batch(1.0))]);
        assert_eq!(values(&sum.0), values(&batch(1.0).0));
        assert_eq!(values(&Batch::lincomb(&[(0.0, &infinite)]).0), [0.0; 12]);
    }

    /// The same generic formulas on tensors as on f64: level, posterior, every conversion.
    #[test]
    fn formulas_per_sample_agree_with_f64() {
        let times = [0.1, 0.5, 0.9];
        let schedule = Schedule::cosine(9.0, -7.0).unwrap();
        let edm = Parameterization::Edm { data_std: 0.5 };
        use Parameterization::{Flow, Image, Noise, Score, Velocity};
        for scaling in
            [Scaling::VariancePreserving, Scaling::VarianceExploding, Scaling::StraightLine]
        {
            let log_snr: Vec<f64> = times.map(|t| schedule.log_snr(t).value()).to_vec();
            let tensor = scaling.level(PerSample::new(&log_snr, Device::Cpu));
            let later =
                scaling.level(PerSample::new(&log_snr, Device::Cpu) - tensor.alpha.lift(1.0));
            let posterior = Posterior::between(&tensor, &later);
            let host = PerSample::levels_at(&log_snr, scaling, Device::Cpu);
            assert!(close(&values(&tensor.alpha.0), &values(&host.alpha.0), 1e-6));
            for (i, log_snr) in log_snr.iter().enumerate() {
                let level = scaling.level(*log_snr);
                let q = Posterior::between(&level, &scaling.level(log_snr - 1.0));
                let at = |p: &PerSample| f64::from(values(&p.0)[i]);
                assert!((at(&posterior.var) / q.var - 1.0).abs() < 1e-5);
                for from in [Image, Noise, Score, Velocity, Flow, edm] {
                    for to in [Image, Noise, Velocity, Flow, edm] {
                        let (a, b) = (from.to(to, &tensor), from.to(to, &level));
                        let scale = b.on_z.abs() + b.on_output.abs();
                        assert!((at(&a.on_z) - b.on_z).abs() < 2e-5 * scale, "{from:?}→{to:?}");
                        assert!((at(&a.on_output) - b.on_output).abs() < 2e-5 * scale);
                    }
                }
            }
        }
    }

    #[test]
    fn each_item_gets_its_own_coefficient() {
        let (x, eps) = (batch(0.0), batch(1.0));
        let schedule = Schedule::linear(6.0, -4.0).unwrap();
        let vp = Scaling::VariancePreserving;
        let log_snrs = [0.2, 0.5, 0.8].map(|t| schedule.log_snr(t).value());
        let at = PerSample::levels_at(&log_snrs, vp, Device::Cpu);
        let z = Batch::lincomb(&[(at.alpha.clone(), &x), (at.sigma.clone(), &eps)]);
        let middle = vp.level(schedule.log_snr(0.5).value());
        let row = |b: &Batch| values(&b.0.get(1));
        let wanted = Vec::lincomb(&[(middle.alpha, &row(&x)), (middle.sigma, &row(&eps))]);
        assert!(close(&row(&z), &wanted, 1e-6));
        let back = Prediction { value: eps, of: Parameterization::Noise }.image(&z, &at);
        assert!(close(&values(&back.0), &values(&x.0), 1e-4));
    }

    #[test]
    fn gradients_flow_into_the_level() {
        let log_snr =
            PerSample(PerSample::new(&[1.0, 2.0, 3.0], Device::Cpu).0.set_requires_grad(true));
        let level = Scaling::VariancePreserving.level(log_snr.clone());
        level.alpha.0.sum(Kind::Float).backward();
        // dα/dλ = α σ²/2.
        for (i, got) in values(&log_snr.0.grad()).iter().enumerate() {
            let at = Scaling::VariancePreserving.level(i as f64 + 1.0);
            assert!((f64::from(*got) - 0.5 * at.alpha * at.sigma.powi(2)).abs() < 1e-6);
        }
    }

    #[test]
    fn device_noise_equals_host_noise_per_sample() {
        let (from, to) = (LogSnr::new(0.0), LogSnr::new(1.0));
        for noise in [NoiseSpec::Iid, NoiseSpec::Antithetic, NoiseSpec::Brownian] {
            let mut out = batch(0.0);
            noise.path(Seed(3), 5, 4).fill(&mut out, from, to).unwrap();
            let mut second = vec![0.0_f32; 4];
            noise.path(Seed(3), 6, 4).fill(&mut second, from, to).unwrap();
            assert_eq!(values(&out.0.get(1)), second, "{noise:?}");
        }
    }
}
