//! Parameters of solvers that cannot hold an invalid value.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use vdm_core::NoiseLevel;
use vdm_core::count::{self, Cost};
use vdm_core::setting::{InvalidSetting, require};

/// Levels whose `σ/α` (EDM's `σ`) is in `[min, max]`. In a configuration an end that is left out is
/// without bound, and `0 ≤ min < max`.
#[doc(alias = "s_tmin")]
#[doc(alias = "s_tmax")]
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawRange")]
pub struct EdmSigmaRange {
    /// The least `σ/α`.
    pub min: f64,
    /// The greatest `σ/α`.
    pub max: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRange {
    min: f64,
    max: f64,
}

impl Default for RawRange {
    fn default() -> Self {
        let EdmSigmaRange { min, max } = EdmSigmaRange::ALL;
        Self { min, max }
    }
}

impl TryFrom<RawRange> for EdmSigmaRange {
    type Error = InvalidSetting;
    fn try_from(RawRange { min, max }: RawRange) -> Result<Self, InvalidSetting> {
        let remedy = "use a min of at least 0 and a max above it";
        let value = format_args!("{min} to {max}");
        require(min >= 0.0 && min < max, "range of EDM's sigma", value, remedy)?;
        Ok(Self { min, max })
    }
}

impl EdmSigmaRange {
    /// Every level but pure noise. Finite, because JSON has no infinity.
    pub const ALL: Self = Self { min: 0.0, max: f64::MAX };

    pub(crate) fn contains(&self, at: &NoiseLevel) -> bool {
        (self.min..=self.max).contains(&(at.sigma / at.alpha))
    }
}

/// The order of a method, in configuration files the number 1, 2 or 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum DpmSolverOrder {
    /// Global error `O(h)`.
    One,
    /// Global error `O(h²)`.
    Two,
    /// Global error `O(h³)`.
    Three,
}

impl From<DpmSolverOrder> for u8 {
    fn from(order: DpmSolverOrder) -> Self {
        match order {
            DpmSolverOrder::One => 1,
            DpmSolverOrder::Two => 2,
            DpmSolverOrder::Three => 3,
        }
    }
}

impl TryFrom<u8> for DpmSolverOrder {
    type Error = InvalidSetting;

    fn try_from(order: u8) -> Result<Self, Self::Error> {
        match order {
            1 => Ok(Self::One),
            2 => Ok(Self::Two),
            3 => Ok(Self::Three),
            _ => Err(InvalidSetting::new("order", order, "use 1, 2 or 3")),
        }
    }
}

/// Readers of numbers in configurations, by the name of the field.
macro_rules! checked_numbers {
    ($($field:ident: $legal:expr, $remedy:literal;)*) => {$(
        pub(crate) fn $field<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
            let value = f64::deserialize(deserializer)?;
            let legal: fn(f64) -> bool = $legal;
            require(legal(value), stringify!($field), value, $remedy).map_err(D::Error::custom)?;
            Ok(value)
        }
    )*};
}

checked_numbers! {
    eta: |eta| eta >= 0.0, "use a share of new noise of at least 0";
    strength: |strength| strength >= 0.0, "use 0 for the ODE, 1 for the reverse SDE, or another strength of noise of at least 0";
    fraction: |fraction| (0.0..=1.0).contains(&fraction), "use a number from 0 (small) to 1 (large)";
    amount: |amount| amount >= 0.0, "use an amount of noise of at least 0";
    noise_scale: |scale| scale >= 0.0, "use a scale of at least 0, about 1";
    snr: |snr| snr >= 0.0, "use a step size of at least 0, about 0.16";
    data_std: |std| std > 0.0, "use a standard deviation above 0";
}

/// Readers of counts of model calls in configurations, by the name of the field.
macro_rules! counted_calls {
    ($($field:ident)*) => {$(
        pub(crate) fn $field<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
            let value = usize::deserialize(deserializer)?;
            count::bounded(stringify!($field), value, Cost::Calls).map_err(D::Error::custom)
        }
    )*};
}

counted_calls! { corrections repeats }

/// Where in its step a stage lies, as a share of the step in log-SNR: `0 < r ≤ 1`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct StageShare(f64);

impl StageShare {
    /// The middle of the step, `r = ½`.
    pub const MIDDLE: Self = Self(0.5);

    /// `r`.
    #[must_use]
    pub fn value(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for StageShare {
    type Error = InvalidSetting;

    fn try_from(r: f64) -> Result<Self, Self::Error> {
        let remedy = "use a share of the step above 0 and at most 1, such as 0.5 for its middle";
        require(r > 0.0 && r <= 1.0, "r", r, remedy).map(|()| Self(r))
    }
}

impl From<StageShare> for f64 {
    fn from(r: StageShare) -> Self {
        r.0
    }
}
