//! Counts of a configuration that cost more than any machine has: refused with field, value and limit.

use serde_json::{Value, json};
use tch::Device;
use vdm_sample::Seed;
use vdm_torch::{Error, Model, ModelSpec, PRESETS, RunConfig};

fn preset() -> Value {
    let mut preset: Value = serde_json::from_str(PRESETS[0].1).unwrap();
    preset["objective"] = json!({});
    preset
}

/// What reading and checking a configuration says, if it is refused.
fn refusal(config: Value) -> Option<String> {
    match serde_json::from_value::<RunConfig>(config) {
        Ok(config) => config.check().err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    }
}

#[test]
fn every_count_of_a_configuration_has_a_limit() {
    assert_eq!(refusal(preset()), None);
    let sixteen_million = "more than 16777216";
    let million = "more than 1048576";
    let training = "more than 1000000000000";
    for (field, limit) in [
        ("training.steps", training),
        ("training.batch", sixteen_million),
        ("training.accumulate", sixteen_million),
        ("training.optimizer.warmup", training),
        ("evaluation.draws", million),
        ("evaluation.batch", sixteen_million),
        ("output.log_every", training),
        ("output.validate_every", training),
        ("output.validation_items", sixteen_million),
        ("output.sample_every", training),
        ("output.samples", sixteen_million),
        ("output.checkpoint_every", training),
        ("output.keep", sixteen_million),
    ] {
        let mut config = preset();
        let pointer = format!("/{}", field.replace('.', "/"));
        *config.pointer_mut(&pointer).unwrap() = u64::MAX.into();
        let error = refusal(config).unwrap();
        let told = format!("{field} = 18446744073709551615 is {limit}");
        assert!(error.contains(&told), "{field}: {error}");
    }
    for (pointer, value, told) in [
        (
            "/objective/time_sampler",
            json!({"adaptive": {"bins": u64::MAX, "decay": 0.9}}),
            "objective.time_sampler.adaptive.bins = 18446744073709551615 is more than 1048576",
        ),
        (
            "/objective/time",
            json!({"discrete": {"steps": u32::MAX}}),
            "objective.time.discrete.steps = 4294967295 is more than 1048576",
        ),
        ("/sampler/steps", u64::MAX.into(), "= 18446744073709551615 is more than 1000000"),
        (
            "/diffusion/schedule",
            json!({"kind": "discrete", "betas": {"linear":
                {"steps": u64::MAX, "beta_start": 1e-4, "beta_end": 0.02}}}),
            "betas.steps = 18446744073709551615 is more than 1048576",
        ),
    ] {
        let mut config = preset();
        let place = pointer.rsplit_once('/').unwrap();
        config.pointer_mut(place.0).unwrap()[place.1] = value;
        let error = refusal(config).unwrap();
        assert!(error.contains(told), "{pointer}: {error}");
    }
}

#[test]
fn networks_and_items_that_no_memory_holds_are_refused() {
    let config: RunConfig = serde_json::from_value(preset()).unwrap();
    let spec = |change: &dyn Fn(&mut Value)| {
        let mut spec = json!({
            "shape": {"channels": 1, "height": 8, "width": 8}, "values": 17,
            "diffusion": config.model.diffusion, "head": config.model.head,
            "network": {"kind": "mlp", "width": 16, "depth": 1, "fourier": []},
        });
        change(&mut spec);
        serde_json::from_value::<ModelSpec>(spec).unwrap()
    };
    let refused = |change: &dyn Fn(&mut Value)| -> Error {
        Model::new(&spec(change), Seed(0), Device::Cpu).unwrap_err()
    };
    Model::new(&spec(&|_| ()), Seed(0), Device::Cpu).unwrap();
    let error = refused(&|spec| spec["shape"]["height"] = (1_u64 << 62).into()).to_string();
    assert!(error.contains("components of an item =") && error.contains("536870912"), "{error}");
    let error = refused(&|spec| {
        spec["network"]["width"] = 16_384.into();
        spec["network"]["depth"] = 1024.into();
    });
    let told = "network.depth times network.width squared = 274877906944 is more than 536870912";
    assert!(error.to_string().contains(told), "{error}");
}
