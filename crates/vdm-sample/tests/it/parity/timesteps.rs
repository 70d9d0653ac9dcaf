//! Which timestep of a table a level is.

use vdm_core::LogSnr;
use vdm_core::schedule::{Betas, Discrete};

use super::cases::{Case, load};

fn table(case: &Case) -> Discrete {
    let steps = 1000;
    let betas = match case.word("beta_schedule") {
        Some("linear") => Betas::Linear { steps, beta_start: 1e-4, beta_end: 0.02 },
        Some("squaredcos_cap_v2") => Betas::Cosine { steps, offset: 0.008, cap: 0.999 },
        other => panic!("a table for {other:?}"),
    };
    Discrete::new(betas, false).unwrap()
}

fn with_levels_of_their_own(case: &&Case) -> bool {
    let set = |name| case.flag(name) == Some(true);
    set("use_karras_sigmas") || set("use_lu_lambdas")
}

/// diffusers' `_sigma_to_t`, as its schedulers recorded it for levels between the entries of two tables:
/// as it is for Euler's scheduler, and rounded for the others. Their tables of `σ` are made in
/// single precision, 1e-4 of a timestep.
#[test]
fn levels_between_entries_have_the_timesteps_of_diffusers() {
    let cases = load();
    let (mut exact, mut rounded) = (0, 0);
    for case in cases.iter().filter(with_levels_of_their_own) {
        let table = table(case);
        let timesteps = case.list("timesteps").unwrap();
        let integers = timesteps.iter().all(|t| t.fract() == 0.0);
        for (at, wanted) in case.listed_levels().iter().zip(timesteps) {
            let at = LogSnr::new(at.log_snr);
            if integers {
                assert_eq!(table.nearest_timestep(at) as f64, wanted, "{} {at}", case.id);
                rounded += 1;
            } else {
                let got = table.timestep(at);
                assert!((got - wanted).abs() < 1e-3, "{}: {got}, not {wanted}", case.id);
                exact += 1;
            }
        }
    }
    assert!(exact >= 10 && rounded >= 80, "{exact} and {rounded} levels");
}
