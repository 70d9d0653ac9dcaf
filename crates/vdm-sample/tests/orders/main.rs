//! Observed orders of convergence, family by family, against what the solvers declare.

mod edm;
mod multistep;
mod singlestep;
