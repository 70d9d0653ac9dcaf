//! The program under test, the commands it is tried with, and what they have to leave.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Keys whose values tell the time rather than a result, and the seal that covers them.
const CLOCK: [&str; 4] = ["seconds", "seconds_before", "images_per_second", "seal"];

/// How many of a kind of fault are tried: `few` in the normal tests, else what the variable asks for.
pub(crate) fn how_many(variable: &str, few: usize) -> usize {
    let asked = std::env::var(variable).ok();
    asked.map_or(few, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}: a number")))
}

/// `vdm` in a folder, silent until asked.
pub(crate) fn vdm(folder: &Path, arguments: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vdm"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command
}

/// `vdm` behind a line of shell, which ends in `exec "$@"`.
pub(crate) fn under(shell: &str, folder: &Path, arguments: &[String]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", shell, "sh", env!("CARGO_BIN_EXE_vdm")]).args(arguments);
    command.current_dir(folder).stdin(Stdio::null());
    command
}

/// A child without a voice.
pub(crate) fn spawn(folder: &Path, arguments: &[String]) -> Child {
    let mut command = vdm(folder, arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("vdm starts")
}

/// Sends a signal by its name.
pub(crate) fn signal(child: &Child, name: &str) {
    // The shell's own `kill`: the program of that name is not on every machine.
    let line = format!("kill -{name} {}", child.id());
    // A process that has ended by itself takes no signal, which is no fault.
    let _ = Command::new("sh").args(["-c", &line]).stderr(Stdio::null()).status();
}

/// What a process said on standard error.
pub(crate) fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A command and the names it leaves something under, in a folder that holds what it reads.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) name: &'static str,
    pub(crate) arguments: Vec<String>,
    /// The same begun again after an interruption.
    pub(crate) again: Vec<String>,
    /// Files or folders it makes.
    pub(crate) outputs: Vec<&'static str>,
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

impl Task {
    fn new(name: &'static str, line: &str, outputs: &[&'static str]) -> Self {
        let arguments = words(line);
        Self { name, again: arguments.clone(), arguments, outputs: outputs.to_vec() }
    }

    fn train(name: &'static str, preset: &str, model: &str) -> Self {
        let line = format!(
            "train --preset {preset} --out run --threads 1 --steps 24 {model} \
             --set evaluation.draws=1 --set output.samples=12 \
             --set output.log_every=5 --set output.checkpoint_every=3 --set output.keep=100 \
             --set output.validate_every=8 --set output.validation_items=32 \
             --set output.sample_every=12"
        );
        let again = words("train --resume run --threads 1");
        Self { again, ..Self::new(name, &line, &["run"]) }
    }
}

/// A tiny U-Net on digits.
pub(crate) fn train_digits() -> Task {
    let model = "--set network.width=8 --set network.depth=1 --set network.groups=2 \
                 --set sampler.steps=3";
    Task::train("train (digits)", "digits", model)
}

/// A tiny network on points, its levels adaptive.
pub(crate) fn train_swirl() -> Task {
    let model = "--set network.width=16 --set sampler.steps=3 --batch 64";
    Task::train("train (swirl)", "swirl", model)
}

/// A small model of each family of hierarchies, on digits.
pub(crate) fn train_hierarchies() -> [Task; 4] {
    [
        ("train (vae)", "digits-vae"),
        ("train (bottom-up)", "digits-hvae-bottom-up"),
        ("train (ladder)", "digits-ladder"),
        ("train (top-down)", "digits-hvae-top-down"),
    ]
    .map(|(name, preset)| Task::train(name, preset, "--set hierarchy.width=8 --batch 8"))
}

/// Images of the digits' size that any component takes 256 values in.
const DATA: &str = "given-data.npy";

/// A folder with a finished run, one of a hierarchy, a file compressed with the first and an exported model, as
/// other commands need them.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) folder: tempfile::TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        let home = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        let pixels: Vec<u8> = (0..60 * 64_u32).map(|i| (i * i % 251) as u8).collect();
        vdm_report::npy::write(&home.path().join(DATA), &pixels, &[60, 8, 8]).unwrap();
        let arguments = [train_digits().arguments, vec!["--data".into(), DATA.into()]].concat();
        let [hierarchy, ..] = train_hierarchies();
        home.completes(&hierarchy.arguments);
        fs::rename(home.path().join("run"), home.path().join("hierarchy")).unwrap();
        home.completes(&arguments);
        for task in [compress(), export()] {
            home.completes(&task.arguments);
            let name = task.outputs[0];
            fs::rename(home.path().join(name), home.path().join(format!("given-{name}"))).unwrap();
        }
        home
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn completes(&self, arguments: &[String]) {
        let output = vdm(self.path(), arguments).output().expect("vdm starts");
        assert!(output.status.success(), "{arguments:?}: {}", complaint(&output));
    }

    /// A copy to do harm in. Files are shared until they are replaced: none may be written in place.
    pub(crate) fn copied(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().expect("a temporary folder");
        link_all(self.path(), copy.path());
        copy
    }
}

fn link_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            link_all(&entry.path(), &target);
        } else if is_appended(&entry.path()) {
            fs::copy(entry.path(), target).unwrap();
        } else {
            fs::hard_link(entry.path(), target).unwrap();
        }
    }
}

/// Whether a file grows in place.
fn is_appended(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".jsonl") || name.contains("tfevents") || name == ".lock"
}

pub(crate) fn sample() -> Task {
    let line = "sample --run run --count 6 --steps 12 --threads 1 --out s.png --latents l.npy";
    Task::new("sample", line, &["s.png", "s.npy", "l.npy"])
}

pub(crate) fn eval() -> Task {
    let line = "eval --run run --items 12 --steps 6 --draws 6 --threads 1 --out e.json";
    Task::new("eval", line, &["e.json"])
}

pub(crate) fn compress() -> Task {
    let line = "compress --run run --items 12 --steps 4 --threads 1 --out c.vdmz";
    Task::new("compress", line, &["c.vdmz"])
}

pub(crate) fn decompress() -> Task {
    Task::new("decompress", "decompress --run run given-c.vdmz --out pictures", &["pictures"])
}

pub(crate) fn export() -> Task {
    Task::new("export", "export --run run --out m.safetensors", &["m.safetensors"])
}

pub(crate) fn import() -> Task {
    let line = format!("import --from vdm given-m.safetensors --data {DATA} --out imported");
    Task::new("import", &line, &["imported"])
}

/// What stands under a name that is not a temporary one, by path, with the clock taken out of it.
pub(crate) fn standing(folder: &Path, outputs: &[&str]) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for output in outputs {
        gather(folder, Path::new(output), &mut found);
    }
    found
}

fn gather(folder: &Path, relative: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    let path = folder.join(relative);
    if is_temporary(relative) {
        return;
    }
    if path.is_dir() {
        for entry in fs::read_dir(&path).unwrap().flatten() {
            gather(folder, &relative.join(entry.file_name()), found);
        }
    } else if let Ok(bytes) = fs::read(&path) {
        found.insert(relative.to_owned(), timeless(folder, relative, bytes));
    }
}

/// Names of what is being written, and of what belongs to a process rather than to its result.
fn is_temporary(relative: &Path) -> bool {
    let name = relative.file_name().unwrap_or_default().to_string_lossy();
    // The log of timings, and an events file, which has the time in its name too.
    let of_the_clock = name == "timings.jsonl" || name.contains("tfevents");
    name.starts_with('.') || name.starts_with("unfinished-") || of_the_clock
}

/// JSON without times, and without the folder it was made in; a page of HTML, which shows times, by whether
/// it is whole.
fn timeless(folder: &Path, path: &Path, bytes: Vec<u8>) -> Vec<u8> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("json") => {
            let mut document: Value = serde_json::from_slice(&bytes)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            strip(&mut document);
            let place = folder.display().to_string();
            document.to_string().replace(&place, "FOLDER").into_bytes()
        }
        Some("html") => bytes.ends_with(b"</html>").to_string().into_bytes(),
        _ => bytes,
    }
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !CLOCK.contains(&key.as_str()));
            map.values_mut().for_each(strip);
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}

/// A task, what it leaves when nothing happens, and how long that takes.
#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) task: Task,
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
    pub(crate) duration: Duration,
}

impl Reference {
    /// Runs a task in a copy of `home`, or in an empty folder.
    pub(crate) fn of(task: Task, home: Option<&Home>) -> Self {
        let folder = place(home);
        let start = Instant::now();
        let output = vdm(folder.path(), &task.arguments).output().expect("vdm starts");
        let duration = start.elapsed();
        assert!(output.status.success(), "{}: {}", task.name, complaint(&output));
        let files = standing(folder.path(), &task.outputs);
        assert!(!files.is_empty(), "{} leaves nothing", task.name);
        Self { task, files, duration }
    }

    /// That what stands in a folder is a part of what should; of training also what comes before.
    pub(crate) fn holds_no_half(&self, folder: &Path) {
        // These grow or are replaced as training goes on; JSON was seen to be whole when it was read. A
        // checkpoint learns of its validation after it was saved.
        let moving = ["metrics.jsonl", "noise_levels.json", "checkpoint.json"];
        for (path, bytes) in standing(folder, &self.task.outputs) {
            if !is_extra(&path, &self.files) && !moving.iter().any(|name| path.ends_with(name)) {
                let (name, shown) = (self.task.name, path.display());
                assert!(self.files[&path] == bytes, "{name}: {shown} is not whole");
            }
        }
    }

    /// That all that should stand in a folder does, and nothing else.
    pub(crate) fn equals(&self, folder: &Path) {
        let found = standing(folder, &self.task.outputs);
        found.keys().for_each(|path| {
            is_extra(path, &self.files);
        });
        for (path, bytes) in &self.files {
            let (name, shown) = (self.task.name, path.display());
            let there = found.get(path).unwrap_or_else(|| panic!("{name}: there is no {shown}"));
            assert!(there == bytes, "{name}: {shown} differs");
        }
    }

    /// Whether the task has left all it makes.
    pub(crate) fn is_done(&self, folder: &Path) -> bool {
        let found = standing(folder, &self.task.outputs);
        self.files.keys().all(|path| found.contains_key(path))
    }
}

/// Whether a file is of a checkpoint that a request to stop made, between those that are due; nothing else may
/// be there that should not.
fn is_extra(path: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) -> bool {
    let extra = !files.contains_key(path);
    assert!(!extra || path.starts_with("run/checkpoints"), "{} is new", path.display());
    extra
}

/// A copy of a home, or an empty folder.
pub(crate) fn place(home: Option<&Home>) -> tempfile::TempDir {
    home.map_or_else(|| tempfile::tempdir().expect("a temporary folder"), Home::copied)
}
