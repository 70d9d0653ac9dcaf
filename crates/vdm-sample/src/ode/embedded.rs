//! What the adaptive loop asks of a method.

use vdm_core::NoiseLevel;

use super::state::State;

/// A step that is tried: where it starts, how long it is, and what the model said so far.
#[derive(Debug)]
pub(super) struct Trial<'a, Z> {
    /// In the coordinate of the method.
    pub(super) from: f64,
    pub(super) step: f64,
    pub(super) state: &'a State<Z>,
    pub(super) rates: &'a [State<Z>],
}

/// Two updates that share their model calls: the difference tells the error of the step.
pub(super) trait Embedded<Z> {
    /// The power of the step that its error grows by.
    fn power(&self) -> f64;

    /// Model calls of a step.
    fn stages(&self) -> usize;

    /// Whether the last of them is the first of the next step.
    fn first_same_as_last(&self) -> bool;

    /// The level at a place of the method's coordinate.
    fn level(&self, at: f64) -> NoiseLevel;

    /// The latent and the level of the next model call.
    fn stage(&self, trial: &Trial<'_, Z>) -> (Z, NoiseLevel);

    /// The end of the step, and its error over what is tolerated.
    fn finish(&self, trial: &Trial<'_, Z>) -> (State<Z>, f64);
}
