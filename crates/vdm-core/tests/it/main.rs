//! All integration tests, in one program: what they share is compiled and linked once.

mod bounds;
mod data;
mod exact;
mod extremes;
mod forward;
mod hlvm;
mod invariance;
mod objectives;
mod oracle;
mod parity;
mod random;
