//! Which partitions of a topic one of the threads that read it has.
//!
//! Every partition is read by one thread alone, so its records keep their order; records of different partitions have none, for
//! whoever reads them.

/// The partitions whose number leaves the same rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    at: usize,
    count: usize,
}

impl Share {
    /// Most threads per topic. Beyond, they would wait for each other more than for Kafka.
    pub(crate) const COUNT_MAX: usize = 16;

    /// All partitions, in so many shares.
    pub(super) fn all(count: usize) -> impl Iterator<Item = Self> {
        let count = count.clamp(1, Self::COUNT_MAX);
        (0..count).map(move |at| Self { at, count })
    }

    /// The place of the share that has a partition.
    pub(super) fn place_of(partition: i32, count: usize) -> usize {
        usize::try_from(partition).unwrap_or(0) % count.clamp(1, Self::COUNT_MAX)
    }

    pub(super) fn has(self, partition: i32) -> bool {
        Self::place_of(partition, self.count) == self.at
    }

    /// Below [`Share::COUNT_MAX`].
    pub(super) const fn place(self) -> usize {
        self.at
    }

    /// Whether this is the one that does what is done once per topic.
    pub(super) const fn is_first(self) -> bool {
        self.at == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_is_in_one_share() {
        for count in [1, 2, 3, 16] {
            for partition in 0..40 {
                let having = Share::all(count).filter(|share| share.has(partition));
                let places: Vec<usize> = having.map(Share::place).collect();
                assert_eq!(places, [Share::place_of(partition, count)]);
            }
        }
    }

    #[test]
    fn there_is_always_a_share_and_never_too_many() {
        assert_eq!(Share::all(0).count(), 1);
        assert_eq!(Share::all(1_000).count(), Share::COUNT_MAX);
    }
}
