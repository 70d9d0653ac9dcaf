//! Parity with reference numbers, row by row; how they are compared is in `parity/mod.rs`.

use crate::parity::{Parity, single, small_steps};

/// Every function within its tolerance, and no table skipped.
fn assert_parity(parity: &Parity, cases: usize) {
    for (function, entry) in &parity.entries {
        assert!(
            entry.share <= 1.0,
            "{function}: {} times its tolerance ({}), {}",
            entry.share,
            entry.measure,
            entry.at
        );
    }
    let made: usize = parity.entries.values().map(|entry| entry.cases).sum();
    assert_eq!(made, cases, "comparisons made");
}

#[test]
fn every_function_is_within_its_tolerance() {
    assert_parity(&Parity::cheap(), 28_860);
}

#[test]
#[ignore = "slow: cargo xtask test --full"]
fn every_function_is_within_its_tolerance_on_costly_bounds_too() {
    assert_parity(&Parity::measure(), 29_019);
}

/// 4 ulp over λ in [−30, 30]; the few roundings of each formula explain as much.
fn assert_single(every: usize) {
    for row in single::measure(every) {
        assert!(row.worst <= 4.0, "{} is off by {} ulp", row.function, row.worst);
    }
}

#[test]
fn the_f32_face_is_within_4_ulp() {
    assert_single(10);
}

#[test]
#[ignore = "slow: cargo xtask test --full"]
fn the_f32_face_is_within_4_ulp_at_every_level() {
    assert_single(1);
}

/// M29: at T = 1e5 the formulas keep all digits, where the naive ones lose most of them: 1 − α² has
/// an absolute error of 1e-16 beside a step's variance of 1e-10 or less.
#[test]
fn m29_small_steps_keep_their_digits() {
    for row in small_steps::measure() {
        let [ours, naive, naive_single] = row.worst;
        assert!(ours <= 1e-15, "{} over {:?}: {ours}", row.quantity, row.range);
        assert!(naive > 1e5 * ours, "the naive formula: {naive} beside {ours}");
        assert!(naive_single > 1e-3, "the naive formula in f32: {naive_single}");
    }
}
