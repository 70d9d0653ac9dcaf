//! Compares our solvers with those of other libraries: `docs/work-precision.md` and its plot.
//!
//! `cargo xtask bench --peers` runs the others first and hands their results over.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use vdm_bench::work_precision::{self, Labeled, Peers};
use vdm_sample::grid::GridKind;
use vdm_sample::spec::Entry;
use vdm_sample::{GridSpec, Solver, SolverSpec};

/// What is tried beside every deterministic solver's defaults.
const VARIANTS: [&str; 7] = [
    r#"{"kind": "angular_adams", "order": 3}"#,
    r#"{"kind": "angular_adams", "order": 4}"#,
    r#"{"kind": "exponential_adams", "order": 2}"#,
    r#"{"kind": "exponential_adams", "order": 4}"#,
    r#"{"kind": "uni_pc", "order": 3}"#,
    r#"{"kind": "uni_pc", "order": 3, "prediction": "noise"}"#,
    r#"{"kind": "lms", "order": 4, "coordinate": "flow"}"#,
];

/// The spacings tried, each also with a last step to clean data.
const GRIDS: [&str; 6] = [
    r#"{"kind": "angle"}"#,
    r#"{"kind": "karras"}"#,
    r#"{"kind": "uniform_log_snr"}"#,
    r#"{"kind": "polyexponential", "rho": 1.5}"#,
    r#"{"kind": "polyexponential", "rho": 2}"#,
    r#"{"kind": "beta"}"#,
];

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = match std::env::args_os().skip(1).collect::<Vec<_>>().as_slice() {
        [flag, folder] if flag == "--peers" => PathBuf::from(folder),
        _ => {
            return Err(anyhow!("usage: work-precision --peers DIR (`cargo xtask bench --peers`)"));
        }
    };
    let peers: Peers = read(&folder.join("work_precision.json"))?;
    let mut solvers: Vec<Labeled<SolverSpec>> = SolverSpec::entries()
        .into_iter()
        .map(|Entry { name, solver, .. }| Labeled { label: name.to_owned(), choice: solver })
        .collect();
    for json in VARIANTS {
        solvers.push(Labeled::read(json)?);
    }
    solvers.retain(|solver| !Solver::<Vec<f64>>::properties(&solver.choice).stochastic);
    let mut grids: Vec<Labeled<GridSpec>> = Vec::new();
    for json in GRIDS {
        let grid: Labeled<GridSpec> = Labeled::read(json)?;
        let choice = GridSpec { clean: true, ..grid.choice.clone() };
        let ends_clean = matches!(choice.kind, GridKind::Angle { .. });
        if !ends_clean {
            grids.push(Labeled { label: format!("{} to clean", grid.label), choice });
        }
        grids.push(grid);
    }
    let mut rows = Vec::new();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/work_precision.json");
    for problem in work_precision::problems(&fixture)? {
        rows.extend(problem.rows(&solvers, &grids)?);
    }
    let plot = root.join("docs/images/work-precision.svg");
    work_precision::draw(&plot, &rows, &peers.ode)?;
    let document = root.join("docs/work-precision.md");
    let text = work_precision::markdown(&rows, &peers);
    std::fs::write(&document, text)
        .with_context(|| format!("cannot write {}", document.display()))?;
    println!("{}\n{}", document.display(), plot.display());
    Ok(())
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text)
        .with_context(|| format!("{} is not what benches/peers writes", path.display()))
}
