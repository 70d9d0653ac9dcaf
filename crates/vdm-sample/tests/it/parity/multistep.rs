//! Multistep exponential integrators.

use vdm_sample::exponential::PredictionForm;
use vdm_sample::solver::{ExponentialAdams, FinalOrder, Order, SolverType, UniPcVariant};
use vdm_sample::{DpmSolverMultistep, UniPc};

use super::cases::Case;

/// `None` for algorithms of other modules.
pub(crate) fn error(case: &Case) -> Option<f64> {
    match case.algorithm.as_str() {
        "dpmpp_2m" => {
            let final_order = FinalOrder::Full;
            Some(case.plain_error(&DpmSolverMultistep { final_order, ..DpmSolverMultistep::PP_2M }))
        }
        "dpmpp_2m_sde" => {
            let solver_type = match case.word("solver_type").unwrap_or("midpoint") {
                "midpoint" => SolverType::Midpoint,
                "heun" => SolverType::Heun,
                _ => return None,
            };
            let strength = case.number("eta").unwrap_or(1.0);
            Some(case.plain_error(&DpmSolverMultistep {
                strength,
                solver_type,
                final_order: FinalOrder::Full,
                ..DpmSolverMultistep::PP_2M
            }))
        }
        "dpmpp_3m_sde" => {
            let (strength, solver_type) = (case.number("eta").unwrap_or(1.0), SolverType::Heun);
            Some(case.plain_error(&DpmSolverMultistep {
                strength,
                solver_type,
                final_order: FinalOrder::Full,
                ..DpmSolverMultistep::PP_3M
            }))
        }
        "DPMSolverMultistepScheduler" | "EDMDPMSolverMultistepScheduler" => {
            let solver_type = match case.word("solver_type")? {
                "midpoint" => SolverType::Midpoint,
                "heun" => SolverType::Heun,
                _ => return None,
            };
            dpm_solver(case, case.number("solver_order")?, solver_type, diffusers_final_order(case))
        }
        "dpm:multistep" => {
            let solver_type = match case.word("solver_type")? {
                "dpmsolver" => SolverType::Midpoint,
                "taylor" => SolverType::Heun,
                _ => return None,
            };
            dpm_solver(case, case.number("order")?, solver_type, lowered(case, 10))
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
            let prediction =
                if case.flag("predict_x0")? { PredictionForm::Data } else { PredictionForm::Noise };
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
                prediction,
                corrector,
            )
        }
        "unipc:multistep" => {
            let prediction = prediction(case.word("algorithm_type")?)?;
            unipc(case, case.number("order")?, case.word("variant")?, prediction, true)
        }
        _ => None,
    }
}

/// DPM-Solver and DPM-Solver++ of diffusers and of the authors.
fn dpm_solver(
    case: &Case,
    order: f64,
    solver_type: SolverType,
    final_order: FinalOrder,
) -> Option<f64> {
    let algorithm = case.word("algorithm_type")?;
    let (strength, algorithm) = match algorithm.strip_prefix("sde-") {
        Some(deterministic) => (1.0, deterministic),
        None => (0.0, algorithm),
    };
    Some(match (order, prediction(algorithm)?) {
        (1.0, prediction) => case.plain_error(&ExponentialAdams {
            prediction,
            strength,
            ..ExponentialAdams::new(Order::One)
        }),
        (2.0, PredictionForm::Data) => case.plain_error(&DpmSolverMultistep {
            strength,
            solver_type,
            final_order,
            ..DpmSolverMultistep::PP_2M
        }),
        // Diffusers' own third-order SDE has a sign error, so there is no case of it.
        (3.0, PredictionForm::Data) => case.plain_error(&DpmSolverMultistep {
            strength,
            solver_type,
            final_order,
            ..DpmSolverMultistep::PP_3M
        }),
        (2.0, PredictionForm::Noise) => case.plain_error(&DpmSolverMultistep {
            strength,
            solver_type,
            final_order,
            ..DpmSolverMultistep::NOISE_2M
        }),
        (3.0, PredictionForm::Noise) => case.plain_error(&DpmSolverMultistep {
            strength,
            solver_type,
            final_order,
            ..DpmSolverMultistep::NOISE_3M
        }),
        _ => return None,
    })
}

fn unipc(
    case: &Case,
    order_number: f64,
    variant: &str,
    prediction: PredictionForm,
    corrector: bool,
) -> Option<f64> {
    let variant = match variant {
        "bh1" => UniPcVariant::Bh1,
        "bh2" => UniPcVariant::Bh2,
        "vary_coeff" => UniPcVariant::VaryCoefficientsReleased,
        _ => return None,
    };
    let (order, final_order) = (order(order_number)?, lowered(case, usize::MAX));
    Some(case.plain_error(&UniPc { order, variant, prediction, corrector, final_order }))
}

fn prediction(algorithm: &str) -> Option<PredictionForm> {
    match algorithm {
        "dpmsolver++" => Some(PredictionForm::Data),
        "dpmsolver" => Some(PredictionForm::Noise),
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
