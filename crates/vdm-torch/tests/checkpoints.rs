//! Checkpoints on disk: what is written, what is trusted, what is taken where that is damaged, and what
//! is never deleted.

mod common;
#[path = "common/damage.rs"]
mod damage;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::tiny;
use damage::{Chance, damaged};
use serde_json::Value;
use tch::Device;
use vdm_data::{Dataset, Source};
use vdm_torch::checkpoint::{Checkpoint, Checkpoints, Chosen, read_info};
use vdm_torch::diffusion::DiffusionTrainer;
use vdm_torch::interop::{Exported, export, exported};
use vdm_torch::{Error, Model, RunConfig, StoredModel};

const FILES: [&str; 3] = ["model.safetensors", "training.safetensors", "checkpoint.json"];

/// An MLP, whose checkpoints are small; three steps between lines of metrics.
fn config() -> RunConfig {
    tiny(|c| {
        c["network"] = serde_json::json!({"kind": "mlp", "width": 8, "depth": 1, "fourier": []});
        c["output"]["log_every"] = 3.into();
    })
}

fn digits() -> Dataset {
    vdm_data::load(&Source::Digits {}).unwrap()
}

fn step_folder(folder: &Path, step: u64) -> PathBuf {
    folder.join(format!("step-{step:08}"))
}

/// A run that saved after each of these steps, with a validation result where there is one.
fn run(folder: &Path, saved: &[(u64, Option<f64>)]) -> Checkpoints {
    run_of(&config(), folder, saved)
}

fn run_of(config: &RunConfig, folder: &Path, saved: &[(u64, Option<f64>)]) -> Checkpoints {
    let data = digits();
    let checkpoints = config.checkpoints(folder).unwrap();
    let mut trainer = config.trainer(&data, Device::Cpu).unwrap();
    let mut batches = trainer.batches(Arc::new(data.train.clone())).unwrap();
    for &(step, validation) in saved {
        while trainer.steps_done() < step {
            trainer.train_step(&batches.next().unwrap().unwrap()).unwrap();
        }
        trainer.save(&checkpoints).unwrap();
        if let Some(bits_per_dim) = validation {
            checkpoints.record_validation(step, bits_per_dim).unwrap();
        }
    }
    checkpoints
}

fn names(folder: &Path) -> Vec<String> {
    let list = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = list.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

/// Everything below a folder, to see that nothing changed.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            all.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    all
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in FILES {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// Writes the description of a checkpoint anew, with a seal that fits: as whoever wrote it on purpose.
fn rewrite(path: &Path, change: impl FnOnce(&mut Value)) {
    let (mut document, _) = vdm_files::unseal(&fs::read(path).unwrap()).unwrap();
    change(&mut document);
    fs::write(path, vdm_files::seal(&document).unwrap()).unwrap();
}

fn resume(checkpoints: &Checkpoints) -> Chosen {
    checkpoints.to_continue().unwrap().expect("there are checkpoints")
}

#[test]
fn the_last_checkpoints_and_the_best_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let saved = [(1, Some(3.0)), (2, Some(2.0)), (3, None), (4, Some(2.5)), (5, None), (6, None)];
    let checkpoints = run(folder.path(), &saved);
    assert_eq!(checkpoints.steps().unwrap(), [2, 5, 6]);
    assert_eq!(checkpoints.best().unwrap().checkpoint.info().step, 2);
    assert_eq!(resume(&checkpoints).checkpoint.info().step, 6);
    // A result that comes later decides all the same.
    checkpoints.record_validation(6, 1.5).unwrap();
    assert_eq!(checkpoints.steps().unwrap(), [5, 6]);
    let best = checkpoints.best().unwrap().checkpoint;
    assert_eq!((best.info().step, best.info().validation), (6, Some(1.5)));
    assert!(checkpoints.record_validation(7, 1.0).is_err());
    // Of equals the earlier; without any result the newest.
    let equal = tempfile::tempdir().unwrap();
    let checkpoints = run(equal.path(), &[(1, Some(2.0)), (2, Some(2.0)), (3, None)]);
    assert_eq!(checkpoints.best().unwrap().checkpoint.info().step, 1);
    let none = tempfile::tempdir().unwrap();
    let checkpoints = run(none.path(), &[(1, None), (2, None)]);
    assert_eq!(checkpoints.best().unwrap().checkpoint.info().step, 2);
}

/// Saved again at its step, one takes the place of the other and leaves nothing; two runs of one
/// configuration write the same bytes but for the seconds they took.
#[test]
fn the_same_training_has_the_same_checkpoint() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let checkpoints = run(folder.path(), &[(2, None), (4, None)]);
    run(other.path(), &[(4, None)]);
    let [first, second] = [&folder, &other].map(|f| {
        let last = step_folder(f.path(), 4);
        let mut info = read_info(&last).unwrap();
        info.seconds = 0.0;
        info.window["seconds_before"] = 0.0.into();
        (FILES[..2].iter().map(|name| fs::read(last.join(name)).unwrap()).collect::<Vec<_>>(), info)
    });
    assert_eq!(first, second);
    let trainer = config().resumed(&digits(), Device::Cpu, &resume(&checkpoints).checkpoint);
    let before = contents(folder.path());
    trainer.unwrap().save(&checkpoints).unwrap();
    assert_eq!(contents(folder.path()), before);
}

/// Sums since the last line of metrics are part of a checkpoint, where no line was due.
#[test]
fn a_window_of_metrics_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = run(folder.path(), &[(3, None), (5, None)]);
    assert_eq!(read_info(&step_folder(folder.path(), 3)).unwrap().window, Value::Null);
    let Chosen { checkpoint, .. } = resume(&checkpoints);
    let mut trainer = config().resumed(&digits(), Device::Cpu, &checkpoint).unwrap();
    assert_eq!(trainer.window().steps, 2);
    let whole = run(tempfile::tempdir().unwrap().path(), &[]);
    assert!(whole.steps().unwrap().is_empty());
    let mut uninterrupted = config().trainer(&digits(), Device::Cpu).unwrap();
    for trainer in [&mut uninterrupted, &mut trainer] {
        let mut batches = trainer.batches(Arc::new(digits().train)).unwrap();
        while trainer.steps_done() < 6 {
            trainer.train_step(&batches.next().unwrap().unwrap()).unwrap();
        }
    }
    let sums = |trainer: &DiffusionTrainer| {
        let window = trainer.window();
        (window.steps, window.loss.to_bits(), trainer.model().loss_variance().clone())
    };
    assert_eq!(sums(&trainer), sums(&uninterrupted));
    assert_eq!(trainer.window().steps, 3);
}

#[test]
fn what_is_not_of_this_run_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &[(4, None)]);
    let last = Checkpoint::read_for_training(&step_folder(folder.path(), 4)).unwrap();
    let refusal =
        |config: &RunConfig| config.resumed(&digits(), Device::Cpu, &last).unwrap_err().to_string();
    let seeded = RunConfig { seed: vdm_sample::Seed(9), ..config() };
    assert!(refusal(&seeded).contains("seed is 9, and was 1"), "{}", refusal(&seeded));
    let wider = tiny(|c| c["network"]["width"] = 16.into());
    assert!(refusal(&wider).contains("network.width is 16, and was 8"), "{}", refusal(&wider));
    let mut other = digits();
    other.sha256 = "0".repeat(64);
    let error = config().resumed(&other, Device::Cpu, &last).unwrap_err().to_string();
    assert!(error.contains("was trained on data with SHA-256"), "{error}");
    let for_sampling = Checkpoint::read(&step_folder(folder.path(), 4)).unwrap();
    let error = config().resumed(&digits(), Device::Cpu, &for_sampling).unwrap_err();
    assert!(error.to_string().contains("read_for_training"), "{error}");
    // What a run may change it may change.
    let mut longer = config();
    (longer.training.steps, longer.training.optimizer.learning_rate) = (99, 0.5);
    assert!(longer.resumed(&digits(), Device::Cpu, &last).is_ok());
}

#[test]
fn damaged_files_are_refused_by_name_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &[(4, None)]);
    let last = step_folder(folder.path(), 4);
    let refusal = || Checkpoint::read_for_training(&last).unwrap_err().to_string();
    for name in FILES {
        let file = last.join(name);
        let whole = fs::read(&file).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() - 20] ^= 1;
        for damaged in [&[][..], &whole[..whole.len() / 2], &flipped] {
            fs::write(&file, damaged).unwrap();
            let error = refusal();
            assert!(error.contains(name) && error.contains("restore the folder"), "{error}");
        }
        fs::remove_file(&file).unwrap();
        assert!(refusal().contains(name), "{}", refusal());
        fs::write(&file, whole).unwrap();
    }
    assert!(Checkpoint::read_for_training(&last).is_ok());
    let info = last.join("checkpoint.json");
    edit(&info, "\"step\": 4", "\"step\": 5");
    assert!(refusal().contains("damaged or edited"), "{}", refusal());
    rewrite(&info, |document| document["format"] = 4.into());
    assert!(refusal().contains("has format 4; this program reads format 3"), "{}", refusal());
    // As it was before fields were renamed, and before there were hashes.
    rewrite(&info, |document| document["format"] = 2.into());
    assert!(refusal().contains("format 2, which has other names of fields"), "{}", refusal());
    fs::write(&info, r#"{"format": 1, "step": 4}"#).unwrap();
    assert!(refusal().contains("format 1, which has no hashes"), "{}", refusal());
    fs::write(&info, r#"{"step": 4}"#).unwrap();
    assert!(refusal().contains("no format or no seal"), "{}", refusal());
    let empty = config().checkpoints(folder.path().join("nothing")).unwrap();
    assert!(empty.to_continue().unwrap().is_none());
    let error = empty.best().unwrap_err().to_string();
    assert!(error.contains("there is no checkpoint"), "{error}");
}

/// What a message names, and what is done to the folder of a checkpoint.
type Damage = (&'static str, fn(&Path));

/// The newest that is whole is taken, and what is newer is named; whichever of its files is damaged and
/// however.
#[test]
fn a_damaged_newest_checkpoint_falls_back_to_the_newest_whole_one() {
    let damages: [Damage; 9] = [
        ("model.safetensors", |last| truncate(&last.join("model.safetensors"))),
        ("training.safetensors", |last| truncate(&last.join("training.safetensors"))),
        ("checkpoint.json", |last| truncate(&last.join("checkpoint.json"))),
        ("checkpoint.json", |last| {
            FILES.iter().for_each(|f| fs::write(last.join(f), b"").unwrap());
        }),
        ("model.safetensors", |last| fs::remove_file(last.join("model.safetensors")).unwrap()),
        ("checkpoint.json", |last| fs::remove_file(last.join("checkpoint.json")).unwrap()),
        // One bit: 4 is 52 in ASCII, a space 32.
        ("checkpoint.json", |last| {
            edit(&last.join("checkpoint.json"), "\"step\": 4", "\"step\":  ");
        }),
        ("checkpoint.json", |last| {
            edit(&last.join("checkpoint.json"), "\"step\": 4", "\"step\": 6");
        }),
        // Somebody's doing, with a seal that fits.
        ("not of the step in its name", |last| {
            rewrite(&last.join("checkpoint.json"), |document| document["step"] = 40.into());
        }),
    ];
    for (named, damage) in damages {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = run(folder.path(), &[(2, Some(2.0)), (4, Some(1.0))]);
        damage(&step_folder(folder.path(), 4));
        let before = contents(folder.path());
        let Chosen { checkpoint, passed_over } = resume(&checkpoints);
        assert_eq!(checkpoint.info().step, 2);
        let [passed] = &passed_over[..] else { panic!("{passed_over:?}") };
        assert_eq!(passed.path, step_folder(folder.path(), 4));
        assert!(passed.why.to_string().contains(named), "{named}: {}", passed.why);
        config().resumed(&digits(), Device::Cpu, &checkpoint).unwrap();
        if named != "training.safetensors" {
            let best = checkpoints.best().unwrap();
            assert_eq!((best.checkpoint.info().step, best.passed_over.len()), (2, 1));
        }
        assert_eq!(contents(folder.path()), before, "reading changes nothing");
        // Out of the way, and all of it still there.
        let aside = checkpoints.set_aside(&passed.path).unwrap().unwrap();
        assert_eq!(names(folder.path()), ["set-aside-step-00000004", "step-00000002"]);
        assert_eq!(contents(&aside).len() + 3, before.len());
        checkpoints.clear_up().unwrap();
        assert_eq!(names(folder.path()).len(), 2);
    }
}

fn truncate(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

/// Where no checkpoint can be used that is an error that says what to do, never a start from nothing.
#[test]
fn a_run_of_damaged_checkpoints_does_not_start_again() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = run(folder.path(), &[(2, None), (4, None)]);
    for step in [2, 4] {
        truncate(&step_folder(folder.path(), step).join("training.safetensors"));
    }
    let error = checkpoints.to_continue().unwrap_err().to_string();
    for said in ["no checkpoint can be used", "restore a copy", "step-00000004", "SHA-256"] {
        assert!(error.contains(said), "{said}: {error}");
    }
    assert!(checkpoints.best().is_ok(), "the averaged weights are whole");
    let seeded = RunConfig { seed: vdm_sample::Seed(9), ..config() };
    let error = seeded.checkpoints(folder.path()).unwrap().to_continue().unwrap_err().to_string();
    assert!(error.contains("seed is 9, and was 1") && error.contains("set that back"), "{error}");
}

/// Copies, links, other spellings and checkpoints of other runs are neither taken for this run's nor
/// deleted, however long it goes on.
#[test]
fn only_what_this_run_wrote_is_ever_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = run(folder.path(), &[(1, Some(1.0)), (2, None)]);
    let at = |name: &str| folder.path().join(name);
    let foreign = tempfile::tempdir().unwrap();
    let seeded = RunConfig { seed: vdm_sample::Seed(9), ..config() };
    run_of(&seeded, foreign.path(), &[(3, Some(0.5))]);
    // The last two lie where this run will save.
    copy(&step_folder(foreign.path(), 3), &at("step-00000003"));
    copy(&at("step-00000001"), &at("step-00000004"));
    copy(&at("step-00000002"), &at("step-00000009"));
    for name in [
        "step-2",
        "step-0000000002",
        "step-+0000002",
        "step-00000002 (copy)",
        "backup",
        "unfinished-x",
    ] {
        copy(&at("step-00000002"), &at(name));
    }
    fs::write(at("step-00000077"), b"a file").unwrap();
    fs::create_dir(at("step-00000078")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(at("backup"), at("step-00000000")).unwrap();
    let strangers: Vec<String> = names(folder.path())
        .into_iter()
        .filter(|n| !n.ends_with("0001") && n != "step-00000002")
        .collect();
    let before: Vec<_> = strangers.iter().map(|name| kept(&at(name))).collect();

    let Chosen { checkpoint, passed_over } = resume(&checkpoints);
    assert_eq!(checkpoint.info().step, 2);
    let passed: Vec<String> = passed_over.iter().map(|p| p.why.to_string()).collect();
    assert_eq!(passed.len(), 4, "{passed:#?}");
    assert!(passed[0].contains("seed is 1, and was 9"), "{}", passed[0]);
    assert!(passed[1].contains("is of step 1, not of the step in its name"), "{}", passed[1]);
    assert_eq!(checkpoints.best().unwrap().checkpoint.info().step, 1);
    let error = checkpoints.of_step(3).unwrap_err().to_string();
    assert!(error.contains("is of another run"), "{error}");

    // Training that goes on without anybody having set them aside.
    let mut trainer = config().resumed(&digits(), Device::Cpu, &checkpoint).unwrap();
    let mut batches = trainer.batches(Arc::new(digits().train)).unwrap();
    while trainer.steps_done() < 8 {
        trainer.train_step(&batches.next().unwrap().unwrap()).unwrap();
        trainer.save(&checkpoints).unwrap();
        checkpoints.clear_up().unwrap();
    }
    for (name, before) in strangers.iter().zip(before) {
        let aside = at(&format!("set-aside-{name}"));
        let now = if aside.exists() { aside } else { at(name) };
        assert_eq!(kept(&now), before, "{name}");
    }
    let own: Vec<u64> = checkpoints.steps().unwrap();
    let ours = |step: &u64| checkpoints.of_step(*step).is_ok();
    assert_eq!(own.into_iter().filter(ours).collect::<Vec<_>>(), [1, 7, 8]);
}

/// The bytes of a file, or of all in a folder by their names.
fn kept(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    if path.is_file() {
        return BTreeMap::from([(PathBuf::new(), fs::read(path).unwrap())]);
    }
    let inside =
        |(file, bytes): (PathBuf, Vec<u8>)| (file.strip_prefix(path).unwrap().into(), bytes);
    contents(path).into_iter().map(inside).collect()
}

/// What a killed process leaves is never taken for a checkpoint, and goes away; one that was about to be
/// replaced comes back.
#[test]
fn what_a_killed_process_left_in_between_is_cleared_up() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = run(folder.path(), &[(2, None), (4, None)]);
    fs::rename(step_folder(folder.path(), 4), folder.path().join("unfinished-replaced-4")).unwrap();
    for name in ["unfinished-4", "unfinished-99"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("model.safetensors"), b"half").unwrap();
    }
    assert_eq!(checkpoints.steps().unwrap(), [2]);
    checkpoints.put_back().unwrap();
    assert_eq!(resume(&checkpoints).checkpoint.info().step, 4);
    checkpoints.clear_up().unwrap();
    assert_eq!(names(folder.path()), ["step-00000002", "step-00000004"]);
    // A successor that came makes the replaced one superfluous.
    copy(&step_folder(folder.path(), 4), &folder.path().join("unfinished-replaced-4"));
    checkpoints.put_back().unwrap();
    checkpoints.clear_up().unwrap();
    assert_eq!(names(folder.path()), ["step-00000002", "step-00000004"]);
}

/// A folder that was moved away under a training must not come back with nothing but a checkpoint in it.
#[test]
fn a_run_that_is_gone_is_not_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("run/checkpoints");
    let trainer = config().trainer(&digits(), Device::Cpu).unwrap();
    let error = trainer.save(&config().checkpoints(&inside).unwrap()).unwrap_err().to_string();
    assert!(error.contains("cannot create") && error.contains("run/checkpoints"), "{error}");
    assert!(!folder.path().join("run").exists());
}

/// One process saves and prunes as fast as it can while another opens what there is.
#[test]
fn a_checkpoint_can_be_opened_while_others_are_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config();
    config.output.keep = 1;
    run_of(&config, folder.path(), &[(1, Some(1.0))]);
    std::thread::scope(|scope| {
        let (folder, config) = (folder.path(), &config);
        let writer = scope.spawn(move || {
            let saved: Vec<_> = (2..=120).map(|step| (step, Some(1.0 / step as f64))).collect();
            run_of(config, folder, &saved);
        });
        let checkpoints = config.checkpoints(folder).unwrap();
        let mut opened = 0;
        while !writer.is_finished() {
            let Chosen { checkpoint, passed_over } = checkpoints.best().unwrap();
            assert!(passed_over.is_empty(), "{passed_over:?}");
            Model::of_checkpoint(&checkpoint, Device::Cpu).unwrap();
            opened += 1;
        }
        assert!(opened > 10, "{opened}");
    });
}

/// 300 random damages of each file: an error, or the very checkpoint.
#[test]
fn no_damage_of_a_checkpoint_is_used_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &[(2, Some(1.5)), (4, Some(1.25))]);
    let last = step_folder(folder.path(), 4);
    let wanted = Checkpoint::read_for_training(&last).unwrap();
    let mut chance = Chance::new(14);
    for name in FILES {
        let file = last.join(name);
        let whole = fs::read(&file).unwrap();
        for case in 0..300 {
            fs::write(&file, damaged(&whole, &mut chance)).unwrap();
            match Checkpoint::read_for_training(&last) {
                Err(Error::Checkpoint { path, .. }) => assert!(path.starts_with(&last)),
                Err(error) => panic!("{name} {case}: {error}"),
                Ok(read) => assert_eq!(read.info(), wanted.info(), "{name} {case}"),
            }
        }
        fs::write(&file, whole).unwrap();
    }
}

/// The file of another name for the same promise: an export.
#[test]
fn no_damage_of_an_export_is_used_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    run(folder.path(), &[(2, None)]);
    let checkpoint = Checkpoint::read(&step_folder(folder.path(), 2)).unwrap();
    let model = Model::of_checkpoint(&checkpoint, Device::Cpu).unwrap();
    export(&model, &file).unwrap();
    let whole = fs::read(&file).unwrap();
    for _ in 0..10 {
        export(&model, &file).unwrap();
        assert_eq!(fs::read(&file).unwrap(), whole, "the same bytes every time");
    }
    let shape = model.spec().shape;
    let mut chance = Chance::new(15);
    for case in 0..300 {
        fs::write(&file, damaged(&whole, &mut chance)).unwrap();
        if let Ok(Exported::Diffusion(imported)) = exported(&file) {
            let again = imported.model(shape, imported.values, Device::Cpu).unwrap();
            assert_eq!(again.sha256().unwrap(), model.sha256().unwrap(), "{case}");
        }
    }
}

#[test]
fn weights_that_are_not_finite_are_neither_exported_nor_used() {
    let folder = tempfile::tempdir().unwrap();
    let trainer = config().trainer(&digits(), Device::Cpu).unwrap();
    let (name, weight) = trainer.average().model().parameters().named().swap_remove(0);
    let _ = tch::no_grad(|| weight.flatten(0, -1).get(3).fill_(f64::NAN));
    let file = folder.path().join("model.safetensors");
    let error = export(trainer.average().model(), &file).unwrap_err().to_string();
    assert!(error.contains(&name) && error.contains("not finite") && !file.exists(), "{error}");
    let checkpoints = config().checkpoints(folder.path()).unwrap();
    trainer.save(&checkpoints).unwrap();
    let Chosen { checkpoint, .. } = checkpoints.best().unwrap();
    let error = Model::of_checkpoint(&checkpoint, Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("model.safetensors") && error.contains("not finite"), "{error}");
    let mut other = config().trainer(&digits(), Device::Cpu).unwrap();
    let error = other.start_from(trainer.average().model().parameters()).unwrap_err().to_string();
    assert!(error.contains("not finite"), "{error}");
}
