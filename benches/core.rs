//! Combining and converting latents, beside a copy of the same bytes: a step cannot be faster.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use vdm_core::{Latent, Parameterization, Prediction, Scaling};

const COMPONENTS: usize = 64 * 3 * 32 * 32;

fn latent(phase: f32) -> Vec<f32> {
    (0..COMPONENTS).map(|i| (i as f32 * 0.001 + phase).sin()).collect()
}

fn combinations(c: &mut Criterion) {
    let mut group = c.benchmark_group("latent_64x3x32x32_f32");
    group.throughput(Throughput::Elements(COMPONENTS as u64));
    let terms: Vec<Vec<f32>> = [0.0, 1.0, 2.0, 3.0].map(latent).into();
    let mut out = latent(4.0);
    group.bench_function("copy", |b| b.iter(|| black_box(&mut out).copy_from_slice(&terms[0])));
    for count in 2..=4 {
        let weighted: Vec<(f64, &Vec<f32>)> =
            [0.7, -0.3, 1.1, 0.2].into_iter().zip(&terms).take(count).collect();
        group.bench_function(format!("lincomb_{count}"), |b| {
            b.iter(|| black_box(&mut out).lincomb_into(black_box(&weighted)));
        });
    }
    let at = Scaling::VariancePreserving.level(1.3);
    let prediction = Prediction { value: terms[1].clone(), of: Parameterization::Velocity };
    for (name, to) in [("v_to_x", Parameterization::Image), ("v_to_eps", Parameterization::Noise)] {
        group.bench_function(name, |b| b.iter(|| black_box(prediction.to(to, &terms[0], &at))));
    }
    group.finish();
}

criterion_group!(benches, combinations);
criterion_main!(benches);
