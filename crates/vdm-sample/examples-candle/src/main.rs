//! Sampling on candle's tensors: one trait for the latent, one for the model, one for the noise.
//!
//! ```text
//! cargo run --manifest-path crates/vdm-sample/examples-candle/Cargo.toml
//! ```

use candle_core::{Device, Error, Result, Tensor};
use vdm_core::{
    Denoiser, Latent, LogSnr, NoiseLevel, Parameterization, Prediction, Scaling, Schedule,
};
use vdm_sample::noise::NoiseError;
use vdm_sample::{
    Ancestral, DpmSolverMultistep, Iid, NoNoise, NoiseSource, Seed, Solver, TimeGrid, prior, solve,
};

const BATCH: u64 = 4;
const SHAPE: [usize; 3] = [BATCH as usize, 2, 3];
const DIMS: usize = 2 * 3;

/// A batch of samples. A newtype, because neither the trait nor the tensor is of this crate.
struct Batch(Tensor);

impl Latent for Batch {
    fn lincomb(terms: &[(f64, &Self)]) -> Self {
        let sum = || -> Result<Tensor> {
            let mut live = terms.iter().filter(|(c, _)| *c != 0.0);
            let Some((c, z)) = live.next() else { return terms[0].1.0.zeros_like() };
            live.try_fold((&z.0 * *c)?, |sum, (c, z)| sum + (&z.0 * *c)?)
        };
        Self(sum().expect("latents of one shape, on one device"))
    }
}

/// The exact denoiser of components that are −1 or 1: `E[x|z] = tanh(αz/σ²)`.
struct Signs;

impl Denoiser<Batch> for Signs {
    type Error = Error;
    fn denoise(&self, z: &Batch, at: &NoiseLevel) -> Result<Prediction<Batch>> {
        let value = Batch((&z.0 * (at.alpha / at.sigma.powi(2)))?.tanh()?);
        Ok(Prediction { value, of: Parameterization::Image })
    }
}

/// Drawn on the host, so that a sample is the same on every device.
struct HostNoise(Iid);

impl NoiseSource<Batch> for HostNoise {
    fn fill(
        &mut self,
        out: &mut Batch,
        _: LogSnr,
        _: LogSnr,
    ) -> std::result::Result<(), NoiseError> {
        let mut host = vec![0.0_f32; out.0.elem_count()];
        self.0.fill_slice(&mut host);
        out.0 = Tensor::from_vec(host, out.0.shape(), out.0.device())
            .expect("as many numbers as the latent has");
        Ok(())
    }
}

fn draw(
    solver: &impl Solver<Batch>,
    grid: &TimeGrid,
    noise: &mut dyn NoiseSource<Batch>,
) -> std::result::Result<Vec<f32>, Box<dyn std::error::Error>> {
    let z1: Vec<f32> = (0..BATCH).flat_map(|i| prior(Seed(5), i, DIMS)).collect();
    let z1 = Batch(Tensor::from_vec(z1, &SHAPE, &Device::Cpu)?);
    let x = solve(solver, &Signs, z1, grid, noise, |_, _, _| ())?.latent;
    Ok(x.0.flatten_all()?.to_vec1()?)
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let schedule = Schedule::cosine(10.0, -10.0)?;
    let grid = TimeGrid::uniform_log_snr(40, &schedule, Scaling::VariancePreserving)?.to_clean();
    let ode = draw(&DpmSolverMultistep::PP_2M, &grid, &mut NoNoise)?;
    let sde = draw(&Ancestral::default(), &grid, &mut HostNoise(Iid::new(Seed(5), 0, DIMS)))?;
    for (name, x) in [("ODE", &ode), ("SDE", &sde)] {
        assert!(x.iter().all(|x| (x.abs() - 1.0).abs() < 1e-3), "{name}: {x:?} are not all signs");
        println!("{name}: {x:.0?}");
    }
    Ok(())
}
