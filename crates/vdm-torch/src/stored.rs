//! Models as files hold them: a specification and weights.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tch::{Device, Tensor};
use vdm_sample::Seed;

use crate::checkpoint::Checkpoint;
use crate::nn::Parameters;
use crate::{Error, weights};

/// A model that is made again from its specification and weights: of a checkpoint, or of an exported file.
pub trait StoredModel: Sized {
    /// Everything that fixes it but its weights.
    type Spec: Clone + Serialize + DeserializeOwned;

    /// With weights from these parameters, which draw them or have them.
    ///
    /// # Errors
    /// [`Error::Setting`] or [`Error::Core`] if the specification is not legal, [`Error::Count`] if it is too large;
    /// [`Error::Weights`] if the weights are not those of its network.
    fn with_parameters(spec: &Self::Spec, parameters: Parameters) -> Result<Self, Error>;

    /// What it was made from.
    fn spec(&self) -> &Self::Spec;

    /// Its weights.
    fn parameters(&self) -> &Parameters;

    /// With copies of the weights given. What it allocates is bounded by them, whatever the specification
    /// asks for.
    ///
    /// # Errors
    /// Those of [`with_parameters`](Self::with_parameters).
    fn with_weights(
        spec: &Self::Spec,
        weights: Vec<(String, Tensor)>,
        device: Device,
    ) -> Result<Self, Error> {
        let model = Self::with_parameters(spec, Parameters::given(weights, device))?;
        model.parameters().finish()?;
        Ok(model)
    }

    /// The averaged model of a checkpoint, to sample and evaluate with.
    ///
    /// # Errors
    /// [`Error::Setting`] if its model cannot be built, [`Error::Json`] if it is of something else,
    /// [`Error::Checkpoint`] if the weights are not those of its model, or not finite.
    fn of_checkpoint(checkpoint: &Checkpoint, device: Device) -> Result<Self, Error> {
        let parameters = Parameters::new(Seed(0), device);
        let model = Self::with_parameters(&checkpoint.info().model()?, parameters)?;
        checkpoint.load_average(&model.parameters().named())?;
        Ok(model)
    }

    /// SHA-256 of its specification as JSON, then of name and values of each weight: what two models
    /// share that give the same answers.
    ///
    /// # Errors
    /// [`Error::Torch`] if the weights cannot be brought to the host, [`Error::Json`].
    fn sha256(&self) -> Result<String, Error> {
        weights::sha256(self.spec(), &self.parameters().named())
    }
}
