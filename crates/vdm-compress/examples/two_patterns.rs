//! A file as long as the bound: images of two kinds, compressed under the mixture they were drawn from.
//!
//! ```text
//! cargo run --release -p vdm-compress --example two_patterns
//! ```

use std::convert::Infallible;
use std::error::Error;
use std::f64::consts::{E, PI};

use vdm_compress::{
    Archive, Chain, Codec, Header, LatentLevels, Latents, Origin, Settings, sha256,
};
use vdm_core::likelihood::Discretized;
use vdm_core::{
    Denoiser, FromFn, GaussianMixture, NoiseLevel, Parameterization, Prediction, Scalar, Schedule,
};

const DIMS: usize = 8;
const ITEMS: usize = 200;
/// On the scale where 256 gray levels go from −1 to 1, as the model sees them.
const STD: f64 = 0.05;

/// Item `i` of a set of which one half is bright on the left, the other on the right.
fn item(i: usize) -> impl Iterator<Item = u8> {
    (0..DIMS).map(move |pixel| {
        let side = if (pixel < DIMS / 2) == i.is_multiple_of(2) { 0.5 } else { -0.5 };
        // Quantiles in a scattered order, which have a normal's distribution.
        let share = ((i * DIMS + pixel) as f64 * 0.618_033_988_749_895 + 0.5).fract();
        ((side + STD * share.normal_quantile() + 1.0) * 128.0) as u8
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let left: Vec<f64> = [[0.5; DIMS / 2], [-0.5; DIMS / 2]].concat();
    let right = left.iter().map(|mean| -mean).collect();
    let mixture = GaussianMixture::new(vec![0.5; 2], vec![left, right], vec![STD; 2])?;
    // The codec's latents are whole batches.
    let model = FromFn(|z: &Vec<f32>, at: &NoiseLevel| {
        let denoised = z.chunks_exact(DIMS).flat_map(|item| {
            let item: Vec<f64> = item.iter().copied().map(f64::from).collect();
            let Ok(prediction) = mixture.denoise(&item, at);
            prediction.image(&item, at)
        });
        let value = denoised.map(|x| x as f32).collect();
        Ok::<_, Infallible>(Prediction { value, of: Parameterization::Image })
    });
    let chain =
        Chain { steps: 300, levels: LatentLevels::UniformTime, cells_per_std: Settings::CELLS };
    // At its clean end noise is half as wide as a gray level, which is about the cheapest.
    let schedule = Schedule::linear(11.0, -6.0)?;
    let codec = Codec::diffusion(&model, Discretized::new(256)?, DIMS, &schedule, &chain, 50)?;

    let pixels: Vec<u8> = (0..ITEMS).flat_map(item).collect();
    let code = codec.compress(&pixels, |_| ())?;
    let bits = code.net_bits / pixels.len() as f64;
    // One bit for the kind of an item, and that of a normal of 6.4 gray levels for each pixel.
    let entropy = 1.0 / DIMS as f64 + (STD * 128.0 * (2.0 * PI * E).sqrt()).log2();
    println!("{bits:.2} bits per pixel; their entropy is {entropy:.2}");
    assert!(bits > entropy - 0.1 && bits < entropy + 0.2);

    let origin =
        Origin { engine: "plain Rust".into(), device: "cpu".into(), threads: 1, checkpoint: 0 };
    let header = Header {
        model_sha256: sha256(b"two patterns"),
        origin,
        settings: Settings { batch: 50, latents: Latents::Chain(chain) },
        items: ITEMS,
        shape: [1, 1, DIMS],
        levels: 256,
        pixels_sha256: sha256(&pixels),
        words: code.words.len(),
    };
    let file = Archive { header, words: code.words }.to_bytes()?;
    println!("{} bytes of pixels became a file of {} bytes", pixels.len(), file.len());
    assert_eq!(codec.decompress(&Archive::from_bytes(&file)?.words, ITEMS, |_| ())?, pixels);
    Ok(())
}
