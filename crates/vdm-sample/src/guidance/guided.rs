//! One model, away from another.

use vdm_core::schedule::LogSnrRange;
use vdm_core::setting::{InvalidSetting, finite};
use vdm_core::{Denoiser, Latent, LogSnr, NoiseLevel, Parameterization, Prediction};

/// `x̂ = x̂_guide + scale·(x̂_model − x̂_guide)`, and the same of every other prediction.
///
/// | what it is | `model` | `guide` | |
/// |---|---|---|---|
/// | classifier-free guidance | conditional | unconditional | Ho and Salimans 2022, whose `w` is `scale − 1` |
/// | negative prompts | conditional | on what is not wanted | |
/// | autoguidance | good | the same, smaller or trained less | Karras et al. 2024 |
///
/// The score becomes that of `q_model·(q_model/q_guide)^{scale−1}` at each level: samples move to
/// where the model is more certain than its guide, at the price of diversity. Which is not the distribution
/// of any noised data, so that no number of steps makes it exact. Scale 1 is the model alone, 0 the
/// guide.
///
/// [`within`](Self::within) restricts it to some levels, outside of which the model alone is called.
///
/// ```
/// use vdm_core::{Denoiser, GaussianMixture, Scaling};
/// use vdm_sample::guidance::Guided;
/// let normal = |mean| GaussianMixture::new(vec![1.0], vec![vec![mean]], vec![0.5]);
/// // N(1, ½²) guided away from N(0, ½²) by a scale of 3 is N(3, ½²).
/// let guided = Guided::new(normal(1.0)?, normal(0.0)?, 3.0)?;
/// let at = Scaling::VariancePreserving.level(0.5);
/// let z = vec![0.4_f64];
/// let (got, wanted) = (guided.denoise(&z, &at)?, normal(3.0)?.denoise(&z, &at)?);
/// assert!((got.value[0] - wanted.value[0]).abs() < 1e-14);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Guided<M, G> {
    model: M,
    guide: G,
    scale: f64,
    range: LogSnrRange,
}

impl<M, G> Guided<M, G> {
    /// At every level.
    ///
    /// # Errors
    /// [`InvalidSetting`] unless `scale` is finite.
    pub fn new(model: M, guide: G, scale: f64) -> Result<Self, InvalidSetting> {
        finite("guidance.scale", scale)?;
        Ok(Self { model, guide, scale, range: LogSnrRange::WHOLE })
    }

    /// At the levels of `range` only, ends included: at high noise guidance costs diversity and at
    /// low noise it changes nothing but the time (Kynkäänniemi et al. 2024).
    #[must_use]
    pub fn within(mut self, range: LogSnrRange) -> Self {
        self.range = range;
        self
    }

    /// 1 where the guide is not needed.
    fn scale_at(&self, at: &NoiseLevel) -> f64 {
        if self.range.contains(LogSnr::new(at.log_snr)) { self.scale } else { 1.0 }
    }

    fn combine<Z: Latent>(
        &self,
        model: &Prediction<Z>,
        guide: &Prediction<Z>,
        z: &Z,
        at: &NoiseLevel,
    ) -> Prediction<Z> {
        let map = guide.of.to(model.of, at);
        let away = 1.0 - self.scale;
        let terms = [
            (self.scale, &model.value),
            (away * map.on_output, &guide.value),
            (away * map.on_z, z),
        ];
        Prediction { value: Z::lincomb(&terms), of: model.of }
    }
}

impl<Z: Latent, M: Denoiser<Z>, G: Denoiser<Z, Error = M::Error>> Denoiser<Z> for Guided<M, G> {
    type Error = M::Error;

    fn denoise(&self, z: &Z, at: &NoiseLevel) -> Result<Prediction<Z>, M::Error> {
        let model = self.model.denoise(z, at)?;
        if self.scale_at(at) == 1.0 {
            return Ok(model);
        }
        Ok(self.combine(&model, &self.guide.denoise(z, at)?, z, at))
    }

    fn denoise_into(
        &self,
        z: &Z,
        at: &NoiseLevel,
        out: &mut Z,
    ) -> Result<Parameterization, M::Error> {
        if self.scale_at(at) == 1.0 {
            return self.model.denoise_into(z, at, out);
        }
        let Prediction { value, of } = self.denoise(z, at)?;
        *out = value;
        Ok(of)
    }

    fn denoise_each(&self, items: &[(&Z, NoiseLevel)]) -> Result<Vec<Prediction<Z>>, M::Error> {
        let mut predictions = self.model.denoise_each(items)?;
        let guided: Vec<usize> =
            (0..items.len()).filter(|i| self.scale_at(&items[*i].1) != 1.0).collect();
        let asked: Vec<(&Z, NoiseLevel)> = guided.iter().map(|i| items[*i]).collect();
        for (i, guide) in guided.into_iter().zip(self.guide.denoise_each(&asked)?) {
            let (z, at) = &items[i];
            predictions[i] = self.combine(&predictions[i], &guide, z, at);
        }
        Ok(predictions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guidance::tests::{PARAMETERIZATIONS, Predicting, assert_same, normal};
    use vdm_core::{Counted, Scaling};

    /// Normal distributions of one variance are closed under it: the mean moves along the line of the two.
    #[test]
    fn guiding_a_normal_moves_its_mean_in_every_parameterization() {
        for of_model in PARAMETERIZATIONS {
            for of_guide in PARAMETERIZATIONS {
                for scale in [0.0, 0.5, 1.0, 2.5] {
                    let model = Predicting(normal(0.7), of_model);
                    let guide = Predicting(normal(-0.4), of_guide);
                    let guided = Guided::new(model, guide, scale).unwrap();
                    assert_same(&guided, &normal(-0.4 + scale * 1.1), 1);
                }
            }
        }
    }

    #[test]
    fn outside_its_interval_the_model_alone_is_called() {
        let range = LogSnrRange::new(3.0, -2.0).unwrap();
        let guide = Counted::new(normal(-0.4));
        let guided = Guided::new(normal(0.7), &guide, 3.0).unwrap().within(range);
        let whole = Guided::new(normal(0.7), normal(-0.4), 3.0).unwrap();
        for (log_snr, calls) in [(-2.1, 0), (-2.0, 1), (0.0, 1), (3.0, 1), (3.1, 0)] {
            let at = Scaling::VariancePreserving.level(log_snr);
            let z = vec![0.3];
            let before = guide.calls();
            let got = guided.denoise(&z, &at).unwrap();
            assert_eq!(guide.calls() - before, calls, "{log_snr}");
            let wanted =
                if calls == 0 { normal(0.7).denoise(&z, &at) } else { whole.denoise(&z, &at) };
            assert_eq!(got, wanted.unwrap());
        }
        let low = Scaling::VariancePreserving.level(-5.0);
        let before = guide.calls();
        guided.denoise_each(&[(&vec![0.1], low), (&vec![0.2], low)]).unwrap();
        assert_eq!(guide.calls(), before);
    }

    #[test]
    fn a_scale_that_is_no_number_is_refused() {
        let error = Guided::new((), (), f64::NAN).unwrap_err();
        assert_eq!(error.to_string(), "guidance.scale = NaN: use a finite number");
    }
}
