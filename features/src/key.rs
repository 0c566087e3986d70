//! The key of an entity: which card, which terminal, which pair.

use tollgate_types::{Entity, Record};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

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
        let mut hasher = Xxh3Default::new();
        for &field in &entity.key {
            match record.text(field) {
                Some(text) => {
                    // The length first, so that ("ab", "c") and ("a", "bc") stay apart.
                    hasher.update(&text.len().to_le_bytes());
                    hasher.update(text.as_bytes());
                }
                None => hasher.update(&record.cell(field).bits()?.to_le_bytes()),
            }
        }
        Some(Self::from_hash(hasher.digest128()))
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
