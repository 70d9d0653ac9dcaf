//! The adaptive probability-flow ODE: paths, likelihoods and inversion, against other programs'
//! numbers, closed forms, and its own promises.

mod adaptive;
mod fixture;
mod inversion;
mod likelihood;
