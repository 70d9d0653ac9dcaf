//! What `vdm eval` measured, as people read it.

use vdm_report::result::LayerResult;
use vdm_sample::estimate::{Change, Estimate, Summary};
use vdm_torch::hierarchy::AggregatePosterior;

use super::task::{Measured, Outcome};
use crate::family::hierarchy::AGGREGATED;

/// Nats from its limit within which an information is mostly the limit: items are then told apart but for one
/// in a few.
const NEAR: f64 = 0.5;

/// Lines of a label and what it labels.
pub(super) struct Table {
    lines: Vec<(String, String)>,
}

impl Table {
    /// Of what was measured: a block for each bound.
    pub(super) fn of(outcome: &Outcome, dims: usize) -> Self {
        let mut table = Self { lines: Vec::new() };
        for measured in &outcome.measured {
            table.measured(measured, dims);
        }
        for (number, layer) in outcome.layers.iter().enumerate().rev() {
            table.layer(number + 1, layer);
        }
        if let Some(AggregatePosterior { rate, information, hole }) = &outcome.aggregate {
            let nats = |term: &Summary| {
                let error = term.standard_error.map(|error| format!(" ± {error:.3}"));
                format!("{:.3}{}", term.mean, error.unwrap_or_default())
            };
            let value = format!(
                "rate {} = I(x; z) {} + KL(q(z)‖p(z)) {} nats",
                nats(rate),
                nats(information),
                nats(hole)
            );
            table.line("top layer", value);
            let items =
                outcome.measured.first().map_or(0, |measured| measured.estimate.items.len());
            let limit = (items.min(AGGREGATED) as f64).ln();
            if information.mean > limit - NEAR {
                let value = format!(
                    "I(x; z) is at most log {items} = {limit:.2} nats here: near it, it tells of these items and not \
                     of their distribution; evaluate more (--split all, or other --data)"
                );
                table.line("", value);
            }
        }
        table
    }

    fn layer(&mut self, number: usize, layer: &LayerResult) {
        let LayerResult { shape: [channels, height, width], rate, nats, active } = layer;
        let latents = channels * height * width;
        let value = format!(
            "{rate:7.4} bits/dim, {nats:.2} nats per item; {active} of {latents} latents active \
             ({channels}×{height}×{width})"
        );
        self.line(&format!("layer {number}"), value);
    }

    /// One more line.
    pub(super) fn line(&mut self, label: &str, value: impl Into<String>) {
        self.lines.push((label.to_owned(), value.into()));
    }

    /// Its lines, what is labeled below each other.
    pub(super) fn text(&self) -> String {
        let width = self.lines.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
        let line = |(label, value): &(String, String)| format!("{label:width$}  {value}\n");
        self.lines.iter().map(line).collect()
    }

    fn measured(&mut self, measured: &Measured, dims: usize) {
        let Measured { name, estimate, change, .. } = measured;
        let total = estimate.total.bits_per_dim(dims);
        self.line("total", format!("{} bits/dim{}", number(total), single(estimate)));
        if let Some(error) = total.draw_error {
            self.line("  of the draws", format!("        ± {error:.4}"));
        }
        for term in &estimate.terms {
            self.line(&format!("  {}", term.name), number(term.mean.bits_per_dim(dims)));
        }
        if let Some(change) = change {
            self.line("  change", changed(change, dims));
        }
        self.line("estimator", format!("{name}, rounds: {}{}", estimate.rounds, missed(estimate)));
    }
}

/// A mean and its error, if it has one.
fn number(summary: Summary) -> String {
    let error = summary.standard_error.map(|error| format!(" ± {error:.4}"));
    format!("{:7.4}{}", summary.mean, error.unwrap_or_default())
}

/// Why there is no standard error.
fn single(estimate: &Estimate) -> &'static str {
    if estimate.items.len() == 1 { " (1 item: no standard error)" } else { "" }
}

fn missed(estimate: &Estimate) -> &'static str {
    match estimate.reached {
        Some(false) => ": --standard-error is not reached, allow more with --max-rounds",
        _ => "",
    }
}

fn changed(change: &Change, dims: usize) -> String {
    let difference = change.difference.bits_per_dim(dims);
    let error = difference.draw_error.map(|error| format!(" ± {error:.4}")).unwrap_or_default();
    let certainly = change.certainly_worse.map_or_else(String::new, |n| {
        format!(", for {n} by more than 3 standard errors of the draws")
    });
    format!(
        "{:+7.4}{error} from the one above; worse for {} of {} items{certainly}",
        difference.mean, change.worse, change.items
    )
}
