//! Observed orders of convergence, family by family, against what the solvers declare.

mod edm;
mod multistep;
mod singlestep;

/// Fails unless the measured order is the declared one. Terms of the next order bend the slope by the
/// step in log-SNR times the ratio of two error constants.
pub(crate) fn assert_order(what: &str, measured: f64, declared: u32) {
    assert!((measured - f64::from(declared)).abs() < 0.15, "{what}: {measured} for {declared}");
}
