//! Files that change after they were written: bits that flip, ends that are missing, pages of zeros.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use vdm_random::{Purpose, Seed};

use crate::program::{Home, complaint, how_many, standing, vdm};

/// A number below `limit`, a function of the damage's index and what it is for.
fn below(limit: usize, index: usize, of: u64) -> usize {
    (Seed(1).uniform(Purpose::Prior, index as u64, of) * limit as f64) as usize
}

/// The bytes after one of the ways in which files go bad.
fn damaged(bytes: &[u8], index: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = below(bytes.len(), index, 1);
    match index % 6 {
        0..=2 => bytes[at] ^= 1 << below(8, index, 2),
        3 => bytes.truncate(at),
        4 => {
            let end = (at + 1 + below(4096, index, 3)).min(bytes.len());
            bytes[at..end].fill(0);
        }
        _ => bytes[at] = b"0123456789.-e \"{}[],"[below(20, index, 4)],
    }
    bytes
}

/// What a command left and printed.
#[derive(Debug, PartialEq)]
struct Left {
    files: BTreeMap<PathBuf, Vec<u8>>,
    said: String,
}

impl Left {
    /// How often messages and the page that was made name a file.
    fn mentions(&self, name: &str) -> usize {
        let pages =
            self.files.iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "html"));
        let said = pages.map(|(_, page)| String::from_utf8_lossy(page).matches(name).count());
        self.said.matches(name).count() + said.sum::<usize>()
    }
}

/// A file that a run owns, and a command that reads it.
struct Case {
    file: &'static str,
    line: &'static str,
    outputs: &'static [&'static str],
}

const fn case(file: &'static str, line: &'static str, outputs: &'static [&'static str]) -> Case {
    Case { file, line, outputs }
}

const SAMPLE: &str = "sample --run run --count 2 --steps 2 --threads 1 --out s.png";
const EVAL: &str = "eval --run run --items 2 --draws 2 --threads 1 --out e.json";
const HIERARCHY: &str = "eval --run hierarchy --items 4 --draws 2 --threads 1 --out e.json";
const LONGER: &str = "train --resume run --threads 1";
const SAMPLES: &[&str] = &["s.png", "s.npy"];
const TRAINED: &[&str] = &["run/checkpoints/step-00000024", "run/metrics.jsonl"];

/// Weights are read by all, so each of their commands gets a share. What only a report shows is damaged in
/// vdm-report's `no_damage_is_shown_without_a_word`.
const CASES: &[Case] = &[
    case("run/checkpoints/step-00000024/model.safetensors", SAMPLE, SAMPLES),
    case("run/checkpoints/step-00000024/checkpoint.json", EVAL, &["e.json"]),
    case("run/checkpoints/step-00000021/model.safetensors", LONGER, TRAINED),
    case("run/checkpoints/step-00000021/training.safetensors", LONGER, TRAINED),
    case("run/checkpoints/step-00000021/checkpoint.json", LONGER, TRAINED),
    case("run/config.json", EVAL, &["e.json"]),
    case("run/config.json", SAMPLE, SAMPLES),
    case("run/config.json", LONGER, TRAINED),
    case("run/metrics.jsonl", LONGER, TRAINED),
    case("run/metrics.jsonl", "report --run run", &["run/report.html"]),
    case("hierarchy/config.json", HIERARCHY, &["e.json"]),
    case("hierarchy/checkpoints/step-00000024/model.safetensors", HIERARCHY, &["e.json"]),
    case("given-c.vdmz", "decompress --run run given-c.vdmz --out pictures", &["pictures"]),
    case(
        "given-m.safetensors",
        "import --from vdm given-m.safetensors --data given-data.npy --out imported",
        &["imported"],
    ),
];

impl Case {
    /// What the command leaves in a folder, or its complaint.
    fn left(&self, folder: &Path) -> Result<Left, String> {
        let arguments: Vec<String> = self.line.split_whitespace().map(str::to_owned).collect();
        let output = vdm(folder, &arguments).output().expect("vdm starts");
        let said = complaint(&output);
        if output.status.success() {
            let mut files = standing(folder, self.outputs);
            // The page of the same files is the same, times included.
            let pages = self.outputs.iter().filter(|output| output.ends_with(".html"));
            files.extend(pages.map(|page| (page.into(), fs::read(folder.join(page)).unwrap())));
            return Ok(Left { files, said });
        }
        assert!(!said.contains("panicked") && said.contains("error"), "{}: {said}", self.line);
        Err(said)
    }

    /// Whether it goes on with a training that was interrupted at the step of the file.
    fn resumes(&self) -> bool {
        self.line == LONGER
    }

    fn home(&self, home: &Home) -> tempfile::TempDir {
        let copy = home.copied();
        if self.resumes() {
            fs::remove_dir_all(copy.path().join("run/checkpoints/step-00000024")).unwrap();
        }
        copy
    }

    /// Damages the file in as many copies: refused in words that name it, told, or without effect.
    fn withstands(&self, home: &Home, damages: usize) {
        let right = {
            let copy = self.home(home);
            self.left(copy.path()).unwrap_or_else(|said| panic!("{}: {said}", self.line))
        };
        let always = right.mentions(&self.named());
        let [mut refused, mut told, mut same] = [0; 3];
        for index in 0..damages {
            let copy = self.home(home);
            let path = copy.path().join(self.file);
            let whole = fs::read(&path).unwrap();
            let bytes = damaged(&whole, index);
            fs::remove_file(&path).unwrap();
            fs::write(&path, &bytes).unwrap();
            match self.left(copy.path()) {
                Err(said) => {
                    assert!(said.contains(&self.named()), "{}: {said}", self.file);
                    refused += 1;
                }
                Ok(left) if left.mentions(&self.named()) > always => told += 1,
                Ok(left) => {
                    let kept = copy.keep();
                    assert!(
                        left.files == right.files,
                        "{} ({}), damage {index}: another result without a word, see {}",
                        self.file,
                        self.line,
                        kept.display()
                    );
                    fs::remove_dir_all(kept).unwrap();
                    same += 1;
                }
            }
        }
        println!(
            "{:<50} {:<11} {damages} damages: {refused} refused, {told} told, {same} without effect",
            self.file,
            self.line.split(' ').next().unwrap_or_default()
        );
    }

    /// The part of the path that a message has to name.
    fn named(&self) -> String {
        let parts: Vec<&str> = self.file.split('/').collect();
        parts
            .iter()
            .find(|part| part.starts_with("step-"))
            .unwrap_or(&parts[parts.len() - 1])
            .to_string()
    }
}

/// Two tests of it, as each takes long.
fn withstand(resumes: bool) {
    let home = Home::new();
    let damages = how_many("VDM_FAULT_DAMAGES", 6);
    let cases = CASES.iter().filter(|case| case.resumes() == resumes);
    cases.for_each(|case| case.withstands(&home, damages));
}

#[test]
fn a_damaged_file_never_gives_another_result_without_a_word() {
    withstand(false);
}

#[test]
fn a_training_never_goes_on_from_a_damaged_file_without_a_word() {
    withstand(true);
}

/// The damages themselves: what they are called, and that they do something.
#[test]
fn every_kind_of_damage_changes_the_bytes() {
    let whole: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let different = (0..60).filter(|index| damaged(&whole, *index) != whole).count();
    assert!(different >= 59, "{different} of 60");
}
