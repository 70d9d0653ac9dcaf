//! What other libraries call what has a name here.
//!
//! A configuration may use these names, in any case and with dashes, underscores or spaces; it is
//! written back with the name here.

use std::fmt;

use thiserror::Error;

use super::{AdaptiveSpec, NoiseSpec, SolverSpec};
use crate::grid::GridKind;

/// A name of another library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elsewhere {
    /// The name there.
    pub name: &'static str,
    /// Whose name it is.
    pub library: &'static str,
    /// The name here.
    pub here: &'static str,
}

/// What kind of thing a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameOf {
    /// A solver, on a grid or with steps of its own.
    Solver,
    /// A grid.
    Grid,
    /// A source of noise.
    Noise,
}

const fn all<const N: usize>(
    library: &'static str,
    pairs: [(&'static str, &'static str); N],
) -> [Elsewhere; N] {
    let mut names = [Elsewhere { name: "", library, here: "" }; N];
    let mut i = 0;
    while i < N {
        names[i].name = pairs[i].0;
        names[i].here = pairs[i].1;
        i += 1;
    }
    names
}

const SOLVERS: [&[Elsewhere]; 5] = [
    &all(
        "k-diffusion",
        [
            ("euler_a", "euler_ancestral"),
            ("dpm_2_a", "dpm_2_ancestral"),
            ("dpmpp_2s_ancestral", "dpm_solver_pp_2s_ancestral"),
            ("dpmpp_2s_a", "dpm_solver_pp_2s_ancestral"),
            ("dpmpp_sde", "dpm_solver_pp_sde"),
            ("dpmpp_2m", "dpm_solver_pp_2m"),
            ("dpmpp_2m_sde", "dpm_solver_pp_2m_sde"),
            ("dpmpp_3m_sde", "dpm_solver_pp_3m_sde"),
            ("dpm_fast", "dpm_solver_singlestep"),
        ],
    ),
    &all(
        "diffusers",
        [
            ("DDPMScheduler", "ancestral"),
            ("DDPMParallelScheduler", "ancestral"),
            ("DDIMScheduler", "ddim"),
            ("DDIMParallelScheduler", "ddim"),
            ("EulerDiscreteScheduler", "euler"),
            ("EDMEulerScheduler", "euler"),
            ("FlowMatchEulerDiscreteScheduler", "euler"),
            ("EulerAncestralDiscreteScheduler", "euler_ancestral"),
            ("HeunDiscreteScheduler", "heun"),
            ("FlowMatchHeunDiscreteScheduler", "flow_heun"),
            ("KDPM2DiscreteScheduler", "dpm_2"),
            ("KDPM2AncestralDiscreteScheduler", "dpm_2_ancestral"),
            ("LMSDiscreteScheduler", "lms"),
            ("DPMSolverSinglestepScheduler", "dpm_solver_singlestep"),
            ("DPMSolverSDEScheduler", "dpm_solver_pp_sde"),
            ("DPMSolverMultistepScheduler", "dpm_solver_multistep"),
            ("EDMDPMSolverMultistepScheduler", "dpm_solver_pp_2m"),
            ("CosineDPMSolverMultistepScheduler", "dpm_solver_pp_2m_sde"),
            ("DEISMultistepScheduler", "deis"),
            ("UniPCMultistepScheduler", "uni_pc"),
            ("SASolverScheduler", "sa_solver"),
            ("ScoreSdeVpScheduler", "euler_maruyama"),
            ("ScoreSdeVeScheduler", "predictor_corrector"),
            ("KarrasVeScheduler", "churn"),
        ],
    ),
    &all(
        "web interfaces",
        [
            ("ddpm", "ancestral"),
            ("dpm2", "dpm_2"),
            ("dpm2_a", "dpm_2_ancestral"),
            ("dpmpp_2s", "dpm_solver_singlestep"),
            ("dpmpp_3m", "dpm_solver_pp_3m"),
            ("dpmpp_2m_sde_gpu", "dpm_solver_pp_2m_sde"),
            ("dpmpp_3m_sde_gpu", "dpm_solver_pp_3m_sde"),
            ("dpmpp_sde_gpu", "dpm_solver_pp_sde"),
            ("uni_pc_bh2", "uni_pc"),
        ],
    ),
    &all(
        "papers and their code",
        [
            ("DPM-Solver++(2M)", "dpm_solver_pp_2m"),
            ("DPM-Solver++(3M)", "dpm_solver_pp_3m"),
            ("DPM-Solver++(2S)", "dpm_solver_singlestep"),
            ("SDE-DPM-Solver++(2M)", "dpm_solver_pp_2m_sde"),
            ("dpmsolver++", "dpm_solver_pp_2m"),
            ("dpmsolver", "dpm_solver_2m"),
            ("edm", "churn"),
            ("pc", "predictor_corrector"),
            ("em", "euler_maruyama"),
        ],
    ),
    &all(
        "flow_matching, torchdiffeq and SciPy",
        [
            ("heun2", "flow_heun"),
            ("dopri5", "dormand_prince_54"),
            ("RK45", "dormand_prince_54"),
            ("dopri8", "prince_dormand_87"),
            ("bosh3", "bogacki_shampine_32"),
            ("RK23", "bogacki_shampine_32"),
        ],
    ),
];

const GRIDS: [&[Elsewhere]; 2] = [
    &all(
        "k-diffusion and web interfaces",
        [
            ("uniform", "uniform_time"),
            ("normal", "uniform_time"),
            ("sgm_uniform", "uniform_time"),
            ("exponential", "uniform_log_snr"),
            ("simple", "timesteps"),
            ("ddim_uniform", "timesteps"),
        ],
    ),
    &all(
        "diffusers and DPM-Solver's code",
        [
            ("leading", "timesteps"),
            ("trailing", "timesteps"),
            ("linspace", "timesteps"),
            ("use_karras_sigmas", "karras"),
            ("use_exponential_sigmas", "uniform_log_snr"),
            ("use_beta_sigmas", "beta"),
            ("use_lu_lambdas", "uniform_log_snr"),
            ("time_uniform", "uniform_time"),
            ("time_quadratic", "quadratic_time"),
            ("quad", "quadratic_time"),
            ("logSNR", "uniform_log_snr"),
        ],
    ),
];

const NOISES: [&[Elsewhere]; 1] = [&all(
    "k-diffusion and torchsde",
    [
        ("gaussian", "iid"),
        ("normal", "iid"),
        ("randn_like", "iid"),
        ("default_noise_sampler", "iid"),
        ("brownian_tree", "brownian"),
        ("BrownianTreeNoiseSampler", "brownian"),
        ("BrownianInterval", "brownian"),
    ],
)];

impl NameOf {
    /// The names of other libraries.
    pub fn elsewhere(self) -> impl Iterator<Item = Elsewhere> {
        let lists: &'static [&'static [Elsewhere]] = match self {
            Self::Solver => &SOLVERS,
            Self::Grid => &GRIDS,
            Self::Noise => &NOISES,
        };
        lists.iter().flat_map(|list| list.iter().copied())
    }

    /// The names here.
    #[must_use]
    pub fn here(self) -> Vec<&'static str> {
        match self {
            Self::Solver => {
                let adaptive = AdaptiveSpec::entries();
                let adaptive = adaptive.iter().map(|entry| entry.name);
                SolverSpec::entries().iter().map(|entry| entry.name).chain(adaptive).collect()
            }
            Self::Grid => GridKind::NAMES.to_vec(),
            Self::Noise => NoiseSpec::NAMES.to_vec(),
        }
    }

    /// What `name` is called here, if it is another library's name alone.
    ///
    /// ```
    /// use vdm_sample::spec::NameOf;
    /// let known = NameOf::Solver.elsewhere_only("UniPCMultistepScheduler").unwrap();
    /// assert_eq!((known.library, known.here), ("diffusers", "uni_pc"));
    /// assert_eq!(NameOf::Solver.elsewhere_only("DDIM"), None);
    /// ```
    #[must_use]
    pub fn elsewhere_only(self, name: &str) -> Option<Elsewhere> {
        let same = |known: &str| plain(known) == plain(name);
        let here = self.here().into_iter().any(same);
        self.elsewhere().find(|known| !here && same(known.name))
    }

    /// As [`resolve`](Self::resolve), to one of the `known` names.
    ///
    /// # Errors
    /// Any [`NameError`].
    pub fn named(self, name: &str, known: &[&'static str]) -> Result<&'static str, NameError> {
        if let Some(here) = self.resolve(name).filter(|here| known.contains(here)) {
            return Ok(here);
        }
        let split = |grid: &'static str| {
            let solver =
                plain(name).strip_suffix(&plain(grid)).and_then(|solver| self.resolve(solver))?;
            Some((solver, grid))
        };
        let grids = Self::Grid.here().into_iter().chain(["exponential"]);
        let (name, known) = (name.to_owned(), known.to_vec());
        match grids.filter(|_| self == Self::Solver).find_map(split) {
            Some((solver, grid)) => Err(NameError::WithGrid { name, solver, grid }),
            None => Err(NameError::Unknown { of: self, name, known }),
        }
    }

    /// The name here of what `name` stands for, whatever its case and the marks between its words.
    ///
    /// ```
    /// use vdm_sample::spec::NameOf;
    /// assert_eq!(NameOf::Solver.resolve("DPM++ 2M SDE"), Some("dpm_solver_pp_2m_sde"));
    /// assert_eq!(NameOf::Solver.resolve("DDIM"), Some("ddim"));
    /// assert_eq!(NameOf::Solver.resolve("ddmi"), None);
    /// ```
    #[must_use]
    pub fn resolve(self, name: &str) -> Option<&'static str> {
        let wanted = plain(name);
        let same = |known: &str| plain(known) == wanted;
        let here = self.here().into_iter().find(|known| same(known));
        here.or_else(|| self.elsewhere().find(|known| same(known.name)).map(|known| known.here))
    }
}

/// Why a name stands for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Neither this library nor another that it knows has it.
    #[error(
        "unknown {of} `{name}`: the {of}s are {}; what k-diffusion, diffusers and others call these \
         is understood too",
        known.join(", ")
    )]
    Unknown {
        /// What it should name.
        of: NameOf,
        /// The name as given.
        name: String,
        /// Those that can be meant.
        known: Vec<&'static str>,
    },
    /// It names a solver and a grid, as web interfaces do.
    #[error("`{name}` is the solver {solver} on the grid {grid}: name each for itself")]
    WithGrid {
        /// The name as given.
        name: String,
        /// The solver in it.
        solver: &'static str,
        /// The grid in it.
        grid: &'static str,
    },
}

impl fmt::Display for NameOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Solver => "solver",
            Self::Grid => "grid",
            Self::Noise => "noise",
        })
    }
}

/// Letters and digits alone, in lower case; a plus is the `p` that code writes for it. A function of
/// k-diffusion or a class of diffusers may be given by its full name.
fn plain(name: &str) -> String {
    let letters = name.chars().map(|c| if c == '+' { 'p' } else { c.to_ascii_lowercase() });
    let plain: String = letters.filter(char::is_ascii_alphanumeric).collect();
    let plain = plain.strip_prefix("sample").unwrap_or(&plain);
    plain.strip_suffix("scheduler").unwrap_or(plain).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [NameOf; 3] = [NameOf::Solver, NameOf::Grid, NameOf::Noise];

    #[test]
    fn every_name_elsewhere_leads_to_one_here_and_hides_none() {
        for kind in KINDS {
            let here = kind.here();
            for known in kind.elsewhere() {
                assert!(here.contains(&known.here), "{known:?}");
                assert_eq!(kind.resolve(known.name), Some(known.here), "{known:?}");
            }
            for name in here {
                assert_eq!(kind.resolve(name), Some(name));
                assert_eq!(kind.resolve(&name.to_uppercase().replace('_', "-")), Some(name));
            }
        }
    }

    #[test]
    fn names_are_understood_as_people_write_them() {
        for (name, here) in [
            ("dpmpp_2m", "dpm_solver_pp_2m"),
            ("DPM++ 2M", "dpm_solver_pp_2m"),
            ("dpmpp-2m-sde", "dpm_solver_pp_2m_sde"),
            ("DPM++ 3M SDE", "dpm_solver_pp_3m_sde"),
            ("sample_dpmpp_2s_ancestral", "dpm_solver_pp_2s_ancestral"),
            ("euler_a", "euler_ancestral"),
            ("Euler", "euler"),
            ("UniPC", "uni_pc"),
            ("UniPCMultistep", "uni_pc"),
            ("DDIMScheduler", "ddim"),
            ("DPMSolverMultistepScheduler", "dpm_solver_multistep"),
            ("dopri5", "dormand_prince_54"),
        ] {
            assert_eq!(NameOf::Solver.resolve(name), Some(here), "{name}");
        }
        assert_eq!(NameOf::Grid.resolve("Karras"), Some("karras"));
        assert_eq!(NameOf::Noise.resolve("BrownianTree"), Some("brownian"));
    }

    #[test]
    fn a_grid_in_the_name_of_a_solver_is_said() {
        let error = NameOf::Solver.named("DPM++ 2M Karras", &NameOf::Solver.here()).unwrap_err();
        let (solver, grid) = ("dpm_solver_pp_2m", "karras");
        assert_eq!(error, NameError::WithGrid { name: "DPM++ 2M Karras".into(), solver, grid });
    }

    #[test]
    fn an_unknown_name_is_answered_with_all_there_are() {
        for kind in KINDS {
            let error = kind.named("nothing", &kind.here()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("unknown {kind} `nothing`: ")), "{error}");
            for name in kind.here() {
                assert!(error.contains(name), "{name}: {error}");
            }
        }
    }
}
