//! Solvers that choose their own steps, by name.

use std::convert::Infallible;

use serde::{Deserialize, Deserializer, Serialize, de::Error};
use serde_json::Value;

use super::fields::fields;
use super::named::name_or_object;
use super::{Entry, Field, NameOf, SolverSpec, SpecError};
use crate::{Adaptive, AdaptiveDpm, Pair};

/// A solver to a tolerance, from a configuration: its bare name, or an object with the name as `kind`
/// and what differs from the defaults. It needs no grid and no number of steps.
///
/// ```
/// use vdm_sample::{Adaptive, AdaptiveSpec, Pair};
/// let solver: AdaptiveSpec = serde_json::from_str(r#"{"kind": "adaptive_ode", "relative": 1e-3}"#)?;
/// assert_eq!(solver, AdaptiveSpec::Ode(Adaptive { relative: 1e-3, ..Adaptive::default() }));
/// let solver: AdaptiveSpec = serde_json::from_str(r#""prince_dormand_87""#)?;
/// let method = Pair::PrinceDormand87;
/// assert_eq!(solver, AdaptiveSpec::Ode(Adaptive { method, ..Adaptive::default() }));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "kind")]
pub enum AdaptiveSpec {
    /// `adaptive_ode`: [`Adaptive`], a step size for each sample.
    #[serde(rename = "adaptive_ode")]
    Ode(Adaptive),
    /// `dpm_adaptive`: [`dpm_adaptive`](crate::dpm_adaptive) for each sample alone.
    #[serde(rename = "dpm_adaptive")]
    Dpm(AdaptiveDpm),
}

impl AdaptiveSpec {
    /// Every name with what it stands for.
    #[must_use]
    pub fn entries() -> Vec<Entry<Self>> {
        let ode = |method| Self::Ode(Adaptive { method, ..Adaptive::default() });
        let entry = |name, when, solver| Entry { name, when, solver };
        vec![
            entry(
                "adaptive_ode",
                "the probability-flow ODE to a tolerance, a step size for each sample",
                Self::Ode(Adaptive::default()),
            ),
            entry(
                "dpm_adaptive",
                "DPM-Solver-23 to a tolerance in grey levels, one sample at a time",
                Self::Dpm(AdaptiveDpm::default()),
            ),
            entry(
                "bogacki_shampine_32",
                "adaptive_ode of order 3: tolerances of 1e-2 to 1e-3",
                ode(Pair::BogackiShampine32),
            ),
            entry("dormand_prince_54", "adaptive_ode by another name", ode(Pair::DormandPrince54)),
            entry(
                "prince_dormand_87",
                "adaptive_ode of order 8: references, tolerances of 1e-7 and below",
                ode(Pair::PrinceDormand87),
            ),
        ]
    }

    /// Its own name in configurations, where others may stand for it too.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ode(_) => "adaptive_ode",
            Self::Dpm(_) => "dpm_adaptive",
        }
    }

    /// Its fields with these settings as their defaults.
    #[must_use]
    pub fn fields(&self) -> Vec<Field> {
        fields(self)
    }

    /// That its numbers make sense.
    ///
    /// # Errors
    /// [`SpecError::Ode`] or [`SpecError::Dpm`] naming the first that does not.
    pub fn check(&self) -> Result<(), SpecError> {
        match self {
            Self::Ode(solver) => solver.check::<Infallible>().map_err(SpecError::Ode),
            Self::Dpm(solver) => solver.check::<Infallible>().map_err(SpecError::Dpm),
        }
    }
}

impl<'de> Deserialize<'de> for AdaptiveSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(tag = "kind")]
        enum Object {
            #[serde(rename = "adaptive_ode")]
            Ode(Adaptive),
            #[serde(rename = "dpm_adaptive")]
            Dpm(AdaptiveDpm),
        }
        let names: Vec<_> = Self::entries().iter().map(|entry| entry.name).collect();
        let meant = |name: &str| {
            let entry = Self::entries().into_iter().find(|entry| entry.name == name)?;
            serde_json::to_value(entry.solver).ok()
        };
        Ok(match name_or_object(deserializer, Some((NameOf::Solver, &names)), meant)? {
            Object::Ode(solver) => Self::Ode(solver),
            Object::Dpm(solver) => Self::Dpm(solver),
        })
    }
}

/// What the field `solver` of a sampler may name.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum AnySolver {
    /// One that steps from level to level of a grid.
    OnGrid(SolverSpec),
    /// One that chooses its levels.
    Adaptive(AdaptiveSpec),
}

impl<'de> Deserialize<'de> for AnySolver {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let name = value.as_str().or_else(|| value.get("kind")?.as_str());
        let named = |name| NameOf::Solver.named(name, &NameOf::Solver.here());
        let name = name.map(named).transpose().map_err(D::Error::custom)?;
        let adaptive = AdaptiveSpec::entries().iter().any(|entry| Some(entry.name) == name);
        if adaptive {
            AdaptiveSpec::deserialize(value).map(Self::Adaptive).map_err(D::Error::custom)
        } else {
            SolverSpec::deserialize(value).map(Self::OnGrid).map_err(D::Error::custom)
        }
    }
}
