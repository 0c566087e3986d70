//! Networks of IP addresses, each until it expires.
//!
//! Asking whether an address is in any of them takes one look into a hash table for each length of prefix that
//! occurs, whatever the number of networks: 33 at most for version 4, 129 for version 6, and few in practice.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use foldhash::fast::FixedState;
use tollgate_expr::Network;
use tollgate_types::EventTime;

/// Many networks. Takes 17 bytes a place for version 4 and 49 for version 6, of which there are up to 2.3 for
/// each network.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Networks {
    v4: Family<u64>,
    v6: Family<(u128, u32)>,
}

/// The networks of one version.
#[derive(Clone, PartialEq, Debug)]
struct Family<K: Eq + Hash> {
    until: HashMap<K, EventTime, FixedState>,
    /// The lengths of prefix that occur.
    lengths: Vec<u32>,
}

impl<K: Eq + Hash> Default for Family<K> {
    fn default() -> Self {
        Self {
            until: HashMap::default(),
            lengths: Vec::new(),
        }
    }
}

impl<K: Eq + Hash> Family<K> {
    fn insert(&mut self, network: Network, key: K, until: EventTime) {
        self.until.insert(key, until);
        let length = network.shared_bits();
        if !self.lengths.contains(&length) {
            self.lengths.push(length);
        }
    }

    fn has(&self, address: IpAddr, at: EventTime, key: impl Fn(Network) -> K) -> bool {
        let around = |length: &u32| key(Network::around(address, *length));
        let lengths = self.lengths.iter();
        lengths
            .filter_map(|length| self.until.get(&around(length)))
            .any(|until| at < *until)
    }
}

impl Networks {
    /// Of a network given twice, the last one counts.
    pub(crate) fn new(networks: impl IntoIterator<Item = (Network, EventTime)>) -> Self {
        let mut all = Self::default();
        for (network, until) in networks {
            match network.first() {
                IpAddr::V4(_) => all.v4.insert(network, key_v4(network), until),
                IpAddr::V6(_) => all.v6.insert(network, key_v6(network), until),
            }
        }
        all
    }

    pub(crate) fn len(&self) -> usize {
        self.v4.until.len() + self.v6.until.len()
    }

    /// Whether an address, as a text, is in a network that has not expired. What is no address is in none and outside
    /// none.
    pub(crate) fn has(&self, address: &str, at: EventTime) -> Option<bool> {
        let address: IpAddr = address.parse().ok()?;
        Some(match address.to_canonical() {
            address @ IpAddr::V4(_) => self.v4.has(address, at, key_v4),
            address @ IpAddr::V6(_) => self.v6.has(address, at, key_v6),
        })
    }
}

fn key_v4(network: Network) -> u64 {
    let first = u32::try_from(network.first_bits()).unwrap_or(u32::MAX);
    u64::from(network.shared_bits()) << 32 | u64::from(first)
}

fn key_v6(network: Network) -> (u128, u32) {
    (network.first_bits(), network.shared_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::parse_or_address(text).unwrap()
    }

    #[test]
    fn an_address_is_in_every_network_around_it_until_that_expires() {
        let time = EventTime::from_micros;
        let networks = Networks::new([
            (network("10.0.0.0/8"), time(10)),
            (network("10.1.0.0/16"), time(20)),
            (network("192.0.2.7"), EventTime::MAX),
            (network("2001:db8::/32"), time(10)),
        ]);
        assert_eq!(networks.len(), 4);
        for (address, at, expected) in [
            ("10.1.2.3", 9, true),
            ("10.1.2.3", 10, true),
            ("10.1.2.3", 20, false),
            ("10.2.0.0", 9, true),
            ("10.2.0.0", 10, false),
            ("11.0.0.0", 0, false),
            ("192.0.2.7", 99, true),
            ("192.0.2.8", 99, false),
            ("::ffff:10.2.0.1", 9, true),
            ("2001:db8:ffff::", 9, true),
            ("2001:db9::", 9, false),
        ] {
            let has = networks.has(address, time(at));
            assert_eq!(has, Some(expected), "{address} {at}");
        }
        assert_eq!(networks.has("nowhere", time(0)), None);
        let everywhere = Networks::new([(network("0.0.0.0/0"), EventTime::MAX)]);
        assert_eq!(everywhere.has("255.1.2.3", time(0)), Some(true));
        assert_eq!(everywhere.has("::1", time(0)), Some(false));
    }
}
