//! All integration tests, in one program: what they share is compiled and linked once.

mod allocations;
mod convergence;
mod counts;
mod determinism;
mod estimate;
mod few_steps;
mod grids;
mod matrix;
mod multistep;
mod ode;
mod orders;
mod parity;
mod solvers;
