//! Training throughput of the digits preset: forward, backward, AdamW and average, in images.

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tch::Device;
use vdm_bench::preset;

fn training(c: &mut Criterion) {
    let data = vdm_data::load(&preset("digits").expect("a preset").data).expect("embedded");
    let mut group = c.benchmark_group("digits_training_step");
    group.sample_size(20);
    for batch in [16, 64] {
        let mut config = preset("digits").expect("a preset");
        config.training.batch = batch;
        let mut trainer = config.trainer(&data, Device::Cpu).expect("a legal preset");
        let mut batches = trainer.batches(Arc::new(data.train.clone())).expect("a thread");
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(format!("batch_{batch}"), |b| {
            b.iter(|| {
                let next = batches.next().expect("endless").expect("prepared");
                trainer.train_step(&next).expect("finite")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, training);
criterion_main!(benches);
