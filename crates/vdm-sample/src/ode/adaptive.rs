//! Embedded Runge–Kutta pairs in TrigFlow's angle.

use serde::{Deserialize, Serialize};
use vdm_core::count::{Cost, TooMany, bounded};
use vdm_core::setting::{InvalidSetting, at_least_one, non_negative, positive};
use vdm_core::{Denoiser, Latent, LogSnr, NoiseLevel, Scaling};

use super::batch::BatchSolve;
use super::controller::{PidController, StepController};
use super::embedded::{Embedded, Trial};
use super::field::{Field, Flow, rates_of};
use super::sample::{Pace, SampleState, SampleStates};
use super::state::{State, rms};
use super::tableau::Pair;
use crate::coordinate::Coordinate;
use crate::solver::{Properties, Run, Solver, Step};
use crate::{InnerProduct, Solution, SolveError};

/// The coordinate of the path.
const ANGLE: Coordinate = Coordinate::UNIT_ANGLE;

/// Solves the probability-flow ODE to a tolerance, towards data or towards noise.
///
/// A step is taken if the estimate of its error, as root mean square over components, is at most
/// `absolute + relative·size`, with `size` the root mean square of `y`. What the errors of all steps
/// add up to is of that order, but not bounded by it. Towards noise an error grows by what the path
/// spreads, up to 1 over the data's own standard deviation at their finest: ask for a tolerance well
/// below that where noise is to be recovered.
///
/// As a [`Solver`] it takes as many steps as it needs between two levels of a grid, with the model
/// asked for all samples of a latent at once: a grid of one step leaves all of the way to it, and one of
/// more shows what becomes of the samples in between. [`solve_each`](Self::solve_each) goes either way.
///
/// ```
/// use vdm_core::{GaussianMixture, LogSnr, Scaling, Schedule};
/// use vdm_sample::{AdaptiveOde, NoNoise, TimeGrid, solve};
///
/// let data = GaussianMixture::new(vec![1.0], vec![vec![0.5]], vec![1.0])?;
/// let schedule = Schedule::linear(10.0, -10.0)?;
/// let vp = Scaling::VariancePreserving;
/// let whole_way = TimeGrid::uniform_time(1, &schedule, vp)?;
/// let solver = AdaptiveOde { absolute: 1e-9, relative: 1e-9, ..AdaptiveOde::default() };
/// let end = solve(&solver, &data, vec![1.3_f64], &whole_way, &mut NoNoise, |_, _, _| ())?;
/// // Unit variance at every level: the ODE only moves the mean, by 0.5 in all.
/// let moved = 0.5 * (vp.level(10.0_f64).alpha - vp.level(-10.0_f64).alpha);
/// assert!((end.latent[0] - 1.3 - moved).abs() < 1e-8);
/// assert!(end.statistics.accepted > 10 && end.level == vp.level(10.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[serde(bound(deserialize = "C: Deserialize<'de>, AdaptiveOde<C>: Default"))]
pub struct AdaptiveOde<C = PidController> {
    /// The pair that takes the steps.
    pub method: Pair,
    /// Tolerated error of a step per component of the latent, `> 0`, in units of the data.
    pub absolute: f64,
    /// What is tolerated besides, as a share of the latent's size, `≥ 0`.
    pub relative: f64,
    /// Most steps of one sample between two levels of a grid, refused ones included, 1 to 10^6.
    pub max_steps: usize,
    /// How long steps are.
    pub controller: C,
}

impl Default for AdaptiveOde {
    /// Order 5(4) with the tolerances of 1e-5 that Song et al. 2021 report likelihoods at.
    fn default() -> Self {
        Self {
            method: Pair::default(),
            absolute: 1e-5,
            relative: 1e-5,
            max_steps: 10_000,
            controller: PidController::default(),
        }
    }
}

/// A solution and the integrals that travelled with it.
#[derive(Debug)]
pub(crate) struct Augmented<Z> {
    pub(crate) end: Solution<Z>,
    pub(crate) integrals: Vec<f64>,
}

/// The two ends of a path, and the scaling between them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    pub(crate) from: NoiseLevel,
    pub(crate) to: NoiseLevel,
    pub(crate) scaling: Scaling,
}

impl Path {
    /// # Errors
    /// [`SolveError::NoLatent`] where there is none at an end.
    pub(crate) fn new<E: std::error::Error>(
        from: LogSnr,
        to: LogSnr,
        scaling: Scaling,
    ) -> Result<Self, SolveError<E>> {
        let existing = |at: LogSnr| {
            let level = scaling.level(at.value());
            let NoiseLevel { log_snr, alpha, sigma } = level;
            if alpha.is_finite() && sigma.is_finite() {
                Ok(level)
            } else {
                Err(SolveError::NoLatent { log_snr, alpha, sigma })
            }
        };
        Ok(Self { from: existing(from)?, to: existing(to)?, scaling })
    }

    fn angles(&self) -> [f64; 2] {
        [self.from, self.to].map(|end| ANGLE.time(LogSnr::new(end.log_snr)))
    }
}

impl<C: StepController> AdaptiveOde<C> {
    /// The same with steps chosen by another controller.
    #[must_use]
    pub fn with_controller<B: StepController>(self, controller: B) -> AdaptiveOde<B> {
        let Self { method, absolute, relative, max_steps, .. } = self;
        AdaptiveOde { method, absolute, relative, max_steps, controller }
    }

    /// Takes every sample, a latent at `from`, along the ODE to `to`: towards data where `λ` rises,
    /// towards noise where it falls. What becomes of one does not depend on the others.
    ///
    /// Infinite ends are legal where the scaling has a level and the prediction a velocity there: pure
    /// noise for a model of the image, clean data for a model of the noise, both for a velocity.
    ///
    /// # Errors
    /// Any [`SolveError`] but those of grids and noise; the first sample that fails ends the run.
    ///
    /// # Panics
    /// If the model's [`Denoiser::denoise_each`] gives more or fewer answers than it was asked.
    pub fn solve_each<Z: InnerProduct, D: Denoiser<Z> + ?Sized>(
        &self,
        model: &D,
        samples: Vec<Z>,
        from: LogSnr,
        to: LogSnr,
        scaling: Scaling,
    ) -> Result<Vec<Solution<Z>>, SolveError<D::Error>> {
        let path = Path::new(from, to, scaling)?;
        let ends = self.travel(&Flow(model), samples, 0, &path, &mut Vec::new())?;
        Ok(ends.into_iter().map(|augmented| augmented.end).collect())
    }

    /// The same with integrals that start at 0 and travel with the latents. `paces` are those of an
    /// earlier part of the path, if there was one, and become those of this.
    pub(crate) fn travel<Z: InnerProduct, F: Field<Z>>(
        &self,
        field: &F,
        samples: Vec<Z>,
        integrals: usize,
        path: &Path,
        paces: &mut Vec<Pace<C::Memory>>,
    ) -> Result<Vec<Augmented<Z>>, SolveError<F::Error>> {
        self.check::<SolveError<F::Error>>()?;
        let pair = RungeKutta { solver: self, scaling: path.scaling };
        let [first, last] = [path.from, path.to].map(|end| ANGLE.scale(&end));
        let [from, to] = path.angles();
        let states = samples.into_iter().map(|z| State {
            latent: Z::lincomb(&[(1.0 / first, &z)]),
            integrals: vec![0.0; integrals],
        });
        let samples = if paces.is_empty() && from != to {
            pair.started(states.collect(), field, [from, to])?
        } else {
            let paces = paces.drain(..).chain(std::iter::repeat_with(Pace::default));
            states
                .zip(paces)
                .map(|(state, pace)| SampleState::new(state, [from, to], pace))
                .collect()
        };
        let Self { controller, max_steps, .. } = self;
        let batch = BatchSolve { pair, controller, field, max_steps: *max_steps, samples };
        let arrive = |sample: SampleState<Z, C::Memory>| {
            paces.push(sample.pace);
            let latent = Z::lincomb(&[(last, &sample.state.latent)]);
            let end = Solution { latent, level: path.to, statistics: sample.statistics };
            Augmented { end, integrals: sample.state.integrals }
        };
        Ok(batch.run()?.into_iter().map(arrive).collect())
    }

    /// That its numbers make sense.
    pub(crate) fn check<E: From<InvalidSetting> + From<TooMany>>(&self) -> Result<(), E> {
        bounded("max_steps", self.max_steps, Cost::Calls)?;
        positive("absolute", self.absolute)?;
        non_negative("relative", self.relative)?;
        at_least_one("max_steps", self.max_steps)?;
        Ok(self.controller.check()?)
    }
}

/// The pair as the loop sees it.
#[derive(Debug)]
struct RungeKutta<'a, C> {
    solver: &'a AdaptiveOde<C>,
    scaling: Scaling,
}

/// `h Σ cᵢ kᵢ`, after `before` if there is one.
fn moved<Z: Latent>(
    before: Option<&State<Z>>,
    h: f64,
    c: impl Iterator<Item = f64>,
    rates: &[State<Z>],
) -> State<Z> {
    let moves = c.zip(rates).map(|(c, k)| (h * c, k));
    let terms: Vec<_> = before.map(|y| (1.0, y)).into_iter().chain(moves).collect();
    State::lincomb(&terms)
}

impl<C: StepController> RungeKutta<'_, C> {
    fn level(&self, angle: f64) -> NoiseLevel {
        self.scaling.level(ANGLE.level(angle).value())
    }

    /// A rate or an error over what is tolerated beside a latent of that root mean square.
    fn ratio<Z: InnerProduct>(&self, of: &State<Z>, beside: f64) -> f64 {
        of.size() / (self.solver.absolute + self.solver.relative * beside)
    }

    /// The latent at a stage, in the scaling of its level.
    fn at_stage<Z: InnerProduct>(
        &self,
        trial: &Trial<'_, Z>,
        node: f64,
        row: &[f64],
    ) -> (Z, NoiseLevel) {
        let Trial { from, step, state, rates } = trial;
        let at = self.level(from + node * step);
        let scale = ANGLE.scale(&at);
        let moves = row.iter().zip(*rates).map(|(a, k)| (scale * step * a, &k.latent));
        let terms: Vec<_> = [(scale, &state.latent)].into_iter().chain(moves).collect();
        (Z::lincomb(&terms), at)
    }

    /// Samples with their first rates and a first step that suits them (Hairer, Nørsett and Wanner
    /// 1993, §II.4).
    fn started<Z: InnerProduct, F: Field<Z>>(
        &self,
        states: Vec<State<Z>>,
        field: &F,
        [from, to]: [f64; 2],
    ) -> Result<SampleStates<Z, C>, SolveError<F::Error>> {
        let mut samples: Vec<_> = states
            .into_iter()
            .map(|state| SampleState::new(state, [from, to], Pace::default()))
            .collect();
        for (node, row) in [(0.0, &[][..]), (1.0, &[1.0])] {
            if samples.is_empty() {
                break;
            }
            let stages: Vec<_> =
                samples.iter().map(|sample| self.at_stage(&sample.trial(), node, row)).collect();
            let items: Vec<_> = stages.iter().map(|(z, at)| (z, *at)).collect();
            let numbers: Vec<usize> = (0..samples.len()).collect();
            let rates = rates_of(field, &numbers, &items)?;
            for (number, (sample, rate)) in samples.iter_mut().zip(rates).enumerate() {
                if !rate.size().is_finite() {
                    let log_snr = self.level(from).log_snr;
                    return Err(SolveError::NotFinite { sample: number, log_snr });
                }
                sample.rates.push(rate);
                sample.statistics.calls += 1;
                sample.pace.length = self.first_length(&sample.trial());
            }
        }
        for sample in &mut samples {
            sample.rates.truncate(1);
        }
        Ok(samples)
    }

    /// From one rate, a step that changes the state by 1 % of its size. From the rate at the end of
    /// that too, one whose first neglected term is 1 % of the tolerance, as far as the second derivative
    /// tells.
    fn first_length<Z: InnerProduct>(&self, trial: &Trial<'_, Z>) -> f64 {
        let beside = rms(&trial.state.latent);
        let rate = self.ratio(&trial.rates[0], beside);
        if trial.rates.len() == 1 {
            let at = self.ratio(trial.state, beside);
            return if at < 1e-5 || rate < 1e-5 { 1e-6 } else { 0.01 * at / rate };
        }
        let tried = trial.step.abs();
        let second = moved(None, 1.0 / tried, [-1.0, 1.0].into_iter(), trial.rates);
        let steepest = self.ratio(&second, beside).max(rate);
        let chosen = if steepest <= 1e-15 {
            (1e-3 * tried).max(1e-6)
        } else {
            (0.01 / steepest).powf(1.0 / f64::from(self.solver.method.order() + 1))
        };
        chosen.min(100.0 * tried)
    }
}

impl<Z: InnerProduct, C: StepController> Embedded<Z> for RungeKutta<'_, C> {
    fn power(&self) -> f64 {
        f64::from(self.solver.method.order())
    }

    fn stages(&self) -> usize {
        self.solver.method.tableau().nodes.len()
    }

    fn first_same_as_last(&self) -> bool {
        self.solver.method.tableau().first_same_as_last
    }

    fn level(&self, at: f64) -> NoiseLevel {
        RungeKutta::level(self, at)
    }

    fn stage(&self, trial: &Trial<'_, Z>) -> (Z, NoiseLevel) {
        let (tableau, stage) = (self.solver.method.tableau(), trial.rates.len());
        self.at_stage(trial, tableau.nodes[stage], tableau.rows[stage])
    }

    fn finish(&self, trial: &Trial<'_, Z>) -> (State<Z>, f64) {
        let Trial { step, state, rates, .. } = *trial;
        let tableau = self.solver.method.tableau();
        let next = moved(Some(state), step, tableau.weights.iter().copied(), rates);
        let error = moved(None, step, tableau.differences(), rates);
        let beside = rms(&state.latent).max(rms(&next.latent));
        let ratio = self.ratio(&error, beside);
        (next, ratio)
    }
}

impl<Z: InnerProduct, C: StepController> Solver<Z> for AdaptiveOde<C> {
    type Memory = Vec<Pace<C::Memory>>;

    /// Calls are those of one step between two levels, the least there can be.
    fn properties(&self) -> Properties {
        Properties {
            order: self.method.order(),
            calls_per_step: self.method.calls_per_step(),
            stochastic: false,
        }
    }

    fn step<D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        memory: &mut Self::Memory,
    ) -> Result<Z, SolveError<D::Error>> {
        let path = Path { from: step.from, to: step.to, scaling: step.grid.scaling() };
        let ends = self.travel(&Flow(run.model()), z.into_samples(), 0, &path, memory)?;
        let mut latents = Vec::with_capacity(ends.len());
        for Augmented { end, .. } in ends {
            run.count(end.statistics);
            latents.push(end.latent);
        }
        Ok(Z::from_samples(latents))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use vdm_core::GaussianMixture;

    /// Steps of one length.
    #[derive(Debug)]
    struct Fixed;

    impl StepController for Fixed {
        type Memory = ();
        fn decide(&self, _: f64, _: f64, (): &mut ()) -> super::super::Decision {
            super::super::Decision { accepted: true, factor: 1.0 }
        }
    }

    /// The end of one path in steps of one length.
    fn fixed(model: &GaussianMixture, start: f64, method: Pair, steps: u32) -> f64 {
        let solver = AdaptiveOde { method, ..AdaptiveOde::default() }.with_controller(Fixed);
        let [from, to] = [-8.0, 8.0].map(LogSnr::new);
        let path = Path::new::<Infallible>(from, to, Scaling::VariancePreserving).unwrap();
        let [first, last] = path.angles();
        let length = (last - first).abs();
        let mut paces = vec![Pace { length: length / f64::from(steps), memory: () }];
        let field = &Flow(model);
        let end =
            solver.travel(field, vec![vec![start]], 0, &path, &mut paces).unwrap().remove(0).end;
        assert_eq!(end.statistics.accepted, steps as usize);
        end.latent[0]
    }

    /// Forgets the last of several latents.
    struct Forgetful(GaussianMixture);

    impl Denoiser<Vec<f64>> for Forgetful {
        type Error = Infallible;
        fn denoise(
            &self,
            z: &Vec<f64>,
            at: &NoiseLevel,
        ) -> Result<vdm_core::Prediction<Vec<f64>>, Infallible> {
            self.0.denoise(z, at)
        }
        fn denoise_each(
            &self,
            items: &[(&Vec<f64>, NoiseLevel)],
        ) -> Result<Vec<vdm_core::Prediction<Vec<f64>>>, Infallible> {
            items[1..].iter().map(|(z, at)| self.0.denoise(*z, at)).collect()
        }
    }

    #[test]
    #[should_panic(expected = "answers of the model to as many latents")]
    fn a_latent_without_an_answer_is_not_passed_over() {
        let model = GaussianMixture::new(vec![1.0], vec![vec![0.5]], vec![0.4]).unwrap();
        let [noise, data] = [-8.0, 8.0].map(LogSnr::new);
        let (samples, vp) = (vec![vec![0.3], vec![-0.7]], Scaling::VariancePreserving);
        let _ = AdaptiveOde::default().solve_each(&Forgetful(model), samples, noise, data, vp);
    }

    /// Slopes of log error as the steps are halved, on eight paths from noise to data. Between steps
    /// too long for the leading term and errors of rounding there are five halvings for order 3, two
    /// for orders 5 and 8. Measured: 3.00, 5.2 and 8.0, so 0.3.
    #[test]
    fn every_pair_has_its_order_at_fixed_steps() {
        let model =
            GaussianMixture::new(vec![0.4, 0.6], vec![vec![-1.0], vec![0.8]], vec![0.45, 0.45])
                .unwrap();
        let run = |method, steps| {
            [-1.75, -1.25, -0.75, -0.25, 0.25, 0.75, 1.25, 1.75]
                .map(|start| fixed(&model, start, method, steps))
        };
        let truth = run(Pair::PrinceDormand87, 100);
        for (method, coarsest, halvings) in [
            (Pair::BogackiShampine32, 20, 5),
            (Pair::DormandPrince54, 40, 2),
            (Pair::PrinceDormand87, 8, 2),
        ] {
            let error = |steps| -> f64 {
                let squares = run(method, steps).into_iter().zip(&truth);
                squares.map(|(z, true_z)| (z - true_z).powi(2)).sum::<f64>().sqrt()
            };
            let slope =
                (error(coarsest) / error(coarsest << halvings)).log2() / f64::from(halvings);
            let declared = f64::from(method.order());
            assert!((slope - declared).abs() < 0.3, "{method:?}: {slope} for {declared}");
        }
    }
}
