//! Measured orders of convergence against declared ones.

mod multistep;
