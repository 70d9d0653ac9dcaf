//! What a training run leaves for people: metrics, `TensorBoard` events, previews, an HTML report.
//!
//! A trainer calls this crate as it goes, and [`report::write`] once at the end (or at any moment:
//! every part of a report is optional, so an unfinished or damaged run has one too). Everything
//! lies in one folder, whose layout is [`RunDir`]:
//!
//! | file | written by | holds |
//! |---|---|---|
//! | `config.json` | [`files::write_sealed`] | the resolved configuration, any JSON object |
//! | `metrics.jsonl` | [`metrics::MetricsLog`] | one [`metrics::Record`] a line |
//! | `timings.jsonl` | [`metrics::TimingsLog`] | one [`metrics::Timing`] a line |
//! | `events.out.tfevents.*` | [`tensorboard::EventWriter`] | scalars, images and text for `TensorBoard` |
//! | `samples/step-00000500.png` | [`preview::grid`] | samples while training |
//! | `samples.png`, `samples.npy` | [`preview::grid`], [`npy::write`] | the final samples |
//! | `denoising.png` | [`preview::grid`] or [`preview::strip`] | one sampling run, a column per noise level |
//! | `layers.json` | [`files::write_sealed`] | [`result::Layers`] of a hierarchy |
//! | `latents.json` | [`files::write_sealed_line`] | [`result::Latents`] of a hierarchy of two |
//! | `reconstructions.png` | [`preview::grid`] | test items of a hierarchy and what it makes of them |
//! | `loss_by_log_snr.json` | [`files::write_sealed`] | [`result::LossByLogSnr`] |
//! | `noise_levels.json` | [`files::write_sealed`] | [`result::NoiseLevels`] |
//! | `result.json` | [`files::write_sealed`] | [`result::RunResult`] |
//! | `report.html` | [`report::write`] | all of the above on one page |
//!
//! Files that are written whole are replaced atomically ([`files`]); logs are appended one
//! record per write and survive being cut off anywhere ([`log`]). JSON that later commands trust is sealed, so
//! that damage to it is found. [`figure`] draws the plots of a report, and figures by
//! themselves. No tensor engine, no printing.
//!
//! ```
//! use vdm_report::metrics::{MetricsLog, Record, ValidationRecord};
//! use vdm_report::result::Term;
//! use vdm_report::{RunDir, report};
//!
//! # let temporary = tempfile::tempdir()?;
//! # let folder = temporary.path();
//! let run = RunDir::new(folder);
//! let mut log = MetricsLog::create(&run.metrics(), &[])?;
//! log.append(&Record::Validation(ValidationRecord {
//!     step: 500,
//!     bits_per_dim: 1.93,
//!     standard_error: 0.02,
//!     terms: vec![Term::new("reconstruction", 0.021), Term::new("diffusion", 1.909)],
//! }))?;
//!
//! let page = std::fs::read_to_string(report::write(&run)?)?;
//! assert!(page.contains("1.930 ± 0.020"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
pub mod figure;
pub mod files;
pub mod folders;
pub mod log;
pub mod metrics;
pub mod npy;
pub mod preview;
pub mod report;
pub mod result;
mod run_dir;
pub mod tensorboard;

pub use error::Error;
pub use preview::Preview;
pub use run_dir::RunDir;

/// The example of the README, so that it cannot rot.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
