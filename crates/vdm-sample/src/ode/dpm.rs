//! DPM-Solver-12 and -23: steps in log-SNR as long as a tolerance allows.
//!
//! Two updates that share their model calls, of orders `p − 1` and `p`, tell the error of the lower one.

use serde::{Deserialize, Serialize};
use vdm_core::count::{Cost, TooMany, bounded};
use vdm_core::setting::{InvalidSetting, at_least_one, non_negative, positive, require};
use vdm_core::{Denoiser, Latent, NoiseLevel, Scaling};

use super::batch::BatchSolve;
use super::controller::{PidController, StepController};
use super::embedded::{Embedded, Trial};
use super::field::Predicted;
use super::sample::{Pace, SampleState};
use super::state::{State, rms};
use crate::exponential::PredictionForm;
use crate::solver::{Properties, Run, Solver, SolverType, Step, Taylor};
use crate::{InnerProduct, SolveError};

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

/// DPM-Solver-12 or -23 to a tolerance, for each sample of a latent alone.
///
/// The error of a step from `z` is `rms(z_low − z_high)/δ` with `δ = max(atol, rtol·max(rms(z_low),
/// rms(z)))`: Lu et al. 2022a, appendix C, who take `δ` by component. Steps are chosen by the `controller`.
/// What becomes of a sample does not depend on the others. As a [`Solver`] it takes as many steps as it
/// needs between two levels of a grid; both must be finite.
///
/// ```
/// use vdm_core::{GaussianMixture, Scaling, Schedule};
/// use vdm_sample::ode::AdaptiveDpm;
/// use vdm_sample::{NoNoise, TimeGrid, solve};
///
/// let data = GaussianMixture::new(vec![0.5, 0.5], vec![vec![-2.0], vec![2.0]], vec![0.1, 0.1])?;
/// let schedule = Schedule::cosine(10.0, -10.0)?;
/// let whole_way = TimeGrid::uniform_time(1, &schedule, Scaling::VariancePreserving)?;
/// let solver = AdaptiveDpm::default();
/// let end = solve(&solver, &data, vec![0.7_f64], &whole_way, &mut NoNoise, |_, _, _| ())?;
/// assert!((end.latent[0] - 2.0).abs() < 0.5 && end.statistics.accepted > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[serde(bound(deserialize = "C: Deserialize<'de>, AdaptiveDpm<C>: Default"))]
pub struct AdaptiveDpm<C = PidController> {
    /// Which updates.
    pub order: AdaptiveOrder,
    /// What is interpolated between the stages.
    pub prediction: PredictionForm,
    /// Error allowed in a step, relative to the latent, `≥ 0`.
    pub rtol: f64,
    /// Error allowed in a step in units of the latent, `≥ 0`; not 0 if `rtol` is.
    pub atol: f64,
    /// First step to try, in half log-SNR, `> 0`.
    pub h_init: f64,
    /// Most steps of one sample between two levels of a grid, refused ones included, 1 to 10^6.
    pub max_steps: usize,
    /// How long steps are.
    pub controller: C,
}

impl Default for AdaptiveDpm {
    /// Those of Lu et al. 2022a for images in `[−1, 1]`: `atol` is one of 256 grey levels.
    fn default() -> Self {
        Self {
            order: AdaptiveOrder::Dpm23,
            prediction: PredictionForm::Noise,
            rtol: 0.05,
            atol: 0.0078,
            h_init: 0.05,
            max_steps: 10_000,
            controller: PidController::DPM_SOLVER,
        }
    }
}

impl<C: StepController> AdaptiveDpm<C> {
    /// That its numbers make sense.
    pub(crate) fn check<E: From<InvalidSetting> + From<TooMany>>(&self) -> Result<(), E> {
        let Self { rtol, atol, h_init, max_steps, .. } = *self;
        bounded("max_steps", max_steps, Cost::Calls)?;
        non_negative("rtol", rtol)?;
        non_negative("atol", atol)?;
        require(rtol + atol > 0.0, "atol", atol, "use a tolerance above 0 where rtol is 0")?;
        positive("h_init", h_init)?;
        at_least_one("max_steps", max_steps)?;
        Ok(self.controller.check()?)
    }

    /// Model calls of an update, the order of the better one.
    fn calls(&self) -> usize {
        match self.order {
            AdaptiveOrder::Dpm12 => 2,
            AdaptiveOrder::Dpm23 => 3,
        }
    }
}

/// The pair as the loop sees it; its coordinate is log-SNR.
#[derive(Debug)]
struct DpmPair<'a, C> {
    solver: &'a AdaptiveDpm<C>,
    scaling: Scaling,
}

impl<C: StepController> DpmPair<'_, C> {
    /// The share of the step at which the second model call is made.
    fn r1(&self) -> f64 {
        1.0 / self.solver.calls() as f64
    }

    /// The level at a share of the step.
    fn at<Z>(&self, trial: &Trial<'_, Z>, share: f64) -> NoiseLevel {
        self.scaling.level(trial.from + share * trial.step)
    }

    /// The update from the start of the step to a level.
    fn to<Z>(&self, trial: &Trial<'_, Z>, s: &NoiseLevel) -> Taylor {
        Taylor::between(self.solver.prediction, &self.at(trial, 0.0), s)
    }
}

/// `on_z·z + Σ cᵢ mᵢ`.
fn update<Z: Latent>(on_z: f64, weights: &[f64], trial: &Trial<'_, Z>) -> Z {
    let predictions = weights.iter().zip(trial.rates).map(|(c, m)| (*c, &m.latent));
    let terms: Vec<_> = [(on_z, &trial.state.latent)].into_iter().chain(predictions).collect();
    Z::lincomb(&terms)
}

impl<Z: InnerProduct, C: StepController> Embedded<Z> for DpmPair<'_, C> {
    fn power(&self) -> f64 {
        self.solver.calls() as f64
    }

    fn stages(&self) -> usize {
        self.solver.calls()
    }

    fn first_same_as_last(&self) -> bool {
        false
    }

    fn level(&self, at: f64) -> NoiseLevel {
        self.scaling.level(at)
    }

    fn stage(&self, trial: &Trial<'_, Z>) -> (Z, NoiseLevel) {
        let (stage, r1) = (trial.rates.len(), self.r1());
        let at = self.at(trial, stage as f64 * r1);
        let z = match stage {
            0 => update(1.0, &[], trial),
            1 => {
                let to = self.to(trial, &at);
                update(to.on_z, &[to.first()], trial)
            }
            _ => {
                let to = self.to(trial, &at);
                update(to.on_z, &to.second(SolverType::Heun, 0.5), trial)
            }
        };
        (z, at)
    }

    fn finish(&self, trial: &Trial<'_, Z>) -> (State<Z>, f64) {
        let (whole, r1) = (self.to(trial, &self.at(trial, 1.0)), self.r1());
        let midpoint = SolverType::Midpoint;
        let second = update(whole.on_z, &whole.second(midpoint, r1), trial);
        let (low, high) = match self.solver.order {
            AdaptiveOrder::Dpm12 => (update(whole.on_z, &[whole.first()], trial), second),
            AdaptiveOrder::Dpm23 => {
                (second, update(whole.on_z, &whole.third(midpoint, r1, 2.0 * r1), trial))
            }
        };
        let size = rms(&low).max(rms(&trial.state.latent));
        let tolerated = self.solver.atol.max(self.solver.rtol * size);
        let error = rms(&Z::lincomb(&[(1.0, &low), (-1.0, &high)])) / tolerated;
        (State::of(high), error)
    }
}

impl<Z: InnerProduct, C: StepController> Solver<Z> for AdaptiveDpm<C> {
    type Memory = Vec<Pace<C::Memory>>;

    /// Calls are those of one step between two levels, the least there can be.
    fn properties(&self) -> Properties {
        let calls = self.calls();
        Properties { order: calls as u32, calls_per_step: calls, stochastic: false }
    }

    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        memory: &mut Self::Memory,
    ) -> Result<Z, SolveError<D::Error>> {
        self.check::<SolveError<D::Error>>()?;
        let [from, to] = [step.from.log_snr, step.to.log_snr];
        if !(from.is_finite() && to.is_finite()) {
            return Err(SolveError::InfiniteEnds { from, to });
        }
        let first = || Pace { length: 2.0 * self.h_init, memory: C::Memory::default() };
        let paces = memory.drain(..).chain(std::iter::repeat_with(first));
        let samples = z.into_samples().into_iter().zip(paces);
        let batch = BatchSolve {
            pair: DpmPair { solver: self, scaling: step.grid.scaling() },
            controller: &self.controller,
            field: &Predicted { model: run.model(), wanted: self.prediction.parameterization() },
            max_steps: self.max_steps,
            samples: samples
                .map(|(z, pace)| SampleState::new(State::of(z), [from, to], pace))
                .collect(),
        };
        let mut latents = Vec::new();
        for end in batch.run()? {
            run.count(end.statistics);
            latents.push(end.state.latent);
            memory.push(end.pace);
        }
        Ok(Z::from_samples(latents))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solver::Statistics;
    use crate::{NoNoise, Solution, TimeGrid, solve};
    use std::cell::Cell;
    use std::convert::Infallible;
    use vdm_core::{Counted, FromFn, GaussianMixture, Parameterization, Prediction};

    const VP: Scaling = Scaling::VariancePreserving;

    fn mixture() -> GaussianMixture {
        let means = vec![vec![-1.0, 0.5], vec![0.8, 0.8], vec![0.2, -1.1]];
        GaussianMixture::new(vec![0.3, 0.5, 0.2], means, vec![0.3, 0.2, 0.25]).unwrap()
    }

    /// In one go from one level to another.
    fn between<Z: InnerProduct, D: Denoiser<Z>>(
        options: &AdaptiveDpm,
        model: &D,
        z1: Z,
        ends: [f64; 2],
    ) -> Result<Solution<Z>, SolveError<D::Error>> {
        let grid = TimeGrid::from_log_snrs(ends, VP).unwrap();
        solve(options, model, z1, &grid, &mut NoNoise, |_, _, _| ())
    }

    fn run(options: &AdaptiveDpm) -> (Vec<f64>, Statistics) {
        let model = Counted::new(mixture());
        let end = between(options, &model, vec![0.4, -0.9], [-8.0, 8.0]).unwrap();
        assert_eq!(end.statistics.calls, model.calls(), "{options:?}");
        (end.latent, end.statistics)
    }

    /// Every step's error is held to the tolerance, so the end point's follows it: below three times
    /// it over four decades here (measured: at most 1.1 times), and cheaper the looser it is.
    #[test]
    fn error_falls_with_the_tolerance() {
        for order in [AdaptiveOrder::Dpm12, AdaptiveOrder::Dpm23] {
            for prediction in [PredictionForm::Data, PredictionForm::Noise] {
                let options = |rtol| AdaptiveDpm {
                    order,
                    prediction,
                    rtol,
                    atol: rtol,
                    max_steps: 1_000_000,
                    ..AdaptiveDpm::default()
                };
                let truth = run(&options(1e-9)).0;
                let mut calls_before = 0;
                for rtol in [1e-2, 1e-3, 1e-4, 1e-5, 1e-6] {
                    let (x, report) = run(&options(rtol));
                    let error = (x[0] - truth[0]).hypot(x[1] - truth[1]);
                    assert!(error < 3.0 * rtol, "{order:?} {prediction:?} {rtol}: {error}");
                    assert!(report.calls > calls_before, "{order:?} {prediction:?} {rtol}");
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
            between(&options, &mixture(), vec![0.4, -0.9], [from, to]).unwrap_err().to_string()
        };
        let usual = AdaptiveDpm::default();
        let clean = try_run(-8.0, f64::INFINITY, usual);
        assert!(clean.contains("end at a small sigma, then take one ddim step"), "{clean}");
        let noise = try_run(f64::NEG_INFINITY, 8.0, usual);
        assert!(noise.contains("start a little below pure noise"), "{noise}");
        let zero = try_run(-8.0, 8.0, AdaptiveDpm { rtol: 0.0, atol: 0.0, ..usual });
        assert!(zero.contains("atol = 0: use a tolerance above 0 where rtol is 0"), "{zero}");
        let controller = PidController { derivative: f64::NAN, ..PidController::DPM_SOLVER };
        let nan = try_run(-8.0, 8.0, AdaptiveDpm { controller, ..usual });
        assert!(nan.contains("derivative"), "{nan}");
    }

    /// A model that overflows, and one that answers anew at every call: both end, with an error.
    #[test]
    fn hopeless_models_end_the_run() {
        let try_run = |answer: &dyn Fn() -> f64| {
            let image = |value| Prediction { value, of: Parameterization::Image };
            let model = FromFn(|_: &f64, _: &NoiseLevel| Ok::<_, Infallible>(image(answer())));
            between(&AdaptiveDpm::default(), &model, 0.3, [-4.0, 4.0])
        };
        let nan = try_run(&|| f64::NAN);
        assert!(matches!(nan, Err(SolveError::NotFinite { .. })), "{nan:?}");
        let sign = Cell::new(1e30);
        let jumping = try_run(&|| sign.replace(-sign.get()));
        assert!(matches!(jumping, Err(SolveError::StepTooSmall { .. })), "{jumping:?}");
    }
}
