//! Lossless compression with diffusion models and other hierarchies: a code whose length is the variational bound.
//!
//! The bound of the `T`-step diffusion model is an expected code length (monograph §3, item M68):
//!
//! ```text
//! L_T(x) = E_q[ −log p(x|z_0) − Σ_i log p(z_{i−1}|z_i) − log p(z_T) ]      bits pushed
//!        − E_q[ −log q(z_0|x) − Σ_i log q(z_i|z_{i−1}) ]                    bits popped
//! ```
//!
//! Bits-back coding spends exactly that (Hinton and van Camp 1993; Townsend et al. 2019; Kingma et
//! al. 2021 §6). On a stack of bits the writer *pops* a latent under the posterior `q`, which turns
//! bits already there into a sample of it and gives them back, and *pushes* pixels and latents under
//! the model `p`. The reader pops under `p` and pushes under `q`, and finds the stack as it was.
//!
//! The posterior of a diffusion model is a chain that only adds noise, so latents need not all be
//! popped before anything is pushed: each is pushed as soon as the next noisier one is known
//! (Bit-Swap, F. Kingma et al. 2019).
//!
//! ```text
//! pop z_0 ~ q(z_0|x), push x ~ p(x|z_0);  pop z_1 ~ q(z_1|z_0), push z_0 ~ p(z_0|z_1);  …  push z_T ~ p(z_T)
//! ```
//!
//! So the first items need initial bits for two latents, not for `T`, and every item pays for the
//! next: initial bits are needed once ([`Code::initial_bits`]).
//!
//! A hierarchy whose posterior is learned is coded in the same way ([`Hierarchy`], [`Codec::hierarchy`]). Inferred
//! bottom-up its latents are popped and pushed in turn too; top-down, `q(z_{t−1}|z_t, x)` needs the data to the last, and
//! all latents of a batch are popped before anything is pushed.
//!
//! Use it to see a likelihood as the size of a file, or to keep images: the files are smaller than
//! those of general image formats by as much as the model knows its data better. Coding takes `T`
//! model calls, or two passes through a hierarchy, per batch each way. The reader must see the same outputs of the model to the last
//! bit: same weights, program, type of machine, device, number of threads; see [`Archive`].
//!
//! Latents are continuous in theory and multiples of a narrow cell here; what that costs is in
//! `docs/compression.md`.
//!
//! ```
//! use vdm_compress::{Chain, Codec, LatentLevels, Settings};
//! use vdm_core::{FromFn, NoiseLevel, Parameterization, Prediction, Scalar, Schedule};
//! use vdm_core::likelihood::Discretized;
//!
//! // The exact denoiser of N(0, 1/4), which is blind to its neighbors.
//! let model = FromFn(|z: &Vec<f32>, at: &NoiseLevel| {
//!     let gain = at.alpha * 0.25 / (at.alpha.powi(2) * 0.25 + at.sigma.powi(2));
//!     let value = z.iter().map(|z| (gain * f64::from(*z)) as f32).collect();
//!     Ok::<_, std::convert::Infallible>(Prediction { value, of: Parameterization::Image })
//! });
//! let schedule = Schedule::linear(9.0, -6.0)?;
//! let levels = LatentLevels::UniformTime;
//! let chain = Chain { steps: 50, levels, cells_per_std: Settings::CELLS };
//! let codec = Codec::diffusion(&model, Discretized::new(256)?, 4, &schedule, &chain, 16)?;
//!
//! // 300 items of 4 pixels around the middle gray, with the spread the model expects.
//! let quantile = |i: u32| (f64::from(i) + 0.5) / 1200.0;
//! let pixel = |i| (128.0 + 64.0 * quantile(i).normal_quantile()).clamp(0.0, 255.0) as u8;
//! let pixels: Vec<u8> = (0..1200).map(pixel).collect();
//! let code = codec.compress(&pixels, |_| ())?;
//! // Their entropy is log2(64·√(2πe)) = 8.05 bits; the rest is what 50 steps fall short of many.
//! assert!((code.net_bits / 1200.0 - 8.8).abs() < 0.2, "{}", code.net_bits / 1200.0);
//! assert_eq!(codec.decompress(&code.words, 300, |_| ())?, pixels);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod archive;
mod batches;
mod budget;
mod cells;
mod chain;
mod codec;
mod distribution;
mod error;
mod layers;
mod stack;
mod walk;

pub use archive::{Archive, Header, Origin, sha256};
pub use budget::Budget;
pub use cells::Cells;
pub use chain::{Chain, LatentLevels};
pub use codec::{Codec, Latents, Settings};
pub use error::{CodecError, Error};
pub use layers::{Hierarchy, Layers};
pub use stack::Code;

/// The example of the README, so that it cannot rot.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
