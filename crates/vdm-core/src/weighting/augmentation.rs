//! The noise that a monotone weight stands for.

use super::Weighting;
use crate::schedule::bisect;
use crate::{Error, LogSnr, NoiseSchedule};

/// `p_w(t)`: the distribution of noise levels under which a weighted loss is the plain bound on noisy data.
///
/// With `L(t; x) = KL(q(z_{t…1}|x) ‖ p(z_{t…1}))` the weighted loss is, by parts,
///
/// ```text
/// L_w(x) = w(λ_max) L(0; x) + ∫₀¹ L(t; x) dw(λ_t) − w(λ_min) L(1; x)
///        = w(λ_min) E_{t ~ p_w}[L(t; x)] − const
/// ```
///
/// so if `w` does not rise with `λ`, then scaled to 1 at its largest it is the distribution function
/// of `t`, and since `L(t; x)` is the negative bound on `z_t` but for an entropy, training minimizes
/// the bound on data noised to a random `t ~ p_w`. Monograph §2.4.4, with three corrections:
///
/// - `w(λ_t)` is the integral of its derivative from 0 to `t`, not to `λ_t`, plus `w(λ_max)` (E5).
/// - That constant is a [point mass](Self::point_mass) at `t = 0`. It weighs `L(0; x)`, which depends
///   on the model and is not small: for `w ≡ 1` it is the whole loss (E6).
/// - `L(1; x) = KL(q(z_1|x) ‖ p(z_1))` is part of `L(t; x)` for every `t`, and what the constant takes
///   away (E11).
///
/// In `T` discrete steps the sum by parts puts the mass `F(1/T)` on `t = 0` and
/// `F((i + 1)/T) − F(i/T)` on `t = i/T`, with `F` the same [`cdf`](Self::cdf): the distribution of `t ~ p_w`
/// moved down to the next point of the grid.
///
/// ```
/// use vdm_core::weighting::Augmentation;
/// use vdm_core::{Schedule, Weighting};
/// let schedule = Schedule::cosine(10.0, -10.0)?;
/// // The bound itself adds no noise.
/// assert_eq!(Augmentation::new(Weighting::Elbo, &schedule)?.point_mass(), 1.0);
/// let noise = Augmentation::new(Weighting::Sigmoid { bias: 0.0 }, &schedule)?;
/// assert!(noise.point_mass() < 1e-4);
/// assert!((noise.time(0.5) - 0.5).abs() < 1e-4); // half of the data is noised beyond λ = 0
/// // A weight that rises has no such distribution.
/// assert!(Augmentation::new(Weighting::MinSnr { gamma: 5.0 }, &schedule).is_err());
/// # Ok::<(), vdm_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Augmentation<'a> {
    weighting: Weighting,
    schedule: &'a dyn NoiseSchedule,
    /// `ln w(λ_min)`, at the largest weight.
    log_peak: f64,
}

impl<'a> Augmentation<'a> {
    /// Of a weighting over the levels of a schedule.
    ///
    /// # Errors
    /// [`Error::NotMonotone`] naming the levels between which the weight rises most;
    /// [`Error::ScheduleRange`] if an end of the schedule is infinite; [`Error::Setting`] if the
    /// weighting is not [`checked`](Weighting::checked).
    pub fn new(weighting: Weighting, schedule: &'a dyn NoiseSchedule) -> Result<Self, Error> {
        let range = schedule.range();
        let rises = weighting.rises(range, schedule)?;
        if let Some(rise) = rises.iter().max_by(|a, b| a.mass.total_cmp(&b.mass)) {
            return Err(Error::NotMonotone {
                from: rise.levels.min(),
                to: rise.levels.max(),
                mass: rises.iter().map(|rise| rise.mass).sum(),
            });
        }
        let log_peak = weighting.log_at(LogSnr::new(range.min()), schedule);
        Ok(Self { weighting, schedule, log_peak })
    }

    /// The probability of no noise beyond that of `t = 0`, `w(λ_max)/w(λ_min)`.
    #[must_use]
    pub fn point_mass(&self) -> f64 {
        self.cdf(0.0)
    }

    /// `F(t) = w(λ_t)/w(λ_min)`, the probability of at most the noise of `t`; it begins with the
    /// [`point_mass`](Self::point_mass) at `t = 0`.
    #[must_use]
    pub fn cdf(&self, t: f64) -> f64 {
        if t < 0.0 {
            return 0.0;
        }
        (self.weighting.log_at(self.schedule.log_snr(t), self.schedule) - self.log_peak).exp()
    }

    /// `p_w(t) = d/dt w(λ_t)/w(λ_min)` for `t` in `(0, 1]`, per unit of time; it integrates to
    /// 1 less the [`point_mass`](Self::point_mass).
    #[must_use]
    pub fn density(&self, t: f64) -> f64 {
        let log_slope = self.weighting.log_slope(self.schedule.log_snr(t), self.schedule);
        self.cdf(t) * log_slope * self.schedule.slope(t)
    }

    /// The smallest `t` with `F(t) ≥ u`: applied to uniform numbers it draws from `p_w`.
    #[must_use]
    pub fn time(&self, u: f64) -> f64 {
        if u <= self.point_mass() { 0.0 } else { bisect(0.0, 1.0, |t| self.cdf(t) < u) }
    }
}
