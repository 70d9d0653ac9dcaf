//! Sampler throughput: each solver's own cost per step with a free model, and steps per second
//! with the digits network.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tch::Device;
use vdm_bench::{FreeDenoiser, digits_model};
use vdm_core::{Scaling, Schedule};
use vdm_sample::{Entry, Iid, Seed, SolverSpec, TimeGrid, integrate};
use vdm_torch::Batch;

const STEPS: usize = 50;

fn overhead(c: &mut Criterion) {
    let schedule = Schedule::cosine(13.0, -13.0).expect("a legal range");
    let grid = TimeGrid::uniform_time(STEPS, &schedule, Scaling::VariancePreserving)
        .expect("a finite schedule");
    let mut group = c.benchmark_group("overhead_per_50_steps");
    group.throughput(Throughput::Elements(STEPS as u64));
    for (name, items, dims) in [
        ("1x2", 1, 2),
        ("64x2", 64, 2),
        ("1x3x32x32", 1, 3072),
        ("64x3x32x32", 64, 3072),
        ("1x4x64x64", 1, 16384),
        ("64x4x64x64", 64, 16384),
    ] {
        let z1 = vec![0.1_f32; items * dims];
        for Entry { name: solver_name, solver, .. } in SolverSpec::entries() {
            group.bench_function(BenchmarkId::new(solver_name, name), |b| {
                b.iter(|| {
                    let mut noise = Iid::new(Seed(1), 0, dims);
                    let z1 = black_box(z1.clone());
                    integrate(&solver, &FreeDenoiser, z1, &grid, &mut noise, |_, _, _| ())
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
    let schedule = &model.spec().diffusion.schedule;
    let grid = TimeGrid::uniform_time(STEPS, schedule, Scaling::VariancePreserving)
        .expect("a finite schedule");
    for Entry { name, solver, .. } in SolverSpec::entries() {
        group.bench_function(name, |b| {
            b.iter(|| {
                let z1 = Batch::from_slice(&[0.1; 64 * 64], [items, 1, 8, 8], Device::Cpu);
                let mut noise = Iid::new(Seed(1), 0, 64);
                tch::no_grad(|| integrate(&solver, &model, z1, &grid, &mut noise, |_, _, _| ()))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, overhead, digits);
criterion_main!(benches);
