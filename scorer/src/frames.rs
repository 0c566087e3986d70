//! Frames: what files of ours are made of. Each has its kind, its length, a number whose meaning is its kind's, and a checksum
//! over all of it, so a frame that was torn or has rotted is known for what it is before anything of it is used.
//!
//! ```text
//! kind u8 | length u32 | extra u32 | checksum u64 (XXH3 of the nine bytes before and the content) | content
//! ```
//! Numbers are little-endian.

use xxhash_rust::xxh3::Xxh3;

/// Bytes before the checksum.
pub(crate) const HEAD_BYTES: usize = 9;

/// Bytes of a frame beside its content.
pub(crate) const FRAME_BYTES: usize = HEAD_BYTES + 8;

/// What a frame says of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: u8,
    /// Bytes of the content.
    pub(crate) length: u32,
    pub(crate) extra: u32,
}

impl Head {
    pub(crate) fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let ([a, b, c, d], [e, f, g, h]) = (self.length.to_le_bytes(), self.extra.to_le_bytes());
        [self.kind, a, b, c, d, e, f, g, h]
    }

    pub(crate) const fn from_bytes(bytes: [u8; HEAD_BYTES]) -> Self {
        let [kind, a, b, c, d, e, f, g, h] = bytes;
        Self {
            kind,
            length: u32::from_le_bytes([a, b, c, d]),
            extra: u32::from_le_bytes([e, f, g, h]),
        }
    }

    pub(crate) fn length(self) -> usize {
        usize::try_from(self.length).unwrap_or(usize::MAX)
    }

    pub(crate) fn extra(self) -> usize {
        usize::try_from(self.extra).unwrap_or(usize::MAX)
    }
}

/// The checksum of a frame whose content is these parts, one behind another.
pub(crate) fn checksum(head: [u8; HEAD_BYTES], content: &[&[u8]]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&head);
    for part in content {
        hasher.update(part);
    }
    hasher.digest()
}

/// Writes a frame behind what is in `out`. The parts of its content must not be longer than a `u32` can say.
pub(crate) fn put(out: &mut Vec<u8>, kind: u8, extra: u32, content: &[&[u8]]) {
    let length: usize = content.iter().map(|part| part.len()).sum();
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    let head = Head {
        kind,
        length,
        extra,
    }
    .to_bytes();
    out.extend_from_slice(&head);
    out.extend_from_slice(&checksum(head, content).to_le_bytes());
    for part in content {
        out.extend_from_slice(part);
    }
}

/// What bytes begin with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum First<'b> {
    Whole {
        head: Head,
        content: &'b [u8],
    },
    /// So many bytes are needed to tell.
    Short(usize),
    /// No frame.
    Damaged,
}

/// The frame that `bytes` begin with, if its kind and length are such as `plausible` takes.
pub(crate) fn first(bytes: &[u8], plausible: impl Fn(Head) -> bool) -> First<'_> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return First::Short(FRAME_BYTES);
    };
    let parsed = Head::from_bytes(*head);
    if !plausible(parsed) {
        return First::Damaged;
    }
    let needed = FRAME_BYTES.saturating_add(parsed.length());
    let Some((expected, rest)) = rest.split_first_chunk::<8>() else {
        return First::Short(needed);
    };
    let Some(content) = rest.get(..parsed.length()) else {
        return First::Short(needed);
    };
    if checksum(*head, &[content]) == u64::from_le_bytes(*expected) {
        First::Whole {
            head: parsed,
            content,
        }
    } else {
        First::Damaged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written_and_no_byte_of_it_can_change() {
        let mut bytes = Vec::new();
        put(&mut bytes, 3, 7, &[b"one, ", b"two"]);
        let whole = First::Whole {
            head: Head {
                kind: 3,
                length: 8,
                extra: 7,
            },
            content: b"one, two",
        };
        assert_eq!(first(&bytes, |_| true), whole);
        for cut in 0..bytes.len() {
            assert!(matches!(first(&bytes[..cut], |_| true), First::Short(_)));
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert!(!matches!(first(&flipped, |_| true), First::Whole { .. }));
            }
        }
        assert_eq!(first(&bytes, |head| head.kind != 3), First::Damaged);
    }
}
