//! Conversions between what networks predict, and between their losses.

use vdm_core::{NoiseLevel, Parameterization};

use super::symbol::Formula;
use super::{level, row};

/// The six predictions of the text, as formulas call them.
const PREDICTIONS: [(&str, &str, Parameterization); 6] = [
    ("image", "x̂", Parameterization::Image),
    ("noise", "ε̂", Parameterization::Noise),
    ("score", "ŝ", Parameterization::Score),
    ("energy", "∇E", Parameterization::EnergyGradient),
    ("velocity", "v̂", Parameterization::Velocity),
    ("flow", "ô", Parameterization::Flow),
];

const CONVERSIONS: &str = "
## Predictions in terms of each other

What the prediction of a column is, from that of a row and the latent z (section 2.2.1 and v2, M28 and M35), by
`Parameterization::to`. (α + σ)·tanh(λ/4) is α − σ without its cancellation.

";

const MULTIPLIERS: &str = "
## Losses in terms of each other

What the squared error of a row's prediction is multiplied by to be that of the column's (section 2.2.3 and v2, M40),
by `Parameterization::error_factor`: ‖ε − ε̂‖² is α²/σ² times ‖x − x̂‖².

";

fn symbols() -> NoiseLevel<Formula> {
    level(0, ["λ", "α", "σ"])
}

/// The prediction `into` where that of `from` is known.
fn conversion(from: Parameterization, name: &'static str, into: Parameterization) -> Formula {
    let map = from.to(into, &symbols());
    // The order in which latents are written before predictions.
    map.on_z * Formula::symbol(9, "z") + map.on_output * Formula::last(name)
}

fn table(
    corner: &str,
    cell: impl Fn((&'static str, Parameterization), Parameterization) -> Formula,
) -> String {
    let names = PREDICTIONS.map(|(long, short, _)| format!("{short} ({long})"));
    let head = row([corner.to_owned()].iter().chain(&names)) + &row(["---"; 7]);
    let rows = PREDICTIONS.iter().zip(&names).map(|((_, short, from), name)| {
        let cells = PREDICTIONS.iter().map(|(_, _, into)| cell((short, *from), *into).to_string());
        row([name.clone()].into_iter().chain(cells))
    });
    head + &rows.collect::<String>()
}

/// Both tables as Markdown.
pub(super) fn section() -> String {
    let conversions = table("from, to", |(name, from), into| conversion(from, name, into));
    let multipliers = table("of, to", |(_, from), into| from.error_factor(into, &symbols()));
    [CONVERSIONS, &conversions, MULTIPLIERS, &multipliers].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::symbol::evaluate;
    use super::*;

    /// The formulas, where the symbols have values, against the same code on numbers: a few roundings.
    #[test]
    fn formulas_are_what_the_code_computes() {
        let at = NoiseLevel::from_scales(0.7, 0.4);
        let values = [("λ", at.log_snr), ("α", at.alpha), ("σ", at.sigma), ("z", 0.3), ("o", -1.1)];
        let values = BTreeMap::from(values);
        for (_, _, from) in PREDICTIONS {
            for (_, _, into) in PREDICTIONS {
                let map = from.to(into, &at);
                let number = map.on_z * 0.3 + map.on_output * -1.1;
                let formula = evaluate(&conversion(from, "o", into), &values);
                assert!((formula - number).abs() < 1e-13, "{from:?} to {into:?}");
                let factor = evaluate(&from.error_factor(into, &symbols()), &values);
                assert!((factor / from.error_factor(into, &at) - 1.0).abs() < 1e-13);
            }
        }
    }

    #[test]
    fn what_the_text_prints_is_what_comes_out() {
        let [_, noise, score, _, velocity, flow] = PREDICTIONS.map(|(_, _, of)| of);
        let image = Parameterization::Image;
        for (formula, wanted) in [
            (conversion(noise, "ε̂", image), "(z − σε̂)/α"),
            (conversion(score, "ŝ", noise), "−σŝ"),
            (conversion(velocity, "v̂", image), "(αz − σv̂)/(α² + σ²)"),
            (conversion(flow, "ô", noise), "(z + αô)/(α + σ)"),
            (image.error_factor(noise, &symbols()), "α²/σ²"),
            (velocity.error_factor(noise, &symbols()), "α²/(α² + σ²)²"),
        ] {
            assert_eq!(formula.to_string(), wanted);
        }
    }
}
