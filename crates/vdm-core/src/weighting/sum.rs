//! Several objectives at once: `w(λ) = Σ cᵢ wᵢ(λ)`.
//!
//! The loss of a sum is the sum of the losses. In logarithms, which neither overflow nor vanish where
//! the weights do,
//!
//! ```text
//! ln w = ln Σ e^{ln cᵢ + ln wᵢ}        d ln w/dλ = Σ (cᵢwᵢ/w) d ln wᵢ/dλ
//! ```

use serde::{Deserialize, Serialize};

use super::Weighting;
use crate::setting::{InvalidSetting, positive, require};
use crate::{LogSnr, NoiseSchedule, Scalar};

/// One objective of a [`Weighting::Sum`], and what it counts for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightingTerm {
    /// `cᵢ > 0`.
    pub factor: f64,
    /// `wᵢ`.
    pub weighting: Weighting,
}

impl Weighting {
    /// `w = 2p(λ) + bound`: the plain squared noise error at uniform times and `bound` times the
    /// likelihood bound, `L_simple + bound·L_∞`, both in nats per item.
    ///
    /// Nichol and Dhariwal 2021 train `L_simple + 0.001·L_vlb`, where the second term is stopped from
    /// reaching the mean. Here both train one network.
    ///
    /// ```
    /// use vdm_core::{LogSnr, Schedule, Weighting};
    /// let schedule = Schedule::linear(5.0, -5.0)?;
    /// let w = Weighting::hybrid(0.001).at(LogSnr::new(3.0), &schedule);
    /// assert!((w - 0.201).abs() < 1e-15);
    /// # Ok::<(), vdm_core::Error>(())
    /// ```
    #[must_use]
    pub fn hybrid(bound: f64) -> Self {
        let terms = vec![
            WeightingTerm { factor: 2.0, weighting: Self::Simple },
            WeightingTerm { factor: bound, weighting: Self::Elbo },
        ];
        Self::Sum { terms }
    }
}

/// `ln(e^a + e^b)`.
fn log_add<C: Scalar>(a: C, b: C) -> C {
    let (low, high) = if a.value() < b.value() { (a, b) } else { (b, a) };
    if high.value().is_infinite() { high } else { high + (low - high).softplus() }
}

/// `ln w`, if every term has a formula of its own.
pub(super) fn log_weight<C: Scalar>(terms: &[WeightingTerm], log_snr: C) -> Option<C> {
    let nothing = log_snr.lift(f64::NEG_INFINITY);
    terms.iter().try_fold(nothing, |sum, term| {
        let log = term.weighting.log_weight(log_snr)?;
        Some(log_add(sum, log_snr.lift(term.factor.ln()) + log))
    })
}

pub(super) fn log_at(
    terms: &[WeightingTerm],
    log_snr: LogSnr,
    schedule: &dyn NoiseSchedule,
) -> f64 {
    let logs = terms.iter().map(|term| term.log_at(log_snr, schedule));
    logs.fold(f64::NEG_INFINITY, log_add)
}

/// `d ln w/dλ`: the mean of those of the terms, each by its share of `w`.
pub(super) fn log_slope(
    terms: &[WeightingTerm],
    log_snr: LogSnr,
    schedule: &dyn NoiseSchedule,
) -> f64 {
    let whole = log_at(terms, log_snr, schedule);
    let part = |term: &WeightingTerm| {
        let share = (term.log_at(log_snr, schedule) - whole).exp();
        share * term.weighting.log_slope(log_snr, schedule)
    };
    terms.iter().map(part).sum()
}

/// The terms, if there are any and each makes a weight.
pub(super) fn checked(terms: Vec<WeightingTerm>) -> Result<Vec<WeightingTerm>, InvalidSetting> {
    require(!terms.is_empty(), "weighting.terms", "[]", "use at least one")?;
    terms.into_iter().map(WeightingTerm::checked).collect()
}

impl WeightingTerm {
    fn log_at(&self, log_snr: LogSnr, schedule: &dyn NoiseSchedule) -> f64 {
        self.factor.ln() + self.weighting.log_at(log_snr, schedule)
    }

    fn checked(self) -> Result<Self, InvalidSetting> {
        let Self { factor, weighting } = self;
        positive("weighting.terms.factor", factor)?;
        Ok(Self { factor, weighting: weighting.checked()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Cosine;
    use crate::weighting::Augmentation;
    use crate::{Dual, Schedule};
    use proptest::prelude::*;

    const EDM: Weighting = Weighting::Edm { p_mean: -1.2, p_std: 1.2, data_std: 0.5 };

    fn sum(terms: &[(f64, Weighting)]) -> Weighting {
        let term = |(factor, weighting): &(f64, Weighting)| WeightingTerm {
            factor: *factor,
            weighting: weighting.clone(),
        };
        Weighting::Sum { terms: terms.iter().map(term).collect() }
    }

    proptest! {
        /// Value and slope are those of the terms, added up; 1e-12 relative to the largest part.
        #[test]
        fn a_sum_is_the_sum_of_its_terms(
            level in -30.0..30.0_f64,
            factors in [1e-3..1e3_f64, 1e-3..1e3, 1e-3..1e3],
        ) {
            let (at, any) = (LogSnr::new(level), Cosine::default());
            let parts =
                [EDM, Weighting::Sigmoid { bias: 1.0 }, Weighting::MinSnr { gamma: 5.0 }];
            let terms: Vec<_> = factors.into_iter().zip(parts).collect();
            let whole = sum(&terms);
            let value: f64 = terms.iter().map(|(c, w)| c * w.at(at, &any)).sum();
            prop_assert!((whole.at(at, &any) / value - 1.0).abs() < 1e-12);
            let slopes: Vec<f64> = terms.iter().map(|(c, w)| c * w.slope(at, &any)).collect();
            let size: f64 = slopes.iter().map(|slope| slope.abs()).sum();
            let off = whole.slope(at, &any) - slopes.iter().sum::<f64>();
            prop_assert!(off.abs() <= 1e-12 * size, "{off} of {size}");
        }

        /// The order of terms, and whether a part of them is summed first, make no difference.
        #[test]
        fn sums_commute_and_nest(level in -20.0..20.0_f64, a in 0.01..9.0_f64, b in 0.01..9.0_f64) {
            let (at, any) = (LogSnr::new(level), Cosine::default());
            let sigmoid = Weighting::Sigmoid { bias: 0.0 };
            let flat = sum(&[(a, Weighting::Simple), (a * b, EDM), (a, sigmoid.clone())]);
            let inner = sum(&[(b, EDM), (1.0, Weighting::Simple), (1.0, sigmoid)]);
            let nested = sum(&[(a, inner)]);
            let ratio = flat.at(at, &any) / nested.at(at, &any);
            prop_assert!((ratio - 1.0).abs() < 1e-12, "{ratio}");
            // A central difference is in both.
            let (flat, nested) = (flat.slope(at, &any), nested.slope(at, &any));
            prop_assert!((flat - nested).abs() <= 1e-9 * (1.0 + flat.abs()), "{flat} {nested}");
        }
    }

    /// A constant beyond all numbers has slope 0 and not none.
    #[test]
    fn a_sum_that_overflows_has_a_slope() {
        let huge = sum(&[(1e308, Weighting::Elbo), (1e308, Weighting::Elbo)]);
        let (at, any) = (LogSnr::new(-30.0), Cosine::default());
        assert_eq!((huge.at(at, &any), huge.slope(at, &any)), (f64::INFINITY, 0.0));
        assert!((huge.log_at(at, &any) - (2e0_f64.ln() + 1e308_f64.ln())).abs() < 1e-10);
    }

    /// Where every term vanishes or overflows in f64 the logarithm does neither.
    #[test]
    fn logarithms_reach_beyond_the_weights() {
        let w = sum(&[(1.0, Weighting::Indi), (3.0, Weighting::VelocityCosine)]);
        let log = w.log_weight(Dual::variable(-1e4)).unwrap();
        assert!((log.value - (5e3 + 7.0_f64.ln())).abs() < 1e-11 && log.derivative == -0.5);
        let any = Cosine::default();
        let ends = [f64::NEG_INFINITY, f64::INFINITY].map(|l| w.at(LogSnr::new(l), &any));
        assert_eq!(ends, [f64::INFINITY, 0.0]);
    }

    /// Sums of monotone weights are distributions of noise, and what rises rises less beside the bound.
    #[test]
    fn the_bound_beside_a_weight_makes_it_rise_less() {
        let schedule = Schedule::cosine(6.0, -6.0).unwrap();
        let monotone = sum(&[(1.0, Weighting::Sigmoid { bias: 1.0 }), (0.5, Weighting::Elbo)]);
        let noise = Augmentation::new(monotone.clone(), &schedule).unwrap();
        let w = |l| monotone.at(LogSnr::new(l), &schedule);
        assert!((noise.point_mass() - w(6.0) / w(-6.0)).abs() < 1e-14);

        // p(λ) ∝ sech(λ/2) between the ends: it rises below 0 whatever is added, by less of the whole.
        let mass = |w: &Weighting| w.rises(schedule.range(), &schedule).unwrap()[0];
        let (alone, beside) = (mass(&Weighting::Simple), mass(&Weighting::hybrid(1.0)));
        assert!(alone.levels.max().abs() < 1e-3 && beside.levels.max().abs() < 1e-3);
        let share = |level: f64| 2.0 * Weighting::Simple.at(LogSnr::new(level), &schedule);
        let wanted = (share(0.0) - share(-6.0)) / (1.0 + share(0.0));
        assert!((beside.mass / wanted - 1.0).abs() < 1e-6, "{beside:?}, not {wanted}");
        assert!(alone.mass > 2.0 * beside.mass, "{alone:?}");
    }

    #[test]
    fn sums_are_checked_and_survive_json() {
        let json = concat!(
            r#"{"kind":"sum","terms":[{"factor":2.0,"weighting":{"kind":"simple"}},"#,
            r#"{"factor":0.001,"weighting":{"kind":"elbo"}}]}"#
        );
        let hybrid: Weighting = serde_json::from_str(json).unwrap();
        assert_eq!(hybrid, Weighting::hybrid(0.001));
        assert_eq!(serde_json::to_string(&hybrid).unwrap(), json);
        let refused = [
            (r#"{"kind":"sum","terms":[]}"#, "weighting.terms = []: use at least one"),
            (r#"{"kind":"sum"}"#, "terms"),
            (r#"{"kind":"sum","terms":[{"factor":0,"weighting":{"kind":"elbo"}}]}"#, "factor"),
            (r#"{"kind":"sum","terms":[{"factor":1,"weighting":{"kind":"elbo","k":1}}]}"#, "k"),
            (
                r#"{"kind":"sum","terms":[{"factor":1,"weighting":{"kind":"min_snr","gamma":-1}}]}"#,
                "gamma",
            ),
        ];
        for (json, named) in refused {
            let error = serde_json::from_str::<Weighting>(json).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
