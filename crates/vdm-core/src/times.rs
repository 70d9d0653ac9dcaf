//! Times at which a batch is noised.

/// `n` times in `[0, 1]`, one in each interval `[i/n, (i+1)/n]`, from a single `u` in `[0, 1)`:
/// each is uniform, and together they cover the noise levels evenly, which lowers the variance of
/// a batch's loss (VDM, appendix I). Integer `i`, so that no rounding makes `n + 1` of them.
///
/// ```
/// use vdm_core::times::low_discrepancy;
/// assert_eq!(low_discrepancy(0.5, 4).collect::<Vec<_>>(), [0.125, 0.375, 0.625, 0.875]);
/// ```
#[must_use]
pub fn low_discrepancy(u: f64, n: usize) -> impl ExactSizeIterator<Item = f64> {
    (0..n).map(move |i| (u + i as f64) / n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stratum_gets_exactly_one_time() {
        // 49, 98, 103, 107 and 196 are sizes for which an accumulated 1/n yields n + 1 times.
        for n in [1, 2, 3, 49, 98, 103, 107, 196, 1000] {
            for u in [0.0, 0.3, 1.0 - f64::EPSILON] {
                let times: Vec<f64> = low_discrepancy(u, n).collect();
                assert_eq!(times.len(), n);
                for (i, t) in times.iter().enumerate() {
                    let (low, high) = (i as f64 / n as f64, (i + 1) as f64 / n as f64);
                    assert!((low..=high).contains(t), "n = {n}, u = {u}, i = {i}");
                }
            }
        }
    }
}
