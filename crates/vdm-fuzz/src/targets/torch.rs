//! What only the crate over libtorch reads: weights and configurations of other libraries, configurations of
//! runs, descriptions of checkpoints. Valid inputs are its presets and its tests' fixtures.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use vdm_sample::Seed;
use vdm_torch::checkpoint::{CheckpointInfo, read_info};
use vdm_torch::diffusion::DiffusionState;
use vdm_torch::hierarchy::{Hierarchy, HierarchyModelSpec};
use vdm_torch::interop::{DiffusersOptions, VdmFlaxOptions, diffusers, export, exported, vdm_flax};
use vdm_torch::nn::Parameters;
use vdm_torch::{AnyModel, DeviceChoice, Model, ModelSpec, PRESETS, RunConfig, StoredModel};

use super::{Kind, Scratch, Target, Verdict, document, sealed, verdict};

const UNET: &[u8] =
    include_bytes!("../../../vdm-torch/tests/fixtures/diffusers_unet/no_middle_relu/config.json");
const ATTENTION_UNET: &[u8] =
    include_bytes!("../../../vdm-torch/tests/fixtures/diffusers_unet/attn_c16_24_in3/config.json");
const UNET_WEIGHTS: &[u8] = include_bytes!(
    "../../../vdm-torch/tests/fixtures/diffusers_unet/no_middle_relu/diffusion_pytorch_model.safetensors"
);
const FLAX: &[u8] =
    include_bytes!("../../../vdm-torch/tests/fixtures/vdm_flax/plain_attn_l1_c32_5x7.flax");
const FLAX_TENSORS: &[u8] =
    include_bytes!("../../../vdm-torch/tests/fixtures/vdm_flax/fourier_l2_c32.safetensors");
const SCHEDULERS: [&str; 3] = [
    r#"{"_class_name": "DDPMScheduler", "num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02,
        "beta_schedule": "linear", "trained_betas": null, "prediction_type": "epsilon", "variance_type": "fixed_small",
        "clip_sample": true, "timestep_spacing": "leading", "rescale_betas_zero_snr": false}"#,
    r#"{"_class_name": "DDIMScheduler", "num_train_timesteps": 500, "beta_schedule": "squaredcos_cap_v2",
        "prediction_type": "v_prediction", "set_alpha_to_one": true, "steps_offset": 0}"#,
    r#"{"_class_name": "PNDMScheduler", "trained_betas": [0.1, 0.2, 0.3], "prediction_type": "sample"}"#,
];

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "flax",
            kind: Kind::Bytes,
            corpus: flax,
            check: |scratch, input| {
                let path = scratch.write("flax/checkpoint.flax", input);
                verdict(&vdm_flax(&path, &VdmFlaxOptions::default()))
            },
        },
        Target {
            name: "flax_safetensors",
            kind: Kind::Bytes,
            corpus: flax_safetensors,
            check: |scratch, input| {
                let path = scratch.write("flax/checkpoint.safetensors", input);
                verdict(&vdm_flax(&path, &VdmFlaxOptions::default()))
            },
        },
        Target {
            name: "exported",
            kind: Kind::Bytes,
            corpus: exports,
            check: |scratch, input| {
                verdict(&exported(&scratch.write("exported.safetensors", input)))
            },
        },
        Target {
            name: "diffusers_weights",
            kind: Kind::Bytes,
            corpus: || vec![UNET_WEIGHTS.into()],
            check: |scratch, input| {
                scratch.write("unet/diffusion_pytorch_model.safetensors", input);
                folder(scratch, "unet", Part::Weights)
            },
        },
        Target {
            name: "diffusers_unet",
            kind: Kind::Json,
            corpus: || vec![UNET.into(), ATTENTION_UNET.into()],
            check: |scratch, input| {
                scratch.write("config/config.json", input);
                folder(scratch, "config", Part::Config)
            },
        },
        Target {
            name: "diffusers_scheduler",
            kind: Kind::Json,
            corpus: || super::texts(&SCHEDULERS),
            check: |scratch, input| {
                scratch.write("scheduler/scheduler_config.json", input);
                folder(scratch, "scheduler", Part::Scheduler)
            },
        },
        Target {
            name: "run_config",
            kind: Kind::Json,
            corpus: || PRESETS.iter().map(|(_, text)| text.as_bytes().to_vec()).collect(),
            check: |_, input| {
                document(input, |config: &RunConfig<AnyModel>| {
                    let _ = verdict(&config.check().map_err(|error| error.to_string()));
                })
            },
        },
        Target {
            name: "checkpoint",
            kind: Kind::Json,
            corpus: checkpoints,
            check: |scratch, input| {
                scratch.write("checkpoint/checkpoint.json", &sealed(input));
                let read = read_info(&scratch.path("checkpoint"));
                let Ok(info) = read else { return Verdict::Refused };
                // What those ask for who use it; each accepts or refuses its part.
                let state = serde_json::from_value::<DiffusionState>(info.state.clone());
                let accepted = match info.config::<RunConfig<AnyModel>>().map(|config| config.model)
                {
                    Ok(AnyModel::Diffusion(_)) => {
                        info.model::<ModelSpec>().is_ok() && state.is_ok()
                    }
                    Ok(AnyModel::Hierarchy(_)) => info.model::<HierarchyModelSpec>().is_ok(),
                    Err(_) => false,
                };
                match document::<CheckpointInfo>(input, |_| ()) {
                    Verdict::Accepted if !accepted => Verdict::Refused,
                    verdict => verdict,
                }
            },
        },
    ]
}

/// Which file of a folder is the input.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Weights,
    Config,
    Scheduler,
}

/// A folder of diffusers whose other files are as they should be.
fn folder(scratch: &Scratch, name: &str, input: Part) -> Verdict {
    let parts = [
        (Part::Weights, "diffusion_pytorch_model.safetensors", UNET_WEIGHTS),
        (Part::Config, "config.json", UNET),
        (Part::Scheduler, "scheduler_config.json", SCHEDULERS[0].as_bytes()),
    ];
    for (part, file, bytes) in parts {
        if part != input {
            scratch.write_once(&format!("{name}/{file}"), || bytes.to_vec());
        }
    }
    verdict(&diffusers(&scratch.path(name), &DiffusersOptions::default()))
}

/// An array as Flax writes it: an extension of type 1 around shape, type and bytes.
fn flax_array(shape: &[u8], values: &[f32]) -> Vec<u8> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let mut content = vec![0x93, 0x90 | shape.len() as u8];
    content.extend(shape);
    content.push(0xa7);
    content.extend(b"float32");
    content.extend([0xc4, bytes.len() as u8]);
    content.extend(bytes);
    let mut array = vec![0xc7, content.len() as u8, 1];
    array.extend(content);
    array
}

fn flax_map(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut map = vec![0x80 | entries.len() as u8];
    for (key, value) in entries {
        map.push(0xa0 | key.len() as u8);
        map.extend(key.bytes());
        map.extend(value);
    }
    map
}

/// Small checkpoints with the layout, if not all the tensors, of the real ones, and the start of a real one.
fn flax() -> Vec<Vec<u8>> {
    let gamma = flax_map(&[("b", flax_array(&[1], &[-13.3])), ("w", flax_array(&[1], &[18.3]))]);
    let layer = flax_map(&[
        ("kernel", flax_array(&[2, 3], &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6])),
        ("bias", flax_array(&[3], &[0.0, 1.0, 2.0])),
    ]);
    let params = flax_map(&[("gamma", gamma), ("score_model", flax_map(&[("dense0", layer)]))]);
    let chunked = flax_map(&[
        ("__msgpack_chunked_array__", vec![0xc3]),
        ("shape", flax_map(&[("0", vec![4])])),
        (
            "chunks",
            flax_map(&[("0", flax_array(&[2], &[1.0, 2.0])), ("1", flax_array(&[2], &[3.0, 4.0]))]),
        ),
    ]);
    vec![
        FLAX.into(),
        flax_map(&[("ema_params", params.clone())]),
        flax_map(&[("params", flax_map(&[("params", params)])), ("step", vec![7])]),
        flax_map(&[("params", flax_map(&[("large", chunked)]))]),
    ]
}

fn tensors(named: &[(&str, &[usize])], metadata: Option<HashMap<String, String>>) -> Vec<u8> {
    let size = |shape: &[usize]| 4 * shape.iter().product::<usize>();
    let bytes: Vec<Vec<u8>> = named.iter().map(|(_, shape)| vec![0x3e; size(shape)]).collect();
    let views = named.iter().zip(&bytes).map(|((name, shape), bytes)| {
        (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).expect("a legal tensor"))
    });
    safetensors::serialize(views, metadata).expect("legal tensors")
}

fn flax_safetensors() -> Vec<Vec<u8>> {
    let named: [(&str, &[usize]); 3] = [
        ("param/gamma/b", &[1]),
        ("param/gamma/w", &[1]),
        ("param/score_model/dense0/kernel", &[2, 3]),
    ];
    vec![FLAX_TENSORS.into(), tensors(&named, None)]
}

/// A real export of a network of a few weights, and tensors that are none.
fn exports() -> Vec<Vec<u8>> {
    let named: [(&str, &[usize]); 3] =
        [("conv_in.weight", &[4, 3, 3, 3]), ("conv_in.bias", &[4]), ("scale", &[])];
    let mut diffusion = preset("swirl");
    diffusion["network"]["width"] = 4.into();
    diffusion["network"]["depth"] = 1.into();
    let mut hierarchy = preset("digits-vae");
    hierarchy["hierarchy"]["width"] = 4.into();
    vec![
        tensors(&named, None),
        exported_bytes::<Model>(&diffusion),
        exported_bytes::<Hierarchy>(&hierarchy),
    ]
}

fn preset(name: &str) -> Value {
    let (_, text) = PRESETS.iter().find(|(preset, _)| *preset == name).expect("a preset");
    serde_json::from_str(text).expect("a preset is JSON")
}

/// The file of a model as a configuration describes it.
fn exported_bytes<M: StoredModel>(config: &Value) -> Vec<u8> {
    let spec = serde_json::from_value(model(config)).expect("the specification of a model");
    let device = DeviceChoice::Cpu.resolve().expect("a processor");
    let parameters = Parameters::new(Seed(1), device);
    let model = M::with_parameters(&spec, parameters).expect("a small model");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.safetensors");
    export(&model, &path).expect("a file that can be written");
    std::fs::read(path).expect("what was written is there")
}

/// The specification of a preset's model, of digits.
fn model(config: &Value) -> Value {
    if let Some(hierarchy) = config.get("hierarchy") {
        return json!({"shape": {"channels": 1, "height": 8, "width": 8}, "values": 17, "hierarchy": hierarchy});
    }
    json!({"shape": {"channels": 1, "height": 8, "width": 8}, "values": 17, "diffusion": config["diffusion"],
           "network": config["network"], "head": config["head"], "clock": null})
}

/// Of the presets' models.
fn checkpoints() -> Vec<Vec<u8>> {
    let of = |(_, text): &(&str, &str)| {
        let config: Value = serde_json::from_str(text).expect("a preset is JSON");
        let info = json!({
            "format": 3, "step": 200, "skipped": 2, "seconds": 12.5,
            "config": config, "model": model(&config),
            "data_sha256": "ab12", "validation": 1.9,
            "state": {"adaptive": {"log_snr_max": 4, "log_snr_min": -4, "decay": 0.9, "uniform": 0.1,
                                   "bins": [{"count": 3, "mean_square": 0.5}]},
                      "loss_variance": {"log_snr_max": 4, "log_snr_min": -4, "count": 3, "sum": 6, "squares": 20, "bins": [1, 2]}},
        });
        info.to_string().into_bytes()
    };
    PRESETS.iter().map(of).collect()
}
