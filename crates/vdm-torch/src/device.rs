//! Choosing where tensors live.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use tch::Device;

use crate::Error;

/// The device a user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// A GPU if there is one.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The GPU of this number; an error if it is not there.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("{text:?} is not a device: use auto, cpu, cuda or cuda:N");
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let number = text.strip_prefix("cuda:").ok_or_else(refused)?;
                number.parse().map(Self::Cuda).map_err(|_| refused())
            }
        }
    }
}

impl DeviceChoice {
    /// The device, or why it cannot be had. Never falls back silently from a GPU to the processor.
    ///
    /// Call it before any other use of libtorch: a program linked against the processor's libraries
    /// gains the GPU here, by loading `libtorch_cuda.so` from beside the `libtorch_cpu.so` it runs
    /// with, and libtorch remembers its first answer to whether there is CUDA for good. On a GPU f32
    /// is f32 from here on: TF32, which libtorch lets cuDNN use by default, is off.
    ///
    /// # Errors
    /// [`Error::Device`] if a GPU was asked for and is not usable.
    pub fn resolve(self) -> Result<Device, Error> {
        let index = match self {
            Self::Cpu => return Ok(Device::Cpu),
            Self::Auto => 0,
            Self::Cuda(index) => index,
        };
        let why = match cuda_devices() {
            Ok(count) if index < count => return Ok(Device::Cuda(index)),
            Ok(count) => format!("there are {count} GPUs, numbered from 0"),
            Err(why) => why,
        };
        if self == Self::Auto {
            tracing::info!(why, "no GPU is used");
            return Ok(Device::Cpu);
        }
        Err(Error::Device { wanted: format!("cuda:{index}"), why })
    }
}

/// How many GPUs can be used, at least one, or why none.
fn cuda_devices() -> Result<usize, String> {
    let library = cuda_library().ok_or(
        "the libtorch in use has no CUDA part (libtorch_cuda.so); \
         `cargo xtask setup --cuda` installs it",
    )?;
    vdm_torch_sys::load_library(&library).map_err(|e| e.to_string())?;
    vdm_torch_sys::keep_full_f32().map_err(|e| e.to_string())?;
    match usize::try_from(tch::Cuda::device_count()) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("libtorch finds no GPU; check that nvidia-smi lists one".into()),
    }
}

/// `libtorch_cuda.so` beside the `libtorch_cpu.so` this process has loaded.
fn cuda_library() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let cpu = maps.lines().find(|line| line.ends_with("/libtorch_cpu.so"))?;
    let folder = Path::new(&cpu[cpu.find('/')?..]).parent()?;
    Some(folder.join("libtorch_cuda.so")).filter(|library| library.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_or_are_refused_with_the_legal_ones() {
        assert_eq!("cuda:3".parse(), Ok(DeviceChoice::Cuda(3)));
        assert_eq!("auto".parse(), Ok(DeviceChoice::Auto));
        for wrong in ["gpu", "cuda:x", "", "CPU"] {
            let message = wrong.parse::<DeviceChoice>().unwrap_err();
            assert!(message.contains(&format!("{wrong:?}")) && message.contains("cuda:N"));
        }
    }

    #[test]
    fn a_gpu_that_is_not_there_is_an_error_that_says_why() {
        assert_eq!(DeviceChoice::Cpu.resolve().unwrap(), Device::Cpu);
        let error = DeviceChoice::Cuda(99).resolve().unwrap_err().to_string();
        assert!(error.starts_with("device cuda:99 is not available: "), "{error}");
        assert!(error.ends_with("use --device cpu"), "{error}");
    }
}
