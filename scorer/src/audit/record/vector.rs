//! Values as the decision log has them: which are there, and 64 bits for each of those.

use tollgate_proto::v1;
use tollgate_types::Cell;

const BITS: usize = 8;

/// Two allocations, of an eighth of a byte and eight bytes for each value.
pub(crate) fn pack(cells: impl ExactSizeIterator<Item = Cell>) -> v1::Vector {
    let mut packed = v1::Vector {
        present: vec![0; cells.len().div_ceil(BITS)],
        values: Vec::with_capacity(cells.len()),
    };
    for (place, cell) in cells.enumerate() {
        if let Some(bits) = cell.bits() {
            packed.present[place / BITS] |= 1 << (place % BITS);
            packed.values.push(bits);
        }
    }
    packed
}

/// The values, if there are so many.
pub(crate) fn unpack(packed: &v1::Vector, count: usize) -> Option<Vec<Cell>> {
    let present: u32 = packed.present.iter().map(|byte| byte.count_ones()).sum();
    if packed.present.len() != count.div_ceil(BITS)
        || usize::try_from(present) != Ok(packed.values.len())
    {
        return None;
    }
    let mut values = packed.values.iter();
    let cell = |place: usize| {
        let is_there = (packed.present[place / BITS] >> (place % BITS)) & 1 == 1;
        let bits = is_there.then(|| values.next().copied()).flatten();
        Cell::from_bits(bits)
    };
    let cells = (0..count).map(cell).collect();
    // A value beyond the last place belongs to another policy.
    values.as_slice().is_empty().then_some(cells)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_unpacked_is_what_was_packed(bits in prop::collection::vec(any::<Option<u64>>(), 0..40)) {
            let cells: Vec<Cell> = bits.into_iter().map(Cell::from_bits).collect();
            let packed = pack(cells.iter().copied());
            prop_assert_eq!(unpack(&packed, cells.len()), Some(cells.clone()));
            // Another number of values is another policy's.
            prop_assert_eq!(unpack(&packed, cells.len() + 8), None);
            if cells.last().is_some_and(|last| !last.is_missing()) {
                prop_assert_eq!(unpack(&packed, cells.len() - 1), None);
            }
        }
    }

    #[test]
    fn missing_is_not_zero() {
        let cells = [Cell::MISSING, Cell::number(0.0), Cell::flag(false)];
        let packed = pack(cells.into_iter());
        assert_eq!(
            (&packed.present[..], &packed.values[..]),
            (&[0b110][..], &[0, 0][..])
        );
    }
}
