//! In which fields two configurations differ, and which of them make another run.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::Error;

/// What a run is: its configuration as a document, and which fields of it may change between two stretches
/// of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunIdentity {
    config: Value,
    free: &'static [&'static str],
}

impl RunIdentity {
    /// `free` are paths such as `training.steps`, each with all that is below it.
    ///
    /// # Errors
    /// [`Error::Json`] if the configuration cannot be expressed as JSON, as a path that is not Unicode.
    pub fn new(config: &impl Serialize, free: &'static [&'static str]) -> Result<Self, Error> {
        let config = serde_json::to_value(config)
            .map_err(|source| Error::Json { what: "the configuration", source })?;
        Ok(Self { config, free })
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// Whether it cannot go on with this change: nothing that it did before would have been the same.
    #[must_use]
    pub fn is_changed_by(&self, change: &Change) -> bool {
        !change.is_below(self.free)
    }
}

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

    /// The fields in which two documents differ.
    #[must_use]
    pub fn between(before: &Value, now: &Value) -> Vec<Self> {
        let (mut before, now) = (fields(before), fields(now));
        let mut changes = Vec::new();
        for (field, now) in now {
            let before = before.remove(&field).unwrap_or_default();
            if now != before {
                changes.push(Self { field, before, now });
            }
        }
        let gone =
            before.into_iter().map(|(field, before)| Self { field, before, now: Value::Null });
        changes.extend(gone);
        changes
    }
}

/// Every field that holds no further ones, by its path.
fn fields(document: &Value) -> BTreeMap<String, Value> {
    let mut fields = BTreeMap::new();
    let mut open = vec![(String::new(), document)];
    while let Some((path, value)) = open.pop() {
        match value {
            Value::Object(inner) => open.extend(inner.iter().map(|(name, value)| {
                let dot = if path.is_empty() { "" } else { "." };
                (format!("{path}{dot}{name}"), value)
            })),
            value => {
                fields.insert(path, value.clone());
            }
        }
    }
    fields
}

impl std::fmt::Display for Change {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{} is {}, and was {}", self.field, self.now, self.before)
    }
}
