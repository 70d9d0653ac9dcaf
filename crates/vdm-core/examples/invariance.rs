//! Prints the bound of one model under ten noise schedules, and the variance of its estimate under
//! each: the value does not depend on the schedule, the variance does.
//!
//! ```sh
//! cargo run --release -p vdm-core --features reports --example invariance
//! ```

#[path = "../tests/it/data.rs"]
mod data;
#[path = "../tests/it/invariance/mod.rs"]
mod invariance;
#[path = "../tests/it/random.rs"]
mod random;

use invariance::{MAX, MIN, Row};

fn main() {
    println!("# One bound, ten schedules\n");
    println!(
        "`L_∞` in nats of the exact denoiser of a mixture of two Gaussians, under schedules from \
         {MAX} down to {MIN}, by quadrature over time; its relative difference from the integral over \
         log-SNR; and the variance in nats² of the estimate from one time, one item and one draw of the \
         noise, by quadrature and measured. `cargo test -p vdm-core bounds` asserts every row.\n"
    );
    println!(
        "Both quadratures read the expected errors of the denoiser off a table in 161 Chebyshev points \
         of log-SNR; the draws call the denoiser itself. The measured variance is the mean squared \
         distance of 20,000 draws from the loss. They are stratified over log-SNR and reweighted: the \
         range is cut into 200 intervals of equal length; in the stretch of time that the schedule \
         spends in each, 100 times are drawn uniformly, with an item and a noise for each; and the mean \
         over a stretch counts for its length in time. Plain draws would meet the rare levels that the \
         variance of some schedules consists of once in 100,000.\n"
    );
    println!(
        "| schedule | L_∞ | relative difference | variance by formula | measured variance ± s.e. |"
    );
    println!("|---|---:|---:|---:|---:|");
    for row in invariance::measure() {
        let Row { name, loss, off, variance, measured: (measured, error) } = row;
        println!(
            "| {name} | {loss:.12} | {off:.1e} | {variance:.1} | {measured:.1} ± {error:.1} |"
        );
    }
}
