//! Noise that is the same at every resolution.
//!
//! A sampler that draws afresh at every step follows another random path at every number of steps.
//! This source fixes one Brownian motion `W` per sample and answers a step from `λ_t` to `λ_s` with
//! its increment, scaled to unit variance:
//!
//! ```text
//! ξ = (W(c(λ_s)) − W(c(λ_t))) / √(c(λ_s) − c(λ_t)),   c(λ) = λ/(1 + |λ|)
//! ```
//!
//! **Any increasing clock `c` will do.** Increments over disjoint intervals are independent unit
//! normals, which is all that the distribution of a solver's output asks for. And all steps of all sizes are
//! driven by one Brownian motion in `λ`: `dB = c'(λ)^{−½} dW(c(λ))` has independent increments of
//! variance `dλ`. Of that motion, `ξ` and the increment `ΔB/√Δλ` that a step in `λ` would ask for
//! have the correlation
//!
//! ```text
//! ∫ √c' dλ / √(Δλ·Δc) = 1 − O(h²),   h = Δλ,
//! ```
//!
//! since `√c'` varies by a share `O(h)` within the step. A noise of standard deviation `O(√h)` is
//! off by `O(h^{3/2})`, independently from step to step, so that the end of a path moves by `O(h)`:
//! paths converge to that of one SDE, at strong order 1, which is as much as one normal per
//! step can give where noise is additive, as it is in all diffusion models. This clock is bounded,
//! which makes `λ = ±∞` legal levels, and slow enough in its tails to tell the levels there apart.
//!
//! The motion is a *virtual Brownian tree* (Li et al. 2020): the value at a dyadic time is found by
//! halving the clock's interval `[−1, 1]` thirty times, each midpoint from the bridge between its
//! neighbors with a random stream of its own. Nothing needs to be stored and the order of questions
//! makes no difference.

use vdm_core::{LogSnr, Real};

use super::{NoiseError, NoiseSource};
use crate::Seed;
use crate::noise::{Purpose, fill_normal};

/// Halvings of the clock's interval.
const DEPTH: u32 = 30;
/// The number of the clock's last tick.
const TICKS: u64 = 1 << DEPTH;
/// Clock time of a tick, for an interval of length 2.
const TICK: f64 = 2.0 / TICKS as f64;

/// Increments of one Brownian motion per sample, a function of (seed, sample), consistent at every
/// resolution and in every order of questions.
///
/// A new level costs 30 times the draws of [`Iid`](super::Iid), and consecutive steps share one.
/// Levels are rounded to 2⁻²⁹ of the clock `λ/(1 + |λ|)`: about `2e-9·(1 + |λ|)²` nats.
///
/// ```
/// use vdm_core::LogSnr;
/// use vdm_sample::{NoiseSource, Seed};
/// use vdm_sample::noise::BrownianPath;
/// let mut path = BrownianPath::new(Seed(7), 0, 1);
/// let mut increment = |from: f64, to: f64| {
///     let (from, to) = (LogSnr::new(from), LogSnr::new(to));
///     let mut unit = vec![0.0_f64];
///     path.fill(&mut unit, from, to)?;
///     Ok::<_, vdm_sample::noise::NoiseError>(unit[0] * (path.clock(to) - path.clock(from)).sqrt())
/// };
/// let coarse = increment(-5.0, 5.0)?;
/// let fine = increment(-5.0, 1.0)? + increment(1.0, 5.0)?;
/// assert!((coarse - fine).abs() < 1e-12);
/// # Ok::<(), vdm_sample::noise::NoiseError>(())
/// ```
#[derive(Debug, Clone)]
pub struct BrownianPath {
    tree: Tree,
    /// The ends of the interval last asked for, one of which the next step starts from.
    known: [(u64, Vec<f64>); 2],
}

impl BrownianPath {
    /// For latents that hold samples `first_sample, first_sample + 1, …` of `dims` components
    /// each, in row-major order.
    #[must_use]
    pub fn new(seed: Seed, first_sample: u64, dims: usize) -> Self {
        let tree = Tree { seed, first_sample, dims, low: vec![], high: vec![] };
        Self { tree, known: std::array::from_fn(|_| (0, vec![])) }
    }

    /// `λ/(1 + |λ|)` from −1 to 1, as rounded to this path's resolution: the variance of an
    /// increment is the difference of its ends.
    #[must_use]
    pub fn clock(&self, log_snr: LogSnr) -> f64 {
        tick(log_snr) as f64 * TICK - 1.0
    }

    /// The increment over an interval, divided by its standard deviation, into plain memory; other
    /// latent types build their [`NoiseSource`] on this.
    ///
    /// # Errors
    /// [`NoiseError::Unresolved`] if the levels are not distinct within the resolution,
    /// [`NoiseError::Backwards`] if the second is the noisier one.
    ///
    /// # Panics
    /// If the source was made for samples of 0 components.
    pub fn fill_slice<T: Real>(
        &mut self,
        out: &mut [T],
        from: LogSnr,
        to: LogSnr,
    ) -> Result<(), NoiseError> {
        let (start, end) = (tick(from), tick(to));
        if start == end || from.value().is_nan() || to.value().is_nan() {
            return Err(NoiseError::Unresolved { from, to });
        }
        if start > end {
            return Err(NoiseError::Backwards { from, to });
        }
        let [start_at, end_at] =
            [(start, end), (end, start)].map(|(tick, other)| self.place(tick, other, out.len()));
        let scale = ((end - start) as f64 * TICK).sqrt().recip();
        let (before, after) = (&self.known[start_at].1, &self.known[end_at].1);
        for ((out, before), after) in out.iter_mut().zip(before).zip(after) {
            *out = out.lift((after - before) * scale);
        }
        Ok(())
    }

    /// Where among the known values that at `tick` is, beside that at `other`.
    fn place(&mut self, tick: u64, other: u64, len: usize) -> usize {
        if let Some(i) = self.known.iter().position(|(t, w)| *t == tick && w.len() == len) {
            return i;
        }
        let free = usize::from(self.known[0].0 == other);
        let (at, value) = &mut self.known[free];
        value.resize(len, 0.0);
        self.tree.value(tick, value);
        *at = tick;
        free
    }
}

impl NoiseSource<Vec<f32>> for BrownianPath {
    fn fill(&mut self, out: &mut Vec<f32>, from: LogSnr, to: LogSnr) -> Result<(), NoiseError> {
        self.fill_slice(out, from, to)
    }
}

impl NoiseSource<Vec<f64>> for BrownianPath {
    fn fill(&mut self, out: &mut Vec<f64>, from: LogSnr, to: LogSnr) -> Result<(), NoiseError> {
        self.fill_slice(out, from, to)
    }
}

/// The tick of a level: `(1 + c)/2` of them all.
fn tick(log_snr: LogSnr) -> u64 {
    let log_snr = log_snr.value();
    // 1/(1/|λ| + 1), which is 1 at infinity.
    let clock = (log_snr.abs().recip() + 1.0).recip().copysign(log_snr);
    ((1.0 + clock) / TICK).round() as u64
}

/// The motion itself: `W = 0` at the first tick, and midpoints of bridges below it.
#[derive(Debug, Clone)]
struct Tree {
    seed: Seed,
    first_sample: u64,
    dims: usize,
    /// The values at both ends of the interval that is being halved.
    low: Vec<f64>,
    high: Vec<f64>,
}

impl Tree {
    /// `W` at a tick, over `out`.
    fn value(&mut self, tick: u64, out: &mut [f64]) {
        out.fill(0.0);
        if tick == 0 {
            return;
        }
        self.low.clear();
        self.low.resize(out.len(), 0.0);
        self.draw(0, out);
        out.iter_mut().for_each(|w| *w *= std::f64::consts::SQRT_2);
        // Nodes are numbered like those of a heap, the end of the clock being number 0.
        let (mut node, mut start, mut end) = (1, 0, TICKS);
        while tick != end {
            self.high.clear();
            self.high.extend_from_slice(out);
            self.draw(node, out);
            let std = 0.5 * ((end - start) as f64 * TICK).sqrt();
            for ((w, low), high) in out.iter_mut().zip(&self.low).zip(&self.high) {
                *w = 0.5 * (low + high) + std * *w;
            }
            let middle = start + (end - start) / 2;
            if tick <= middle {
                (node, end) = (2 * node, middle);
            } else {
                self.low.copy_from_slice(out);
                out.copy_from_slice(&self.high);
                (node, start) = (2 * node + 1, middle);
            }
        }
    }

    fn draw(&self, node: u64, out: &mut [f64]) {
        fill_normal(out, self.dims, self.seed, Purpose::BrownianPath, node, self.first_sample);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The increment itself, of any variance.
    fn increment(path: &mut BrownianPath, from: f64, to: f64, len: usize) -> Vec<f64> {
        let (from, to) = (LogSnr::new(from), LogSnr::new(to));
        let mut unit = vec![0.0; len];
        path.fill(&mut unit, from, to).unwrap();
        let std = (path.clock(to) - path.clock(from)).sqrt();
        unit.iter().map(|xi| xi * std).collect()
    }

    proptest! {
        // Each question walks 30 nodes of a tree, and a case asks dozens.
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Telescoping sums of numbers of order 1: each of up to 40 terms rounds by 1e-16.
        #[test]
        fn refinements_add_up_to_the_coarse_increment(
            mut cuts in prop::collection::vec(-25.0..25.0_f64, 2..40), seed: u64,
        ) {
            cuts.sort_by(f64::total_cmp);
            cuts.dedup_by(|a, b| (*a - *b).abs() < 1e-4);
            prop_assume!(cuts.len() > 1);
            let mut path = BrownianPath::new(Seed(seed), 3, 2);
            let coarse = increment(&mut path, cuts[0], cuts[cuts.len() - 1], 4);
            let mut sum = [0.0; 4];
            for pair in cuts.windows(2) {
                let part = increment(&mut path, pair[0], pair[1], 4);
                sum.iter_mut().zip(part).for_each(|(s, p)| *s += p);
            }
            for (sum, coarse) in sum.iter().zip(coarse) {
                prop_assert!((sum - coarse).abs() < 1e-12, "{} and {}", sum, coarse);
            }
        }

        /// A question asked of a fresh path and after others is answered by the same bits.
        #[test]
        fn the_order_of_questions_makes_no_difference(
            mut asked in prop::collection::vec((-25.0..0.0_f64, 0.1..25.0_f64), 1..12), seed: u64,
        ) {
            let mut path = BrownianPath::new(Seed(seed), 0, 3);
            let answers: Vec<_> =
                asked.iter().map(|(a, b)| increment(&mut path, *a, *b, 6)).collect();
            asked.reverse();
            for ((a, b), answer) in asked.iter().zip(answers.iter().rev()) {
                prop_assert_eq!(&increment(&mut path, *a, *b, 6), answer);
                let mut fresh = BrownianPath::new(Seed(seed), 0, 3);
                prop_assert_eq!(&increment(&mut fresh, *a, *b, 6), answer);
            }
        }
    }

    #[test]
    fn infinities_are_legal_and_the_way_back_is_refused() {
        let mut path = BrownianPath::new(Seed(4), 0, 2);
        let ends = [f64::NEG_INFINITY, -3.0, 0.0, 8.0, f64::INFINITY];
        for (i, a) in ends.iter().enumerate() {
            for b in &ends[i + 1..] {
                let there = increment(&mut path, *a, *b, 2);
                assert!(there.iter().all(|w| w.is_finite()), "{there:?}");
                let back = path.fill(&mut vec![0.0_f64], LogSnr::new(*b), LogSnr::new(*a));
                assert!(matches!(back, Err(NoiseError::Backwards { .. })), "{back:?}");
            }
        }
        assert_eq!(path.clock(LogSnr::new(f64::INFINITY)), 1.0);
        assert_eq!(path.clock(LogSnr::new(-1.0)), -0.5);
    }

    #[test]
    fn levels_that_cannot_be_told_apart_are_an_error() {
        let mut path = BrownianPath::new(Seed(4), 0, 1);
        for (from, to) in [(1.0, 1.0), (1.0, 1.0 + 1e-9), (f64::NAN, 1.0), (1.0, f64::NAN)] {
            let (from, to) = (LogSnr::new(from), LogSnr::new(to));
            let error = path.fill(&mut vec![0.0_f64], from, to).unwrap_err();
            assert!(matches!(error, NoiseError::Unresolved { .. }), "{error}");
        }
    }

    /// Over 20,000 components, 200 to a sample: the increment of each of five disjoint intervals has the variance of the
    /// clock, and no two correlate. Five standard errors for each of the 5 variances and 10
    /// correlations: a false alarm in 1e5 fresh seeds, and this one is fixed.
    #[test]
    fn increments_are_independent_with_the_variance_of_the_clock() {
        let paths = 20_000;
        let ends = [f64::NEG_INFINITY, -6.0, -0.3, -0.1, 4.0, f64::INFINITY];
        let mut path = BrownianPath::new(Seed(12), 0, 200);
        let units: Vec<Vec<f64>> = ends
            .windows(2)
            .map(|pair| {
                let mut unit = vec![0.0; paths];
                path.fill(&mut unit, LogSnr::new(pair[0]), LogSnr::new(pair[1])).unwrap();
                unit
            })
            .collect();
        let n = paths as f64;
        for (i, a) in units.iter().enumerate() {
            for (j, b) in units[..=i].iter().enumerate() {
                let product = a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / n;
                let (wanted, std) = if i == j { (1.0, 2.0_f64.sqrt()) } else { (0.0, 1.0) };
                assert!((product - wanted).abs() < 5.0 * std / n.sqrt(), "{i}, {j}: {product}");
            }
        }
    }
}
