//! How much memory things take.

/// What an allocator hands out when so many bytes are asked for: general ones have four sizes between a power of
/// two and the next, mimalloc among them.
pub(crate) const fn handed_out(bytes: usize) -> usize {
    if bytes <= 128 {
        return bytes.next_multiple_of(16);
    }
    bytes.next_multiple_of(bytes.next_power_of_two() / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_between_powers_of_two() {
        let sizes = [0, 1, 16, 100, 129, 256, 257, 1928, 2048, 2049];
        let expected = [0, 16, 16, 112, 160, 256, 320, 2048, 2048, 2560];
        assert_eq!(sizes.map(handed_out), expected);
    }
}
