//! The levels a sampler visits.
//!
//! | grid | level after the share `f` of the steps | source |
//! |---|---|---|
//! | [`uniform_time`](TimeGrid::uniform_time) | `λ` at `t = 1 − f` | the `T`-step hierarchy |
//! | [`quadratic_time`](TimeGrid::quadratic_time) | `λ` at `t = (1 − f)²` | DDIM |
//! | [`beta`](TimeGrid::beta) | `λ` at the `1 − f` quantile of a Beta distribution of `t` | Lee et al. 2024 |
//! | [`uniform_log_snr`](TimeGrid::uniform_log_snr) | linear in `λ` ("exponential") | DPM-Solver |
//! | [`polyexponential`](TimeGrid::polyexponential) | `λ` a power of `1 − f` | k-diffusion |
//! | [`karras`](TimeGrid::karras) | linear in `(σ/α)^{1/ρ}` | EDM |
//! | [`timesteps`](TimeGrid::timesteps) | entries of a table | DDPM's descendants |
//! | [`elbo_optimal`](TimeGrid::elbo_optimal) | whatever minimizes the bound of so many steps | Watson et al. 2021 |
//! | [`from_times`](TimeGrid::from_times), [`from_log_snrs`](TimeGrid::from_log_snrs), [`from_levels`](TimeGrid::from_levels) | one's own | |
//!
//! Steps should be short where the denoiser's answer changes quickly with the level. `uniform_log_snr`
//! and `karras` suit solvers of the probability-flow ODE at 10 to 50 calls; `uniform_time` is the
//! one the ancestral sampler was trained with; `elbo_optimal` needs the losses of the model at hand.
//! Those that space in `λ` need a schedule of finite ends. [`to_clean`](TimeGrid::to_clean) adds the
//! step from the last level to the data itself.

mod beta;
mod elbo;
mod spec;

pub use elbo::LossTable;
pub use spec::{GridKind, GridSpec};

use std::ops::RangeInclusive;

use thiserror::Error;
use vdm_core::count::{Cost, bounded};
use vdm_core::schedule::{Discrete, Karras, Spacing};
use vdm_core::setting::{InvalidSetting, positive};
use vdm_core::{LogSnr, NoiseLevel, NoiseSchedule, Scaling, times};

use crate::coordinate::Coordinate;

/// Noise levels from noise to data, strictly less noisy at every step.
///
/// A grid of `n` steps has `n + 1` levels, at most 2^20 steps; duplicates cannot be expressed, and grids made from a schedule's
/// times run over all of it, from `t = 1` to `t = 0`. It knows the scaling of the levels *between* its own, where some solvers call the model.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeGrid {
    levels: Vec<NoiseLevel>,
    scaling: Scaling,
}

/// Why a list of times or levels is not a grid.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum GridError {
    /// Fewer than two points.
    #[error("a grid needs at least 2 points (1 step), got {found}")]
    TooShort {
        /// Number of points given.
        found: usize,
    },
    /// A grid of times must run over the whole interval.
    #[error("a grid of times starts at 1 and ends at 0, got {first} and {last}")]
    Ends {
        /// First time given.
        first: f64,
        /// Last time given.
        last: f64,
    },
    /// Noise must fall at every step.
    #[error("log-SNR must rise at every step of a grid, but step {step} goes from {from} to {to}")]
    NotRising {
        /// Index of the offending step, from 0.
        step: usize,
        /// `λ` before it.
        from: f64,
        /// `λ` after it.
        to: f64,
    },
    /// A level at which no latent exists.
    #[error(
        "point {point} of the grid, at log-SNR {log_snr}, has scales alpha = {alpha} and sigma = \
         {sigma}: use a schedule with finite ends (truncate it) or another scaling"
    )]
    NoLatent {
        /// Index of the point, from 0.
        point: usize,
        /// Its `λ`.
        log_snr: f64,
        /// Its `α`.
        alpha: f64,
        /// Its `σ`.
        sigma: f64,
    },
    /// Spacing in log-SNR (or a function of it) needs ends to space between.
    #[error(
        "{grid} needs a schedule whose ends are finite, but it runs from log-SNR {from} to {to}: \
         truncate it, or use uniform_time"
    )]
    InfiniteEnds {
        /// The grid's name.
        grid: &'static str,
        /// The noisiest `λ`.
        from: f64,
        /// The cleanest `λ`.
        to: f64,
    },
    /// A setting that no grid can be built from.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// A list of one's own that holds another number of steps than asked for.
    #[error("a grid of {found} steps is listed where {asked} are asked for; set steps to {found}")]
    Steps {
        /// How many steps are asked for.
        asked: usize,
        /// How many the list has.
        found: usize,
    },
    /// An offset that leads beyond the table.
    #[error(
        "timestep {index} + offset {offset} lies beyond a table of {steps}; offsets are for the \
         leading spacing, which leaves room at the end"
    )]
    Offset {
        /// The index without the offset.
        index: usize,
        /// The offset as given.
        offset: usize,
        /// Entries of the table.
        steps: usize,
    },
    /// More steps than the candidates allow, or none.
    #[error(
        "{candidates} candidate levels allow 1 to {} steps, not {steps}: use fewer, or another grid",
        candidates - 1
    )]
    Candidates {
        /// How many steps are asked for.
        steps: usize,
        /// How many levels there are to choose from.
        candidates: usize,
    },
    /// What the schedule behind a grid refuses.
    #[error(transparent)]
    Schedule(#[from] vdm_core::Error),
}

impl TimeGrid {
    /// From levels, noisiest first; `scaling` is that of the levels between them.
    ///
    /// # Errors
    /// [`GridError::TooShort`], [`GridError::NotRising`] or [`GridError::NoLatent`].
    pub fn from_levels(levels: Vec<NoiseLevel>, scaling: Scaling) -> Result<Self, GridError> {
        if levels.len() < 2 {
            return Err(GridError::TooShort { found: levels.len() });
        }
        for (step, pair) in levels.windows(2).enumerate() {
            let (from, to) = (pair[0].log_snr, pair[1].log_snr);
            if from.partial_cmp(&to) != Some(std::cmp::Ordering::Less) {
                return Err(GridError::NotRising { step, from, to });
            }
        }
        for (point, &NoiseLevel { log_snr, alpha, sigma }) in levels.iter().enumerate() {
            if !(alpha.is_finite() && sigma.is_finite()) {
                return Err(GridError::NoLatent { point, log_snr, alpha, sigma });
            }
        }
        Ok(Self { levels, scaling })
    }

    /// From log-SNRs, noisiest first; `±∞` are legal where the scaling has a level there.
    ///
    /// # Errors
    /// Those of [`from_levels`](Self::from_levels).
    pub fn from_log_snrs(
        log_snrs: impl IntoIterator<Item = f64>,
        scaling: Scaling,
    ) -> Result<Self, GridError> {
        Self::from_levels(log_snrs.into_iter().map(|l| scaling.level(l)).collect(), scaling)
    }

    /// From times that fall from 1 to 0.
    ///
    /// # Errors
    /// Any [`GridError`].
    pub fn from_times(
        times: &[f64],
        schedule: &dyn NoiseSchedule,
        scaling: Scaling,
    ) -> Result<Self, GridError> {
        if let (Some(&first), Some(&last)) = (times.first(), times.last())
            && (first != 1.0 || last != 0.0)
        {
            return Err(GridError::Ends { first, last });
        }
        Self::from_log_snrs(times.iter().map(|t| schedule.log_snr(*t).value()), scaling)
    }

    /// `t_i = (steps − i)/steps`: the grid of the `T`-step hierarchy.
    ///
    /// # Errors
    /// Those of [`from_levels`](Self::from_levels).
    pub fn uniform_time(
        steps: usize,
        schedule: &dyn NoiseSchedule,
        scaling: Scaling,
    ) -> Result<Self, GridError> {
        let steps = listed(steps)?;
        // Ratios of whole numbers, at which a discrete schedule has its own levels exactly.
        let time = |i: usize| i as f64 / steps as f64;
        Self::from_log_snrs((0..=steps).rev().map(|i| schedule.log_snr(time(i)).value()), scaling)
    }

    /// `t_i = (1 − i/steps)²`: shorter steps towards the data. The "quad" spacing of Song et al.
    /// 2021 (DDIM, appendix D.2).
    ///
    /// # Errors
    /// Those of [`from_levels`](Self::from_levels).
    pub fn quadratic_time(
        steps: usize,
        schedule: &dyn NoiseSchedule,
        scaling: Scaling,
    ) -> Result<Self, GridError> {
        let time = |f: f64| (1.0 - f).powi(2);
        Self::from_log_snrs(
            evenly(listed(steps)?).map(|f| schedule.log_snr(time(f)).value()),
            scaling,
        )
    }

    /// Times at equal steps of probability of a `Beta(alpha, beta)` distribution on `[0, 1]`: below 1 both
    /// ends are visited more often, a small `alpha` the data, a small `beta` the noise. (1, 1) is
    /// [`uniform_time`](Self::uniform_time).
    ///
    /// Lee et al. 2024, who use 0.6 and 0.6. The `use_beta_sigmas` of diffusers spaces EDM's `σ`
    /// so: give it a [`Karras`] schedule with `ρ = 1`, whose `σ` is linear in `t`.
    ///
    /// # Errors
    /// [`GridError::Setting`] unless both are in `(0, 1000]`, or those of
    /// [`from_levels`](Self::from_levels).
    pub fn beta(
        steps: usize,
        alpha: f64,
        beta: f64,
        schedule: &dyn NoiseSchedule,
        scaling: Scaling,
    ) -> Result<Self, GridError> {
        let (steps, distribution) = (listed(steps)?, beta::Beta::new(alpha, beta)?);
        let level = |i: usize| match i {
            0 => schedule.log_snr(1.0),
            i if i == steps => schedule.log_snr(0.0),
            i => {
                let share = |i: usize| i as f64 / steps as f64;
                // Either end is approached in the number that stays exact there.
                let rest = distribution.mirrored().quantile(share(i));
                if rest < 0.5 {
                    schedule.quantile(rest)
                } else {
                    schedule.log_snr(distribution.quantile(share(steps - i)))
                }
            }
        };
        Self::from_log_snrs((0..=steps).map(|i| level(i).value()), scaling)
    }

    /// Equal steps of `λ` between the schedule's end points, which are equal ratios of EDM's `σ`:
    /// the "exponential" grid of k-diffusion, the log-SNR grid of Lu et al. 2022 (DPM-Solver).
    ///
    /// # Errors
    /// [`GridError::InfiniteEnds`], or those of [`from_levels`](Self::from_levels).
    pub fn uniform_log_snr(
        steps: usize,
        schedule: &dyn NoiseSchedule,
        scaling: Scaling,
    ) -> Result<Self, GridError> {
        let (noise, data) = finite_ends("uniform_log_snr", schedule)?;
        Self::from_log_snrs(evenly(listed(steps)?).map(|f| noise * (1.0 - f) + data * f), scaling)
    }

    /// `λ_i = λ_data − (λ_data − λ_noise)(1 − i/steps)^ρ`: at `ρ = 1`
    /// [`uniform_log_snr`](Self::uniform_log_snr); above, shorter steps towards the data. The
    /// "polyexponential" grid of k-diffusion (Crowson 2022).
    ///
    /// # Errors
    /// [`GridError::InfiniteEnds`], [`GridError::Setting`] unless `rho` is positive and finite,
    /// or those of [`from_levels`](Self::from_levels).
    pub fn polyexponential(
        steps: usize,
        rho: f64,
        schedule: &dyn NoiseSchedule,
        scaling: Scaling,
    ) -> Result<Self, GridError> {
        positive("grid.rho", rho)?;
        let (noise, data) = finite_ends("polyexponential", schedule)?;
        let level = |f: f64| {
            let noisy = (1.0 - f).powf(rho);
            noise * noisy + data * (1.0 - noisy)
        };
        Self::from_log_snrs(evenly(listed(steps)?).map(level), scaling)
    }

    /// Equal steps of `σ^{1/ρ}` in EDM's `σ = e^{−λ/2}` between the schedule's end points: the
    /// sampling steps of Karras et al. 2022 (equation 5), who use `ρ = 7`. A larger `ρ` takes
    /// shorter steps towards the data; as it grows this becomes
    /// [`uniform_log_snr`](Self::uniform_log_snr).
    ///
    /// # Errors
    /// [`GridError::InfiniteEnds`], [`GridError::Schedule`] unless `rho` is positive and finite, or
    /// those of [`from_levels`](Self::from_levels).
    #[doc(alias = "sigma_min")]
    #[doc(alias = "sigma_max")]
    pub fn karras(
        steps: usize,
        rho: f64,
        schedule: &dyn NoiseSchedule,
        scaling: Scaling,
    ) -> Result<Self, GridError> {
        let steps = listed(steps)?;
        positive("grid.rho", rho)?;
        let (noise, data) = finite_ends("karras", schedule)?;
        let sigma = |log_snr: f64| LogSnr::new(log_snr).edm_sigma();
        let curve = Karras::new(sigma(data), sigma(noise), rho)?;
        // The ends as they are given, which a pass through σ would round.
        let level = |i: usize| match i {
            0 => noise,
            i if i == steps => data,
            i => curve.log_snr(1.0 - i as f64 / steps as f64).value(),
        };
        Self::from_log_snrs((0..=steps).map(level), scaling)
    }

    /// Steps in [TrigFlow's](crate::solver::Coordinate::TrigFlow) angle `φ = atan(σ/(dα))` for data of standard deviation `data_std = d`, from the
    /// schedule's noisy end to clean data exactly (`φ = 0`, `λ = ∞`) whatever the schedule's clean
    /// end: `φ_i = φ_0·(1 − i/steps)^power`. With `power = 1` the latent turns by the same angle at
    /// every step; above, steps shorten towards the data. Infinite noise (`φ_0 = π/2`) is a legal
    /// start. Made for [`AngularAdams`](crate::solver::AngularAdams); 0.9 and 1.15 served data of about unit
    /// variance.
    ///
    /// # Errors
    /// [`GridError::Setting`] unless both numbers are positive and finite, or those of
    /// [`from_levels`](Self::from_levels).
    pub fn angle(
        steps: usize,
        data_std: f64,
        power: f64,
        schedule: &dyn NoiseSchedule,
        scaling: Scaling,
    ) -> Result<Self, GridError> {
        positive("grid.data_std", data_std)?;
        positive("grid.power", power)?;
        let steps = listed(steps)?;
        let noise = schedule.log_snr(1.0).value();
        let angle = Coordinate::TrigFlow { data_std };
        let start = angle.time(LogSnr::new(noise));
        let level = |i: usize| match i {
            // The end as it is given, which a pass through the angle would round.
            0 => noise,
            i => angle.level(start * (1.0 - i as f64 / steps as f64).powf(power)).value(),
        };
        Self::from_log_snrs((0..=steps).map(level), scaling)
    }

    /// `steps` entries of a table of integer timesteps, noisiest first, each with a call of the
    /// model, the last of which steps to clean data (`λ = ∞`).
    ///
    /// `offset` is added to every index: 1 with the leading spacing in Stable Diffusion, else 0.
    /// The spacings are those of Lin et al. 2024, table 2; names as in diffusers.
    ///
    /// # Errors
    /// [`GridError::Schedule`] unless `1 ≤ steps ≤ T`, [`GridError::Offset`] beyond the table, or
    /// those of [`from_levels`](Self::from_levels).
    pub fn timesteps(
        steps: usize,
        spacing: Spacing,
        offset: usize,
        table: &Discrete,
        scaling: Scaling,
    ) -> Result<Self, GridError> {
        let indices = table.timesteps(steps, spacing)?;
        let beyond = |index: &&usize| **index >= table.steps().saturating_sub(offset);
        if let Some(&index) = indices.iter().find(beyond) {
            return Err(GridError::Offset { index, offset, steps: table.steps() });
        }
        let levels = indices.iter().map(|n| table.log_snr_at(n + offset).value());
        Self::from_log_snrs(levels.chain([f64::INFINITY]), scaling)
    }

    /// The grid of `steps` steps between the table's first and last candidate whose discrete-time
    /// bound is the least there is: [`LossTable::best`].
    ///
    /// # Errors
    /// [`GridError::Candidates`], or those of [`from_levels`](Self::from_levels).
    pub fn elbo_optimal(
        steps: usize,
        losses: &LossTable,
        scaling: Scaling,
    ) -> Result<Self, GridError> {
        Self::from_log_snrs(losses.best(steps)?, scaling)
    }

    /// The same with one more step, to clean data (`λ = ∞`): how models are sampled whose last
    /// level still holds noise that nothing decodes. A grid that ends there already stays.
    #[must_use]
    pub fn to_clean(mut self) -> Self {
        let clean = self.scaling.level(f64::INFINITY);
        if self.levels.last().is_some_and(|last| last.sigma > 0.0) {
            self.levels.push(clean);
        }
        self
    }

    /// The `steps + 1` levels, noisiest first.
    #[must_use]
    pub fn levels(&self) -> &[NoiseLevel] {
        &self.levels
    }

    /// The scaling of the levels between its own.
    #[must_use]
    pub fn scaling(&self) -> Scaling {
        self.scaling
    }

    /// The grid of some of its levels, at least two.
    pub(crate) fn part(&self, levels: RangeInclusive<usize>) -> Self {
        Self { levels: self.levels[levels].to_vec(), scaling: self.scaling }
    }

    /// Number of steps.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.levels.len() - 1
    }

    /// The level at a log-SNR between the grid's points.
    #[must_use]
    pub fn between(&self, log_snr: f64) -> NoiseLevel {
        self.scaling.level(log_snr)
    }
}

/// A number of steps whose levels fit into memory.
fn listed(steps: usize) -> Result<usize, GridError> {
    Ok(bounded("steps", steps, Cost::List).map_err(vdm_core::Error::from)?)
}

/// `(λ at t = 1, λ at t = 0)`.
pub(crate) fn finite_ends(
    grid: &'static str,
    schedule: &dyn NoiseSchedule,
) -> Result<(f64, f64), GridError> {
    let (from, to) = (schedule.log_snr(1.0).value(), schedule.log_snr(0.0).value());
    if from.is_finite() && to.is_finite() {
        Ok((from, to))
    } else {
        Err(GridError::InfiniteEnds { grid, from, to })
    }
}

/// `0, 1/steps, …, 1`, exact at both ends; a single point for 0 steps, which is no grid.
pub(crate) fn evenly(steps: usize) -> impl Iterator<Item = f64> {
    times::low_discrepancy(0.0, steps).chain([1.0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vdm_core::Schedule;

    proptest! {
        #[test]
        fn grids_run_from_noise_to_data_without_duplicates(steps in 1..2000_usize) {
            for schedule in [Schedule::linear(13.3, -5.0).unwrap(), Schedule::cosine(15.0, -15.0).unwrap()] {
                for grid in [
                    TimeGrid::uniform_time(steps, &schedule, Scaling::VariancePreserving).unwrap(),
                    TimeGrid::uniform_log_snr(steps, &schedule, Scaling::StraightLine).unwrap(),
                ] {
                    prop_assert_eq!(grid.steps(), steps);
                    let levels = grid.levels();
                    prop_assert_eq!(levels[0].log_snr, schedule.range().min());
                    prop_assert_eq!(levels[steps].log_snr, schedule.range().max());
                    let again = TimeGrid::from_levels(levels.to_vec(), grid.scaling);
                    prop_assert_eq!(again, Ok(grid.clone()));
                }
            }
        }
    }

    #[test]
    fn what_is_not_a_grid_is_refused_with_its_numbers() {
        let schedule = Schedule::linear(5.0, -5.0).unwrap();
        let grid = |times: &[f64]| TimeGrid::from_times(times, &schedule, Scaling::StraightLine);
        assert_eq!(grid(&[]), Err(GridError::TooShort { found: 0 }));
        assert_eq!(grid(&[1.0, 0.1]), Err(GridError::Ends { first: 1.0, last: 0.1 }));
        assert_eq!(
            grid(&[1.0, 0.5, 0.5, 0.0]),
            Err(GridError::NotRising { step: 1, from: 0.0, to: 0.0 })
        );
        assert!(matches!(grid(&[1.0, f64::NAN, 0.0]), Err(GridError::NotRising { step: 0, .. })));
        assert_eq!(grid(&[1.0, 0.25, 0.0]).unwrap().steps(), 2);
    }

    #[test]
    fn levels_without_latents_and_ends_without_space_between_are_refused() {
        let endless: Schedule = serde_json::from_str(r#"{"kind": "straight_line"}"#).unwrap();
        let explode = TimeGrid::uniform_time(4, &endless, Scaling::VarianceExploding);
        assert!(matches!(explode, Err(GridError::NoLatent { point: 0, .. })), "{explode:?}");
        let spaced = TimeGrid::uniform_log_snr(4, &endless, Scaling::StraightLine);
        assert!(matches!(spaced, Err(GridError::InfiniteEnds { .. })), "{spaced:?}");
        let none = TimeGrid::uniform_time(0, &endless, Scaling::StraightLine);
        assert_eq!(none, Err(GridError::TooShort { found: 1 }));
    }

    #[test]
    fn a_last_step_to_clean_data_is_added_once() {
        let schedule = Schedule::linear(5.0, -5.0).unwrap();
        let grid = TimeGrid::uniform_time(3, &schedule, Scaling::StraightLine).unwrap().to_clean();
        assert_eq!((grid.steps(), grid.levels()[4].sigma), (4, 0.0));
        assert_eq!(grid.clone().to_clean(), grid);
    }

    fn named(name: &str, steps: usize, schedule: &Schedule) -> TimeGrid {
        let vp = Scaling::VariancePreserving;
        match name {
            "quadratic_time" => TimeGrid::quadratic_time(steps, schedule, vp),
            "beta" => TimeGrid::beta(steps, 0.6, 0.7, schedule, vp),
            "polyexponential" => TimeGrid::polyexponential(steps, 1.5, schedule, vp),
            "karras" => TimeGrid::karras(steps, 7.0, schedule, vp),
            other => panic!("no grid {other}"),
        }
        .unwrap()
    }

    #[test]
    fn every_grid_keeps_the_ends_of_its_schedule() {
        for schedule in [Schedule::linear(13.3, -5.0), Schedule::cosine(15.0, -14.0)] {
            let schedule = schedule.unwrap();
            for name in ["quadratic_time", "beta", "polyexponential", "karras"] {
                for steps in [1, 2, 3, 50, 1000] {
                    let grid = named(name, steps, &schedule);
                    let (first, last) = (grid.levels()[0], grid.levels()[steps]);
                    assert_eq!(first.log_snr, schedule.range().min(), "{name} {steps}");
                    assert_eq!(last.log_snr, schedule.range().max(), "{name} {steps}");
                }
            }
        }
    }

    /// What each grid becomes where it meets another: to 1e-12, some roundings of a power or a log.
    #[test]
    fn grids_meet_where_they_should() {
        let schedule = Schedule::cosine(9.0, -8.0).unwrap();
        let vp = Scaling::VariancePreserving;
        let same = |a: TimeGrid, b: TimeGrid, tolerance: f64| {
            for (a, b) in a.levels().iter().zip(b.levels()) {
                assert!((a.log_snr - b.log_snr).abs() < tolerance, "{a:?} and {b:?}");
            }
        };
        let even = || TimeGrid::uniform_log_snr(12, &schedule, vp).unwrap();
        same(TimeGrid::polyexponential(12, 1.0, &schedule, vp).unwrap(), even(), 1e-12);
        // The limit of many roots: the distance falls as 1/ρ.
        same(TimeGrid::karras(12, 1e6, &schedule, vp).unwrap(), even(), 1e-4);
        let uniform = TimeGrid::uniform_time(12, &schedule, vp).unwrap();
        same(TimeGrid::beta(12, 1.0, 1.0, &schedule, vp).unwrap(), uniform, 1e-12);
        // The square of a uniform time has the distribution Beta(½, 1).
        let quadratic = TimeGrid::quadratic_time(12, &schedule, vp).unwrap();
        same(TimeGrid::beta(12, 0.5, 1.0, &schedule, vp).unwrap(), quadratic, 1e-12);
    }

    #[test]
    fn parameters_out_of_range_are_refused_by_name() {
        let schedule = Schedule::linear(5.0, -5.0).unwrap();
        let vp = Scaling::VariancePreserving;
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let errors = [
                ("rho", TimeGrid::karras(5, bad, &schedule, vp)),
                ("rho", TimeGrid::polyexponential(5, bad, &schedule, vp)),
                ("alpha", TimeGrid::beta(5, bad, 1.0, &schedule, vp)),
                ("beta", TimeGrid::beta(5, 1.0, bad, &schedule, vp)),
            ];
            for (field, result) in errors {
                let error = result.unwrap_err().to_string();
                assert!(error.contains(field) && error.contains(&bad.to_string()), "{error}");
            }
        }
        let endless: Schedule = serde_json::from_str(r#"{"kind": "straight_line"}"#).unwrap();
        let line = Scaling::StraightLine;
        for spaced in [
            TimeGrid::karras(4, 7.0, &endless, line),
            TimeGrid::polyexponential(4, 1.5, &endless, line),
        ] {
            assert!(matches!(spaced, Err(GridError::InfiniteEnds { .. })), "{spaced:?}");
        }
        // Spacing in time has no such need, however fast the levels run away there.
        assert_eq!(TimeGrid::beta(100, 0.2, 0.2, &endless, line).unwrap().steps(), 100);
    }

    #[test]
    fn timesteps_end_at_clean_data_and_stay_within_their_table() {
        let betas =
            vdm_core::schedule::Betas::Linear { steps: 1000, beta_start: 1e-4, beta_end: 0.02 };
        let table = Discrete::new(betas, false).unwrap();
        let vp = Scaling::VariancePreserving;
        let grid = TimeGrid::timesteps(50, Spacing::Leading, 1, &table, vp).unwrap();
        assert_eq!(grid.steps(), 50);
        assert_eq!(grid.levels()[0].log_snr, table.log_snr_at(981).value());
        assert_eq!(grid.levels()[49].log_snr, table.log_snr_at(1).value());
        assert_eq!(grid.levels()[50].sigma, 0.0);
        let error = TimeGrid::timesteps(50, Spacing::Trailing, 1, &table, vp).unwrap_err();
        assert_eq!(error, GridError::Offset { index: 999, offset: 1, steps: 1000 });
        let error = TimeGrid::timesteps(1001, Spacing::Leading, 0, &table, vp).unwrap_err();
        assert!(error.to_string().contains("ask for 1 to 1000"), "{error}");
    }
}
