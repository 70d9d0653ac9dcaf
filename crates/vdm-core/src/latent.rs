//! The space that latents live in.

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
trait Component: Copy {
    const ZERO: Self;
    fn coefficient(c: f64) -> Self;
    fn mul_add_to(self, c: Self, sum: Self) -> Self;
    fn times(self, c: Self) -> Self;
}

macro_rules! impl_component {
    ($($float:ident),*) => {$(
        impl Component for $float {
            const ZERO: Self = 0.0;
            fn coefficient(c: f64) -> Self {
                c as $float
            }
            fn mul_add_to(self, c: Self, sum: Self) -> Self {
                sum + c * self
            }
            fn times(self, c: Self) -> Self {
                c * self
            }
        }
    )*};
}
impl_component!(f32, f64);

/// One pass over memory for up to four terms, the most any solver step needs; longer sums add one
/// pass per term.
fn combine<T: Component>(out: &mut Vec<T>, terms: &[(f64, &[T])]) {
    let live: Vec<(T, &[T])> =
        terms.iter().filter(|(c, _)| *c != 0.0).map(|(c, z)| (T::coefficient(*c), *z)).collect();
    let n = terms.first().map_or(0, |(_, z)| z.len());
    assert!(
        terms.iter().all(|(_, z)| z.len() == n),
        "lincomb of latents of different lengths: {:?}",
        terms.iter().map(|(_, z)| z.len()).collect::<Vec<_>>()
    );
    out.clear();
    let (head, rest) = live.split_at(live.len().min(4));
    match *head {
        [] => out.resize(n, T::ZERO),
        [(a, x)] => out.extend(x.iter().map(|x| x.times(a))),
        [(a, x), (b, y)] => {
            out.extend(x.iter().zip(y).map(|(x, y)| y.mul_add_to(b, x.times(a))));
        }
        [(a, x), (b, y), (c, z)] => out.extend(
            x.iter().zip(y).zip(z).map(|((x, y), z)| z.mul_add_to(c, y.mul_add_to(b, x.times(a)))),
        ),
        [(a, x), (b, y), (c, z), (d, w), ..] => {
            out.extend(x.iter().zip(y).zip(z).zip(w).map(|(((x, y), z), w)| {
                w.mul_add_to(d, z.mul_add_to(c, y.mul_add_to(b, x.times(a))))
            }));
        }
    }
    for (c, z) in rest {
        for (sum, z) in out.iter_mut().zip(*z) {
            *sum = z.mul_add_to(*c, *sum);
        }
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
                let slices: Vec<(f64, &[$float])> =
                    terms.iter().map(|(c, z)| (*c, z.as_slice())).collect();
                combine(self, &slices);
            }
        }
    )*};
}
impl_latent_for_vec!(f32, f64);

#[cfg(feature = "ndarray")]
impl<D: ndarray::Dimension> Latent for ndarray::Array<f32, D> {
    fn lincomb(terms: &[(f64, &Self)]) -> Self {
        let mut out = Self::zeros(terms[0].1.raw_dim());
        out.lincomb_into(terms);
        out
    }
    fn lincomb_into(&mut self, terms: &[(f64, &Self)]) {
        self.fill(0.0);
        for (c, z) in terms.iter().filter(|(c, _)| *c != 0.0) {
            self.scaled_add(*c as f32, z);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Any latent type must pass these; `make` builds one from components, `read` takes it apart.
    fn check_laws<Z: Latent>(make: impl Fn(&[f64]) -> Z, read: impl Fn(&Z) -> Vec<f64>) {
        let parts: Vec<Z> =
            (0..6).map(|i| make(&[f64::from(i), 1.0 - f64::from(i), 0.5 * f64::from(i)])).collect();
        let coefficients = [2.0, -1.0, 0.5, 3.0, -0.25, 1.0];
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
    }

    proptest! {
        #[test]
        fn scalars_are_linear(a in -5.0..5.0_f64, b in -5.0..5.0_f64, x in -5.0..5.0_f64) {
            let split = f64::lincomb(&[(a, &x), (b, &x)]);
            prop_assert!((split - (a + b) * x).abs() < 1e-12);
        }
    }

    #[test]
    #[should_panic(expected = "lincomb of latents of different lengths: [2, 3]")]
    fn lengths_must_agree() {
        let _ = Vec::lincomb(&[(1.0, &vec![0.0_f32; 2]), (1.0, &vec![0.0; 3])]);
    }
}
