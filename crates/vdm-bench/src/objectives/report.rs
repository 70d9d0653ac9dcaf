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
images. One seed each: differences below a hundredth of a bit say nothing.

## Parameterizations

{}
## Noise levels

The bound is the same under every schedule of the same ends; what differs is the variance of its
estimator (monograph §2.4.3). *Loss variance* is that of one item's loss over the last 200 steps, as a
share of its squared mean, beside the least that a histogram of levels could have. *Gradient noise* is the
trace of the covariance of a batch's gradient over the squared norm of its mean, over 200 batches, all at
the weights of the first row: there only the levels differ. Rows whose ends moved have none, since their
objective is another.

{}",
        table(heads, false),
        table(schedules, true)
    )
}

fn table(outcomes: &[Outcome], levels: bool) -> String {
    let mut text = String::from(if levels {
        "| noise levels | steps | test bits/dim | loss variance | least possible | gradient noise |\n\
         |---|---:|---:|---:|---:|---:|\n"
    } else {
        "| head | steps | test bits/dim |\n|---|---:|---:|\n"
    });
    for Outcome { label, steps, test, spread, gradient_noise } in outcomes {
        let (bits, error) = (test.bits_per_dim, test.standard_error);
        let _ = write!(text, "| {label} | {steps} | {bits:.3} ± {error:.3} |");
        if levels {
            let square = spread.mean() * spread.mean();
            let shares = [spread.variance(), spread.least_variance()].map(|v| v / square);
            let noise = gradient_noise.map_or("–".to_owned(), |noise| format!("{noise:.1}"));
            let _ = write!(text, " {:.2} | {:.2} | {noise} |", shares[0], shares[1]);
        }
        text.push('\n');
    }
    text
}
