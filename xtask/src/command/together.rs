//! `cargo xtask bench --together`: how much longer each of two programs takes beside the other.
//!
//! Two on a machine whose cores either of them fills take twice as long, and no longer where threads that
//! wait leave the cores to those that work. The table has both ways to wait, each alone and beside itself.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::cargo;
use crate::checkout::Checkout;
use crate::terminal;

/// Twice, and a tenth for what they take from each other's caches.
const MOST: f64 = 2.2;
/// The least of so many: other work on the machine only adds.
const ROUNDS: usize = 3;

/// How threads wait, for the table and for libgomp.
const WAYS: [(&str, Option<(&str, &str)>); 2] = [
    ("asleep (vdm's default)", None),
    ("spinning (libgomp's)", Some(("GOMP_SPINCOUNT", "300000"))),
];

/// What one program or two took: seconds until the last has ended, and of processor time each.
#[derive(Debug, Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
}

/// Measures, prints a table, and holds vdm's own way of waiting to [`MOST`].
///
/// # Errors
///
/// If a program fails, or two take more than [`MOST`] times as long as one.
pub(crate) fn run(checkout: &Checkout) -> Result<()> {
    let vdm = cargo::build_program(checkout)?;
    let place = Checkout::target_dir()?.join("together");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir_all(&place)?;
    let train = |out: PathBuf| {
        let mut command = Command::new(&vdm);
        command.args([
            "train",
            "--preset",
            "digits",
            "--steps",
            "200",
            "--set",
            "evaluation.draws=1",
        ]);
        command.args(["--set", "sampler.steps=5", "--set", "output.samples=4", "--out"]).arg(out);
        command
    };
    let model = place.join("model");
    wait(&mut [start(train(model.clone()), None)?])?;
    let sample = |out: PathBuf| {
        let mut command = Command::new(&vdm);
        command
            .arg("sample")
            .arg("--run")
            .arg(&model)
            .args(["--count", "16", "--steps", "60", "--out"]);
        command.arg(out.with_extension("png"));
        command
    };
    terminal::print(
        "| command | threads that wait are | alone, s | CPU s | beside another, s | CPU s each | times as long |",
    )?;
    terminal::print("|---|---|---:|---:|---:|---:|---:|")?;
    let mut worst: f64 = 0.0;
    for (name, command) in [("train", &train as &dyn Fn(PathBuf) -> Command), ("sample", &sample)] {
        for (way, setting) in WAYS {
            let alone = least(1, command, &place, setting)?;
            let beside = least(2, command, &place, setting)?;
            let ratio = beside.wall / alone.wall;
            terminal::print(format_args!(
                "| {name} | {way} | {:.1} | {:.1} | {:.1} | {:.1} | {ratio:.2} |",
                alone.wall, alone.cpu, beside.wall, beside.cpu
            ))?;
            if setting.is_none() {
                worst = worst.max(ratio);
            }
        }
    }
    ensure!(
        worst <= MOST,
        "two at once took {worst:.2} times as long as one, at most {MOST} is promised"
    );
    Ok(())
}

/// The least of [`ROUNDS`] times that `count` programs are run at once.
fn least(
    count: usize,
    command: &dyn Fn(PathBuf) -> Command,
    place: &Path,
    setting: Option<(&str, &str)>,
) -> Result<Cost> {
    let mut least = Cost { wall: f64::INFINITY, cpu: f64::INFINITY };
    for _ in 0..ROUNDS {
        let cost = once(count, command, place, setting)?;
        least = Cost { wall: least.wall.min(cost.wall), cpu: least.cpu.min(cost.cpu) };
    }
    Ok(least)
}

fn once(
    count: usize,
    command: &dyn Fn(PathBuf) -> Command,
    place: &Path,
    setting: Option<(&str, &str)>,
) -> Result<Cost> {
    let outs: Vec<PathBuf> = (0..count).map(|index| place.join(format!("run-{index}"))).collect();
    for out in &outs {
        crate::cache::remove(out)?;
    }
    let cpu_before = children_cpu_seconds()?;
    let start_time = Instant::now();
    let mut children =
        outs.into_iter().map(|out| start(command(out), setting)).collect::<Result<Vec<Child>>>()?;
    wait(&mut children)?;
    let wall = start_time.elapsed().as_secs_f64();
    Ok(Cost { wall, cpu: (children_cpu_seconds()? - cpu_before) / count as f64 })
}

/// With the way of waiting that is asked for, whatever the environment says.
fn start(mut command: Command, setting: Option<(&str, &str)>) -> Result<Child> {
    command.env_remove("OMP_WAIT_POLICY").env_remove("GOMP_SPINCOUNT");
    command.envs(setting.map(|(name, value)| (OsStr::new(name), OsStr::new(value))));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().with_context(|| format!("cannot start {}", cargo::shown(&command)))
}

fn wait(children: &mut [Child]) -> Result<()> {
    for child in children {
        let status = child.wait()?;
        ensure!(status.success(), "a program that is measured ended with {status}");
    }
    Ok(())
}

/// Of all children that have ended, in user and system mode.
fn children_cpu_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat").context("measuring needs Linux's /proc")?;
    cpu_seconds(&stat).context("/proc/self/stat is not as it is documented")
}

/// Fields 16 and 17, in hundredths, counted after the name in parentheses, which may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(13).take(2).map(str::parse::<f64>);
    let [user, system] = ticks.collect::<Result<Vec<_>, _>>().ok()?.try_into().ok()?;
    Some((user + system) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_children_is_read_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 9 8 7 6 5 4 250 50 20 0 1 0 99";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("7 (a) S 1"), None);
    }
}
