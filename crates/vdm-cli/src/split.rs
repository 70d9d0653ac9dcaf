//! `--split`: which items of a run's data.

use anyhow::{Result, bail};
use clap::ValueEnum;
use vdm_data::{Dataset, Items};
use vdm_torch::RunConfig;
use vdm_torch::checkpoint::CheckpointInfo;

use crate::import;

/// Part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Split {
    Train,
    Validation,
    Test,
    /// All three
    All,
}

impl Split {
    /// What was asked for; else the test split, or all items for a model that another library trained and
    /// that has seen none of them here.
    pub(crate) fn chosen(asked: Option<Self>, config: &RunConfig, info: &CheckpointInfo) -> Self {
        let untouched = config.preset == import::PRESET && info.step == 0;
        asked.unwrap_or(if untouched { Self::All } else { Self::Test })
    }

    /// Its items; of all, those to train on first.
    pub(crate) fn of(self, data: &Dataset) -> Items {
        match self {
            Self::Train => data.train.clone(),
            Self::Validation => data.validation.clone(),
            Self::Test => data.test.clone(),
            Self::All => data.all(),
        }
    }

    /// Items that are not in it, to choose by.
    pub(crate) fn others(self, data: &Dataset) -> Result<Items> {
        match self {
            Self::Validation => Ok(data.train.clone()),
            Self::Train | Self::Test => Ok(data.validation.clone()),
            Self::All => bail!(
                "--grid elbo-optimal chooses levels by items that the result is not about, and of all items \
                 none are left; add --split test"
            ),
        }
    }

    /// In a document.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
            Self::All => "all",
        }
    }
}
