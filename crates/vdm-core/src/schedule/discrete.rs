//! The integer-timestep tables of DDPM, iDDPM and their descendants, for users who bring models
//! trained on them.
//!
//! A table is a schedule sampled at `T` indices `n = 0 … T − 1`: `ᾱ_n = Πᵢ₌₀ⁿ(1 − βᵢ)`. The levels
//! are kept as log-SNRs computed without the cancellation of `1 − ᾱ`, so the first entries are as
//! good as the last.

use std::f64::consts::FRAC_PI_2;

use serde::{Deserialize, Serialize};

use super::knots::{self, Knots};
use crate::count::{Cost, TooMany, bounded};
use crate::{Error, LogSnr, Real};

/// How a table's `β` are given. Names as in diffusers.
#[doc(alias = "betas")]
#[doc(alias = "beta_schedule")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Betas {
    /// Linear in the index: DDPM, 1e-4 to 0.02 over 1000.
    Linear {
        /// Number of indices, `T`.
        steps: usize,
        /// `β₀`.
        beta_start: f64,
        /// `β_{T−1}`.
        beta_end: f64,
    },
    /// `√β` linear in the index: Stable Diffusion, 0.00085 to 0.012 over 1000.
    ScaledLinear {
        /// Number of indices, `T`.
        steps: usize,
        /// `β₀`.
        beta_start: f64,
        /// `β_{T−1}`.
        beta_end: f64,
    },
    /// `ᾱ` follows a squared cosine, `β` capped: iDDPM (`squaredcos_cap_v2`).
    Cosine {
        /// Number of indices, `T`.
        steps: usize,
        /// `s`, 0.008 in the paper.
        offset: f64,
        /// The largest `β`, 0.999 in the paper.
        cap: f64,
    },
    /// `β` along a logistic curve from −6 to 6: that of `GeoDiff`.
    Sigmoid {
        /// Number of indices, `T`.
        steps: usize,
        /// `β` far to the left of the curve.
        beta_start: f64,
        /// `β` far to its right.
        beta_end: f64,
    },
    /// Any values in `(0, 1)`.
    Custom(Vec<f64>),
}

impl Betas {
    /// # Errors
    /// [`TooMany`] for a table that is not to be built.
    fn check_steps(&self) -> Result<(), TooMany> {
        let steps = match self {
            Self::Linear { steps, .. }
            | Self::ScaledLinear { steps, .. }
            | Self::Cosine { steps, .. }
            | Self::Sigmoid { steps, .. } => *steps,
            Self::Custom(values) => values.len(),
        };
        bounded("betas.steps", steps, Cost::List).map(|_| ())
    }

    fn values(&self) -> Vec<f64> {
        let spaced = |steps: usize, first: f64, last: f64| {
            let share = 1.0 / (steps.max(2) - 1) as f64;
            (0..steps).map(move |n| {
                let w = n as f64 * share;
                first * (1.0 - w) + last * w
            })
        };
        match *self {
            Self::Linear { steps, beta_start, beta_end } => {
                spaced(steps, beta_start, beta_end).collect()
            }
            Self::ScaledLinear { steps, beta_start, beta_end } => {
                spaced(steps, beta_start.sqrt(), beta_end.sqrt()).map(|root| root * root).collect()
            }
            Self::Cosine { steps, offset, cap } => {
                let speed = FRAC_PI_2 / (1.0 + offset);
                let angle = |n: usize| speed * (n as f64 / steps as f64 + offset);
                // 1 − cos²b/cos²a = sin(b − a) sin(b + a)/cos²a, which does not cancel.
                let half_step = speed / steps as f64;
                (0..steps)
                    .map(|n| {
                        let (a, b) = (angle(n), angle(n + 1));
                        cap.min(half_step.sin() * (a + b).sin() / a.cos().powi(2))
                    })
                    .collect()
            }
            Self::Sigmoid { steps, beta_start, beta_end } => spaced(steps, -6.0, 6.0)
                .map(|u| beta_start + (beta_end - beta_start) * Real::sigmoid(&u))
                .collect(),
            Self::Custom(ref values) => values.clone(),
        }
    }
}

/// Which of a table's indices a short run of a sampler visits. Names as in diffusers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// Multiples of `⌊T/n⌋` from 0: the last index, pure noise, is left out.
    Leading,
    /// Down from `T − 1` in steps of `T/n`: starts at the last index, stops short of 0.
    Trailing,
    /// From `T − 1` to 0, both included.
    Linspace,
}

/// A table of noise levels for integer timesteps.
///
/// As a [`NoiseSchedule`](super::NoiseSchedule) it runs from index 0 at `t = 0` to index `T − 1` at
/// `t = 1`, with `λ` linear in between. Where the last level is `−∞` it is `α/σ` that falls on a line
/// from index `T − 2` to 0.
///
/// ```
/// use vdm_core::schedule::{Betas, Discrete, Spacing};
/// let ddpm = Discrete::new(
///     Betas::Linear { steps: 1000, beta_start: 1e-4, beta_end: 0.02 }, false)?;
/// assert!((ddpm.alpha_bar(999) - 4.0358e-5).abs() < 1e-9);
/// assert_eq!(ddpm.timesteps(4, Spacing::Trailing)?, [999, 749, 499, 249]);
/// # Ok::<(), vdm_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawDiscrete", into = "RawDiscrete")]
pub struct Discrete {
    raw: RawDiscrete,
    betas: Vec<f64>,
    knots: Knots,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDiscrete {
    betas: Betas,
    #[serde(default)]
    zero_terminal_snr: bool,
}

built_from!(Discrete from RawDiscrete { betas, zero_terminal_snr });

impl Discrete {
    /// From its `β`; with `zero_terminal_snr`, rescaled so that the last index is pure noise, `λ = −∞`
    /// (Lin et al. 2024).
    ///
    /// # Errors
    /// [`Error::ScheduleBetas`] unless there are two at least, all inside `(0, 1)` and large enough to change
    /// the level; [`Error::Count`] for more than 2^20.
    pub fn new(betas: Betas, zero_terminal_snr: bool) -> Result<Self, Error> {
        betas.check_steps()?;
        let values = betas.values();
        let legal = |beta: &f64| *beta > 0.0 && *beta < 1.0;
        if values.len() < 2 || !values.iter().all(legal) {
            let found = values.iter().position(|beta| !legal(beta)).map(|n| (n, values[n]));
            return Err(Error::ScheduleBetas { steps: values.len(), found });
        }
        let log_alpha_bars: Vec<f64> = values
            .iter()
            .scan(0.0, |sum, beta| {
                *sum += (-beta).ln_1p();
                Some(*sum)
            })
            .collect();
        let (betas_kept, log_snrs) = if zero_terminal_snr {
            rescale(&log_alpha_bars)
        } else {
            // ᾱ/(1 − ᾱ)
            let log_snr = |log: &f64| log - (-log.exp_m1()).ln();
            (values, log_alpha_bars.iter().map(log_snr).collect())
        };
        let Some(knots) = Knots::uniform(log_snrs) else {
            return Err(Error::ScheduleBetas { steps: betas_kept.len(), found: None });
        };
        Ok(Self { raw: RawDiscrete { betas, zero_terminal_snr }, betas: betas_kept, knots })
    }

    /// `T`.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.betas.len()
    }

    /// `β_n`.
    ///
    /// # Panics
    /// If `n ≥ T`, as do all functions of an index.
    #[must_use]
    pub fn beta(&self, n: usize) -> f64 {
        self.betas[n]
    }

    /// `λ_n = ln(ᾱ_n/(1 − ᾱ_n))`.
    #[must_use]
    pub fn log_snr_at(&self, n: usize) -> LogSnr {
        LogSnr::new(self.knots.log_snrs()[n])
    }

    /// `ᾱ_n`, the squared signal scale under the variance-preserving scaling.
    #[doc(alias = "alphas_cumprod")]
    #[must_use]
    pub fn alpha_bar(&self, n: usize) -> f64 {
        self.log_snr_at(n).value().sigmoid()
    }

    /// DDPM's "fixed small" variance of the step from index `n` to `n − 1`, 0 for the last one to
    /// clean data: `β_n (1 − ᾱ_{n−1})/(1 − ᾱ_n)`.
    #[must_use]
    pub fn posterior_variance(&self, n: usize) -> f64 {
        let noise = |n: usize| (-self.log_snr_at(n).value()).sigmoid();
        if n == 0 { 0.0 } else { self.betas[n] * noise(n - 1) / noise(n) }
    }

    /// The time of an index.
    #[must_use]
    pub fn time_of(&self, n: usize) -> f64 {
        n as f64 / (self.steps() - 1) as f64
    }

    /// The timestep of a level, from 0 to `T − 1`: what a network that was trained on integer timesteps is
    /// told. It is fractional between two entries, with `λ` linear from one to the next, and clamped beyond
    /// the first and the last.
    ///
    /// This is the `sigma_to_t` of k-diffusion with `quantize=False` and the `_sigma_to_t` of diffusers,
    /// which are linear in `ln(σ/α) = −λ/2`; the levels are those of the network's own steps, so that in
    /// libraries that count timesteps from 1 this is theirs less 1. A network that knows integers alone is
    /// told [`nearest_timestep`](Self::nearest_timestep).
    ///
    /// ```
    /// use vdm_core::schedule::{Betas, Discrete};
    /// let ddpm = Discrete::new(
    ///     Betas::Linear { steps: 1000, beta_start: 1e-4, beta_end: 0.02 }, false)?;
    /// assert_eq!(ddpm.timestep(ddpm.log_snr_at(271)), 271.0);
    /// # Ok::<(), vdm_core::Error>(())
    /// ```
    #[doc(alias = "sigma_to_t")]
    #[must_use]
    pub fn timestep(&self, at: LogSnr) -> f64 {
        self.knots.index(at.value())
    }

    /// The integer timestep whose level is nearest in `λ`: the `sigma_to_t` of k-diffusion with
    /// `quantize=True`, and the rounded timesteps of diffusers' DPM-Solver, UniPC and DEIS. Half-way
    /// between two it is the even one, as numpy rounds.
    #[must_use]
    pub fn nearest_timestep(&self, at: LogSnr) -> usize {
        // From 0 to T − 1.
        self.timestep(at).round_ties_even() as usize
    }

    /// The `count` indices that a sampler visits, noisiest first.
    ///
    /// # Errors
    /// [`Error::Timesteps`] unless `1 ≤ count ≤ T`.
    pub fn timesteps(&self, count: usize, spacing: Spacing) -> Result<Vec<usize>, Error> {
        let steps = self.steps();
        if count == 0 || count > steps {
            return Err(Error::Timesteps { count, steps });
        }
        // Halves to even, as the reference does.
        let round = |x: f64| x.round_ties_even() as usize;
        Ok((0..count)
            .map(|i| match spacing {
                Spacing::Leading => (count - 1 - i) * (steps / count),
                Spacing::Trailing => {
                    round(steps as f64 - i as f64 * (steps as f64 / count as f64)).max(1) - 1
                }
                Spacing::Linspace => {
                    let stride = (steps - 1) as f64 / (count.max(2) - 1) as f64;
                    let from_the_end = if count == 1 { 0 } else { count - 1 - i };
                    round(from_the_end as f64 * stride)
                }
            })
            .collect())
    }
}

/// `√ᾱ' = (√ᾱ − √ᾱ_{T−1})·√ᾱ₀/(√ᾱ₀ − √ᾱ_{T−1})`: the first entry stays, the last becomes 0.
/// Returns the `β` and `λ` of the new table.
fn rescale(log_alpha_bars: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let root = |log: &f64| (0.5 * log).exp();
    let (first, last) = (root(&log_alpha_bars[0]), root(&log_alpha_bars[log_alpha_bars.len() - 1]));
    let scaled: Vec<f64> =
        log_alpha_bars.iter().map(|log| (root(log) - last) * first / (first - last)).collect();
    let mut before = 1.0;
    let betas = scaled
        .iter()
        .map(|alpha| {
            let beta = 1.0 - (alpha / before).powi(2);
            before = *alpha;
            beta
        })
        .collect();
    // 1 − α² = (1 − α)(1 + α) keeps the digits that α itself has.
    let log_snr = |a: &f64| 2.0 * a.ln() - (1.0 - a).ln() - (1.0 + a).ln();
    (betas, scaled.iter().map(log_snr).collect())
}

knots::curve_of!(Discrete);

#[cfg(test)]
mod tests {
    use super::*;

    fn table(betas: Betas, zero_terminal_snr: bool) -> Discrete {
        Discrete::new(betas, zero_terminal_snr).unwrap()
    }

    /// The formula of k-diffusion and diffusers, with their logarithms of `σ/α`.
    #[test]
    fn a_level_has_the_timestep_that_was_trained_at_it() {
        let ddpm = Betas::Linear { steps: 1000, beta_start: 1e-4, beta_end: 0.02 };
        let ddpm = table(ddpm, false);
        let log_sigma = |n: usize| ddpm.log_snr_at(n).edm_sigma().ln();
        for n in [0, 1, 500, 998] {
            assert_eq!(ddpm.timestep(ddpm.log_snr_at(n)), n as f64);
            for share in [0.25, 0.75] {
                let between = (1.0 - share) * log_sigma(n) + share * log_sigma(n + 1);
                let at = LogSnr::from_edm_sigma(between.exp());
                assert!((ddpm.timestep(at) - (n as f64 + share)).abs() < 1e-9, "{n} {share}");
                assert_eq!(ddpm.nearest_timestep(at), n + usize::from(share > 0.5));
            }
        }
        let beyond = [f64::INFINITY, 30.0, -30.0, f64::NEG_INFINITY].map(LogSnr::new);
        assert_eq!(beyond.map(|at| ddpm.timestep(at)), [0.0, 0.0, 999.0, 999.0]);
    }

    #[test]
    fn pure_noise_is_the_last_timestep_of_a_table_that_ends_there() {
        let betas = Betas::ScaledLinear { steps: 1000, beta_start: 0.000_85, beta_end: 0.012 };
        let zero = table(betas, true);
        assert_eq!(zero.timestep(LogSnr::new(f64::NEG_INFINITY)), 999.0);
        assert_eq!(zero.timestep(zero.log_snr_at(998)), 998.0);
        // Half of the α/σ of the last but one.
        let half = LogSnr::new(zero.log_snr_at(998).value() - 2.0 * 2.0_f64.ln());
        assert!((zero.timestep(half) - 998.5).abs() < 1e-9);
    }
}
