//! Attention, written once for all networks.

use tch::Tensor;

use super::{Linear, Start};
use crate::nn::Requirements;
use crate::nn::parameters::Scope;

/// `softmax(q·kᵀ/√d)·v` for `[B, heads, N, d]` each (Vaswani et al. 2017), of the same shape.
///
/// In one pass that never holds all `N²` pairs; product by product where the network has to be
/// [differentiated twice](Requirements::twice_differentiable), since the gradient of the fused pass has none.
pub fn attend(q: &Tensor, k: &Tensor, v: &Tensor, requirements: Requirements) -> Tensor {
    if requirements.twice_differentiable {
        let scale = (q.size()[3] as f64).sqrt().recip();
        return (q * scale).matmul(&k.transpose(-2, -1)).softmax(-1, None).matmul(v);
    }
    Tensor::scaled_dot_product_attention::<Tensor>(q, k, v, None, 0.0, false, None, false)
}

/// Self-attention of several heads over the tokens of an item: `[B, N, width]` to the same shape.
///
/// Its weights have the names that diffusers' have: `to_q`, `to_k`, `to_v`, `to_out.0`.
#[derive(Debug)]
pub struct MultiHeadAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    heads: i64,
    requirements: Requirements,
}

impl MultiHeadAttention {
    /// `heads` of `head_width` components each.
    #[must_use]
    pub fn new(
        scope: &Scope<'_>,
        width: i64,
        [heads, head_width]: [i64; 2],
        requirements: Requirements,
    ) -> Self {
        let inner = heads * head_width;
        let linear = |name, from, to| Linear::new(&scope.child(name), from, to, Start::FanIn);
        Self {
            query: linear("to_q", width, inner),
            key: linear("to_k", width, inner),
            value: linear("to_v", width, inner),
            output: linear("to_out.0", inner, width),
            heads,
            requirements,
        }
    }

    /// `[B, N, width]` to the same shape.
    pub fn forward(&self, tokens: &Tensor) -> Tensor {
        let size = tokens.size();
        // Each projection to [B, heads, N, components of a head].
        let split = |linear: &Linear| {
            linear.forward(tokens).view([size[0], size[1], self.heads, -1]).transpose(1, 2)
        };
        let [q, k, v] = [&self.query, &self.key, &self.value].map(split);
        let mixed = attend(&q, &k, &v, self.requirements);
        self.output.forward(&mixed.transpose(1, 2).flatten(2, 3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn waves(shape: &[i64], rate: f64) -> Tensor {
        let count = shape.iter().product::<i64>();
        (Tensor::arange(count, (Kind::Float, Device::Cpu)) * rate).sin().view(shape)
    }

    /// Both ways to compute it, and a sum by hand of one token.
    #[test]
    fn attention_is_a_mean_of_values_weighted_by_likeness() {
        let shape = [2, 3, 5, 4];
        let [q, k, v] = [0.7, 1.1, 0.3].map(|rate| waves(&shape, rate));
        let twice = Requirements { twice_differentiable: true, ..Requirements::PLAIN };
        let (fused, plain) = (attend(&q, &k, &v, Requirements::PLAIN), attend(&q, &k, &v, twice));
        // Rounding of f32 sums of a few numbers below 1.
        assert!((&fused - &plain).abs().max().double_value(&[]) < 1e-6);
        let at = |t: &Tensor, token: i64| Vec::<f32>::try_from(t.get(1).get(2).get(token)).unwrap();
        let likeness = |token| -> f32 {
            let dot: f32 = at(&q, 3).iter().zip(at(&k, token)).map(|(a, b)| a * b).sum();
            (dot / 2.0).exp()
        };
        let total: f32 = (0..5).map(likeness).sum();
        for (i, got) in at(&fused, 3).into_iter().enumerate() {
            let wanted: f32 = (0..5).map(|n| likeness(n) / total * at(&v, n)[i]).sum();
            assert!((got - wanted).abs() < 1e-5, "{got} for {wanted}");
        }
    }
}
