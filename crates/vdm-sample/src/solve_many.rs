//! Many chains at once.

use rayon::prelude::*;
use vdm_core::{Denoiser, Latent};

use crate::solver::Solver;
use crate::{NoiseSource, Solution, SolveError, TimeGrid, solve};

/// [`solve`] for many chains in parallel, each with its first latent and its own noise.
///
/// The answers, in the order of the chains, are bit for bit those of one thread: chains share
/// nothing but the model. For models that run on one core each; a network that batches is faster
/// with one chain of a whole batch. Runs on rayon's current thread pool.
///
/// ```
/// use vdm_core::{GaussianMixture, Scaling, Schedule};
/// use vdm_sample::{Ancestral, Iid, Seed, TimeGrid, prior, solve_many};
/// let data = GaussianMixture::new(vec![1.0], vec![vec![2.0]], vec![0.1])?;
/// let schedule = Schedule::cosine(10.0, -10.0)?;
/// let grid = TimeGrid::uniform_time(50, &schedule, Scaling::VariancePreserving)?;
/// let chain = |i| (prior::<f64>(Seed(7), i, 1), Iid::new(Seed(7), i, 1));
/// let x = solve_many(&Ancestral::default(), &data, (0..8).map(chain).collect(), &grid)?;
/// assert!(x.len() == 8 && x.iter().all(|x| (x.latent[0] - 2.0).abs() < 0.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The first chain's, by number, that has one.
pub fn solve_many<Z, D, S, N>(
    solver: &S,
    model: &D,
    chains: Vec<(Z, N)>,
    grid: &TimeGrid,
) -> Result<Vec<Solution<Z>>, SolveError<D::Error>>
where
    Z: Latent + Send,
    D: Denoiser<Z> + Sync + ?Sized,
    D::Error: Send,
    S: Solver<Z> + Sync,
    N: NoiseSource<Z> + Send,
{
    let run = |(z1, mut noise)| solve(solver, model, z1, grid, &mut noise, |_, _, _| ());
    // All of them, so that which error is reported does not depend on the threads.
    let ends: Vec<_> = chains.into_par_iter().map(run).collect();
    ends.into_iter().collect()
}
