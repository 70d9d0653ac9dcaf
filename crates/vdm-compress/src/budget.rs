//! What reading a file may cost, known from its header before anything is done for it.
//!
//! A header is a few bytes, and may promise years of work. What it asks for is therefore counted first, and
//! compared with what the size of the file can justify: an item of `D` components that a model knows to one
//! bit per component takes `D/8` bytes, so a thousand steps of each component are 8,000 latents a byte.

use crate::{Archive, Error};

/// The most that reading may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Calls of the model: steps, or layers, times batches.
    pub calls: u64,
    /// Latents read: steps, or layers, times items times components of an item, of which a layer may have more or
    /// fewer.
    pub latents: u64,
    /// Threads of one operation.
    pub threads: u32,
}

impl Budget {
    /// Whatever the header says.
    pub const UNLIMITED: Self = Self { calls: u64::MAX, latents: u64::MAX, threads: u32::MAX };

    /// For a file of this many bytes, on this many threads at most.
    ///
    /// Half a minute or so of a small model for the smallest file, more the longer the file.
    #[must_use]
    pub fn of_file(bytes: usize, threads: u32) -> Self {
        let bytes = bytes as u64;
        let calls = (1_u64 << 15).saturating_add(bytes.saturating_mul(8));
        let latents = (1_u64 << 24).saturating_add(bytes.saturating_mul(1 << 13));
        Self { calls, latents, threads }
    }
}

impl Archive {
    /// That reading it costs no more than `budget`.
    ///
    /// # Errors
    /// [`Error::Setting`] or [`Error::Budget`] naming the field of the header that asks for too much.
    pub fn check_cost(&self, budget: &Budget) -> Result<(), Error> {
        let header = &self.header;
        let refuse = |field, value, what, cost, limit| {
            Err(Error::Budget { field, value, what, cost, limit })
        };
        let threads = header.origin.threads;
        if threads > budget.threads {
            let (cost, limit) = (threads.into(), budget.threads.into());
            return refuse("origin.threads", threads.into(), "threads", cost, limit);
        }
        let (field, steps) = header.settings.depth();
        let batches = header.settings.batches()?.count(header.items);
        let dims = header.shape.iter().fold(1_u64, |dims, side| dims.saturating_mul(*side as u64));
        let items = header.items as u64;
        let costs = [
            ("calls of the model", batches, budget.calls),
            ("latents to read", items.saturating_mul(dims), budget.latents),
        ];
        for (what, each_step, limit) in costs {
            let cost = steps.saturating_mul(each_step);
            if cost > limit {
                // The one that asks for more of it.
                return if steps > each_step {
                    refuse(field, steps, what, cost, limit)
                } else {
                    refuse("items", items, what, cost, limit)
                };
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cells, Chain, Header, LatentLevels, Latents, Layers, Origin, Settings, sha256};

    fn archive(steps: u32, items: usize, threads: u32) -> Archive {
        let origin =
            Origin { engine: "an engine".into(), device: "cpu".into(), threads, checkpoint: 0 };
        let chain = Chain { steps, levels: LatentLevels::UniformTime, cells_per_std: 8 };
        let settings = Settings { batch: 64, latents: Latents::Chain(chain) };
        let header = Header {
            model_sha256: sha256(b"weights"),
            origin,
            settings,
            items,
            shape: [1, 8, 8],
            levels: 17,
            pixels_sha256: sha256(b"pixels"),
            words: 0,
        };
        Archive { header, words: Vec::new() }
    }

    #[test]
    fn forged_headers_are_refused_by_field_value_and_limit() {
        let budget = Budget::of_file(3_000, 64);
        for (steps, items, threads, named) in [
            (1 << 20, 1, 1, "settings.latents.chain.steps = 1048576: 1048576 calls of the model"),
            (1 << 20, usize::MAX, 1, "more than the limit"),
            (10, usize::MAX, 1, "items = 18446744073709551615: "),
            (100, 1_000_000, 1, "items = 1000000: 1566400 calls of the model"),
            (3, 1, 4096, "origin.threads = 4096: 4096 threads, more than the limit of 64"),
        ] {
            let archive = archive(steps, items, threads);
            let error = archive.check_cost(&budget).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
            archive.check_cost(&Budget::UNLIMITED).unwrap();
        }
    }

    /// A batch or a growth out of its bounds would take long to count the batches of.
    #[test]
    fn batches_are_not_counted_before_they_are_checked() {
        let cells = vec![Cells { log2_width: 0, edge: 1 }];
        let mut archive = archive(1, 1 << 40, 1);
        for (batch, growth, named) in [(64, u32::MAX, "growth = 4294967295"), (0, 8, "batch = 0")] {
            let latents = Latents::Layers(Layers { cells: cells.clone(), growth });
            archive.header.settings = Settings { batch, latents };
            let error = archive.check_cost(&Budget::of_file(3_000, 64)).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    /// The files of docs/compression.md, and the most steps that `vdm compress` is likely to be asked for.
    #[test]
    fn honest_files_are_read() {
        for (bytes, steps, items) in [
            (10_450, 10, 359),
            (5_850, 100, 359),
            (5_500, 1000, 359),
            (600, 1000, 1),
            (600, 10_000, 1),
        ] {
            archive(steps, items, 2).check_cost(&Budget::of_file(bytes, 64)).unwrap();
        }
    }
}
