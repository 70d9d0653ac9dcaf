//! Estimators of likelihood against oracles: models whose every number is known without sampling.

mod bound;
mod coverage;
mod fixture;
mod flow;
mod importance_weighted;
