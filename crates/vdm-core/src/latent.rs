//! The space that latents live in.

use std::array;
use std::ops::{Add, Mul};

#[cfg(feature = "ndarray")]
use ndarray::azip;

/// A vector space: the one thing a solver or a training step asks of a tensor type.
///
/// Every step of the theory is a linear combination with scalar coefficients, so a tensor library
/// joins by one function. `C` is one coefficient (`f64`, rounded once on contact with the data) or
/// one coefficient per sample of a batch.
///
/// Implementations must skip terms whose coefficient is exactly 0, so that `0·∞` cannot poison a
/// result, and must not be called with an empty list.
///
/// ```
/// use vdm_core::Latent;
///
/// #[derive(Debug, PartialEq)]
/// struct Complex { re: f64, im: f64 }
///
/// impl Latent for Complex {
///     fn lincomb(terms: &[(f64, &Self)]) -> Self {
///         terms.iter().filter(|(c, _)| *c != 0.0).fold(Self { re: 0.0, im: 0.0 }, |sum, (c, z)| {
///             Self { re: sum.re + c * z.re, im: sum.im + c * z.im }
///         })
///     }
/// }
///
/// let (a, b) = (Complex { re: 1.0, im: 0.0 }, Complex { re: 0.0, im: 1.0 });
/// assert_eq!(Complex::lincomb(&[(2.0, &a), (-3.0, &b)]), Complex { re: 2.0, im: -3.0 });
/// ```
pub trait Latent<C = f64>: Sized {
    /// `Σ cᵢ zᵢ` over at least one term, all of one shape.
    #[must_use]
    fn lincomb(terms: &[(C, &Self)]) -> Self;

    /// The same sum written over `self`, which has the shape of the terms. Solvers call this with
    /// buffers they own; override it where memory can be reused.
    fn lincomb_into(&mut self, terms: &[(C, &Self)]) {
        *self = Self::lincomb(terms);
    }
}

impl Latent for f64 {
    fn lincomb(terms: &[(Self, &Self)]) -> Self {
        terms.iter().filter(|(c, _)| *c != 0.0).map(|(c, z)| c * **z).sum()
    }
}

/// Arithmetic of a component type with coefficients rounded to it.
trait Component: Copy + Add<Output = Self> + Mul<Output = Self> {
    const ZERO: Self;
    fn coefficient(c: f64) -> Self;
}

macro_rules! impl_component {
    ($($float:ident),*) => {$(
        impl Component for $float {
            const ZERO: Self = 0.0;
            fn coefficient(c: f64) -> Self {
                c as $float
            }
        }
    )*};
}
impl_component!(f32, f64);

/// One pass over memory for up to five terms, the most that all but a few solver steps need, and one
/// more for each further term. Allocates nothing if `out` has the capacity.
fn combine<T: Component>(out: &mut Vec<T>, terms: &[(f64, &Vec<T>)]) {
    let n = terms.first().map_or(0, |(_, z)| z.len());
    assert!(
        terms.iter().all(|(_, z)| z.len() == n),
        "lincomb of latents of different lengths: {:?}",
        terms.iter().map(|(_, z)| z.len()).collect::<Vec<_>>()
    );
    let mut live =
        terms.iter().filter(|(c, _)| *c != 0.0).map(|(c, z)| (T::coefficient(*c), z.iter()));
    out.clear();
    // Written out, because the compiler makes no vector instructions of a loop over the terms.
    match array::from_fn::<_, 5, _>(|_| live.next()) {
        [None, ..] => out.resize(n, T::ZERO),
        [Some((a, x)), None, ..] => out.extend(x.map(|x| a * *x)),
        [Some((a, x)), Some((b, y)), None, ..] => {
            out.extend(x.zip(y).map(|(x, y)| a * *x + b * *y));
        }
        [Some((a, x)), Some((b, y)), Some((c, z)), None, _] => {
            out.extend(x.zip(y).zip(z).map(|((x, y), z)| a * *x + b * *y + c * *z));
        }
        [Some((a, x)), Some((b, y)), Some((c, z)), Some((d, u)), None] => out.extend(
            x.zip(y).zip(z).zip(u).map(|(((x, y), z), u)| a * *x + b * *y + c * *z + d * *u),
        ),
        [Some((a, x)), Some((b, y)), Some((c, z)), Some((d, u)), Some((e, v))] => {
            out.extend(
                x.zip(y)
                    .zip(z)
                    .zip(u)
                    .zip(v)
                    .map(|((((x, y), z), u), v)| a * *x + b * *y + c * *z + d * *u + e * *v),
            );
        }
    }
    for (c, z) in live {
        out.iter_mut().zip(z).for_each(|(sum, z)| *sum = *sum + c * *z);
    }
}

macro_rules! impl_latent_for_vec {
    ($($float:ident),*) => {$(
        impl Latent for Vec<$float> {
            fn lincomb(terms: &[(f64, &Self)]) -> Self {
                let mut out = Self::with_capacity(terms.first().map_or(0, |(_, z)| z.len()));
                out.lincomb_into(terms);
                out
            }
            fn lincomb_into(&mut self, terms: &[(f64, &Self)]) {
                combine(self, terms);
            }
        }
    )*};
}
impl_latent_for_vec!(f32, f64);

/// One pass over memory for up to four terms, and one more for each further term.
#[cfg(feature = "ndarray")]
macro_rules! impl_latent_for_array {
    ($($float:ident),*) => {$(
        impl<D: ndarray::Dimension> Latent for ndarray::Array<$float, D> {
            fn lincomb(terms: &[(f64, &Self)]) -> Self {
                let mut out = Self::zeros(terms[0].1.raw_dim());
                out.lincomb_into(terms);
                out
            }
            fn lincomb_into(&mut self, terms: &[(f64, &Self)]) {
                let mut live =
                    terms.iter().filter(|(c, _)| *c != 0.0).map(|(c, z)| (*c as $float, *z));
                let out = &mut *self;
                match array::from_fn::<_, 4, _>(|_| live.next()) {
                    [None, ..] => out.fill(0.0),
                    [Some((a, x)), None, ..] => azip!((out in out, &x in x) *out = a * x),
                    [Some((a, x)), Some((b, y)), None, _] => {
                        azip!((out in out, &x in x, &y in y) *out = a * x + b * y);
                    }
                    [Some((a, x)), Some((b, y)), Some((c, z)), None] => {
                        azip!((out in out, &x in x, &y in y, &z in z) {
                            *out = a * x + b * y + c * z;
                        });
                    }
                    [Some((a, x)), Some((b, y)), Some((c, z)), Some((d, w))] => {
                        azip!((out in out, &x in x, &y in y, &z in z, &w in w) {
                            *out = a * x + b * y + c * z + d * w;
                        });
                    }
                }
                for (c, z) in live {
                    self.scaled_add(c, z);
                }
            }
        }
    )*};
}
#[cfg(feature = "ndarray")]
impl_latent_for_array!(f32, f64);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Any latent type must pass these; `make` builds one from components, `read` takes it apart.
    fn check_laws<Z: Latent>(make: impl Fn(&[f64]) -> Z, read: impl Fn(&Z) -> Vec<f64>) {
        let parts: Vec<Z> =
            (0..6).map(|i| make(&[f64::from(i), 1.0 - f64::from(i), 0.5 * f64::from(i)])).collect();
        let coefficients = [2.0, -1.0, 0.5, 3.0, -0.25, 1.5];
        for count in 1..=parts.len() {
            let terms: Vec<(f64, &Z)> =
                coefficients.iter().copied().zip(&parts).take(count).collect();
            let sum = read(&Z::lincomb(&terms));
            for (j, got) in sum.iter().enumerate() {
                let wanted: f64 = terms.iter().map(|(c, z)| c * read(z)[j]).sum();
                assert!((got - wanted).abs() < 1e-5, "{count} terms, component {j}");
            }
            let mut into = make(&[9.0, 9.0, 9.0]);
            into.lincomb_into(&terms);
            assert_eq!(read(&into), sum, "lincomb_into equals lincomb");
        }
        let infinite = make(&[f64::INFINITY; 3]);
        let skipped = read(&Z::lincomb(&[(1.0, &parts[1]), (0.0, &infinite)]));
        assert_eq!(skipped, read(&parts[1]), "a zero coefficient hides infinities");
        assert_eq!(read(&Z::lincomb(&[(0.0, &infinite)])), [0.0; 3]);
    }

    #[test]
    fn vectors_of_either_precision_obey_the_laws() {
        check_laws(<[f64]>::to_vec, Clone::clone);
        check_laws(
            |c| c.iter().map(|c| *c as f32).collect::<Vec<f32>>(),
            |z| z.iter().map(|z| f64::from(*z)).collect(),
        );
    }

    #[cfg(feature = "ndarray")]
    #[test]
    fn ndarray_obeys_the_laws() {
        check_laws(
            |c| ndarray::Array1::from_iter(c.iter().map(|c| *c as f32)),
            |z| z.iter().map(|z| f64::from(*z)).collect(),
        );
        check_laws(
            |c| ndarray::Array1::from_iter(c.iter().copied()),
            |z| z.iter().copied().collect(),
        );
    }

    /// In memory order or not.
    #[cfg(feature = "ndarray")]
    #[test]
    fn arrays_of_any_layout_are_summed_by_index() {
        let rows = ndarray::array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]];
        let columns = ndarray::array![[1.0, -1.0], [2.0, -2.0], [3.0, -3.0]].reversed_axes();
        let sum = ndarray::Array2::lincomb(&[(1.0, &rows), (10.0, &columns)]);
        assert_eq!(sum, ndarray::array![[11.0, 22.0, 33.0], [-6.0, -15.0, -24.0]]);
    }

    proptest! {
        #[test]
        fn scalars_are_linear(a in -5.0..5.0_f64, b in -5.0..5.0_f64, x in -5.0..5.0_f64) {
            let split = f64::lincomb(&[(a, &x), (b, &x)]);
            prop_assert!((split - (a + b) * x).abs() < 1e-12);
        }
    }

    /// The memory of the result is that of `out`, and a sum keeps the sign of a zero.
    #[test]
    fn a_sum_is_written_where_it_is_wanted() {
        let parts = [vec![1.0], vec![2.0], vec![3.0], vec![4.0], vec![5.0], vec![6.0], vec![7.0]];
        let mut out = Vec::with_capacity(1);
        let memory = (out.as_ptr(), out.capacity());
        for count in 1..=parts.len() {
            let terms: Vec<(f64, &Vec<f64>)> = parts[..count].iter().map(|z| (1.0, z)).collect();
            out.lincomb_into(&terms);
            assert_eq!(out, [(count * (count + 1)) as f64 / 2.0]);
            assert_eq!((out.as_ptr(), out.capacity()), memory, "{count} terms");
        }
        out.lincomb_into(&[(-0.5, &vec![0.0])]);
        assert_eq!(out[0].to_bits(), (-0.0_f64).to_bits());
        out.lincomb_into(&[(-0.0, &vec![1.0])]);
        assert_eq!(out[0].to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    #[should_panic(expected = "lincomb of latents of different lengths: [2, 3]")]
    fn lengths_must_agree() {
        let _ = Vec::lincomb(&[(1.0, &vec![0.0_f32; 2]), (1.0, &vec![0.0; 3])]);
    }
}
