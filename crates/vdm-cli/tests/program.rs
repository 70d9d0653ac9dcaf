//! The `vdm` program as the system meets it: which libraries it loads, and how its threads wait.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const VDM: &str = env!("CARGO_BIN_EXE_vdm");

/// Without what cargo and this test's own run have set.
fn vdm(program: &Path) -> Command {
    let mut command = Command::new(program);
    for name in ["LD_LIBRARY_PATH", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"] {
        command.env_remove(name);
    }
    command.arg("--version");
    command
}

fn says_its_version(output: &Output) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && output.stdout.starts_with(b"vdm "), "{error}");
}

/// Programs of a checkout below a folder that others can write to: all places where libtorch was once
/// looked for, relative to the program and to the current folder, hold libraries that are none.
#[test]
fn no_library_is_loaded_from_a_planted_folder() {
    let dir = tempfile::tempdir().unwrap();
    let checkout = dir.path().join("checkout");
    let current = checkout.join("crates/vdm-cli");
    let places =
        ["target/debug", "target/debug/deps", "target/x86_64-unknown-linux-gnu/debug", "bin"];
    for folder in places.map(|place| checkout.join(place)).iter().chain([&current]) {
        fs::create_dir_all(folder).unwrap();
        for above in folder.ancestors().take_while(|above| above.starts_with(dir.path())) {
            for planted in
                [above.join("third_party/libtorch/lib"), above.join("lib"), above.to_path_buf()]
            {
                fs::create_dir_all(&planted).unwrap();
                for name in
                    ["libtorch_cpu.so", "libc10.so", "libgcc_s.so.1", "libm.so.6", "libc.so.6"]
                {
                    fs::write(planted.join(name), "no library").unwrap();
                }
            }
        }
    }
    for place in places {
        let program = checkout.join(place).join("vdm");
        fs::copy(VDM, &program).unwrap();
        says_its_version(&vdm(&program).current_dir(&current).output().unwrap());
    }
}

/// The loader prints which library's calls it leads where: memory is taken from the program's allocator and given back
/// to it by libtorch too.
#[test]
fn libtorch_has_the_programs_allocator() {
    let output = vdm(Path::new(VDM)).env("LD_DEBUG", "bindings").output().unwrap();
    says_its_version(&output);
    let text = String::from_utf8_lossy(&output.stderr);
    for function in ["malloc", "free", "posix_memalign"] {
        let symbol = format!("symbol `{function}'");
        let places: Vec<&str> = text
            .lines()
            .filter(|line| line.contains(&symbol) && line.contains("libtorch_cpu.so [0] to "))
            .filter_map(|line| line.split(" to ").nth(1)?.split(" [0]").next())
            .collect();
        assert!(!places.is_empty() && places.iter().all(|place| *place == VDM), "{places:?}");
    }
}

/// libgomp prints what it was told.
#[test]
fn waiting_threads_sleep_unless_the_user_decides() {
    let settings = |name: &str, value: &str| {
        let mut command = vdm(Path::new(VDM));
        if !name.is_empty() {
            command.env(name, value);
        }
        let output = command.env("OMP_DISPLAY_ENV", "verbose").output().unwrap();
        says_its_version(&output);
        let text = String::from_utf8(output.stderr).unwrap();
        let of = |name: &str| -> String {
            let lines: Vec<&str> = text.lines().filter(|line| line.contains(name)).collect();
            assert_eq!(lines.len(), 1, "{text}");
            lines[0].rsplit('=').next().unwrap().trim_matches([' ', '\'']).to_owned()
        };
        [of("OMP_WAIT_POLICY"), of("GOMP_SPINCOUNT")]
    };
    assert_eq!(settings("", ""), ["PASSIVE", "0"]);
    assert_eq!(settings("GOMP_SPINCOUNT", "77")[1], "77");
    assert_eq!(settings("OMP_WAIT_POLICY", "active")[0], "ACTIVE");
    // Any other variable is passed on as it was.
    assert_eq!(settings("OMP_WAIT_POLICY_OF_MINE", "active"), ["PASSIVE", "0"]);
}
