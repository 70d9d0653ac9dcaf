//! How much of the discrete-time bound the choice of levels is worth, on data whose every
//! quantity is known.
//!
//! ```text
//! cargo run -p vdm-sample --features reports --example elbo_optimal_grid
//! ```

use std::error::Error;

use vdm_core::schedule::LogSnrRange;
use vdm_core::{GaussianMixture, LogSnr, Scaling, Schedule, bound};
use vdm_sample::TimeGrid;
use vdm_sample::grid::LossTable;

/// `L_T` in nats over the steps of a grid.
fn bound_of(grid: &TimeGrid, noise_error: impl Fn(f64) -> f64) -> f64 {
    let term =
        |t: f64, s: f64| bound::discrete_factor(LogSnr::new(s), LogSnr::new(t)) * noise_error(t);
    grid.levels().windows(2).map(|step| term(step[0].log_snr, step[1].log_snr)).sum()
}

fn main() -> Result<(), Box<dyn Error>> {
    let means = vec![vec![-1.0], vec![0.2], vec![0.9]];
    let data = GaussianMixture::new(vec![0.3, 0.5, 0.2], means, vec![0.05, 0.1, 0.02])?;
    let vp = Scaling::VariancePreserving;
    let noise_error = |l: f64| LogSnr::new(l).snr() * data.mmse(&vp.level(l));

    let (max, min, candidates) = (8.0, -8.0, 481);
    let schedule = Schedule::linear(max, min)?;
    let cosine = Schedule::cosine(max, min)?;
    let grid = TimeGrid::uniform_log_snr(candidates - 1, &schedule, vp)?;
    let log_snrs: Vec<f64> = grid.levels().iter().map(|level| level.log_snr).collect();
    let errors = log_snrs.iter().map(|l| noise_error(*l)).collect();
    let losses = LossTable::new(log_snrs, errors)?;

    let limit = bound::continuous(LogSnrRange::new(max, min)?, |l| noise_error(l.value()));
    println!("diffusion loss in nats; with infinitely many steps {limit:.3}\n");
    println!("{:>3}  {:>15}  {:>12}  {:>8}", "T", "uniform log-SNR", "cosine times", "optimal");
    for steps in [5, 10, 20, 50] {
        let uniform = bound_of(&TimeGrid::uniform_log_snr(steps, &schedule, vp)?, noise_error);
        let times = bound_of(&TimeGrid::uniform_time(steps, &cosine, vp)?, noise_error);
        let best = bound_of(&TimeGrid::elbo_optimal(steps, &losses, vp)?, noise_error);
        println!("{steps:>3}  {uniform:>15.3}  {times:>12.3}  {best:>8.3}");
        assert!(limit < best && best < uniform.min(times));
    }
    Ok(())
}
