//! `--data`, `--split` and `--items`: which items a command works on.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use vdm_data::{DataError, Dataset, Items, Shape, Source};
use vdm_torch::checkpoint::CheckpointInfo;
use vdm_torch::{DiffusionConfig, ModelConfig};

use crate::opened::Opened;
use crate::{configuration, import, terminal};

/// Flags of commands that use a trained model on items.
#[derive(Debug, clap::Args)]
pub(crate) struct ItemOptions {
    /// Which items [default: test; all, of other data than the run's and for an imported model that was not
    /// trained on any]
    #[arg(long, value_enum)]
    split: Option<Split>,
    /// Other data than the run's: digits, swirl, clusters, or a path as `vdm train` takes it; images are
    /// cropped and resized to the model's size
    #[arg(long, value_name = "NAME|PATH")]
    data: Option<String>,
    /// Only this many items, from the first
    #[arg(long)]
    items: Option<usize>,
}

/// Part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Split {
    Train,
    Validation,
    Test,
    /// All three
    All,
}

/// The items that were asked for, and where they are from.
#[derive(Debug)]
pub(crate) struct Selected<'a, M: ModelConfig = DiffusionConfig> {
    opened: &'a Opened<M>,
    pub(crate) data: Dataset,
    pub(crate) split: Split,
    pub(crate) items: Items,
    /// Whether the data were named on the command line.
    is_named: bool,
}

impl ItemOptions {
    /// The files and folders that the items may be read from.
    pub(crate) fn paths<M: ModelConfig>(&self, opened: &Opened<M>) -> Vec<PathBuf> {
        opened.data_path().into_iter().chain(self.data.as_ref().map(PathBuf::from)).collect()
    }

    /// The items, of the model's shape and number of values.
    pub(crate) fn of<'a, M: ModelConfig>(
        &self,
        opened: &'a Opened<M>,
        shape: Shape,
        values: u16,
    ) -> Result<Selected<'a, M>> {
        ensure!(self.items != Some(0), "--items 0: use at least 1");
        let data = match &self.data {
            None => opened.data()?,
            Some(data) => other_data(data, shape, values)?,
        };
        let untouched =
            opened.config.preset == import::PRESET && opened.checkpoint.info().step == 0;
        let default = if self.data.is_some() || untouched { Split::All } else { Split::Test };
        let split = self.split.unwrap_or(default);
        let all = split.of(&data);
        let count = self.items.unwrap_or(all.len()).min(all.len());
        let items = all.select(&(0..count).collect::<Vec<_>>());
        Ok(Selected { opened, data, split, items, is_named: self.data.is_some() })
    }
}

impl<M: ModelConfig> Selected<'_, M> {
    /// The checkpoint that the result is about.
    pub(crate) fn checkpoint(&self) -> &CheckpointInfo {
        self.opened.checkpoint.info()
    }

    /// Whether the data are those that the model was trained on.
    pub(crate) fn is_of_run(&self) -> bool {
        self.data.sha256 == self.checkpoint().data_sha256
    }

    /// Items of the run that a result on these is not about, to choose a grid by.
    pub(crate) fn others(&self) -> Result<Items> {
        if self.is_of_run() {
            self.split.others(&self.data)
        } else {
            Split::Test.others(&self.opened.data()?)
        }
    }

    /// The data by name, and whose they are where that is not known.
    pub(crate) fn name(&self) -> String {
        let whose = match (self.is_named, self.is_of_run()) {
            (false, _) => "",
            (true, false) => ", not the run's",
            (true, true) if self.split == Split::Test => ", the run's own",
            (true, true) => ", the run's own: some of them it was trained on or chosen by",
        };
        format!("{}{whose}", self.data.name)
    }
}

impl Split {
    /// Its items; of all, those to train on first.
    pub(crate) fn of(self, data: &Dataset) -> Items {
        match self {
            Self::Train => data.train.clone(),
            Self::Validation => data.validation.clone(),
            Self::Test => data.test.clone(),
            Self::All => data.all(),
        }
    }

    /// Items that are not in it.
    fn others(self, data: &Dataset) -> Result<Items> {
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

/// A shape in words.
pub(crate) fn sides(of: Shape) -> String {
    format!("{}×{}×{}", of.channels, of.height, of.width)
}

/// Data by name or path, of the model's shape and number of values. Says what there is to know of them.
fn other_data(data: &str, shape: Shape, own: u16) -> Result<Dataset> {
    let mut source = configuration::source(data, None)?;
    if let Source::Path { path, size, values } = &mut source {
        *values = Some(own);
        *size = path.is_dir().then_some(shape.height);
    }
    let loaded = match vdm_data::load(&source) {
        // No images to resize, and of another size: which, says the shape below.
        Err(DataError::Option { name: "size", .. }) => {
            if let Source::Path { size, .. } = &mut source {
                *size = None;
            }
            vdm_data::load(&source)
        }
        loaded => loaded,
    };
    let loaded =
        loaded.with_context(|| format!("--data {data}, read as the {own} values of the model"))?;
    ensure!(
        loaded.shape == shape,
        "--data {data} holds items of {} (channels × height × width), but the model is one of {}; give data of \
         the kind that it was trained on",
        sides(loaded.shape),
        sides(shape)
    );
    ensure!(
        loaded.values == own,
        "--data {data} has {} values, but the model is one of {}; give data of the kind that it was trained on",
        loaded.values,
        own
    );
    loaded.notes.iter().for_each(|note| terminal::note(format_args!("note: {note}")));
    Ok(loaded)
}
