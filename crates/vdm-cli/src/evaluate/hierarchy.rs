//! `vdm eval` of a hierarchy.

use anyhow::{Context, Result};
use serde_json::json;
use vdm_torch::hierarchy::{HierarchyEvaluation, HierarchySpec};

use super::options::{Estimator, Options};
use super::task::{Measured, Outcome};
use super::{document, head, tell};
use crate::family;
use crate::opened::Opened;
use crate::progress::{Lines, Progress};

/// The bound and what each layer carries, or the importance-weighted bound.
pub(super) fn evaluate(options: &Options, opened: &Opened<HierarchySpec>) -> Result<()> {
    options.check_for_hierarchy()?;
    let config = &opened.config;
    let model = opened.model(options.engine.start()?)?;
    let selected = options.items.of(opened, model.spec().shape, model.spec().values)?;
    options.prepare(opened)?;
    let items = &selected.items;
    let judged = HierarchyEvaluation {
        model: &model,
        items,
        seed: config.seed,
        batch: config.evaluation.batch,
    };
    let outcome = {
        let progress = Progress::new("evaluating", "items", items.len() as u64, Lines::Messages)?;
        let done = |items: usize| progress.set(items as u64);
        match options.estimator {
            Estimator::Iwae => {
                let samples = options.importance_samples.unwrap_or(8);
                importance_weighted(&judged, samples, done)?
            }
            Estimator::Exact => exact(&judged, done)?,
            _ => bound(&judged, options.draws.unwrap_or(config.evaluation.draws), done)?,
        }
    };
    let mut document = head(&selected, config.seed);
    document["result"] = outcome.document.clone();
    tell(options, &selected, &outcome, &document)
}

fn bound(
    judged: &HierarchyEvaluation<'_>,
    draws: usize,
    done: impl FnMut(usize),
) -> Result<Outcome> {
    let bound = judged.bound(draws, done)?;
    let name = family::hierarchy::estimator(&bound);
    let layers = family::hierarchy::layers(judged.model, &bound, &judged.active()?);
    let mut document = document(&name, &bound.estimate, bound.dims);
    document["layers"] = json!(layers.layers);
    let aggregate = family::hierarchy::aggregate(judged)?;
    document["aggregate"] = json!(aggregate);
    let estimate = bound.estimate;
    let mut outcome =
        Outcome::one(Measured { name, steps: None, estimate, change: None }, document);
    outcome.layers = layers.layers;
    outcome.aggregate = aggregate;
    Ok(outcome)
}

/// Points a side of the quadrature: 0.015 standard deviations of the prior apart.
const SIDE: usize = 800;

fn exact(judged: &HierarchyEvaluation<'_>, done: impl FnMut(usize)) -> Result<Outcome> {
    let estimate = judged.exact(SIDE, done)?.context(
        "--estimator exact takes a hierarchy of one layer of two latents, such as clusters-vae; use bound or iwae",
    )?;
    let name = format!("likelihood by quadrature on {SIDE}² latents");
    let mut document = document(&name, &estimate, judged.model.spec().shape.dims());
    document["quadrature_side"] = json!(SIDE);
    Ok(Outcome::one(Measured { name, steps: None, estimate, change: None }, document))
}

fn importance_weighted(
    judged: &HierarchyEvaluation<'_>,
    samples: usize,
    done: impl FnMut(usize),
) -> Result<Outcome> {
    let estimate = judged.importance_weighted(samples, done)?;
    let name = format!("importance-weighted bound, K = {samples}");
    let mut document = document(&name, &estimate, judged.model.spec().shape.dims());
    document["importance_samples"] = json!(samples);
    Ok(Outcome::one(Measured { name, steps: None, estimate, change: None }, document))
}
