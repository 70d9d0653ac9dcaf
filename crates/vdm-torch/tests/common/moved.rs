//! Models off their starting point, where a network answers 0 whatever it is asked.

use tch::{Kind, Tensor};
use vdm_torch::Model;

/// Moves all weights of a model in place, by up to `size`. It changes slowly with the level, as trained ones do: of the
/// embedding's frequencies it sees the lower half.
pub(crate) fn move_weights(model: &Model, size: f64) {
    tch::no_grad(|| {
        for (i, (name, weight)) in model.parameters().named().into_iter().enumerate() {
            let wave = Tensor::arange(weight.numel() as i64, (Kind::Float, weight.device()));
            let wave = (wave + i as f64).sin() * size;
            let _ = weight.shallow_clone().g_add_(&wave.view(weight.size().as_slice()));
            if ["embedding.weight", "embedding.0.weight"].contains(&name.as_str()) {
                // Sines, then cosines, each from high to low.
                let half = weight.size()[1] / 2;
                let low = |i: i64| f32::from(u8::from(i % half >= half / 2));
                let low: Vec<f32> = (0..2 * half).map(low).collect();
                let _ = weight.shallow_clone().g_mul_(&Tensor::from_slice(&low));
            }
        }
    });
}
