//! Writes a made-up run and its report, to look at after a change of the page:
//! `cargo run -p vdm-report --example synthetic_run -- FOLDER`

#[path = "../tests/synthetic/mod.rs"]
mod synthetic;

use vdm_report::{RunDir, report};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).ok_or("name the folder to write into")?;
    let run = RunDir::new(folder);
    synthetic::write_finished(&run)?;
    println!("{}", report::write(&run)?.display());
    Ok(())
}
