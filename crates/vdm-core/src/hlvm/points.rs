//! Weighted standard-normal vectors: how an expectation over latents is taken.

/// One vector of standard normals, and what it counts for in an average.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedNormal {
    /// Weight; those of a rule sum to 1.
    pub weight: f64,
    /// One standard normal per latent.
    pub eps: Vec<f64>,
}

/// `n` random vectors of equal weight: the Monte-Carlo estimate. `normal` yields independent
/// standard normals.
pub fn monte_carlo(
    n: usize,
    dims: usize,
    mut normal: impl FnMut() -> f64,
) -> impl Iterator<Item = WeightedNormal> {
    (0..n).map(move |_| WeightedNormal {
        weight: 1.0 / n as f64,
        eps: (0..dims).map(|_| normal()).collect(),
    })
}

/// The `2·dims` points `±√dims·e_i` of equal weight: the unscented rule, exact for polynomials of
/// degree 3 and less, hence for the bound of any linear-Gaussian model. `dims ≥ 1`.
///
/// ```
/// use vdm_core::hlvm::sigma_points;
/// let square = |eps: &[f64]| (eps[0] - 2.0 * eps[2]).powi(2);
/// let mean: f64 = sigma_points(3).map(|draw| draw.weight * square(&draw.eps)).sum();
/// assert!((mean - 5.0).abs() < 1e-14); // 1² + 2²
/// ```
pub fn sigma_points(dims: usize) -> impl Iterator<Item = WeightedNormal> {
    let radius = (dims as f64).sqrt();
    (0..dims).flat_map(move |i| {
        [radius, -radius].map(|coordinate| {
            let mut eps = vec![0.0; dims];
            eps[i] = coordinate;
            WeightedNormal { weight: 0.5 / dims as f64, eps }
        })
    })
}
