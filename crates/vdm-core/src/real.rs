//! The scalars that formulas are written over.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// A real number: `f64` for schedules and grids, `f32` for plain callers, [`Dual`](crate::Dual)
/// for derivatives, one number per sample of a batch for training.
///
/// The functions are the few the theory needs. Implementations must keep [`exp_m1`](Self::exp_m1)
/// and [`sigmoid`](Self::sigmoid) accurate where the naive forms cancel or overflow, since all
/// differences of signal-to-noise ratios go through them.
pub trait Real:
    Clone
    + Neg<Output = Self>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
{
    /// A constant of the same kind (for a batch: same length and device).
    #[must_use]
    fn lift(&self, constant: f64) -> Self;
    /// `e^x`.
    #[must_use]
    fn exp(&self) -> Self;
    /// `e^x − 1`, accurate near 0.
    #[must_use]
    fn exp_m1(&self) -> Self;
    /// Natural logarithm.
    #[must_use]
    fn ln(&self) -> Self;
    /// Square root.
    #[must_use]
    fn sqrt(&self) -> Self;
    /// Sine, in radians.
    #[must_use]
    fn sin(&self) -> Self;
    /// Cosine, in radians.
    #[must_use]
    fn cos(&self) -> Self;

    /// `1 / (1 + e^{−x})`, without overflow at either end.
    #[must_use]
    fn sigmoid(&self) -> Self {
        self.lift(1.0) / (self.lift(1.0) + (-self.clone()).exp())
    }
}

macro_rules! impl_real_for_float {
    ($($float:ident),*) => {$(
        impl Real for $float {
            fn lift(&self, constant: f64) -> Self {
                constant as $float
            }
            fn exp(&self) -> Self {
                $float::exp(*self)
            }
            fn exp_m1(&self) -> Self {
                $float::exp_m1(*self)
            }
            fn ln(&self) -> Self {
                $float::ln(*self)
            }
            fn sqrt(&self) -> Self {
                $float::sqrt(*self)
            }
            fn sin(&self) -> Self {
                $float::sin(*self)
            }
            fn cos(&self) -> Self {
                $float::cos(*self)
            }
        }
    )*};
}
impl_real_for_float!(f32, f64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigmoid_keeps_relative_accuracy_in_both_tails() {
        // For |x| large, sigmoid(−|x|) = e^{−|x|} to within e^{−2|x|}.
        for x in [-700.0_f64, -40.0, -20.0] {
            assert!((x.sigmoid() / x.exp() - 1.0).abs() < 3e-9, "x = {x}");
        }
        assert!((f64::sigmoid(&20.0) - (1.0 - (-20.0_f64).exp())).abs() < 1e-15);
        assert_eq!(f64::INFINITY.sigmoid().to_bits(), 1.0_f64.to_bits());
        assert_eq!(f64::NEG_INFINITY.sigmoid().to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn f32_face_stays_within_a_few_ulp_of_f64() {
        for i in -300..=300_i16 {
            let x = f32::from(i) / 10.0;
            let exact = f64::from(x).sigmoid();
            let error = (f64::from(x.sigmoid()) - exact).abs() / exact;
            assert!(error <= 4.0 * f64::from(f32::EPSILON), "sigmoid({x}) off by {error}");
        }
    }
}
