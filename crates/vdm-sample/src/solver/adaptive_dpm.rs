//! DPM-Solver-12 and -23: steps as long as a tolerance allows.
//!
//! Two updates that share their model calls, of orders `p − 1` and `p`, tell the error of the
//! lower one; a step is taken where that error is within tolerance and tried again, shorter, where
//! it is not. The levels visited are thus a result and no [`TimeGrid`](crate::TimeGrid), which is
//! why this is a function and no [`Solver`](crate::Solver).

use std::error::Error;

use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;
use vdm_core::{Denoiser, NoiseLevel, Scaling};

use super::SlopeWeight;
use super::taylor::Taylor;
use crate::exponential::Predicts;
use crate::ode::rms;
use crate::{InnerProduct, NoNoise, Run, RunError};

/// Below this an error is as good as none; it keeps the controller's powers finite.
const NEGLIGIBLE: f64 = 1e-8;

/// The two updates that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdaptiveOrder {
    /// Orders 1 and 2, two model calls a step.
    Dpm12,
    /// Orders 2 and 3, three model calls a step.
    #[default]
    Dpm23,
}

/// Tolerances and step-size control of [`dpm_adaptive`].
///
/// The error of a step is `rms(z_low − z_high)/δ` with
/// `δ = max(atol, rtol·max(rms(z_low), rms(z_low of the step before)))`: Lu et al. 2022a,
/// appendix C, who take `δ` by component. The next step is `h·(1 + atan(f − 1))` with
/// `f = e_n^{−(P+I+D)/p} e_{n−1}^{(P+2D)/p} e_{n−2}^{−D/p}`, a PID controller (Söderlind 2003).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaptiveDpm {
    /// Which updates.
    pub order: AdaptiveOrder,
    /// What is interpolated between the stages.
    pub predicts: Predicts,
    /// Error allowed in a step, relative to the latent, `≥ 0`.
    pub rtol: f64,
    /// Error allowed in a step in units of the latent, `≥ 0`; not 0 if `rtol` is.
    pub atol: f64,
    /// First step to try, in half log-SNR, `> 0`.
    pub h_init: f64,
    /// Weight `P` of the change of the error.
    pub proportional: f64,
    /// Weight `I` of the error.
    pub integral: f64,
    /// Weight `D` of the change of its change.
    pub derivative: f64,
    /// A step is accepted if the next may be at least this share of it, `0 < safety < 1`.
    pub safety: f64,
}

impl Default for AdaptiveDpm {
    /// Those of Lu et al. 2022a for images in `[−1, 1]`: `atol` is one of 256 grey levels.
    fn default() -> Self {
        Self {
            order: AdaptiveOrder::Dpm23,
            predicts: Predicts::Noise,
            rtol: 0.05,
            atol: 0.0078,
            h_init: 0.05,
            proportional: 0.0,
            integral: 1.0,
            derivative: 0.0,
            safety: 0.81,
        }
    }
}

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AdaptiveReport {
    /// Steps taken.
    pub accepted: usize,
    /// Steps tried and found too long.
    pub rejected: usize,
    /// Model calls, those of rejected steps included.
    pub calls: usize,
}

/// What ends an adaptive run early.
#[derive(Debug, ThisError)]
pub enum AdaptiveError<E: Error + 'static> {
    /// The model reports a fault.
    #[error(transparent)]
    Run(#[from] RunError<E>),
    /// An end where log-SNR is infinite.
    #[error(
        "adaptive steps need finite ends, but these run from log-SNR {from} to {to}: start a \
         little below pure noise and end at a small sigma, then take one ddim step from there"
    )]
    InfiniteEnds {
        /// `λ` at the start.
        from: f64,
        /// `λ` at the end.
        to: f64,
    },
    /// The end is not cleaner than the start.
    #[error("log-SNR must rise from the first level to the last, but goes from {from} to {to}")]
    NotRising {
        /// `λ` at the start.
        from: f64,
        /// `λ` at the end.
        to: f64,
    },
    /// An option out of its range.
    #[error("adaptive steps need {field} to be {wanted}, got {value}")]
    Option {
        /// The name of the option.
        field: &'static str,
        /// Its value.
        value: f64,
        /// The condition that failed.
        wanted: &'static str,
    },
    /// The model's answers, or the latents made of them, are no numbers.
    #[error(
        "the error of a step from log-SNR {log_snr} is {found}: look for an overflow in the model's \
         output, or for a latent of 0 where atol is 0"
    )]
    NotFinite {
        /// `λ` where the step started.
        log_snr: f64,
        /// The error found.
        found: f64,
    },
    /// No step is short enough.
    #[error(
        "no step from log-SNR {log_snr} meets the tolerances: loosen rtol or atol, or look for a \
         jump in the model there"
    )]
    StepTooShort {
        /// `λ` where steps became too short to change it.
        log_snr: f64,
    },
}

/// Takes `z1`, a latent at level `from`, to the cleaner level `to` along the probability-flow ODE,
/// in steps that `options` bounds; `scaling` is that of the levels between.
///
/// All of `z1` takes the same steps: for a batch, those of its average member. Lu et al. 2022a,
/// appendix C.
///
/// ```
/// use vdm_core::{GaussianMixture, Scaling};
/// use vdm_sample::{AdaptiveDpm, dpm_adaptive};
///
/// let data = GaussianMixture::new(vec![0.5, 0.5], vec![vec![-2.0], vec![2.0]], vec![0.1, 0.1])?;
/// let vp = Scaling::VariancePreserving;
/// let (noise, nearly_clean) = (vp.level(-10.0), vp.level(10.0));
/// let options = AdaptiveDpm::default();
/// let (x, report) = dpm_adaptive(&data, vec![0.7_f64], noise, nearly_clean, vp, &options)?;
/// assert!((x[0] - 2.0).abs() < 0.5 && report.accepted > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`AdaptiveError`]; among them an end at `σ = 0`, which no step of finite length reaches.
pub fn dpm_adaptive<Z: InnerProduct, D: Denoiser<Z> + ?Sized>(
    model: &D,
    z1: Z,
    from: NoiseLevel,
    to: NoiseLevel,
    scaling: Scaling,
    options: &AdaptiveDpm,
) -> Result<(Z, AdaptiveReport), AdaptiveError<D::Error>> {
    options.check()?;
    check_ends(&from, &to)?;
    let mut no_noise = NoNoise;
    let mut run = Run::new(model, &mut no_noise);
    let mut control = StepControl::new(options);
    let mut report = AdaptiveReport::default();
    let (mut z, mut t, mut size_before) = (z1, from, 0.0);
    while t.log_snr < to.log_snr {
        let m_t = run.predict_as(options.predicts.parameterization(), &z, &t)?;
        report.calls += 1;
        // A rejected step starts again from the same prediction.
        (z, t) = loop {
            let s = control.next_level(&t, &to, scaling)?;
            let (low, high) = options.pair(&mut run, scaling, (&z, &m_t), &t, &s)?;
            report.calls += options.stages() - 1;
            let size = rms(&low);
            let delta = options.atol.max(options.rtol * size.max(size_before));
            let difference = run.lincomb(&[(1.0, &low), (-1.0, &high)]);
            let error = rms(&difference) / delta;
            [low, difference].into_iter().for_each(|buffer| run.recycle(buffer));
            if control.accepts(error, &t, &s)? {
                report.accepted += 1;
                size_before = size;
                break (high, s);
            }
            report.rejected += 1;
            run.recycle(high);
        };
        run.recycle(m_t);
    }
    Ok((z, report))
}

fn check_ends<E: Error>(from: &NoiseLevel, to: &NoiseLevel) -> Result<(), AdaptiveError<E>> {
    let (from, to) = (from.log_snr, to.log_snr);
    if !(from.is_finite() && to.is_finite()) {
        return Err(AdaptiveError::InfiniteEnds { from, to });
    }
    if from >= to {
        return Err(AdaptiveError::NotRising { from, to });
    }
    Ok(())
}

impl AdaptiveDpm {
    /// That its numbers make sense.
    pub(crate) fn check<E: Error>(&self) -> Result<(), AdaptiveError<E>> {
        let Self { rtol, atol, h_init, proportional, integral, derivative, safety, .. } = *self;
        let positive_tolerance = rtol + atol > 0.0;
        let not_negative = |v: f64| v.is_finite() && v >= 0.0;
        let checks = [
            ("rtol", rtol, not_negative(rtol), "finite and not negative"),
            ("atol", atol, not_negative(atol), "finite and not negative"),
            ("atol", atol, positive_tolerance, "positive where rtol is 0"),
            ("h_init", h_init, h_init.is_finite() && h_init > 0.0, "finite and positive"),
            ("proportional", proportional, proportional.is_finite(), "finite"),
            ("integral", integral, integral.is_finite(), "finite"),
            ("derivative", derivative, derivative.is_finite(), "finite"),
            ("safety", safety, safety > 0.0 && safety < 1.0, "above 0 and below 1"),
        ];
        match checks.into_iter().find(|(_, _, holds, _)| !holds) {
            Some((field, value, _, wanted)) => Err(AdaptiveError::Option { field, value, wanted }),
            None => Ok(()),
        }
    }

    /// Model calls of an update, the order of the better one.
    fn stages(&self) -> usize {
        match self.order {
            AdaptiveOrder::Dpm12 => 2,
            AdaptiveOrder::Dpm23 => 3,
        }
    }

    /// The updates of lower and higher order from `(z_t, m_t)` to `s`.
    fn pair<Z: InnerProduct, D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        scaling: Scaling,
        (z, m): (&Z, &Z),
        t: &NoiseLevel,
        s: &NoiseLevel,
    ) -> Result<(Z, Z), RunError<D::Error>> {
        let at = |r: f64| scaling.level(t.log_snr + r * (s.log_snr - t.log_snr));
        let to = |s: &NoiseLevel| Taylor::between(self.predicts, t, s);
        let midpoint = SlopeWeight::Midpoint;
        let r1 = 1.0 / self.stages() as f64;
        let (whole, u1) = (to(s), at(r1));
        let [a, b] = whole.second(midpoint, r1);
        let z1 = run.lincomb(&[(to(&u1).on_z, z), (to(&u1).first(), m)]);
        let m1 = run.predict_as(self.predicts.parameterization(), &z1, &u1)?;
        run.recycle(z1);
        let second = run.lincomb(&[(whole.on_z, z), (a, m), (b, &m1)]);
        let pair = match self.order {
            AdaptiveOrder::Dpm12 => (run.lincomb(&[(whole.on_z, z), (whole.first(), m)]), second),
            AdaptiveOrder::Dpm23 => {
                let r2 = 2.0 * r1;
                let u2 = at(r2);
                let [a, b] = to(&u2).second(SlopeWeight::Heun, r1 / r2);
                let z2 = run.lincomb(&[(to(&u2).on_z, z), (a, m), (b, &m1)]);
                let m2 = run.predict_as(self.predicts.parameterization(), &z2, &u2)?;
                let [a, b, c] = whole.third(midpoint, r1, r2);
                let third = run.lincomb(&[(whole.on_z, z), (a, m), (b, &m1), (c, &m2)]);
                [z2, m2].into_iter().for_each(|buffer| run.recycle(buffer));
                (second, third)
            }
        };
        run.recycle(m1);
        Ok(pair)
    }
}

/// The step to try next, and the inverse errors it follows from.
struct StepControl {
    h: f64,
    exponents: [f64; 3],
    /// Of the last two accepted steps, newest first.
    before: Option<[f64; 2]>,
    safety: f64,
}

impl StepControl {
    fn new(options: &AdaptiveDpm) -> Self {
        let AdaptiveDpm { proportional: p, integral: i, derivative: d, .. } = *options;
        let order = options.stages() as f64;
        let exponents = [(p + i + d) / order, -(p + 2.0 * d) / order, d / order];
        Self { h: options.h_init, exponents, before: None, safety: options.safety }
    }

    /// The level one step from `t`, at most `end`.
    fn next_level<E: Error>(
        &self,
        t: &NoiseLevel,
        end: &NoiseLevel,
        scaling: Scaling,
    ) -> Result<NoiseLevel, AdaptiveError<E>> {
        let log_snr = t.log_snr + 2.0 * self.h;
        if log_snr == t.log_snr {
            return Err(AdaptiveError::StepTooShort { log_snr });
        }
        Ok(if log_snr < end.log_snr { scaling.level(log_snr) } else { *end })
    }

    /// Whether the step from `t` to `s` stands, given its error; sets the next step's length.
    fn accepts<E: Error>(
        &mut self,
        error: f64,
        t: &NoiseLevel,
        s: &NoiseLevel,
    ) -> Result<bool, AdaptiveError<E>> {
        let inverse = 1.0 / error.max(NEGLIGIBLE);
        let [newer, older] = self.before.unwrap_or([inverse; 2]);
        let powers = [inverse, newer, older].into_iter().zip(self.exponents);
        let ideal: f64 = powers.map(|(error, exponent)| error.powf(exponent)).product();
        let factor = 1.0 + (ideal - 1.0).atan();
        if !(error.is_finite() && factor.is_finite()) {
            return Err(AdaptiveError::NotFinite { log_snr: t.log_snr, found: error });
        }
        let accepted = factor >= self.safety;
        if accepted {
            self.before = Some([inverse, newer]);
        }
        // The step tried is shorter than `h` where it would have passed the end.
        self.h = factor * 0.5 * (s.log_snr - t.log_snr);
        Ok(accepted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::convert::Infallible;
    use vdm_core::{Counted, FromFn, GaussianMixture, Parameterization, Prediction};

    const VP: Scaling = Scaling::VariancePreserving;

    fn mixture() -> GaussianMixture {
        let means = vec![vec![-1.0, 0.5], vec![0.8, 0.8], vec![0.2, -1.1]];
        GaussianMixture::new(vec![0.3, 0.5, 0.2], means, vec![0.3, 0.2, 0.25]).unwrap()
    }

    fn run(options: &AdaptiveDpm) -> (Vec<f64>, AdaptiveReport) {
        let model = Counted::new(mixture());
        let z1 = vec![0.4, -0.9];
        let (x, report) =
            dpm_adaptive(&model, z1, VP.level(-8.0), VP.level(8.0), VP, options).unwrap();
        assert_eq!(report.calls, model.calls(), "{options:?}");
        (x, report)
    }

    /// Every step's error is held to the tolerance, so the end point's follows it: below three times
    /// it over four decades here (measured: at most 1.1 times), and cheaper the looser it is.
    #[test]
    fn error_falls_with_the_tolerance() {
        for order in [AdaptiveOrder::Dpm12, AdaptiveOrder::Dpm23] {
            for predicts in [Predicts::Image, Predicts::Noise] {
                let options = |rtol| AdaptiveDpm {
                    order,
                    predicts,
                    rtol,
                    atol: rtol,
                    ..AdaptiveDpm::default()
                };
                let truth = run(&options(1e-9)).0;
                let mut calls_before = 0;
                for rtol in [1e-2, 1e-3, 1e-4, 1e-5, 1e-6] {
                    let (x, report) = run(&options(rtol));
                    let error = (x[0] - truth[0]).hypot(x[1] - truth[1]);
                    assert!(error < 3.0 * rtol, "{order:?} {predicts:?} {rtol}: {error}");
                    assert!(report.calls > calls_before, "{order:?} {predicts:?} {rtol}");
                    calls_before = report.calls;
                }
            }
        }
    }

    /// A first step far too long is tried again from the same prediction: each rejected attempt
    /// costs one call less than an accepted one.
    #[test]
    fn rejected_steps_are_counted_and_keep_their_first_call() {
        let options = AdaptiveDpm { h_init: 100.0, ..AdaptiveDpm::default() };
        let (_, report) = run(&options);
        assert!(report.rejected > 0, "{report:?}");
        assert_eq!(report.calls, 3 * report.accepted + 2 * report.rejected);
    }

    #[test]
    fn the_third_order_pair_is_cheaper_at_small_tolerances() {
        let calls = |order| {
            run(&AdaptiveDpm { order, rtol: 1e-6, atol: 1e-6, ..AdaptiveDpm::default() }).1.calls
        };
        assert!(calls(AdaptiveOrder::Dpm23) < calls(AdaptiveOrder::Dpm12));
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_its_remedy() {
        let try_run = |from, to, options: AdaptiveDpm| {
            dpm_adaptive(&mixture(), vec![0.4, -0.9], VP.level(from), VP.level(to), VP, &options)
                .unwrap_err()
                .to_string()
        };
        let usual = AdaptiveDpm::default();
        let clean = try_run(-8.0, f64::INFINITY, usual);
        assert!(clean.contains("end at a small sigma, then take one ddim step"), "{clean}");
        let noise = try_run(f64::NEG_INFINITY, 8.0, usual);
        assert!(noise.contains("start a little below pure noise"), "{noise}");
        assert!(try_run(8.0, -8.0, usual).contains("from 8 to -8"));
        let zero = try_run(-8.0, 8.0, AdaptiveDpm { rtol: 0.0, atol: 0.0, ..usual });
        assert!(zero.contains("atol to be positive where rtol is 0, got 0"), "{zero}");
        let safety = try_run(-8.0, 8.0, AdaptiveDpm { safety: 1.0, ..usual });
        assert!(safety.contains("safety to be above 0 and below 1, got 1"), "{safety}");
        let nan = try_run(-8.0, 8.0, AdaptiveDpm { derivative: f64::NAN, ..usual });
        assert!(nan.contains("derivative"), "{nan}");
    }

    /// A model that overflows, and one that answers anew at every call: both end, with an error.
    #[test]
    fn hopeless_models_end_the_run() {
        let try_run = |answer: &dyn Fn() -> f64| {
            let image = |value| Prediction { value, of: Parameterization::Image };
            let model = FromFn(|_: &f64, _: &NoiseLevel| Ok::<_, Infallible>(image(answer())));
            dpm_adaptive(&model, 0.3, VP.level(-4.0), VP.level(4.0), VP, &AdaptiveDpm::default())
        };
        let nan = try_run(&|| f64::NAN);
        assert!(matches!(nan, Err(AdaptiveError::NotFinite { .. })), "{nan:?}");
        let sign = Cell::new(1e30);
        let jumping = try_run(&|| sign.replace(-sign.get()));
        assert!(matches!(jumping, Err(AdaptiveError::StepTooShort { .. })), "{jumping:?}");
    }
}
