//! Times at which a batch is noised.
//!
//! Independent uniform times leave gaps. Spread evenly they cover the noise levels of every batch,
//! which lowers the variance of its loss: [`low_discrepancy`] from a single random number,
//! [`stratified`] from one per time. Both are exact for every batch size, and several ranks
//! [`share`] either without changing it.

/// `n` times in `[0, 1]`, one in each interval `[i/n, (i+1)/n]`, from a single `u` in `[0, 1)`:
/// each is uniform there, and together they cover the noise levels evenly, which lowers the variance
/// of a batch's loss (VDM, appendix I). Integer `i`, so that no rounding makes `n + 1` of them.
///
/// ```
/// use vdm_core::times::low_discrepancy;
/// assert_eq!(low_discrepancy(0.5, 4).collect::<Vec<_>>(), [0.125, 0.375, 0.625, 0.875]);
/// ```
#[must_use]
pub fn low_discrepancy(u: f64, n: usize) -> impl ExactSizeIterator<Item = f64> {
    (0..n).map(move |i| (u + i as f64) / n as f64)
}

/// The same with a number of its own in `[0, 1)` for each interval. If those are independent, so are
/// the times, and no loss can vary in step with all of them at once.
///
/// ```
/// use vdm_core::times::stratified;
/// assert_eq!(stratified(&[0.5, 0.0, 0.75, 0.25]).collect::<Vec<_>>(), [0.125, 0.25, 0.6875, 0.8125]);
/// ```
#[must_use]
pub fn stratified(u: &[f64]) -> impl ExactSizeIterator<Item = f64> {
    let n = u.len() as f64;
    u.iter().enumerate().map(move |(i, u)| (u + i as f64) / n)
}

/// What rank `rank` of `ranks` takes of all times: every `ranks`-th, from its own number on.
///
/// The ranks' shares are bit for bit the times of one batch on one rank, each exactly once, and each
/// covers the noise levels evenly too. If `ranks` does not divide the batch, the first few ranks
/// have one time more: divide the sum of losses by the size of the whole batch, not of the share.
///
/// ```
/// use vdm_core::times::{low_discrepancy, share};
/// let of = |rank| share(low_discrepancy(0.0, 5), rank, 2).collect::<Vec<_>>();
/// assert_eq!((of(0), of(1)), (vec![0.0, 0.4, 0.8], vec![0.2, 0.6]));
/// ```
///
/// # Panics
/// Unless `rank < ranks`.
pub fn share<I>(all: I, rank: usize, ranks: usize) -> impl ExactSizeIterator<Item = I::Item>
where
    I: ExactSizeIterator,
{
    assert!(rank < ranks, "rank {rank} of {ranks}");
    all.skip(rank).step_by(ranks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_stratum_gets_exactly_one_time() {
        // 49, 98, 103, 107 and 196 are sizes for which an accumulated 1/n yields n + 1 times.
        for n in [1, 2, 3, 49, 98, 103, 107, 196, 1000] {
            for u in [0.0, 0.3, 1.0 - f64::EPSILON] {
                let both = [low_discrepancy(u, n).collect(), stratified(&vec![u; n]).collect()];
                for times in both as [Vec<f64>; 2] {
                    assert_eq!(times.len(), n);
                    for (i, t) in times.iter().enumerate() {
                        let (low, high) = (i as f64 / n as f64, (i + 1) as f64 / n as f64);
                        assert!((low..=high).contains(t), "n = {n}, u = {u}, i = {i}");
                    }
                }
            }
        }
        assert_eq!(stratified(&[]).len() + low_discrepancy(0.5, 0).len(), 0);
    }

    proptest! {
        /// The union over ranks is the batch of one rank, to the last bit.
        #[test]
        fn ranks_share_a_batch_exactly(u in prop::collection::vec(0.0..1.0_f64, 0..70),
                                       ranks in 1..9_usize) {
            let check = |all: Vec<f64>| {
                let mut shares: Vec<_> =
                    (0..ranks).map(|rank| share(all.iter(), rank, ranks)).collect();
                let sizes: Vec<usize> = shares.iter().map(ExactSizeIterator::len).collect();
                prop_assert_eq!(sizes.iter().sum::<usize>(), all.len());
                prop_assert!(sizes[0] - sizes[ranks - 1] <= 1, "{:?}", sizes);
                for (i, t) in all.iter().enumerate() {
                    prop_assert_eq!(shares[i % ranks].next(), Some(t));
                }
                prop_assert!(shares.iter_mut().all(|share| share.next().is_none()));
                Ok(())
            };
            check(stratified(&u).collect())?;
            check(low_discrepancy(u.first().copied().unwrap_or(0.0), u.len()).collect())?;
        }

        /// Where the ranks divide the batch, a share is a batch of low discrepancy itself.
        #[test]
        fn a_share_covers_the_levels_evenly(u in 0.0..1.0_f64, local in 1..40_usize,
                                            ranks in 1..9_usize) {
            for rank in 0..ranks {
                let mine = share(low_discrepancy(u, local * ranks), rank, ranks);
                let alone = low_discrepancy((u + rank as f64) / ranks as f64, local);
                for (t, wanted) in mine.zip(alone) {
                    prop_assert!((t - wanted).abs() < 4.0 * f64::EPSILON, "{t}, not {wanted}");
                }
            }
        }
    }
}
