//! `kill -9` at moments spread over everything a command does.

use crate::program::{self, Home, Reference, how_many, place, spawn};

/// Kills in a row before a command is left to finish.
const IN_A_ROW: usize = 8;

/// Multiples of the golden ratio modulo 1 spread evenly and do not repeat.
fn moment(index: usize) -> f64 {
    (index as f64 * 0.618_033_988_749).fract()
}

/// Kills a command again and again, begins it again each time, and lets it finish after some: nothing
/// half-written ever stands under a final name, and the end is what it would have been. A kill after the end tells
/// nothing and is not counted: on a machine that changes its speed many come late.
fn survives(reference: &Reference, home: Option<&Home>, kills: usize) {
    let task = &reference.task;
    let (mut tried, mut done) = (0, 0);
    while done < kills {
        let folder = place(home);
        let folder = folder.path();
        let mut begun = false;
        for _ in 0..IN_A_ROW.min(kills - done) {
            assert!(
                tried < 4 * kills + 8,
                "{}: most kills come too late to tell anything",
                task.name
            );
            let mut child = spawn(folder, if begun { &task.again } else { &task.arguments });
            std::thread::sleep(reference.duration.mul_f64(1.1 * moment(tried)));
            done += usize::from(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            child.wait().unwrap();
            tried += 1;
            reference.holds_no_half(folder);
            // A run that has no folder yet cannot be resumed, only begun.
            begun = folder.join("run/config.json").is_file() || task.again == task.arguments;
            if reference.is_done(folder) {
                break;
            }
        }
        if !reference.is_done(folder) {
            let again = if begun { &task.again } else { &task.arguments };
            let output = program::vdm(folder, again).output().expect("vdm starts");
            assert!(output.status.success(), "{}: {}", task.name, program::complaint(&output));
        }
        reference.equals(folder);
    }
    println!(
        "{:<18} {done} kills, {} more came after its end: 0 lost, 0 half-written",
        task.name,
        tried - done
    );
}

/// The kills, dealt out to the commands; training gets the most.
#[test]
fn a_killed_command_leaves_nothing_half_written_and_ends_in_the_same_bytes() {
    let kills = how_many("VDM_FAULT_KILLS", 24);
    for task in [program::train_digits(), program::train_swirl()] {
        survives(&Reference::of(task, None), None, kills / 4);
    }
    for task in program::train_hierarchies() {
        survives(&Reference::of(task, None), None, kills / 50 + 2);
    }
    let home = Home::new();
    let commands = [
        program::sample(),
        program::eval(),
        program::compress(),
        program::decompress(),
        program::import(),
        program::export(),
    ];
    for task in commands {
        survives(&Reference::of(task, Some(&home)), Some(&home), kills / 12 + 1);
    }
}

/// Nothing of what a killed process was writing stays for good.
#[test]
fn what_a_killed_process_was_writing_is_cleared_away() {
    let home = Home::new();
    let reference = Reference::of(program::sample(), Some(&home));
    let folder = home.copied();
    for index in 0..how_many("VDM_FAULT_KILLS", 24) / 4 {
        let mut child = spawn(folder.path(), &reference.task.arguments);
        // Towards the end, where it writes.
        std::thread::sleep(reference.duration.mul_f64(0.8 + 0.3 * moment(index)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let output = program::vdm(folder.path(), &reference.task.arguments).output().unwrap();
    assert!(output.status.success(), "{}", program::complaint(&output));
    let left = std::fs::read_dir(folder.path()).unwrap().flatten();
    let left: Vec<_> = left.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    assert!(left.iter().all(|name| !name.ends_with(".tmp")), "{left:?}");
}
