//! Error of probability-flow likelihoods beside what they cost, as markdown.
//!
//! `cargo run --release -p vdm-sample --features reports --example likelihood > docs/flow-likelihood.md`
//!
//! Data are 32 draws from a mixture of four Gaussians in 16 dimensions, whose density is known. All
//! errors are in nats per sample, with the exact density at the noise end, so that nothing but
//! integration and trace is measured.

use std::error::Error;

use vdm_core::{GaussianMixture, LogSnr, Scaling};
use vdm_sample::likelihood::{FlowLikelihood, LogLikelihood, ProbeDistribution, Probes};
use vdm_sample::noise::Purpose;
use vdm_sample::ode::Pair;
use vdm_sample::{AdaptiveOde, Seed, prior};

const DIMS: usize = 16;
const SAMPLES: u64 = 32;
const SCALING: Scaling = Scaling::VariancePreserving;
const DATA: LogSnr = LogSnr::new(13.3);
const NOISE: LogSnr = LogSnr::new(-5.0);

fn main() -> Result<(), Box<dyn Error>> {
    let model = GaussianMixture::new(
        vec![0.4, 0.3, 0.2, 0.1],
        (0..4).map(|k| prior(Seed(1), 1000 + k, DIMS)).collect(),
        vec![0.5, 0.4, 0.3, 0.2],
    )?;
    let x: Vec<Vec<f64>> = (0..SAMPLES).map(|sample| draw(&model, sample)).collect();
    let gap: Vec<f64> = settings(Pair::PrinceDormand87, 1e-10)
        .exact(&model, x.clone())?
        .iter()
        .zip(&x)
        .map(|(found, x)| found.nats() - truth(&model, x))
        .collect();
    println!(
        "# Likelihood along the probability-flow ODE\n\nWritten by `cargo run --release -p vdm-sample \
         --features reports --example likelihood > docs/flow-likelihood.md`. Errors against the closed form, in nats per \
         sample, by tolerance and model calls per sample, on a mixture of four Gaussians whose \
         density at the noise end is exact too, so that only integration and trace err.\n"
    );
    println!(
        "{SAMPLES} samples of {DIMS} dimensions, log-SNR {DATA} to {NOISE}. With a normal prior in \
         place of the exact density at the noise end the likelihoods change by {:.2} nats (rms).\n",
        rms(&gap)
    );
    println!("Exact trace:\n");
    println!("| pair | tolerance | calls | rms error | largest |\n|---|---|---|---|---|");
    for method in [Pair::BogackiShampine32, Pair::DormandPrince54, Pair::PrinceDormand87] {
        for tolerance in [1e-3, 1e-4, 1e-5, 1e-6, 1e-8] {
            let found = settings(method, tolerance).exact(&model, x.clone())?;
            let errors = errors(&model, &x, found.as_slice());
            let largest = errors.iter().fold(0.0_f64, |largest, error| largest.max(error.abs()));
            let (calls, rms) = (calls(&found), rms(&errors));
            println!("| {method:?} | {tolerance:.0e} | {calls:.0} | {rms:.1e} | {largest:.1e} |");
        }
    }
    println!("\nHutchinson's estimate, DormandPrince54:\n");
    println!(
        "| probes | tolerance | calls | rms error | mean standard error |\n|---|---|---|---|---|"
    );
    for distribution in [ProbeDistribution::Rademacher, ProbeDistribution::Gaussian] {
        for (count, tolerance) in [(2, 1e-3), (2, 1e-5), (8, 1e-5), (32, 1e-5), (128, 1e-5)] {
            let probes = Probes { seed: Seed(3), first_sample: 0, count, distribution };
            let settings = settings(Pair::DormandPrince54, tolerance);
            let found = settings.hutchinson(&model, x.clone(), &probes)?;
            let rms = rms(&errors(&model, &x, found.as_slice()));
            let known = found.iter().filter_map(|found| found.standard_error).sum::<f64>();
            let (calls, expected) = (calls(&found), known / SAMPLES as f64);
            println!(
                "| {count} {distribution:?} | {tolerance:.0e} | {calls:.0} | {rms:.2} | {expected:.2} |"
            );
        }
    }
    Ok(())
}

fn settings(method: Pair, tolerance: f64) -> FlowLikelihood {
    let (absolute, relative) = (tolerance, tolerance);
    let solver = AdaptiveOde { method, absolute, relative, ..AdaptiveOde::default() };
    FlowLikelihood { solver, data: DATA, noise: NOISE, scaling: SCALING, prior_std: None }
}

fn draw(model: &GaussianMixture, sample: u64) -> Vec<f64> {
    let mut left = Seed(2).uniform(Purpose::EvaluationTime, 0, sample);
    let (_, mean, std) = model
        .components()
        .find(|(weight, ..)| {
            left -= weight;
            left < 0.0
        })
        .expect("weights that sum to 1");
    prior::<f64>(Seed(2), sample, DIMS).iter().zip(mean).map(|(z, m)| m + std * z).collect()
}

fn truth(model: &GaussianMixture, x: &[f64]) -> f64 {
    model.log_density(x, &SCALING.level(DATA.value()))
}

fn errors(model: &GaussianMixture, x: &[Vec<f64>], found: &[LogLikelihood<Vec<f64>>]) -> Vec<f64> {
    let at_noise = SCALING.level(NOISE.value());
    let error = |(found, x): (&LogLikelihood<Vec<f64>>, &Vec<f64>)| {
        model.log_density(&found.end.latent, &at_noise) + found.log_det - truth(model, x)
    };
    found.iter().zip(x).map(error).collect()
}

fn rms(values: &[f64]) -> f64 {
    (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt()
}

/// Mean over samples.
fn calls(found: &[LogLikelihood<Vec<f64>>]) -> f64 {
    found.iter().map(|found| found.end.statistics.calls as f64).sum::<f64>() / found.len() as f64
}
