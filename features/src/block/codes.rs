//! Loops over the whole numbers of a column in their own width and without branches, so that the compiler can take
//! several rows at a time.

use super::view::Rows;

/// A whole number as a column has it; the least of its width stands for missing.
pub(super) trait Code: Copy + Ord + Into<i64> {
    const MISSING: Self;
    const MOST: Self;
    type Bytes;

    fn chunks(codes: &[u8]) -> &[Self::Bytes];
    fn of(bytes: &Self::Bytes) -> Self;
}

macro_rules! code {
    ($($width:ty),*) => {$(
        impl Code for $width {
            const MISSING: Self = Self::MIN;
            const MOST: Self = Self::MAX;
            type Bytes = [u8; size_of::<Self>()];

            #[inline]
            fn chunks(codes: &[u8]) -> &[Self::Bytes] {
                codes.as_chunks().0
            }

            #[inline]
            fn of(bytes: &Self::Bytes) -> Self {
                Self::from_le_bytes(*bytes)
            }
        }
    )*};
}

code!(i8, i16, i32, i64);

/// The sum of those that are there, and how many they are.
pub(super) fn sum<C: Code>(codes: &[u8], rows: &Rows<'_>) -> (i64, usize) {
    fold::<C, _>(codes, rows, (0, 0), |(sum, count), code| {
        let is_there = code != C::MISSING;
        let code = if is_there { code.into() } else { 0 };
        (sum + code, count + usize::from(is_there))
    })
}

/// The least and the greatest of those that are there.
pub(super) fn extremes<C: Code>(codes: &[u8], rows: &Rows<'_>) -> Option<(i64, i64)> {
    let none = (C::MOST, C::MISSING);
    let (least, most) = fold::<C, _>(codes, rows, none, |(least, most), code| {
        let low = if code == C::MISSING { C::MOST } else { code };
        (low.min(least), code.max(most))
    });
    (most != C::MISSING).then(|| (least.into(), most.into()))
}

#[inline]
fn fold<C: Code, T>(codes: &[u8], rows: &Rows<'_>, start: T, mut with: impl FnMut(T, C) -> T) -> T {
    let codes = C::chunks(codes);
    match rows {
        Rows::Range(range) => {
            let codes = codes.get(range.clone()).unwrap_or_default();
            codes
                .iter()
                .fold(start, |all, bytes| with(all, C::of(bytes)))
        }
        Rows::Picked(rows) => {
            let codes = rows.iter().filter_map(|row| codes.get(usize::from(*row)));
            codes.fold(start, |all, bytes| with(all, C::of(bytes)))
        }
    }
}
