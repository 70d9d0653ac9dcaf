//! `--per-item`: a line of numbers for each item.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use vdm_core::bound::bits_per_dim;
use vdm_report::files;

use super::task::Measured;

/// A file with a line for each item, of the format that its name ends in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PerItem {
    path: PathBuf,
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    JsonLines,
}

/// The numbers of an item by their names, in the order of columns.
type Line = Vec<(&'static str, Value)>;

impl PerItem {
    /// A file by its name.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        let path = PathBuf::from(name);
        let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        let format = match extension.as_deref() {
            Some("csv") => Format::Csv,
            Some("jsonl") => Format::JsonLines,
            _ => return Err("name a file that ends in .csv or .jsonl".to_owned()),
        };
        Ok(Self { path, format })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the items of each bound, whole or not at all.
    pub(super) fn write(&self, measured: &[Measured], dims: usize) -> Result<()> {
        let lines: Vec<Line> =
            measured.iter().flat_map(|one| lines(one, measured.len() > 1, dims)).collect();
        let bytes = match self.format {
            Format::Csv => csv(&lines)?,
            Format::JsonLines => json_lines(&lines),
        };
        Ok(files::write_atomic(&self.path, &bytes)?)
    }
}

/// A line for each item; several bounds are told apart by their number of steps.
fn lines(measured: &Measured, is_one_of_several: bool, dims: usize) -> Vec<Line> {
    let bits = |nats: f64| bits_per_dim(nats, dims);
    let Measured { estimate, steps, .. } = measured;
    let steps = steps.map_or_else(|| json!("continuous"), |steps| json!(steps));
    let line = |(index, item): (usize, &vdm_sample::estimate::Moments)| {
        let mut line = vec![("index", json!(index))];
        if is_one_of_several {
            line.push(("steps", steps.clone()));
        }
        line.push(("bits_per_dim", json!(bits(item.mean()))));
        line.push(("nats", json!(item.mean())));
        line.push(("draw_error", json!(item.standard_error().map(bits))));
        let terms = estimate.terms.iter();
        line.extend(terms.map(|term| (term.name, json!(bits(term.items[index].mean())))));
        line
    };
    estimate.items.iter().enumerate().map(line).collect()
}

fn csv(lines: &[Line]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    if let Some(first) = lines.first() {
        writer.write_record(first.iter().map(|(name, _)| *name))?;
    }
    for line in lines {
        writer.write_record(line.iter().map(|(_, value)| match value {
            Value::Null => String::new(),
            Value::String(word) => word.clone(),
            number => number.to_string(),
        }))?;
    }
    writer.into_inner().context("a list of bytes takes all that is written")
}

fn json_lines(lines: &[Line]) -> Vec<u8> {
    let object = |line: &Line| -> Map<String, Value> {
        line.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    };
    lines
        .iter()
        .flat_map(|line| format!("{}\n", Value::Object(object(line))).into_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_says_its_format() {
        assert_eq!(PerItem::parse("a/b.CSV").unwrap().format, Format::Csv);
        assert_eq!(PerItem::parse("b.jsonl").unwrap().format, Format::JsonLines);
        for name in ["b.json", "b", "csv", ".csv", "b.csv.gz", ""] {
            assert!(PerItem::parse(name).unwrap_err().contains(".csv or .jsonl"), "{name}");
        }
    }

    #[test]
    fn what_is_not_known_is_empty_in_csv_and_null_in_json() {
        let lines = [vec![("index", json!(0)), ("nats", json!(0.1)), ("draw_error", Value::Null)]];
        assert_eq!(csv(&lines).unwrap(), b"index,nats,draw_error\n0,0.1,\n");
        let text = String::from_utf8(json_lines(&lines)).unwrap();
        let read: Value = serde_json::from_str(text.strip_suffix('\n').unwrap()).unwrap();
        assert_eq!(read, json!({"index": 0, "nats": 0.1, "draw_error": null}));
    }
}
