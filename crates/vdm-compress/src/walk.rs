//! Coding a batch of items node by node, in an order that the reader can undo.
//!
//! The writer pops each latent under its posterior and pushes every node under the model; the reader goes the
//! same way back, popping where the writer pushed. For that a latent's posterior may depend only on nodes that
//! are pushed after it was popped, and a node's prior on nodes that are pushed after it.

use std::error::Error as StdError;

use crate::distribution::{Categorical, Normal};
use crate::error::{CodecError, Error};
use crate::stack::Stack;

/// A step of the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    /// Pops a latent under its posterior.
    Draw(usize),
    /// Pushes a latent under the model. Nothing depends on it after that.
    Latent(usize),
    /// Pushes the pixels under the model.
    Pixels,
}

/// A model that can be coded with.
pub(crate) trait Coded<E> {
    /// A batch of so many pixels.
    fn walk(&self, pixels: usize) -> Box<dyn Walk<E> + '_>;
}

/// What gives the distribution of one pixel, by its number in the batch.
pub(crate) type Likelihood<'a> = Box<dyn Fn(usize, &mut Categorical) + 'a>;

/// A batch of items on its way through a model, with what is known of them so far.
pub(crate) trait Walk<E: StdError + 'static> {
    /// The steps of the writer.
    fn moves(&self) -> Box<dyn DoubleEndedIterator<Item = Move>>;

    /// The posterior of each component of a latent.
    fn posterior(&mut self, latent: usize) -> Result<Vec<Normal>, CodecError<E>>;

    /// The same under the model.
    fn prior(&mut self, latent: usize) -> Result<Vec<Normal>, CodecError<E>>;

    /// The distributions of the pixels under the model.
    fn likelihood(&mut self) -> Result<Likelihood<'_>, CodecError<E>>;

    /// The cells of a latent, just after its distribution was asked for.
    fn know(&mut self, latent: usize, cells: Vec<i32>);

    /// The pixels of all items.
    fn know_pixels(&mut self, pixels: &[u8]);

    /// The cells of a latent that nothing depends on any more.
    fn forget(&mut self, latent: usize) -> Vec<i32>;
}

/// Puts items on a stack.
pub(crate) fn write<E: StdError + 'static>(
    walk: &mut dyn Walk<E>,
    pixels: &[u8],
    stack: &mut Stack,
) -> Result<(), CodecError<E>> {
    walk.know_pixels(pixels);
    for step in walk.moves() {
        match step {
            Move::Draw(latent) => {
                let q = walk.posterior(latent)?;
                let cells = q.iter().map(|q| stack.sample(q)).collect::<Result<_, Error>>()?;
                walk.know(latent, cells);
            }
            Move::Latent(latent) => {
                let p = walk.prior(latent)?;
                let cells = walk.forget(latent);
                assert_eq!(cells.len(), p.len(), "prior and posterior of the same components");
                cells.iter().zip(&p).for_each(|(cell, p)| stack.push(*cell, p));
            }
            Move::Pixels => {
                let likelihood = walk.likelihood()?;
                let mut p = Categorical::default();
                for (number, pixel) in pixels.iter().enumerate() {
                    likelihood(number, &mut p);
                    stack.push(*pixel, &p);
                }
            }
        }
    }
    Ok(())
}

/// Takes the `count` pixels of a batch off a stack.
pub(crate) fn read<E: StdError + 'static>(
    walk: &mut dyn Walk<E>,
    count: usize,
    stack: &mut Stack,
) -> Result<Vec<u8>, CodecError<E>> {
    let mut pixels = vec![0; count];
    for step in walk.moves().rev() {
        match step {
            Move::Draw(latent) => {
                let q = walk.posterior(latent)?;
                let cells = walk.forget(latent);
                cells.iter().zip(&q).rev().for_each(|(cell, q)| stack.restore(*cell, q));
            }
            Move::Latent(latent) => {
                let p = walk.prior(latent)?;
                let mut cells = vec![0; p.len()];
                for (cell, p) in cells.iter_mut().zip(&p).rev() {
                    *cell = stack.pop(p)?;
                }
                walk.know(latent, cells);
            }
            Move::Pixels => {
                let likelihood = walk.likelihood()?;
                let mut p = Categorical::default();
                for (number, pixel) in pixels.iter_mut().enumerate().rev() {
                    likelihood(number, &mut p);
                    *pixel = stack.pop(&p)?;
                }
                drop(likelihood);
                walk.know_pixels(&pixels);
            }
        }
    }
    Ok(pixels)
}
