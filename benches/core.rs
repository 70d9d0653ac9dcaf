//! Combining and converting latents, each beside a copy that moves as many bytes: a sum of two reads
//! two latents and writes one, a copy of one and a half reads and writes as much.

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
    for count in 2..=4 {
        let moved = (count + 1) * COMPONENTS / 2;
        let (from, mut to) = (vec![0.5_f32; moved], vec![0.0_f32; moved]);
        group.bench_function(format!("copy_as_lincomb_{count}"), |b| {
            b.iter(|| black_box(&mut to).copy_from_slice(black_box(&from)));
        });
        let weighted: Vec<(f64, &Vec<f32>)> =
            [0.7, -0.3, 1.1, 0.2].into_iter().zip(&terms).take(count).collect();
        group.bench_function(format!("lincomb_{count}"), |b| {
            b.iter(|| black_box(&mut out).lincomb_into(black_box(&weighted)));
        });
    }
    let at = Scaling::VariancePreserving.level(1.3);
    let kinds = [
        ("x", Parameterization::Image),
        ("eps", Parameterization::Noise),
        ("v", Parameterization::Velocity),
    ];
    for (from, of) in kinds {
        let prediction = Prediction { value: terms[1].clone(), of };
        for (to, into) in kinds.into_iter().filter(|(to, _)| *to != from) {
            group.bench_function(format!("{from}_to_{to}"), |b| {
                b.iter(|| black_box(prediction.to(into, &terms[0], &at)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, combinations);
criterion_main!(benches);
