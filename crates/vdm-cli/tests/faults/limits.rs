//! Disks that are full or cannot be written, files that may not grow, descriptors that run out, a clock
//! that goes back.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::program::{self, Home, Reference, Task, complaint, place, standing, under};

/// An error in words, rather than a signal, a panic or silence.
fn is_an_error(name: &str, shell: &str, output: &Output) {
    let said = complaint(output);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{name} under `{shell}`: {output:?}");
    assert!(said.contains("error") && !said.contains("panicked"), "{name} under `{shell}`: {said}");
}

/// Runs a task under a limit, in a folder of its own: it must succeed with the right bytes, or fail in words
/// and leave nothing half-written. What it left is no obstacle once the limit is gone.
fn limited(reference: &Reference, home: Option<&Home>, shell: &str) -> bool {
    let folder = place(home);
    let (folder, task) = (folder.path(), &reference.task);
    let output = under(shell, folder, &task.arguments).output().expect("sh starts");
    if output.status.success() {
        reference.equals(folder);
        return false;
    }
    is_an_error(task.name, shell, &output);
    reference.holds_no_half(folder);
    finishes(reference, folder);
    true
}

fn finishes(reference: &Reference, folder: &Path) {
    let task = &reference.task;
    let begun = folder.join("run/config.json").is_file();
    let again = if begun { &task.again } else { &task.arguments };
    if !reference.is_done(folder) {
        let output = program::vdm(folder, again).output().unwrap();
        assert!(output.status.success(), "{}: {}", task.name, complaint(&output));
    }
    reference.equals(folder);
}

fn references(home: &Home) -> Vec<(Reference, Option<&Home>)> {
    let training = Reference::of(program::train_digits(), None);
    let tasks: [fn() -> Task; 6] = [
        program::sample,
        program::eval,
        program::compress,
        program::decompress,
        program::import,
        program::export,
    ];
    let others = tasks.map(|task| (Reference::of(task(), Some(home)), Some(home)));
    std::iter::once((training, None)).chain(others).collect()
}

/// `ulimit -f`: each write beyond fails, as on a full disk.
#[test]
fn a_file_that_may_not_grow_is_an_error() {
    let home = Home::new();
    for (reference, home) in references(&home) {
        let failed = [0, 1, 8, 64]
            .map(|blocks| limited(&reference, home, &format!("ulimit -f {blocks}; exec \"$@\"")));
        assert!(failed[0], "{}: it wrote nothing at all", reference.task.name);
        println!(
            "{:<16} failed in words under limits of 0, 1, 8, 64 blocks: {failed:?}",
            reference.task.name
        );
    }
}

/// `ulimit -n`: too few for the libraries themselves is the loader's error, not the program's.
#[test]
fn few_descriptors_are_an_error() {
    let home = Home::new();
    for (reference, home) in references(&home) {
        for descriptors in [5, 6, 7, 8, 9, 10, 12, 16] {
            let shell = format!("ulimit -n {descriptors}; exec \"$@\"");
            limited(&reference, home, &shell);
        }
    }
}

/// What cannot be printed is not printed: the exit code says so.
#[test]
fn results_that_cannot_be_printed_are_an_error() {
    let home = Home::new();
    for line in
        ["eval --run run --items 2 --draws 2", "solvers", "presets digits", "report --run run"]
    {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let full = under("exec \"$@\" > /dev/full", home.path(), &arguments).output().unwrap();
        is_an_error(line, "> /dev/full", &full);
        // A reader that has seen enough is no fault.
        let mut command = under("\"$@\" | head -c 1; exit 0", home.path(), &arguments);
        let closed = command.stdout(Stdio::piped()).output().unwrap();
        assert!(complaint(&closed).is_empty(), "{line}: {}", complaint(&closed));
    }
}

/// Whether this machine lets us have a mount of our own.
fn mounts() -> bool {
    let mut probe = Command::new("unshare");
    probe.args(["--mount", "--map-root-user", "true"]).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}

/// Runs a task in a folder that `mount` was run for, then copies what stands there to a folder that works.
fn mounted(reference: &Reference, home: Option<&Home>, mount: &str) {
    let folder = place(home);
    let (folder, task) = (folder.path(), &reference.task);
    let kept = tempfile::tempdir().unwrap();
    let shell = format!(
        "cp -a . \"$KEPT\" && {mount} && cd \"$PWD\" && cp -a \"$KEPT\"/. . 2>/dev/null; \
         \"$@\"; code=$?; find \"$KEPT\" -mindepth 1 -delete; cp -a . \"$KEPT\"; exit $code"
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", &shell, "sh"]);
    command.arg(env!("CARGO_BIN_EXE_vdm")).args(&task.arguments);
    command.current_dir(folder).env("KEPT", kept.path()).stdin(Stdio::null());
    let output = command.output().unwrap();
    if output.status.success() {
        reference.equals(kept.path());
    } else {
        is_an_error(task.name, mount, &output);
        reference.holds_no_half(kept.path());
        finishes(reference, kept.path());
    }
}

#[test]
fn a_full_disk_is_an_error() {
    if !mounts() {
        println!("skipped: no mount of our own on this machine");
        return;
    }
    let home = Home::new();
    // A run that was imported names the folder of its data, and this one is looked at from elsewhere.
    let elsewhere = |reference: &Reference| reference.task.name != "import";
    for (reference, home) in references(&home).into_iter().filter(|(r, _)| elsewhere(r)) {
        let taken = home.map_or(0, |home| kilobytes(home.path()));
        for room in [4, 32, 256] {
            let size = taken + room;
            mounted(&reference, home, &format!("mount -t tmpfs -o size={size}k tmpfs \"$PWD\""));
        }
    }
}

/// What a folder takes on a disk in pages, in KiB.
fn kilobytes(folder: &Path) -> usize {
    let pages =
        |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len().div_ceil(4096) as usize + 1);
    let entries = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    entries.map(|path| if path.is_dir() { 4 + kilobytes(&path) } else { 4 * pages(&path) }).sum()
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error() {
    if !mounts() {
        println!("skipped: no mount of our own on this machine");
        return;
    }
    let home = Home::new();
    for (reference, home) in references(&home) {
        let folder = place(home);
        let shell = "mount --bind \"$PWD\" \"$PWD\" && mount -o remount,ro,bind \"$PWD\" && \
                     cd \"$PWD\" && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-c", shell, "sh"]);
        command.arg(env!("CARGO_BIN_EXE_vdm")).args(&reference.task.arguments);
        let output = command.current_dir(folder.path()).stdin(Stdio::null()).output().unwrap();
        is_an_error(reference.task.name, "ro", &output);
        assert!(standing(folder.path(), &reference.task.outputs).is_empty());
    }
}

/// Where the program `faketime` is installed.
#[test]
fn a_clock_set_back_changes_nothing() {
    if Command::new("faketime").arg("--version").output().is_err() {
        println!("skipped: faketime is not installed");
        return;
    }
    let reference = Reference::of(program::train_digits(), None);
    let folder = place(None);
    let (folder, task) = (folder.path(), &reference.task);
    let stopped: Vec<String> = task.arguments.clone();
    let first = under("ulimit -f 64; exec \"$@\"", folder, &stopped).output().unwrap();
    assert!(!first.status.success());
    let shell = "exec faketime -f '-400d' \"$@\"";
    let begun = folder.join("run/config.json").is_file();
    let again = if begun { &task.again } else { &task.arguments };
    let output = under(shell, folder, again).output().unwrap();
    assert!(output.status.success(), "{}", complaint(&output));
    reference.equals(folder);
}
