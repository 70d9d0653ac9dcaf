//! The text around plots and previews. Every string is escaped by the template engine; only plots
//! and the style sheet, made here, go in as they are.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;
use vdm_files::Seal;

use super::run::{Embedded, Gap, Metrics, Part, Run};
use super::{curves, format};
use crate::figure::Plot;
use crate::metrics::{LevelVariance, Timing, TrainRecord};
use crate::result::{Latents, Layers, LossByLogSnr, NoiseLevels, RunResult, Term, TestLikelihood};

/// Previews narrower than this are enlarged, with sharp pixels.
const NARROW: u32 = 480;

/// Of the terms of a bound, in their order.
const COLORS: [&str; 3] = ["blue", "orange", "green"];

/// The whole page.
pub(super) fn render(run: &Run) -> Markup {
    let title = title(run);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · variational diffusion" }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                main {
                    (header(run, &title))
                    (section("Samples", "", &or_note(&run.samples, final_samples)))
                    (section("Loss", loss_text(run), &or_note(&run.metrics, losses)))
                    @if run.is_hierarchy() {
                        (section("Layers of latents", LAYERS_TEXT, &or_note(&run.layers, layers)))
                        // Only of a model of two latents.
                        @if !matches!(run.latents, Err(Gap::Absent(_))) {
                            (section("The plane of latents", LATENTS_TEXT, &or_note(&run.latents, latents)))
                        }
                    } @else {
                        (section("Loss by noise level", "", &or_note(&run.loss_by_log_snr, noise_levels)))
                        (section("Noise levels in training", LEVELS_TEXT, &or_note(&run.noise_levels, training_levels)))
                    }
                    (section("Samples over training", "", &or_note(&run.stages, |all| stages(all))))
                    @if run.is_hierarchy() {
                        (section("Reconstructions", RECONSTRUCTION_TEXT, &or_note(&run.reconstructions, |strip| {
                            preview(strip, "Test items and their reconstructions")
                        })))
                    } @else {
                        (section("Denoising", DENOISING_TEXT, &or_note(&run.denoising, |strip| {
                            preview(strip, "Stages of one sampling run")
                        })))
                    }
                    (section("Optimization", "", &or_note(&run.metrics, |metrics| optimization(metrics, &run.timings))))
                    (section("Configuration", "", &or_note(&run.config, configuration)))
                    (footer(run))
                }
            }
        }
    }
}

const LOSS_TEXT: &str = "The variational bound in bits per dimension: an upper bound on what a \
    lossless code built from this model spends on each number of an image. Lower is better.";
const WEIGHTED_TEXT: &str = "Validation is the variational bound in bits per dimension: an upper bound on \
    what a lossless code built from this model spends on each number of an image. Training lowers \
    another loss, which weights noise levels differently and is no bound. Lower is better for both.";
const LEVELS_TEXT: &str = "Which density the noise levels of training have does not change what is \
    learned, only how much the loss of one item varies.";
const LAYERS_TEXT: &str = "What each layer of latents tells about an item, its divergence from the prior, from the \
    data up. A layer that tells nothing is dead: its posterior is its prior, whatever the item.";
const LATENTS_TEXT: &str = "Latents of the test items, each drawn from its posterior, and latents drawn from the \
    prior, over circles that hold 39, 86 and 99 percent of it. Where the prior is more than ten times as dense as all \
    posteriors together there is a hole: samples are drawn there all the same, and no item taught the model what to \
    make of them.";
const RECONSTRUCTION_TEXT: &str = "Test items, and below each the most likely values given latents drawn from its \
    posterior.";
const DENOISING_TEXT: &str = "One sampling run from left to right: noise at the start, the finished \
    sample at the end, a column for each noise level in between.";

fn section(heading: &str, text: &str, body: &Markup) -> Markup {
    html! {
        section {
            h2 { (heading) }
            @if !text.is_empty() { p.lead { (text) } }
            (body)
        }
    }
}

fn or_note<T>(part: &Part<T>, show: impl FnOnce(&T) -> Markup) -> Markup {
    match part {
        Ok(value) => show(value),
        Err(gap) => note(gap),
    }
}

fn note(gap: &Gap) -> Markup {
    html! { p.note { (gap) } }
}

/// The preset where one is known, else the name of the folder.
fn title(run: &Run) -> String {
    let configured = || run.config.as_ref().ok()?.0.get("preset")?.as_str().map(str::to_owned);
    let finished = run.result.as_ref().ok().map(|result| result.preset.clone());
    finished.or_else(configured).unwrap_or_else(|| run.name.clone())
}

fn header(run: &Run, title: &str) -> Markup {
    html! {
        header {
            p.eyebrow {
                @if run.is_hierarchy() { "Hierarchical latent variable model" } @else { "Variational diffusion model" }
                " · run " (run.name)
            }
            h1 { (title) }
            @match &run.result {
                Ok(result) => { (headline(&result.test)) (facts(result)) }
                Err(gap) => { (progress(run)) (note(gap)) }
            }
        }
    }
}

fn headline(test: &TestLikelihood) -> Markup {
    let colors = COLORS.iter().cycle();
    let terms: Vec<(&Term, &str)> = test.terms.iter().zip(colors.copied()).collect();
    html! {
        div.headline {
            p.figure { (format::with_error(test.bits_per_dim, test.standard_error)) span { " bits/dim" } }
            p.meaning {
                "test negative log-likelihood (upper bound), ± standard error over "
                (format::count(test.items)) " items · estimator: " (test.estimator)
            }
            (shares(&terms))
            ul.legend {
                @for (term, color) in &terms {
                    li { span.chip.(color) {} (term.name) " " b { (format::fixed(term.bits_per_dim)) } }
                }
            }
        }
    }
}

/// A bar divided as the terms are; terms that a bar cannot show are left out of it.
fn shares(terms: &[(&Term, &str)]) -> Markup {
    html! {
        div.shares {
            @for (Term { name, bits_per_dim }, color) in terms {
                @if *bits_per_dim > 0.0 && bits_per_dim.is_finite() {
                    span.(color) title=(name) style={ "flex-grow:" (bits_per_dim) } {}
                }
            }
        }
    }
}

fn facts(result: &RunResult) -> Markup {
    let hash = format::short_hash(&result.data.sha256);
    let data = [&result.data.name, " · ", &format::count(result.data.items), " items"].concat();
    let speed = format!("{} images/s", format::rate(result.images_per_second));
    html! {
        dl.facts {
            (fact("Data", &data, Some(&format!("sha256 {hash}…"))))
            (fact("Training", &format::duration(result.seconds), Some(&speed)))
            (fact("Steps", &format::count(result.steps), skipped(result.skipped).as_deref()))
            (fact("Parameters", &format::count(result.parameters), None))
            (fact("Device", &result.device, Some(&format!("libtorch {}", result.libtorch))))
            (fact("Seed", &result.seed.to_string(), None))
        }
    }
}

/// How many steps changed nothing, if any.
fn skipped(steps: u64) -> Option<String> {
    (steps > 0).then(|| format!("{} skipped for too long a gradient", format::count(steps)))
}

fn fact(name: &str, value: &str, detail: Option<&str>) -> Markup {
    html! {
        div {
            dt { (name) }
            dd { (value) @if let Some(detail) = detail { small { (detail) } } }
        }
    }
}

/// What an unfinished run has to show for itself.
fn progress(run: &Run) -> Markup {
    let Ok(metrics) = &run.metrics else { return html! {} };
    let reached = metrics.train.last().map(|record| record.step);
    let seconds = run.timings.as_ref().ok().and_then(|timings| timings.last()).map(|t| t.seconds);
    html! {
        @if let Some(last) = metrics.validation.last() {
            div.headline {
                p.figure { (format::with_error(last.bits_per_dim, last.standard_error)) span { " bits/dim" } }
                p.meaning { "on the validation split after step " (format::count(last.step)) }
            }
        }
        @if let Some(step) = reached {
            p.lead {
                "Training reached step " (format::count(step))
                @if let Some(seconds) = seconds { " after " (format::duration(seconds)) } "."
            }
        }
    }
}

fn preview(preview: &Embedded, description: &str) -> Markup {
    let class = if preview.width < NARROW { "pixels" } else { "preview" };
    html! {
        img class=(class) src=(preview.source) alt=(description)
            width=(preview.width) height=(preview.height);
    }
}

fn final_samples(samples: &Embedded) -> Markup {
    preview(samples, "Samples of the final model")
}

fn stages(stages: &[(u64, Part<Embedded>)]) -> Markup {
    html! {
        div.stages {
            @for (step, stage) in stages {
                figure {
                    (or_note(stage, |grid| preview(grid, &format!("Samples after step {step}"))))
                    figcaption { "step " (format::count(*step)) }
                }
            }
        }
    }
}

fn plot(plot: &Part<Plot>, caption: &Markup) -> Markup {
    let drawn = plot.as_ref().map(|plot| (plot, plot.svg()));
    html! {
        figure {
            @match drawn {
                Ok((plot, Ok(svg))) => {
                    div role="img" aria-label={ (plot.y.label) " by " (plot.x.label) } { (PreEscaped(svg)) }
                }
                Ok((_, Err(error))) => { (note(&Gap::Unreadable(error))) }
                Err(gap) => { (note(gap)) }
            }
            figcaption { (caption) }
        }
    }
}

/// Whether training lowers another loss than the bound.
fn is_weighted(metrics: &Metrics) -> bool {
    metrics.train.iter().any(|record| record.weighted_loss.is_some())
}

fn loss_text(run: &Run) -> &'static str {
    let weighted = run.metrics.as_ref().is_ok_and(is_weighted);
    if weighted { WEIGHTED_TEXT } else { LOSS_TEXT }
}

fn losses(metrics: &Metrics) -> Markup {
    let weighted = is_weighted(metrics);
    let losses =
        metrics.train.iter().map(|record| record.weighted_loss.unwrap_or(record.loss_bits_per_dim));
    let bad = losses.filter(|&loss| !curves::plottable(loss)).count();
    let training = html! {
        span.chip.blue {} "training, faint: single batches "
        @if bad > 0 { " · not shown: " (bad) " training losses that are not finite or beyond 1e100 " }
    };
    let validation = html! { span.chip.orange {} "validation ± standard error" };
    html! {
        @if weighted {
            (plot(&curves::weighted_loss(metrics), &training))
            (plot(&curves::loss(metrics), &validation))
        } @else {
            (plot(&curves::loss(metrics), &html! { (training) (validation) }))
        }
        @if let Some(last) = metrics.validation.last() {
            p {
                "Last validation, after step " (format::count(last.step)) ": "
                b { (format::with_error(last.bits_per_dim, last.standard_error)) } " bits/dim = "
                @for (i, term) in last.terms.iter().enumerate() {
                    @if i > 0 { " + " }
                    (term.name) " " (format::fixed(term.bits_per_dim))
                }
                "."
            }
        }
    }
}

fn noise_levels(curve: &LossByLogSnr) -> Markup {
    let loss = html! { "Mean squared error of the predicted noise, ± standard error. 1 is no better than answering 0." };
    let integrand = html! {
        "What each noise level adds to the continuous-time bound, ½ E‖ε − ε̂‖² / (D ln 2). The area is its diffusion term, "
        b { (format::fixed(curve.diffusion_bits_per_dim())) } " bits/dim over these levels."
    };
    html! {
        p.lead {
            "From pure noise (left) to clean data (right); D = " (format::count(curve.data_dims))
            " dimensions, " (curve.log_snr.len()) " bins."
        }
        div.pair {
            (plot(&curves::loss_by_log_snr(curve), &loss))
            (plot(&curves::integrand(curve), &integrand))
        }
    }
}

fn layers(layers: &Layers) -> Markup {
    let most = layers.layers.iter().map(|layer| layer.rate).fold(0.0, f64::max);
    html! {
        table.layers {
            tr { th { "layer" } th { "latents" } th { "active" } th { "nats per item" } th { "bits/dim" } th {} }
            @for (number, layer) in layers.layers.iter().enumerate().rev() {
                @let [channels, height, width] = layer.shape;
                tr {
                    td { (number + 1) }
                    td { (channels) "×" (height) "×" (width) }
                    td {
                        (format::count(layer.active)) " of " (format::count(channels * height * width))
                        @if layer.active == 0 { ", dead" }
                    }
                    td { (format::fixed(layer.nats)) }
                    td { (format::fixed(layer.rate)) }
                    td.bar { @if layer.rate > 0.0 && layer.rate.is_finite() {
                        span.blue style={ "width:" (100.0 * layer.rate / most) "%" } {}
                    } }
                }
            }
        }
    }
}

fn latents(latents: &Latents) -> Markup {
    let caption = html! {
        span.chip.gray {} "items" span.chip.blue {} "prior" span.chip.orange {} "prior, in the hole"
    };
    html! {
        p.lead {
            "KL(q(z)‖p(z)) = " (format::with_error(latents.hole, latents.standard_error)) " nats; "
            (format!("{:.1}", 100.0 * latents.share_in_hole())) " % of the prior is in the hole."
        }
        div.pair { @for drawn in latents.plots() { (plot(&Ok(drawn), &caption)) } }
    }
}

fn training_levels(levels: &NoiseLevels) -> Markup {
    let density =
        html! { "How often levels are drawn, after step " (format::count(levels.step)) "." };
    let schedule = html! { "The noise schedule" @if levels.schedule != levels.schedule_at_start { ", learned; faint: at the start" } "." };
    html! {
        div.pair {
            (plot(&curves::density(levels), &density))
            (plot(&curves::schedule(levels), &schedule))
        }
    }
}

fn optimization(metrics: &Metrics, timings: &Part<Vec<Timing>>) -> Markup {
    let caption = html! {};
    let skips = skipped(metrics.train.iter().map(|record| record.skipped).sum());
    let skips = html! { @if let Some(skips) = skips { (skips) "." } };
    let spread = html! { "Of a single item's loss." };
    let least = html! { "What the best density of levels would leave of it." };
    let of = |value: fn(&LevelVariance) -> f64| {
        move |record: &TrainRecord| record.variance.as_ref().map_or(f64::NAN, value)
    };
    html! {
        div.triple {
            (plot(&curves::quantity(metrics, "learning rate", |r| r.learning_rate), &caption))
            (plot(&curves::quantity(metrics, "gradient norm", |r| r.gradient_norm), &skips))
            (or_note(timings, |timings| plot(&curves::speed(timings), &caption)))
            @if metrics.train.iter().any(|record| record.variance.is_some()) {
                (plot(&curves::quantity(metrics, "variance / loss²", of(|v| v.relative_variance)), &spread))
                (plot(&curves::quantity(metrics, "least variance, share", of(|v| v.least_variance_share)), &least))
            }
        }
    }
}

fn configuration((config, seal): &(Value, Seal)) -> Markup {
    html! {
        @if *seal != Seal::Whole {
            p.note { "Not as the run wrote it: config.json was edited or damaged since." }
        }
        details {
            summary { "config.json" }
            // The alternate form of a JSON value is indented.
            pre { (format!("{config:#}")) }
        }
    }
}

fn footer(run: &Run) -> Markup {
    let result = run.result.as_ref().ok();
    html! {
        footer {
            p { "Written by vdm-report " (env!("CARGO_PKG_VERSION"))
                @if let Some(result) = result { " · libtorch " (result.libtorch) }
            }
            @if let Some(result) = result {
                p { "SHA-256 of the data: " code { (result.data.sha256) } }
                @for (name, value) in &result.other {
                    p { (name) ": " (plain(value)) }
                }
            }
        }
    }
}

/// A string without its quotation marks; anything else as JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::LayerResult;

    #[test]
    fn dead_layers_are_named() {
        let layer = |active| LayerResult { shape: [2, 2, 2], rate: 0.5, nats: 1.0, active };
        let table = layers(&Layers { layers: vec![layer(3), layer(0)] }).into_string();
        assert!(table.contains("3 of 8<") && table.contains("0 of 8, dead<"), "{table}");
    }
}
