//! The code length is the bound: bits counted on the closed-form mixture against its terms by
//! quadrature. And whatever is coded comes back.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::f64::consts::LN_2;

use proptest::prelude::*;
use vdm_compress::{Chain, Code, Codec, CodecError, Error, LatentLevels, Settings};
use vdm_core::likelihood::Discretized;
use vdm_core::{
    Denoiser, FromFn, GaussianMixture, LogSnr, NoiseLevel, NoiseSchedule, Parameterization,
    Prediction, Scaling, Schedule, bound,
};
use vdm_sample::grid::GridKind;
use vdm_sample::noise::Purpose;
use vdm_sample::{Seed, TimeGrid};

const DIMS: usize = 2;

type Answer = Result<Prediction<Vec<f32>>, Infallible>;

fn mixture() -> GaussianMixture {
    GaussianMixture::new(
        vec![0.5, 0.3, 0.2],
        vec![vec![-0.5, 0.4], vec![0.4, 0.3], vec![0.1, -0.6]],
        vec![0.12, 0.2, 0.07],
    )
    .unwrap()
}

fn chain(steps: u32) -> Chain {
    Chain { steps, levels: LatentLevels::UniformTime, cells_per_std: Settings::CELLS }
}

/// Those of a grid under that schedule.
fn listed(grid: &GridKind, steps: u32) -> LatentLevels {
    let scaling = Scaling::VariancePreserving;
    let grid = grid.time_grid(steps as usize, &schedule(steps), scaling).unwrap();
    LatentLevels::LogSnrs(grid.levels().iter().map(|level| level.log_snr).collect())
}

fn schedule(steps: u32) -> Schedule {
    // With one or four steps over all levels an error would cost more than 40 bits, the most that
    // any symbol costs: the code would be far shorter than the bound.
    Schedule::linear(if steps < 10 { 1.5 } else { 7.0 }, -6.0).unwrap()
}

fn data() -> Discretized {
    Discretized::new(8).unwrap()
}

/// The mixture's denoiser, item by item.
fn by_item(mixture: &GaussianMixture) -> FromFn<impl Fn(&Vec<f32>, &NoiseLevel) -> Answer> {
    FromFn(move |z: &Vec<f32>, at: &NoiseLevel| {
        let mut value = Vec::with_capacity(z.len());
        for z in z.chunks_exact(DIMS) {
            value.extend(mixture.denoise(&z.to_vec(), at)?.value);
        }
        Ok(Prediction { value, of: Parameterization::Image })
    })
}

/// Items drawn from the mixture and rounded to levels.
fn items(count: u64) -> Vec<u8> {
    let components: Vec<(f64, Vec<f64>, f64)> =
        mixture().components().map(|(w, m, s)| (w, m.to_vec(), s)).collect();
    let mut pixels = Vec::new();
    for item in 0..count {
        let mut u = Seed(4).uniform(Purpose::Prior, 1, item);
        let chosen = components.iter().find(|(w, ..)| {
            u -= w;
            u < 0.0
        });
        let (_, mean, std) = chosen.unwrap_or(&components[0]);
        let normals: Vec<f64> = vdm_sample::prior(Seed(4), item, DIMS);
        let values = mean.iter().zip(normals).map(|(m, n)| m + std * n);
        pixels.extend(values.map(|x| data().decode(x) as u8));
    }
    pixels
}

/// `L_T` of each item in bits, all expectations by quadrature.
fn bounds(pixels: &[u8], chain: &Chain) -> Vec<f64> {
    let steps = chain.steps;
    let (mixture, schedule, data) = (mixture(), schedule(steps), data());
    let scaling = Scaling::VariancePreserving;
    let grid = match &chain.levels {
        LatentLevels::UniformTime => TimeGrid::uniform_time(steps as usize, &schedule, scaling),
        LatentLevels::LogSnrs(listed) => TimeGrid::from_log_snrs(listed.iter().copied(), scaling),
    };
    let grid = grid.unwrap();
    let bound_of = |item: &[u8]| {
        let x: Vec<f64> = item.iter().map(|k| data.encode(u16::from(*k))).collect();
        let end = |k: &u8| {
            data.reconstruction(u16::from(*k), schedule.log_snr(0.0))
                + bound::prior_kl(schedule.log_snr(1.0), data.encode(u16::from(*k)))
        };
        let step = |step: &[NoiseLevel]| {
            let [t, s] = [&step[0], &step[1]].map(|level| LogSnr::new(level.log_snr));
            bound::discrete_factor(s, t) * mixture.noise_error(&x, &step[0])
        };
        let steps: f64 = grid.levels().windows(2).map(step).sum();
        (item.iter().map(end).sum::<f64>() + steps) / LN_2
    };
    let mut known = BTreeMap::new();
    let items = pixels.chunks_exact(DIMS);
    items.map(|item| *known.entry(item).or_insert_with(|| bound_of(item))).collect()
}

/// The code, which was read back bit for bit.
fn compress(pixels: &[u8], chain: &Chain, batch: u32) -> Code {
    let mixture = mixture();
    let model = by_item(&mixture);
    let schedule = schedule(chain.steps);
    let codec = Codec::diffusion(&model, data(), DIMS, &schedule, chain, batch).unwrap();
    let code = codec.compress(pixels, |_| ()).unwrap();
    let read = codec.decompress(&code.words, pixels.len() / DIMS, |_| ()).unwrap();
    assert_eq!(read, pixels, "bit exact");
    code
}

/// M68: the bits that items add are the bound of the same levels, however many and wherever they are.
///
/// Thirty codes of 100 items each give the tolerance: four standard errors of their mean, and 0.2 % for the
/// width of cells; less than 3 % of the bound in all.
#[test]
fn m68_the_code_length_is_the_bound() {
    const ITEMS: usize = 3000;
    const GROUP: usize = 100;
    let pixels = items(ITEMS as u64);
    let uneven = listed(&GridKind::Polyexponential { rho: 1.2 }, 30);
    for (steps, levels) in
        [1, 4, 50].map(|steps| (steps, LatentLevels::UniformTime)).into_iter().chain([(30, uneven)])
    {
        let chain = Chain { levels, ..chain(steps) };
        let bounds = bounds(&pixels, &chain);
        let groups = pixels.chunks(GROUP * DIMS).zip(bounds.chunks(GROUP));
        let excess: Vec<f64> = groups
            .map(|(pixels, bounds)| {
                compress(pixels, &chain, 16).net_bits - bounds.iter().sum::<f64>()
            })
            .map(|bits| bits / GROUP as f64)
            .collect();
        let count = excess.len() as f64;
        let mean = excess.iter().sum::<f64>() / count;
        let variance = excess.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let standard_error = (variance / count).sqrt();
        let bound = bounds.iter().sum::<f64>() / ITEMS as f64;
        println!("T = {steps}: {mean:+.4} ± {standard_error:.4} bits beside {bound:.4}");
        let tolerance = 4.0 * standard_error + 0.002 * bound;
        assert!(tolerance < 0.03 * bound, "T = {steps}: the test can tell");
        assert!(mean.abs() < tolerance, "T = {steps}: {mean} ± {standard_error} beside {bound}");
    }
}

/// Initial bits are those of the first item's two first latents, not of all latents of a batch.
#[test]
fn initial_bits_are_paid_once() {
    let [few, many] = [20, 400].map(|count| compress(&items(count), &chain(50), 16));
    assert_eq!(few.initial_bits, many.initial_bits);
    // The state's 128, and at most a word or two beneath.
    assert!(many.initial_bits <= 256, "{}", many.initial_bits);
    let total = 64.0 * many.words.len() as f64;
    // The state holds up to 64 bits that say nothing.
    assert!((total - many.net_bits - many.initial_bits as f64).abs() < 64.0);
}

/// From one step to as many as one would use, the last batch not full.
#[test]
fn any_number_of_steps_reads_back() {
    for steps in [1, 10, 50, 100] {
        compress(&items(45), &chain(steps), 10);
    }
}

/// A model that may say anything at all, the same at every call.
fn erratic(scale: f64) -> FromFn<impl Fn(&Vec<f32>, &NoiseLevel) -> Answer> {
    FromFn(move |z: &Vec<f32>, at: &NoiseLevel| {
        let value = z.iter().map(|z| (scale * (f64::from(*z) * 37.0 + at.log_snr).sin()) as f32);
        Ok(Prediction { value: value.collect(), of: Parameterization::Image })
    })
}

proptest! {
    /// Whatever the pixels and however wrong the model: bit exact.
    #[test]
    fn any_pixels_come_back(
        values in prop::collection::vec(0..=255_u8, 1..40),
        levels in 2..=256_u16,
        dims in 1..6_usize,
        steps in 1..12_u32,
        batch in 1..5_u32,
        cells_per_std in 1..40_u32,
        uneven in any::<bool>(),
        scale in prop_oneof![Just(0.0), Just(1.0), Just(1e3), Just(1e30)],
    ) {
        let data = Discretized::new(levels).unwrap();
        let pixels: Vec<u8> =
            values.iter().cycle().take(values.len() * dims).map(|v| (u16::from(*v) % levels) as u8).collect();
        let model = erratic(scale);
        let chain = Chain { cells_per_std, ..chain(steps) };
        let chain = if uneven {
            Chain { levels: listed(&GridKind::Karras { rho: 3.0 }, steps), ..chain }
        } else {
            chain
        };
        let codec =
            Codec::diffusion(&model, data, dims, &schedule(steps), &chain, batch).unwrap();
        let code = codec.compress(&pixels, |_| ()).unwrap();
        prop_assert_eq!(codec.decompress(&code.words, values.len(), |_| ()).unwrap(), pixels);
    }
}

/// A reader whose model differs in its last digits reads something else, or runs out of bits; it
/// never panics, and a checksum tells.
#[test]
fn another_model_reads_other_pixels() {
    let pixels = items(50);
    let [writer, reader] = [1.0, 1.000_001].map(erratic);
    let codec =
        |model| Codec::diffusion(model, data(), DIMS, &schedule(20), &chain(20), 8).unwrap();
    let code = codec(&writer).compress(&pixels, |_| ()).unwrap();
    match codec(&reader).decompress(&code.words, 50, |_| ()) {
        Ok(read) => assert_ne!(read, pixels),
        Err(error) => assert!(
            matches!(error, CodecError::Codec(Error::Exhausted | Error::Growing)),
            "{error}"
        ),
    }
    // A forged number of items comes to an end.
    let short = &code.words[..4];
    let error = codec(&writer).decompress(short, usize::MAX, |_| ()).unwrap_err();
    assert!(matches!(error, CodecError::Codec(Error::Exhausted | Error::Growing)), "{error}");
}

#[test]
fn bad_input_is_named() {
    let good = chain(3);
    let with =
        |listed: &[f64]| Chain { levels: LatentLevels::LogSnrs(listed.to_vec()), ..good.clone() };
    let model = erratic(1.0);
    let refused = |chain, schedule: Schedule, batch| {
        Codec::diffusion(&model, data(), DIMS, &schedule, &chain, batch).unwrap_err().to_string()
    };
    let cases = [
        (refused(Chain { steps: 0, ..good.clone() }, schedule(3), 2), "steps = 0"),
        (refused(good.clone(), schedule(3), 0), "batch = 0"),
        (
            refused(Chain { cells_per_std: 5000, ..good.clone() }, schedule(3), 2),
            "cells_per_std = 5000",
        ),
        (
            refused(with(&[-6.0, 0.0, 2.0, f64::INFINITY]), schedule(3), 2),
            "the levels end at log-SNR inf",
        ),
        (
            refused(with(&[-6.0, 0.0, 2.0]), schedule(3), 2),
            "a grid of 2 steps is listed where 3 are asked for",
        ),
        (refused(with(&[-6.0, 0.0, 0.0, 7.0]), schedule(3), 2), "log-SNR"),
        (refused(good.clone(), Schedule::linear(60.0, -6.0).unwrap(), 2), "use fewer cells"),
    ];
    for (message, named) in cases {
        assert!(message.contains(named), "{message}");
    }
    let codec = Codec::diffusion(&model, data(), DIMS, &schedule(3), &good, 2).unwrap();
    let refused = |pixels: &[u8]| codec.compress(pixels, |_| ()).unwrap_err().to_string();
    assert!(refused(&[]).contains("0 pixels"));
    assert!(refused(&[1, 2, 3]).contains("3 pixels are no whole number of items of 2"));
    assert!(refused(&[1, 8]).contains("pixel 1 has value 8"));
    let broken = erratic(f64::NAN);
    let codec = Codec::diffusion(&broken, data(), DIMS, &schedule(3), &good, 2).unwrap();
    let error = codec.compress(&[1, 2], |_| ()).unwrap_err().to_string();
    assert!(error.contains("weights are not finite"), "{error}");
}
