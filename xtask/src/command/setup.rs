//! `cargo xtask setup`: finds libtorch or installs it, and links it into the checkout.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use lexopt::Arg::Long;
use lexopt::Parser;

use crate::cache::Cache;
use crate::cargo;
use crate::checkout::Checkout;
use crate::install::install;
use crate::libtorch::{Libtorch, VERSION};
use crate::machine::{self, Machine};
use crate::search::{Device, Located, Want, search};
use crate::{link, rpath, terminal, trust};

pub(crate) const HELP: &str = "\
Finds libtorch or installs it, and links it into this checkout at third_party/libtorch.
After that plain `cargo build`, `test`, `run` and `bench` work with nothing exported.

Usage: cargo xtask setup [--cpu | --cuda]

  --cpu     the lean set without CUDA (544 MB to fetch), also where there is an NVIDIA GPU
  --cuda    the full CUDA set (2.5 GB to fetch), also where there is none

Without a flag: the CUDA set where there is an NVIDIA GPU, else the lean one.

Searched in this order: LIBTORCH; the torch package of python3; the cache. If none of them has the
right version it is installed from pypi.org into the cache, which is $VDM_CACHE, else
$XDG_CACHE_HOME/vdm, else ~/.cache/vdm.

What is in the cache is used only if every file is that of the wheels, which are pinned by SHA-256. This
command reads them all; the other ones do where anything has changed since. LIBTORCH and Python's torch
are yours, and used as they are.";

/// Runs the command.
///
/// # Errors
///
/// On wrong options, and where libtorch can be neither found nor installed.
pub(crate) fn run(args: Vec<OsString>) -> Result<ExitCode> {
    let device = options(args)?;
    let checkout = Checkout::current()?;
    report_surroundings(&checkout);
    // Whatever was verified before: this is the command to ask when in doubt.
    link::forget_verified(&checkout);
    provide(&checkout, device)?;
    let libtorch = link::current(&checkout)?;
    let real = libtorch.root.join("lib").canonicalize()?;
    terminal::print(format_args!(
        "libtorch {VERSION} ({}): {}",
        libtorch.devices(),
        real.display()
    ))?;
    terminal::print(format_args!("linked at {}", libtorch.root.display()))?;
    terminal::print(provenance(&libtorch))?;
    Ok(ExitCode::SUCCESS)
}

fn provenance(libtorch: &Libtorch) -> String {
    match libtorch.pinned {
        Some(_) => "verified: every file is that of the pinned wheels".to_owned(),
        None => "not verified: a libtorch of your own is used as it is".to_owned(),
    }
}

fn options(args: Vec<OsString>) -> Result<Device, lexopt::Error> {
    let mut device = Device::Auto;
    let mut parser = Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        let asked = match arg {
            Long("cpu") => Device::Cpu,
            Long("cuda") => Device::Cuda,
            other => return Err(other.unexpected()),
        };
        if device != Device::Auto && device != asked {
            return Err("--cpu and --cuda exclude each other".into());
        }
        device = asked;
    }
    Ok(device)
}

/// What every command that builds does first: quick if the checkout is set up.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn ensure_ready(checkout: &Checkout) -> Result<()> {
    report_surroundings(checkout);
    match link::current(checkout) {
        Ok(_) => rpath::set(checkout),
        Err(fault) => {
            if checkout.libtorch().exists() {
                terminal::note(format_args!("note: {fault:#}"));
            }
            provide(checkout, Device::Auto)
        }
    }
}

/// Says what around the checkout changes how it builds, or lets others change what it runs.
fn report_surroundings(checkout: &Checkout) {
    cargo::report_traps();
    for (what, remedy) in trust::findings(checkout) {
        terminal::note(format_args!("warning: {what}; {remedy}"));
    }
}

/// Searches, installs if need be, links.
fn provide(checkout: &Checkout, device: Device) -> Result<()> {
    let want = Want { device, gpu: machine::gpu().is_some() };
    let keeps = machine::user_libtorch(checkout).is_none()
        && link::current(checkout).is_ok_and(|libtorch| want.accepts(&libtorch));
    if !keeps {
        let cache = Cache::of_user()?;
        let machine = Machine { checkout, cache: &cache };
        let found = search(want, &machine, terminal::note)?;
        let found = match found {
            Some(found) => found,
            None => Located { libtorch: install(&cache, want.variant())?, origin: "the cache" },
        };
        terminal::note(format_args!("using {}: {}", found.origin, found.libtorch.root.display()));
        link::link(checkout, &found.libtorch)?;
    }
    rpath::set(checkout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Device, String> {
        options(args.iter().map(OsString::from).collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_flags_choose_the_set() {
        assert_eq!(parsed(&[]), Ok(Device::Auto));
        assert_eq!(parsed(&["--cpu"]), Ok(Device::Cpu));
        assert_eq!(parsed(&["--cuda", "--cuda"]), Ok(Device::Cuda));
    }

    #[test]
    fn wrong_options_are_named() {
        assert!(parsed(&["--gpu"]).unwrap_err().contains("--gpu"));
        assert!(parsed(&["here"]).unwrap_err().contains("here"));
        assert!(parsed(&["--cpu", "--cuda"]).unwrap_err().contains("exclude"));
    }
}
