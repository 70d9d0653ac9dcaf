//! In which fields two configurations differ, and which of them make another run.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Error;
use crate::config::RunConfig;

/// What may change between two stretches of one run; where the data lie too, since their hash says
/// whether they are the same.
const FREE: [&str; 7] =
    ["preset", "data", "training.steps", "training.optimizer", "evaluation", "sampler", "output"];

/// A field in which two configurations differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// As a path through the configuration.
    pub field: String,
    /// Its value then; null if it was not there.
    pub before: Value,
    /// Its value now; null if it is not there.
    pub now: Value,
}

impl Change {
    /// Whether it is below one of these paths.
    #[must_use]
    pub fn is_below(&self, paths: &[&str]) -> bool {
        let below = |rest: &str| rest.is_empty() || rest.starts_with('.');
        paths.iter().any(|path| self.field.strip_prefix(path).is_some_and(below))
    }

    /// Whether a run cannot go on with it: nothing that it did before would have been the same.
    #[must_use]
    pub fn makes_another_run(&self) -> bool {
        !self.is_below(&FREE)
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{} is {}, and was {}", self.field, self.now, self.before)
    }
}

impl RunConfig {
    /// The fields that are not as they were in `before`.
    ///
    /// # Errors
    /// [`Error::Json`] if one of the two cannot be expressed as JSON, as a path that is not Unicode.
    pub fn changes_since(&self, before: &Self) -> Result<Vec<Change>, Error> {
        let (mut before, now) = (before.fields()?, self.fields()?);
        let mut changes = Vec::new();
        for (field, now) in now {
            let before = before.remove(&field).unwrap_or_default();
            if now != before {
                changes.push(Change { field, before, now });
            }
        }
        let gone =
            before.into_iter().map(|(field, before)| Change { field, before, now: Value::Null });
        changes.extend(gone);
        Ok(changes)
    }

    /// Every field that holds no further ones, by its path.
    fn fields(&self) -> Result<BTreeMap<String, Value>, Error> {
        let document = serde_json::to_value(self)
            .map_err(|source| Error::Json { what: "the configuration", source })?;
        let mut fields = BTreeMap::new();
        let mut open = vec![(String::new(), document)];
        while let Some((path, value)) = open.pop() {
            match value {
                Value::Object(inner) => open.extend(inner.into_iter().map(|(name, value)| {
                    let dot = if path.is_empty() { "" } else { "." };
                    (format!("{path}{dot}{name}"), value)
                })),
                value => {
                    fields.insert(path, value);
                }
            }
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PRESETS;

    /// What a user may edit in a run's `config.json`, and what would make another run of it.
    #[test]
    fn changes_are_named_and_judged() {
        let before: Value = serde_json::from_str(PRESETS[0].1).unwrap();
        let parsed = |document: &Value| serde_json::from_value::<RunConfig>(document.clone());
        let run = parsed(&before).unwrap();
        assert_eq!(run.changes_since(&run).unwrap(), []);
        for (place, value, another) in [
            ("/seed", 7.into(), true),
            ("/training/batch", 3.into(), true),
            ("/training/precision", "bf16".into(), true),
            ("/network/width", 64.into(), true),
            ("/head", "velocity".into(), true),
            ("/diffusion/schedule/log_snr_max", 9.25.into(), true),
            ("/training/averaging/exponent", 3.5.into(), true),
            ("/training/times", serde_json::json!({"adaptive": {"bins": 9, "decay": 0.5}}), true),
            ("/training/steps", 99.into(), false),
            ("/training/optimizer/learning_rate", 0.5.into(), false),
            ("/evaluation/draws", 3.into(), false),
            ("/sampler/steps", 3.into(), false),
            ("/output/keep", 7.into(), false),
            ("/data", serde_json::json!({"kind": "swirl"}), false),
        ] {
            let mut document = serde_json::to_value(&run).unwrap();
            *document.pointer_mut(place).unwrap() = value;
            let changes = parsed(&document).unwrap().changes_since(&run).unwrap();
            assert!(!changes.is_empty(), "{place}");
            let field = place[1..].replace('/', ".");
            for change in changes {
                assert!(change.is_below(&[&field]), "{place}: {change}");
                assert_eq!(change.makes_another_run(), another, "{place}: {change}");
            }
        }
    }
}
