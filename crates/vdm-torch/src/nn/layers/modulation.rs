//! Normalization whose scale and shift come from a condition.

use tch::Tensor;

use super::{Linear, Start};
use crate::nn::parameters::Scope;

/// The normalization and the gate of a residual branch, all three told by a condition: adaLN-Zero of `DiT`
/// (Peebles and Xie 2023).
///
/// ```text
/// x + gate(c) ⊙ branch(norm(x) ⊙ (1 + scale(c)) + shift(c))
/// ```
///
/// The gate starts at 0, and the whole branch with it.
#[derive(Debug)]
pub struct AdaptiveLayerNorm {
    modulation: Linear,
    width: i64,
}

/// The published one.
const EPSILON: f64 = 1e-6;

impl AdaptiveLayerNorm {
    /// For tokens of `width` components and a condition of as many as `condition`. Weights `weight`
    /// `[3·width, condition]` and `bias` `[3·width]`, all 0 at first: shift, scale, gate.
    #[must_use]
    pub fn new(scope: &Scope<'_>, width: i64, condition: i64) -> Self {
        Self { modulation: Linear::new(scope, condition, 3 * width, Start::Zero), width }
    }

    /// Tokens `[B, N, width]` with the branch added, which is given their normalization; `condition` is
    /// `[B, condition]`.
    pub fn residual(
        &self,
        x: &Tensor,
        condition: &Tensor,
        branch: impl FnOnce(&Tensor) -> Tensor,
    ) -> Tensor {
        let parts = self.modulation.forward(&condition.silu()).unsqueeze(1).chunk(3, -1);
        let [shift, scale, gate] = [&parts[0], &parts[1], &parts[2]];
        let normal = x.layer_norm([self.width], None::<&Tensor>, None::<&Tensor>, EPSILON, true);
        x + gate * branch(&(normal * (scale + 1.0) + shift))
    }
}
