//! Codes of hierarchies whose posterior is learned, on graphs of a few numbers: as long as the bound, and read
//! back.

use std::convert::Infallible;
use std::f64::consts::LN_2;

use vdm_compress::{Cells, Code, Codec, CodecError, Error, Hierarchy, Layers, Settings};
use vdm_core::hlvm::{
    Components, Conditional, Distribution, Factorized, Hlvm, Integrals, Normal, layered,
};
use vdm_core::likelihood::Discretized;
use vdm_core::{LogSnr, Scalar};
use vdm_sample::Seed;
use vdm_sample::noise::Purpose;

/// The components of a node, each independent of the others.
#[derive(Debug)]
enum Given {
    Latents(Vec<Normal>),
    /// Log-probabilities of the values of each component.
    Data(Vec<Vec<f64>>),
}

impl Given {
    fn normals(&self) -> &[Normal] {
        match self {
            Self::Latents(normals) => normals,
            Self::Data(_) => panic!("data are no latents"),
        }
    }
}

fn sum<'a>(normals: &'a [Normal], term: impl Fn(usize, &'a Normal) -> f64) -> f64 {
    normals.iter().enumerate().map(|(i, normal)| term(i, normal)).sum()
}

impl Distribution for Given {
    type Value = Vec<f64>;
    type Noise = Vec<f64>;
    type Nats = f64;

    fn log_density(&self, value: &Vec<f64>) -> f64 {
        match self {
            Self::Latents(normals) => sum(normals, |i, normal| normal.log_density(&value[i])),
            Self::Data(all) => all.iter().zip(value).map(|(log, k)| log[*k as usize]).sum(),
        }
    }

    fn entropy(&self) -> f64 {
        sum(self.normals(), |_, normal| normal.entropy())
    }

    fn kl(&self, p: &Self) -> f64 {
        sum(self.normals(), |i, q| q.kl(&p.normals()[i]))
    }

    fn reparameterize(&self, noise: &Vec<f64>) -> Vec<f64> {
        self.normals().iter().zip(noise).map(|(normal, eps)| normal.reparameterize(*eps)).collect()
    }
}

impl Factorized for Given {
    type Error = Infallible;

    fn components(&self) -> Result<Components, Infallible> {
        Ok(match self {
            Self::Latents(normals) => Components::Normal(normals.clone()),
            Self::Data(all) => {
                Components::Categorical(all.iter().flatten().map(|log| log.exp() as f32).collect())
            }
        })
    }

    fn value(&self, components: &[f64]) -> Vec<f64> {
        components.to_vec()
    }
}

const LEVELS: u16 = 16;

fn data() -> Discretized {
    Discretized::new(LEVELS).unwrap()
}

type Factor = Box<dyn Conditional<Given>>;

/// Latents around a weighted sum of each parent's components.
fn latents(weights: &'static [f64], var: f64) -> Factor {
    Box::new(move |parents: &[Vec<f64>]| {
        let mean = |i| weights.iter().zip(parents).map(|(weight, parent)| weight * parent[i]).sum();
        Given::Latents((0..parents[0].len()).map(|i| Normal::new(mean(i), var)).collect())
    })
}

/// A model of one number an item, which sees the data's values from −1 to 1.
#[derive(Debug, Clone, Copy)]
enum Lab {
    Vae,
    BottomUp,
    TopDown,
}

impl Hierarchy for Lab {
    type Distribution = Given;
    type Prior = Factor;
    type Posterior = Factor;

    fn dims(&self) -> usize {
        1
    }

    fn values(&self) -> u16 {
        LEVELS
    }

    fn latents(&self) -> usize {
        if matches!(self, Self::Vae) { 1 } else { 2 }
    }

    fn graphs(&self, items: usize) -> Hlvm<Factor, Factor> {
        // Data of variance 0.16, of which a latent of variance 1 tells all but 0.03.
        let likelihood: Factor = Box::new(|parents: &[Vec<f64>]| {
            let log_snr = LogSnr::new(-f64::ln(0.03));
            let log = |z: &f64| data().log_probs(0.36 * z, log_snr).collect();
            Given::Data(parents[0].iter().map(log).collect())
        });
        let root: Factor =
            Box::new(move |_: &[Vec<f64>]| Given::Latents(vec![Normal::new(0.0, 1.0); items]));
        // Means see the number of a value and not the value; the weights below take 7.5 levels for 1.
        let seen: fn(&'static [f64], f64) -> Factor = |weights, var| {
            Box::new(move |parents: &[Vec<f64>]| {
                let (data, above) = parents.split_last().expect("the data are a parent");
                let mean = |i: usize| {
                    let x = data_value(data[i]);
                    weights[0] * x + above.first().map_or(0.0, |above| weights[1] * above[i])
                };
                Given::Latents((0..data.len()).map(|i| Normal::new(mean(i), var)).collect())
            })
        };
        let hlvm = match self {
            Self::Vae => Hlvm::new(
                layered::generative(vec![vec![likelihood], vec![root]]),
                layered::bottom_up(1, vec![vec![seen(&[2.2], 0.2)]]),
            ),
            Self::BottomUp => Hlvm::new(
                layered::generative(vec![
                    vec![likelihood],
                    vec![latents(&[0.8], 0.36)],
                    vec![root],
                ]),
                layered::bottom_up(1, vec![vec![seen(&[2.2], 0.2)], vec![latents(&[0.7], 0.4)]]),
            ),
            Self::TopDown => Hlvm::new(
                layered::generative(vec![
                    vec![likelihood],
                    vec![latents(&[0.8], 0.36)],
                    vec![root],
                ]),
                layered::top_down(1, vec![vec![seen(&[1.4, 0.4], 0.15)], vec![seen(&[1.7], 0.5)]]),
            ),
        };
        hlvm.unwrap()
    }

    fn data(&self, pixels: &[u8]) -> Vec<f64> {
        pixels.iter().map(|pixel| f64::from(*pixel)).collect()
    }
}

fn data_value(number: f64) -> f64 {
    data().encode(number as u16)
}

fn items(count: u64) -> Vec<u8> {
    let normal = |item| Seed(9).uniform(Purpose::Prior, 0, item).normal_quantile();
    (0..count).map(|item| data().decode(0.4 * normal(item)) as u8).collect()
}

/// `−ELBO` of items in bits, by `draws` of their latents.
fn bound(model: Lab, pixels: &[u8], draws: u64) -> f64 {
    let graphs = model.graphs(pixels.len());
    let total: f64 = (0..draws)
        .map(|draw| {
            let noise: Vec<Vec<f64>> = (0..graphs.latents() as u64)
                .map(|t| vdm_sample::prior(Seed(t), draw, pixels.len()))
                .collect();
            let data = [model.data(pixels)];
            let terms = graphs.terms::<Given>(&data, &noise, Integrals::Analytic);
            -terms.iter().map(|(_, term)| term).sum::<f64>()
        })
        .sum();
    total / draws as f64 / LN_2
}

fn compress(model: Lab, pixels: &[u8], batch: u32) -> (Code, Layers) {
    let layers = Layers::of(&model, pixels, 64, Settings::CELLS, 3.7).unwrap();
    let codec = Codec::hierarchy(model, &layers, batch).unwrap();
    let code = codec.compress(pixels, |_| ()).unwrap();
    assert_eq!(codec.decompress(&code.words, pixels.len(), |_| ()).unwrap(), pixels);
    (code, layers)
}

/// The bits that items add are minus the bound of each model, and every item comes back. The code is one draw of the
/// latents, whose bits scatter by 1 an item: 0.01 for 10,000 of them, of which the tolerance is four.
#[test]
fn m68_the_code_length_of_a_learned_hierarchy_is_its_bound() {
    let pixels = items(10_000);
    for model in [Lab::Vae, Lab::BottomUp, Lab::TopDown] {
        let (code, layers) = compress(model, &pixels, 32);
        let [code, bound] =
            [code.net_bits, bound(model, &pixels, 30)].map(|bits| bits / pixels.len() as f64);
        println!("{model:?}: {code:.4} bits beside {bound:.4}, {layers:?}");
        assert!((code - bound).abs() < 0.04, "{model:?}: {code} beside {bound}");
    }
}

/// The latents of the first item alone, however many items follow.
#[test]
fn initial_bits_are_paid_once() {
    for model in [Lab::Vae, Lab::BottomUp, Lab::TopDown] {
        let [few, many] = [20, 400].map(|count| compress(model, &items(count), 16).0);
        assert_eq!(few.initial_bits, many.initial_bits);
        assert!(many.initial_bits <= 192, "{model:?}: {}", many.initial_bits);
    }
}

/// Cells come from a file, and each has to be one of a latent.
#[test]
fn cells_that_are_none_are_refused() {
    let good = Cells { log2_width: -4, edge: 200 };
    for (cells, named) in [
        (vec![good], "cells = 1: use one for each latent"),
        (vec![good, Cells { log2_width: 65, ..good }], "log2_width = 65"),
        (vec![good, Cells { edge: 0, ..good }], "edge = 0"),
        (vec![good, Cells { edge: i32::MAX, ..good }], "edge = 2147483647"),
    ] {
        let layers = Layers { cells, growth: 8 };
        let error = Codec::hierarchy(Lab::TopDown, &layers, 4).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
    let pixels = [3, 5, 16];
    let layers = Layers { cells: vec![good; 2], growth: 8 };
    let none = Layers { growth: 0, ..layers.clone() };
    let error = Codec::hierarchy(Lab::TopDown, &none, 4).unwrap_err().to_string();
    assert!(error.contains("growth = 0"), "{error}");
    let codec = Codec::hierarchy(Lab::TopDown, &layers, 4).unwrap();
    let error = codec.compress(&pixels, |_| ()).unwrap_err();
    assert!(matches!(error, CodecError::Codec(Error::PixelRange { index: 2, .. })), "{error}");
}

/// Whatever the cells, bits come back: cells far too wide cost length alone, and those that end early are clamped.
#[test]
fn any_cells_read_back() {
    let pixels = items(60);
    for log2_width in [-20, -3, 4, 30] {
        for edge in [1, 7, 1 << 20] {
            let layers = Layers { cells: vec![Cells { log2_width, edge }; 2], growth: 3 };
            for model in [Lab::BottomUp, Lab::TopDown] {
                let codec = Codec::hierarchy(model, &layers, 7).unwrap();
                let code = codec.compress(&pixels, |_| ()).unwrap();
                assert_eq!(codec.decompress(&code.words, 60, |_| ()).unwrap(), pixels);
            }
        }
    }
}
