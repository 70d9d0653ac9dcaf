//! Sampler throughput: each solver's own cost per step with a free model, and steps per second
//! with the digits network.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tch::Device;
use vdm_bench::{FreeDenoiser, digits_model, karras_20};
use vdm_core::Scaling;
use vdm_sample::spec::{Entry, NoiseSpec};
use vdm_sample::{Seed, SolverSpec, TimeGrid, solve};
use vdm_torch::Batch;

const STEPS: usize = 20;

/// The shapes of `benches/peers/overhead.py`, and latents of a larger model.
const SHAPES: [(&str, i64, [i64; 3]); 6] = [
    ("1x2", 1, [2, 1, 1]),
    ("64x2", 64, [2, 1, 1]),
    ("1x3x32x32", 1, [3, 32, 32]),
    ("64x3x32x32", 64, [3, 32, 32]),
    ("1x4x64x64", 1, [4, 64, 64]),
    ("64x4x64x64", 64, [4, 64, 64]),
];

/// What a run of 20 steps costs beside its model calls.
fn overhead(c: &mut Criterion) {
    let grid = karras_20().expect("a legal grid");
    let mut group = c.benchmark_group("overhead_of_20_steps");
    group.throughput(Throughput::Elements(STEPS as u64));
    for (shape, items, dims) in SHAPES {
        let size = [items, dims[0], dims[1], dims[2]];
        let dims = dims.iter().product::<i64>() as usize;
        let start = vec![0.1_f32; items as usize * dims];
        let batch = Batch::from_slice(&start, size, Device::Cpu);
        for Entry { name, solver, .. } in SolverSpec::entries() {
            group.bench_function(BenchmarkId::new(format!("slices/{name}"), shape), |b| {
                b.iter(|| {
                    let mut noise = NoiseSpec::Iid.path(Seed(1), 0, dims);
                    let z1 = black_box(start.clone());
                    solve(&solver, &FreeDenoiser, z1, &grid, &mut noise, |_, _, _| ())
                });
            });
            group.bench_function(BenchmarkId::new(format!("tensors/{name}"), shape), |b| {
                b.iter(|| {
                    let mut noise = NoiseSpec::Iid.path(Seed(1), 0, dims);
                    let z1 = Batch(batch.0.copy());
                    solve(&solver, &FreeDenoiser, z1, &grid, &mut noise, |_, _, _| ())
                });
            });
        }
    }
    group.finish();
}

fn digits(c: &mut Criterion) {
    let model = digits_model().expect("the preset is legal");
    let mut group = c.benchmark_group("digits_unet_20_steps");
    group.sample_size(10);
    let items = 64_i64;
    group.throughput(Throughput::Elements(STEPS as u64 * items as u64));
    let schedule = &model.spec().diffusion.schedule;
    let grid = TimeGrid::uniform_time(STEPS, schedule, Scaling::VariancePreserving)
        .expect("a finite schedule");
    for Entry { name, solver, .. } in SolverSpec::entries() {
        group.bench_function(name, |b| {
            b.iter(|| {
                let z1 = Batch::from_slice(&[0.1; 64 * 64], [items, 1, 8, 8], Device::Cpu);
                let mut noise = NoiseSpec::Iid.path(Seed(1), 0, 64);
                tch::no_grad(|| solve(&solver, &model, z1, &grid, &mut noise, |_, _, _| ()))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, overhead, digits);
criterion_main!(benches);
