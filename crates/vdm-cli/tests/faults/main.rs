//! What happens to a run when the machine under it fails: processes killed, stopped and starved, disks
//! full and read-only, files damaged.
//!
//! The promise is docs/reliability.md's: each fault ends in the same bytes, or in an error, never in
//! another result. `cargo test` tries a few of each; `cargo xtask test --faults` tries a thousand kills and three
//! hundred damages of each file, and shows what it counted.

mod damage;
mod kills;
mod limits;
mod program;
mod signals;
