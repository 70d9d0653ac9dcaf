//! Compares our solvers with those of other libraries: `docs/work-precision.md` and its picture.
//!
//! `cargo xtask bench --peers` runs the others first and hands their results over.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use vdm_bench::work_precision::{self, Peers};
use vdm_sample::{Entry, GridSpec, Solver, SolverSpec};

/// What is tried beside every deterministic solver's defaults.
const VARIANTS: [&str; 0] = [];

/// The spacings tried, each also with a last step to clean data.
const GRIDS: [&str; 8] = [
    r#"{"kind": "karras", "rho": 3}"#,
    r#"{"kind": "karras", "rho": 5}"#,
    r#"{"kind": "karras", "rho": 7}"#,
    r#"{"kind": "polyexponential", "rho": 0.7}"#,
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
    let defaults = SolverSpec::entries().into_iter().map(|Entry { solver, .. }| solver);
    let variants = VARIANTS.iter().map(|json| serde_json::from_str(json));
    let solvers: Vec<SolverSpec> = defaults
        .map(Ok)
        .chain(variants)
        .filter(|s| s.as_ref().map_or(true, |s| !Solver::<Vec<f64>>::properties(s).stochastic))
        .collect::<Result<_, _>>()?;
    let grids: Vec<GridSpec> =
        GRIDS.iter().map(|json| serde_json::from_str(json)).collect::<Result<_, _>>()?;
    let grids: Vec<GridSpec> =
        grids.into_iter().flat_map(|g| [GridSpec { clean: true, ..g.clone() }, g]).collect();
    let mut rows = Vec::new();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/work_precision.json");
    for problem in work_precision::problems(&fixture)? {
        rows.extend(problem.rows(&solvers, &grids)?);
    }
    let picture = root.join("docs/images/work-precision.svg");
    work_precision::draw(&picture, &rows, &peers.ode).map_err(|error| anyhow!("{error}"))?;
    let document = root.join("docs/work-precision.md");
    let text = work_precision::markdown(&rows, &peers);
    std::fs::write(&document, text)
        .with_context(|| format!("cannot write {}", document.display()))?;
    println!("{}\n{}", document.display(), picture.display());
    Ok(())
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text)
        .with_context(|| format!("{} is not what benches/peers writes", path.display()))
}
