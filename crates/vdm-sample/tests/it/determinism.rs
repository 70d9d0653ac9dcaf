//! What a sample is depends on seed and number alone: not on its batch, nor on the threads.

use std::convert::Infallible;

use vdm_core::{Denoiser, GaussianMixture, NoiseLevel, Prediction, Scaling, Schedule};
use vdm_sample::noise::{Antithetic, BrownianPath, antithetic_prior};
use vdm_sample::{Ancestral, Ddim, Iid, NoiseSource, Seed, Solver, TimeGrid, prior, solve};

const DIMS: usize = 3;
const SAMPLES: u64 = 20;
const SEED: Seed = Seed(21);

/// A model of one sample, asked about a batch of them.
struct Batched(GaussianMixture);

impl Denoiser<Vec<f32>> for Batched {
    type Error = Infallible;
    fn denoise(&self, z: &Vec<f32>, at: &NoiseLevel) -> Result<Prediction<Vec<f32>>, Infallible> {
        let mut samples = z.chunks(DIMS).map(|sample| self.0.denoise(&sample.to_vec(), at));
        let Prediction { mut value, of } = samples.next().expect("a batch has a sample")?;
        for sample in samples {
            value.extend(sample?.value);
        }
        Ok(Prediction { value, of })
    }
}

fn model() -> Batched {
    let means = vec![vec![-1.0, 0.5, 0.0], vec![0.8, 0.8, 0.3]];
    Batched(GaussianMixture::new(vec![0.4, 0.6], means, vec![0.3, 0.2]).unwrap())
}

fn grid() -> TimeGrid {
    let schedule = Schedule::cosine(8.0, -8.0).unwrap();
    TimeGrid::uniform_time(12, &schedule, Scaling::VariancePreserving).unwrap()
}

type Source = Box<dyn NoiseSource<Vec<f32>>>;
type Make = fn(u64) -> Source;
type Start = fn(Seed, u64, usize) -> Vec<f32>;

/// Every source of noise, from its first sample, with its prior.
const SOURCES: [(&str, Make, Start); 3] = [
    ("iid", |first| Box::new(Iid::new(SEED, first, DIMS)), prior),
    ("antithetic", |first| Box::new(Antithetic::new(SEED, first, DIMS)), antithetic_prior),
    ("brownian", |first| Box::new(BrownianPath::new(SEED, first, DIMS)), prior),
];

/// All samples, drawn in batches.
fn draw(solver: &impl Solver<Vec<f32>>, source: Make, start: Start, batch: u64) -> Vec<f32> {
    let (model, grid) = (model(), grid());
    (0..SAMPLES)
        .step_by(batch as usize)
        .flat_map(|first| {
            let numbers = first..SAMPLES.min(first + batch);
            let z1 = numbers.flat_map(|i| start(SEED, i, DIMS)).collect();
            solve(solver, &model, z1, &grid, &mut *source(first), |_, _, _| ()).unwrap().latent
        })
        .collect()
}

#[test]
fn no_batch_size_changes_a_sample() {
    for (name, source, start) in SOURCES {
        let alone = draw(&Ancestral::default(), source, start, 1);
        let half_renewed = draw(&Ddim { eta: 0.5 }, source, start, 1);
        for batch in [7, 20] {
            assert_eq!(draw(&Ancestral::default(), source, start, batch), alone, "{name} {batch}");
            assert_eq!(draw(&Ddim { eta: 0.5 }, source, start, batch), half_renewed, "{name}");
        }
    }
}

/// The distribution of the data is its own mirror image, so each pair must be one of mirror images.
#[test]
fn antithetic_samples_of_symmetric_data_are_mirror_images() {
    let data = GaussianMixture::new(vec![1.0], vec![vec![0.0; DIMS]], vec![0.7]).unwrap();
    let [even, odd] = [10, 11].map(|i| {
        let z1 = antithetic_prior::<f64>(SEED, i, DIMS);
        let mut noise = Antithetic::new(SEED, i, DIMS);
        solve(&Ancestral::default(), &data, z1, &grid(), &mut noise, |_, _, _| ()).unwrap().latent
    });
    assert!(even.iter().zip(&odd).all(|(a, b)| *a == -*b), "{even:?} and {odd:?}");
}

/// One Brownian motion drives the chain at any number of steps: doubling them moves its end by
/// `O(h)`. Slope over five doublings, root mean square over 64 paths in each of three dimensions; 0.15
/// allows for the spread of that mean and for terms of order 3/2. Data of one cluster, since between
/// clusters a rare path that changes its mind outweighs all others, and since its components are
/// independent, so that all paths are one chain. Independent noise moves the end anew each time.
#[test]
fn chains_on_one_brownian_path_converge_at_strong_order_one() {
    const PATHS: usize = 64;
    type Source = Box<dyn NoiseSource<Vec<f64>>>;
    let mean = [-1.0, 0.5, 0.0].repeat(PATHS);
    let dims = mean.len();
    let data = GaussianMixture::new(vec![1.0], vec![mean], vec![0.3]).unwrap();
    let schedule = Schedule::cosine(6.0, -6.0).unwrap();
    let moved = |steps: usize, source: &dyn Fn() -> Source| {
        let end = |steps| {
            let vp = Scaling::VariancePreserving;
            let grid = TimeGrid::uniform_log_snr(steps, &schedule, vp).unwrap();
            let (z1, solver) = (prior::<f64>(SEED, 0, dims), Ancestral::default());
            solve(&solver, &data, z1, &grid, &mut *source(), |_, _, _| ()).unwrap().latent
        };
        let squares =
            end(steps).iter().zip(&end(2 * steps)).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        (squares / dims as f64).sqrt()
    };
    let path = || -> Source { Box::new(BrownianPath::new(SEED, 0, dims)) };
    let slope = (moved(8, &path) / moved(256, &path)).log2() / 5.0;
    assert!((slope - 1.0).abs() < 0.15, "strong order {slope}");
    let iid = moved(256, &|| Box::new(Iid::new(SEED, 0, dims)));
    assert!(iid > 0.1, "independent noise moves the end by {iid} only");
}

#[cfg(feature = "rayon")]
mod threads {
    use super::*;
    use vdm_sample::noise::NoiseError;
    use vdm_sample::{NoNoise, SolveError, solve_many};

    fn many<N: NoiseSource<Vec<f32>> + Send>(
        threads: usize,
        start: Start,
        source: impl Fn(u64) -> N,
    ) -> Vec<f32> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let chains = (0..SAMPLES).map(|i| (start(SEED, i, DIMS), source(i))).collect();
        let run = || solve_many(&Ancestral::default(), &model(), chains, &grid());
        pool.install(run).unwrap().into_iter().flat_map(|end| end.latent).collect::<Vec<_>>()
    }

    #[test]
    fn no_number_of_threads_changes_a_sample() {
        for threads in [1, 2] {
            let drawn = [
                many(threads, prior, |i| Iid::new(SEED, i, DIMS)),
                many(threads, antithetic_prior, |i| Antithetic::new(SEED, i, DIMS)),
                many(threads, prior, |i| BrownianPath::new(SEED, i, DIMS)),
            ];
            for (got, (name, source, start)) in drawn.iter().zip(SOURCES) {
                assert_eq!(*got, draw(&Ancestral::default(), source, start, 7), "{name} {threads}");
            }
        }
    }

    #[test]
    fn an_error_ends_all_chains() {
        let chains = (0..4).map(|i| (prior::<f32>(SEED, i, DIMS), NoNoise)).collect();
        let error = solve_many(&Ancestral::default(), &model(), chains, &grid()).unwrap_err();
        assert!(matches!(error, SolveError::Noise(NoiseError::None { .. })), "{error}");
    }
}
