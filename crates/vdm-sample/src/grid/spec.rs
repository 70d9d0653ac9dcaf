//! A grid named in a configuration.

use serde::{Deserialize, Deserializer, Serialize};
use vdm_core::schedule::{Discrete, Spacing};
use vdm_core::{LogSnr, NoiseSchedule, Scaling};

use super::{GridError, LossTable, TimeGrid};
use crate::spec::NameOf;
use crate::spec::named::name_or_object;

/// A grid by name, with its parameters.
///
/// The bare name stands for a grid with its usual parameters:
///
/// ```
/// use vdm_sample::GridSpec;
/// use vdm_sample::grid::GridKind;
/// let spec: GridSpec = serde_json::from_str(r#"{"kind": "karras", "rho": 5, "clean": true}"#)?;
/// assert_eq!(spec, GridSpec { kind: GridKind::Karras { rho: 5.0 }, clean: true });
/// let spec: GridSpec = serde_json::from_str(r#""karras""#)?;
/// assert_eq!(spec, GridKind::Karras { rho: 7.0 }.into());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GridSpec {
    /// Where the steps lie.
    #[serde(flatten)]
    pub kind: GridKind,
    /// Whether one more step leads to clean data: [`TimeGrid::to_clean`].
    pub clean: bool,
}

/// The grids by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum GridKind {
    /// [`TimeGrid::uniform_time`].
    #[serde(deserialize_with = "no_parameters")]
    UniformTime,
    /// [`TimeGrid::quadratic_time`].
    #[serde(deserialize_with = "no_parameters")]
    QuadraticTime,
    /// [`TimeGrid::beta`].
    Beta {
        /// Below 1, the data is visited more often; 0.6 in the paper.
        #[serde(default = "usual_beta")]
        alpha: f64,
        /// Below 1, the noise is visited more often; 0.6 in the paper.
        #[serde(default = "usual_beta")]
        beta: f64,
    },
    /// [`TimeGrid::uniform_log_snr`].
    #[serde(deserialize_with = "no_parameters")]
    UniformLogSnr,
    /// [`TimeGrid::polyexponential`].
    Polyexponential {
        /// The power; 1 is `uniform_log_snr`.
        #[serde(default = "usual_power")]
        rho: f64,
    },
    /// [`TimeGrid::karras`].
    Karras {
        /// The root; 7 in the paper.
        #[serde(default = "usual_root")]
        rho: f64,
    },
    /// [`TimeGrid::angle`], which ends at clean data whatever `clean` says.
    Angle {
        /// Standard deviation of the data.
        #[serde(default = "usual_std")]
        data_std: f64,
        /// Above 1, steps shorten towards the data.
        #[serde(default = "usual_angle_power")]
        power: f64,
    },
    /// [`TimeGrid::timesteps`], which ends at clean data whatever `clean` says.
    Timesteps {
        /// The table the model was trained with.
        table: Box<Discrete>,
        /// Which of its entries.
        spacing: Spacing,
        /// Added to every index.
        #[serde(default)]
        offset: usize,
    },
    /// [`TimeGrid::elbo_optimal`].
    ElboOptimal {
        /// The model's errors at candidate levels.
        losses: LossTable,
    },
    /// [`TimeGrid::from_times`], for as many steps as it lists.
    Times {
        /// Times that fall from 1 to 0.
        times: Vec<f64>,
    },
    /// [`TimeGrid::from_log_snrs`], for as many steps as it lists.
    LogSnrs {
        /// Levels that rise, in JSON numbers, `"inf"` and `"-inf"`.
        log_snrs: Vec<LogSnr>,
    },
}

/// For a kind without parameters serde would take any for granted.
fn no_parameters<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    Nothing::deserialize(deserializer).map(|Nothing {}| ())
}

fn usual_beta() -> f64 {
    0.6
}

fn usual_power() -> f64 {
    1.0
}

fn usual_std() -> f64 {
    0.9
}

fn usual_angle_power() -> f64 {
    1.15
}

fn usual_root() -> f64 {
    7.0
}

impl From<GridKind> for GridSpec {
    fn from(kind: GridKind) -> Self {
        Self { kind, clean: false }
    }
}

impl GridKind {
    /// The names of configurations.
    pub const NAMES: [&str; 11] = [
        "uniform_time",
        "quadratic_time",
        "beta",
        "uniform_log_snr",
        "polyexponential",
        "karras",
        "angle",
        "timesteps",
        "elbo_optimal",
        "times",
        "log_snrs",
    ];

    /// Its name in a configuration.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::UniformTime => "uniform_time",
            Self::QuadraticTime => "quadratic_time",
            Self::Beta { .. } => "beta",
            Self::UniformLogSnr => "uniform_log_snr",
            Self::Polyexponential { .. } => "polyexponential",
            Self::Karras { .. } => "karras",
            Self::Angle { .. } => "angle",
            Self::Timesteps { .. } => "timesteps",
            Self::ElboOptimal { .. } => "elbo_optimal",
            Self::Times { .. } => "times",
            Self::LogSnrs { .. } => "log_snrs",
        }
    }

    /// The grid of `steps` steps under a schedule and scaling.
    ///
    /// # Errors
    /// The grid's own; [`GridError::Steps`] if a list has another number of steps.
    pub fn time_grid(
        &self,
        steps: usize,
        schedule: &dyn NoiseSchedule,
        scaling: Scaling,
    ) -> Result<TimeGrid, GridError> {
        let listed = |grid: TimeGrid| {
            let found = grid.steps();
            if found == steps { Ok(grid) } else { Err(GridError::Steps { asked: steps, found }) }
        };
        match self {
            Self::UniformTime => TimeGrid::uniform_time(steps, schedule, scaling),
            Self::QuadraticTime => TimeGrid::quadratic_time(steps, schedule, scaling),
            Self::Beta { alpha, beta } => TimeGrid::beta(steps, *alpha, *beta, schedule, scaling),
            Self::UniformLogSnr => TimeGrid::uniform_log_snr(steps, schedule, scaling),
            Self::Polyexponential { rho } => {
                TimeGrid::polyexponential(steps, *rho, schedule, scaling)
            }
            Self::Karras { rho } => TimeGrid::karras(steps, *rho, schedule, scaling),
            Self::Angle { data_std, power } => {
                TimeGrid::angle(steps, *data_std, *power, schedule, scaling)
            }
            Self::Timesteps { table, spacing, offset } => {
                TimeGrid::timesteps(steps, *spacing, *offset, table, scaling)
            }
            Self::ElboOptimal { losses } => TimeGrid::elbo_optimal(steps, losses, scaling),
            Self::Times { times } => {
                TimeGrid::from_times(times, schedule, scaling).and_then(listed)
            }
            Self::LogSnrs { log_snrs } => {
                TimeGrid::from_log_snrs(log_snrs.iter().map(|level| level.value()), scaling)
                    .and_then(listed)
            }
        }
    }
}

impl GridSpec {
    /// The levels of the `T`-step hierarchy.
    pub const UNIFORM_TIME: Self = Self { kind: GridKind::UniformTime, clean: false };

    /// The grid of `steps` steps under a schedule and scaling, and one more if it ends at clean
    /// data.
    ///
    /// # Errors
    /// Those of [`GridKind::time_grid`].
    pub fn time_grid(
        &self,
        steps: usize,
        schedule: &dyn NoiseSchedule,
        scaling: Scaling,
    ) -> Result<TimeGrid, GridError> {
        let grid = self.kind.time_grid(steps, schedule, scaling)?;
        Ok(if self.clean { grid.to_clean() } else { grid })
    }
}

/// The fields of a [`GridSpec`] written out.
#[derive(Deserialize)]
struct Fields {
    #[serde(flatten)]
    kind: GridKind,
    #[serde(default)]
    clean: bool,
}

impl<'de> Deserialize<'de> for GridSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Fields { kind, clean } =
            name_or_object(deserializer, Some((NameOf::Grid, &GridKind::NAMES)), |_| None)?;
        Ok(Self { kind, clean })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vdm_core::Schedule;

    fn parse(json: &str) -> Result<GridSpec, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    const KINDS: [&str; 11] = [
        r#"{"kind": "uniform_time"}"#,
        r#"{"kind": "quadratic_time"}"#,
        r#"{"kind": "beta", "alpha": 0.5, "beta": 0.7}"#,
        r#"{"kind": "exponential"}"#,
        r#"{"kind": "polyexponential", "rho": 1.5}"#,
        r#"{"kind": "karras", "rho": 3}"#,
        r#"{"kind": "timesteps", "spacing": "leading", "offset": 1, "table": {"betas":
            {"linear": {"steps": 1000, "beta_start": 1e-4, "beta_end": 0.02}}}}"#,
        r#"{"kind": "elbo_optimal", "losses": {"log_snrs": [-4, 0, 1, 2, 5],
            "errors": [0.1, 0.5, 0.6, 0.7, 0.9]}}"#,
        r#"{"kind": "angle", "power": 1}"#,
        r#"{"kind": "times", "times": [1, 0.6, 0.2, 0]}"#,
        r#"{"kind": "log_snrs", "log_snrs": ["-inf", -1, 1, 4]}"#,
    ];

    #[test]
    fn every_kind_makes_a_grid_and_survives_its_own_json() {
        let schedule = Schedule::linear(5.0, -5.0).unwrap();
        let vp = Scaling::VariancePreserving;
        for json in KINDS {
            let spec = parse(json).unwrap();
            let again = parse(&serde_json::to_string(&spec).unwrap()).unwrap();
            assert_eq!(again, spec);
            assert_eq!(spec.time_grid(3, &schedule, vp).unwrap().steps(), 3, "{json}");
            let clean = GridSpec { clean: true, ..spec.clone() };
            let again = parse(&serde_json::to_string(&clean).unwrap()).unwrap();
            assert_eq!(again, clean);
            let grid = clean.time_grid(3, &schedule, vp).unwrap();
            let own = matches!(spec.kind, GridKind::Timesteps { .. } | GridKind::Angle { .. });
            assert_eq!(grid.steps(), if own { 3 } else { 4 }, "{json}");
            assert_eq!(grid.levels()[grid.steps()].sigma, 0.0, "{json}");
        }
    }

    #[test]
    fn bare_names_take_the_usual_parameters() {
        let bare = [
            ("uniform_time", GridKind::UniformTime),
            ("uniform_log_snr", GridKind::UniformLogSnr),
            ("exponential", GridKind::UniformLogSnr),
            ("beta", GridKind::Beta { alpha: 0.6, beta: 0.6 }),
            ("karras", GridKind::Karras { rho: 7.0 }),
        ];
        for (name, kind) in bare {
            assert_eq!(parse(&format!("\"{name}\"")).unwrap(), kind.into());
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        for (json, named) in [
            (r#""karas""#, "karas"),
            (r#""timesteps""#, "table"),
            (r#""trailing""#, "table"),
            (r#"{"kind": "karas"}"#, "karas"),
            (r#"{"kind": "karras", "root": 3}"#, "root"),
            (r#"{"kind": "uniform_time", "rho": 3}"#, "rho"),
            (r#"{"rho": 3}"#, "kind"),
            (r#"{"kind": "times"}"#, "times"),
            (
                r#"{"kind": "elbo_optimal", "losses": {"log_snrs": [2, 1], "errors": [1, 1]}}"#,
                "rise",
            ),
            ("3", "neither a name nor an object"),
        ] {
            let error = parse(json).unwrap_err();
            assert!(error.contains(named), "{json}: {error}");
        }
        let schedule = Schedule::linear(5.0, -5.0).unwrap();
        let listed = parse(KINDS[9]).unwrap();
        let error = listed.time_grid(9, &schedule, Scaling::StraightLine).unwrap_err();
        assert_eq!(error, GridError::Steps { asked: 9, found: 3 });
    }
}
