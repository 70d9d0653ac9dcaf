//! What multistep solvers share: their orders, how they start and end, and the explicit step.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use vdm_core::{Denoiser, Latent};

use super::{Ddim, History, Solver, Step};
use crate::exponential::{ExponentialStep, Predicts, weights};
use crate::{Run, RunError};

/// How many predictions a step may use: four of an explicit method, and the corrector's one more.
pub(crate) const MAX_NODES: usize = 5;

/// The order of a multistep method, which is the number of predictions that it combines; a number
/// from 1 to 4 in a configuration.
///
/// ```
/// use vdm_sample::Order;
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

/// A number that is no [`Order`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("order {found}: multistep solvers have orders 1 to 4; 2 or 3 serve 10 to 50 model calls")]
pub struct OrderError {
    /// The number given.
    pub found: u8,
}

impl Order {
    pub(crate) fn get(self) -> usize {
        self as usize
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
    type Error = OrderError;
    fn try_from(found: u8) -> Result<Self, OrderError> {
        match found {
            1 => Ok(Self::One),
            2 => Ok(Self::Two),
            3 => Ok(Self::Three),
            4 => Ok(Self::Four),
            _ => Err(OrderError { found }),
        }
    }
}

/// The order of the last steps.
///
/// With few steps the last ones are large and extrapolation overshoots there. A last step to
/// `σ = 0` is of first order whatever this says: no other is defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FinalOrder {
    /// Full order to the end.
    #[default]
    Full,
    /// The last step is of first order (`euler_at_final` of diffusers).
    First,
    /// No more than the number of steps left, this one included, on grids of few steps.
    Lowered {
        /// Applies to grids of fewer steps: 10 in the code of DPM-Solver's authors, 15 in
        /// diffusers.
        below: usize,
    },
}

impl FinalOrder {
    /// Lowered on every grid, as UniPC does.
    pub const ALWAYS_LOWERED: Self = Self::Lowered { below: usize::MAX };

    /// The order of this step, at which `order` or less is possible.
    pub(crate) fn cap(self, order: usize, step: &Step<'_>) -> usize {
        match self {
            Self::First if step.left() == 1 => 1,
            Self::Lowered { below } if step.grid.steps() < below => order.min(step.left()),
            _ => order,
        }
    }
}

/// A step that starts or ends at an infinite log-SNR, where the prediction is frozen and all of the
/// noise is kept or all of it is new. Nothing of it can be extrapolated, so it leaves no history.
pub(crate) fn singular_step<Z: Latent, D: Denoiser<Z> + ?Sized>(
    run: &mut Run<'_, Z, D>,
    z: Z,
    step: &Step<'_>,
    eta: f64,
) -> Result<Z, RunError<D::Error>> {
    Ddim { eta: if eta > 0.0 { 1.0 } else { 0.0 } }.step(run, z, step, &mut ())
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
    pub(crate) predicts: Predicts,
    pub(crate) eta: f64,
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
        moments: impl FnOnce(&ExponentialStep, usize) -> [f64; MAX_NODES],
    ) -> Result<Z, RunError<D::Error>> {
        if step.is_singular() {
            return singular_step(run, z, step, self.eta);
        }
        let Step { from: t, to: s, .. } = step;
        let prediction = run.predict_as(self.predicts.parameterization(), &z, t)?;
        memory.push(run, prediction, *t, self.order.get());
        let order = self.final_order.cap(memory.len(), step);
        let form = ExponentialStep::between(t, s, self.predicts, self.eta);
        let weights = weights(&moments(&form, order), &nodes(&form, memory)[..order]);
        let mean = terms((form.on_z, &z), form.gain, &weights, memory);
        let z_s = run.sample(&mean, form.std, t, s)?;
        run.recycle(z);
        Ok(z_s)
    }
}
