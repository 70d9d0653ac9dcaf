//! Sampling with a network in ONNX Runtime. The network here is small enough to check: it is the best denoiser
//! of components that are −1 or 1, and `make_model.py` writes it.
//!
//! ```text
//! pip install --target onnx onnxruntime
//! ORT_DYLIB_PATH=$(echo $PWD/onnx/onnxruntime/capi/libonnxruntime.so.*) \
//!     cargo run --manifest-path crates/vdm-sample/examples-onnx/Cargo.toml
//! ```

use std::cell::RefCell;
use std::error::Error;

use ndarray::{Array2, Ix2, arr0};
use ort::session::Session;
use ort::value::TensorRef;
use vdm_core::{Denoiser, NoiseLevel, Parameterization, Prediction, Scaling, Schedule};
use vdm_sample::{Ancestral, DpmSolverMultistep, Iid, NoNoise, Seed, TimeGrid, prior, solve};

const SAMPLES: usize = 4;
const DIMS: usize = 6;

/// A network from latents and a log-SNR to images. A session is changed by running it.
struct Network(RefCell<Session>);

impl Denoiser<Array2<f32>> for Network {
    type Error = ort::Error;

    fn denoise(
        &self,
        z: &Array2<f32>,
        at: &NoiseLevel,
    ) -> Result<Prediction<Array2<f32>>, ort::Error> {
        let log_snr = arr0(at.log_snr as f32);
        let inputs = ort::inputs! {
            "z" => TensorRef::from_array_view(z)?,
            "log_snr" => TensorRef::from_array_view(&log_snr)?,
        };
        let mut session = self.0.borrow_mut();
        let outputs = session.run(inputs)?;
        let image = outputs["image"].try_extract_array::<f32>()?.into_dimensionality::<Ix2>();
        let value = image.map_err(|e| ort::Error::new(e.to_string()))?.to_owned();
        Ok(Prediction { value, of: Parameterization::Image })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let environment = ort::init().build()?;
    let session =
        Session::builder(&environment)?.commit_from_memory(include_bytes!("../signs.onnx"))?;
    let network = Network(RefCell::new(session));
    let schedule = Schedule::cosine(10.0, -10.0)?;
    let grid = TimeGrid::uniform_log_snr(40, &schedule, Scaling::VariancePreserving)?.to_clean();

    let z1: Vec<f32> = (0..SAMPLES as u64).flat_map(|i| prior(Seed(5), i, DIMS)).collect();
    let z1 = Array2::from_shape_vec((SAMPLES, DIMS), z1)?;
    let solver = DpmSolverMultistep::PP_2M;
    let ode = solve(&solver, &network, z1.clone(), &grid, &mut NoNoise, |_, _, _| ())?.latent;
    let mut noise = Iid::new(Seed(5), 0, DIMS);
    let sde = solve(&Ancestral::default(), &network, z1, &grid, &mut noise, |_, _, _| ())?.latent;
    for (name, x) in [("ODE", ode), ("SDE", sde)] {
        assert!(x.iter().all(|x| (x.abs() - 1.0).abs() < 1e-3), "{name}: {x} are not all signs");
        println!("{name}:\n{x:.0}");
    }
    Ok(())
}
