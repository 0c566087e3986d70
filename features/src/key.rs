//! The key of an entity: which card, which terminal, which pair.

use tollgate_types::{Entity, Record};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

/// Values of this many bytes together, nearly all, are hashed at once: hashing piece by piece takes ten times as long.
const JOINED_MAX: usize = 128;

/// 128 bits of XXH3 over the values that identify an entity. Ids themselves are not kept; at ten million
/// entities the chance that any two share a key is below 10⁻²⁴.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct EntityKey([u64; 2]);

impl EntityKey {
    /// The entity of this kind that a transaction belongs to; `None` where a key field is missing.
    pub fn of(entity: &Entity, record: &Record<'_>) -> Option<Self> {
        if let [field] = entity.key[..]
            && let Some(text) = record.text(field)
        {
            return Some(Self::from_hash(xxh3_128(text.as_bytes())));
        }
        let mut bytes = Joined::default();
        for &field in &entity.key {
            match record.text(field) {
                Some(text) => {
                    // The length first, so that ("ab", "c") and ("a", "bc") stay apart.
                    bytes.push(&text.len().to_le_bytes());
                    bytes.push(text.as_bytes());
                }
                None => bytes.push(&record.cell(field).bits()?.to_le_bytes()),
            }
        }
        Some(Self::from_hash(bytes.hash()))
    }

    fn from_hash(hash: u128) -> Self {
        let bytes = hash.to_le_bytes();
        let [low, high] = bytes.as_chunks::<8>().0 else {
            unreachable!("sixteen bytes are two times eight");
        };
        Self([u64::from_le_bytes(*low), u64::from_le_bytes(*high)])
    }

    /// Both halves, as images of the store have them.
    pub(crate) const fn halves(self) -> [u64; 2] {
        self.0
    }

    pub(crate) const fn from_halves(halves: [u64; 2]) -> Self {
        Self(halves)
    }

    /// Half of the key: what maps look it up by, the rest being compared where it leads.
    pub(crate) const fn half(self) -> u64 {
        self.0[0]
    }
}

/// Bytes that come in pieces and are hashed as one.
enum Joined {
    Few([u8; JOINED_MAX], usize),
    Many(Box<Xxh3Default>),
}

impl Default for Joined {
    fn default() -> Self {
        Self::Few([0; JOINED_MAX], 0)
    }
}

impl Joined {
    fn push(&mut self, piece: &[u8]) {
        if let Self::Few(bytes, length) = self {
            let end = *length + piece.len();
            if let Some(free) = bytes.get_mut(*length..end) {
                free.copy_from_slice(piece);
                *length = end;
                return;
            }
            let mut hasher = Box::new(Xxh3Default::new());
            hasher.update(&bytes[..*length]);
            *self = Self::Many(hasher);
        }
        if let Self::Many(hasher) = self {
            hasher.update(piece);
        }
    }

    fn hash(&self) -> u128 {
        match self {
            Self::Few(bytes, length) => xxh3_128(&bytes[..*length]),
            Self::Many(hasher) => hasher.digest128(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_have_the_hash_of_all_of_them_together() {
        let text: Vec<u8> = (0..=255).collect();
        for length in [0, 1, JOINED_MAX - 1, JOINED_MAX, JOINED_MAX + 1, 256] {
            for piece in [1, 7, 100, 256] {
                let mut joined = Joined::default();
                text[..length]
                    .chunks(piece)
                    .for_each(|piece| joined.push(piece));
                assert_eq!(
                    joined.hash(),
                    xxh3_128(&text[..length]),
                    "{length} by {piece}"
                );
            }
        }
    }
}
