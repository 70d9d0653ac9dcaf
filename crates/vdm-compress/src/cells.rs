//! The values a coded latent may have.

use serde::{Deserialize, Serialize};
use vdm_core::setting::{InvalidSetting, require};

use crate::Error;
use crate::distribution::Normal;

/// How many standard deviations of a Gaussian its cells reach to: a latent is cut off there with probability
/// 1e-15.
pub(crate) const REACH: f64 = 8.0;

/// Whole numbers up to this times a power of two are exact f32.
const MAX_EDGE: i32 = 1 << 24;

/// That there are so many cells to a standard deviation as make sense.
pub(crate) fn check_cells_per_std(cells: u32) -> Result<(), InvalidSetting> {
    require((1..=1 << 12).contains(&cells), "cells_per_std", cells, "use 1 to 4096")
}

/// The cells of a latent: whole multiples of a power of two, so that a network sees the same f32 in writing and
/// in reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cells {
    /// The width of a cell as a power of two, from −64 to 64.
    pub log2_width: i32,
    /// The number of the outermost cell on either side, from 1 to 2^24.
    pub edge: i32,
}

impl Cells {
    /// As narrow as the power of two below `narrowest`, from `−reach` to `reach`; both positive. `latent` is for
    /// the error.
    pub(crate) fn new(latent: usize, narrowest: f64, reach: f64) -> Result<Self, Error> {
        let log2_width = narrowest.log2().floor() as i32;
        let cells = (reach / 2.0_f64.powi(log2_width)).ceil();
        if cells > f64::from(MAX_EDGE) {
            return Err(Error::Cells { latent, cells, limit: MAX_EDGE });
        }
        Ok(Self { log2_width, edge: cells as i32 })
    }

    /// That they can be counted and their values written as f32, since they may come from a file.
    pub(crate) fn check(self) -> Result<(), InvalidSetting> {
        let Self { log2_width, edge } = self;
        require((-64..=64).contains(&log2_width), "log2_width", log2_width, "use -64 to 64")?;
        require((1..=MAX_EDGE).contains(&edge), "edge", edge, "use 1 to 16777216")
    }

    fn width(self) -> f64 {
        2.0_f64.powi(self.log2_width)
    }

    /// The value of a cell.
    pub(crate) fn value(self, k: i32) -> f64 {
        f64::from(k) * self.width()
    }

    /// A Gaussian over the cells.
    pub(crate) fn normal(self, mean: f64, std: f64) -> Normal {
        Normal { mean: mean / self.width(), std: std / self.width(), edge: self.edge }
    }
}
