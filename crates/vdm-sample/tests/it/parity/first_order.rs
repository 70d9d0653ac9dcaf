//! Ancestral sampling and DDIM.

use vdm_sample::solver::PosteriorVariance;
use vdm_sample::{Ancestral, Ddim};

use super::cases::Case;

/// `None` for algorithms of other modules.
pub(crate) fn error(case: &Case) -> Option<f64> {
    Some(match case.algorithm.as_str() {
        "vdm_ancestral" => case.plain_error(&Ancestral::default()),
        "DDPMScheduler" => match case.word("variance_type")? {
            "fixed_small" => case.plain_error(&Ancestral::default()),
            "fixed_large" => fixed_large_error(case),
            _ => return None,
        },
        "DDIMScheduler" => ddim_error(case),
        _ => return None,
    })
}

/// diffusers draws noise of variance `1 − A/B` in its last step too, although that step ends at
/// clean data (`B = 1`); ours draws none there, on purpose, so here it is added to our end point.
fn fixed_large_error(case: &Case) -> f64 {
    let solver = Ancestral { variance: PosteriorVariance::Large };
    let levels = case.levels();
    let [.., before_last, last] = *levels.as_slice() else { unreachable!("a grid has two levels") };
    let draws: Vec<usize> = (0..case.draws()).collect();
    if last.sigma > 0.0 || draws.len() < levels.len() - 1 {
        return case.plain_error(&solver);
    }
    let (own, extra) = draws.split_at(levels.len() - 2);
    let mut ends = case.run(&solver, &[levels], own);
    for (end, noise) in ends.iter_mut().zip(case.draw(extra[0])) {
        for (x, eps) in end.iter_mut().zip(noise) {
            // √(1 − A) of the last step.
            *x += before_last.sigma * eps;
        }
    }
    case.distance(&ends)
}

/// Where the spacing of timesteps is uneven diffusers steps to `t − T/n`, which is not where its
/// next step starts: no grid, but a run of one-step grids.
fn ddim_error(case: &Case) -> f64 {
    let solver = Ddim { eta: case.number("eta").unwrap_or(0.0) };
    if case.setting("grid_contiguous").is_none_or(|chain| chain == true) {
        return case.plain_error(&solver);
    }
    let draws: Vec<usize> = (0..case.draws()).collect();
    case.distance(&case.run(&solver, &case.level_pairs(), &draws))
}
