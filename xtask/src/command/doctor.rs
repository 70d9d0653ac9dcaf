//! `cargo xtask doctor`: what training needs, what is there, and what to do about the difference.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::cache::{Cache, bytes_below, free_bytes, megabytes};
use crate::cargo;
use crate::checkout::Checkout;
use crate::command::no_options;
use crate::install;
use crate::libtorch::{Libtorch, VERSION};
use crate::search::{Device, Want};
use crate::{link, machine, rpath, terminal, trust};

pub(crate) const HELP: &str = "\
Looks at everything that training needs: toolchain, environment, C++ compiler, Python and pip,
libtorch, GPU, cache, disk. Each fault comes with its remedy; exit status 1 if training cannot run.

Usage: cargo xtask doctor";

/// The NVIDIA driver that brought CUDA 13.0.
const LEAST_DRIVER: u32 = 580;

/// The verdict on one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Fine,
    /// Training runs, but perhaps not as wished.
    Note,
    /// Training cannot run.
    Fault,
}

#[derive(Debug)]
struct Finding {
    subject: &'static str,
    verdict: Verdict,
    text: String,
    remedy: Option<String>,
}

impl Finding {
    fn fine(subject: &'static str, text: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Fine, text: text.into(), remedy: None }
    }

    fn note(subject: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Note, text: text.into(), remedy: Some(remedy.into()) }
    }

    fn fault(subject: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Fault, text: text.into(), remedy: Some(remedy.into()) }
    }

    fn shown(&self) -> String {
        let mark = match self.verdict {
            Verdict::Fine => "ok   ",
            Verdict::Note => "note ",
            Verdict::Fault => "FAULT",
        };
        let mut lines = format!("{mark} {:<11} {}", self.subject, self.text);
        if let Some(remedy) = &self.remedy {
            lines += &format!("\n{:17} → {remedy}", "");
        }
        lines
    }
}

/// Runs the command.
///
/// # Errors
///
/// On arguments; everything else it finds is a finding.
pub(crate) fn run(args: Vec<OsString>) -> Result<ExitCode> {
    no_options(args)?;
    let checkout = Checkout::current()?;
    let linked = link::current(&checkout);
    let mut findings = vec![toolchain(), compiler()];
    findings.extend(environment(&checkout));
    findings.push(python(linked.is_ok()));
    findings.push(libtorch(&linked));
    findings.push(gpu(linked.as_ref().ok()));
    findings.extend(cache(linked.is_ok()));
    for finding in &findings {
        terminal::print(finding.shown())?;
    }
    let broken = findings.iter().any(|finding| finding.verdict == Verdict::Fault);
    terminal::print(if broken { "\ntraining cannot run yet" } else { "\ntraining can run" })?;
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The first line that a program prints, if it runs at all.
fn first_line(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| text.lines().next().unwrap_or_default().to_owned())
}

fn toolchain() -> Finding {
    match first_line("rustc", &["--version"]) {
        Some(version) => Finding::fine("toolchain", version),
        None => {
            Finding::fault("toolchain", "rustc does not run", "install Rust from https://rustup.rs")
        }
    }
}

fn compiler() -> Finding {
    let name = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    match first_line(&name, &["--version"]) {
        Some(version) => Finding::fine("compiler", version),
        None => Finding::fault(
            "compiler",
            format!("no C++ compiler: {name} does not run"),
            "install one (Debian, Ubuntu: apt-get install g++), or set CXX",
        ),
    }
}

fn environment(checkout: &Checkout) -> Vec<Finding> {
    let mut findings: Vec<Finding> = cargo::traps()
        .into_iter()
        .map(|trap| {
            let text = format!("{} is set: it {}", trap.name, trap.effect);
            let remedy =
                format!("unset {} (cargo xtask ignores it, plain cargo does not)", trap.name);
            Finding::note("environment", text, remedy)
        })
        .collect();
    if machine::user_libtorch(checkout).is_some() {
        findings.push(Finding::note(
            "environment",
            "LIBTORCH is set: `cargo xtask setup` uses it, and builds depend on its value",
            "after the set-up unset it: third_party/libtorch leads to the same place",
        ));
    }
    if checkout.libtorch().exists() && !rpath::is_set(checkout) {
        findings.push(Finding::note(
            "environment",
            "programs that plain cargo builds now would not find libtorch: .cargo/local.toml is \
             missing, or of another place",
            "cargo xtask setup",
        ));
    }
    let exposed = trust::findings(checkout).into_iter();
    findings.extend(exposed.map(|(what, remedy)| Finding::note("environment", what, remedy)));
    if findings.is_empty() {
        findings.push(Finding::fine(
            "environment",
            "nothing that would break linking or let others in",
        ));
    }
    findings
}

fn python(set_up: bool) -> Finding {
    let fault = match install::require_pip() {
        Ok(version) => return Finding::fine("python", version),
        Err(fault) => format!("{fault:#}"),
    };
    let (text, remedy) = fault.split_once('\n').unwrap_or((&fault, ""));
    if set_up {
        return Finding::note("python", text, "not needed any more: libtorch is installed");
    }
    Finding::fault("python", text, remedy)
}

fn libtorch(linked: &Result<Libtorch>) -> Finding {
    match linked {
        Ok(found) => {
            let real = found.root.join("lib").canonicalize().unwrap_or_else(|_| found.root.clone());
            let text =
                format!("{VERSION} wanted and found ({}): {}", found.devices(), real.display());
            Finding::fine("libtorch", text)
        }
        Err(fault) => {
            Finding::fault("libtorch", format!("{VERSION} wanted: {fault:#}"), "cargo xtask setup")
        }
    }
}

fn gpu(linked: Option<&Libtorch>) -> Finding {
    let Some(gpu) = machine::gpu() else {
        return Finding::fine(
            "gpu",
            "none: nvidia-smi lists no NVIDIA GPU and there is no /dev/nvidia0; the CPU is used",
        );
    };
    if linked.is_some_and(|libtorch| !libtorch.cuda) {
        return Finding::note(
            "gpu",
            format!("{gpu}, but the libtorch in use has no CUDA part"),
            "cargo xtask setup --cuda",
        );
    }
    let driver = first_line("nvidia-smi", &["--query-gpu=driver_version", "--format=csv,noheader"]);
    match driver {
        Some(driver) if major(&driver).is_some_and(|major| major < LEAST_DRIVER) => Finding::note(
            "gpu",
            format!("{gpu}, but its driver {driver} is too old for CUDA 13.0"),
            format!("install NVIDIA driver {LEAST_DRIVER} or newer; until then the CPU is used"),
        ),
        Some(driver) => Finding::fine("gpu", format!("{gpu}, driver {driver}")),
        None => Finding::note(
            "gpu",
            format!("{gpu}, but nvidia-smi does not answer"),
            "check the NVIDIA driver; until then the CPU is used",
        ),
    }
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.trim().parse().ok()
}

fn cache(set_up: bool) -> Vec<Finding> {
    let cache = match Cache::of_user() {
        Ok(cache) => cache,
        Err(fault) => return vec![Finding::fault("cache", fault.to_string(), "set VDM_CACHE=DIR")],
    };
    let size = megabytes(bytes_below(&cache.dir));
    let place = Finding::fine("cache", format!("{} ({size})", cache.dir.display()));
    vec![place, disk(&cache.dir, &cache, set_up)]
}

fn disk(dir: &Path, cache: &Cache, set_up: bool) -> Finding {
    let free = free_bytes(dir).map_or_else(|| "unknown".to_owned(), megabytes);
    let want = Want { device: Device::Auto, gpu: machine::gpu().is_some() };
    match cache.require_space(want.variant().disk_bytes()) {
        Err(fault) if !set_up => {
            let text = fault.to_string();
            let (text, remedy) = text.split_once('\n').unwrap_or((&text, ""));
            Finding::fault("disk", text, remedy)
        }
        _ => Finding::fine("disk", format!("{free} free at the cache")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_shows_its_verdict_and_its_remedy() {
        let shown = Finding::fault("python", "it is missing", "install it").shown();
        assert!(shown.starts_with("FAULT python"), "{shown}");
        assert!(shown.ends_with("→ install it"), "{shown}");
        assert!(!Finding::fine("disk", "enough").shown().contains('→'));
    }

    #[test]
    fn an_unusable_libtorch_is_a_fault_with_the_command_that_helps() {
        let finding = libtorch(&Err(anyhow::anyhow!("it is libtorch 2.5.1")));
        assert_eq!(finding.verdict, Verdict::Fault);
        assert!(finding.text.contains(VERSION) && finding.text.contains("2.5.1"));
        assert_eq!(finding.remedy.as_deref(), Some("cargo xtask setup"));
    }

    #[test]
    fn driver_versions_are_compared_by_number() {
        assert_eq!(major("580.65.06"), Some(580));
        assert_eq!(major("N/A"), None);
    }
}
