//! Formulas as they are: numbers that remember what was done to them.

use std::ops::{Add, Div, Mul, Neg, Sub};

use vdm_core::Real;

/// A real number that is not known: a sum of products of symbols.
///
/// It takes part in generic code as any other [`Real`] does, and what comes out is the formula. Products are
/// kept in order with their powers and sums with their like terms, which is all the algebra there is: sums are not
/// multiplied out.
#[derive(Debug, Clone, PartialEq, PartialOrd, Default)]
pub(super) struct Formula {
    /// By their factors; none for 0.
    pub(super) terms: Vec<Term>,
}

/// A product with a number before it.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub(super) struct Term {
    /// Factors by their powers, none of which is 0.
    pub(super) factors: Vec<(Factor, i32)>,
    pub(super) number: f64,
}

/// What is multiplied. The order is that in which it is written.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub(super) enum Factor {
    /// A letter; those of a lower rank come first.
    Symbol(u8, &'static str),
    /// A sum of at least two terms.
    Sum(Formula),
    /// A function of something.
    Of(&'static str, Box<Formula>),
    /// A letter that comes last, such as what a network predicts.
    Last(&'static str),
}

impl Formula {
    /// A letter.
    pub(super) fn symbol(rank: u8, name: &'static str) -> Self {
        Factor::Symbol(rank, name).into()
    }

    /// A letter that is written at the end of a product.
    pub(super) fn last(name: &'static str) -> Self {
        Factor::Last(name).into()
    }

    /// A number.
    pub(super) fn number(number: f64) -> Self {
        let term = Term { factors: vec![], number };
        Self { terms: if number == 0.0 { vec![] } else { vec![term] } }
    }

    /// Its value, if there is no symbol in it.
    fn value(&self) -> Option<f64> {
        match self.terms.as_slice() {
            [] => Some(0.0),
            [Term { factors, number }] if factors.is_empty() => Some(*number),
            _ => None,
        }
    }

    fn of(&self, name: &'static str, function: fn(f64) -> f64) -> Self {
        match self.value() {
            Some(value) => Self::number(function(value)),
            None => Factor::Of(name, Box::new(self.clone())).into(),
        }
    }

    /// As one product; a sum becomes its only factor.
    fn into_term(mut self) -> Term {
        match self.terms.len() {
            0 => Term { factors: vec![], number: 0.0 },
            1 => self.terms.remove(0),
            _ => Term { factors: vec![(Factor::Sum(self), 1)], number: 1.0 },
        }
    }
}

impl From<Factor> for Formula {
    fn from(factor: Factor) -> Self {
        Self { terms: vec![Term { factors: vec![(factor, 1)], number: 1.0 }] }
    }
}

impl From<Term> for Formula {
    fn from(term: Term) -> Self {
        match term.factors.as_slice() {
            _ if term.number == 0.0 => Self::default(),
            // A sum by itself is no longer a factor.
            [(Factor::Sum(sum), 1)] if term.number == 1.0 => sum.clone(),
            _ => Self { terms: vec![term] },
        }
    }
}

impl Term {
    /// `self·other^power`.
    pub(super) fn times(mut self, other: Self, power: i32) -> Self {
        for (factor, exponent) in other.factors {
            match self.factors.iter_mut().find(|(own, _)| *own == factor) {
                Some((_, sum)) => *sum += power * exponent,
                None => self.factors.push((factor, power * exponent)),
            }
        }
        self.factors.retain(|(_, exponent)| *exponent != 0);
        self.factors.sort_by(|a, b| a.partial_cmp(b).expect("numbers are never NaN"));
        Self { number: self.number * other.number.powi(power), ..self }
    }
}

impl Neg for Formula {
    type Output = Self;
    fn neg(mut self) -> Self {
        self.terms.iter_mut().for_each(|term| term.number = -term.number);
        self
    }
}

impl Add for Formula {
    type Output = Self;
    fn add(mut self, other: Self) -> Self {
        for term in other.terms {
            // What is infinite stays what it is.
            if let Some(infinite) = self.value().filter(|value| value.is_infinite()) {
                return Self::number(infinite);
            }
            if term.number.is_infinite() {
                return Self::number(term.number);
            }
            match self.terms.iter_mut().find(|own| own.factors == term.factors) {
                Some(own) => own.number += term.number,
                None => self.terms.push(term),
            }
        }
        self.terms.retain(|term| term.number != 0.0);
        self.terms.sort_by(|a, b| a.partial_cmp(b).expect("numbers are never NaN"));
        self
    }
}

impl Sub for Formula {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Formula {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        self.into_term().times(other.into_term(), 1).into()
    }
}

impl Div for Formula {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        self.into_term().times(other.into_term(), -1).into()
    }
}

impl Real for Formula {
    fn lift(&self, constant: f64) -> Self {
        Self::number(constant)
    }
    fn exp(&self) -> Self {
        self.of("exp", f64::exp)
    }
    fn exp_m1(&self) -> Self {
        self.of("expm1", f64::exp_m1)
    }
    fn ln(&self) -> Self {
        self.of("ln", f64::ln)
    }
    fn sqrt(&self) -> Self {
        self.of("√", f64::sqrt)
    }
    fn tanh(&self) -> Self {
        self.of("tanh", f64::tanh)
    }
}

/// The value of a formula where those of its symbols are known.
#[cfg(test)]
pub(super) fn evaluate(formula: &Formula, symbols: &std::collections::BTreeMap<&str, f64>) -> f64 {
    let factor = |factor: &Factor| match factor {
        Factor::Symbol(_, name) | Factor::Last(name) => symbols[name],
        Factor::Sum(sum) => evaluate(sum, symbols),
        Factor::Of(name, inner) => {
            let value = evaluate(inner, symbols);
            match *name {
                "exp" => value.exp(),
                "expm1" => value.exp_m1(),
                "ln" => value.ln(),
                "√" => value.sqrt(),
                _ => value.tanh(),
            }
        }
    };
    let product = |term: &Term| {
        term.factors.iter().map(|(f, power)| factor(f).powi(*power)).product::<f64>() * term.number
    };
    formula.terms.iter().map(product).sum()
}
