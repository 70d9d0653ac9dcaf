//! A latent type of one's own in a few lines: with it every solver, grid and wrapper of this crate
//! works.
//!
//! ```text
//! cargo run -p vdm-sample --example plain_vec
//! ```

use std::convert::Infallible;
use std::error::Error;

use vdm_core::{
    Denoiser, FromFn, GaussianMixture, Latent, LogSnr, NoiseLevel, Prediction, Scaling, Schedule,
};
use vdm_sample::noise::NoiseError;
use vdm_sample::{
    Ancestral, DpmSolverMultistep, Iid, NoNoise, NoiseSource, Seed, TimeGrid, prior, solve,
};

/// An engine's own tensor.
struct Pixels(Vec<f32>);

impl Latent for Pixels {
    fn lincomb(terms: &[(f64, &Self)]) -> Self {
        let mut sum = vec![0.0; terms[0].1.0.len()];
        for (c, z) in terms.iter().filter(|(c, _)| *c != 0.0) {
            sum.iter_mut().zip(&z.0).for_each(|(sum, z)| *sum += *c as f32 * z);
        }
        Self(sum)
    }
}

/// Only stochastic solvers ask for it.
struct PixelNoise(Iid);

impl NoiseSource<Pixels> for PixelNoise {
    fn fill(&mut self, out: &mut Pixels, _: LogSnr, _: LogSnr) -> Result<(), NoiseError> {
        self.0.fill_slice(&mut out.0);
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let clusters =
        GaussianMixture::new(vec![0.5, 0.5], vec![vec![-1.0; 2], vec![1.0; 2]], vec![0.05, 0.05])?;
    let model = FromFn(|z: &Pixels, at: &NoiseLevel| {
        let Prediction { value, of } = clusters.denoise(&z.0, at)?;
        Ok::<_, Infallible>(Prediction { value: Pixels(value), of })
    });
    let schedule = Schedule::cosine(10.0, -10.0)?;
    let grid = TimeGrid::karras(30, 7.0, &schedule, Scaling::VariancePreserving)?.to_clean();

    for sample in 0..8 {
        let z1 = || Pixels(prior(Seed(3), sample, 2));
        let ode =
            solve(&DpmSolverMultistep::PP_2M, &model, z1(), &grid, &mut NoNoise, |_, _, _| ())?
                .latent;
        let mut noise = PixelNoise(Iid::new(Seed(3), sample, 2));
        let sde =
            solve(&Ancestral::default(), &model, z1(), &grid, &mut noise, |_, _, _| ())?.latent;
        for Pixels(x) in [&ode, &sde] {
            let cluster = x[0].signum();
            assert!(x.iter().all(|x| (x - cluster).abs() < 0.3), "{x:?} is in no cluster");
        }
        println!("sample {sample}: ODE {:6.3?}, SDE {:6.3?}", ode.0, sde.0);
    }
    Ok(())
}
