//! Trajectories of k-diffusion, diffusers, google-research/vdm and papers' own code, given their
//! grid, start and noise, on the exact denoiser of a Gaussian mixture. `fixtures/peers` holds them:
//! a case names the algorithm and its settings, which decide the solver of ours that must agree.

mod cases;
mod edm;
mod first_order;
mod multistep;
mod singlestep;
mod timesteps;

use cases::Case;

/// Largest difference allowed, as a share of the largest number of the end point. Two programs that
/// compute the same formulas in f64 agree to 1e-13 here; 1e-8 leaves room for another order of the
/// operations over 50 steps and for levels that pass through a logarithm.
const TOLERANCE: f64 = 1e-8;

/// The error of each case under the solver that its fields name.
fn error(case: &Case) -> Option<f64> {
    let modules = [first_order::error, edm::error, multistep::error, singlestep::error];
    modules.iter().find_map(|error| error(case))
}

#[test]
fn end_points_equal_those_of_other_libraries() {
    let cases = cases::load();
    assert!(cases.len() >= 100, "{} cases", cases.len());
    let mut faults = Vec::new();
    for case in &cases {
        match error(case) {
            Some(error) if error <= TOLERANCE => {}
            Some(error) => faults.push(format!("{}: {error:e}", case.id)),
            None => faults.push(format!("{}: no solver for {}", case.id, case.algorithm)),
        }
    }
    assert!(faults.is_empty(), "{} of {} cases:\n{}", faults.len(), cases.len(), faults.join("\n"));
}
