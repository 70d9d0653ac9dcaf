//! Which color space three components are in, and turning luminance and differences into colors.
//!
//! The file names none. As libjpeg does, a JFIF marker is believed first, then Adobe's marker, then
//! the names of the components.

/// Whether three components are luminance and two differences of color, by libjpeg's rules, or red,
/// green and blue.
pub(super) fn is_ycbcr(ids: [u8; 3], jfif: bool, adobe: Option<u8>) -> bool {
    match adobe {
        _ if jfif => true,
        Some(transform) => transform != 0,
        None => &ids != b"RGB",
    }
}

/// Luminance and differences of color as red, green and blue: ITU-R BT.601 in 16-bit fractions,
/// rounded as libjpeg rounds them.
pub(super) fn from_ycbcr([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let fraction = |value: f64| (value * 65536.0 + 0.5) as i32;
    let [y, cb, cr] = [i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128];
    let red = y + ((fraction(1.402) * cr + HALF) >> 16);
    let green = y + ((-fraction(0.344_136_286) * cb - fraction(0.714_136_286) * cr + HALF) >> 16);
    let blue = y + ((fraction(1.772) * cb + HALF) >> 16);
    [red, green, blue].map(|value| value.clamp(0, 255) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jfif_comes_before_adobe_and_adobe_before_names() {
        for (ids, jfif, adobe, ycbcr) in [
            (*b"RGB", true, Some(0), true),
            (*b"RGB", true, None, true),
            (*b"RGB", false, Some(1), true),
            (*b"RGB", false, None, false),
            ([1, 2, 3], true, Some(0), true),
            ([1, 2, 3], false, Some(0), false),
            ([1, 2, 3], false, Some(1), true),
            ([1, 2, 3], false, None, true),
            (*b"rgb", false, None, true),
        ] {
            assert_eq!(is_ycbcr(ids, jfif, adobe), ycbcr, "{ids:?} {jfif} {adobe:?}");
        }
    }

    #[test]
    fn primary_colors_come_back() {
        // BT.601 of white, red and blue.
        assert_eq!(from_ycbcr([255, 128, 128]), [255, 255, 255]);
        assert_eq!(from_ycbcr([76, 85, 255]), [254, 0, 0]);
        assert_eq!(from_ycbcr([29, 255, 107]), [0, 0, 254]);
    }
}
