//! Models of other libraries: diffusers' networks against its own output, files that do not fit, and
//! the way out and back in. google-research/vdm is compared term by term in `src/interop/parity.rs`.

mod files;
mod schedulers;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use vdm_core::{Denoiser, Scaling, Schedule};
use vdm_data::Shape;
use vdm_sample::Seed;
use vdm_torch::interop::{
    DiffusersOptions, Exported, Imported, VdmFlaxOptions, diffusers, export, exported, vdm_flax,
};
use vdm_torch::nn::{DiffusersUNet, NetworkSpec, Parameters};
use vdm_torch::{Batch, Head, Model};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A copy of a fixture's folder with a scheduler, for a test to change.
fn copy(case: &str, scheduler: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixtures().join("diffusers_unet").join(case)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let text = serde_json::to_string(scheduler).unwrap();
    fs::write(folder.path().join("scheduler_config.json"), text).unwrap();
    folder
}

fn ddpm() -> Value {
    json!({"_class_name": "DDPMScheduler", "beta_schedule": "linear", "beta_start": 1e-4,
           "beta_end": 0.02, "num_train_timesteps": 1000, "prediction_type": "epsilon",
           "clip_sample": true})
}

fn shape(of: &Tensor) -> Shape {
    let [channels, height, width] = [1, 2, 3].map(|i| of.size()[i] as usize);
    Shape { channels, height, width }
}

/// A recorded array.
fn recorded(path: &Path, name: &str) -> Option<Tensor> {
    let found = Tensor::read_safetensors(path).unwrap();
    found.into_iter().find(|(n, _)| n == name).map(|(_, tensor)| tensor)
}

/// In f32 1e-5 of the largest value, for two orders of float32 sums, and in f64 1e-6: the library's
/// timestep embedding is float32 in either, and so is ours. Where its exponentials round alike the two
/// agree to 1e-15.
#[test]
fn diffusers_networks_answer_as_the_original() {
    for (case, label) in [
        ("attn_c16_24_in1", None),
        ("attn_c16_24_in3", None),
        ("scaleshift_fourier_c16", None),
        ("ddpm_old_names", None),
        ("resnet_blocks_gelu", None),
        ("classes_mish_no_attention", Some(2)),
        ("no_middle_relu", None),
    ] {
        let folder = copy(case, &ddpm());
        let path = folder.path().join("io.safetensors");
        let io = |name| recorded(&path, name).unwrap();
        let options = DiffusersOptions { label, ..Default::default() };
        let imported = diffusers(folder.path(), &options).unwrap();
        let shape = shape(&io("sample"));
        let model = imported.model(shape, 256, Device::Cpu).unwrap();
        let NetworkSpec::Diffusers(spec) = &imported.network else { panic!("{case}") };
        let parameters = Parameters::new(Seed(0), Device::Cpu);
        let net = DiffusersUNet::new(spec, shape, &parameters.root()).unwrap();
        tch::no_grad(|| {
            let weights = model.parameters().tensors();
            for (own, weight) in parameters.tensors().into_iter().zip(weights) {
                own.shallow_clone().copy_(&weight);
            }
        });
        for (name, kind, tolerance) in
            [("output", Kind::Float, 1e-5), ("output_f64", Kind::Double, 1e-6)]
        {
            let Some(wanted) = recorded(&path, name) else { continue };
            if kind == Kind::Double {
                parameters.to_f64().unwrap();
            }
            let [sample, timestep] = ["sample", "timestep"].map(|name| io(name).to_kind(kind));
            let out = tch::no_grad(|| net.all_channels(&sample, &timestep, false));
            assert_eq!((out.size(), out.kind()), (wanted.size(), kind));
            let largest = wanted.abs().max().double_value(&[]);
            let error = (&out - &wanted).abs().max().double_value(&[]) / largest;
            println!("{case} {name}: {error:.1e}");
            assert!(error < tolerance, "{case} {name}: {error}");
        }
    }
}

/// An imported model in f64 answers as in f32 but for rounding.
#[test]
fn imported_models_run_in_f64() {
    let folder = copy("attn_c16_24_in3", &ddpm());
    let imported = diffusers(folder.path(), &DiffusersOptions::default()).unwrap();
    let flax = vdm(&fixtures().join("vdm_flax/fourier_l2_c32.safetensors")).unwrap();
    for (imported, side) in [(imported, [8, 8]), (flax, [5, 7])] {
        let shape = Shape { channels: 3, height: side[0], width: side[1] };
        let model = || imported.model(shape, 256, Device::Cpu).unwrap();
        let z: Vec<f32> = vdm_sample::prior(Seed(2), 0, shape.dims());
        let z = Batch::from_slice(&z, [1, 3, side[0] as i64, side[1] as i64], Device::Cpu);
        let at = Scaling::VariancePreserving.level(1.0);
        let [single, double] = [model(), model().in_f64().unwrap()]
            .map(|model| model.denoise(&z, &at).unwrap().value.0);
        let off = (&single - &double).abs().max().double_value(&[]);
        assert_eq!(double.kind(), Kind::Float);
        assert!(off > 0.0 && off < 1e-4 * single.abs().max().double_value(&[]), "{off}");
    }
}

/// At a level of the table the model is the network at that timestep: index and λ are two names of
/// one thing. λ passes through float32, which moves a timestep by some 1e-5.
#[test]
fn levels_are_timesteps() {
    let folder = copy("attn_c16_24_in3", &ddpm());
    let imported = diffusers(folder.path(), &DiffusersOptions::default()).unwrap();
    let path = folder.path().join("io.safetensors");
    let io = |name| recorded(&path, name).unwrap();
    let model = imported.model(shape(&io("sample")), 256, Device::Cpu).unwrap();
    let Schedule::Discrete(table) = &model.spec().diffusion.schedule else { panic!() };
    assert_eq!(model.spec().head, Head::PlainNoise);
    for (i, n) in
        Vec::<f64>::try_from(io("timestep").to_kind(Kind::Double)).unwrap().iter().enumerate()
    {
        let at = Scaling::VariancePreserving.level(table.log_snr_at(*n as usize).value());
        let item = |t: Tensor| t.narrow(0, i as i64, 1);
        let got = model.denoise(&Batch(item(io("sample"))), &at).unwrap().value.0;
        let error = (got - item(io("output"))).abs().max().double_value(&[]);
        assert!(error < 1e-4, "timestep {n}: {error}");
    }
}

/// Options that are not supported, by field and value.
#[test]
fn options_that_are_not_supported_are_named() {
    for (field, value, named) in [
        ("_class_name", json!("UNet2DConditionModel"), "_class_name = \"UNet2DConditionModel\""),
        ("down_block_types", json!(["SkipDownBlock2D"]), "unknown variant `SkipDownBlock2D`"),
        ("up_block_types", json!(["AttnUpBlock2D", "KUpBlock2D"]), "up_block_types[1]"),
        ("time_embedding_type", json!("learned"), "time_embedding_type: unknown variant `learned`"),
        ("resnet_time_scale_shift", json!("spatial"), "resnet_time_scale_shift: unknown variant"),
        ("act_fn", json!("tanh"), "act_fn: unknown variant `tanh`"),
        ("class_embed_type", json!("timestep"), "class_embed_type = \"timestep\""),
        ("norm_num_groups", json!(null), "norm_num_groups: invalid type: null"),
        ("encoder_hid_dim", json!(4), "unknown field `encoder_hid_dim`"),
        ("norm_num_groups", json!(5), "network.config.norm_num_groups = 5"),
        ("attention_head_dim", json!(99), "network.config.attention_head_dim = 99"),
        ("downsample_padding", json!(2), "network.config.downsample_padding = 2"),
        ("layers_per_block", json!(0), "network.config.layers_per_block = 0"),
        ("out_channels", json!(5), "network.config.out_channels = 5"),
        ("block_out_channels", json!([8]), "network.config.down_block_types = 2 blocks"),
        ("mid_block_scale_factor", json!(0), "network.config.mid_block_scale_factor = 0"),
        ("layers_per_block", json!(2), "has no tensor down_blocks.0.resnets.1.norm1.weight"),
        ("add_attention", json!(false), "has a tensor mid_block.attentions.0"),
        ("block_out_channels", json!([8, 16]), "of shape [12"),
        ("num_class_embeds", json!(3), "name one from 0 by the label"),
        (
            "num_class_embeds",
            json!("3"),
            "num_class_embeds = \"3\": use a positive integer or null",
        ),
        ("num_train_timesteps", json!(500), "the network's config.json has 500"),
        // Hundreds of gigabytes, which are not even asked for.
        ("block_out_channels", json!([16_384, 16_384]), "of shape ["),
        ("layers_per_block", json!(256), "has no tensor"),
    ] {
        let folder = copy("ddpm_old_names", &ddpm());
        let path = folder.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config[field] = value;
        fs::write(&path, serde_json::to_vec(&config).unwrap()).unwrap();
        let shape = Shape { channels: 1, height: 8, width: 8 };
        let error = diffusers(folder.path(), &DiffusersOptions::default())
            .and_then(|imported| imported.model(shape, 256, Device::Cpu))
            .unwrap_err()
            .to_string();
        assert!(error.contains(named), "{field}: {error}");
    }
}

#[test]
fn folders_and_data_that_do_not_fit_are_named() {
    let folder = copy("ddpm_old_names", &ddpm());
    let options = DiffusersOptions::default();
    let imported = diffusers(folder.path(), &options).unwrap();
    let refused = |channels, side, levels| {
        let shape = Shape { channels, height: side, width: side };
        imported.model(shape, levels, Device::Cpu).unwrap_err().to_string()
    };
    assert!(refused(3, 8, 256).starts_with("network.config.in_channels = 1"));
    assert!(refused(1, 7, 256).contains("2 resolutions of 7×7"));
    assert!(refused(1, 8, 17).contains("data of 256 values, these have 17"));
    let error = |path: &Path| diffusers(path, &options).unwrap_err().to_string();
    fs::remove_file(folder.path().join("scheduler_config.json")).unwrap();
    assert!(error(folder.path()).contains("--scheduler FILE"));
    let labelled = DiffusersOptions {
        label: Some(1),
        scheduler: Some(fixtures().join("diffusers_unet/nowhere.json")),
    };
    assert!(diffusers(folder.path(), &labelled).unwrap_err().to_string().contains("nowhere.json"));
    assert!(error(&folder.path().join("nowhere")).contains("config.json"));
}

fn vdm(path: &Path) -> Result<Imported, vdm_torch::Error> {
    vdm_flax(path, &VdmFlaxOptions::default())
}

fn weights(model: &Model) -> Vec<(String, Vec<f32>)> {
    let host = |(name, t): (String, Tensor)| (name, Vec::try_from(t.flatten(0, -1)).unwrap());
    model.parameters().named().into_iter().map(host).collect()
}

#[test]
fn a_model_survives_its_own_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let shape = Shape { channels: 3, height: 5, width: 7 };
    let original = vdm(&fixtures().join("vdm_flax/fourier_l2_c32.safetensors"));
    let model = original.unwrap().model(shape, 256, Device::Cpu).unwrap();
    for _ in 0..2 {
        export(&model, &path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing beside it");
    }
    let again = match exported(&path).unwrap() {
        Exported::Diffusion(imported) => imported.model(shape, 256, Device::Cpu).unwrap(),
        Exported::Hierarchy(_) => panic!("a diffusion model was written"),
    };
    assert_eq!(again.spec(), model.spec());
    assert_eq!(weights(&again), weights(&model));

    let foreign = fixtures().join("vdm_flax/fourier_l2_c32.safetensors");
    let error = exported(&foreign).unwrap_err().to_string();
    assert!(error.contains("`vdm export`"), "{error}");
    assert!(exported(folder.path()).is_err());
    let nowhere = folder.path().join("no/such/folder.safetensors");
    assert!(export(&model, &nowhere).unwrap_err().to_string().contains("cannot be written"));
}
