//! Against the numbers of google-research/vdm itself, through the checkpoint readers. Tolerances are
//! those that a second computation in f64 needs against its float32: see each.

#![cfg(test)]

use std::path::{Path, PathBuf};

use tch::{Device, Kind, Tensor};
use vdm_core::{LogSnr, NoiseSchedule, Scaling, Schedule, bound};
use vdm_data::Shape;
use vdm_sample::noise::Recorded;
use vdm_sample::{Ancestral, TimeGrid, solve};

use super::{VdmFlaxOptions, vdm_flax};
use crate::model::Model;
use crate::nn::Mode;
use crate::objective::{self, NoisedBatch, TimeDiscretization};
use crate::{Batch, PerSample};

/// A recorded case: its file of weights, its arrays, the largest relative error of the network's
/// output (Fourier features of 2^7 periods amplify float32 rounding) and its `T`.
struct Case {
    weights: PathBuf,
    arrays: Vec<(String, Tensor)>,
    tolerance: f64,
    steps: u32,
    bits_per_dim: [f64; 2],
}

fn cases() -> [Case; 2] {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vdm_flax");
    let arrays = |name| Tensor::read_safetensors(folder.join(name)).unwrap();
    [
        Case {
            weights: folder.join("fourier_l2_c32.safetensors"),
            arrays: arrays("fourier_l2_c32.safetensors"),
            tolerance: 1e-4,
            steps: 1000,
            bits_per_dim: [15.776_935_257_5, 12.995_657_595_4],
        },
        Case {
            weights: folder.join("plain_attn_l1_c32_5x7.flax"),
            arrays: arrays("plain_attn_l1_c32_5x7.safetensors"),
            tolerance: 1e-5,
            steps: 50,
            bits_per_dim: [15.377_425_471_3, 16.147_455_550_9],
        },
    ]
}

impl Case {
    fn get(&self, name: &str) -> Tensor {
        let found = self.arrays.iter().find(|(found, _)| found == name);
        found.unwrap_or_else(|| panic!("{name}")).1.shallow_clone()
    }

    fn name(&self) -> std::path::Display<'_> {
        Path::new(self.weights.file_name().expect("a file")).display()
    }

    fn numbers(&self, name: &str) -> Vec<f64> {
        Vec::try_from(self.get(name).to_kind(Kind::Double).view([-1])).unwrap()
    }

    /// `[…, H, W, C]` to `[…, C, H, W]`.
    fn images(&self, name: &str) -> Tensor {
        self.get(name).movedim_int(-1, -3).contiguous()
    }

    fn model(&self, label: f64) -> Model {
        let size = self.images("unet/z").size();
        let shape =
            Shape { channels: size[1] as usize, height: size[2] as usize, width: size[3] as usize };
        let options = VdmFlaxOptions { label, ..Default::default() };
        vdm_flax(&self.weights, &options).unwrap().model(shape, 256, Device::Cpu).unwrap()
    }

    /// One item after the other, each under the model of its label, put together again.
    fn per_item(&self, of: impl Fn(&Model, i64) -> Tensor) -> Tensor {
        let labels = self.numbers("unet/conditioning");
        let item = |(i, label): (usize, &f64)| tch::no_grad(|| of(&self.model(*label), i as i64));
        Tensor::cat(&labels.iter().enumerate().map(item).collect::<Vec<_>>(), 0)
    }
}

fn error(got: &Tensor, wanted: &Tensor) -> f64 {
    let difference = (got - wanted).abs().max().double_value(&[]);
    difference / wanted.abs().max().double_value(&[])
}

#[test]
fn networks_answer_as_the_original() {
    for case in cases() {
        let got = case.per_item(|model, i| {
            let log_snr = PerSample(-case.get("unet/g_t").narrow(0, i, 1).view([1, 1, 1, 1]));
            let at = Scaling::VariancePreserving.level(log_snr);
            let z = Batch(case.images("unet/z").narrow(0, i, 1));
            model.predict(&z, &at, Mode::EVALUATION).unwrap().value.0
        });
        let error = error(&got, &case.images("unet/eps_hat"));
        println!("{}: noise {error:.1e}", case.name());
        assert!(error < case.tolerance, "{}: {error}", case.name());
    }
}

/// 1e-6 of the largest value: float32's own rounding of a sum over 1024 units.
#[test]
fn learned_schedules_are_those_of_the_original() {
    for case in cases() {
        let model = case.model(0.0);
        let schedule = &model.spec().diffusion.schedule;
        let learned = case.arrays.iter().any(|(name, _)| name == "param/gamma/l1/kernel");
        assert_eq!(matches!(schedule, Schedule::MonotoneNetwork(_)), learned);
        let times = case.numbers("gamma/t");
        let rows = case.numbers("gamma/gamma").into_iter().zip(case.numbers("gamma/dgamma_dt"));
        let mut largest = [0.0_f64; 3];
        for (t, (gamma, slope)) in times.into_iter().zip(rows) {
            let level = (schedule.log_snr(t).value() + gamma) / 13.8;
            let errors =
                [level, schedule.slope(t) / slope + 1.0, schedule.time(LogSnr::new(-gamma)) - t];
            assert!(errors.iter().all(|e| e.abs() < 1e-6), "{t}: {errors:?}");
            largest.iter_mut().zip(errors).for_each(|(largest, e)| *largest = largest.max(e.abs()));
        }
        println!("{}: schedule, its slope and inverse {largest:?}", case.name());
    }
}

/// Each term of each item for the recorded noise and times, and their mean in bits per dimension.
/// The prior's float32 form cancels to 1e-4; its own code's `loss_recon` to 3e-4.
#[test]
fn bounds_are_those_of_the_original() {
    for case in cases() {
        let values = case.images("loss/images");
        let dims = values.numel() / values.size()[0] as usize;
        for (depth, name, bits) in [
            (TimeDiscretization::Continuous, "loss_T0".to_owned(), case.bits_per_dim[0]),
            (
                TimeDiscretization::Discrete { steps: case.steps },
                format!("loss_T{}", case.steps),
                case.bits_per_dim[1],
            ),
        ] {
            let images = |what| Batch(case.images(&format!("{name}/{what}")));
            let model = case.model(0.0);
            let schedule = &model.spec().diffusion.schedule;
            let noising =
                NoisedBatch::bound(&case.numbers(&format!("{name}/t_continuous")), schedule, depth);
            let x = model.encode(&values);
            let eps = images("eps");
            let diffusion = case.per_item(|model, i| {
                let item = |batch: &Batch| Batch(batch.0.narrow(0, i, 1));
                let noising = noising.part(i as usize..i as usize + 1);
                let mode = Mode::EVALUATION;
                let levels = noising.levels(Scaling::VariancePreserving, Device::Cpu);
                objective::diffusion_loss(model, &item(&x), &item(&eps), &noising, &levels, mode)
                    .unwrap()
                    .nats()
            });
            let prior = objective::prior_kl(&x, schedule.log_snr(1.0));
            let clean = schedule.log_snr(0.0);
            let reconstruction =
                objective::reconstruction(&model, &values, &images("eps_0"), clean);
            let wanted = |what| case.get(&format!("{name}/{what}"));
            // Absolute below 1 nat, relative above.
            let off = (&reconstruction - wanted("loss_recon")).abs()
                / wanted("loss_recon").clamp_min(1.0);
            let errors = [
                ("diffusion", error(&diffusion, &wanted("loss_diff")), 1e-4),
                ("prior", error(&prior, &wanted("loss_klz")), 1e-4),
                ("reconstruction", off.max().double_value(&[]), 3e-4),
            ];
            let nats = (diffusion + prior + reconstruction).mean(Kind::Double).double_value(&[]);
            let got = bound::bits_per_dim(nats, dims);
            println!("{} {name}: {got:.6} for {bits:.6} bits/dim, {errors:?}", case.name());
            for (term, error, tolerance) in errors {
                assert!(error < tolerance, "{name} {term}: {error}");
            }
            assert!((got / bits - 1.0).abs() < 1e-4, "{name}: {got} for {bits}");
        }
    }
}

/// Each step from its recorded start, since a chain of float32 networks with Fourier features is
/// chaotic; then the decoded values, exactly.
#[test]
fn sampling_steps_and_values_are_those_of_the_original() {
    for case in cases() {
        let (z, noise) = (case.images("sample/z"), case.images("sample/noise"));
        let model = case.model(0.0);
        let schedule = &model.spec().diffusion.schedule;
        let whole = TimeGrid::uniform_time(5, schedule, Scaling::VariancePreserving).unwrap();
        for i in 0..5 {
            let levels = whole.levels()[i..i + 2].to_vec();
            let grid = TimeGrid::from_levels(levels, Scaling::VariancePreserving).unwrap();
            let start = Batch(z.get(i as i64));
            let mut drawn = Recorded::new([Batch(noise.get(i as i64))]);
            let end = solve(&Ancestral::default(), &model, start, &grid, &mut drawn, |_, _, _| ());
            let error = error(&end.unwrap().latent.0, &z.get(i as i64 + 1));
            println!("{}: step {i} {error:.1e}", case.name());
            assert!(error < 1e-4, "step {i}: {error}");
        }
        let decoded = model.decode(&Batch(z.get(5)), &whole.levels()[5]);
        let wanted = case.images("sample/x").to_kind(Kind::Uint8).view([-1]);
        assert_eq!(decoded, Vec::<u8>::try_from(wanted).unwrap());
    }
}
