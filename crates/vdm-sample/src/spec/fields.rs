//! The fields of a named choice, as `vdm solvers NAME` shows them.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// A field of a named choice.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name in a configuration.
    pub name: String,
    /// What it is unless it is set.
    pub default: Value,
    /// What it can be.
    pub takes: String,
}

/// The fields of what has these defaults. What each can be is what reading a value that is surely
/// none answers, so that it never differs from what is read.
pub(super) fn fields<S: Serialize + DeserializeOwned>(defaults: &S) -> Vec<Field> {
    let Ok(Value::Object(object)) = serde_json::to_value(defaults) else { return Vec::new() };
    let takes = |name: &str| {
        let mut wrong = object.clone();
        wrong.insert(name.to_owned(), Value::String("?".to_owned()));
        match serde_json::from_value::<S>(Value::Object(wrong)) {
            Ok(_) => "any text".to_owned(),
            Err(error) => wanted(&error.to_string()),
        }
    };
    let fields = object.iter().filter(|(name, _)| *name != "kind");
    fields
        .map(|(name, default)| Field {
            name: name.clone(),
            default: default.clone(),
            takes: takes(name),
        })
        .collect()
}

/// What an error says was expected, in plain words.
fn wanted(error: &str) -> String {
    let wanted = ["expected ", " are "].iter().find_map(|before| error.split_once(before));
    let wanted = wanted.map_or(error, |(_, wanted)| wanted).split("; ").next().unwrap_or_default();
    match wanted {
        "f64" => "a number".to_owned(),
        "u8" | "u32" | "u64" | "usize" => "a whole number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "struct RawRange" => "an object with min and max".to_owned(),
        "struct PidController" => {
            "an object with proportional, integral, derivative, safety and limiter".to_owned()
        }
        wanted => wanted.replace('`', ""),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AdaptiveSpec, SolverSpec};

    #[test]
    fn every_field_of_every_solver_is_told_with_what_it_takes() {
        for entry in SolverSpec::entries() {
            for field in entry.solver.fields() {
                assert!(!field.takes.is_empty() && !field.takes.contains("invalid"), "{field:?}");
            }
        }
        assert!(AdaptiveSpec::entries().iter().all(|entry| !entry.solver.fields().is_empty()));
        let churn = SolverSpec::entries().into_iter().find(|entry| entry.name == "churn").unwrap();
        let fields = churn.solver.fields();
        let inner = fields.iter().find(|field| field.name == "solver").unwrap();
        assert!(inner.takes.starts_with("ancestral, ddim, heun"), "{inner:?}");
    }
}
