//! The key of an entity: which card, which terminal, which pair.

use tollgate_types::{Entity, Record};
use xxhash_rust::xxh3::xxh3_128;

/// 128 bits of XXH3 over the values that identify an entity. Ids themselves are not kept; at ten million
/// entities the chance that any two share a key is below 10⁻²⁴.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct EntityKey(u128);

impl EntityKey {
    /// The entity of this kind that a transaction belongs to; `None` where a key field is missing.
    pub fn of(entity: &Entity, record: &Record<'_>) -> Option<Self> {
        if let [field] = entity.key[..]
            && let Some(text) = record.text(field)
        {
            return Some(Self(xxh3_128(text.as_bytes())));
        }
        let mut bytes = Vec::with_capacity(64);
        for &field in &entity.key {
            match record.text(field) {
                Some(text) => {
                    // The length first, so that ("ab", "c") and ("a", "bc") stay apart.
                    bytes.extend_from_slice(&text.len().to_le_bytes());
                    bytes.extend_from_slice(text.as_bytes());
                }
                None => bytes.extend_from_slice(&record.cell(field).bits()?.to_le_bytes()),
            }
        }
        Some(Self(xxh3_128(&bytes)))
    }
}
