//! Documents of other crates that need no more than to be read.

use vdm_data::{Source, load};

use super::{Kind, Target, document, texts, verdict};

pub(super) fn targets() -> Vec<Target> {
    vec![Target {
        name: "source",
        kind: Kind::Json,
        corpus: || texts(SOURCES),
        check: |_, input| {
            document(input, |source: &Source| {
                // Generated points cost time by design; files are other targets.
                let few = match source {
                    Source::Swirl { items } | Source::Clusters { items } => {
                        items.is_some_and(|n| n < 1000)
                    }
                    Source::Digits {} => false,
                    Source::Path { .. } => true,
                };
                if few {
                    let _ = verdict(&load(source));
                }
            })
        },
    }]
}

const SOURCES: &[&str] = &[
    r#"{"kind": "digits"}"#,
    r#"{"kind": "swirl", "items": 100}"#,
    r#"{"kind": "clusters", "items": 50}"#,
    r#"{"kind": "path", "path": "nowhere/pictures", "size": 64, "values": 17}"#,
];
