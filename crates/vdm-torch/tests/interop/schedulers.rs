//! Settings of schedulers: read, ignored because they are about sampling, or refused by name.

use vdm_core::schedule::{Betas, Discrete};

use super::*;

/// What a network predicts and its levels, under DDPM's scheduler with some settings changed.
fn changed(change: &Value) -> Result<(Head, Schedule), vdm_torch::Error> {
    let mut scheduler = ddpm();
    for (key, value) in change.as_object().unwrap() {
        scheduler[key] = value.clone();
    }
    read(&serde_json::to_string(&scheduler).unwrap())
}

/// The same under the scheduler of a file.
fn read(text: &str) -> Result<(Head, Schedule), vdm_torch::Error> {
    let folder = copy("no_middle_relu", &ddpm());
    fs::write(folder.path().join("scheduler_config.json"), text).unwrap();
    let imported = diffusers(folder.path(), &DiffusersOptions::default())?;
    Ok((imported.head, imported.diffusion.schedule))
}

#[test]
fn schedulers_give_the_table_and_the_prediction() {
    let head = |change: Value| changed(&change);
    assert_eq!(head(json!({"prediction_type": "v_prediction"})).unwrap().0, Head::Velocity);
    assert_eq!(head(json!({"prediction_type": "sample"})).unwrap().0, Head::Image);
    let (_, schedule) = head(json!({"beta_schedule": "squaredcos_cap_v2"})).unwrap();
    let cosine = Betas::Cosine { steps: 1000, offset: 0.008, cap: 0.999 };
    let table = Discrete::new(cosine, false).unwrap();
    assert_eq!(schedule, Schedule::Discrete(table));
    for (change, named) in [
        (json!({"prediction_type": "flow"}), "prediction_type: unknown variant `flow`"),
        (json!({"beta_schedule": "laplace"}), "beta_schedule: unknown variant `laplace`"),
        (json!({"beta_schedule": null}), "has neither beta_schedule nor trained_betas"),
        (json!({"trained_betas": [0.1, 2.0], "num_train_timesteps": 2}), "beta[1] = 2"),
        (
            json!({"trained_betas": [0.1]}),
            "num_train_timesteps = 1000 contradicts the 1 trained_betas",
        ),
        (json!({"trained_betas": "0.1"}), "trained_betas: invalid type: string"),
        (
            json!({"num_train_timesteps": 1000.5}),
            "num_train_timesteps: invalid type: floating point",
        ),
        (json!({"num_train_timesteps": -1}), "num_train_timesteps: invalid value"),
        (json!({"beta_end": "0.02"}), "beta_end: invalid type: string \"0.02\""),
        (json!({"rescale_betas_zero_snr": true}), "rescale_betas_zero_snr = true: a last level"),
        (json!({"rescale_betas_zero_snr": "no"}), "rescale_betas_zero_snr = \"no\""),
        (
            json!({"timestep_type": "continuous"}),
            "timestep_type = \"continuous\": the network is asked",
        ),
        (json!({"snr_shift_scale": 3.0}), "snr_shift_scale = 3.0: the levels are not"),
        (json!({"use_flow_sigmas": true}), "use_flow_sigmas = true: the network is asked"),
        (json!({"use_dynamic_shifting": true}), "use_dynamic_shifting = true"),
        (json!({"invert_sigmas": true}), "invert_sigmas = true"),
        (json!({"stochastic_sampling": true}), "stochastic_sampling = true"),
        (json!({"shift": 3}), "shift = 3"),
        (json!({"sigma_data": 0.5}), "sigma_data = 0.5"),
        (json!({"gamma_schedule": 2}), "gamma_schedule = 2: this setting is not known here"),
        (
            json!({"predict_epsilon": false, "prediction_type": "epsilon"}),
            "predict_epsilon = false",
        ),
        (json!({"variance_type": "learned_range"}), "variance_type is a learned one"),
        (
            json!({"_class_name": "FlowMatchEulerDiscreteScheduler"}),
            "indices into a table of betas",
        ),
        (json!({"_class_name": "MyScheduler"}), "_class_name = \"MyScheduler\""),
        (json!({"_class_name": "LCMScheduler"}), "consistency model"),
        (json!({"_class_name": "CogVideoXDDIMScheduler"}), "only with \"snr_shift_scale\": 1"),
        (json!({"_class_name": 3}), "_class_name = 3"),
    ] {
        let error = head(change).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

/// What is about sampling only changes nothing, nor do the values of others that mean "off".
#[test]
fn settings_of_sampling_are_ignored() {
    let plain = changed(&json!({})).unwrap();
    for change in [
        json!({"use_karras_sigmas": true, "timestep_spacing": "trailing", "final_sigmas_type": "sigma_min"}),
        json!({"thresholding": true, "clip_sample": false, "steps_offset": 1, "set_alpha_to_one": false}),
        json!({"flow_shift": 3.0, "time_shift_type": "linear", "base_shift": 0.5, "shift_terminal": 0.1}),
        json!({"timestep_type": "discrete", "snr_shift_scale": 1.0, "shift": 1, "use_flow_sigmas": null}),
        json!({"_class_name": "CogVideoXDDIMScheduler", "snr_shift_scale": 1}),
        json!({"_name_or_path": "somewhere", "gamma_schedule": null, "variance_type": "fixed_small"}),
        json!({"prediction_type": null, "predict_epsilon": true}),
    ] {
        assert_eq!(changed(&change).unwrap(), plain, "{change}");
    }
    let image = changed(&json!({"prediction_type": null, "predict_epsilon": false})).unwrap();
    assert_eq!(image, (Head::Image, plain.1));
}

/// Every scheduler of the library with its defaults: those that ask for indices into a table of betas are
/// read, Python's -Infinity and all, and the others are refused by name.
#[test]
fn every_scheduler_of_the_library_is_read_or_refused_by_name() {
    let text = fs::read_to_string(fixtures().join("schedulers.jsonl")).unwrap();
    let mut read_in_all = 0;
    for line in text.lines() {
        let class = line.split('"').nth(3).unwrap();
        let tabulated = line.contains("\"beta_schedule\"")
            && !["LCM", "TCD", "CogVideoX"].iter().any(|other| class.starts_with(other));
        match read(line) {
            Ok((head, schedule)) => {
                assert!(tabulated, "{class}");
                assert_eq!(head, Head::PlainNoise);
                assert!(matches!(schedule, Schedule::Discrete(table) if table.steps() == 1000));
                read_in_all += 1;
            }
            Err(error) => {
                let error = error.to_string();
                assert!(
                    !tabulated
                        && (error.contains(&format!("_class_name = \"{class}\""))
                            || class.starts_with("CogVideoX")
                                && error.contains("snr_shift_scale = 3")),
                    "{error}"
                );
            }
        }
    }
    assert_eq!(read_in_all, 21);
}

/// Betas that a file leaves out are those of its class.
#[test]
fn betas_that_are_left_out_are_the_defaults_of_the_class() {
    for (class, beta_start, beta_end) in
        [("DDPMScheduler", 1e-4, 0.02), ("HeunDiscreteScheduler", 0.000_85, 0.012)]
    {
        let text = format!(r#"{{"_class_name": "{class}", "beta_schedule": "linear"}}"#);
        let betas = Betas::Linear { steps: 1000, beta_start, beta_end };
        let table = Discrete::new(betas, false).unwrap();
        assert_eq!(read(&text).unwrap().1, Schedule::Discrete(table), "{class}");
    }
}

#[test]
fn numbers_that_are_not_finite_are_refused_where_one_is_needed() {
    for (text, named) in [
        (
            r#"{"beta_schedule": "linear", "beta_end": Infinity}"#,
            "beta_end: invalid type: string \"Infinity\"",
        ),
        (
            r#"{"beta_schedule": "linear", "beta_start": NaN}"#,
            "beta_start: invalid type: string \"NaN\"",
        ),
        (r#"{"beta_schedule": "linear", "snr_shift_scale": NaN}"#, "snr_shift_scale = \"NaN\""),
        (r#"{"beta_schedule": "linear", "beta_schedule": "sigmoid"}"#, "is there twice"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(named) && error.contains("scheduler_config.json"), "{error}");
    }
}

/// A network of a pipeline with an autoencoder knows no pixels.
#[test]
fn networks_of_codes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (network, index) = (folder.path().join("unet"), folder.path().join("model_index.json"));
    fs::rename(copy("no_middle_relu", &ddpm()).keep(), &network).unwrap();
    let read = |text: &str| {
        fs::write(&index, text).unwrap();
        diffusers(folder.path(), &DiffusersOptions::default()).map_err(|e| e.to_string())
    };
    read(r#"{"_class_name": "DDPMPipeline", "unet": ["diffusers", "UNet2DModel"], "vae": [null, null]}"#).unwrap();
    let error =
        read(r#"{"_class_name": "LDMPipeline", "vqvae": ["diffusers", "VQModel"]}"#).unwrap_err();
    assert!(error.contains("vqvae: the network of this pipeline denoises the codes"), "{error}");
}
