//! The scalars that formulas are written over.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};
use std::fmt::Debug;
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
    /// Hyperbolic tangent.
    #[must_use]
    fn tanh(&self) -> Self;

    /// `1 / (1 + e^{−x})`, without overflow at either end.
    #[must_use]
    fn sigmoid(&self) -> Self {
        self.lift(1.0) / (self.lift(1.0) + (-self.clone()).exp())
    }
}

/// One real number: `f32`, `f64` or [`Dual`](crate::Dual).
///
/// Unlike a whole batch of them it has a value to branch on, and the special functions that
/// schedules and weightings are written with.
pub trait Scalar: Real + Copy + Debug {
    /// The number itself, without its derivative.
    #[must_use]
    fn value(&self) -> f64;
    /// `ln(1 + x)`, accurate near 0.
    #[must_use]
    fn ln_1p(&self) -> Self;
    /// `x^exponent`, for `x ≥ 0`.
    #[must_use]
    fn powf(&self, exponent: f64) -> Self;
    /// Sine, in radians.
    #[must_use]
    fn sin(&self) -> Self;
    /// Cosine, in radians.
    #[must_use]
    fn cos(&self) -> Self;
    /// Tangent, in radians.
    #[must_use]
    fn tan(&self) -> Self;
    /// Arc tangent, in radians.
    #[must_use]
    fn atan(&self) -> Self;
    /// `Φ(x)`, the standard normal's distribution function; relative accuracy in the left tail.
    #[must_use]
    fn normal_cdf(&self) -> Self;
    /// `Φ⁻¹(p)` for `p` in `[0, 1]`. Ask for the smaller of `p` and `1 − p`: near 1 a `p` no longer
    /// tells how far out it is.
    #[must_use]
    fn normal_quantile(&self) -> Self;

    /// `ln(1 + e^x)` without overflow; `−softplus(−x)` is the logarithm of `sigmoid(x)`.
    #[must_use]
    fn softplus(&self) -> Self {
        if self.value() > 0.0 { *self + (-*self).exp().ln_1p() } else { self.exp().ln_1p() }
    }
}

/// Two steps of Halley's method, each of which triples the digits, on a start that is good to
/// 4.5e-4 (Abramowitz and Stegun 1964, 26.2.23).
fn normal_quantile(p: f64) -> f64 {
    if p > 0.5 {
        return -normal_quantile(1.0 - p);
    }
    if p <= 0.0 {
        return if p < 0.0 { f64::NAN } else { f64::NEG_INFINITY };
    }
    let r = (-2.0 * p.ln()).sqrt();
    let start = (2.515_517 + r * (0.802_853 + r * 0.010_328))
        / (1.0 + r * (1.432_788 + r * (0.189_269 + r * 0.001_308)))
        - r;
    (0..2).fold(start, |x, _| {
        let step = (x.normal_cdf() - p) / normal_density(x);
        x - step / (1.0 + 0.5 * x * step)
    })
}

/// `φ(x)`.
pub(crate) fn normal_density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / TAU.sqrt()
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
            fn tanh(&self) -> Self {
                $float::tanh(*self)
            }
        }

        impl Scalar for $float {
            fn value(&self) -> f64 {
                f64::from(*self)
            }
            fn ln_1p(&self) -> Self {
                $float::ln_1p(*self)
            }
            fn powf(&self, exponent: f64) -> Self {
                $float::powf(*self, exponent as $float)
            }
            fn sin(&self) -> Self {
                $float::sin(*self)
            }
            fn cos(&self) -> Self {
                $float::cos(*self)
            }
            fn tan(&self) -> Self {
                $float::tan(*self)
            }
            fn atan(&self) -> Self {
                $float::atan(*self)
            }
            fn normal_cdf(&self) -> Self {
                (0.5 * libm::erfc(-f64::from(*self) * FRAC_1_SQRT_2)) as $float
            }
            fn normal_quantile(&self) -> Self {
                normal_quantile(f64::from(*self)) as $float
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
    fn softplus_is_a_line_on_the_right_and_an_exponential_on_the_left() {
        assert_eq!(f64::softplus(&800.0).to_bits(), 800.0_f64.to_bits());
        assert!((f64::softplus(&-40.0) / (-40.0_f64).exp() - 1.0).abs() < 1e-15);
        assert!((f64::softplus(&0.0) - std::f64::consts::LN_2).abs() < 1e-16);
    }

    /// Reference values to 17 digits from 50-digit arithmetic; 4 ulp.
    #[test]
    fn normal_quantiles_match() {
        let cases = [
            (1e-300, -37.047_096_299_361_2),
            (1e-10, -6.361_340_902_404_056),
            (0.025, -1.959_963_984_540_054),
            (0.25, -0.674_489_750_196_081_7),
            (0.75, 0.674_489_750_196_081_7),
        ];
        for (p, wanted) in cases {
            let got = f64::normal_quantile(&p);
            assert!((got / wanted - 1.0_f64).abs() < 1e-15, "Φ⁻¹({p}) = {got}, not {wanted}");
            assert!((got.normal_cdf() / p - 1.0).abs() < 1e-12, "Φ(Φ⁻¹({p}))");
        }
        assert_eq!(f64::normal_quantile(&0.0), f64::NEG_INFINITY);
        assert_eq!(f64::normal_quantile(&1.0), f64::INFINITY);
        assert!(f64::normal_quantile(&-0.1).is_nan());
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
