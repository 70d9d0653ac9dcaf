//! Single-step exponential solvers.

use vdm_core::NoiseLevel;
use vdm_sample::exponential::PredictionForm;
use vdm_sample::solver::{
    DpmSolverOrder, DpmSolverPp2SAncestral, DpmSolverPpSde, DpmSolverSinglestep, SolverType,
    StageShare,
};

use super::cases::Case;

/// `None` for algorithms of other modules.
pub(crate) fn error(case: &Case) -> Option<f64> {
    match case.algorithm.as_str() {
        "dpmpp_2s_ancestral" => {
            let eta = case.number("eta").unwrap_or(1.0);
            // With eta = 0 k-diffusion draws noise and multiplies it by zero.
            let draws: Vec<usize> = (0..case.draws()).filter(|_| eta > 0.0).collect();
            Some(case.error(&DpmSolverPp2SAncestral { eta }, case.levels(), &draws))
        }
        "dpmpp_sde" => {
            let eta = case.number("eta").unwrap_or(1.0);
            let r = StageShare::try_from(case.number("r").unwrap_or(0.5)).unwrap();
            let draws: Vec<usize> = (0..case.draws()).filter(|_| eta > 0.0).collect();
            Some(case.error(&DpmSolverPpSde { eta, r }, case.levels(), &draws))
        }
        "DPMSolverSinglestepScheduler" => diffusers_error(case),
        "dpm:singlestep" | "dpm:singlestep_fixed" => authors_error(case),
        _ => None,
    }
}

fn prediction(case: &Case) -> Option<PredictionForm> {
    match case.word("algorithm_type")? {
        "dpmsolver++" => Some(PredictionForm::Data),
        "dpmsolver" => Some(PredictionForm::Noise),
        _ => None,
    }
}

fn solver_type(case: &Case) -> Option<SolverType> {
    match case.word("solver_type")? {
        "dpmsolver" | "midpoint" => Some(SolverType::Midpoint),
        "taylor" | "heun" => Some(SolverType::Heun),
        _ => None,
    }
}

fn order(case: &Case, name: &str) -> Option<DpmSolverOrder> {
    DpmSolverOrder::try_from(case.number(name)? as u8).ok()
}

/// Here the grid lists the stages; the middle stage of order 3 has the form of the block's end.
fn diffusers_error(case: &Case) -> Option<f64> {
    let solver_type = solver_type(case)?;
    let solver = DpmSolverSinglestep {
        order: order(case, "solver_order")?,
        prediction: prediction(case)?,
        solver_type,
        stage_solver_type: solver_type,
        lower_order_final: case.setting("lower_order_final")?.as_bool()?,
    };
    Some(case.error(&solver, rising(case), &[]))
}

/// Karras' grid with `final_sigmas_type: sigma_min` lists its last level twice, up to rounding: the
/// last stage then lies at the end of its step. Our grids must rise, so the second is moved by 1e-11
/// in log-SNR, which moves the end point by as little.
fn rising(case: &Case) -> Vec<NoiseLevel> {
    let mut levels = case.listed_levels();
    for i in 1..levels.len() {
        let least = levels[i - 1].log_snr + 1e-11;
        if levels[i].log_snr < least {
            levels[i] = case.scaling().level(least);
        }
    }
    levels
}

/// Here the grid lists the ends of blocks; the stages lie at shares `r1` and `r2` of each.
fn authors_error(case: &Case) -> Option<f64> {
    let order = order(case, "order")?;
    let shares = [case.list("r1")?, case.list("r2")?];
    let mut levels: Vec<NoiseLevel> = Vec::new();
    for (i, ends) in case.levels().windows(2).enumerate() {
        let (from, to) = (ends[0].log_snr, ends[1].log_snr);
        levels.push(ends[0]);
        let stages = shares.iter().map(|r| r[i]).filter(|r| r.is_finite());
        levels.extend(stages.map(|r| case.scaling().level(from + r * (to - from))));
    }
    levels.extend(case.levels().last());
    let solver = DpmSolverSinglestep {
        order,
        prediction: prediction(case)?,
        solver_type: solver_type(case)?,
        stage_solver_type: SolverType::Heun,
        // Their setting of this name acts for order 3 alone.
        lower_order_final: case.algorithm == "dpm:singlestep" && order == DpmSolverOrder::Three,
    };
    Some(case.error(&solver, levels, &[]))
}
