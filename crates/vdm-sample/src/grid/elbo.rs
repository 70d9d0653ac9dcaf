//! The grid with the best bound.

use serde::{Deserialize, Serialize};
use vdm_core::count::{Cost, bounded_product};
use vdm_core::setting::{InvalidSetting, non_negative, require};
use vdm_core::{LogSnr, bound};

use super::GridError;

/// What a model's error is at each of some levels, measured once, to choose a grid from.
///
/// The bound of a hierarchy of `T` steps is a sum over its steps (monograph §2.2.4),
///
/// ```text
/// L_T = ½ Σ expm1(λ_s − λ_t)·e(λ_t),   e(λ) = E‖ε − ε̂‖²,
/// ```
///
/// so that the best `T` steps through candidate levels are a shortest path of `T` edges, found
/// exactly by dynamic programming in `O(n²·T)` for `n` candidates (Watson et al. 2021). Use it for
/// likelihoods and for ancestral sampling in few steps; a good bound is no promise of good-looking
/// samples, as that paper reports too.
///
/// In a configuration: `{"log_snrs": [...], "errors": [...]}`, noisiest level first.
///
/// ```
/// use vdm_sample::grid::LossTable;
/// // An error that jumps after λ = −1: the second step had better start before that.
/// let log_snrs: Vec<f64> = (-3..=3).map(f64::from).collect();
/// let losses = LossTable::new(log_snrs, vec![0.1, 0.1, 0.1, 5.0, 5.0, 5.0, 5.0])?;
/// assert_eq!(losses.best(2)?, [-3.0, -1.0, 3.0]);
/// # Ok::<(), vdm_sample::grid::GridError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawTable", into = "RawTable")]
pub struct LossTable {
    log_snrs: Vec<f64>,
    errors: Vec<f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTable {
    log_snrs: Vec<f64>,
    errors: Vec<f64>,
}

impl TryFrom<RawTable> for LossTable {
    type Error = InvalidSetting;
    fn try_from(raw: RawTable) -> Result<Self, InvalidSetting> {
        Self::new(raw.log_snrs, raw.errors)
    }
}

impl From<LossTable> for RawTable {
    fn from(LossTable { log_snrs, errors }: LossTable) -> Self {
        Self { log_snrs, errors }
    }
}

/// The widest range of log-SNR over which `e^{λ_s − λ_t}` is a number.
const WIDEST: f64 = 700.0;

impl LossTable {
    /// From candidate levels, noisiest first, which the grid's ends are among as the first and the
    /// last, and `E‖ε − ε̂‖²` at each, summed over components. The last one's error is never used:
    /// the model is not called where a step ends.
    ///
    /// # Errors
    /// [`InvalidSetting`] unless there are two levels at least, finite and rising, over at most
    /// 700 nats, and as many errors, finite and not negative.
    pub fn new(log_snrs: Vec<f64>, errors: Vec<f64>) -> Result<Self, InvalidSetting> {
        let (n, field) = (log_snrs.len(), "losses.log_snrs");
        let value = format_args!("{n} log_snrs, {} errors", errors.len());
        require(n >= 2 && n == errors.len(), "losses", value, "use as many of each, at least 2")?;
        let legal = log_snrs.iter().all(|l| l.is_finite()) && log_snrs.is_sorted_by(|a, b| a < b);
        let remedy = "use finite numbers that rise (for a last step to clean data set clean)";
        require(legal, field, format_args!("{log_snrs:?}"), remedy)?;
        let width = log_snrs[n - 1] - log_snrs[0];
        let value = format_args!("a range of {width} nats");
        require(width <= WIDEST, field, value, "use one of at most 700")?;
        errors.iter().try_for_each(|error| non_negative("losses.errors", *error))?;
        Ok(Self { log_snrs, errors })
    }

    /// The `steps + 1` candidates, noisiest first, over which the bound of `steps` steps is least.
    ///
    /// # Errors
    /// [`GridError::Candidates`] unless `1 ≤ steps < n`; [`GridError::Schedule`] for more than 2^24 pairs of
    /// a step and a candidate.
    pub fn best(&self, steps: usize) -> Result<Vec<f64>, GridError> {
        let n = self.log_snrs.len();
        if steps == 0 || steps >= n {
            return Err(GridError::Candidates { steps, candidates: n });
        }
        bounded_product("steps times candidate levels", &[steps + 1, n], Cost::Items)
            .map_err(vdm_core::Error::from)?;
        // The least bound from candidate 0 to `j` in `k` steps, with the candidate before `j`.
        let mut least = vec![vec![(f64::INFINITY, 0); n]; steps + 1];
        least[0][0].0 = 0.0;
        for t in 0..n {
            for s in t + 1..n {
                let term = self.term(s, t);
                for k in 0..steps {
                    let total = least[k][t].0 + term;
                    if total < least[k + 1][s].0 {
                        least[k + 1][s] = (total, t);
                    }
                }
            }
        }
        let mut at = n - 1;
        let mut path = vec![self.log_snrs[at]];
        for row in least[1..].iter().rev() {
            at = row[at].1;
            path.push(self.log_snrs[at]);
        }
        path.reverse();
        Ok(path)
    }

    /// The term of a step from candidate `t` to the cleaner candidate `s`, in nats.
    fn term(&self, s: usize, t: usize) -> f64 {
        let level = |i: usize| LogSnr::new(self.log_snrs[i]);
        bound::discrete_factor(level(s), level(t)) * self.errors[t]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vdm_core::{GaussianMixture, Scaling};

    /// `L_T` of a path through candidates.
    fn total(losses: &LossTable, path: &[usize]) -> f64 {
        path.windows(2).map(|step| losses.term(step[1], step[0])).sum()
    }

    /// The least bound over all choices of `steps − 1` candidates between the ends.
    fn brute_force(losses: &LossTable, steps: usize) -> f64 {
        let n = losses.log_snrs.len();
        (0..1_u32 << (n - 2))
            .filter(|chosen| chosen.count_ones() as usize == steps - 1)
            .map(|chosen| {
                let inner = (1..n - 1).filter(|i| chosen >> (i - 1) & 1 == 1);
                let path: Vec<usize> = [0].into_iter().chain(inner).chain([n - 1]).collect();
                total(losses, &path)
            })
            .fold(f64::INFINITY, f64::min)
    }

    fn indices(losses: &LossTable, path: &[f64]) -> Vec<usize> {
        path.iter().map(|l| losses.log_snrs.iter().position(|c| c == l).unwrap()).collect()
    }

    proptest! {
        /// The same sum in the same order is taken for both; 1e-12 allows for the optimum being tied.
        #[test]
        fn no_choice_of_candidates_is_better(
            gaps in prop::collection::vec((0.01..2.0_f64, 0.0..5.0_f64), 2..10),
        ) {
            let log_snrs: Vec<f64> = gaps.iter().scan(-4.0, |l, (gap, _)| {
                *l += gap;
                Some(*l)
            }).collect();
            let n = log_snrs.len();
            let losses = LossTable::new(log_snrs, gaps.iter().map(|g| g.1).collect()).unwrap();
            for steps in 1..n {
                let path = losses.best(steps).unwrap();
                prop_assert_eq!(path.len(), steps + 1);
                let (got, wanted) = (total(&losses, &indices(&losses, &path)), brute_force(&losses, steps));
                prop_assert!((got - wanted).abs() <= 1e-12 * wanted.abs(), "{} and {}", got, wanted);
            }
        }
    }

    /// On the exact errors of a mixture: never worse than steps uniform in `λ`, which are among the
    /// candidates, and above the bound of infinitely many steps.
    #[test]
    fn a_mixtures_best_bound_lies_between_the_uniform_and_the_continuous_one() {
        let data =
            GaussianMixture::new(vec![0.4, 0.6], vec![vec![-1.0], vec![0.7]], vec![0.2, 0.1]);
        let data = data.unwrap();
        let error =
            |l: f64| LogSnr::new(l).snr() * data.mmse(&Scaling::VariancePreserving.level(l));
        let log_snrs: Vec<f64> = (0..=120).map(|i| -6.0 + 0.1 * f64::from(i)).collect();
        let errors = log_snrs.iter().map(|l| error(*l)).collect();
        let losses = LossTable::new(log_snrs, errors).unwrap();
        let range = vdm_core::schedule::LogSnrRange::new(6.0, -6.0).unwrap();
        let limit = bound::continuous(range, |l| error(l.value()));
        for steps in [5, 10, 20] {
            let best = total(&losses, &indices(&losses, &losses.best(steps).unwrap()));
            let uniform: Vec<usize> = (0..=120).step_by(120 / steps).collect();
            let uniform = total(&losses, &uniform);
            assert!(limit < best && best < uniform, "{steps}: {limit} {best} {uniform}");
        }
    }

    #[test]
    fn what_is_no_table_is_refused_with_its_numbers() {
        let refused = |log_snrs: &[f64], errors: &[f64], named: &str| {
            let error = LossTable::new(log_snrs.to_vec(), errors.to_vec()).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        };
        refused(&[1.0], &[1.0], "losses = 1 log_snrs, 1 errors: use as many of each, at least 2");
        refused(&[1.0, 2.0], &[1.0], "2 log_snrs, 1 errors");
        refused(&[1.0, 1.0], &[1.0, 1.0], "rise");
        refused(&[1.0, f64::INFINITY], &[1.0, 1.0], "set clean");
        refused(&[-400.0, 400.0], &[1.0, 1.0], "800");
        refused(&[1.0, 2.0], &[-1.0, 1.0], "losses.errors = -1:");
        let three = LossTable::new(vec![0.0, 1.0, 2.0], vec![1.0; 3]).unwrap();
        assert_eq!(three.best(2).unwrap(), [0.0, 1.0, 2.0]);
        for steps in [0, 3] {
            let error = three.best(steps).unwrap_err();
            assert_eq!(error, GridError::Candidates { steps, candidates: 3 });
        }
    }
}
