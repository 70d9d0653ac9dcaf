//! A set of points in the plane.

use std::ops::RangeInclusive;

use super::Preview;
use crate::Error;

const PAPER: [f32; 3] = [255.0, 255.0, 255.0];
const INK: [f32; 3] = [37.0, 82.0, 178.0];
/// How much of the paper one point covers; where points pile up the ink grows darker.
const OPACITY: f32 = 0.4;
/// Radius of a dot as a share of the preview's side.
const DOT: f32 = 1.0 / 300.0;

/// Draws points `[x, y]` of the square `range` x `range`, `x` to the right and `y` upwards, into a
/// preview of `side` x `side` pixels. Points that are not finite or lie outside are left out.
///
/// # Errors
/// [`Error::Shape`] for an empty range or a side outside 1..=8192.
///
/// ```
/// use vdm_report::preview::scatter;
/// // 8-bit pairs, as a 2-D data set stores them.
/// let pairs = [0_u8, 0, 255, 128];
/// let points = pairs.chunks_exact(2).map(|pair| [f32::from(pair[0]), f32::from(pair[1])]);
/// let preview = scatter(points, 0.0..=255.0, 256)?;
/// assert_ne!(preview.pixel(0, 255), [255; 3]);
/// assert_eq!(preview.pixel(0, 0), [255; 3]);
/// # Ok::<(), vdm_report::Error>(())
/// ```
pub fn scatter(
    points: impl IntoIterator<Item = [f32; 2]>,
    range: RangeInclusive<f32>,
    side: u32,
) -> Result<Preview, Error> {
    let (low, extent) = (*range.start(), range.end() - range.start());
    if !(extent > 0.0 && extent.is_finite()) {
        return Err(Error::Shape(format!(
            "a scatter needs a range of finite extent, not {range:?}"
        )));
    }
    let mut preview = Preview::filled(u64::from(side), u64::from(side), PAPER.map(|c| c as u8))?;
    let scale = (side - 1) as f32 / extent;
    for [x, y] in points {
        if range.contains(&x) && range.contains(&y) {
            let center = [(x - low) * scale, (side - 1) as f32 - (y - low) * scale];
            dot(&mut preview, center);
        }
    }
    Ok(preview)
}

/// Inks the pixels whose centers lie in a disc, and at least the nearest one.
fn dot(preview: &mut Preview, [x, y]: [f32; 2]) {
    let radius = (DOT * preview.width as f32).max(0.5);
    let last = (preview.width - 1) as f32;
    let pixels = |center: f32| {
        let (from, to) = ((center - radius).round().max(0.0), (center + radius).round().min(last));
        from as u32..=to as u32
    };
    let nearest = (x.round() as u32, y.round() as u32);
    for row in pixels(y) {
        for column in pixels(x) {
            let inside = (column as f32 - x).hypot(row as f32 - y) <= radius;
            if inside || (column, row) == nearest {
                let color = preview.pixel(column, row);
                preview.set_pixel(column, row, inked(color));
            }
        }
    }
}

fn inked(color: [u8; 3]) -> [u8; 3] {
    [0, 1, 2].map(|c| (f32::from(color[c]) * (1.0 - OPACITY) + INK[c] * OPACITY).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inked_pixels(points: &[[f32; 2]], side: u32) -> Vec<(u32, u32)> {
        let preview = scatter(points.iter().copied(), -1.0..=1.0, side).unwrap();
        let all = (0..side).flat_map(|y| (0..side).map(move |x| (x, y)));
        all.filter(|&(x, y)| preview.pixel(x, y) != [255; 3]).collect()
    }

    #[test]
    fn corners_land_in_corners_with_y_upwards() {
        assert_eq!(inked_pixels(&[[-1.0, -1.0]], 11), [(0, 10)]);
        assert_eq!(inked_pixels(&[[1.0, 1.0]], 11), [(10, 0)]);
        assert_eq!(inked_pixels(&[[0.0, 0.0]], 1), [(0, 0)]);
    }

    #[test]
    fn points_that_cannot_be_shown_are_left_out() {
        let points = [[f32::NAN, 0.0], [0.0, f32::INFINITY], [1.5, 0.0]];
        assert_eq!(inked_pixels(&points, 11), []);
    }

    #[test]
    fn piled_up_points_are_darker() {
        let shade = |count| scatter(vec![[0.0, 0.0]; count], -1.0..=1.0, 11).unwrap().pixel(5, 5);
        assert!(shade(2)[0] < shade(1)[0]);
        // Rounding stops the approach one short of the ink.
        assert!((f32::from(shade(100)[0]) - INK[0]).abs() <= 1.0);
    }

    #[test]
    fn impossible_scatters_are_refused() {
        for range in [1.0..=1.0, 0.0..=f32::INFINITY, 0.0..=f32::NAN] {
            assert!(scatter([], range, 8).is_err());
        }
        assert!(scatter([], 0.0..=1.0, 0).is_err());
        assert!(scatter([], 0.0..=1.0, 1 << 14).is_err());
    }
}
