//! Numbers as whole millionths, so that sums are exact.
//!
//! Amounts are decimals: a limit of 2,000.00 is not crossed by transactions that add up to 2,000.00, whatever their
//! nearest doubles add up to, and a sum does not depend on the order of its terms or on how they are grouped. A
//! number that is no whole count of millionths (a third, say) stays the double that it is.

/// Millionths in one.
const SCALE: f64 = 1e6;

/// Doubles hold every whole number up to here.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// The same as a whole number: no count of millionths that a column has is beyond.
pub(crate) const WHOLE_MAX: u64 = 1 << 53;

/// The number as whole millionths; `None` if the double is not the one nearest to any such decimal, or is beyond
/// nine thousand million, where doubles are coarser than that.
pub(crate) fn millionths(number: f64) -> Option<i64> {
    let whole = (number * SCALE).round() + 0.0;
    if whole.abs() > EXACT_MAX || (whole / SCALE).to_bits() != (number + 0.0).to_bits() {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
    Some(whole as i64)
}

/// The number rounded to whole millionths, stopping at a million million, beyond which no amount lies.
pub(crate) fn nearest(number: f64) -> i128 {
    let whole = (number * SCALE).round().clamp(-1e18, 1e18);
    #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^60")]
    let whole = whole as i128;
    whole
}

/// The double nearest to a count of millionths.
pub(crate) fn number(millionths: i128) -> f64 {
    to_double(millionths) / SCALE
}

/// The population's standard deviation from the number of values, their sum and the sum of their squares, all in
/// whole millionths: √(n·Σx² − (Σx)²) ⁄ n.
///
/// `None` where the products would not fit 127 bits.
pub(crate) fn stddev(count: usize, sum: i128, squares: i128) -> Option<f64> {
    let count = i128::try_from(count).ok().filter(|count| *count > 0)?;
    let spread = count
        .checked_mul(squares)?
        .checked_sub(sum.checked_mul(sum)?)?;
    Some(to_double(spread).sqrt() / to_double(count) / SCALE)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "this is where the one rounding happens"
)]
fn to_double(whole: i128) -> f64 {
    // Nearly always, and five times as fast.
    match i64::try_from(whole) {
        Ok(whole) => whole as f64,
        Err(_) => wide_to_double(whole),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the same for what does not fit 64 bits"
)]
#[cold]
fn wide_to_double(whole: i128) -> f64 {
    whole as f64
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "what is exact compares exactly")]
mod tests {
    use super::*;

    #[test]
    fn decimals_survive_and_other_numbers_are_told_apart() {
        for decimal in [0.0, 0.1, 2.5, 1234.56, -17.000_001, 9e9, 1e-6, -0.3] {
            let whole = millionths(decimal).unwrap();
            assert_eq!(number(i128::from(whole)), decimal);
        }
        for other in [
            1.0 / 3.0,
            1e-7,
            0.1 + 0.2,
            1e10,
            f64::MAX,
            f64::MIN_POSITIVE,
        ] {
            assert_eq!(millionths(other), None, "{other}");
        }
        assert_eq!(millionths(-0.0), Some(0));
    }

    #[test]
    fn a_limit_is_not_crossed_by_amounts_that_add_up_to_it() {
        let cents: i128 = [0.1; 10]
            .iter()
            .map(|x| i128::from(millionths(*x).unwrap()))
            .sum();
        assert_eq!(number(cents), 1.0);
        assert_ne!([0.1; 10].iter().sum::<f64>(), 1.0, "as doubles they do not");
    }

    #[test]
    fn deviations_are_those_of_the_textbook() {
        // 2, 4, 4, 4, 5, 5, 7, 9 deviate by 2 from their mean of 5.
        let values =
            [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].map(|x| i128::from(millionths(x).unwrap()));
        let (sum, squares) = (values.iter().sum(), values.iter().map(|x| x * x).sum());
        assert_eq!(stddev(values.len(), sum, squares), Some(2.0));
        assert_eq!(stddev(0, 0, 0), None);
        assert_eq!(stddev(9, i128::MAX, i128::MAX), None);
    }
}
