//! Training, test likelihood and samples in a library's terms: a small network on points of the plane, for
//! some seconds.
//!
//! ```text
//! cargo run --release -p vdm-torch --example train_swirl
//! ```

use std::error::Error;
use std::sync::Arc;

use tch::Device;
use vdm_data::{load, swirl_entropy_bits_per_dim};
use vdm_torch::train::Trainable;
use vdm_torch::{EvaluationSpec, PRESETS, RunConfig, TimeDiscretization, evaluate};

fn main() -> Result<(), Box<dyn Error>> {
    let preset = PRESETS.iter().find_map(|(name, json)| (*name == "swirl").then_some(json));
    let mut config: RunConfig = serde_json::from_str(preset.ok_or("no such preset")?)?;
    config.training.steps = 400;
    config.training.batch = 256;
    let data = load(&config.data)?;

    let mut trainer = config.trainer(&data, Device::Cpu)?;
    let mut batches = trainer.batches(Arc::new(data.train.clone()))?;
    while trainer.steps_done() < config.training.steps {
        let report = trainer.train_step(&batches.next().ok_or("batches never end")??)?;
        if report.step.is_multiple_of(100) {
            println!("step {}: loss {:.3}", report.step, report.loss);
        }
    }

    let few = data.test.select(&(0..2000).collect::<Vec<_>>());
    let spec = EvaluationSpec { draws: 16, batch: 4096 };
    let (model, time) = (trainer.average().model(), TimeDiscretization::Continuous);
    let test = evaluate(model, &few, time, spec, config.seed, |_| ())?;
    let entropy = swirl_entropy_bits_per_dim();
    println!(
        "{:.2} ± {:.2} bits/dim; no model has less than {entropy:.2}",
        test.bits_per_dim, test.standard_error
    );
    assert!(test.bits_per_dim > entropy && test.bits_per_dim < 7.0);

    let points = trainer.average().samples(256)?;
    println!("the first samples: {:?}", &points[..6]);
    assert_eq!(points.len(), 2 * 256);
    Ok(())
}
