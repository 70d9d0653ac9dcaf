//! The figures of the monograph, and its tables.
//!
//! Each figure is drawn by a module of [`figures`], which says beside it what there is to see; [`tables`] prints
//! formulas by running the code they are about on symbols. `cargo xtask figures` writes the pictures into
//! `docs/images`, and the pages `docs/figures.md` and `docs/tables.md`. Of the one figure that needs a trained network
//! it trains that too, and leaves what came out in `data`, so that this crate needs no libtorch.

pub mod figures;
mod oracles;
mod page;
pub mod tables;

pub use page::page;
