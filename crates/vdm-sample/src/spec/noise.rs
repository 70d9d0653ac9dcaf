//! Noise by name.

use std::ops::Neg;

use serde::{Deserialize, Deserializer, Serialize, de::Error};
use vdm_core::{LogSnr, Real};

use super::NameOf;
use crate::noise::{Antithetic, BrownianPath, NoiseError, antithetic_prior};
use crate::{Iid, NoiseSource, Seed, prior};

/// What noise a sampler starts from and follows; all are functions of (seed, sample).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoiseSpec {
    /// [`Iid`]: fresh noise at every draw.
    #[default]
    Iid,
    /// [`Antithetic`]: samples `2k` and `2k + 1` start from and follow each other's negatives.
    Antithetic,
    /// [`BrownianPath`]: the same path at any number of steps; not for solvers that add noise back,
    /// `churn`, `restart` and `predictor_corrector`.
    Brownian,
}

impl<'de> Deserialize<'de> for NoiseSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let named = NameOf::Noise.named(&name, &Self::NAMES).map_err(D::Error::custom)?;
        let all = [Self::Iid, Self::Antithetic, Self::Brownian];
        let known = all.into_iter().find(|noise| noise.name() == named);
        known.ok_or_else(|| D::Error::unknown_variant(&name, &Self::NAMES))
    }
}

impl NoiseSpec {
    /// The names of configurations.
    pub const NAMES: [&str; 3] = ["iid", "antithetic", "brownian"];

    /// Its name in a configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Iid => "iid",
            Self::Antithetic => "antithetic",
            Self::Brownian => "brownian",
        }
    }

    /// The latent at `t = 1` of one sample of `dims` components, unit normals.
    ///
    /// # Panics
    /// If `dims` is 0.
    #[must_use]
    pub fn prior<T>(self, seed: Seed, sample: u64, dims: usize) -> Vec<T>
    where
        T: Default + Copy + Neg<Output = T> + From<f32>,
    {
        match self {
            Self::Antithetic => antithetic_prior(seed, sample, dims),
            Self::Iid | Self::Brownian => prior(seed, sample, dims),
        }
    }

    /// The source for latents that hold samples `first_sample, first_sample + 1, …` of `dims`
    /// components each, in row-major order.
    #[must_use]
    pub fn path(self, seed: Seed, first_sample: u64, dims: usize) -> NoisePath {
        match self {
            Self::Iid => NoisePath::Iid(Iid::new(seed, first_sample, dims)),
            Self::Antithetic => NoisePath::Antithetic(Antithetic::new(seed, first_sample, dims)),
            Self::Brownian => NoisePath::Brownian(BrownianPath::new(seed, first_sample, dims)),
        }
    }
}

/// The source that a [`NoiseSpec`] names.
#[derive(Debug, Clone)]
pub enum NoisePath {
    /// Of `iid`.
    Iid(Iid),
    /// Of `antithetic`.
    Antithetic(Antithetic),
    /// Of `brownian`.
    Brownian(BrownianPath),
}

impl NoisePath {
    /// The noise of a step, into plain memory; other latent types build their [`NoiseSource`] on
    /// this.
    ///
    /// # Errors
    /// The source's own.
    ///
    /// # Panics
    /// If the source was made for samples of 0 components.
    pub fn fill_slice<T>(
        &mut self,
        out: &mut [T],
        from: LogSnr,
        to: LogSnr,
    ) -> Result<(), NoiseError>
    where
        T: Copy + Real + From<f32>,
    {
        match self {
            Self::Iid(source) => source.fill_slice(out),
            Self::Antithetic(source) => source.fill_slice(out),
            Self::Brownian(source) => return source.fill_slice(out, from, to),
        }
        Ok(())
    }
}

impl<T> NoiseSource<Vec<T>> for NoisePath
where
    T: Copy + Real + From<f32>,
{
    fn fill(&mut self, out: &mut Vec<T>, from: LogSnr, to: LogSnr) -> Result<(), NoiseError> {
        self.fill_slice(out, from, to)
    }
}
