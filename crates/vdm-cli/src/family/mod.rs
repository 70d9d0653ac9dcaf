//! What commands show of each family of models.

mod diffusion;
pub(crate) mod hierarchy;

use std::fmt::Debug;

use anyhow::Result;
use tch::Device;
use vdm_data::Dataset;
use vdm_report::RunDir;
use vdm_report::metrics::LevelVariance;
use vdm_report::result::{Term, TestLikelihood};
use vdm_torch::checkpoint::Checkpoint;
use vdm_torch::train::{Trainable, Trainer};
use vdm_torch::{Family, RunConfig};

pub(crate) use self::diffusion::test_likelihood;
use crate::claim::Claim;

/// A family of models that `vdm train` records and concludes.
pub(crate) trait Recorded: Family {
    /// What is measured once, before the first step, to read a loss as a bound.
    type Ends: Debug;

    /// Measures it.
    fn ends(
        config: &RunConfig<Self>,
        trainer: &Trainer<Self::Training>,
        data: &Dataset,
    ) -> Self::Ends;

    /// The loss over the steps since the last line of metrics.
    fn loss(trainer: &Trainer<Self::Training>, ends: &Self::Ends) -> TrainingLoss;

    /// A bound on the validation split.
    fn validation(bound: &<Self::Training as Trainable>::Bound) -> Validation;

    /// Writes what the report shows of a training under way.
    fn show_progress(
        config: &RunConfig<Self>,
        trainer: &Trainer<Self::Training>,
        run: &RunDir,
    ) -> Result<()>;

    /// Writes what the best checkpoint has to show but its samples, which are returned with the likelihood of the
    /// test split.
    fn conclude(
        config: &RunConfig<Self>,
        data: &Dataset,
        best: &Checkpoint,
        device: Device,
        claim: &Claim,
    ) -> Result<Conclusion>;

    /// Whether all that [`show_progress`](Self::show_progress) and [`conclude`](Self::conclude) write is there and
    /// whole.
    fn is_concluded(run: &RunDir) -> bool;
}

/// A loss of training, in bits per dimension.
#[derive(Debug)]
pub(crate) struct TrainingLoss {
    /// The whole bound; NaN where the loss is none.
    pub(crate) bits_per_dim: f64,
    /// Parts of it.
    pub(crate) terms: Vec<Term>,
    /// The loss per dimension where it is weighted, and no bound.
    pub(crate) weighted: Option<f64>,
    /// Of a single item's loss.
    pub(crate) variance: Option<LevelVariance>,
}

/// A bound on the validation split, in bits per dimension.
#[derive(Debug)]
pub(crate) struct Validation {
    pub(crate) bits_per_dim: f64,
    pub(crate) standard_error: f64,
    pub(crate) terms: Vec<Term>,
}

/// What came out of a training.
#[derive(Debug)]
pub(crate) struct Conclusion {
    /// Data values of samples, `[N, C, H, W]`.
    pub(crate) samples: Vec<u8>,
    pub(crate) test: TestLikelihood,
}
