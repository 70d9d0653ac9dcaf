//! Exact log-likelihoods through the probability-flow ODE.
//!
//! The ODE carries data to noise one to one, so densities change by its volume factor alone:
//!
//! ```text
//! log p(z_0) = log N(z_1; 0, σ_1² I) + log |∂z_1/∂z_0|,   log |∂z_1/∂z_0| = ∫ tr(∂ż/∂z) dt
//! ```
//!
//! (Chen et al. 2018; Song et al. 2021, appendix D). The log-determinant travels with the latent
//! and its error is controlled with the latent's. Its trace is either known ([`Divergence`]) or
//! estimated from products with random directions ([`Vjp`]; Hutchinson 1990, Grathwohl
//! et al. 2019), which are drawn once per sample, so that what is integrated is smooth.
//!
//! Unlike a variational bound this is the likelihood of the model itself, with one reservation: the
//! true distribution of `z_1` is the noised data's and not quite the prior.

use std::f64::consts::TAU;

use rand::RngExt;
use serde::{Deserialize, Serialize};
use vdm_core::bound::bits_per_dim_of_density;
use vdm_core::setting::{InvalidSetting, positive};
use vdm_core::{Affine, Divergence, LogSnr, NoiseLevel, Scaling, Vjp};

use crate::coordinate::Coordinate;
use crate::noise::{Purpose, fill_normal};
use crate::ode::{Augmented, Field, Path, State, rate};
use crate::{AdaptiveOde, InnerProduct, Seed, Solution, SolveError};

/// Log-likelihoods of latents at one level under the model's flow to another.
///
/// ```
/// use vdm_core::{GaussianMixture, LogSnr, Scaling};
/// use vdm_sample::AdaptiveOde;
/// use vdm_sample::likelihood::FlowLikelihood;
///
/// let model = GaussianMixture::new(vec![1.0], vec![vec![0.3, -0.2]], vec![1.0])?;
/// let (data, noise) = (LogSnr::new(12.0), LogSnr::new(-20.0));
/// let vp = Scaling::VariancePreserving;
/// let (solver, prior_std) = (AdaptiveOde::default(), None);
/// let settings = FlowLikelihood { solver, data, noise, scaling: vp, prior_std };
/// let x = vec![0.9, 0.4];
/// let found = &settings.exact(&model, vec![x.clone()])?[0];
/// let truth = model.log_density(&x, &vp.level(12.0));
/// assert!((found.nats() - truth).abs() < 1e-4); // steps of 1e-5, and a prior that is not exact
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowLikelihood {
    /// How the ODE is solved.
    #[serde(default)]
    pub solver: AdaptiveOde,
    /// The level of the latents whose likelihood is asked for: the schedule's cleanest. There data
    /// serve as the latents themselves, with `α ≈ 1` and `σ` below their own resolution.
    pub data: LogSnr,
    /// The schedule's noisiest level, where latents follow the prior.
    pub noise: LogSnr,
    /// That of the latents.
    pub scaling: Scaling,
    /// Standard deviation of the prior at the noise end, `> 0`; without one it is `σ_1`.
    #[serde(default)]
    pub prior_std: Option<f64>,
}

/// A log-likelihood and its parts.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLikelihood<Z> {
    /// `log N(z_1; 0, σ_1² I)` (or with the standard deviation that was set), in nats.
    pub prior: f64,
    /// `log |∂z_1/∂z_0|`, in nats; the mean over probes where it is estimated.
    pub log_det: f64,
    /// Standard error of `log_det` over probes, in nats: 0 if the trace is exact, `None` for a single
    /// probe, which says nothing of its own error.
    pub standard_error: Option<f64>,
    /// The latent `z_1` at the noise end, and what it took. A call is one evaluation of the model,
    /// with its trace or all its products.
    pub end: Solution<Z>,
}

impl<Z: InnerProduct> LogLikelihood<Z> {
    /// `log p(z_0)` in nats.
    #[doc(alias = "nll")]
    #[must_use]
    pub fn nats(&self) -> f64 {
        self.prior + self.log_det
    }

    /// Bits per dimension of data on a grid of step `bin_width` (2/256 for 8 bits over `[−1, 1]`;
    /// 1 for a density's own).
    #[doc(alias = "bpd")]
    #[must_use]
    pub fn bits_per_dim(&self, bin_width: f64) -> f64 {
        bits_per_dim_of_density(self.nats(), self.end.latent.len(), bin_width)
    }

    /// The same under another distribution at the noise end, `log p(z_1)` in nats.
    #[must_use]
    pub fn with_prior(self, prior: f64) -> Self {
        Self { prior, ..self }
    }
}

/// Random directions `v` with `E[v vᵀ] = I`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeDistribution {
    /// Signs `±1`: of all distributions with independent components the one of least variance.
    #[default]
    Rademacher,
    /// Unit normals.
    Gaussian,
}

/// The directions a trace is estimated from, a function of (seed, sample, probe).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probes {
    /// Of the run.
    pub seed: Seed,
    /// Number, within the data set, of the first sample given.
    pub first_sample: u64,
    /// How many per sample; the standard error falls with its root.
    pub count: usize,
    /// What each is drawn from.
    #[serde(default)]
    pub distribution: ProbeDistribution,
}

impl Probes {
    /// Probe `probe` of sample `first_sample + index`, into plain memory; other latent types build
    /// their [`ProbeSource`] on this.
    pub fn fill_slice<T: From<f32>>(&self, out: &mut [T], index: usize, probe: usize) {
        let (purpose, probe) = (Purpose::TraceProbe, probe as u64);
        let sample = self.first_sample + index as u64;
        match self.distribution {
            ProbeDistribution::Gaussian => {
                fill_normal(out, out.len().max(1), self.seed, purpose, probe, sample);
            }
            ProbeDistribution::Rademacher => {
                let mut rng = self.seed.stream(purpose, probe, sample);
                out.fill_with(|| T::from(if rng.random() { 1.0_f32 } else { -1.0 }));
            }
        }
    }
}

/// Whoever can draw directions of a latent type.
pub trait ProbeSource<Z> {
    /// All probes of the sample that is number `index` of those given, of the shape of `like`.
    #[must_use]
    fn draw(&self, like: &Z, index: usize) -> Vec<Z>;
}

macro_rules! impl_probe_source_for_vec {
    ($($float:ident),*) => {$(
        impl ProbeSource<Vec<$float>> for Probes {
            fn draw(&self, like: &Vec<$float>, index: usize) -> Vec<Vec<$float>> {
                let probe = |probe| {
                    let mut out = vec![0.0; like.len()];
                    self.fill_slice(&mut out, index, probe);
                    out
                };
                (0..self.count).map(probe).collect()
            }
        }
    )*};
}
impl_probe_source_for_vec!(f32, f64);

/// Latents and the log-determinant, by the trace itself.
struct ExactTrace<'a, D: ?Sized>(&'a D);

impl<Z: InnerProduct, D: Divergence<Z> + ?Sized> Field<Z> for ExactTrace<'_, D> {
    type Error = D::Error;

    fn rates(
        &self,
        _: &[usize],
        items: &[(&Z, NoiseLevel)],
    ) -> Result<Vec<State<Z>>, SolveError<D::Error>> {
        let answers = self.0.denoise_with_trace_each(items).map_err(SolveError::Model)?;
        let rates = items.iter().zip(answers).map(|((z, at), (output, trace))| {
            let (latent, Affine { on_z, on_output }) = rate(*z, &output, at)?;
            Ok(State { latent, integrals: vec![on_z * z.len() as f64 + on_output * trace] })
        });
        rates.collect()
    }
}

/// Latents and one log-determinant per probe, by `vᵀ(∂v̂/∂z)v`.
struct ProbedTrace<'a, Z, D: ?Sized> {
    model: &'a D,
    /// Of every sample.
    probes: Vec<Vec<Z>>,
}

impl<Z: InnerProduct, D: Vjp<Z> + ?Sized> Field<Z> for ProbedTrace<'_, Z, D> {
    type Error = D::Error;

    fn rates(
        &self,
        samples: &[usize],
        items: &[(&Z, NoiseLevel)],
    ) -> Result<Vec<State<Z>>, SolveError<D::Error>> {
        let asked: Vec<_> = samples
            .iter()
            .zip(items)
            .map(|(sample, (z, at))| (*z, *at, self.probes[*sample].as_slice()))
            .collect();
        let answers = self.model.denoise_with_vjp_each(&asked).map_err(SolveError::Model)?;
        let rates = asked.into_iter().zip(answers).map(|((z, at, probes), (output, products))| {
            let (latent, Affine { on_z, on_output }) = rate(z, &output, &at)?;
            let trace = |(v, product): (&Z, &Z)| on_z * v.dot(v) + on_output * v.dot(product);
            Ok(State { latent, integrals: probes.iter().zip(&products).map(trace).collect() })
        });
        rates.collect()
    }
}

impl FlowLikelihood {
    /// With the exact trace.
    ///
    /// # Errors
    /// Any [`SolveError`].
    ///
    /// # Panics
    /// If the model gives more or fewer answers than it was asked.
    pub fn exact<Z: InnerProduct, D: Divergence<Z> + ?Sized>(
        &self,
        model: &D,
        samples: Vec<Z>,
    ) -> Result<Vec<LogLikelihood<Z>>, SolveError<D::Error>> {
        let ends = self.travel(&ExactTrace(model), samples, 1)?;
        Ok(ends
            .into_iter()
            .map(|found| LogLikelihood { standard_error: Some(0.0), ..found })
            .collect())
    }

    /// With Hutchinson's estimate of the trace. Its expectation is the exact result, up to the
    /// tolerance.
    ///
    /// # Errors
    /// [`SolveError::Setting`] for no probes, or any other [`SolveError`].
    ///
    /// # Panics
    /// If the model gives more or fewer answers, or products, than it was asked.
    pub fn hutchinson<Z: InnerProduct, D: Vjp<Z> + ?Sized>(
        &self,
        model: &D,
        samples: Vec<Z>,
        probes: &impl ProbeSource<Z>,
    ) -> Result<Vec<LogLikelihood<Z>>, SolveError<D::Error>> {
        let probes: Vec<Vec<Z>> =
            samples.iter().enumerate().map(|(index, z)| probes.draw(z, index)).collect();
        let count = probes.first().map_or(1, Vec::len);
        if let Some(other) = probes.iter().map(Vec::len).find(|n| *n == 0 || *n != count) {
            let remedy = "use at least one probe per sample, as many for each";
            return Err(InvalidSetting::new("probes", other, remedy).into());
        }
        self.travel(&ProbedTrace { model, probes }, samples, count)
    }

    fn travel<Z: InnerProduct, F: Field<Z>>(
        &self,
        field: &F,
        samples: Vec<Z>,
        integrals: usize,
    ) -> Result<Vec<LogLikelihood<Z>>, SolveError<F::Error>> {
        let Self { solver, data, noise, scaling, prior_std } = *self;
        let path = Path::new(data, noise, scaling)?;
        let std = prior_std.unwrap_or(path.to.sigma);
        positive("prior_std", std)?;
        // The integrals are those of the latent over its radius.
        let radius = |at: &NoiseLevel| Coordinate::UNIT_ANGLE.scale(at);
        let of_radius = (radius(&path.to) / radius(&path.from)).ln();
        let ends = solver.travel(field, samples, integrals, &path, &mut Vec::new())?;
        Ok(ends
            .into_iter()
            .map(|Augmented { end, integrals }| {
                let (log_det, standard_error) = mean_and_error(&integrals);
                LogLikelihood {
                    prior: log_normal(&end.latent, std),
                    log_det: log_det + end.latent.len() as f64 * of_radius,
                    standard_error,
                    end,
                }
            })
            .collect())
    }
}

/// `log N(z; 0, std² I)`.
fn log_normal<Z: InnerProduct>(z: &Z, std: f64) -> f64 {
    let var = std * std;
    -0.5 * (z.dot(z) / var + z.len() as f64 * (TAU * var).ln())
}

/// Mean, and its standard error for more than one value.
fn mean_and_error(values: &[f64]) -> (f64, Option<f64>) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (values.len() > 1).then(|| (squares / (n * (n - 1.0))).sqrt()))
}
