//! The report of finished, unfinished and damaged runs.

#[path = "../../vdm-torch/tests/common/damage.rs"]
mod damage;
mod synthetic;

use std::fs;

use damage::{Chance, damaged};
use tempfile::TempDir;
use vdm_report::metrics::{LevelVariance, MetricsLog, Record, TrainRecord};
use vdm_report::result::Term;
use vdm_report::{RunDir, files, report};

fn finished() -> (TempDir, RunDir) {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDir::new(folder.path().join("digits-1"));
    synthetic::write_finished(&run).unwrap();
    (folder, run)
}

fn page(run: &RunDir) -> String {
    fs::read_to_string(report::write(run).unwrap()).unwrap()
}

/// The notes that stand in for missing parts.
fn notes(page: &str) -> Vec<&str> {
    let starts = page.split("<p class=\"note\">").skip(1);
    starts.map(|rest| rest.split("</p>").next().unwrap()).collect()
}

#[test]
fn a_finished_run_shows_everything() {
    let (_folder, run) = finished();
    let page = page(&run);
    assert_eq!(notes(&page), [""; 0]);
    // Final samples, six stages and the denoising strip; one wide plot, two by noise level,
    // two of the levels in training, five small.
    assert_eq!(page.matches("data:image/png;base64,iVBORw0KGgo").count(), 8);
    assert_eq!(page.matches("<svg ").count(), 10);
    for text in [
        "1.731 ± 0.016",
        "360 items",
        "L_inf, 20 low-discrepancy times an item",
        "sha256 9f86d081884c…",
        "283\u{202f}120",
        "2 min 4 s",
        "1\u{202f}032 images/s",
        "cpu, 2 threads",
        "libtorch 2.11.0",
        "step 4\u{202f}000",
        "learned; faint: at the start",
        "git: 4f2c1d9",
        "&quot;warm_up&quot;: 100",
    ] {
        assert!(page.contains(text), "the page lacks {text:?}");
    }
    // Beside the steps and below the norms of their gradients.
    assert_eq!(page.matches("1 skipped for too long a gradient").count(), 2);
}

#[test]
fn the_page_needs_nothing_else() {
    let (_folder, run) = finished();
    let page = page(&run);
    for reference in ["<script", "<link", "<iframe", "@import", "url(", "href=", "src=\"http"] {
        assert!(!page.contains(reference), "the page contains {reference}");
    }
    // The only address is the name of a markup language.
    let addresses = page.matches("http").count();
    assert_eq!(addresses, page.matches("http://www.w3.org/2000/svg").count());
}

#[test]
fn the_area_by_noise_level_is_stated() {
    let (_folder, run) = finished();
    let curve = vdm_report::result::LossByLogSnr::read(&run.loss_by_log_snr()).unwrap();
    let area = format!("{:.3}", curve.diffusion_bits_per_dim());
    assert!(page(&run).contains(&format!("<b>{area}</b> bits/dim over these levels")));
}

#[test]
fn an_unfinished_run_says_how_far_it_came_and_what_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDir::new(folder.path());
    synthetic::write_unfinished(&run).unwrap();
    let page = page(&run);
    let lacks = |name: &str| format!("The run has no {name} (yet).");
    let expected = [
        "result.json",
        "samples.png",
        "loss_by_log_snr.json",
        "noise_levels.json",
        "denoising.png",
    ];
    assert_eq!(notes(&page), expected.map(lacks));
    assert!(page.contains("Training reached step 4\u{202f}000 after 2 min 4 s."));
    assert!(page.contains("on the validation split after step 4\u{202f}000"));
}

#[test]
fn an_empty_folder_has_a_report_and_a_missing_one_has_none() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(notes(&page(&RunDir::new(folder.path()))).len(), 9);

    let missing = RunDir::new(folder.path().join("nowhere"));
    let message = report::write(&missing).unwrap_err().to_string();
    assert!(message.contains("cannot open the run folder") && message.contains("nowhere"));
    assert!(!missing.root().exists());
}

#[test]
fn damaged_parts_are_named_and_the_others_shown() {
    let (_folder, run) = finished();
    let cut = |path: std::path::PathBuf, keep: usize| {
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..keep]).unwrap();
    };
    cut(run.config(), 20);
    cut(run.result(), 40);
    cut(run.samples_png(), 4000);
    cut(run.samples_at(500), 7);
    let none =
        serde_json::json!({"log_snr": [0], "loss": [], "standard_error": [], "data_dims": 1});
    files::write_sealed(&run.loss_by_log_snr(), &none).unwrap();
    let levels = fs::read_to_string(run.noise_levels()).unwrap();
    fs::write(run.noise_levels(), levels.replacen("\"step\": 4000", "\"step\": 4001", 1)).unwrap();
    let log =
        fs::read_to_string(run.metrics()).unwrap().replacen("\"step\":20,", "\"step\":2x0,", 1);
    fs::write(run.metrics(), log).unwrap();

    let page = page(&run);
    let notes = notes(&page);
    for text in [
        "config.json does not hold the JSON expected",
        "result.json does not hold the JSON expected",
        "samples.png is not a readable PNG",
        "step-00000500.png is not a readable PNG",
        "loss_by_log_snr.json: 1 values of log_snr, 0 of loss",
        "noise_levels.json does not say what its seal vouches for",
        "metrics.jsonl, line 2, is no record",
    ] {
        assert!(notes.iter().any(|note| note.contains(text)), "no note {text:?} in {notes:#?}");
    }
    assert!(!notes.iter().any(|note| note.ends_with("..")), "{notes:#?}");
    // Five stages and the strip are still whole.
    assert_eq!(page.matches("data:image/png;base64,").count(), 6);
}

/// A log that lost its tail breaks no seal, but the result knows how long it was; a configuration may
/// be edited, and is shown as such.
#[test]
fn what_is_missing_or_edited_is_said() {
    let (_folder, run) = finished();
    let log = fs::read_to_string(run.metrics()).unwrap();
    let (_, last) = log.trim_end().rsplit_once('\n').unwrap();
    fs::write(run.metrics(), log.strip_suffix(&format!("{last}\n")).unwrap()).unwrap();
    let config = fs::read_to_string(run.config()).unwrap();
    fs::write(run.config(), config.replace("\"warm_up\": 100", "\"warm_up\": 900")).unwrap();
    let page = page(&run);
    let notes = notes(&page);
    assert!(
        notes.iter().any(|note| note.contains("last validation is of step 3500")),
        "{notes:#?}"
    );
    assert!(notes.iter().any(|note| note.contains("config.json was edited")), "{notes:#?}");
    assert!(page.contains("&quot;warm_up&quot;: 900"));
}

/// 300 random damages of each file that the page is made of: a note, or the very page. Only a log of
/// clock times may lose its end, for no other file says how long it was.
#[test]
fn no_damage_is_shown_without_a_word() {
    let (_folder, run) = finished();
    let whole_page = page(&run);
    let mut chance = Chance::new(14);
    for path in [
        run.config(),
        run.metrics(),
        run.timings(),
        run.result(),
        run.loss_by_log_snr(),
        run.noise_levels(),
        run.samples_png(),
        run.denoising(),
        run.samples_at(500),
    ] {
        let whole = fs::read(&path).unwrap();
        for case in 0..300 {
            let bytes = damaged(&whole, &mut chance);
            if path == run.timings() && whole.starts_with(&bytes) {
                continue;
            }
            fs::write(&path, &bytes).unwrap();
            let page = page(&run);
            let said = !notes(&page).is_empty();
            let same = page == whole_page || (is_png(&path) && pixels(&bytes) == pixels(&whole));
            assert!(said || same, "{} {case}", path.display());
        }
        fs::write(&path, whole).unwrap();
    }
}

fn is_png(path: &std::path::Path) -> bool {
    path.extension().is_some_and(|extension| extension == "png")
}

/// Of a preview, whatever is around them in the file.
fn pixels(file: &[u8]) -> Option<Vec<u8>> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().ok()?;
    let mut pixels = vec![0; reader.output_buffer_size()?];
    reader.next_frame(&mut pixels).ok().map(|_| pixels)
}

#[test]
fn a_diverged_run_can_be_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDir::new(folder.path());
    let mut log = MetricsLog::create(&run.metrics(), &[]).unwrap();
    for step in 1..=40 {
        let value = [1e99, f64::MAX, f64::NAN][usize::min(step as usize / 20, 2)];
        let record = TrainRecord {
            skipped: 0,
            step,
            loss_bits_per_dim: value,
            terms: vec![Term::new("diffusion", value)],
            weighted_loss: None,
            learning_rate: 1.0,
            gradient_norm: f64::INFINITY,
            variance: Some(LevelVariance {
                loss_variance: f64::INFINITY,
                relative_variance: f64::NAN,
                least_variance_share: f64::NAN,
            }),
        };
        log.append(&Record::Train(record)).unwrap();
    }
    let page = page(&run);
    assert!(page.contains("not shown: 21 training losses that are not finite"));
    assert!(page.contains("The run has no finite values to plot here (yet)."));
    assert!(!page.contains("NaN"));
}

#[test]
fn text_from_files_is_escaped_everywhere() {
    let (_folder, run) = finished();
    let attack = "<script>alert(1)</script>\"'&";
    let path = run.result();
    let mut result: serde_json::Value = files::read_sealed(&path).unwrap();
    for field in ["preset", "device", "libtorch", "git"] {
        result[field] = attack.into();
    }
    result["test"]["estimator"] = attack.into();
    result["data"] = serde_json::json!({"name": attack, "sha256": attack, "items": 1});
    files::write_sealed(&path, &result).unwrap();
    files::write_sealed(&run.config(), &serde_json::json!({ attack: attack })).unwrap();

    let page = page(&run);
    assert!(!page.contains("<script"));
    assert!(page.matches("&lt;script&gt;").count() >= 10);
}
