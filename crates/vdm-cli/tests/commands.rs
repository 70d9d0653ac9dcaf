//! The `vdm` program as a user meets it: runs, interruptions, and what it says to bad input.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{refs, run, train, vdm};
use serde_json::Value;

fn weights(run: &Path, step: u64) -> [Vec<u8>; 2] {
    let folder = run.join(format!("checkpoints/step-{step:08}"));
    ["model.safetensors", "training.safetensors"].map(|name| fs::read(folder.join(name)).unwrap())
}

fn metrics(run: &Path) -> Vec<(String, u64)> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let record = |line| -> Value { serde_json::from_str(line).expect("a whole line") };
    text.lines()
        .map(record)
        .map(|r| (r["kind"].as_str().unwrap().to_owned(), r["step"].as_u64().unwrap()))
        .collect()
}

/// Everything the run folder promises, and the commands that read it.
#[test]
fn a_run_leaves_what_it_promises() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let output = run(&refs(&train(&out, &["--steps", "10", "--seed", "5"])));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("bits/dim on 359 items"), "{text}");
    for file in [
        "config.json",
        "metrics.jsonl",
        "timings.jsonl",
        "result.json",
        "report.html",
        "samples.png",
        "samples.npy",
        "denoising.png",
        "loss_by_log_snr.json",
        "noise_levels.json",
        "samples/step-00000010.png",
        "checkpoints/step-00000010/checkpoint.json",
    ] {
        assert!(out.join(file).exists(), "{file}");
    }
    let result: Value =
        serde_json::from_str(&fs::read_to_string(out.join("result.json")).unwrap()).unwrap();
    assert_eq!(result["preset"], "digits");
    assert_eq!(result["data"]["items"], 1797);
    assert_eq!(result["data"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!((result["steps"].as_u64(), result["seed"].as_u64()), (Some(10), Some(5)));
    let test = &result["test"];
    let sum: f64 =
        test["terms"].as_array().unwrap().iter().map(|t| t["bits_per_dim"].as_f64().unwrap()).sum();
    assert!((sum - test["bits_per_dim"].as_f64().unwrap()).abs() < 1e-9);
    assert!(test["standard_error"].as_f64().unwrap() > 0.0 && test["items"] == 359);
    assert!(test["estimator"].as_str().unwrap().contains("L_inf"));

    let dir = out.to_str().unwrap();
    let png = folder.path().join("more.png");
    let sampled = run(&[
        "sample",
        "--run",
        dir,
        "--count",
        "5",
        "--solver",
        "dpm-solver-pp-2m",
        "--steps",
        "4",
        "--out",
        png.to_str().unwrap(),
    ]);
    assert!(sampled.status.success(), "{}", String::from_utf8_lossy(&sampled.stderr));
    assert!(png.exists() && png.with_extension("npy").exists());
    respecified(dir, folder.path());
    remarks(dir, folder.path());
    let adaptive = |more: &[&str]| {
        let solver = r#"{"kind": "bogacki_shampine_32", "absolute": 0.5, "relative": 0.5}"#;
        let options = ["sample", "--run", dir, "--count", "2", "--solver", solver];
        run(&[&options, more, &["--out", png.to_str().unwrap()]].concat())
    };
    let sampled = adaptive(&["--noise", "antithetic", "--guidance", "dynamic-threshold"]);
    assert!(sampled.status.success(), "{}", String::from_utf8_lossy(&sampled.stderr));
    let refused = adaptive(&["--steps", "4"]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("adaptive_ode chooses its own steps: leave out steps"), "{text}");
    let evaluated =
        run(&["eval", "--run", dir, "--split", "validation", "--steps", "50", "--items", "7"]);
    let text = String::from_utf8_lossy(&evaluated.stdout).into_owned();
    assert!(text.contains("50-step bound (L_T)") && text.contains("7 of 179"), "{text}");
    estimators(dir, folder.path());
    let missing = run(&["eval", "--run", dir, "--checkpoint", "3"]);
    let text = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(text.contains("no checkpoint of step 3; there are [10]"), "{text}");
    fs::remove_file(out.join("report.html")).unwrap();
    assert!(run(&["report", "--run", dir]).status.success());
    assert!(fs::read_to_string(out.join("report.html")).unwrap().contains("svg"));
}

/// What `vdm sample` says beside its result, and what it refuses to draw.
fn remarks(dir: &str, folder: &Path) {
    let sample = |more: &[&str]| {
        let out = folder.join("remarks.png");
        let options = ["sample", "--run", dir, "--count", "2", "--out", out.to_str().unwrap()];
        let ran = run(&[&options, more].concat());
        (ran.status.success(), String::from_utf8_lossy(&ran.stderr).into_owned())
    };
    let (drawn, text) = sample(&["--solver", "DPM++ 2M", "--grid", "Exponential", "--steps", "40"]);
    assert!(drawn, "{text}");
    assert!(
        text.contains("note: dpmpp_2m (k-diffusion) is called dpm_solver_pp_2m here"),
        "{text}"
    );
    assert!(text.contains("is called uniform_log_snr here"), "{text}");
    assert!(!text.contains("misses"), "{text}");
    let (drawn, text) = sample(&["--solver", "DDIM", "--grid", "uniform-time", "--steps", "3"]);
    assert!(drawn && !text.contains("is called"), "{text}");
    assert!(text.contains("note: ddim on these 3 steps misses Gaussian data by"), "{text}");
    let leading = r#"{"kind": "timesteps", "spacing": "leading", "table":
        {"betas": {"linear": {"steps": 1000, "beta_start": 1e-4, "beta_end": 0.02}}}}"#;
    let (drawn, text) = sample(&["--solver", "ddim", "--grid", leading, "--steps", "1"]);
    assert!(!drawn && text.contains("error: the grid begins at log-SNR 9.21"), "{text}");
    let (drawn, text) = sample(&["--solver", "ddim", "--grid", leading, "--steps", "2"]);
    assert!(drawn && text.contains("note: the grid begins at log-SNR -2."), "{text}");
}

/// The list, one solver by another library's name, and what is none.
#[test]
fn solvers_are_told_with_their_range_and_their_names_elsewhere() {
    let solvers = |more: &[&str]| {
        let ran = run(&[&["solvers"], more].concat());
        let [out, err] = [ran.stdout, ran.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
        (ran.status.success(), out, err)
    };
    let (_, list, _) = solvers(&[]);
    let line = |name: &str| list.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
    assert!(line("ancestral").contains("   50  "), "{list}");
    assert!(line("uni_pc").contains("   20  ") && list.contains("dormand_prince_54"), "{list}");
    let (_, one, _) = solvers(&["dpmpp_2m"]);
    let told = one.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "dpm_solver_pp_2m: 10 to 50 model calls",
        "order 2, 1 model call a step, deterministic",
        "dpmpp_2m (k-diffusion)",
        "strength 0.0 a number",
        r#"final_order {"bounded":{"below":15}} one of"#,
        r#"solver_type "midpoint" one of midpoint, heun"#,
        "karras",
    ] {
        assert!(told.contains(part), "{part}: {one}");
    }
    let out_of_range = one.lines().find(|line| line.starts_with("linspace timesteps")).unwrap();
    assert!(out_of_range.contains('!'), "{one}");
    let (found, _, error) = solvers(&["dpmpp_9m"]);
    assert!(!found && error.contains("unknown solver `dpmpp_9m`: the solvers are"), "{error}");
    assert!(error.contains("deis, adaptive_ode, dpm_adaptive"), "{error}");
}

/// A loss that is no bound is nowhere called one.
#[test]
fn a_weighted_loss_goes_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let weighting = r#"diffusion.weighting={"kind": "simple"}"#;
    let output = run(&refs(&train(&out, &["--steps", "10", "--set", weighting])));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert!(first["weighted_loss"].as_f64().unwrap() > 0.0, "{first}");
    assert!(first["loss_bits_per_dim"].is_null() && first["terms"][0]["bits_per_dim"].is_null());
    let report = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.contains("weighted loss by step") && report.contains("is no bound"));
    let events = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path());
    let events = events.filter(|path| path.display().to_string().contains("tfevents"));
    let logged: Vec<u8> = events.flat_map(|path| fs::read(path).unwrap()).collect();
    let logged = String::from_utf8_lossy(&logged).into_owned();
    assert!(logged.contains("train/weighted_loss") && !logged.contains("train/loss_bits_per_dim"));
}

/// Killed without warning again and again, at moments spread over the run, and resumed each time:
/// the same weights and metrics, byte for byte, as a run left alone.
#[test]
fn a_run_killed_at_any_moment_ends_in_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let steps = 120_u64;
    let more = [
        "--steps",
        "120",
        "--set",
        "output.checkpoint_every=7",
        "--set",
        "output.validate_every=20",
        "--set",
        "output.sample_every=1000",
    ];
    assert!(run(&refs(&train(&whole, &more))).status.success());
    let newest = || -> Option<String> {
        let list = fs::read_dir(killed.join("checkpoints")).ok()?.flatten();
        list.map(|e| e.file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with("step-"))
            .max()
    };
    let mut command: Vec<String> = train(&killed, &more);
    let mut resumed_from = Vec::new();
    for round in 1..=10_u32 {
        let before = newest();
        let mut child: Child = vdm(&refs(&command)).stdout(Stdio::null()).spawn().unwrap();
        // Let it get a checkpoint further, then kill it at a moment that does not repeat: multiples
        // of the golden ratio modulo 1 spread evenly.
        while newest() == before && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let moment = (f64::from(round) * 0.618_033_988_7).fract();
        std::thread::sleep(Duration::from_secs_f64(0.05 * moment));
        child.kill().unwrap();
        child.wait().unwrap();
        resumed_from.extend(newest());
        command = ["train", "--threads", "1", "--resume", killed.to_str().unwrap()]
            .map(String::from)
            .into();
    }
    resumed_from.dedup();
    assert!(resumed_from.len() >= 5, "resumed in the middle of the run: {resumed_from:?}");
    assert!(run(&refs(&command)).status.success());
    assert_eq!(weights(&whole, steps), weights(&killed, steps));
    let log = |run: &Path| fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert_eq!(log(&whole), log(&killed));
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_leaves_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut child = vdm(&refs(&train(&out, &["--steps", "100000"])))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !out.join("metrics.jsonl").exists() || metrics(&out).is_empty() {
        std::thread::sleep(Duration::from_millis(50));
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
    }
    // The shell's own `kill`: the program of that name is not on every machine.
    let interrupt = format!("kill -INT {}", child.id());
    assert!(Command::new("sh").args(["-c", &interrupt]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("stopped and saved at step") && text.contains("--resume"), "{text}");
    assert!(fs::read_dir(out.join("checkpoints")).unwrap().count() >= 1);
}

/// Each kind of bad input fails with code 1 or 2, leaves nothing behind, and names what is wrong.
#[test]
fn bad_input_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("config.json.bad"), "{").unwrap();
    fs::write(path("short-images-idx3-ubyte"), [0, 0, 8, 3, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0, 8])
        .unwrap();
    fs::write(path("huge.npy"), b"\x93NUMPY\x02\x00\xff\xff\xff\xff{").unwrap();
    fs::create_dir(path("empty")).unwrap();
    fs::create_dir(path("held")).unwrap();
    fs::write(path("held/config.json"), "{}").unwrap();
    let cases: Vec<(Vec<String>, &str)> = [
        (vec!["train", "--preset", "digit"], "there is no preset \"digit\""),
        (vec!["train", "--preset", "mnist"], "needs --data PATH"),
        (vec!["train", "--device", "gpu"], "use auto, cpu, cuda or cuda:N"),
        (vec!["train", "--device", "cuda:7"], "device cuda:7 is not available"),
        (vec!["train", "--steps", "0"], "training.steps = 0"),
        (vec!["train", "--batch", "9999999999999"], "training.batch = 9999999999999"),
        (
            vec!["train", "--batch", "16777216"],
            "training.batch times components = 1073741824 is more than 536870912",
        ),
        (vec!["sample", "--run", "<held>", "--out", "x.npy"], "--out x.npy: name the PNG"),
        (vec!["eval", "--run", "<held>", "--max-rounds", "3"], "--standard-error"),
        (vec!["train", "--batch=-1"], "invalid value '-1' for '--batch"),
        (vec!["train", "--set", "head=vision"], "unknown variant `vision`"),
        (vec!["train", "--set", "nothing=1"], "there is no field \"nothing\""),
        (vec!["train", "--set", "training.accumulate=3"], "training.accumulate = 3"),
        (vec!["train", "--set", "network.groups=7"], "network.groups = 7"),
        (vec!["train", "--set", "diffusion.scaling=straight_line"], "diffusion.scaling"),
        (vec!["train", "--precision", "f16"], "unknown variant `f16`"),
        (vec!["train", "--threads", "0"], "--threads"),
        (vec!["train", "--set", "training.batch=many"], "training.batch: many is no number"),
        (vec!["train", "--set", "sampler.steps=0"], "sampler.steps = 0"),
        (vec!["train", "--set", "network.band_limit=NaN"], "network.band_limit: NaN is no number"),
        (vec!["train", "--out", "<held>"], "already holds a run"),
        (vec!["train", "--resume", "<empty>"], "is not the folder of a run"),
        (vec!["train", "--resume", "<empty>", "--seed", "3"], "--seed cannot change"),
        (vec!["train", "--config", "<config.json.bad>"], "is not a configuration of a run: EOF"),
        (vec!["train", "--config", "<nowhere>"], "cannot read the configuration"),
        (vec!["train", "--data", "<nowhere>"], "nowhere"),
        (vec!["train", "--data", "<empty>"], "empty"),
        (vec!["train", "--data", "<short-images-idx3-ubyte>"], "short-images-idx3-ubyte"),
        (vec!["train", "--data", "<huge.npy>"], "huge.npy"),
        (vec!["sample", "--run", "<empty>"], "config.json"),
        (vec!["eval", "--run", "<nowhere>"], "is not the folder of a run"),
        (
            vec!["sample", "--run", "<empty>", "--solver", "eulr"],
            "unknown solver `eulr`: the solvers are ancestral, ddim,",
        ),
        (
            vec!["sample", "--run", "<empty>", "--solver", r#"{"kind": "deis", "order": 7}"#],
            "order = 7: use 1 to 4; 2 or 3 serve",
        ),
        (vec!["sample", "--run", "<empty>", "--noise", "pink"], "unknown noise `pink`"),
        (vec!["sample", "--run", "<empty>", "--guidance", "clap"], "unknown variant `clap`"),
        (
            vec!["sample", "--run", "<empty>", "--grid", "karas"],
            "unknown grid `karas`: the grids are uniform_time,",
        ),
        (vec!["frob"], "unrecognized subcommand"),
    ]
    .into_iter()
    .map(|(arguments, named)| {
        let place = |a: &str| match a.strip_prefix('<').and_then(|a| a.strip_suffix('>')) {
            Some(name) => path(name),
            None => a.to_owned(),
        };
        (arguments.into_iter().map(place).collect(), named)
    })
    .collect();
    let before = fs::read_dir(folder.path()).unwrap().count();
    for (arguments, named) in cases {
        let output = vdm(&refs(&arguments)).current_dir(folder.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?}: {text}");
        assert!(text.contains(named), "{arguments:?} says: {text}");
        assert!(!text.contains("panicked"), "{arguments:?}: {text}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before, "nothing was left behind");
}

/// Two processes in one folder would overwrite each other.
#[test]
fn a_run_folder_belongs_to_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut first = vdm(&refs(&train(&out, &["--steps", "100000"])))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !out.join("metrics.jsonl").exists() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let second = run(&["train", "--resume", out.to_str().unwrap()]);
    first.kill().unwrap();
    first.wait().unwrap();
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(text.contains("another process is training in"), "{text}");
}

/// M48 from the command line: the same samples in another scaling, and what is no specification.
fn respecified(dir: &str, folder: &Path) {
    let array = folder.join("latents.npy");
    let sample = |more: &[&str]| {
        let png = folder.join("specified.png");
        let mut args = vec!["sample", "--run", dir, "--count", "2", "--steps", "5"];
        args.extend(["--out", png.to_str().unwrap(), "--latents", array.to_str().unwrap()]);
        args.extend(more);
        run(&args)
    };
    let latents = |more: &[&str]| -> Vec<f32> {
        let ran = sample(more);
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let bytes = fs::read(&array).unwrap();
        let values = bytes[bytes.len() - 2 * 64 * 4..].chunks_exact(4);
        values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    };
    let own = latents(&[]);
    let exploding = latents(&["--scaling", "variance-exploding"]);
    let off = own.iter().zip(&exploding).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < 1e-4, "{off}");
    let double = latents(&["--double", "--threads", "1"]);
    assert_ne!(own, double);
    let exploding = latents(&["--double", "--scaling", "variance-exploding"]);
    let off = double.iter().zip(&exploding).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < 1e-6, "{off}");
    assert_ne!(own, latents(&["--schedule", "cosine", "--grid", "uniform-time"]));
    for (flags, named) in [
        (["--scaling", "sideways"], "'sideways' for '--scaling"),
        (["--schedule", "upwards"], "--schedule upwards"),
        (["--schedule", r#"{"kind":"linear","log_snr_max":3,"log_snr_min":-3}"#], "those ends"),
        (["--threads", "0"], "--threads: 0 is no number of threads: use one from 1 to 4096"),
    ] {
        let fault = String::from_utf8_lossy(&sample(&flags).stderr).into_owned();
        assert!(fault.contains(named), "{flags:?}: {fault}");
    }
    let none = run(&["sample", "--run", dir, "--steps", "0"]);
    assert!(String::from_utf8_lossy(&none.stderr).contains("--steps 0: use at least 1"));
    let beside = folder.join("beside.npy");
    let clash = ["--out", "beside.png", "--latents", "beside.npy"];
    let ran = vdm(&[&["sample", "--run", dir], &clash[..]].concat()).current_dir(folder).output();
    let fault = String::from_utf8_lossy(&ran.unwrap().stderr).into_owned();
    assert!(
        fault.contains("--out and --latents both name beside.npy") && !beside.exists(),
        "{fault}"
    );
}

/// Every estimator on a trained run, and what none of them takes.
fn estimators(dir: &str, folder: &Path) {
    let out = folder.join("likelihood.json");
    let eval = |more: &[&str]| {
        let mut args = vec!["eval", "--run", dir, "--items", "2", "--out", out.to_str().unwrap()];
        args.extend(more);
        let ran = run(&args);
        let [text, fault] =
            [&ran.stdout, &ran.stderr].map(|b| String::from_utf8_lossy(b).into_owned());
        assert_eq!(ran.status.success(), !fault.contains("error: "), "{fault}");
        (text, fault)
    };
    let document = || -> Value { serde_json::from_slice(&fs::read(&out).unwrap()).unwrap() };

    let (text, _) = eval(&["--steps", "4,8", "--draws", "4", "--rounds", "2"]);
    assert!(text.contains("4-step bound (L_T), every step") && text.contains("SHA-256"), "{text}");
    assert!(text.contains("worse for"), "{text}");
    let depths = document()["result"]["depths"].as_array().unwrap().clone();
    assert_eq!(depths.len(), 3);
    assert!(depths[2]["change"]["items_worse"].is_u64() && depths[0]["change"].is_null());

    let (text, _) = eval(&["--draws", "4", "--scaling", "straight-line", "--schedule", "cosine"]);
    assert!(text.contains("L_inf"), "{text}");
    assert!(document()["result"]["curve"][0]["rate"].is_f64());
    assert_eq!(document()["scaling"], "straight_line");

    let total = || document()["result"]["bits_per_dim"]["mean"].as_f64().unwrap();
    let under = |schedule| {
        let grid = ["--steps", "4", "--draws", "4", "--grid", "uniform-log-snr"];
        let (text, _) = eval(&[&grid[..], &["--schedule", schedule]].concat());
        assert!(text.contains("4-step bound (L_T) on the uniform_log_snr grid"), "{text}");
        assert_eq!(document()["grid"]["kind"], "uniform_log_snr");
        total()
    };
    assert!((under("linear") - under("cosine")).abs() < 1e-3);
    let few = ["--steps", "3", "--draws", "3", "--rounds", "8"];
    eval(&few);
    let uniform = total();
    let (text, _) = eval(&[&few[..], &["--grid", "elbo-optimal"]].concat());
    assert!(text.contains("on the elbo_optimal grid") && total() < uniform, "{text} {uniform}");
    assert_eq!(document()["grid"]["log_snrs"].as_array().unwrap().len(), 4);

    eval(&["--draws", "4"]);
    let single = total();
    eval(&["--draws", "4", "--double"]);
    let off = (total() / single - 1.0).abs();
    assert!(off > 0.0 && off < 1e-4 && document()["network"] == "f64", "{off}");

    let (text, _) = eval(&["--estimator", "iwae", "--steps", "3", "--importance-samples", "2"]);
    assert!(text.contains("importance-weighted 3-step bound, K = 2"), "{text}");
    let more = ["--estimator", "ode", "--probes", "1", "--tolerance", "0.1"];
    let (text, _) = eval(&[&more[..], &["--dequantization", "uniform"]].concat());
    assert!(text.contains("uniform dequantization, K = 1, 1 probes"), "{text}");

    let (text, _) = eval(&["--draws", "1", "--standard-error", "1e-9", "--max-rounds", "2"]);
    assert!(text.contains("--standard-error is not reached"), "{text}");
    assert_eq!(document()["result"]["standard_error_reached"], false);
    let (text, _) = eval(&["--draws", "1", "--standard-error", "1e9"]);
    assert!(!text.contains("not reached"), "{text}");
    assert_eq!(document()["result"]["standard_error_reached"], true);

    for (flags, named) in [
        (&["--tolerance", "0.1"][..], "use --estimator ode"),
        (&["--estimator", "iwae"], "--steps T"),
        (&["--estimator", "ode", "--draws", "3"], "use --estimator bound"),
        (&["--steps", "8,4"], "ascending"),
        (&["--grid", "karras"], "--steps"),
        (&["--grid", "elbo-optimal", "--steps", "5000"], "not 5000: use fewer, or another grid"),
        (&["--steps", "4", "--grid", r#"{"kind":"karras","clean":true}"#], "the schedule's ends"),
        (&["--estimator", "ode", "--probes", "1", "--importance-samples", "2"], "exact trace"),
        (&["--schedule", r#"{"kind":"linear","log_snr_max":3,"log_snr_min":-3}"#], "those ends"),
        (&["--scaling", "sideways"], "'sideways' for '--scaling"),
        (&["--schedule", "upwards"], "--schedule upwards"),
        (&["--standard-error", "0"], "--standard-error 0"),
        (&["--estimator", "ode", "--tolerance", "0"], "--tolerance 0: use a finite number"),
    ] {
        let (_, fault) = eval(flags);
        assert!(fault.contains(named), "{flags:?}: {fault}");
    }
}
