//! Estimators of likelihood against oracles: models whose every number is known without sampling.

mod bound;
mod fixture;
mod flow;
mod importance_weighted;
