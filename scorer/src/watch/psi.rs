//! How far a distribution has moved: the population stability index.

/// A share below this counts as this: the logarithm of an empty bin is infinite. A bin of a tenth of the training rows that
/// nothing falls into any more then adds 0.7, well above what calls for action, and a bin that was empty in training
/// and gets one row in ten thousand adds nothing.
const SHARE_MIN: f64 = 1e-4;

/// Rows below which nothing is said. Without any drift the index is about (bins − 1) / rows on average, and one time in twenty
/// twice that (B. Yurdakul, J. Naranjo, "Statistical properties of the population stability index", Journal of Risk
/// Model Validation 14(4), 2020): with 10 bins and 500 rows 0.02 and 0.034, far from the 0.1 that one looks at.
pub(super) const ROWS_MIN: u64 = 500;

/// The population stability index of `counts` against the shares `expected` of the same bins: the sum over bins of
/// `(found − expected) · ln(found / expected)`, 0 where nothing has moved (N. Siddiqi, "Credit Risk Scorecards", Wiley 2006;
/// the symmetric divergence of H. Jeffreys, 1946). `None` with fewer than [`ROWS_MIN`] rows.
pub(super) fn psi(expected: &[f64], counts: &[u64]) -> Option<f64> {
    let rows: u64 = counts.iter().sum();
    if rows < ROWS_MIN {
        return None;
    }
    let bins = expected.iter().zip(counts);
    Some(
        bins.map(|(&expected, &count)| {
            let expected = expected.max(SHARE_MIN);
            let found = share(count, rows).max(SHARE_MIN);
            (found - expected) * (found / expected).ln()
        })
        .sum(),
    )
}

/// `count` of `rows`, 0 of none.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of an hour are far below 2^53"
)]
pub(super) fn share(count: u64, rows: u64) -> f64 {
    count as f64 / rows.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_what_the_formula_says() {
        // By hand: (0.4 − 0.5) ln 0.8 + (0.6 − 0.5) ln 1.2 = 0.0223144 + 0.0182322.
        let found = psi(&[0.5, 0.5], &[400, 600]).unwrap();
        assert!((found - 0.040_546_5).abs() < 1e-6, "{found}");
        let found = psi(&[0.1, 0.2, 0.7], &[100, 200, 700]).unwrap();
        assert!(found.abs() < 1e-12, "{found}");
    }

    #[test]
    fn it_does_not_matter_which_of_the_two_came_first() {
        let there = psi(&[0.25, 0.75], &[600, 400]).unwrap();
        let back = psi(&[0.6, 0.4], &[250, 750]).unwrap();
        assert!((there - back).abs() < 1e-12);
    }

    #[test]
    fn empty_bins_count_as_a_ten_thousandth() {
        // A tenth of the training rows that is gone: (1e-4 − 0.1) ln 1e-3, and what the others gain.
        let gone = psi(&[0.1, 0.9], &[0, 1000]).unwrap();
        let expected = (1e-4 - 0.1) * 1e-3_f64.ln() + 0.1 * (1.0_f64 / 0.9).ln();
        assert!((gone - expected).abs() < 1e-12, "{gone}");
        assert!((0.69..0.71).contains(&gone), "{gone}");
        // Empty on both sides adds nothing; new in one row of ten thousand next to nothing.
        assert!(psi(&[1.0, 0.0], &[1000, 0]).unwrap().abs() < 1e-12);
        assert!(psi(&[1.0, 0.0], &[9_999, 1]).unwrap() < 1e-6);
    }

    #[test]
    fn few_rows_say_nothing() {
        assert_eq!(psi(&[0.5, 0.5], &[499, 0]), None);
        assert!(psi(&[0.5, 0.5], &[499, 1]).is_some());
    }
}
