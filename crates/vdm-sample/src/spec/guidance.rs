//! Corrections of a model by name.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use vdm_core::setting::InvalidSetting;

use super::named::name_or_object;
use crate::guidance::{Clip, DynamicThreshold};

/// How the image that a model predicts is corrected at every call, by bare name or as an object.
///
/// It names what a configuration can say. Guidance by a second model, by a condition or by an
/// observation takes models and data: compose those from [`guidance`](crate::guidance).
///
/// ```
/// use vdm_sample::spec::GuidanceSpec;
/// let spec: GuidanceSpec = serde_json::from_str(r#""clip""#)?;
/// assert_eq!(spec, GuidanceSpec::Clip { low: -1.0, high: 1.0 });
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum GuidanceSpec {
    /// The model as it is.
    #[default]
    None,
    /// [`Clip`]: by default to the range of the data, `[−1, 1]`.
    Clip {
        /// Lower bound.
        low: f64,
        /// Upper bound, above it.
        high: f64,
    },
    /// [`DynamicThreshold`]: by default at the quantile 0.995 of Saharia et al. 2022.
    DynamicThreshold {
        /// Above 0 and at most 1.
        quantile: f64,
    },
}

/// A correction with its numbers checked, for samples of a known number of components.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Correction {
    /// None.
    None,
    /// Of `clip`.
    Clip(Clip),
    /// Of `dynamic_threshold`.
    DynamicThreshold(DynamicThreshold),
}

impl GuidanceSpec {
    /// For samples of `dims` components.
    ///
    /// # Errors
    /// [`InvalidSetting`] for numbers out of range.
    pub fn correction(self, dims: usize) -> Result<Correction, InvalidSetting> {
        Ok(match self {
            Self::None => Correction::None,
            Self::Clip { low, high } => Correction::Clip(Clip::new(low, high)?),
            Self::DynamicThreshold { quantile } => {
                Correction::DynamicThreshold(DynamicThreshold::new(quantile, dims)?)
            }
        })
    }
}

impl<'de> Deserialize<'de> for GuidanceSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
        enum Object {
            None {},
            Clip { low: f64, high: f64 },
            DynamicThreshold { quantile: f64 },
        }
        let meant = |name: &str| match name {
            "clip" => Some(json!({"kind": name, "low": -1, "high": 1})),
            "dynamic_threshold" => Some(json!({"kind": name, "quantile": 0.995})),
            _ => None,
        };
        Ok(match name_or_object(deserializer, None, meant)? {
            Object::None {} => Self::None,
            Object::Clip { low, high } => Self::Clip { low, high },
            Object::DynamicThreshold { quantile } => Self::DynamicThreshold { quantile },
        })
    }
}
