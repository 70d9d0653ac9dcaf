//! Prints `docs/accuracy.md`: the worst error of every public function against reference numbers.
//!
//! ```sh
//! cargo run --release -p vdm-core --features reports --example accuracy > docs/accuracy.md
//! ```

#[path = "../tests/it/parity/mod.rs"]
mod parity;

use parity::{Parity, single, small_steps};

fn main() {
    println!("# Accuracy\n");
    println!(
        "Written by `cargo run --release -p vdm-core --features reports --example accuracy > docs/accuracy.md`.\n"
    );
    println!("## f64 against reference numbers\n");
    println!(
        "References: 50-digit arithmetic, and code of google-research/vdm, diffusers and k-diffusion \
         in double precision (`crates/vdm-core/tests/fixtures`). The tolerance is 16 roundings for the \
         conversions of a prediction, 2e-11 or less for other closed forms, and up to 1e-9 for the terms \
         of the bound, most of which take a quadrature; \"of the terms\" means relative to the sum of \
         the magnitudes of the terms that are added, where these may cancel. The bounds of the mixture \
         in two dimensions read its expected error off a table in 161 Chebyshev points. `cargo test -p \
         vdm-core oracle` asserts every row.\n"
    );
    println!("| function | cases | worst error | measure | share of the tolerance |");
    println!("|---|---:|---:|---|---:|");
    for (function, entry) in Parity::measure().entries {
        let parity::Entry { measure, cases, worst, share, .. } = entry;
        println!("| {function} | {cases} | {worst:.1e} | {measure} | {share:.2} |");
    }

    println!("\n## f32 against f64\n");
    println!(
        "The functions that compute in whatever scalar they are called with, in f32, over log-SNRs in \
         [−30, 30] (a grid of 6,001 levels, or of 11,994 pairs), in units of the last place of f32. \
         Inputs are exact f32 values, so only the function's own roundings count. Where a result is a \
         difference of terms that may cancel, the unit is that of the larger term: no f32 arithmetic \
         can do better. `NoiseSchedule`, `Weighting::at`, the functions of `bound` and `Discretized` \
         take and return f64; where f32 is wanted the caller rounds their result once.\n"
    );
    println!("| function | cases | worst error in ulp |");
    println!("|---|---:|---:|");
    for row in single::measure(1) {
        println!("| {} | {} | {:.2} |", row.function, row.cases, row.worst);
    }

    println!("\n## Small steps: T = 100,000\n");
    println!(
        "Worst relative error of one step's quantities against 50-digit arithmetic, under a linear \
         schedule. \"Naive\" is the formula as papers print it and most code has it, computed in f64 or \
         in f32 throughout; 1 and more means that no digit is right. This crate computes the quantities \
         of a step in f64, and solvers round them once on contact with f32 latents.\n"
    );
    println!("| log-SNR | quantity | this crate | naive, f64 | naive, f32 |");
    println!("|---|---|---:|---:|---:|");
    for row in small_steps::measure() {
        let [ours, naive, naive_f32] = row.worst;
        let (max, min) = row.range;
        println!(
            "| {max} to {min} | {} | {ours:.1e} | {naive:.1e} | {naive_f32:.1e} |",
            row.quantity
        );
    }
}
