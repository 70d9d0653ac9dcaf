//! Schedules named by the density of levels they visit, `p(λ)`, and the sampling grids in EDM's `σ`.

use serde::{Deserialize, Serialize};

use super::{Curve, LogSnrRange, Time, sound};
use crate::setting::{finite, positive, require};
use crate::{Error, Scalar};

/// `λ ~ N(mean, std²)`: `λ_t = mean − std·Φ⁻¹(t)`, from `+∞` to `−∞`.
///
/// EDM draws its training noise so, `ln σ ~ N(P_mean, P_std²)`: [`edm`](Self::edm). So does flow
/// matching with logit-normal times (Esser et al. 2024): [`logit_normal`](Self::logit_normal).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawSpread", into = "RawSpread")]
pub struct Normal {
    raw: RawSpread,
}

/// `p(λ) = exp(−|λ − mean|/std)/(2 std)`, from `+∞` to `−∞` (Hang et al. 2024). `std` is the
/// distribution's scale; its standard deviation is `√2` of that.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawSpread", into = "RawSpread")]
pub struct Laplace {
    raw: RawSpread,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct RawSpread {
    mean: f64,
    std: f64,
}

macro_rules! impl_spread {
    ($($schedule:ident),*) => {$(
        built_from!($schedule from RawSpread { mean, std });

        impl $schedule {
            /// With its center and width, in nats of log-SNR.
            ///
            /// # Errors
            /// [`Error::Setting`] unless `mean` is finite and `std` positive,
            /// [`Error::ScheduleShape`] if double precision has no such schedule.
            pub fn new(mean: f64, std: f64) -> Result<Self, Error> {
                finite("schedule.mean", mean)?;
                positive("schedule.std", std)?;
                sound(Self { raw: RawSpread { mean, std } })
            }

            /// How many widths a level lies from the center.
            fn standardize<C: Scalar>(self, log_snr: C) -> C {
                (log_snr - log_snr.lift(self.raw.mean)) / log_snr.lift(self.raw.std)
            }

            /// The level that lies so many widths from the center.
            fn place<C: Scalar>(self, widths: C) -> C {
                widths.lift(self.raw.mean) + widths.lift(self.raw.std) * widths
            }
        }
    )*};
}
impl_spread!(Normal, Laplace);

impl Normal {
    /// `ln σ ~ N(p_mean, p_std²)` of EDM's noise scale; −1.2 and 1.2 in Karras et al. 2022.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `p_mean` is finite and `p_std` positive.
    pub fn edm(p_mean: f64, p_std: f64) -> Result<Self, Error> {
        Self::new(-2.0 * p_mean, 2.0 * p_std)
    }

    /// `logit(t) ~ N(mean, std²)` of the time of a straight line, at which `λ = −2 logit(t)`.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `mean` is finite and `std` positive.
    pub fn logit_normal(mean: f64, std: f64) -> Result<Self, Error> {
        Self::new(-2.0 * mean, 2.0 * std)
    }
}

impl Curve for Normal {
    fn ends(&self) -> LogSnrRange {
        LogSnrRange::WHOLE
    }
    fn at<C: Scalar>(&self, at: &Time<C>) -> C {
        let late = at.t.value() > 0.5;
        self.place(if late { at.rest.normal_quantile() } else { -at.t.normal_quantile() })
    }
    fn inverse<C: Scalar>(&self, log_snr: &C) -> Time<C> {
        let widths = self.standardize(*log_snr);
        Time { t: (-widths).normal_cdf(), rest: widths.normal_cdf() }
    }
}

impl Curve for Laplace {
    fn ends(&self) -> LogSnrRange {
        LogSnrRange::WHOLE
    }
    fn at<C: Scalar>(&self, at: &Time<C>) -> C {
        let two = at.t.lift(2.0);
        let late = at.t.value() > 0.5;
        self.place(if late { (two * at.rest).ln() } else { -(two * at.t).ln() })
    }
    fn inverse<C: Scalar>(&self, log_snr: &C) -> Time<C> {
        let widths = self.standardize(*log_snr);
        let tail = |widths: C| widths.lift(0.5) * widths.exp();
        if widths.value() >= 0.0 { Time::early(tail(-widths)) } else { Time::late(tail(widths)) }
    }
}

/// The straight line of flow matching, `α = 1 − t`, `σ = t`: `λ_t = 2 ln((1 − t)/t) + shift`.
///
/// The timestep shift `s` of Esser et al. 2024, `t ↦ st/(1 + (s − 1)t)`, is `shift = −2 ln s`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct StraightLine {
    /// Added to every level, in nats of log-SNR.
    #[serde(default)]
    pub shift: f64,
}

impl Curve for StraightLine {
    fn ends(&self) -> LogSnrRange {
        LogSnrRange::WHOLE
    }
    fn at<C: Scalar>(&self, at: &Time<C>) -> C {
        at.t.lift(2.0) * (at.rest / at.t).ln() + at.t.lift(self.shift)
    }
    fn inverse<C: Scalar>(&self, log_snr: &C) -> Time<C> {
        let half = log_snr.lift(0.5) * (*log_snr - log_snr.lift(self.shift));
        Time { t: (-half).sigmoid(), rest: half.sigmoid() }
    }
}

/// The levels of two of EDM's noise scales.
fn levels(sigma_min: f64, sigma_max: f64) -> Result<LogSnrRange, Error> {
    positive("schedule.sigma_min", sigma_min)?;
    positive("schedule.sigma_max - sigma_min", sigma_max - sigma_min)?;
    let [max, min] = [sigma_min, sigma_max].map(|sigma| -2.0 * sigma.ln());
    for (field, sigma, log_snr) in
        [("schedule.sigma_min", sigma_min, max), ("schedule.sigma_max", sigma_max, min)]
    {
        let legal = log_snr.abs() <= LogSnrRange::LARGEST;
        require(legal, field, sigma, "use one whose log-SNR is no further than 1400 from 0")?;
    }
    LogSnrRange::new(max, min)
}

/// `σ_t = (σ_min^{1/ρ}(1 − t) + σ_max^{1/ρ} t)^ρ` of EDM's noise scale `σ = e^{−λ/2}`: the sampling
/// schedule of Karras et al. 2022.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawKarras", into = "RawKarras")]
pub struct Karras {
    raw: RawKarras,
    range: LogSnrRange,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct RawKarras {
    sigma_min: f64,
    sigma_max: f64,
    #[serde(default = "usual_rho")]
    rho: f64,
}

fn usual_rho() -> f64 {
    7.0
}

built_from!(Karras from RawKarras { sigma_min, sigma_max, rho });

impl Karras {
    /// 0.002, 80 and 7 in the paper; a larger `rho` takes shorter steps at low noise.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `0 < sigma_min < sigma_max` and `rho > 0`, all finite;
    /// [`Error::ScheduleRange`] if the two scales are so close that they are one level;
    /// [`Error::ScheduleShape`] if double precision has no such schedule.
    pub fn new(sigma_min: f64, sigma_max: f64, rho: f64) -> Result<Self, Error> {
        let range = levels(sigma_min, sigma_max)?;
        positive("schedule.rho", rho)?;
        sound(Self { raw: RawKarras { sigma_min, sigma_max, rho }, range })
    }

    /// `σ_min^{1/ρ}` and `σ_max^{1/ρ}`.
    fn roots(self) -> [f64; 2] {
        [self.raw.sigma_min, self.raw.sigma_max].map(|sigma| sigma.powf(self.raw.rho.recip()))
    }
}

impl Curve for Karras {
    fn ends(&self) -> LogSnrRange {
        self.range
    }
    fn at<C: Scalar>(&self, at: &Time<C>) -> C {
        let [min, max] = self.roots();
        let root = at.t.lift(min) * at.rest + at.t.lift(max) * at.t;
        root.lift(-2.0 * self.raw.rho) * root.ln()
    }
    fn inverse<C: Scalar>(&self, log_snr: &C) -> Time<C> {
        let [min, max] = self.roots().map(|root| log_snr.lift(root));
        let root = (*log_snr / log_snr.lift(-2.0 * self.raw.rho)).exp();
        Time { t: (root - min) / (max - min), rest: (max - root) / (max - min) }
    }
}

/// `σ_t = σ_min (σ_max/σ_min)^{t^ρ}` of EDM's noise scale: `λ` is linear in `t^ρ`. The "polyexponential"
/// sampling grid of k-diffusion.
///
/// With `ρ = 1` it is [`Schedule::geometric`](super::Schedule::geometric); a larger `ρ` takes shorter
/// steps at low noise, as [`Karras`] does. Unless `ρ = 1` the slope at `t = 0` is 0 or infinite.
///
/// ```
/// use vdm_core::NoiseSchedule;
/// use vdm_core::schedule::Polyexponential;
/// let schedule = Polyexponential::new(0.01, 100.0, 2.0)?;
/// // Half of the time for a quarter of the four decades.
/// assert!((schedule.log_snr(0.5).edm_sigma() - 0.1).abs() < 1e-15);
/// # Ok::<(), vdm_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawPolyexponential", into = "RawPolyexponential")]
pub struct Polyexponential {
    raw: RawPolyexponential,
    range: LogSnrRange,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct RawPolyexponential {
    sigma_min: f64,
    sigma_max: f64,
    rho: f64,
}

built_from!(Polyexponential from RawPolyexponential { sigma_min, sigma_max, rho });

impl Polyexponential {
    /// From the least and the greatest noise scale.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `0 < sigma_min < sigma_max` and `rho > 0`, all finite;
    /// [`Error::ScheduleRange`] if the two scales are so close that they are one level;
    /// [`Error::ScheduleShape`] if double precision has no such schedule.
    pub fn new(sigma_min: f64, sigma_max: f64, rho: f64) -> Result<Self, Error> {
        let range = levels(sigma_min, sigma_max)?;
        positive("schedule.rho", rho)?;
        sound(Self { raw: RawPolyexponential { sigma_min, sigma_max, rho }, range })
    }
}

impl Curve for Polyexponential {
    fn ends(&self) -> LogSnrRange {
        self.range
    }
    fn at<C: Scalar>(&self, at: &Time<C>) -> C {
        let (max, fall) = (self.range.max(), self.range.max() - self.range.min());
        at.t.lift(max) - at.t.lift(fall) * at.t.powf(self.raw.rho)
    }
    fn inverse<C: Scalar>(&self, log_snr: &C) -> Time<C> {
        let [max, min] = [self.range.max(), self.range.min()].map(|end| log_snr.lift(end));
        let (done, left) = ((max - *log_snr) / (max - min), (*log_snr - min) / (max - min));
        let power = self.raw.rho.recip();
        // 1 − (1 − left)^power
        let rest = -(left.lift(power) * (-left).ln_1p()).exp_m1();
        Time { t: done.powf(power), rest }
    }
}
