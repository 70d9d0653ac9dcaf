//! Numbers as people read them.

const MISSING: &str = "not finite";

/// With as many decimals as the standard error has meaning: its first two digits, at most five.
pub(super) fn with_error(value: f64, error: f64) -> String {
    if !value.is_finite() {
        return MISSING.to_owned();
    }
    if !error.is_finite() {
        return fixed(value);
    }
    let decimals = if error > 0.0 { (1.0 - error.log10().floor()).clamp(2.0, 5.0) } else { 3.0 };
    let decimals = decimals as usize;
    format!("{value:.decimals$} ± {error:.decimals$}")
}

/// A quantity in bits per dimension.
pub(super) fn fixed(value: f64) -> String {
    if value.is_finite() { format!("{value:.3}") } else { MISSING.to_owned() }
}

/// A whole number with its thousands set apart by narrow spaces, which never break.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A rate: whole from 100 up, else three digits.
pub(super) fn rate(value: f64) -> String {
    match value {
        v if !v.is_finite() || v < 0.0 => MISSING.to_owned(),
        v if v >= 99.5 => count(v.round() as u64),
        v if v >= 9.95 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// A span of time in its two largest units.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return MISSING.to_owned();
    }
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let total = seconds.round() as u64;
    let (hours, minutes, rest) = (total / 3600, total / 60 % 60, total % 60);
    if hours > 0 { format!("{hours} h {minutes} min") } else { format!("{minutes} min {rest} s") }
}

/// Enough of a checksum to compare by eye.
pub(super) fn short_hash(hash: &str) -> String {
    hash.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_follow_the_standard_error() {
        assert_eq!(with_error(1.7321, 0.0123), "1.732 ± 0.012");
        assert_eq!(with_error(1.73205, 0.00042), "1.73205 ± 0.00042");
        assert_eq!(with_error(1.7321, 2.0), "1.73 ± 2.00");
        assert_eq!(with_error(1.7321, 0.0), "1.732 ± 0.000");
        assert_eq!(with_error(1.7321, f64::NAN), "1.732");
        assert_eq!(with_error(f64::NAN, 0.1), "not finite");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(rate(1234.4), "1\u{202f}234");
        assert_eq!(rate(12.34), "12.3");
        assert_eq!(rate(1.234), "1.23");
        assert_eq!(rate(f64::INFINITY), "not finite");
        assert_eq!(duration(12.34), "12.3 s");
        assert_eq!(duration(59.97), "1 min 0 s");
        assert_eq!(duration(298.4), "4 min 58 s");
        assert_eq!(duration(3_661.0), "1 h 1 min");
        assert_eq!(duration(f64::NAN), "not finite");
    }
}
