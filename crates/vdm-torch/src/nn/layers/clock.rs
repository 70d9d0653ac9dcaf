//! How a network is told the noise level: sines and cosines of its time, 0 at the data end of its range
//! and 1 at the noise end.
//!
//! The published embedding (Ho et al. 2020, VDM) was made for a thousand timesteps: its fastest wave is
//! `sin(1000·t)`, of period 1/159. A network that has it answers with ripples of that period, which the 20
//! to 160 levels of a sampler alias: solvers lose their order, and adaptive ones their measure of
//! error. Nothing that a denoiser has to know changes that fast with the level, so the band ends where
//! the data do: [`BAND_LIMIT`] unless a configuration says otherwise. docs/clock.md has the figures.

use tch::{Device, Tensor};
use vdm_core::setting::{InvalidSetting, require};

/// The fastest wave of a network's clock unless its configuration names another, in radians per unit of time.
pub const BAND_LIMIT: f64 = 100.0;

/// The fastest wave of the published embedding, which networks trained elsewhere keep.
pub const PUBLISHED_BAND_LIMIT: f64 = 1000.0;

/// The slowest wave.
const SLOWEST: f64 = 0.1;

/// What `serde` takes for a field that is left out.
pub(in crate::nn) fn band_limit() -> f64 {
    BAND_LIMIT
}

/// That a band can be made up to this limit.
pub(in crate::nn) fn check(band_limit: f64) -> Result<(), InvalidSetting> {
    let remedy =
        "use 1 to 1e6: 100 unless a network was trained with another (1000 in DDPM and VDM)";
    require((1.0..=1e6).contains(&band_limit), "network.band_limit", band_limit, remedy)
}

/// Sines, then cosines, of a time, `[B]` to `[B, dims]`: of frequencies that fall geometrically from
/// the band limit to 0.1.
#[derive(Debug)]
pub struct TimeEmbedding {
    frequencies: Tensor,
}

impl TimeEmbedding {
    /// For an even number of dimensions from 4, and a band limit in radians per unit of time.
    #[must_use]
    pub fn new(dims: i64, band_limit: f64, device: Device) -> Self {
        let half = dims / 2;
        let rate = (band_limit / SLOWEST).ln() / (half - 1) as f64;
        let frequencies: Vec<f32> =
            (0..half).map(|i| (band_limit * (-rate * i as f64).exp()) as f32).collect();
        Self { frequencies: Tensor::from_slice(&frequencies).unsqueeze(0).to_device(device) }
    }

    /// Times `[B]` to `[B, dims]`.
    pub fn forward(&self, time: &Tensor) -> Tensor {
        let angles = time.unsqueeze(1) * &self.frequencies;
        Tensor::cat(&[angles.sin(), angles.cos()], 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedded(band_limit: f64, time: f32) -> Vec<f32> {
        let embedding = TimeEmbedding::new(6, band_limit, Device::Cpu);
        let time = Tensor::from_slice(&[time]);
        Vec::try_from(embedding.forward(&time).flatten(0, -1)).unwrap()
    }

    #[test]
    fn the_published_band_gives_the_published_embedding() {
        let got = embedded(PUBLISHED_BAND_LIMIT, 0.25);
        // Frequencies 1, 10^-2, 10^-4 of 1000·t = 250.
        let wanted = [250.0_f32, 2.5, 0.025];
        for (i, angle) in wanted.iter().enumerate() {
            assert!((got[i] - angle.sin()).abs() < 1e-4, "{i}");
            assert!((got[i + 3] - angle.cos()).abs() < 1e-4, "{i}");
        }
        // To the last bit, as weights trained elsewhere expect.
        let rate = 10_000.0_f64.ln() / 15.0;
        let published: Vec<f32> =
            (0..16).map(|i| (1000.0 * (-rate * f64::from(i)).exp()) as f32).collect();
        let ours = TimeEmbedding::new(32, PUBLISHED_BAND_LIMIT, Device::Cpu).frequencies;
        assert_eq!(Vec::<f32>::try_from(ours.flatten(0, -1)).unwrap(), published);
    }

    /// Whatever the limit, the slowest wave tells the two ends of the range apart.
    #[test]
    fn a_band_reaches_from_its_limit_to_the_slowest_wave() {
        for limit in [1.0, 30.0, BAND_LIMIT] {
            let got = embedded(limit, 1.0);
            assert!((f64::from(got[0]) - limit.sin()).abs() < 1e-5, "{limit}");
            assert!((f64::from(got[2]) - 0.1_f64.sin()).abs() < 1e-6, "{limit}");
        }
    }

    #[test]
    fn limits_that_make_no_band_are_refused() {
        for limit in [f64::NAN, f64::INFINITY, -100.0, 0.0, 0.5, 1e7] {
            let error = check(limit).unwrap_err().to_string();
            assert!(error.contains("network.band_limit") && error.contains("use 1 to 1e6"));
        }
        assert!(check(BAND_LIMIT).is_ok() && check(PUBLISHED_BAND_LIMIT).is_ok());
    }
}
