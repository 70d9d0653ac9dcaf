//! Prints `docs/accuracy.md`: the worst error of every public function against reference numbers.
//!
//! ```sh
//! cargo run --release -p vdm-core --example accuracy > docs/accuracy.md
//! ```

#[path = "../tests/parity/mod.rs"]
mod parity;
#[path = "../tests/parity/single.rs"]
mod single;
#[path = "../tests/parity/small_steps.rs"]
mod small_steps;

use parity::Parity;

fn main() {
    println!("# Accuracy\n");
    println!(
        "Written by `cargo run --release -p vdm-core --example accuracy > docs/accuracy.md`.\n"
    );
    println!("## f64 against reference numbers\n");
    println!(
        "References: 50-digit arithmetic, and code of google-research/vdm, diffusers and k-diffusion \
         in double precision (`crates/vdm-core/tests/fixtures`). The tolerance is what a few roundings \
         of f64 allow; \"of the terms\" means relative to the sum of the magnitudes of the terms that \
         are added, where these may cancel. `cargo test -p vdm-core --test oracle` asserts every row.\n"
    );
    println!("| function | cases | worst error | measure | share of the tolerance |");
    println!("|---|---:|---:|---|---:|");
    for (function, entry) in Parity::measure().entries {
        let parity::Entry { measure, cases, worst, share, .. } = entry;
        println!("| {function} | {cases} | {worst:.1e} | {measure} | {share:.2} |");
    }

    println!("\n## f32 against f64\n");
    println!(
        "The same functions called with f32, over log-SNRs in [−30, 30] (a grid of 6,001 levels, or of \
         pairs of them), in units of the last place of f32. Inputs are exact f32 values, so only the \
         function's own roundings count. Where a result is a difference of terms that may cancel, the \
         unit is that of the larger term: no f32 arithmetic can do better.\n"
    );
    println!("| function | cases | worst error in ulp |");
    println!("|---|---:|---:|");
    for row in single::measure() {
        println!("| {} | {} | {:.2} |", row.function, row.cases, row.worst);
    }

    println!("\n## Small steps: T = 100,000\n");
    println!(
        "Worst relative error of one step's quantities against 50-digit arithmetic, under a linear \
         schedule. \"Naive\" is the formula as papers print it and most code has it, in the same \
         precision; 1 and more means that no digit is right.\n"
    );
    println!(
        "| log-SNR | quantity | this crate, f64 | naive, f64 | this crate, f32 | naive, f32 |"
    );
    println!("|---|---|---:|---:|---:|---:|");
    for row in small_steps::measure() {
        let [ours, naive, ours_f32, naive_f32] = row.worst;
        let (max, min) = row.range;
        println!(
            "| {max} to {min} | {} | {ours:.1e} | {naive:.1e} | {ours_f32:.1e} | {naive_f32:.1e} |",
            row.quantity
        );
    }
}
