//! Integrals to the last digits: the second side of every equation that has an integral in it.
//!
//! Bounds are integrals over noise levels of expectations under normal laws, and for oracles both can
//! be had without sampling. [`interval`] serves the first, [`normal`] the second.
//!
//! ```
//! use vdm_core::quadrature;
//! let area = quadrature::interval(0.0, 1.0, |t| t.exp());
//! assert!((area - (1.0_f64.exp() - 1.0)).abs() < 1e-14);
//! let fourth_moment = quadrature::normal(1, |x| x[0].powi(4));
//! assert!((fourth_moment - 3.0).abs() < 1e-13);
//! ```

use crate::real::normal_density;

/// Positive nodes of the 15-point Kronrod rule with its weights, and those of the 7-point Gauss rule
/// that shares every second node (0 elsewhere).
const KRONROD: [(f64, f64, f64); 8] = [
    (0.991_455_371_120_812_6, 0.022_935_322_010_529_224, 0.0),
    (0.949_107_912_342_758_5, 0.063_092_092_629_978_56, 0.129_484_966_168_869_7),
    (0.864_864_423_359_769_1, 0.104_790_010_322_250_19, 0.0),
    (0.741_531_185_599_394_4, 0.140_653_259_715_525_92, 0.279_705_391_489_276_64),
    (0.586_087_235_467_691_1, 0.169_004_726_639_267_9, 0.0),
    (0.405_845_151_377_397_2, 0.190_350_578_064_785_4, 0.381_830_050_505_118_9),
    (0.207_784_955_007_898_47, 0.204_432_940_075_298_89, 0.0),
    (0.0, 0.209_482_141_084_727_82, 0.417_959_183_673_469_4),
];

/// Pieces after which [`interval`] takes what it has.
const PIECES: usize = 1_000_000;

/// `∫ₐᵇ f` for a smooth `f`, by halving where the 7- and 15-point rules disagree by more than 1e-13
/// of the whole. It stops after a million pieces, which only a noisy `f` asks for; peaks
/// narrower than a hundredth of the interval may be missed. NaN where `f` is, and over an interval without
/// end: map that to a finite one first.
#[must_use]
pub fn interval(a: f64, b: f64, mut f: impl FnMut(f64) -> f64) -> f64 {
    // Eight to begin with, so that a lone peak between the first nodes is seen.
    let cut = |i: u8| a + (b - a) * f64::from(i) / 8.0;
    let mut pieces: Vec<(f64, f64)> = (0..8).rev().map(|i| (cut(i), cut(i + 1))).collect();
    let whole: f64 = pieces.iter().map(|(a, b)| kronrod(*a, *b, &mut f).0).sum();
    let (mut sum, mut seen) = (0.0_f64, 0);
    while let Some((a, b)) = pieces.pop() {
        let (fine, error) = kronrod(a, b, &mut f);
        if fine.is_nan() || error.is_nan() {
            return f64::NAN;
        }
        let middle = 0.5 * (a + b);
        seen += 1;
        let settled = error <= 1e-13 * whole.abs().max(sum.abs()).max(fine.abs());
        if settled || seen > PIECES || middle <= a || middle >= b {
            sum += fine;
        } else {
            pieces.extend([(middle, b), (a, middle)]);
        }
    }
    sum
}

/// The 15-point estimate and its distance from the 7-point one.
fn kronrod(a: f64, b: f64, f: &mut impl FnMut(f64) -> f64) -> (f64, f64) {
    let (center, half) = (0.5 * (a + b), 0.5 * (b - a));
    let (mut fine, mut coarse) = (0.0, 0.0);
    for (node, weight, gauss) in KRONROD {
        let value =
            if node == 0.0 { f(center) } else { f(center - half * node) + f(center + half * node) };
        fine += weight * value;
        coarse += gauss * value;
    }
    (half * fine, (half * (fine - coarse)).abs())
}

/// Distance of the nodes of [`normal`]. For entire functions of moderate growth halving it changes
/// nothing; where the components of a mixture switch abruptly it leaves a relative error of 1e-9.
const STEP: f64 = 0.2;
/// Nodes on either side of 0: up to 9 standard deviations, beyond which lies 2e-19 of the mass.
const SIDE: i32 = 45;

/// `E f(ε)` for `ε ~ N(0, I)` of `dims` dimensions, for a smooth `f`.
///
/// The trapezoidal rule, whose error under a normal weight falls faster than any power of the step.
/// It takes `91^dims` evaluations, so it is for one to three dimensions.
#[must_use]
pub fn normal(dims: usize, mut f: impl FnMut(&[f64]) -> f64) -> f64 {
    let nodes: Vec<(f64, f64)> = (-SIDE..=SIDE)
        .map(|i| f64::from(i) * STEP)
        .map(|x| (x, STEP * normal_density(x)))
        .collect();
    let mut at = vec![0; dims];
    let mut point: Vec<f64> = at.iter().map(|i: &usize| nodes[*i].0).collect();
    let mut sum = 0.0;
    loop {
        let weight: f64 = at.iter().map(|i| nodes[*i].1).product();
        sum += weight * f(&point);
        // The next point, in the manner of an odometer.
        let Some(turning) = at.iter().position(|i| i + 1 < nodes.len()) else { return sum };
        at[..turning].fill(0);
        at[turning] += 1;
        for (x, i) in point.iter_mut().zip(&at) {
            *x = nodes[*i].0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Kronrod rule is exact up to degree 22, the Gauss rule up to 13: both hold only for the
    /// right constants.
    #[test]
    fn rules_are_exact_to_their_degrees() {
        for degree in 0..=22 {
            let (fine, error) = kronrod(0.0, 2.0, &mut |x: f64| x.powi(degree));
            let exact = 2.0_f64.powi(degree + 1) / f64::from(degree + 1);
            assert!((fine / exact - 1.0).abs() < 1e-14, "degree {degree}: {fine}, not {exact}");
            assert_eq!(error > 1e-9 * exact, degree > 13, "degree {degree}: {error}");
        }
    }

    #[test]
    fn jumps_end_too() {
        let share = interval(0.0, 1.0, |t| if t < 0.3 { 1.0 } else { 0.0 });
        assert!((share - 0.3).abs() < 1e-9, "{share}");
        let noise = interval(0.0, 1.0, |t| (t * 1e9).sin());
        assert!(noise.abs() < 0.1, "{noise}");
    }

    /// At once, not after a million pieces.
    #[test]
    fn what_is_no_number_ends_the_search() {
        let mut calls = 0;
        let hole = interval(0.0, 1.0, |t| {
            calls += 1;
            if t > 0.4 { f64::NAN } else { t }
        });
        assert!(hole.is_nan() && calls < 1000, "{hole} after {calls} calls");
        assert!(interval(0.0, f64::INFINITY, |t| (-t).exp()).is_nan());
    }

    #[test]
    fn narrow_peaks_are_found() {
        let area = interval(-30.0, 30.0, |x| normal_density((x - 3.3) / 0.3) / 0.3);
        assert!((area - 1.0).abs() < 1e-12, "{area}");
    }

    #[test]
    fn normal_expectations_are_exact() {
        assert!((normal(0, |_| 7.0) - 7.0).abs() < f64::EPSILON);
        let moment = normal(2, |x| x[0].powi(2) * x[1].powi(4));
        assert!((moment - 3.0).abs() < 1e-12, "{moment}");
        let generating = normal(2, |x| (0.5 * x[0] - 1.5 * x[1]).exp());
        assert!((generating / (0.5_f64 * 2.5).exp() - 1.0).abs() < 1e-13, "{generating}");
    }
}
