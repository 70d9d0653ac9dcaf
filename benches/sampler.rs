//! Sampler throughput: each solver's own cost per step with a free model, and steps per second
//! with the digits network.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tch::Device;
use vdm_bench::{FreeDenoiser, digits_model};
use vdm_core::{Scaling, Schedule};
use vdm_sample::{GridSpec, Iid, SamplerSpec, Seed, SolverSpec};
use vdm_torch::Batch;

const STEPS: usize = 50;
const SOLVERS: [SolverSpec; 3] =
    [SolverSpec::Ancestral, SolverSpec::Ddim, SolverSpec::DpmSolverPp2M];

fn spec(solver: SolverSpec) -> SamplerSpec {
    SamplerSpec { solver, grid: GridSpec::UniformTime, steps: STEPS }
}

fn overhead(c: &mut Criterion) {
    let schedule = Schedule::cosine(13.0, -13.0).expect("a legal range");
    let mut group = c.benchmark_group("overhead_per_50_steps");
    group.throughput(Throughput::Elements(STEPS as u64));
    for (name, items, dims) in [("1x2", 1, 2), ("1x3x32x32", 1, 3072), ("64x3x32x32", 64, 3072)] {
        let z1 = vec![0.1_f32; items * dims];
        for solver in SOLVERS {
            let sampler = spec(solver);
            let grid = sampler.time_grid(&schedule, Scaling::VariancePreserving);
            group.bench_function(BenchmarkId::new(format!("{solver:?}"), name), |b| {
                b.iter(|| {
                    let mut noise = Iid::new(Seed(1), 0, dims);
                    sampler.run(
                        &FreeDenoiser,
                        black_box(z1.clone()),
                        &grid,
                        &mut noise,
                        |_, _, _| (),
                    )
                });
            });
        }
    }
    group.finish();
}

fn digits(c: &mut Criterion) {
    let model = digits_model().expect("the preset is legal");
    let mut group = c.benchmark_group("digits_unet_50_steps");
    group.sample_size(10);
    let items = 64_i64;
    group.throughput(Throughput::Elements(STEPS as u64 * items as u64));
    for solver in SOLVERS {
        let sampler = spec(solver);
        let grid = sampler.time_grid(&model.spec().diffusion.schedule, Scaling::VariancePreserving);
        group.bench_function(format!("{solver:?}"), |b| {
            b.iter(|| {
                let z1 = Batch::from_slice(&[0.1; 64 * 64], [items, 1, 8, 8], Device::Cpu);
                let mut noise = Iid::new(Seed(1), 0, 64);
                tch::no_grad(|| sampler.run(&model, z1, &grid, &mut noise, |_, _, _| ()))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, overhead, digits);
criterion_main!(benches);
