//! The loop stops allocating once every buffer has been used: a run of twice the steps allocates
//! exactly as often.

use std::convert::Infallible;

use allocation_counter::measure;
use vdm_core::{Denoiser, NoiseLevel, Parameterization, Prediction, Scaling, Schedule};
use vdm_sample::noise::{Antithetic, BrownianPath};
use vdm_sample::spec::Entry;
use vdm_sample::{
    Ancestral, Ddim, DpmSolverMultistep, Iid, NoNoise, NoiseSource, Seed, Solver, SolverSpec,
    TimeGrid, solve,
};

const DIMS: usize = 1000;

/// The exact model of `N(0, 1)`, writing its answer into the memory it is given.
struct UnitNormal(Parameterization);

impl Denoiser<Vec<f32>> for UnitNormal {
    type Error = Infallible;

    fn denoise(&self, z: &Vec<f32>, at: &NoiseLevel) -> Result<Prediction<Vec<f32>>, Infallible> {
        let mut value = vec![0.0; z.len()];
        let of = self.denoise_into(z, at, &mut value)?;
        Ok(Prediction { value, of })
    }

    fn denoise_into(
        &self,
        z: &Vec<f32>,
        at: &NoiseLevel,
        out: &mut Vec<f32>,
    ) -> Result<Parameterization, Infallible> {
        // E[x|z] = αz/(α² + σ²), E[ε|z] = σz/(α² + σ²).
        let (on_x, on_eps) = self.0.target(at);
        let total = at.alpha * at.alpha + at.sigma * at.sigma;
        let gain = ((on_x * at.alpha + on_eps * at.sigma) / total) as f32;
        out.iter_mut().zip(z).for_each(|(out, z)| *out = gain * z);
        Ok(self.0)
    }
}

fn allocations(
    solver: &impl Solver<Vec<f32>>,
    of: Parameterization,
    noise: &mut dyn NoiseSource<Vec<f32>>,
    steps: usize,
) -> u64 {
    let schedule = Schedule::cosine(8.0, -8.0).unwrap();
    let grid = TimeGrid::uniform_time(steps, &schedule, Scaling::VariancePreserving).unwrap();
    let (model, z1) = (UnitNormal(of), vec![0.5; DIMS]);
    let run = || {
        solve(solver, &model, z1, &grid, noise, |_, _, _| ()).unwrap();
    };
    measure(run).count_total
}

/// The number for 20 steps, which must be that for 40.
fn constant(
    solver: &impl Solver<Vec<f32>>,
    of: Parameterization,
    source: impl Fn() -> Box<dyn NoiseSource<Vec<f32>>>,
) -> u64 {
    let [few, many] = [20, 40].map(|steps| allocations(solver, of, &mut *source(), steps));
    assert_eq!(few, many, "{of:?}: allocations in 20 and in 40 steps");
    few
}

#[test]
fn no_step_allocates_after_the_first_ones() {
    for of in [Parameterization::Image, Parameterization::Noise, Parameterization::Velocity] {
        // A handful: latents, the list of free ones.
        let none = || Box::new(NoNoise) as Box<dyn NoiseSource<Vec<f32>>>;
        assert!(constant(&Ddim::default(), of, none) < 10);
        assert!(constant(&DpmSolverMultistep::PP_2M, of, none) < 10);
        let ancestral = Ancestral::default();
        assert!(constant(&ancestral, of, || Box::new(Iid::new(Seed(1), 0, DIMS))) < 10);
        assert!(constant(&ancestral, of, || Box::new(Antithetic::new(Seed(1), 0, DIMS))) < 10);
        // Four more: both ends of a step and both ends of a bridge.
        assert!(constant(&ancestral, of, || Box::new(BrownianPath::new(Seed(1), 0, DIMS))) < 20);
    }
}

/// More latents for those that keep past predictions, and the part of the grid for `restart`.
#[test]
fn no_solver_allocates_at_every_step() {
    for Entry { name, solver, .. } in SolverSpec::entries() {
        let found =
            constant(&solver, Parameterization::Noise, || Box::new(Iid::new(Seed(1), 0, DIMS)));
        assert!(found < 40, "{name}: {found}");
    }
}
