//! A network that predicts noise at DDPM's timesteps, sampled by a solver that is one word.
//!
//! ```text
//! cargo run -p vdm-sample --example epsilon_closure
//! ```

use std::{convert::Infallible, error::Error};

use vdm_core::schedule::{Betas, Discrete};
use vdm_core::{FromFn, LogSnr, NoiseLevel, Parameterization, Prediction, Scaling};
use vdm_sample::{AnySolver, GridSpec, NoNoise, Seed, prior};

fn main() -> Result<(), Box<dyn Error>> {
    let betas = Betas::Linear { steps: 1000, beta_start: 1e-4, beta_end: 0.02 };
    let ddpm = Discrete::new(betas, false)?;
    // In place of a network: what it learns from data that are ±0.5 in each component.
    let network = |z: &[f32], timestep: f64| -> Vec<f32> {
        let alpha_bar = ddpm.alpha_bar(timestep.round() as usize) as f32;
        let (alpha, var) = (alpha_bar.sqrt(), 1.0 - alpha_bar);
        let image = |z: &f32| 0.5 * (0.5 * alpha * z / var).tanh();
        z.iter().map(|z| (z - alpha * image(z)) / var.sqrt()).collect()
    };
    let model = FromFn(|z: &Vec<f32>, at: &NoiseLevel| {
        let value = network(z, ddpm.timestep(LogSnr::new(at.log_snr)));
        Ok::<_, Infallible>(Prediction { value, of: Parameterization::Noise })
    });
    let solver: AnySolver = "dpm_solver_pp_2m".parse()?; // or "adaptive_ode"
    let method = solver.along(GridSpec::UNIFORM_TIME, 20)?;
    let z1 = prior(Seed(7), 0, 16);
    let vp = Scaling::VariancePreserving;
    let found = method.sample(&model, z1, &ddpm, vp, &mut NoNoise, |_, _, _| ())?;
    println!("{:.3?} in {} calls", found.latent, found.statistics.calls);
    Ok(())
}
