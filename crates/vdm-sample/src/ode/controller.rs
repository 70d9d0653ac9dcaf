//! From the error of a step to whether it stands, and to the length of the next.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use vdm_core::setting::{InvalidSetting, finite, require};

/// What an adaptive solver does after a step that it has tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// Whether the step is taken, or else tried again.
    pub accepted: bool,
    /// What its length is multiplied by to give that of the next step to try.
    pub factor: f64,
}

/// How an adaptive solver chooses its steps; [`PidController`] unless another is set.
///
/// ```
/// use vdm_sample::ode::{AdaptiveOde, Decision, StepController};
///
/// /// Halves a step that is too long, and doubles one that is far too short.
/// #[derive(Debug)]
/// struct Doubling;
///
/// impl StepController for Doubling {
///     type Memory = ();
///     fn decide(&self, error: f64, power: f64, (): &mut ()) -> Decision {
///         let factor = if error < 0.5_f64.powf(power) { 2.0 } else { 1.0 };
///         if error <= 1.0 { Decision { accepted: true, factor } } else { Decision { accepted: false, factor: 0.5 } }
///     }
/// }
///
/// let solver = AdaptiveOde::default().with_controller(Doubling);
/// # use vdm_core::{GaussianMixture, LogSnr, Scaling};
/// # let data = GaussianMixture::new(vec![1.0], vec![vec![0.5]], vec![1.0])?;
/// # let (noise, clean) = (LogSnr::new(-10.0), LogSnr::new(10.0));
/// # let vp = Scaling::VariancePreserving;
/// # let ends = solver.solve_each(&data, vec![vec![1.3_f64]], noise, clean, vp)?;
/// # assert!((ends[0].latent[0] - 1.3 - 0.5 * (1.0 - 2.0 * vp.level(-10.0_f64).alpha)).abs() < 0.01);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait StepController: Debug {
    /// What is remembered of one sample's steps.
    type Memory: Debug + Default;

    /// What follows from a step whose `error` is finite and in units of what is tolerated, and grows
    /// as the `power` of its length.
    fn decide(&self, error: f64, power: f64, memory: &mut Self::Memory) -> Decision;

    /// That its own numbers make sense.
    ///
    /// # Errors
    /// [`InvalidSetting`] naming the first that does not.
    fn check(&self) -> Result<(), InvalidSetting> {
        Ok(())
    }
}

/// Proportional–integral–derivative control of the step size (Gustafsson 1991; Söderlind 2003), as in
/// diffrax and torchode: the next step follows from the errors of the last three, which damps the
/// see-saw of steps that each forget those before.
///
/// ```text
/// f = safety · e_n^{−(P+I+D)/k} e_{n−1}^{(P+2D)/k} e_{n−2}^{−D/k}
/// ```
///
/// with `e` the error over its tolerance and `e ∝ h^k`. The next step is `f·h`, within bounds that the
/// [`Limiter`] sets. A step that is refused is tried again with `f = safety · e_n^{−1/k}`: its own error
/// says all there is to know.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PidController {
    /// Weight `P` of the change of the error.
    pub proportional: f64,
    /// Weight `I` of the error.
    pub integral: f64,
    /// Weight `D` of the change of its change.
    pub derivative: f64,
    /// What the ideal step is multiplied by, `0 < safety ≤ 1`.
    pub safety: f64,
    /// How far the next step may differ, and which errors are accepted.
    pub limiter: Limiter,
}

/// How far the next step may differ from the last, and which steps stand.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Limiter {
    /// A step stands if its error is tolerated. The next one's factor is cut off at both ends: not below
    /// `least` (half of it after a step that is refused), nor above `most`, nor above 1 right after a step
    /// that was refused.
    Clip {
        /// The least factor, `0 < least < 1`.
        least: f64,
        /// The greatest, `> 1`.
        most: f64,
    },
    /// The factor is `1 + atan(f − 1)`, smooth and between −0.6 and 2.6, and a step stands if its
    /// factor is at least `accept`, even if its error is a little above what is tolerated (Söderlind and
    /// Wang 2006).
    Smooth {
        /// The least factor of a step that stands, `0 < accept < 1`.
        accept: f64,
    },
}

impl Default for PidController {
    /// Hairer and Wanner's (1996, §IV.2), for Runge–Kutta pairs: exponents `β = 0.2/k` and `1/k − ¾β`.
    fn default() -> Self {
        Self {
            proportional: 0.2,
            integral: 0.65,
            derivative: 0.0,
            safety: 0.9,
            limiter: Limiter::Clip { least: 0.2, most: 5.0 },
        }
    }
}

impl PidController {
    /// That of k-diffusion's `dpm_adaptive`: the error of the last step alone, smoothly limited.
    pub const DPM_SOLVER: Self = Self {
        proportional: 0.0,
        integral: 1.0,
        derivative: 0.0,
        safety: 1.0,
        limiter: Limiter::Smooth { accept: 0.81 },
    };
}

/// Below this an error is as good as none; it keeps powers finite.
const NEGLIGIBLE: f64 = 1e-8;

/// The least error that is remembered: smaller ones would stop the step after the next.
const LEAST_REMEMBERED: f64 = 1e-4;

/// What a [`PidController`] remembers of one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PidMemory {
    /// Errors of the last two accepted steps, newest first.
    errors: [f64; 2],
    /// Whether the last step was refused.
    refused: bool,
}

impl Default for PidMemory {
    fn default() -> Self {
        Self { errors: [1.0; 2], refused: false }
    }
}

impl StepController for PidController {
    type Memory = PidMemory;

    fn decide(&self, error: f64, power: f64, memory: &mut PidMemory) -> Decision {
        let Self { proportional: p, integral: i, derivative: d, safety, limiter } = *self;
        let error = error.max(NEGLIGIBLE);
        let [newer, older] = memory.errors;
        let ideal = safety
            * error.powf(-(p + i + d) / power)
            * newer.powf((p + 2.0 * d) / power)
            * older.powf(-d / power);
        let again = safety * error.powf(-1.0 / power);
        let decision = match limiter {
            Limiter::Clip { least, most } if error <= 1.0 => {
                let most = if memory.refused { 1.0 } else { most };
                Decision { accepted: true, factor: ideal.clamp(least, most) }
            }
            Limiter::Clip { least, .. } => {
                Decision { accepted: false, factor: again.clamp(0.5 * least, safety) }
            }
            Limiter::Smooth { accept } => {
                let smooth = |ideal: f64| 1.0 + (ideal - 1.0).atan();
                let accepted = smooth(ideal) >= accept;
                Decision { accepted, factor: smooth(if accepted { ideal } else { again }) }
            }
        };
        if decision.accepted {
            memory.errors = [error.max(LEAST_REMEMBERED), newer];
        }
        memory.refused = !decision.accepted;
        decision
    }

    fn check(&self) -> Result<(), InvalidSetting> {
        let Self { proportional, integral, derivative, safety, limiter } = *self;
        finite("proportional", proportional)?;
        finite("integral", integral)?;
        finite("derivative", derivative)?;
        let legal = safety > 0.0 && safety <= 1.0;
        require(legal, "safety", safety, "use a factor above 0 and at most 1")?;
        let within = |field, value: f64| {
            require(value > 0.0 && value < 1.0, field, value, "use a factor above 0 and below 1")
        };
        match limiter {
            Limiter::Clip { least, most } => {
                within("least", least)?;
                let legal = most.is_finite() && most > 1.0;
                require(legal, "most", most, "use a finite factor above 1")
            }
            Limiter::Smooth { accept } => within("accept", accept),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step whose error obeys `e = (h/h*)^k` settles just below `h*`, from far on either side.
    #[test]
    fn steps_settle_below_the_tolerance() {
        for (k, start) in [(3.0, 1e-6), (5.0, 1e4), (8.0, 0.01)] {
            let (control, mut memory) = (PidController::default(), PidMemory::default());
            let (mut h, mut refused) = (start, 0);
            for _ in 0..60 {
                let Decision { accepted, factor } = control.decide(f64::powf(h, k), k, &mut memory);
                h *= factor;
                refused += usize::from(!accepted);
            }
            // The fixed point of the rule, e = 0.9^{k/0.65}.
            let settled = control.safety.powf(1.0 / control.integral);
            assert!((h / settled - 1.0).abs() < 0.01, "{k}: {h}, not {settled}");
            assert!(refused < 8, "{k}: {refused}");
        }
    }

    #[test]
    fn factors_are_bounded_and_a_cut_step_does_not_grow_at_once() {
        let mut memory = PidMemory::default();
        let mut decide = |error| PidController::default().decide(error, 5.0, &mut memory);
        assert_eq!(decide(0.0), Decision { accepted: true, factor: 5.0 });
        assert_eq!(decide(1e30), Decision { accepted: false, factor: 0.1 });
        assert_eq!(decide(1e-12), Decision { accepted: true, factor: 1.0 });
        assert!(decide(1e-12).factor > 1.0);
    }

    /// The update of k-diffusion's `PIDStepSizeController` with weights 0, 1 and 0, `1 + atan(e^{−1/k} − 1)`,
    /// and its threshold of 0.81.
    #[test]
    fn the_controller_of_dpm_solver_is_that_of_k_diffusion() {
        let control = PidController::DPM_SOLVER;
        for (error, k) in [(0.01, 2.0), (0.7, 3.0), (1.5, 2.0), (1.9, 3.0), (2.0, 2.0), (40.0, 3.0)]
        {
            let factor = 1.0 + (f64::powf(1.0 / error, 1.0 / k) - 1.0).atan();
            let decision = control.decide(error, k, &mut PidMemory::default());
            assert!((decision.factor - factor).abs() < 1e-15, "{error}: {decision:?}");
            assert_eq!(decision.accepted, factor >= 0.81, "{error}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        let usual = PidController::default();
        let clip = |least, most| Limiter::Clip { least, most };
        for (control, named) in [
            (PidController { derivative: f64::NAN, ..usual }, "derivative = NaN"),
            (PidController { safety: 2.0, ..usual }, "safety = 2: use a factor above 0"),
            (PidController { limiter: clip(0.0, 5.0), ..usual }, "least = 0"),
            (PidController { limiter: clip(0.2, 1.0), ..usual }, "most = 1"),
            (PidController { limiter: Limiter::Smooth { accept: 1.0 }, ..usual }, "accept = 1"),
        ] {
            let error = control.check().unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        assert_eq!(usual.check(), Ok(()));
        assert_eq!(PidController::DPM_SOLVER.check(), Ok(()));
    }
}
