//! What all commands ask of libtorch: a device, threads, and that its exceptions are errors.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};

use anyhow::{Context, Error, Result, anyhow};
use vdm_torch::DeviceChoice;

/// How tch hands on an exception of libtorch where it has no result to return.
const RAISED: &str = "called `Result::unwrap()` on an `Err` value: Torch(\"";

/// What libtorch says for want of memory: on a GPU, and on the processor.
const OUT_OF_MEMORY: [&str; 2] = ["out of memory", "can't allocate memory"];

const REMEDY: &str = "there is not enough memory; to train, lower training.batch or raise \
                      training.accumulate; else lower --batch or evaluation.batch";

/// What a model runs on.
#[derive(Debug, clap::Args)]
pub(crate) struct Engine {
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Threads of the processor that libtorch uses; results are bit-exact for equal numbers only
    #[arg(long)]
    threads: Option<u32>,
}

impl Engine {
    /// Sets the threads and finds the device.
    pub(crate) fn start(&self) -> Result<tch::Device> {
        set_asked_threads(self.threads)?;
        Ok(self.device.resolve()?)
    }
}

/// What `--threads` says, if it was given.
pub(crate) fn set_asked_threads(asked: Option<u32>) -> Result<()> {
    asked.map_or(Ok(()), set_threads).context("--threads")
}

/// Sets the number of threads of libtorch's operations on the processor.
pub(crate) fn set_threads(threads: u32) -> Result<()> {
    let legal = i32::try_from(threads).ok().filter(|n| (1..=4096).contains(n));
    let remedy = || format!("{threads} is no number of threads: use one from 1 to 4096");
    tch::set_num_threads(legal.with_context(remedy)?);
    Ok(())
}

/// Runs a command. An exception of libtorch in it is an error; any other panic stays one.
pub(crate) fn guarded<T>(command: impl FnOnce() -> Result<T>) -> Result<T> {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| match raised(info.payload()) {
        Some(_) => tracing::debug!("{info}"),
        None => report(info),
    }));
    // What the command held is gone with it.
    let outcome = panic::catch_unwind(AssertUnwindSafe(command));
    let outcome = outcome.unwrap_or_else(|payload| match raised(&*payload) {
        Some(message) => Err(anyhow!("libtorch: {message}")),
        None => panic::resume_unwind(payload),
    });
    outcome.map_err(with_remedy)
}

fn with_remedy(error: Error) -> Error {
    let text = format!("{error:#}");
    let memory = OUT_OF_MEMORY.iter().any(|words| text.contains(words));
    if memory { error.context(REMEDY) } else { error }
}

/// The first line of libtorch's exception, if that is what a panic is.
fn raised(payload: &dyn Any) -> Option<&str> {
    let text = payload.downcast_ref::<String>()?.strip_prefix(RAISED)?;
    // As written by `Debug`.
    Some(text.split("\\n").next().unwrap_or(text).trim_end_matches("\")"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, Tensor};

    #[test]
    fn exceptions_of_libtorch_are_errors_and_other_panics_stay() {
        let options = (Kind::Float, Device::Cpu);
        let error = guarded(|| Ok(Tensor::zeros([1 << 50], options))).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("training.accumulate") && text.contains("allocate"), "{text}");
        assert!(!text.contains("\\n") && !text.contains("unwrap"), "{text}");

        let [a, b] = [2, 3].map(|side| Tensor::zeros([side], options));
        let error = guarded(|| Ok(&a + &b)).unwrap_err().to_string();
        assert!(error.starts_with("libtorch: The size of tensor a (2)"), "{error}");

        let other = panic::catch_unwind(|| guarded(|| -> Result<()> { panic!("a defect") }));
        assert_eq!(other.unwrap_err().downcast_ref::<&str>(), Some(&"a defect"));
        assert_eq!(guarded(|| Ok(1)).unwrap(), 1);
    }
}
