//! Solvers by name.

use serde::{Deserialize, Deserializer, Serialize};
use vdm_core::{Denoiser, Latent};

use super::named::name_or_object;
use crate::{Ancestral, Ddim, DpmSolverPp2M, Properties, Run, RunError, Solver, Step, TimeGrid};

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

/// An enum of solvers that is a solver itself, with the memory of whichever it holds.
macro_rules! named_solvers {
    (
        $(#[$doc:meta])* $spec:ident, $memory:ident
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
            /// Every name with its default settings.
            #[must_use]
            pub fn entries() -> Vec<Entry<Self>> {
                vec![$(Entry {
                    name: $name,
                    when: $when,
                    solver: Self::$variant(<$solver>::default()),
                }),*]
            }

            /// Its name in configurations.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {$( Self::$variant(_) => $name, )*}
            }
        }

        impl<'de> Deserialize<'de> for $spec {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(Deserialize)]
                #[serde(tag = "kind")]
                enum Object {$( #[serde(rename = $name)] $variant($solver), )*}
                Ok(match name_or_object(deserializer)? {
                    $( Object::$variant(solver) => Self::$variant(solver), )*
                })
            }
        }

        #[doc = concat!("What the solver in a [`", stringify!($spec), "`] remembers.")]
        #[derive(Debug, Default)]
        pub enum $memory<Z: Latent> {
            /// Before the first step.
            #[default]
            Fresh,
            $(
                #[doc = concat!("Of `", $name, "`.")]
                $variant(<$solver as Solver<Z>>::Memory),
            )*
        }

        impl<Z: Latent> Solver<Z> for $spec {
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
            ) -> Result<Z, RunError<D::Error>> {
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

named_solvers! {
    /// A solver with its settings, from a configuration: its bare name, or an object with the name
    /// as `kind` and what differs from the defaults. It is a [`Solver`] itself.
    ///
    /// ```
    /// use vdm_sample::{Ddim, SolverSpec};
    /// let solver: SolverSpec = serde_json::from_str(r#"{"kind": "ddim", "eta": 0.5}"#)?;
    /// assert_eq!(solver, SolverSpec::Ddim(Ddim { eta: 0.5 }));
    /// let same: SolverSpec = serde_json::from_str(r#""ddim""#)?;
    /// assert_eq!(same, SolverSpec::Ddim(Ddim::default()));
    /// let error = serde_json::from_str::<SolverSpec>(r#""dimm""#).unwrap_err();
    /// assert!(error.to_string().starts_with("unknown variant `dimm`, expected one of"));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    SolverSpec, SolverMemory {
        Ancestral(Ancestral) "ancestral" "the model that the bound is about; best with 100 steps or more"
        Ddim(Ddim) "ddim" "the simplest that works; deterministic with eta 0"
        DpmSolverPp2M(DpmSolverPp2M) "dpm_solver_pp_2m" "10 to 50 model calls"
    }
}
