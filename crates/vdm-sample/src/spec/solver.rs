//! Solvers by name.

use serde::{Deserialize, Deserializer, Serialize};
use vdm_core::count::{Cost, TooMany, bounded_product};
use vdm_core::{Denoiser, Latent};

use super::fields::fields;
use super::named::name_or_object;
use super::{Field, NameOf, SpecError};
use crate::ode::{AdaptiveDpm, AdaptiveOde, Pair};
use crate::solver::{
    Ancestral, AngularAdams, Churn, Coordinate, Ddim, Dpm2, Dpm2Ancestral, DpmSolverMultistep,
    DpmSolverPp2SAncestral, DpmSolverPpSde, DpmSolverSinglestep, EulerMaruyama, ExponentialAdams,
    Heun, Lms, Midpoint, Order, PredictorCorrector, Properties, Restart, Run, SaSolver, Solver,
    Step, StochasticHeun, UniPc,
};
use crate::{InnerProduct, SolveError, TimeGrid};

/// A named solver, as listings show it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry<S> {
    /// Its name in configurations.
    pub name: &'static str,
    /// When to use it.
    pub when: &'static str,
    /// The solver with its default settings.
    pub solver: S,
}

/// Makes an enum of solvers a solver itself, with the memory of whichever it holds.
macro_rules! solver_by_variant {
    ($spec:ident, $memory:ident of $latent:ident; { $($variant:ident($solver:ty))* }) => {
        #[doc = concat!("What the solver in a [`", stringify!($spec), "`] remembers.")]
        #[derive(Debug, Default)]
        pub enum $memory<Z: $latent> {
            /// Before the first step.
            #[default]
            Fresh,
            $(
                #[doc = concat!("Of a [`", stringify!($spec), "::", stringify!($variant), "`].")]
                $variant(<$solver as Solver<Z>>::Memory),
            )*
        }

        impl<Z: $latent> Solver<Z> for $spec {
            type Memory = $memory<Z>;

            fn properties(&self) -> Properties {
                match self {$( Self::$variant(solver) => Solver::<Z>::properties(solver), )*}
            }

            fn calls(&self, grid: &TimeGrid) -> usize {
                match self {$( Self::$variant(solver) => Solver::<Z>::calls(solver, grid), )*}
            }

            fn step<D: Denoiser<Z> + ?Sized>(
                &self,
                run: &mut Run<'_, Z, D>,
                z: Z,
                step: &Step<'_>,
                memory: &mut Self::Memory,
            ) -> Result<Z, SolveError<D::Error>> {
                match self {$(
                    Self::$variant(solver) => {
                        if let $memory::$variant(memory) = memory {
                            return solver.step(run, z, step, memory);
                        }
                        let mut fresh = <$solver as Solver<Z>>::Memory::default();
                        let z_s = solver.step(run, z, step, &mut fresh)?;
                        *memory = $memory::$variant(fresh);
                        Ok(z_s)
                    }
                )*}
            }
        }
    };
}
pub(super) use solver_by_variant;

/// An enum of named solvers that is a solver itself.
macro_rules! named_solvers {
    (
        $(#[$doc:meta])* $spec:ident, $memory:ident of $latent:ident, $aliases:expr;
        { $($variant:ident($solver:ty) $name:literal $when:literal)* }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Serialize)]
        #[serde(tag = "kind")]
        pub enum $spec {$(
            #[doc = concat!("`", $name, "`: ", $when, ".")]
            #[serde(rename = $name)]
            $variant($solver),
        )*}

        impl $spec {
            /// Every name with what it stands for; those of the solvers themselves first.
            #[must_use]
            pub fn entries() -> Vec<Entry<Self>> {
                let own = [$(Entry {
                    name: $name,
                    when: $when,
                    solver: Self::$variant(<$solver>::default()),
                }),*];
                own.into_iter().chain($aliases).collect()
            }

            /// Its own name in configurations, where others may stand for it too.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {$( Self::$variant(_) => $name, )*}
            }

            /// Its fields with these settings as their defaults.
            #[must_use]
            pub fn fields(&self) -> Vec<Field> {
                fields(self)
            }
        }

        impl<'de> Deserialize<'de> for $spec {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(Deserialize)]
                #[serde(tag = "kind")]
                enum Object {$( #[serde(rename = $name)] $variant($solver), )*}
                let names: Vec<_> = Self::entries().iter().map(|entry| entry.name).collect();
                let meant = |name: &str| {
                    let entry = Self::entries().into_iter().find(|entry| entry.name == name)?;
                    serde_json::to_value(entry.solver).ok()
                };
                Ok(match name_or_object(deserializer, Some((NameOf::Solver, &names)), meant)? {
                    $( Object::$variant(solver) => Self::$variant(solver), )*
                })
            }
        }

        solver_by_variant! { $spec, $memory of $latent; { $($variant($solver))* } }
    };
}

named_solvers! {
    /// A solver with its settings, from a configuration: its bare name, or an object with the name
    /// as `kind` and what differs from the defaults. It is a [`Solver`] itself.
    ///
    /// ```
    /// use vdm_sample::{Ddim, SolverSpec};
    /// let solver: SolverSpec = serde_json::from_str(r#"{"kind": "ddim", "eta": 0.5}"#)?;
    /// assert_eq!(solver, SolverSpec::Ddim(Ddim { eta: 0.5 }));
    /// let same: SolverSpec = serde_json::from_str(r#""euler""#)?;
    /// assert_eq!(same, SolverSpec::Ddim(Ddim::default()));
    /// let error = serde_json::from_str::<SolverSpec>(r#""dimm""#).unwrap_err();
    /// assert!(error.to_string().starts_with("unknown solver `dimm`: the solvers are ancestral,"));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    SolverSpec, SolverMemory of Latent, aliases();
    {
        Ancestral(Ancestral) "ancestral"
            "the model that the bound is about; best with 100 steps or more"
        Ddim(Ddim) "ddim"
            "the simplest that works; deterministic with eta 0"
        Heun(Heun) "heun"
            "few model errors, smooth paths; with coordinate flow for flow matching"
        Midpoint(Midpoint) "midpoint"
            "as heun, with calls between the grid's levels"
        Dpm2(Dpm2) "dpm_2"
            "parity with k-diffusion; uni_pc needs half of its calls"
        Dpm2Ancestral(Dpm2Ancestral) "dpm_2_ancestral"
            "parity with k-diffusion; dpm_solver_pp_2s_ancestral is as good"
        Lms(Lms) "lms"
            "20 or more model calls on smooth paths"
        DpmSolverSinglestep(DpmSolverSinglestep) "dpm_solver_singlestep"
            "orders as declared on any grid without warm-up"
        DpmSolverPp2SAncestral(DpmSolverPp2SAncestral) "dpm_solver_pp_2s_ancestral"
            "stochastic sampling of order 2"
        DpmSolverPpSde(DpmSolverPpSde) "dpm_solver_pp_sde"
            "parity with k-diffusion"
        DpmSolverMultistep(DpmSolverMultistep) "dpm_solver_multistep"
            "10 to 50 model calls; DPM-Solver and DPM-Solver++ of either order"
        ExponentialAdams(ExponentialAdams) "exponential_adams"
            "20 or more model calls: orders up to 4, as declared"
        AngularAdams(AngularAdams) "angular_adams"
            "5 to 50 model calls, on the angle grid: the least error here"
        UniPc(UniPc) "uni_pc"
            "5 to 50 model calls on any grid: an order more than its calls pay for"
        SaSolver(SaSolver) "sa_solver"
            "stochastic sampling in 20 to 100 model calls"
        EulerMaruyama(EulerMaruyama) "euler_maruyama"
            "the reverse SDE at any strength of noise"
        StochasticHeun(StochasticHeun) "stochastic_heun"
            "the reverse SDE at any strength of noise, weak order 2"
        Churn(Churn<SingleStepSpec>) "churn"
            "EDM's stochastic sampler: model errors are forgotten"
        Restart(Restart<SingleStepSpec>) "restart"
            "model errors are forgotten in one interval, ODE steps elsewhere"
        PredictorCorrector(PredictorCorrector<SingleStepSpec>) "predictor_corrector"
            "Langevin steps between the predictor's"
    }
}

named_solvers! {
    /// A solver without memory, to be put into [`Churn`], [`Restart`] or [`PredictorCorrector`]; by
    /// default Heun's. In configurations as [`SolverSpec`].
    SingleStepSpec, SingleStepMemory of Latent, [];
    {
        Ancestral(Ancestral) "ancestral" "the model that the bound is about"
        Ddim(Ddim) "ddim" "one call a step"
        Heun(Heun) "heun" "two calls a step, as EDM"
        Midpoint(Midpoint) "midpoint" "two calls a step"
        Dpm2(Dpm2) "dpm_2" "two calls a step, as k-diffusion"
        EulerMaruyama(EulerMaruyama) "euler_maruyama" "one call a step, any strength of noise"
        StochasticHeun(StochasticHeun) "stochastic_heun" "two calls a step, any strength of noise"
    }
}

named_solvers! {
    /// A solver to a tolerance, from a configuration: its bare name, or an object with the name as `kind`
    /// and what differs from the defaults. It needs no grid and no number of steps. It is a [`Solver`]
    /// itself.
    ///
    /// ```
    /// use vdm_sample::AdaptiveOde;
    /// use vdm_sample::ode::Pair;
    /// use vdm_sample::spec::AdaptiveSpec;
    /// let solver: AdaptiveSpec = serde_json::from_str(r#"{"kind": "adaptive_ode", "relative": 1e-3}"#)?;
    /// assert_eq!(solver, AdaptiveSpec::Ode(AdaptiveOde { relative: 1e-3, ..AdaptiveOde::default() }));
    /// let solver: AdaptiveSpec = serde_json::from_str(r#""prince_dormand_87""#)?;
    /// let method = Pair::PrinceDormand87;
    /// assert_eq!(solver, AdaptiveSpec::Ode(AdaptiveOde { method, ..AdaptiveOde::default() }));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    AdaptiveSpec, AdaptiveMemory of InnerProduct, adaptive_aliases();
    {
        Ode(AdaptiveOde) "adaptive_ode"
            "the probability-flow ODE to a tolerance, a step size for each sample"
        Dpm(AdaptiveDpm) "dpm_adaptive"
            "DPM-Solver-23 to a tolerance in grey levels, a step size for each sample"
    }
}

impl AdaptiveSpec {
    /// That its numbers make sense.
    ///
    /// # Errors
    /// [`SpecError::Setting`] or [`SpecError::Count`] naming the first that does not.
    pub fn check(&self) -> Result<(), SpecError> {
        match self {
            Self::Ode(solver) => solver.check(),
            Self::Dpm(solver) => solver.check(),
        }
    }
}

/// Names of settings of the adaptive solvers.
fn adaptive_aliases() -> Vec<Entry<AdaptiveSpec>> {
    let ode = |name, when, method| {
        let solver = AdaptiveSpec::Ode(AdaptiveOde { method, ..AdaptiveOde::default() });
        Entry { name, when, solver }
    };
    vec![
        ode(
            "bogacki_shampine_32",
            "adaptive_ode of order 3: tolerances of 1e-2 to 1e-3",
            Pair::BogackiShampine32,
        ),
        ode("dormand_prince_54", "adaptive_ode by another name", Pair::DormandPrince54),
        ode(
            "prince_dormand_87",
            "adaptive_ode of order 8: references, tolerances of 1e-7 and below",
            Pair::PrinceDormand87,
        ),
    ]
}

impl Default for SingleStepSpec {
    fn default() -> Self {
        Self::Heun(Heun::default())
    }
}

impl SolverSpec {
    /// That no sample of so many steps takes more model calls than it may cost.
    ///
    /// # Errors
    /// [`TooMany`] with the product of all that multiplies.
    pub fn check_calls(&self, steps: usize) -> Result<(), TooMany> {
        let per_step = Solver::<f64>::properties(self).calls_per_step;
        let (field, walks) = match self {
            Self::Restart(restart) => {
                ("steps times (1 + repeats)", restart.repeats.saturating_add(1))
            }
            Self::PredictorCorrector(_) => ("steps times (calls + corrections)", 1),
            _ => ("steps times calls", 1),
        };
        bounded_product(field, &[steps, per_step, walks], Cost::Calls).map(|_| ())
    }
}

/// Names under which other libraries know settings of these solvers.
fn aliases() -> Vec<Entry<SolverSpec>> {
    let entry = |name, when, solver| Entry { name, when, solver };
    let multistep = |name, when, solver| entry(name, when, SolverSpec::DpmSolverMultistep(solver));
    vec![
        entry("euler", "ddim by another name", SolverSpec::Ddim(Ddim { eta: 0.0 })),
        entry(
            "euler_ancestral",
            "ddim with eta 1, ancestral with small variance",
            SolverSpec::Ddim(Ddim { eta: 1.0 }),
        ),
        entry(
            "flow_heun",
            "Heun's method for flow matching",
            SolverSpec::Heun(Heun { coordinate: Coordinate::Flow }),
        ),
        entry(
            "flow_midpoint",
            "the midpoint method for flow matching",
            SolverSpec::Midpoint(Midpoint { coordinate: Coordinate::Flow }),
        ),
        multistep("dpm_solver_pp_2m", "10 to 50 model calls", DpmSolverMultistep::PP_2M),
        multistep(
            "dpm_solver_pp_3m",
            "parity with other libraries; measured order 2, prefer exponential_adams",
            DpmSolverMultistep::PP_3M,
        ),
        multistep(
            "dpm_solver_2m",
            "noise prediction without guidance",
            DpmSolverMultistep::NOISE_2M,
        ),
        multistep(
            "dpm_solver_3m",
            "parity with other libraries; measured order 2, prefer deis",
            DpmSolverMultistep::NOISE_3M,
        ),
        multistep(
            "dpm_solver_pp_2m_sde",
            "stochastic sampling in 20 to 100 model calls",
            DpmSolverMultistep { strength: 1.0, ..DpmSolverMultistep::PP_2M },
        ),
        multistep(
            "dpm_solver_pp_3m_sde",
            "parity with other libraries",
            DpmSolverMultistep { strength: 1.0, ..DpmSolverMultistep::PP_3M },
        ),
        entry(
            "deis",
            "noise prediction without guidance, 10 or more model calls",
            SolverSpec::ExponentialAdams(ExponentialAdams::deis(Order::Three)),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_as_what_it_stands_for_and_survives_its_own_json() {
        let mut names = Vec::new();
        for Entry { name, when, solver } in SolverSpec::entries() {
            let bare: SolverSpec = serde_json::from_value(name.into()).unwrap();
            assert_eq!(bare, solver, "{name}");
            let json = serde_json::to_string(&solver).unwrap();
            assert_eq!(serde_json::from_str::<SolverSpec>(&json).unwrap(), solver, "{json}");
            assert!(!names.contains(&name) && !when.is_empty(), "{name}");
            names.push(name);
        }
    }

    #[test]
    fn what_an_alias_leaves_open_can_be_set_beside_it() {
        let parse = |json: &str| serde_json::from_str::<SolverSpec>(json);
        let half = parse(r#"{"kind": "euler_ancestral", "eta": 0.5}"#).unwrap();
        assert_eq!(half, SolverSpec::Ddim(Ddim { eta: 0.5 }));
        for (json, named) in [
            (r#""dimm""#, "dimm"),
            (r#"{"kind": "ddim", "theta": 1}"#, "theta"),
            (r#"{"kind": "deis", "order": 7}"#, "order = 7: use 1 to 4"),
            (r#"{"kind": "churn", "solver": "uni_pc"}"#, "uni_pc"),
            (r#"{"kind": "euler_ancestral", "eta": -1}"#, "eta = -1: use a share"),
            (r#"{"kind": "sa_solver", "strength": -0.5}"#, "strength = -0.5: use 0 for the ODE"),
            (r#"{"kind": "euler_maruyama", "strength": -1}"#, "strength = -1: use 0 for the ODE"),
            (r#"{"kind": "churn", "sigma": {"min": 1, "max": 0.05}}"#, "1 to 0.05: use a min"),
            (r#"{"kind": "restart", "sigma": {"max": 0}}"#, "0 to 0: use a min"),
            (r#"{"kind": "sa_solver", "noisy": {"min": -1}}"#, "range of EDM's sigma = -1 to"),
            (r#"{"kind": "predictor_corrector", "snr": -1}"#, "snr = -1"),
            (r#"{"kind": "angular_adams", "data_std": 0}"#, "data_std = 0"),
            (
                r#"{"kind": "ancestral", "variance": {"interpolated": {"fraction": 2}}}"#,
                "fraction = 2: use a number from 0",
            ),
            (r#"{"eta": 1}"#, "kind"),
            ("3", "neither a name nor an object"),
        ] {
            let error = parse(json).unwrap_err().to_string();
            assert!(error.contains(named), "{json}: {error}");
        }
    }
}
