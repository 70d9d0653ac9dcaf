//! The outcome as a page.

use std::fmt::Write;

use super::Outcome;

/// `docs/objectives.md`, of trainings that took `seconds` each.
#[must_use]
pub fn markdown(heads: &[Outcome], schedules: &[Outcome], seconds: f64) -> String {
    format!(
        "\
# Objectives

Written by `cargo run --release -p vdm-bench --bin objectives`. The digits preset and changes of it, the
same seed, {seconds} seconds of training each on the same two cores, one after the other; the bound on all test
images. One seed each, and the machine is not equally fast in each minute (see the steps): *levels* and *linear,
fixed* are one training twice, so that differences below 0.03 bits say nothing.

## Parameterizations

The network gets the latent alone. Heads that learn noise or a mixture of noise and image do better with
Fourier features of it ([figures](performance.md#digits-bits-per-dimension)); *levels* knows how likely each
data value makes the latent, and does not need them.

{}
## Noise levels

The bound is the same under every schedule of the same ends; what differs is the variance of its
estimator (monograph §2.4.3). *Loss variance* is that of one item's loss over the last 200 steps, as a
share of its squared mean, beside the least that a histogram of levels could have. *Gradient noise* is the
trace of the covariance of a batch's gradient over the squared norm of its mean, over 200 batches, all at
the weights of the first row: there only the levels differ. Rows whose ends moved have none, since their
objective is another.

{}{}",
        table(heads, false),
        table(schedules, true),
        steadiest(schedules).unwrap_or_default()
    )
}

/// Which way to draw levels has the steadiest loss, and by how much beside the first.
fn steadiest(schedules: &[Outcome]) -> Option<String> {
    let first = schedules.first()?;
    let variance = |outcome: &Outcome| share(outcome, outcome.loss_variance.variance());
    let comparable = schedules.iter().filter(|outcome| outcome.gradient_noise.is_some());
    let best = comparable.min_by(|a, b| variance(a).total_cmp(&variance(b)))?;
    Some(format!(
        "\nLevels from *{}* make the loss's variance {:.1} times smaller than in the first row, and the\n\
         gradient's noise {:.1} times.\n",
        best.label,
        variance(first) / variance(best),
        first.gradient_noise? / best.gradient_noise?
    ))
}

/// A variance over the squared mean loss.
fn share(outcome: &Outcome, variance: f64) -> f64 {
    variance / (outcome.loss_variance.mean() * outcome.loss_variance.mean())
}

fn table(outcomes: &[Outcome], levels: bool) -> String {
    let mut text = String::from(if levels {
        "| noise levels | steps | test bits/dim | loss variance | least possible | gradient noise |\n\
         |---|---:|---:|---:|---:|---:|\n"
    } else {
        "| head | steps | test bits/dim |\n|---|---:|---:|\n"
    });
    for outcome in outcomes {
        let Outcome { label, steps, test, loss_variance, gradient_noise } = outcome;
        let (bits, error) = (test.bits_per_dim, test.standard_error);
        let _ = write!(text, "| {label} | {steps} | {bits:.3} ± {error:.3} |");
        if levels {
            let shares = [loss_variance.variance(), loss_variance.least_variance()]
                .map(|variance| share(outcome, variance));
            let noise = gradient_noise.map_or("–".to_owned(), |noise| format!("{noise:.1}"));
            let _ = write!(text, " {:.2} | {:.2} | {noise} |", shares[0], shares[1]);
        }
        text.push('\n');
    }
    text
}
