//! Observed orders of convergence, family by family, against what the solvers declare: of every solver
//! in the slow tests, of some of each family, from fewer starts, in the quick ones.

mod edm;
mod multistep;
mod singlestep;

/// How many paths the quick tests take a typical error over.
pub(crate) const FEW_STARTS: u64 = 3;

/// Fails unless the measured order is the declared one. Terms of the next order bend the slope by the
/// step in log-SNR times the ratio of two error constants.
pub(crate) fn assert_order(what: &str, measured: f64, declared: u32) {
    assert!((measured - f64::from(declared)).abs() < 0.15, "{what}: {measured} for {declared}");
}
