//! What the `scheduler_config.json` of diffusers says of a network: which level each of its timesteps
//! stands for, and what it predicts.
//!
//! Such a file belongs to a sampler, and most of it is about sampling only. The rest says what the network
//! was trained on, and what it is asked. So every setting of the pinned diffusers is one of three here:
//! read, ignored because it is about sampling, or refused unless it has the value that changes nothing.
//! One that is none of them is refused too: ignoring it might ask the network something else than its own
//! library does, and nobody would see that.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use vdm_core::schedule::{Betas, Discrete};

use super::json;
use crate::Error;
use crate::head::Head;

const FILE: &str = "scheduler_config.json";

/// The classes that ask a network for indices into a table of betas, without `Scheduler`.
const BY_INDEX: &[&str] = &[
    "DDIM",
    "DDIMInverse",
    "DDIMParallel",
    "DDPM",
    "DDPMParallel",
    "DEISMultistep",
    "DPMSolverMultistep",
    "DPMSolverMultistepInverse",
    "DPMSolverSDE",
    "DPMSolverSinglestep",
    "EulerAncestralDiscrete",
    "EulerDiscrete",
    "HeunDiscrete",
    "KDPM2AncestralDiscrete",
    "KDPM2Discrete",
    "LMSDiscrete",
    "PNDM",
    "RePaint",
    "SASolver",
    "UnCLIP",
    "UniPCMultistep",
];
/// Those among them whose betas are Stable Diffusion's where the file does not say; DDPM's else.
const LATENT_BETAS: [&str; 4] =
    ["DPMSolverSDE", "HeunDiscrete", "KDPM2AncestralDiscrete", "KDPM2Discrete"];

/// About sampling only, some of them of schedulers of years ago. Those of flow matching are here where they
/// mean nothing without one that is refused.
const SAMPLING: &[&str] = &[
    "algorithm_type",
    "base_image_seq_len",
    "base_shift",
    "clip_sample",
    "clip_sample_range",
    "corrector_order",
    "disable_corrector",
    "dynamic_thresholding_ratio",
    "eta",
    "euler_at_final",
    "final_sigmas_type",
    "flow_shift",
    "interpolation_type",
    "lambda_min_clipped",
    "lower_order_final",
    "max_image_seq_len",
    "max_shift",
    "noise_sampler_seed",
    "original_inference_steps",
    "predict_x0",
    "predictor_order",
    "rho",
    "s_churn",
    "s_max",
    "s_min",
    "s_noise",
    "sample_max_value",
    "set_alpha_to_one",
    "set_alpha_to_zero",
    "shift_terminal",
    "sigma_max",
    "sigma_min",
    "skip_prk_steps",
    "solver_order",
    "solver_p",
    "solver_type",
    "steps_offset",
    "tau_func",
    "tensor_format",
    "thresholding",
    "time_shift_type",
    "timestep_scaling",
    "timestep_spacing",
    "timestep_values",
    "use_beta_sigmas",
    "use_exponential_sigmas",
    "use_karras_sigmas",
    "use_lu_lambdas",
];

/// A setting that changes what the network is asked, or what it answers.
struct Telling {
    key: &'static str,
    /// With which it changes nothing, as null does.
    neutral: Value,
    /// What any other does.
    why: &'static str,
}

fn telling() -> [Telling; 9] {
    let setting = |key, neutral, why| Telling { key, neutral, why };
    let flow = "the network is asked for levels of flow matching instead of an index";
    [
        setting(
            "timestep_type",
            json!("discrete"),
            "the network is asked for ln(σ)/4 instead of an index",
        ),
        setting("snr_shift_scale", json!(1), "the levels are not those of the betas"),
        setting(
            "rescale_betas_zero_snr",
            json!(false),
            "a last level without any signal has no log-SNR to start a bound or a sampler from",
        ),
        setting("use_flow_sigmas", json!(false), flow),
        setting("use_dynamic_shifting", json!(false), flow),
        setting("invert_sigmas", json!(false), flow),
        setting("stochastic_sampling", json!(false), flow),
        setting("shift", json!(1), flow),
        setting(
            "sigma_data",
            Value::Null,
            "EDM scales what goes into the network and what comes out",
        ),
    ]
}

/// What is read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    num_train_timesteps: Option<usize>,
    beta_start: Option<f64>,
    beta_end: Option<f64>,
    beta_schedule: Option<BetaSchedule>,
    trained_betas: Option<Vec<f64>>,
    prediction_type: Option<PredictionType>,
    /// Before `prediction_type` there was.
    predict_epsilon: Option<bool>,
    variance_type: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BetaSchedule {
    Linear,
    ScaledLinear,
    #[serde(rename = "squaredcos_cap_v2")]
    SquaredCosine,
    Sigmoid,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PredictionType {
    Epsilon,
    VPrediction,
    Sample,
}

/// What a scheduler says of the network.
#[derive(Debug)]
pub(super) struct Scheduler {
    pub(super) path: PathBuf,
    /// The level of each timestep.
    pub(super) timesteps: Discrete,
    /// What the network predicts.
    pub(super) head: Head,
    /// Whether it predicts a variance too.
    pub(super) learned_variance: bool,
}

/// Reads `given`, or the scheduler in a network's folder or beside it.
pub(super) fn scheduler(folder: &Path, given: Option<&Path>) -> Result<Scheduler, Error> {
    let path = place(folder, given)?;
    let refuse = |problem: String| Error::Interop { path: path.clone(), problem };
    let mut fields = json::object(&path)?;
    let class = class(&fields).map_err(refuse)?;
    refuse_what_matters(&mut fields).map_err(refuse)?;
    let settings: Settings = json::parse(fields, &path)?;
    let head = match (&settings.prediction_type, settings.predict_epsilon) {
        (Some(PredictionType::Epsilon), None | Some(true)) | (None, None | Some(true)) => {
            Head::PlainNoise
        }
        (Some(PredictionType::VPrediction), None) => Head::Velocity,
        (Some(PredictionType::Sample), None)
        | (None | Some(PredictionType::Sample), Some(false)) => Head::Image,
        (Some(_), Some(epsilon)) => {
            return Err(refuse(format!(
                "predict_epsilon = {epsilon} contradicts prediction_type; take one of them out"
            )));
        }
    };
    let learned_variance =
        settings.variance_type.as_ref().is_some_and(|v| v.starts_with("learned"));
    let betas = betas(settings, class.as_deref()).map_err(refuse)?;
    Ok(Scheduler { timesteps: Discrete::new(betas, false)?, path, head, learned_variance })
}

fn place(folder: &Path, given: Option<&Path>) -> Result<PathBuf, Error> {
    let beside = folder.join("../scheduler").join(FILE);
    let found = given.map(Path::to_owned);
    let found =
        found.or_else(|| [folder.join(FILE), beside].into_iter().find(|path| path.is_file()));
    found.ok_or_else(|| Error::Interop {
        path: folder.into(),
        problem: format!(
            "has no {FILE}, nor has ../scheduler; name that of the training with --scheduler FILE"
        ),
    })
}

/// Which of [`BY_INDEX`] it is of, if it says so.
fn class(fields: &Map<String, Value>) -> Result<Option<String>, String> {
    let Some(class) = fields.get("_class_name") else { return Ok(None) };
    let name = class.as_str().and_then(|class| class.strip_suffix("Scheduler"));
    // Whose own default of the setting is not the one that changes nothing.
    let shifted = ["CogVideoXDDIM", "CogVideoXDPM"].map(Some).contains(&name);
    let unshifted = fields.get("snr_shift_scale").is_some_and(|scale| !scale.is_null());
    match name {
        Some(name) if BY_INDEX.contains(&name) || shifted && unshifted => Ok(Some(name.to_owned())),
        Some("LCM" | "TCD") => Err(format!(
            "_class_name = {class}: the network of a consistency model predicts where the flow ends, not \
             the mean of the image; name the scheduler of an ordinary training with --scheduler"
        )),
        _ if shifted => Err(format!(
            "_class_name = {class}: its levels are not those of the betas; only with \
             \"snr_shift_scale\": 1 can it be read"
        )),
        _ => Err(format!(
            "_class_name = {class}: it is not known to ask the network for indices into a table of \
             betas, which alone can be read, such as DDPMScheduler's; name the scheduler of the training \
             with --scheduler"
        )),
    }
}

/// Takes out all that is not [`Settings`], or names what may not be ignored.
fn refuse_what_matters(fields: &mut Map<String, Value>) -> Result<(), String> {
    const READ: [&str; 8] = [
        "num_train_timesteps",
        "beta_start",
        "beta_end",
        "beta_schedule",
        "trained_betas",
        "prediction_type",
        "predict_epsilon",
        "variance_type",
    ];
    for Telling { key, neutral, why } in telling() {
        if let Some(value) = fields.get(key).filter(|value| !is_neutral(value, &neutral)) {
            return Err(format!("{key} = {value}: {why}; only {neutral} can be read"));
        }
        fields.remove(key);
    }
    // Names that start like this are diffusers' own notes: versions, paths, which values are defaults.
    fields.retain(|key, _| !key.starts_with('_') && !SAMPLING.contains(&key.as_str()));
    fields.retain(|key, value| READ.contains(&key.as_str()) || !value.is_null());
    match fields.iter().find(|(key, _)| !READ.contains(&key.as_str())) {
        Some((key, value)) => Err(format!(
            "{key} = {value}: this setting is not known here and may change what the network is asked; if \
             it is about sampling only, take it out of the file"
        )),
        None => Ok(()),
    }
}

fn is_neutral(value: &Value, neutral: &Value) -> bool {
    value.is_null()
        || value == neutral
        || neutral.as_f64().is_some_and(|n| value.as_f64() == Some(n))
}

fn betas(settings: Settings, class: Option<&str>) -> Result<Betas, String> {
    let latent = class.is_some_and(|class| LATENT_BETAS.contains(&class));
    let (start, end) = if latent { (0.000_85, 0.012) } else { (1e-4, 0.02) };
    let beta_start = settings.beta_start.unwrap_or(start);
    let beta_end = settings.beta_end.unwrap_or(end);
    if let Some(betas) = settings.trained_betas {
        return match settings.num_train_timesteps {
            Some(steps) if steps != betas.len() => Err(format!(
                "num_train_timesteps = {steps} contradicts the {} trained_betas; correct one of them",
                betas.len()
            )),
            _ => Ok(Betas::Custom(betas)),
        };
    }
    let steps = settings.num_train_timesteps.unwrap_or(1000);
    Ok(match settings.beta_schedule {
        Some(BetaSchedule::Linear) => Betas::Linear { steps, beta_start, beta_end },
        Some(BetaSchedule::ScaledLinear) => Betas::ScaledLinear { steps, beta_start, beta_end },
        Some(BetaSchedule::SquaredCosine) => Betas::Cosine { steps, offset: 0.008, cap: 0.999 },
        Some(BetaSchedule::Sigmoid) => Betas::Sigmoid { steps, beta_start, beta_end },
        None => {
            return Err(
                "has neither beta_schedule nor trained_betas; only tables of betas can be read"
                    .into(),
            );
        }
    })
}
