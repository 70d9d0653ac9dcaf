//! Sampling on ndarray's arrays: they are latents as they are, here with one row a sample.
//!
//! ```text
//! cargo run -p vdm-sample --features ndarray --example ndarray
//! ```

use std::convert::Infallible;
use std::error::Error;

use ndarray::{Array2, Axis};
use vdm_core::{FromFn, NoiseLevel, Parameterization, Prediction, Scaling, Schedule};
use vdm_sample::{Ancestral, Iid, Seed, TimeGrid, prior, solve};

const SAMPLES: usize = 2000;
const DIMS: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    // The best denoiser of N(1, 0.3²) in each column.
    let (mean, var) = (1.0, 0.09);
    let model = FromFn(|z: &Array2<f32>, at: &NoiseLevel| {
        let gain = at.alpha * var / (at.alpha.powi(2) * var + at.sigma.powi(2));
        let value = z.mapv(|z| (mean + gain * (f64::from(z) - at.alpha * mean)) as f32);
        Ok::<_, Infallible>(Prediction { value, of: Parameterization::Image })
    });
    let schedule = Schedule::cosine(10.0, -10.0)?;
    let grid = TimeGrid::uniform_time(100, &schedule, Scaling::VariancePreserving)?;

    let z1 = (0..SAMPLES as u64).flat_map(|sample| prior(Seed(1), sample, DIMS)).collect();
    let z1 = Array2::from_shape_vec((SAMPLES, DIMS), z1)?;
    let mut noise = Iid::new(Seed(1), 0, DIMS);
    let x = solve(&Ancestral::default(), &model, z1, &grid, &mut noise, |_, _, _| ())?.latent;

    let (means, stds) = (x.mean_axis(Axis(0)).ok_or("no samples")?, x.std_axis(Axis(0), 1.0));
    println!("means {means:.3}, standard deviations {stds:.3}");
    // Four standard errors of a mean are 0.027; 100 steps widen or narrow by less than that.
    assert!(means.iter().all(|m| (m - 1.0).abs() < 0.03));
    assert!(stds.iter().all(|s| (s - 0.3).abs() < 0.03));
    Ok(())
}
