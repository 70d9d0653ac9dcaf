//! From the error of a step to the length of the next.

/// Where a step's error falls short of its tolerance by this factor, the next aims to.
const SAFETY: f64 = 0.9;

/// Proportional–integral control (Gustafsson 1991): the next step follows from the errors of the
/// last two, which damps the see-saw of steps that each forget the one before.
///
/// ```text
/// h⁺ = h · 0.9 · r^{−0.85/k} · r_before^{0.2/k}
/// ```
///
/// with `r` the error over its tolerance and `k` the order of the estimate, `r ∝ h^k`. The exponents
/// are `β = 0.2/k` and `1/k − ¾β` (Hairer and Wanner 1996, §IV.2).
#[derive(Debug, Clone, Copy)]
pub(super) struct Controller {
    before: f64,
    rejected: bool,
}

impl Controller {
    /// Before the first step.
    pub(super) fn new() -> Self {
        Self { before: 1.0, rejected: false }
    }

    /// The factor of the next step after one whose error was `ratio ≤ 1` of its tolerance.
    pub(super) fn accept(&mut self, ratio: f64, k: f64) -> f64 {
        let factor = SAFETY * ratio.powf(-0.85 / k) * self.before.powf(0.2 / k);
        // A step that was just cut is not lengthened at once. Ratios near 0 would stop the next.
        let largest = if self.rejected { 1.0 } else { 5.0 };
        *self = Self { before: ratio.max(1e-4), rejected: false };
        factor.clamp(0.2, largest)
    }

    /// The factor of the same step tried again; the error says all there is to know.
    pub(super) fn reject(&mut self, ratio: f64, k: f64) -> f64 {
        self.rejected = true;
        (SAFETY * ratio.powf(-1.0 / k)).clamp(0.1, SAFETY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step whose error obeys `r = (h/h*)^k` settles just below `h*`, from far on either side.
    #[test]
    fn steps_settle_below_the_tolerance() {
        for (k, start) in [(3.0, 1e-6), (5.0, 1e4), (8.0, 0.01)] {
            let (mut h, mut control, mut rejections) = (start, Controller::new(), 0);
            for _ in 0..60 {
                let ratio = f64::powf(h, k);
                if ratio <= 1.0 {
                    h *= control.accept(ratio, k);
                } else {
                    rejections += 1;
                    h *= control.reject(ratio, k);
                }
            }
            // The fixed point of the rule, r = 0.9^{k/0.65}.
            let settled = SAFETY.powf(1.0 / 0.65);
            assert!((h / settled - 1.0).abs() < 0.01, "{k}: {h}, not {settled}");
            assert!(rejections < 8, "{k}: {rejections}");
        }
    }

    #[test]
    fn factors_are_bounded_and_a_cut_step_does_not_grow_at_once() {
        let mut control = Controller::new();
        assert_eq!(control.accept(0.0, 5.0), 5.0);
        assert_eq!(control.reject(1e30, 5.0), 0.1);
        assert_eq!(control.accept(1e-12, 5.0), 1.0);
        assert!(control.accept(1e-12, 5.0) > 1.0);
    }
}
