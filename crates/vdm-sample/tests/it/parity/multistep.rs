//! Multistep exponential integrators.

use vdm_sample::exponential::Predicts;
use vdm_sample::{
    DpmSolver2M, DpmSolver3M, DpmSolverPp2M, DpmSolverPp3M, ExponentialAdams, FinalOrder, Order,
    SlopeWeight, UniPc, UniPcVariant,
};

use super::cases::Case;

/// `None` for algorithms of other modules.
pub(crate) fn error(case: &Case) -> Option<f64> {
    match case.algorithm.as_str() {
        "dpmpp_2m" => {
            let final_order = FinalOrder::Full;
            Some(case.plain_error(&DpmSolverPp2M { final_order, ..Default::default() }))
        }
        "dpmpp_2m_sde" => {
            let slope = match case.word("solver_type").unwrap_or("midpoint") {
                "midpoint" => SlopeWeight::Midpoint,
                "heun" => SlopeWeight::Heun,
                _ => return None,
            };
            let eta = case.number("eta").unwrap_or(1.0);
            Some(case.plain_error(&DpmSolverPp2M { eta, slope, final_order: FinalOrder::Full }))
        }
        "dpmpp_3m_sde" => {
            let (eta, slope) = (case.number("eta").unwrap_or(1.0), SlopeWeight::Heun);
            Some(case.plain_error(&DpmSolverPp3M { eta, slope, final_order: FinalOrder::Full }))
        }
        "DPMSolverMultistepScheduler" | "EDMDPMSolverMultistepScheduler" => {
            let slope = match case.word("solver_type")? {
                "midpoint" => SlopeWeight::Midpoint,
                "heun" => SlopeWeight::Heun,
                _ => return None,
            };
            dpm_solver(case, case.number("solver_order")?, slope, diffusers_final_order(case))
        }
        "dpm:multistep" => {
            let slope = match case.word("solver_type")? {
                "dpmsolver" => SlopeWeight::Midpoint,
                "taylor" => SlopeWeight::Heun,
                _ => return None,
            };
            dpm_solver(case, case.number("order")?, slope, lowered(case, 10))
        }
        "DEISMultistepScheduler" if case.word("solver_type") == Some("logrho") => {
            let final_order = diffusers_final_order(case);
            let order = order(case.number("solver_order")?)?;
            Some(
                case.plain_error(&ExponentialAdams {
                    final_order,
                    ..ExponentialAdams::deis(order)
                }),
            )
        }
        "UniPCMultistepScheduler" => {
            let predicts = if case.flag("predict_x0")? { Predicts::Image } else { Predicts::Noise };
            let disabled = case.list("disable_corrector")?.len();
            let corrector = match disabled {
                0 => true,
                _ if disabled + 1 >= case.levels().len() => false,
                _ => return None,
            };
            unipc(
                case,
                case.number("solver_order")?,
                case.word("solver_type")?,
                predicts,
                corrector,
            )
        }
        "unipc:multistep" => {
            let predicts = predicts(case.word("algorithm_type")?)?;
            unipc(case, case.number("order")?, case.word("variant")?, predicts, true)
        }
        _ => None,
    }
}

/// DPM-Solver and DPM-Solver++ of diffusers and of the authors.
fn dpm_solver(case: &Case, order: f64, slope: SlopeWeight, final_order: FinalOrder) -> Option<f64> {
    let algorithm = case.word("algorithm_type")?;
    let (eta, algorithm) = match algorithm.strip_prefix("sde-") {
        Some(deterministic) => (1.0, deterministic),
        None => (0.0, algorithm),
    };
    Some(match (order, predicts(algorithm)?) {
        (1.0, predicts) => case.plain_error(&ExponentialAdams {
            predicts,
            eta,
            ..ExponentialAdams::new(Order::One)
        }),
        (2.0, Predicts::Image) => case.plain_error(&DpmSolverPp2M { eta, slope, final_order }),
        // Diffusers' own third-order SDE has a sign error, so there is no case of it.
        (3.0, Predicts::Image) => case.plain_error(&DpmSolverPp3M { eta, slope, final_order }),
        (2.0, Predicts::Noise) => case.plain_error(&DpmSolver2M { eta, slope, final_order }),
        (3.0, Predicts::Noise) => case.plain_error(&DpmSolver3M { eta, slope, final_order }),
        _ => return None,
    })
}

fn unipc(
    case: &Case,
    order_number: f64,
    variant: &str,
    predicts: Predicts,
    corrector: bool,
) -> Option<f64> {
    let variant = match variant {
        "bh1" => UniPcVariant::Bh1,
        "bh2" => UniPcVariant::Bh2,
        "vary_coeff" => UniPcVariant::VaryCoefficientsReleased,
        _ => return None,
    };
    let (order, final_order) = (order(order_number)?, lowered(case, usize::MAX));
    Some(case.plain_error(&UniPc { order, variant, predicts, corrector, final_order }))
}

fn predicts(algorithm: &str) -> Option<Predicts> {
    match algorithm {
        "dpmsolver++" => Some(Predicts::Image),
        "dpmsolver" => Some(Predicts::Noise),
        _ => None,
    }
}

fn order(number: f64) -> Option<Order> {
    [Order::One, Order::Two, Order::Three]
        .into_iter()
        .find(|order| f64::from(u8::from(*order)) == number)
}

/// `lower_order_final`, which each program applies below a number of steps of its own.
fn lowered(case: &Case, below: usize) -> FinalOrder {
    if case.flag("lower_order_final") == Some(true) {
        FinalOrder::Lowered { below }
    } else {
        FinalOrder::Full
    }
}

/// Diffusers lowers below 15 steps; above, `euler_at_final` still asks for a first-order end.
fn diffusers_final_order(case: &Case) -> FinalOrder {
    let few = case.levels().len() - 1 < 15;
    match lowered(case, 15) {
        lowered @ FinalOrder::Lowered { .. } if few => lowered,
        _ if case.flag("euler_at_final") == Some(true) => FinalOrder::First,
        other => other,
    }
}
