//! Error, rate and distortion by noise level, from the draws of a bound.
//!
//! What a latent costs and what it tells, in one pass over the levels from noise to data:
//!
//! ```text
//! rate        R(λ) = KL(q(z_1|x) ‖ p(z_1)) + ½ ∫_{λ_1}^{λ} E‖ε − ε̂‖² dλ'   ≥ I(x; z_λ)
//! distortion  E‖x − x̂(z_λ)‖²
//! ```
//!
//! The integral is the part of the diffusion term that belongs to the latents noisier than `λ`; in a hierarchy
//! of `T` steps it is the sum over the steps that end there, and in between the share of a step. With
//! the best denoiser it is half the area under the MMSE by SNR, hence the information that `z_λ` has
//! on `x` (Guo, Shamai and Verdú 2005); with any other it is above that. Rate against distortion is
//! the curve of progressive coding (Ho et al. 2020).

use serde::Serialize;
use vdm_core::LogSnr;
use vdm_core::bound::bits_per_dim;
use vdm_core::schedule::LogSnrRange;

/// Intervals of the curve.
const BINS: usize = 24;

/// One interval of log-SNR.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CurvePoint {
    /// Its middle.
    pub log_snr: f64,
    /// Noised copies in it.
    pub draws: u64,
    /// `E‖ε − ε̂‖²/D`.
    pub noise_error: f64,
    /// Standard error of that mean, over items. `None` unless two of them have draws here.
    pub standard_error: Option<f64>,
    /// `E‖x − x̂‖²/D`.
    pub distortion: f64,
    /// `R` at the middle, in bits per dimension.
    pub rate: f64,
}

/// Sums over the draws of one interval.
#[derive(Debug, Clone, Default)]
struct Bin {
    draws: u64,
    error: f64,
    distortion: f64,
    nats: f64,
    /// Draws and errors of each item: draws of one item are not independent.
    by_item: Vec<(u32, f64)>,
}

/// Sums over all draws.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    range: LogSnrRange,
    bins: Vec<Bin>,
}

impl Curve {
    pub(super) fn new(range: LogSnrRange, items: usize) -> Self {
        let bin = Bin { by_item: vec![(0, 0.0); items], ..Bin::default() };
        Self { range, bins: vec![bin; BINS] }
    }

    /// Observes `‖ε − ε̂‖²` at a level, and of what it counts for in the bound of one round: for the
    /// step from there to the cleaner level `end`, or in continuous time, where `end` is the level itself,
    /// for those around it.
    pub(super) fn add(&mut self, item: usize, log_snr: LogSnr, end: LogSnr, error: f64, nats: f64) {
        let [from, to] = [log_snr, end].map(|level| self.place(level));
        let bin = &mut self.bins[from as usize];
        bin.draws += 1;
        bin.error += error;
        bin.distortion += error / log_snr.snr();
        bin.by_item[item].0 += 1;
        bin.by_item[item].1 += error;
        if to == from {
            bin.nats += nats;
            return;
        }
        for i in from as usize..=to as usize {
            let within = to.min(i as f64 + 1.0) - from.max(i as f64);
            self.bins[i].nats += nats * within / (to - from);
        }
    }

    /// Where a level lies, in intervals from the noisy end; below their number.
    fn place(&self, log_snr: LogSnr) -> f64 {
        let end = BINS as f64 * (1.0 - f64::EPSILON);
        (self.range.fraction(log_snr.value()) * BINS as f64).clamp(0.0, end)
    }

    /// From noise to data, leaving out intervals without draws; `prior` is the mean of that term.
    pub(super) fn points(
        &self,
        prior: f64,
        items: usize,
        rounds: usize,
        dims: usize,
    ) -> Vec<CurvePoint> {
        let width = (self.range.max() - self.range.min()) / BINS as f64;
        let mut rate = bits_per_dim(prior, dims);
        let mut points = Vec::new();
        for (i, bin) in self.bins.iter().enumerate() {
            let own = bits_per_dim(bin.nats / (items * rounds) as f64, dims);
            if bin.draws > 0 {
                let per_component = 1.0 / (bin.draws as f64 * dims as f64);
                points.push(CurvePoint {
                    log_snr: self.range.min() + (i as f64 + 0.5) * width,
                    draws: bin.draws,
                    noise_error: bin.error * per_component,
                    standard_error: bin.spread().map(|nats| nats / dims as f64),
                    distortion: bin.distortion * per_component,
                    rate: rate + 0.5 * own,
                });
            }
            rate += own;
        }
        points
    }
}

impl Bin {
    /// Standard error of the mean error: that of a ratio of sums over independent items.
    fn spread(&self) -> Option<f64> {
        let mean = self.error / self.draws as f64;
        let seen = self.by_item.iter().filter(|(draws, _)| *draws > 0);
        let (items, squares) = seen.fold((0.0, 0.0), |(items, squares), (draws, error)| {
            (items + 1.0, squares + (error - mean * f64::from(*draws)).powi(2))
        });
        (items > 1.0).then(|| (squares * items / (items - 1.0)).sqrt() / self.draws as f64)
    }
}
