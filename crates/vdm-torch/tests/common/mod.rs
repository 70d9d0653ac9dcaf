//! A small configuration that trains in milliseconds a step.

use serde_json::{Value, json};
use vdm_torch::{PRESETS, RunConfig};

/// The digits preset with a tiny network and short intervals; `change` edits the document.
pub(crate) fn tiny(change: impl FnOnce(&mut Value)) -> RunConfig {
    // Networks this small gain nothing from more, and tests that run side by side would wait for each
    // other's threads: twenty times as long on a busy machine of two cores.
    tch::set_num_threads(1);
    let mut document: Value = serde_json::from_str(PRESETS[0].1).expect("presets are JSON");
    document["network"] = json!({
        "kind": "unet", "width": 8, "depth": 1, "groups": 2, "attention": "everywhere"
    });
    document["training"]["batch"] = 8.into();
    document["training"]["steps"] = 12.into();
    document["evaluation"] = json!({"draws": 2, "batch": 64});
    document["sampler"]["steps"] = 5.into();
    document["output"] = json!({
        "log_every": 2, "validate_every": 5, "validation_items": 16, "sample_every": 100,
        "samples": 4, "checkpoint_every": 4, "keep": 2
    });
    change(&mut document);
    serde_json::from_value(document).expect("a legal configuration")
}
