//! Quantiles of the Beta distribution.

use libm::lgamma;
use vdm_core::setting::{InvalidSetting, require};

/// The distribution on `[0, 1]` with density `∝ x^{alpha−1}(1 − x)^{beta−1}`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beta {
    alpha: f64,
    beta: f64,
}

impl Beta {
    pub(super) fn new(alpha: f64, beta: f64) -> Result<Self, InvalidSetting> {
        for (field, value) in [("grid.alpha", alpha), ("grid.beta", beta)] {
            let legal = value > 0.0 && value <= 1000.0;
            require(legal, field, value, "use a number above 0 and at most 1000")?;
        }
        Ok(Self { alpha, beta })
    }

    /// The distribution of `1 − x`.
    pub(super) fn mirrored(self) -> Self {
        Self { alpha: self.beta, beta: self.alpha }
    }

    /// The `x` below which a share `p` of the mass lies, by bisection to the last digit.
    pub(super) fn quantile(self, p: f64) -> f64 {
        let (mut low, mut high) = (0.0, 1.0);
        loop {
            let middle = 0.5 * (low + high);
            if middle <= low || middle >= high {
                return middle;
            }
            if self.cdf(middle) < p { low = middle } else { high = middle }
        }
    }

    /// The regularized incomplete beta function `I_x(alpha, beta)`, by its continued fraction
    /// (DLMF 8.17.22), which converges fast below the mean; above it `1 − I_{1−x}(beta, alpha)`.
    fn cdf(self, x: f64) -> f64 {
        let Self { alpha: a, beta: b } = self;
        if x > (a + 1.0) / (a + b + 2.0) {
            return 1.0 - self.mirrored().cdf(1.0 - x);
        }
        let log_norm = lgamma(a) + lgamma(b) - lgamma(a + b);
        (a * x.ln() + b * (-x).ln_1p() - log_norm).exp() / (a * self.fraction(x))
    }

    /// `1 + d₁/(1 + d₂/(1 + …))`, by Lentz' method: numerators and denominators as ratios of
    /// successive convergents.
    fn fraction(self, x: f64) -> f64 {
        let Self { alpha: a, beta: b } = self;
        let (mut value, mut up, mut down) = (1.0_f64, 1.0_f64, 0.0_f64);
        for m in 0..1000 {
            let m = f64::from(m);
            let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
            let even = (m + 1.0) * (b - m - 1.0) * x / ((a + 2.0 * m + 1.0) * (a + 2.0 * m + 2.0));
            let before = value;
            for d in [odd, even] {
                up = 1.0 + d / up;
                down = 1.0 / (1.0 + d * down);
                value *= up * down;
            }
            if (value / before - 1.0).abs() < f64::EPSILON {
                break;
            }
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(alpha, beta, p, x)` from 40-digit arithmetic.
    const CASES: [(f64, f64, f64, f64); 8] = [
        (0.6, 0.6, 0.05, 0.012554456873611407),
        (0.6, 0.6, 0.5, 0.5),
        (0.6, 0.6, 0.95, 0.9874455431263885),
        (0.1, 0.3, 0.3, 7.139404334718674e-05),
        (2.0, 5.0, 0.01, 0.026763191142755056),
        (2.5, 0.7, 0.8, 0.9616183534697126),
        (50.0, 80.0, 0.4, 0.37323431217545405),
        (1000.0, 1000.0, 0.999, 0.5345129484790637),
    ];

    /// 1e-13 relative: two logarithms of gamma
    /// functions of some ulp each, divided by `alpha`.
    #[test]
    fn quantiles_match() {
        for (alpha, beta, p, wanted) in CASES {
            let got = Beta::new(alpha, beta).unwrap().quantile(p);
            assert!((got / wanted - 1.0).abs() < 1e-13, "({alpha}, {beta}) {p}: {got} {wanted}");
        }
    }

    #[test]
    fn closed_forms_are_met() {
        for p in [1e-9, 0.1, 0.5, 0.9, 0.999] {
            let got = |alpha, beta| Beta::new(alpha, beta).unwrap().quantile(p);
            let arcsine = (0.5 * std::f64::consts::PI * p).sin().powi(2);
            for (got, wanted) in [
                (got(1.0, 1.0), p),
                (got(3.0, 1.0), p.cbrt()),
                (got(0.5, 0.5), arcsine),
                (got(1.0, 4.0), -((-p).ln_1p() / 4.0).exp_m1()),
            ] {
                assert!((got / wanted - 1.0).abs() < 1e-13, "{got}, not {wanted}");
            }
        }
    }
}
