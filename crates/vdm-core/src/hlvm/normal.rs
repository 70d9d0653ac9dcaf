//! One scalar Gaussian, and the integrals over it that have a closed form.

use std::f64::consts::TAU;

use crate::Real;

/// `N(mean, var)` on the real line.
///
/// ```
/// use vdm_core::hlvm::Normal;
/// let (q, p) = (Normal::new(1.0, 1.0), Normal::new(0.0, 2.0));
/// assert!((q.kl(&p) - 0.5 * 2.0_f64.ln()).abs() < 1e-15);
/// assert!((q.cross_entropy(&p) - q.kl(&p) - q.entropy()).abs() < 1e-15);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normal<C = f64> {
    /// Mean.
    pub mean: C,
    /// Variance, positive.
    pub var: C,
}

impl<C: Real> Normal<C> {
    /// `N(mean, var)`.
    #[must_use]
    pub fn new(mean: C, var: C) -> Self {
        Self { mean, var }
    }

    /// `log N(value; mean, var)`, in nats.
    #[must_use]
    pub fn log_density(&self, value: &C) -> C {
        let residual = value.clone() - self.mean.clone();
        let square = residual.clone() * residual / self.var.clone();
        value.lift(-0.5) * (square + self.log_tau_var())
    }

    /// `−E[log q]` under itself: `½ ln(2πe·var)`, in nats.
    #[must_use]
    pub fn entropy(&self) -> C {
        self.var.lift(0.5) * (self.var.lift(1.0) + self.log_tau_var())
    }

    /// `−E_q[log p]`, in nats; `q` is `self`.
    #[must_use]
    pub fn cross_entropy(&self, p: &Self) -> C {
        let gap = self.mean.clone() - p.mean.clone();
        let square = (gap.clone() * gap + self.var.clone()) / p.var.clone();
        self.var.lift(0.5) * (square + p.log_tau_var())
    }

    /// `KL(q‖p)`, in nats; `q` is `self`. Exactly 0 between equals, and within a few `f64::EPSILON`
    /// of the truth near there.
    #[must_use]
    pub fn kl(&self, p: &Self) -> C {
        let gap = self.mean.clone() - p.mean.clone();
        let ratio = self.var.clone() / p.var.clone();
        let shape = ratio.clone() - ratio.lift(1.0) - ratio.ln();
        ratio.lift(0.5) * (gap.clone() * gap / p.var.clone() + shape)
    }

    /// The value `mean + √var·ε` that a standard normal `eps` stands for: how a gradient passes
    /// through a draw. Monograph §1.1.
    #[must_use]
    pub fn reparameterize(&self, eps: f64) -> C {
        self.mean.clone() + self.var.sqrt() * self.var.lift(eps)
    }

    /// The density proportional to the product of both: precisions add, and means are averaged by
    /// precision. Bayes' rule for a conjugate prior and likelihood.
    ///
    /// ```
    /// use vdm_core::hlvm::Normal;
    /// let posterior = Normal::new(0.0, 1.0).product(&Normal::new(3.0, 0.5));
    /// assert_eq!(posterior, Normal::new(2.0, 1.0 / 3.0));
    /// ```
    #[must_use]
    pub fn product(&self, other: &Self) -> Self {
        let total = self.var.clone() + other.var.clone();
        let mean = self.mean.clone() * other.var.clone() + other.mean.clone() * self.var.clone();
        Self { mean: mean / total.clone(), var: self.var.clone() * other.var.clone() / total }
    }

    fn log_tau_var(&self) -> C {
        (self.var.lift(TAU) * self.var.clone()).ln()
    }
}
