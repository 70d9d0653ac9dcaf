//! Euler, Runge–Kutta and linear multistep methods, with churn and ancestral noise.

use vdm_sample::solver::{Churn, Coordinate, Dpm2, Dpm2Ancestral, EdmSigmaRange, Heun, Lms, Order};
use vdm_sample::{Ddim, Solver};

use super::cases::Case;

/// `None` for algorithms of other modules.
pub(crate) fn error(case: &Case) -> Option<f64> {
    let eta = case.number("eta").unwrap_or(1.0);
    Some(match case.algorithm.as_str() {
        "euler" => churned(case, Ddim::default()),
        "heun" => churned(case, Heun::default()),
        "dpm_2" => churned(case, Dpm2),
        "euler_ancestral" | "EulerAncestralDiscreteScheduler" => case.plain_error(&Ddim { eta }),
        "dpm_2_ancestral" => case.plain_error(&Dpm2Ancestral { eta }),
        "lms" | "LMSDiscreteScheduler" => case.plain_error(&lms(case)),
        "EulerDiscreteScheduler" | "EDMEulerScheduler" | "FlowMatchEulerDiscreteScheduler" => {
            case.plain_error(&Ddim::default())
        }
        "HeunDiscreteScheduler" => case.plain_error(&Heun::default()),
        "FlowMatchHeunDiscreteScheduler" => {
            case.plain_error(&Heun { coordinate: Coordinate::Flow })
        }
        "KDPM2DiscreteScheduler" => case.plain_error(&Dpm2),
        _ => return None,
    })
}

fn lms(case: &Case) -> Lms {
    let order = case.number("order").map_or(Order::Four, |order| {
        Order::try_from(order as u8).unwrap_or_else(|error| panic!("{}: {error}", case.id))
    });
    Lms { order, coordinate: Coordinate::Edm }
}

/// They draw at every step and use the draw where the level is raised.
fn churned<S: Solver<Vec<f64>, Memory = ()>>(case: &Case, solver: S) -> f64 {
    let plain = Churn::new(solver, case.number("s_churn").unwrap_or(0.0));
    let churn = Churn {
        sigma: EdmSigmaRange {
            min: case.number("s_tmin").unwrap_or(plain.sigma.min),
            max: case.number("s_tmax").unwrap_or(plain.sigma.max),
        },
        noise_scale: case.number("s_noise").unwrap_or(plain.noise_scale),
        ..plain
    };
    let levels = case.levels();
    let raised = |at: &usize| {
        let edm_sigma = levels[*at].sigma / levels[*at].alpha;
        churn.amount > 0.0 && (churn.sigma.min..=churn.sigma.max).contains(&edm_sigma)
    };
    let used: Vec<usize> = (0..levels.len() - 1).filter(raised).collect();
    case.error(&churn, levels, &used)
}
