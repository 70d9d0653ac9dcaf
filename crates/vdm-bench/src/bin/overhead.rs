//! What a sampler's step costs, measured when asked, so that `benches/peers/overhead.py` can let it take
//! turns with other libraries.
//!
//! Each line on standard input, `WHAT NAME N C H W`, is answered by one number, in seconds:
//!
//! | what | number |
//! |---|---|
//! | `slices`, `tensors` | a step of the solver of that name, on latents of that shape, with a model that is free |
//! | `copy` | copying a latent |
//! | `network` | a call of the digits preset's U-Net |

use std::hint::black_box;
use std::io::{BufRead, Write};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use tch::Device;
use vdm_bench::{FreeDenoiser, digits_model, karras_20};
use vdm_core::{Denoiser, Scaling};
use vdm_sample::spec::{Entry, NoiseSpec};
use vdm_sample::{Seed, SolverSpec, TimeGrid, solve};
use vdm_torch::{Batch, Model};

struct Measure {
    grid: TimeGrid,
    model: Model,
}

impl Measure {
    fn seconds(&self, what: &str, name: &str, size: [i64; 4]) -> Result<f64> {
        let dims = size[1..].iter().product::<i64>() as usize;
        let start = vec![0.1_f32; size[0] as usize * dims];
        let tensor = Batch::from_slice(&start, size, Device::Cpu);
        let mut noise = NoiseSpec::Iid.path(Seed(1), 0, dims);
        let steps = self.grid.steps() as f64;
        Ok(match what {
            "slices" => {
                let solver = solver(name)?;
                let run =
                    || solve(&solver, &FreeDenoiser, start, &self.grid, &mut noise, |_, _, _| ());
                timed(run) / steps
            }
            "tensors" => {
                let solver = solver(name)?;
                let run =
                    || solve(&solver, &FreeDenoiser, tensor, &self.grid, &mut noise, |_, _, _| ());
                timed(run) / steps
            }
            "copy" => {
                let mut to = vec![0.0; start.len()];
                timed(|| {
                    for _ in 0..self.grid.steps() {
                        black_box(&mut to).copy_from_slice(black_box(&start));
                    }
                }) / steps
            }
            "network" => {
                let at = Scaling::VariancePreserving.level(0.0);
                timed(|| tch::no_grad(|| self.model.denoise(&tensor, &at)))
            }
            _ => bail!("{what:?} is none of slices, tensors, copy, network"),
        })
    }
}

fn solver(name: &str) -> Result<SolverSpec> {
    let entry = SolverSpec::entries().into_iter().find(|entry| entry.name == name);
    let Entry { solver, .. } = entry.with_context(|| format!("no solver is called {name:?}"))?;
    Ok(solver)
}

/// As `vdm` has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn timed<T>(run: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    black_box(run());
    start.elapsed().as_secs_f64()
}

fn main() -> Result<()> {
    tch::set_num_threads(1);
    let measure = Measure { grid: karras_20()?, model: digits_model()? };
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let [what, name, size @ ..] = words.as_slice() else {
            bail!("not WHAT NAME N C H W: {line}")
        };
        let size: Vec<i64> = size.iter().map(|n| n.parse()).collect::<Result<_, _>>()?;
        let size = size.try_into().ok().with_context(|| format!("not four sizes: {line}"))?;
        writeln!(out, "{}", measure.seconds(what, name, size)?)?;
        out.flush()?;
    }
    Ok(())
}
