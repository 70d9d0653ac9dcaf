//! Signals that a process can answer, and being stopped and continued, which it does not notice.

use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::program::{self, Home, Reference, complaint, how_many, place, signal, spawn};

/// Long enough for a machine with other work, far below what any of the commands would go on for.
const PATIENCE: Duration = Duration::from_secs(20);

fn ends(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    panic!("it did not end within {PATIENCE:?} of being asked to");
}

/// SIGTERM and SIGINT at moments spread over a training, resumed each time.
#[test]
fn a_training_that_is_asked_to_stop_can_be_continued() {
    for task in [program::train_digits(), program::train_swirl()] {
        let reference = Reference::of(task, None);
        let folder = place(None);
        let (folder, task) = (folder.path(), &reference.task);
        let rounds = how_many("VDM_FAULT_KILLS", 24) / 4;
        for round in 0..rounds {
            if reference.is_done(folder) {
                break;
            }
            let begun = folder.join("run/config.json").is_file();
            let mut child = spawn(folder, if begun { &task.again } else { &task.arguments });
            let share = (round as f64 * 0.618_033_988_749).fract();
            std::thread::sleep(reference.duration.mul_f64(share));
            signal(&child, if round % 2 == 0 { "TERM" } else { "INT" });
            ends(&mut child);
            reference.holds_no_half(folder);
        }
        if !reference.is_done(folder) {
            let begun = folder.join("run/config.json").is_file();
            let again = if begun { &task.again } else { &task.arguments };
            let output = program::vdm(folder, again).output().unwrap();
            assert!(output.status.success(), "{}", complaint(&output));
        }
        reference.equals(folder);
        println!("{:<16} stopped and continued {rounds} times: the same bytes", task.name);
    }
}

/// What goes on for minutes ends when it is asked to, says so, and leaves nothing under its final name.
#[test]
fn a_long_command_ends_soon_after_it_is_asked_to() {
    let home = Home::new();
    let lines: [(&str, &str); 4] = [
        ("sample", "sample --run run --count 4000 --steps 100000 --threads 1 --out long.png"),
        ("eval", "eval --run run --draws 1024 --rounds 100000 --threads 1 --out long.json"),
        (
            "eval (ode)",
            "eval --run run --estimator ode --tolerance 1e-9 --threads 1 --out long.json",
        ),
        ("compress", "compress --run run --steps 100000 --threads 1 --out long.vdmz"),
    ];
    for (name, line) in lines {
        let folder = home.copied();
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let mut command = program::vdm(folder.path(), &arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_secs(2));
        assert!(child.try_wait().unwrap().is_none(), "{name}: it was to go on for minutes");
        signal(&child, "TERM");
        let asked = Instant::now();
        let status = ends(&mut child);
        let output = child.wait_with_output().unwrap();
        let said = complaint(&output);
        assert!(!status.success() && said.contains("stopping"), "{name}: {status}, {said}");
        for file in ["long.png", "long.npy", "long.json", "long.vdmz"] {
            assert!(!folder.path().join(file).exists(), "{name} left {file}");
        }
        println!("{name:<16} ended {:.1} s after it was asked to", asked.elapsed().as_secs_f64());
    }
}

/// A laptop that sleeps, a scheduler that suspends.
#[test]
fn a_stopped_process_goes_on_as_if_nothing_had_happened() {
    let home = Home::new();
    let training = Reference::of(program::train_digits(), None);
    let sampling = Reference::of(program::sample(), Some(&home));
    for (reference, home) in [(&training, None), (&sampling, Some(&home))] {
        let folder = place(home);
        let mut child = spawn(folder.path(), &reference.task.arguments);
        for _ in 0..5 {
            std::thread::sleep(reference.duration / 8);
            signal(&child, "STOP");
            std::thread::sleep(Duration::from_millis(100));
            signal(&child, "CONT");
        }
        assert!(child.wait().unwrap().success());
        reference.equals(folder.path());
    }
}
