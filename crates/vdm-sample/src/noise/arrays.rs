//! Independent noise in ndarray's arrays: samples lie along the first axis.

use ndarray::{Array, Dimension};
use vdm_core::LogSnr;

use super::{Iid, NoiseError, NoiseSource};

/// Whatever the layout in memory, numbers are drawn in the order of the indices.
fn fill<T: Clone + From<f32>, D: Dimension>(iid: &mut Iid, out: &mut Array<T, D>) {
    if let Some(numbers) = out.as_slice_mut() {
        iid.fill_slice(numbers);
        return;
    }
    let mut numbers = vec![T::from(0.0); out.len()];
    iid.fill_slice(&mut numbers);
    out.iter_mut().zip(numbers).for_each(|(out, number)| *out = number);
}

impl<D: Dimension> NoiseSource<Array<f32, D>> for Iid {
    fn fill(&mut self, out: &mut Array<f32, D>, _: LogSnr, _: LogSnr) -> Result<(), NoiseError> {
        fill(self, out);
        Ok(())
    }
}

impl<D: Dimension> NoiseSource<Array<f64, D>> for Iid {
    fn fill(&mut self, out: &mut Array<f64, D>, _: LogSnr, _: LogSnr) -> Result<(), NoiseError> {
        fill(self, out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::Seed;

    #[test]
    fn an_array_has_the_numbers_of_a_vector_in_any_layout() {
        let iid = || Iid::new(Seed(3), 5, 2);
        let mut plain = vec![0.0_f64; 6];
        iid().fill_slice(&mut plain);
        let mut rows = Array2::<f64>::zeros((3, 2));
        let mut columns = Array2::<f64>::zeros((2, 3)).reversed_axes();
        for array in [&mut rows, &mut columns] {
            iid().fill(array, LogSnr::new(0.0), LogSnr::new(1.0)).unwrap();
            assert!(array.iter().eq(&plain));
        }
    }
}
