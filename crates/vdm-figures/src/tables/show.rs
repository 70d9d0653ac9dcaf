//! Formulas as people write them.

use std::fmt::{self, Display, Formatter};

use super::symbol::{Factor, Formula, Term};

impl Display for Formula {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.terms.as_slice() {
            [] => f.write_str("0"),
            [term] => term.fmt(f),
            _ => {
                let (common, rest) = self.common();
                if common.factors.is_empty() && common.number == 1.0 {
                    return f.write_str(&rest.sum());
                }
                f.write_str(&common.with(Some(&rest)))
            }
        }
    }
}

impl Formula {
    /// The lowest powers of all terms, with the sign if it is the same for all, and what is left of each term.
    fn common(&self) -> (Term, Self) {
        let all = self.terms.iter().flat_map(|term| &term.factors).map(|(factor, _)| factor);
        let mut factors: Vec<(Factor, i32)> = Vec::new();
        for factor in all {
            let lowest = self.terms.iter().map(|term| term.power(factor)).min().unwrap_or(0);
            if lowest != 0 && factors.iter().all(|(own, _)| own != factor) {
                factors.push((factor.clone(), lowest));
            }
        }
        let negative = self.terms.iter().all(|term| term.number < 0.0);
        let common = Term { factors, number: if negative { -1.0 } else { 1.0 } };
        let rest = self.terms.iter().map(|term| term.clone().times(common.clone(), -1)).collect();
        (common, Self { terms: rest })
    }

    /// Terms with their signs: those that are added before those that are taken away, of each those with a
    /// prediction in them last.
    pub(super) fn sum(&self) -> String {
        if self.terms.is_empty() {
            return "0".to_owned();
        }
        let mut terms: Vec<&Term> = self.terms.iter().collect();
        terms.sort_by_key(|term| term.is_of_a_prediction());
        let (plus, minus): (Vec<&Term>, Vec<&Term>) =
            terms.into_iter().partition(|term| term.number > 0.0);
        let mut text = plus.iter().map(|t| t.to_string()).collect::<Vec<_>>().join(" + ");
        for term in minus {
            let size = Term { number: -term.number, ..term.clone() };
            text += &if text.is_empty() { format!("−{size}") } else { format!(" − {size}") };
        }
        text
    }
}

impl Term {
    /// With which power a factor is in it.
    fn power(&self, factor: &Factor) -> i32 {
        let found = self.factors.iter().find(|(own, _)| own == factor);
        found.map_or(0, |(_, power)| *power)
    }

    fn is_of_a_prediction(&self) -> bool {
        self.factors.iter().any(|(factor, _)| matches!(factor, Factor::Last(_)))
    }

    /// The product, with a sum in it that is no factor yet.
    fn with(&self, sum: Option<&Formula>) -> String {
        let (over, under): (Vec<_>, Vec<_>) =
            self.factors.iter().partition(|(_, power)| *power > 0);
        let size = self.number.abs();
        // A quarter is written as something over 4.
        let whole_under = size < 1.0 && size.recip().fract() == 0.0;
        let mut above = Vec::new();
        if size != 1.0 && !whole_under {
            above.push(size.to_string());
        }
        above.extend(over.iter().map(|(factor, power)| power_of(factor, *power)));
        if let Some(sum) = sum {
            above.push(format!("({})", sum.sum()));
        }
        let mut below: Vec<String> =
            under.iter().map(|(factor, power)| power_of(factor, -power)).collect();
        if whole_under {
            below.insert(0, size.recip().to_string());
        }
        let above = if above.is_empty() { "1".to_owned() } else { joined(&above) };
        let sign = if self.number < 0.0 { "−" } else { "" };
        match below.as_slice() {
            [] => format!("{sign}{above}"),
            [one] => format!("{sign}{above}/{one}"),
            several => format!("{sign}{above}/({})", joined(several)),
        }
    }
}

/// Letters side by side; a function has a dot before it, and a sum stands in parentheses.
fn joined(factors: &[String]) -> String {
    let mut text = String::new();
    for factor in factors {
        let first = factor.chars().next().unwrap_or_default();
        let is_function = first.is_ascii_lowercase() && factor.contains('(');
        // An index would run into what follows it.
        if !text.is_empty() && (is_function || text.contains('_')) {
            text += "·";
        }
        text += factor;
    }
    text
}

fn power_of(factor: &Factor, power: i32) -> String {
    let base = match factor {
        Factor::Symbol(_, name) | Factor::Last(name) => (*name).to_owned(),
        Factor::Sum(sum) => format!("({sum})"),
        Factor::Of(name, inner) => format!("{name}({inner})"),
    };
    let exponent: String = match power {
        1 => String::new(),
        _ => power.to_string().chars().map(raised).collect(),
    };
    base + &exponent
}

fn raised(digit: char) -> char {
    match digit {
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '4' => '⁴',
        '5' => '⁵',
        '6' => '⁶',
        '7' => '⁷',
        '8' => '⁸',
        '9' => '⁹',
        _ => '⁰',
    }
}

impl Display for Term {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_written_as_in_a_text() {
        let [a, b] = [(0, "α"), (1, "σ")].map(|(rank, name)| Formula::symbol(rank, name));
        let z = Formula::last("z");
        let one = Formula::number(1.0);
        let sum = a.clone() * a.clone() + b.clone() * b.clone();
        for (formula, wanted) in [
            (Formula::default(), "0"),
            (one.clone() / a.clone(), "1/α"),
            (-(b.clone() * z.clone()) + a.clone(), "α − σz"),
            (a.clone() * z.clone() / sum.clone(), "αz/(α² + σ²)"),
            (a.clone() / (sum.clone() * sum), "α/(α² + σ²)²"),
            ((z.clone() - b.clone()) / a.clone(), "(z − σ)/α"),
            (z.clone() / a.clone() - b / a.clone(), "(z − σ)/α"),
            (Formula::number(0.25) * a.clone(), "α/4"),
            (a.clone() - a, "0"),
        ] {
            assert_eq!(formula.to_string(), wanted);
        }
    }
}
