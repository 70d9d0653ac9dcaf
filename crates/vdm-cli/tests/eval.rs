//! What `vdm eval` writes for people, for programs and for each item, and on which data.

mod common;

use std::fs;
use std::path::Path;

use common::{refs, run, train};
use serde_json::Value;

/// What an evaluation that succeeds prints.
fn eval(dir: &str, more: &[&str]) -> String {
    let ran = run(&[&["eval", "--run", dir, "--draws", "2"], more].concat());
    assert!(ran.status.success(), "{more:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

/// The message of one that fails.
fn refused(dir: &str, more: &[&str]) -> String {
    let ran = run(&[&["eval", "--run", dir, "--draws", "2"], more].concat());
    assert!(!ran.status.success() && ran.stdout.is_empty(), "{more:?}");
    String::from_utf8(ran.stderr).unwrap()
}

/// The header and the numbers of a file of commas; what is empty is none.
fn csv(path: &Path) -> (String, Vec<Vec<Option<f64>>>) {
    let text = fs::read_to_string(path).unwrap();
    let (header, lines) = text.split_once('\n').unwrap();
    let cell = |cell: &str| (!cell.is_empty()).then(|| cell.parse().unwrap_or(f64::INFINITY));
    (header.to_owned(), lines.lines().map(|line| line.split(',').map(cell).collect()).collect())
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * b.abs()
}

#[test]
fn evaluations_are_written_for_people_and_for_programs() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    assert!(run(&refs(&train(&out, &["--steps", "2"]))).status.success());
    let dir = out.to_str().unwrap();
    table_and_document(dir);
    each_item(dir, folder.path());
    other_data(dir, folder.path());
}

/// One item has no standard error, and that is said instead of an infinite one.
#[test]
fn a_validation_on_one_item_has_no_standard_error() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let one = ["--steps", "1", "--set", "output.validation_items=1"];
    let told = run(&refs(&train(&out, &one)));
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("(1 item: no standard error)") && !told.contains("± inf"), "{told}");
}

/// Whatever is asked of a run that is not there, nothing is made in its place.
#[test]
fn a_mistyped_run_is_no_folder_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let typo = folder.path().join("typo");
    let dir = typo.to_str().unwrap();
    for command in ["sample", "eval", "report"] {
        let ran = run(&[command, "--run", dir]);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(said.contains("is not the folder of a run"), "{command}: {said}");
        assert!(!typo.exists(), "{command}");
    }
}

/// What is trained in discrete time is judged in training by its own bound, whose loss has no curve over all levels, and
/// `vdm eval` tells either.
#[test]
fn a_run_in_discrete_time_is_judged_by_its_own_bound() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let more = ["--steps", "2", "--set", "objective.time={\"discrete\": {\"steps\": 1}}"];
    assert!(run(&refs(&train(&out, &more))).status.success());
    let document = |name: &str| -> Value {
        serde_json::from_str(&fs::read_to_string(out.join(name)).unwrap()).unwrap()
    };
    let estimator = document("result.json")["test"]["estimator"].to_string();
    assert!(estimator.contains("1-step bound (L_T)"), "{estimator}");
    assert!(document("loss_by_log_snr.json")["loss"].as_array().unwrap().len() > 10);
    let dir = out.to_str().unwrap();
    let told = run(&["train", "--resume", dir]);
    assert!(String::from_utf8_lossy(&told.stdout).contains("is finished"));
    assert!(eval(dir, &["--items", "2"]).contains("continuous-time bound (L_inf)"));
    assert!(eval(dir, &["--items", "2", "--steps", "1"]).contains("1-step bound (L_T)"));
}

fn table_and_document(dir: &str) {
    let table = eval(dir, &["--items", "3"]);
    assert!(!table.contains('{') && table.lines().count() < 12, "{table}");
    let labels: Vec<&str> = table.lines().filter_map(|l| l.split_whitespace().next()).collect();
    let expected = [
        "total",
        "prior",
        "reconstruction",
        "diffusion",
        "estimator",
        "items",
        "split",
        "data",
        "SHA-256",
        "checkpoint",
    ];
    assert_eq!(labels, expected, "{table}");
    let value = |line: &str| line.find("  ").map(|_| line.rsplit("  ").next().unwrap().len());
    assert!(table.lines().all(|line| value(line).is_some()), "{table}");
    assert!(table.contains(" ± ") && table.contains("3 of 359"), "{table}");

    let document: Value = serde_json::from_str(&eval(dir, &["--items", "3", "--json"])).unwrap();
    let total = document["result"]["bits_per_dim"]["mean"].as_f64().unwrap();
    assert!(table.contains(&format!("{total:.4} ±")), "{table}{total}");
    assert_eq!(document["data"]["is_of_run"], true);

    let one = eval(dir, &["--items", "1"]);
    assert!(one.contains("(1 item: no standard error)") && !one.contains('±'), "{one}");
}

fn each_item(dir: &str, folder: &Path) {
    let file = folder.join("new/items.csv");
    let per_item = ["--items", "3", "--per-item", file.to_str().unwrap(), "--json"];
    let written = |more: &[&str]| -> Value {
        serde_json::from_str(&eval(dir, &[&per_item, more].concat())).unwrap()
    };
    let mean = |lines: &[Vec<Option<f64>>], column: usize| {
        lines.iter().map(|line| line[column].unwrap()).sum::<f64>() / lines.len() as f64
    };
    let document = written(&[]);
    let (header, lines) = csv(&file);
    assert_eq!(header, "index,bits_per_dim,nats,draw_error,prior,reconstruction,diffusion");
    assert_eq!(lines.len(), 3);
    let result = &document["result"];
    assert!(close(mean(&lines, 1), result["bits_per_dim"]["mean"].as_f64().unwrap()));
    for (column, term) in [(4, "prior"), (5, "reconstruction"), (6, "diffusion")] {
        assert!(close(mean(&lines, column), result["terms"][term]["mean"].as_f64().unwrap()));
    }
    for (index, line) in lines.iter().enumerate() {
        let [bits, nats] = [line[1].unwrap(), line[2].unwrap()];
        assert!(line[0] == Some(index as f64) && line[3].is_none(), "{line:?}");
        assert!(close(bits * 64.0 * std::f64::consts::LN_2, nats));
        assert!(close(line[4].unwrap() + line[5].unwrap() + line[6].unwrap(), bits));
    }
    // The error due to the draws of the mean is that of independent items.
    let document = written(&["--rounds", "3"]);
    let (_, lines) = csv(&file);
    let squares: f64 = lines.iter().map(|line| line[3].unwrap().powi(2)).sum();
    let error = document["result"]["bits_per_dim"]["draw_error"].as_f64().unwrap();
    assert!(close(squares.sqrt() / 3.0, error), "{squares} {error}");

    written(&["--steps", "2,4", "--rounds", "1"]);
    let (header, lines) = csv(&file);
    assert!(header.starts_with("index,steps,bits_per_dim,"), "{header}");
    let steps: Vec<f64> = lines.iter().map(|line| line[1].unwrap()).collect();
    let continuous = f64::INFINITY;
    let expected = [2.0, 2.0, 2.0, 4.0, 4.0, 4.0, continuous, continuous, continuous];
    assert_eq!(steps, expected);

    let lines = folder.join("items.jsonl");
    eval(
        dir,
        &["--items", "2", "--steps", "2,4", "--rounds", "1", "--per-item", lines.to_str().unwrap()],
    );
    let text = fs::read_to_string(&lines).unwrap();
    let read: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read.len(), 6);
    assert!(read[0]["steps"] == 2 && read[5]["steps"] == "continuous" && read[5]["index"] == 1);
    assert!(read[0]["draw_error"].is_null() && read[0]["nats"].is_f64(), "{}", read[0]);

    let taken = file.join("below.csv");
    for (flags, named) in [
        (&["--per-item", "items.txt"][..], "ends in .csv or .jsonl"),
        (&["--per-item", "x.csv", "--out", "x.csv"], "give each a file of its own"),
        (&["--per-item", taken.to_str().unwrap()], "cannot create the folder"),
    ] {
        let fault = refused(dir, flags);
        assert!(fault.contains(named), "{flags:?}: {fault}");
    }
}

fn other_data(dir: &str, folder: &Path) {
    let array = |name: &str, shape: &[usize], values: u32| {
        let path = folder.join(name);
        let count: usize = shape.iter().product();
        let pixels: Vec<u8> = (0..count as u32).map(|i| (i * 7 % values) as u8).collect();
        vdm_report::npy::write(&path, &pixels, shape).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let data = array("other.npy", &[20, 8, 8], 17);
    let table = eval(dir, &["--data", &data]);
    assert!(table.contains("20 of 20") && table.contains("other.npy, not the run's"), "{table}");
    let json = |more: &[&str]| -> Value {
        serde_json::from_str(&eval(dir, &[&["--data", &data, "--json"], more].concat())).unwrap()
    };
    let document = json(&[]);
    assert_eq!(
        (&document["data"]["is_of_run"], &document["data"]["items"]),
        (&false.into(), &20.into())
    );
    assert_eq!(
        (&document["data"]["name"], &document["data"]["split"]),
        (&"other.npy".into(), &"all".into())
    );
    assert_eq!(json(&["--split", "test"])["data"]["items"], 4);
    // Of all items of other data the grid is chosen by the run's own validation items.
    assert_eq!(json(&["--steps", "2", "--grid", "elbo-optimal"])["grid"]["kind"], "elbo_optimal");
    let own = eval(dir, &["--data", "digits", "--items", "2"]);
    assert!(own.contains("the run's own") && own.contains("2 of 1797"), "{own}");
    for (path, named) in [
        (array("wide.npy", &[20, 8, 9], 17), "items of 1×8×9"),
        (array("color.npy", &[20, 8, 8, 3], 17), "items of 3×8×8"),
        (array("fine.npy", &[20, 8, 8], 200), "its values run from 0 to 16"),
        ("swirl".to_owned(), "1×1×2"),
        (folder.join("nowhere").to_str().unwrap().to_owned(), "nowhere"),
    ] {
        let fault = refused(dir, &["--data", &path]);
        assert!(fault.contains(named), "{path}: {fault}");
    }
}
