//! Where a weight rises with `λ`, hence is no bound on augmented data.

use super::Weighting;
use crate::schedule::{LogSnrRange, bisect};
use crate::{Error, LogSnr, NoiseSchedule};

/// Levels between which a weight rises, and by how much.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NonMonotoneInterval {
    /// From the level where it begins to that where it ends.
    pub levels: LogSnrRange,
    /// The rise in units of the largest weight there is: the negative mass that `p_w(t)` has here
    /// when `w` is scaled to 1 at its largest, which is what makes it a distribution function when
    /// nothing rises (erratum E10).
    pub mass: f64,
}

/// Cells in which a weight is looked at.
const CELLS: usize = 1024;

/// A rise of `ln w` by less than this between two nodes is rounding.
const ROUNDING: f64 = 1e-12;

impl Weighting {
    /// All intervals of `range` where `w` rises with `λ`, upward; none for a monotone weight.
    ///
    /// Ends are refined by bisection on the sign of `dw/dλ`. Rises narrower than a thousandth of the
    /// range can be missed, and at a jump, which only [`Simple`](Self::Simple) can have, the ends
    /// are good to that width.
    ///
    /// ```
    /// use vdm_core::schedule::LogSnrRange;
    /// use vdm_core::{Schedule, Weighting};
    /// let schedule = Schedule::cosine(15.0, -15.0)?;
    /// let range = LogSnrRange::new(15.0, -15.0)?;
    /// let rises = Weighting::P2 { gamma: 1.0, k: 1.0 }.rises(range, &schedule)?;
    /// assert_eq!(rises.len(), 1);
    /// assert!((rises[0].levels.max() + 3.0_f64.ln()).abs() < 1e-12); // the mode is at λ = −ln 3
    /// assert!(Weighting::Sigmoid { bias: 1.0 }.rises(range, &schedule)?.is_empty());
    /// # Ok::<(), vdm_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ScheduleRange`] unless both ends are finite; [`Error::Setting`] if the weighting
    /// itself is not [`checked`](Self::checked).
    pub fn rises(
        &self,
        range: LogSnrRange,
        schedule: &dyn NoiseSchedule,
    ) -> Result<Vec<NonMonotoneInterval>, Error> {
        self.clone().checked()?;
        let range = range.finite()?;
        let node = |i: usize| {
            let share = i as f64 / CELLS as f64;
            range.min() * (1.0 - share) + range.max() * share
        };
        let log = |level: f64| self.log_at(LogSnr::new(level), schedule);
        let logs: Vec<f64> = (0..=CELLS).map(|i| log(node(i))).collect();
        let cells: Vec<(usize, bool)> =
            logs.windows(2).map(|pair| pair[1] - pair[0] > ROUNDING).enumerate().collect();

        let rising = |level: f64| self.log_slope(LogSnr::new(level), schedule) > 0.0;
        let turn = |i: usize| {
            if i == 0 || i == CELLS {
                return node(i);
            }
            let (low, high) = (node(i - 1), node(i + 1));
            let before = rising(low);
            if before == rising(high) {
                node(i)
            } else {
                bisect(low, high, |level| rising(level) == before)
            }
        };
        let ends = cells
            .chunk_by(|a, b| a.1 == b.1)
            .filter(|run| run[0].1)
            .map(|run| (turn(run[0].0), turn(run[run.len() - 1].0 + 1)))
            .map(|(from, to)| LogSnrRange::new(to, from))
            .collect::<Result<Vec<_>, _>>()?;
        // A weight is largest where a rise ends, or at the lowest level.
        let peak = ends.iter().map(|levels| log(levels.max())).fold(logs[0], f64::max);
        let share = |level| (log(level) - peak).exp();
        let rise = |levels: LogSnrRange| NonMonotoneInterval {
            levels,
            mass: share(levels.max()) - share(levels.min()),
        };
        Ok(ends.into_iter().map(rise).collect())
    }
}
