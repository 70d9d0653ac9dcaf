//! A digit along the forward process.

use anyhow::Result;
use vdm_core::likelihood::Discretized;
use vdm_core::{Latent, Schedule};
use vdm_data::{Source, load};
use vdm_report::preview::{Images, Layout, grid};
use vdm_sample::{Iid, Seed};

use super::schedules::{STEPS, level, of_the_text};
use super::{Entry, Picture};

pub(super) const ENTRY: Entry = Entry {
    file: "noising.png",
    heading: "A digit becomes noise",
    text: "A bundled digit after 0, 10, …, 100 of 100 steps of the forward process, with one noise for all of \
        them: the cosine schedule above, EDM's below. Gray values beyond black and white are shown as these. As \
        much noise as the cosine schedule has added in half of its steps, EDM's adds in about five sixths of them.",
    section: "2.1 (M13, M23)",
    code: "`NoiseLevel`, `Latent::lincomb`, `likelihood::Discretized`, `vdm_sample::Iid`",
    draw,
};

/// Of the training split.
const DIGIT: usize = 0;
const EVERY: u32 = 10;

/// The pixels of every tenth latent, one after the other.
fn row(schedule: &Schedule, x: &Vec<f32>, eps: &Vec<f32>, code: Discretized) -> Vec<u8> {
    let latent = |step: u32| {
        let at = level(schedule, f64::from(step) / f64::from(STEPS));
        Vec::lincomb(&[(at.alpha, x), (at.sigma, eps)])
    };
    let pixels = (0..=STEPS).step_by(EVERY as usize).flat_map(latent);
    pixels.map(|z| code.decode(f64::from(z)) as u8).collect()
}

fn draw() -> Result<Picture> {
    let digits = load(&Source::Digits {})?;
    let code = Discretized::new(digits.values)?;
    let encoded = digits.train.item(DIGIT).iter().map(|k| code.encode(u16::from(*k)) as f32);
    let x: Vec<f32> = encoded.collect();
    let mut eps = vec![0.0; x.len()];
    Iid::new(Seed(3), 0, 1).fill_slice(&mut eps);
    let pixels = of_the_text()?.map(|(_, schedule)| row(&schedule, &x, &eps, code)).concat();
    let columns = (STEPS / EVERY + 1) as usize;
    let images = Images::new(&pixels, [2 * columns, 1, 8, 8], digits.values)?;
    Ok(Picture::Pixels(grid(&images, Layout { columns, zoom: 9 })?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_begins_with_the_image_and_ends_with_the_noise() {
        let code = Discretized::new(17).unwrap();
        let (x, eps) = (vec![code.encode(3) as f32; 64], vec![code.encode(12) as f32; 64]);
        for (_, schedule) in of_the_text().unwrap() {
            let row = row(&schedule, &x, &eps, code);
            assert_eq!((row.len(), row[0], row[640]), (11 * 64, 3, 12));
        }
    }
}
