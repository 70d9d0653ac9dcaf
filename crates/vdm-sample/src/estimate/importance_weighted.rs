//! The importance-weighted bound through the `T`-step hierarchy (Burda, Grosse and Salakhutdinov 2016).
//!
//! `K` paths `z_{0:1} ~ q(z_{0:1}|x)` are weighted and averaged under the logarithm:
//!
//! ```text
//! −log p(x) ≤ −E log (1/K) Σ_k w_k,
//! log w = log p(x|z_0) + log p(z_1) + Σ log p(z_s|z_t) − log q(z_{0:1}|x)
//! ```
//!
//! For `K = 1` it is `L_T`'s bound. It falls as `K` grows, in expectation, and tends to the likelihood
//! of the `T`-step model.
//!
//! A path is drawn from noise to data. Its noise in `z = αx + σε` is an autoregression that no scaling
//! enters, since `q(z_s|z_t, x)` has mean `α_s x + (α_t σ_s²/α_s σ_t) ε_t` and variance
//! `σ_s²(1 − e^{λ_t − λ_s})`:
//!
//! ```text
//! ε_s = ρ ε_t + √(1 − ρ²) ε',   ρ = e^{(λ_t − λ_s)/2},   ε' ~ N(0, I)
//! ```
//!
//! Both distributions of `z_s` are Gaussians of one variance, their means apart by what `ε̂` misses:
//!
//! ```text
//! log p(z_s|z_t)/q(z_s|z_t, x) = −½‖d‖² + d·ε',   d = √(expm1(λ_s − λ_t)) (ε_t − ε̂)
//! ```
//!
//! whose first part is the bound's own term and whose second has mean 0.

use vdm_core::count::{Cost, bounded, bounded_product};
use vdm_core::setting::at_least_one;
use vdm_core::{Denoiser, LogSnr, NoiseLevel, NoiseSchedule, Scalar};

use super::hierarchy::{HierarchyLevels, HierarchyStep};
use super::rounds::check_range;
use super::terms::DenoiserTerms;
use super::{Estimate, EstimateError, Rounds};
use crate::{GridSpec, InnerProduct};

/// The estimator.
#[derive(Debug, Clone, Copy)]
pub struct ImportanceWeighted<'a> {
    /// Of the hierarchy.
    pub schedule: &'a dyn NoiseSchedule,
    /// How `T` becomes levels, with the schedule's ends.
    pub grid: &'a GridSpec,
    /// `T ≥ 1`.
    pub steps: u32,
    /// `K ≥ 1` paths.
    pub samples: usize,
    /// How often.
    pub rounds: Rounds,
    /// Paths that are drawn together, `≥ 1`. Changes no number.
    pub batch: usize,
}

/// A path under way.
struct Path<Z> {
    item: usize,
    /// Number of its first draw.
    number: u64,
    x: Z,
    eps: Z,
    log_weight: f64,
}

impl ImportanceWeighted<'_> {
    /// Estimates the bound of every item. The term `one_sample` is the bound of `K = 1` from the same
    /// paths; what the total is below it is what the weighting gains. `progress(round, items)` is told
    /// how many items of a round are done.
    ///
    /// # Errors
    /// Any [`EstimateError`].
    pub fn estimate<Z: InnerProduct, D: Denoiser<Z> + ?Sized>(
        &self,
        process: &DenoiserTerms<'_, Z, D>,
        mut progress: impl FnMut(u64, usize),
    ) -> Result<Estimate, EstimateError<D::Error>> {
        at_least_one("importance samples", self.samples)?;
        at_least_one("batch", self.batch)?;
        check_range(self.schedule.range())?;
        let levels = HierarchyLevels::of(self.steps, self.grid, self.schedule)?;
        let (items, samples) = (process.items.len(), self.samples);
        bounded("batch", self.batch, Cost::Items)?;
        bounded_product("items times importance samples", &[items, samples], Cost::Items)?;
        self.rounds.run(["bound", "one_sample"], items, |round| {
            let mut weights = Vec::with_capacity(items * samples);
            let paths: Vec<(usize, u64)> = (0..items)
                .flat_map(|item| {
                    (0..samples as u64).map(move |k| (item, round * samples as u64 + k))
                })
                .collect();
            for paths in paths.chunks(self.batch) {
                weights.extend(
                    self.log_weights(process, &levels, paths).map_err(EstimateError::Model)?,
                );
                progress(round, weights.len() / samples);
            }
            Ok(weights.chunks_exact(samples).map(bounds).collect())
        })
    }

    /// `log w` of some (item, path).
    fn log_weights<Z: InnerProduct, D: Denoiser<Z> + ?Sized>(
        &self,
        process: &DenoiserTerms<'_, Z, D>,
        levels: &HierarchyLevels,
        paths: &[(usize, u64)],
    ) -> Result<Vec<f64>, D::Error> {
        let steps = levels.steps();
        let start = |(item, path): &(usize, u64)| {
            let number = path * (steps as u64 + 1);
            let (x, eps) = (process.items.encode(*item), process.noise(*item, number));
            let log_weight = log_prior_ratio(&x, &eps, levels.level(steps));
            Path { item: *item, number, x, eps, log_weight }
        };
        let mut paths: Vec<Path<Z>> = paths.iter().map(start).collect();
        for i in (1..=steps).rev() {
            let HierarchyStep { start, end, factor: half } = levels.step(i);
            let gained = end.value() - start.value();
            let at = process.level(start);
            let copies: Vec<(&Z, &Z, NoiseLevel)> =
                paths.iter().map(|path| (&path.x, &path.eps, at)).collect();
            let residuals = process.residuals(&copies)?;
            let rho = (-0.5 * gained).exp();
            let fresh_std = (-(-gained).exp_m1()).sqrt();
            for (path, residual) in paths.iter_mut().zip(residuals) {
                let fresh = process.noise(path.item, path.number + (steps - i) as u64 + 1);
                path.log_weight +=
                    (2.0 * half).sqrt() * residual.dot(&fresh) - half * residual.dot(&residual);
                path.eps = Z::lincomb(&[(rho, &path.eps), (fresh_std, &fresh)]);
            }
        }
        let at = process.level(levels.level(0));
        let latents: Vec<Z> = paths
            .iter()
            .map(|path| Z::lincomb(&[(at.alpha, &path.x), (at.sigma, &path.eps)]))
            .collect();
        let asked: Vec<(usize, &Z)> = paths.iter().map(|path| path.item).zip(&latents).collect();
        let log_likelihoods = process.items.log_likelihoods(&asked, &at);
        Ok(paths.iter().zip(log_likelihoods).map(|(path, log_p)| path.log_weight + log_p).collect())
    }
}

/// `log p(z_1) − log q(z_1|x)` for the prior `N(0, (α² + σ²) I)`: with `a² = α²/(α² + σ²)` and
/// `b² = σ²/(α² + σ²)`, `−½‖ax + bε‖² + ½‖ε‖² + D ln b`.
fn log_prior_ratio<Z: InnerProduct>(x: &Z, eps: &Z, noisiest: LogSnr) -> f64 {
    let at = vdm_core::Scaling::VariancePreserving.level(noisiest.value());
    let (xx, xe, ee) = (x.dot(x), x.dot(eps), eps.dot(eps));
    let signal = at.alpha * at.alpha;
    let log_var_noise = -noisiest.value().softplus();
    0.5 * (signal * (ee - xx) - 2.0 * at.alpha * at.sigma * xe + x.len() as f64 * log_var_noise)
}

/// `−log (1/K) Σ w` and the mean of `−log w`, from logarithms.
pub(super) fn bounds(log_weights: &[f64]) -> [f64; 2] {
    let count = log_weights.len() as f64;
    let largest = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = log_weights.iter().map(|w| (w - largest).exp()).sum();
    [-(largest + (sum / count).ln()), -log_weights.iter().sum::<f64>() / count]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_averaged_and_not_summed() {
        assert_eq!(bounds(&[-3.0]), [3.0, 3.0]);
        assert_eq!(bounds(&[-1000.0; 4]), [1000.0, 1000.0]);
        let [bound, one_sample] = bounds(&[0.1_f64.ln(), 0.3_f64.ln()]);
        assert!((bound + 0.2_f64.ln()).abs() < 1e-15 && bound < one_sample);
    }
}
