//! The estimators of `vdm eval`.

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};
use vdm_core::NoiseSchedule;
use vdm_core::bound::bits_per_dim;
use vdm_report::result::LayerResult;
use vdm_sample::AdaptiveOde;
use vdm_sample::estimate::{
    BoundEstimate, Change, DepthEstimate, Dequantization, DiffusionTerm, Estimate, FlowBound,
    FlowEstimate, Rounds, Trace,
};
use vdm_sample::likelihood::ProbeDistribution;
use vdm_torch::hierarchy::AggregatePosterior;
use vdm_torch::{EXACT_TRACE_DIMS, Evaluation};

use super::document;
use super::options::{Estimator, Options};
use crate::progress::Progress;

/// What an estimator measured.
pub(super) struct Outcome {
    /// The bound, or one for each of several T and one in continuous time.
    pub(super) measured: Vec<Measured>,
    /// Model calls per draw, where the solver decides.
    pub(super) calls: Option<f64>,
    /// The result as the document has it.
    pub(super) document: Value,
    /// What each layer of latents carries, from the data up; none of a diffusion model.
    pub(super) layers: Vec<LayerResult>,
    /// What the rate of the top layer of latents is made of, where that can be told.
    pub(super) aggregate: Option<AggregatePosterior>,
}

/// A bound.
pub(super) struct Measured {
    /// Which, in words.
    pub(super) name: String,
    /// T; `None` in continuous time.
    pub(super) steps: Option<u32>,
    pub(super) estimate: Estimate,
    /// From the bound before.
    pub(super) change: Option<Change>,
}

impl Outcome {
    pub(super) fn one(measured: Measured, document: Value) -> Self {
        Self {
            measured: vec![measured],
            calls: None,
            document,
            layers: Vec::new(),
            aggregate: None,
        }
    }
}

/// An evaluation under way.
pub(super) struct Task<'a> {
    pub(super) options: &'a Options,
    pub(super) evaluation: &'a Evaluation<'a>,
    pub(super) draws: usize,
    pub(super) dims: usize,
    pub(super) progress: Progress,
}

impl Task<'_> {
    pub(super) fn run(self) -> Result<Outcome> {
        match (self.options.estimator, self.options.steps.as_slice()) {
            (Estimator::Bound, [] | [_]) => self.bound(),
            (Estimator::Bound, _) => self.depth_sweep(),
            (Estimator::Iwae, steps) => self.importance_weighted(steps),
            (Estimator::Ode, _) => self.flow(),
            (Estimator::Exact, _) => bail!(
                "--estimator exact takes a hierarchy of two latents, such as clusters-vae; of a diffusion model \
                 --estimator ode gives the likelihood of its ODE"
            ),
        }
    }

    fn rounds(&self, default: usize) -> Rounds {
        let Options { rounds, standard_error, max_rounds, .. } = *self.options;
        let least = rounds.unwrap_or(default);
        match standard_error {
            None => Rounds::exactly(least),
            Some(bits) => {
                let nats = bits / bits_per_dim(1.0, self.dims);
                let most = max_rounds.unwrap_or(1000).max(least);
                Rounds { least, ..Rounds::until(nats, most) }
            }
        }
    }

    fn progress(&self, round: u64, done: usize) {
        self.progress.set(done as u64);
        if round > 0 {
            self.progress.mention(format!("round {}", round + 1));
        }
    }

    fn diffusion(&self, steps: Option<u32>) -> DiffusionTerm {
        let draws = self.draws;
        match steps {
            None => DiffusionTerm::Continuous { draws },
            Some(steps) if draws >= steps as usize => DiffusionTerm::AllSteps { steps },
            Some(steps) => DiffusionTerm::SampledSteps { steps, draws },
        }
    }

    fn bound(&self) -> Result<Outcome> {
        let steps = self.options.steps.first().copied();
        let diffusion = self.diffusion(steps);
        let BoundEstimate { estimate, curve } =
            self.evaluation
                .bound(diffusion, self.rounds(1), |round, done| self.progress(round, done))?;
        let name = self.evaluation.named(diffusion);
        let mut document = document(&name, &estimate, self.dims);
        document["curve"] = json!(curve);
        Ok(Outcome::one(Measured { name, steps, estimate, change: None }, document))
    }

    fn depth_sweep(&self) -> Result<Outcome> {
        let steps = self.options.steps.iter().copied().map(Some).chain([None]);
        let depths: Vec<DiffusionTerm> = steps.map(|steps| self.diffusion(steps)).collect();
        let progress = |_, round, done| self.progress(round, done);
        let mut measured = Vec::new();
        let mut documents = Vec::new();
        for DepthEstimate { diffusion, estimate, change } in
            self.evaluation.depth_sweep(&depths, self.rounds(8), progress)?
        {
            let name = self.evaluation.named(diffusion);
            let mut document = document(&name, &estimate, self.dims);
            if let Some(change) = &change {
                document["change"] = json!({
                    "difference": change.difference.bits_per_dim(self.dims),
                    "items_worse": change.worse,
                    "items_certainly_worse": change.certainly_worse,
                });
            }
            documents.push(document);
            measured.push(Measured { name, steps: diffusion.steps(), estimate, change });
        }
        let document = json!({ "depths": documents });
        Ok(Outcome { measured, calls: None, document, layers: Vec::new(), aggregate: None })
    }

    fn importance_weighted(&self, steps: &[u32]) -> Result<Outcome> {
        let samples = self.options.importance_samples.unwrap_or(8);
        let [steps] = *steps else {
            bail!("--estimator iwae needs one number of steps: add --steps T, such as --steps 100")
        };
        let estimate = self.evaluation.importance_weighted(
            steps,
            samples,
            self.rounds(1),
            |round, done| {
                self.progress(round, done);
            },
        )?;
        let name = format!(
            "importance-weighted {steps}-step bound{}, K = {samples}",
            self.evaluation.on_grid()
        );
        let mut document = document(&name, &estimate, self.dims);
        document["importance_samples"] = json!(samples);
        let measured = Measured { name, steps: Some(steps), estimate, change: None };
        Ok(Outcome::one(measured, document))
    }

    fn flow(&self) -> Result<Outcome> {
        let Options { probes, tolerance, importance_samples, dequantization, .. } = self.options;
        let mut solver = AdaptiveOde::default();
        if let Some(tolerance) = *tolerance {
            (solver.absolute, solver.relative) = (tolerance, tolerance);
        }
        let samples = importance_samples.unwrap_or(1);
        ensure!(
            samples == 1 || self.dims <= EXACT_TRACE_DIMS,
            "--importance-samples {samples}: the ODE needs the exact trace for more than 1, which is taken of \
             items of up to {EXACT_TRACE_DIMS} components, and these have {}; leave it out",
            self.dims
        );
        let trace = match probes.unwrap_or(usize::from(self.dims > EXACT_TRACE_DIMS)) {
            0 => Trace::Exact,
            probes => Trace::Hutchinson { probes, distribution: ProbeDistribution::default() },
        };
        let dequantization = dequantization.unwrap_or(Dequantization::Posterior);
        let plan = FlowBound {
            solver,
            range: self.evaluation.schedule.range(),
            dequantization,
            trace,
            samples,
            rounds: self.rounds(1),
            batch: self.evaluation.batch,
        };
        let FlowEstimate { estimate, calls } =
            self.evaluation.flow(plan, |round, done| self.progress(round, done))?;
        let name = format!(
            "probability-flow ODE, {} dequantization, K = {samples}, {}, tolerance {:e}",
            serde_json::to_value(dequantization)?.as_str().unwrap_or_default().replace('_', "-"),
            match trace {
                Trace::Exact => "exact trace".to_owned(),
                Trace::Hutchinson { probes, .. } => format!("{probes} probes"),
            },
            solver.relative
        );
        let mut document = document(&name, &estimate, self.dims);
        document["plan"] = json!({
            "solver": solver, "dequantization": dequantization, "trace": trace,
            "importance_samples": samples,
        });
        document["model_calls"] = json!(calls.mean());
        let calls = Some(calls.mean());
        let measured = Measured { name, steps: None, estimate, change: None };
        Ok(Outcome { calls, ..Outcome::one(measured, document) })
    }
}
