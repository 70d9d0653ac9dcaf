//! What multistep solvers share: their orders, how they start and end, and the explicit step.

use serde::{Deserialize, Serialize};
use vdm_core::setting::InvalidSetting;
use vdm_core::{Denoiser, Latent};

use super::{Ddim, DpmSolverOrder, History, Run, Solver, Step};
use crate::SolveError;
use crate::exponential::{ExponentialStep, PredictionForm, weights};

/// How many predictions a step may use: four of an explicit method, and the corrector's one more.
pub(crate) const MAX_NODES: usize = 5;

/// The order of a multistep method, which is the number of predictions that it combines; a number
/// from 1 to 4 in a configuration.
///
/// ```
/// use vdm_sample::solver::Order;
/// assert_eq!(Order::try_from(3), Ok(Order::Three));
/// assert!(serde_json::from_str::<Order>("7").is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
#[repr(u8)]
pub enum Order {
    /// First order.
    One = 1,
    /// Second order.
    Two,
    /// Third order.
    Three,
    /// Fourth order.
    Four,
}

impl Order {
    pub(crate) fn get(self) -> usize {
        self as usize
    }
}

impl From<DpmSolverOrder> for Order {
    fn from(order: DpmSolverOrder) -> Self {
        match order {
            DpmSolverOrder::One => Self::One,
            DpmSolverOrder::Two => Self::Two,
            DpmSolverOrder::Three => Self::Three,
        }
    }
}

impl From<Order> for u8 {
    fn from(order: Order) -> Self {
        order as Self
    }
}

impl From<Order> for u32 {
    fn from(order: Order) -> Self {
        order as Self
    }
}

impl TryFrom<u8> for Order {
    type Error = InvalidSetting;
    fn try_from(order: u8) -> Result<Self, InvalidSetting> {
        match order {
            1 => Ok(Self::One),
            2 => Ok(Self::Two),
            3 => Ok(Self::Three),
            4 => Ok(Self::Four),
            _ => {
                let remedy = "use 1 to 4; 2 or 3 serve 10 to 50 model calls";
                Err(InvalidSetting::new("order", order, remedy))
            }
        }
    }
}

/// The order of the last steps, and of steps far longer than those before them.
///
/// A long step extrapolates past predictions far beyond where they were made, and overshoots: by
/// default its order is lowered. A last step to `σ = 0` is of first order whatever this says: no
/// other is defined.
///
/// ```
/// use vdm_sample::{DpmSolverMultistep, UniPc};
/// use vdm_sample::solver::FinalOrder;
/// assert_eq!(DpmSolverMultistep::default().final_order, FinalOrder::Bounded { below: 15 });
/// assert_eq!(UniPc::default().final_order, FinalOrder::ALWAYS_BOUNDED);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FinalOrder {
    /// Full order to the end.
    Full,
    /// The last step is of first order (`euler_at_final` of diffusers).
    First,
    /// No more than the number of steps left, this one included, on grids of few steps.
    Lowered {
        /// Applies to grids of fewer steps: 10 in the code of DPM-Solver's authors, 15 in
        /// diffusers' schedulers of DPM-Solver and DEIS.
        below: usize,
    },
    /// As `Lowered`, and at every step only as high as errors of past predictions are magnified
    /// little more than by even short steps.
    ///
    /// What the authors and diffusers lower is not enough on grids whose last steps are long and which
    /// go to clean data after them, or which have more than the few steps that they lower at.
    Bounded {
        /// As in `Lowered`.
        below: usize,
    },
}

impl Default for FinalOrder {
    /// That of diffusers' DPM-Solver and DEIS, bounded.
    fn default() -> Self {
        Self::Bounded { below: 15 }
    }
}

/// The most that the weights on past predictions may add up to in size, relative to their sum, in steps
/// of order 2, 3 and 4. Those of even short steps add up to 2, 11/3 and 20/3 (Adams and Bashforth), those
/// of even long ones to 3, 7 and 15. With these bounds no combination of `docs/solvers.md` is far worse
/// than the first-order solver on it, and orders are those declared as steps shorten.
const MOST_AMPLIFICATION: [f64; 3] = [3.0, 4.0, 7.0];

impl FinalOrder {
    /// Lowered on every grid, as UniPC and SA-Solver do.
    pub const ALWAYS_LOWERED: Self = Self::Lowered { below: usize::MAX };

    /// The same, bounded.
    pub const ALWAYS_BOUNDED: Self = Self::Bounded { below: usize::MAX };

    /// The order of this step, at which `order` or less is possible. `weights(order)` are those on past
    /// predictions.
    pub(crate) fn of_step(
        self,
        order: usize,
        step: &Step<'_>,
        weights: impl Fn(usize) -> [f64; MAX_NODES],
    ) -> usize {
        let order = self.lowered(order, step);
        let bounded = |order: &usize| match order.checked_sub(2) {
            Some(known) => amplification(&weights(*order)) <= MOST_AMPLIFICATION[known],
            None => true,
        };
        match self {
            Self::Bounded { .. } => (0..=order).rev().find(bounded).unwrap_or_default(),
            _ => order,
        }
    }

    /// The order as far as the number of steps decides it.
    fn lowered(self, order: usize, step: &Step<'_>) -> usize {
        match self {
            Self::First if step.left() == 1 => order.min(1),
            Self::Lowered { below } | Self::Bounded { below } if step.grid.steps() < below => {
                order.min(step.left())
            }
            _ => order,
        }
    }
}

/// By how much errors of predictions are magnified, relative to predictions.
fn amplification(weights: &[f64; MAX_NODES]) -> f64 {
    weights.iter().map(|weight| weight.abs()).sum::<f64>() / weights.iter().sum::<f64>().abs()
}

/// A step that starts or ends at an infinite log-SNR, where the prediction is frozen and all of the
/// noise is kept or all of it is new. Nothing of it can be extrapolated, so it leaves no history.
pub(crate) fn singular_step<Z: Latent, D: Denoiser<Z> + ?Sized>(
    run: &mut Run<'_, Z, D>,
    z: Z,
    step: &Step<'_>,
    strength: f64,
) -> Result<Z, SolveError<D::Error>> {
    Ddim { eta: if strength > 0.0 { 1.0 } else { 0.0 } }.step(run, z, step, &mut ())
}

/// The positions on a step of the predictions at hand, newest first.
pub(crate) fn nodes<Z: Latent>(form: &ExponentialStep, past: &History<Z>) -> [f64; MAX_NODES] {
    let mut nodes = [0.0; MAX_NODES];
    for (node, past) in nodes.iter_mut().zip(past.iter()) {
        *node = form.position(&past.at);
    }
    nodes
}

/// `first` and the weighted predictions; terms of coefficient 0 fill the rest.
pub(crate) fn terms<'a, Z: Latent>(
    first: (f64, &'a Z),
    gain: f64,
    weights: &[f64; MAX_NODES],
    past: &'a History<Z>,
) -> [(f64, &'a Z); 1 + MAX_NODES] {
    let mut terms = [(0.0, first.1); 1 + MAX_NODES];
    terms[0] = first;
    for ((term, weight), past) in terms[1..].iter_mut().zip(weights).zip(past.iter()) {
        *term = (gain * weight, &past.value);
    }
    terms
}

/// An explicit multistep method, all but the moments that it uses.
pub(crate) struct Explicit {
    pub(crate) order: Order,
    pub(crate) prediction: PredictionForm,
    pub(crate) strength: f64,
    pub(crate) final_order: FinalOrder,
}

impl Explicit {
    /// One step. `moments(form, order)` are the integrals that turn the polynomial's coefficients
    /// into the step: the exact ones, or those of a published form.
    pub(crate) fn step<Z: Latent, D: Denoiser<Z> + ?Sized>(
        &self,
        run: &mut Run<'_, Z, D>,
        z: Z,
        step: &Step<'_>,
        memory: &mut History<Z>,
        moments: impl Fn(&ExponentialStep, usize) -> [f64; MAX_NODES],
    ) -> Result<Z, SolveError<D::Error>> {
        if step.is_singular() {
            return singular_step(run, z, step, self.strength);
        }
        let Step { from: t, to: s, .. } = step;
        let prediction = run.predict_as(self.prediction.parameterization(), &z, t)?;
        memory.push(run, prediction, *t, self.order.get());
        let form = ExponentialStep::between(t, s, self.prediction, self.strength);
        let nodes = nodes(&form, memory);
        let weights = |order: usize| weights(&moments(&form, order), &nodes[..order]);
        let order = self.final_order.of_step(memory.len(), step, weights);
        let mean = terms((form.on_z, &z), form.gain, &weights(order), memory);
        let z_s = run.sample(&mean, form.std, t, s)?;
        run.recycle(z);
        Ok(z_s)
    }
}
