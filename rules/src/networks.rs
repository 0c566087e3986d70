//! Networks of IP addresses, each until it expires.
//!
//! Asking whether an address is in any of them takes one look into a hash table for each length of prefix that
//! occurs, whatever the number of networks: 33 at most for version 4, 129 for version 6, and few in practice.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use foldhash::fast::FixedState;
use tollgate_types::EventTime;

/// A network, or a single address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Network {
    V4 { bits: u32, length: u8 },
    V6 { bits: u128, length: u8 },
}

/// Why a text is no network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum NotANetwork {
    /// What stands before the slash is no address.
    Address,
    /// What stands behind the slash is no length, or more than the address has bits.
    Length { max: u8 },
    /// The address has bits behind the prefix, so it may mean the address or the network.
    Bits { network: Network },
}

impl Network {
    /// `10.0.0.0/8`, `2001:db8::/32`, or an address alone. Version 4 written as version 6 is version 4.
    pub(crate) fn parse(text: &str) -> Result<Self, NotANetwork> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotANetwork::Address)?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => max,
            Some(digits) => prefix_length(digits, max).ok_or(NotANetwork::Length { max })?,
        };
        let exact = Self::of(address, length);
        let network = exact.masked();
        if network == exact {
            Ok(network)
        } else {
            Err(NotANetwork::Bits { network })
        }
    }

    fn of(address: IpAddr, length: u8) -> Self {
        let is_mapped = address.is_ipv6() && address.to_canonical().is_ipv4() && length >= 96;
        match if is_mapped {
            address.to_canonical()
        } else {
            address
        } {
            IpAddr::V4(address) => Self::V4 {
                bits: address.to_bits(),
                length: if is_mapped { length - 96 } else { length },
            },
            IpAddr::V6(address) => Self::V6 {
                bits: address.to_bits(),
                length,
            },
        }
    }

    const fn masked(self) -> Self {
        match self {
            Self::V4 { bits, length } => Self::V4 {
                bits: mask_v4(bits, length),
                length,
            },
            Self::V6 { bits, length } => Self::V6 {
                bits: mask_v6(bits, length),
                length,
            },
        }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::V4 { bits, length } => {
                write!(f, "{}/{length}", std::net::Ipv4Addr::from_bits(bits))
            }
            Self::V6 { bits, length } => {
                write!(f, "{}/{length}", std::net::Ipv6Addr::from_bits(bits))
            }
        }
    }
}

fn prefix_length(digits: &str, max: u8) -> Option<u8> {
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    let length: u8 = digits.parse().ok().filter(|_| all_digits)?;
    (length <= max).then_some(length)
}

const fn mask_v4(bits: u32, length: u8) -> u32 {
    match u32::MAX.checked_shl(32 - length as u32) {
        Some(mask) => bits & mask,
        None => 0,
    }
}

const fn mask_v6(bits: u128, length: u8) -> u128 {
    match u128::MAX.checked_shl(128 - length as u32) {
        Some(mask) => bits & mask,
        None => 0,
    }
}

/// Many networks. Takes 17 bytes a place for version 4 and 49 for version 6, of which there are up to 2.3 for
/// each network.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Networks {
    v4: Family<u64>,
    v6: Family<(u128, u8)>,
}

/// The networks of one version.
#[derive(Clone, PartialEq, Debug)]
struct Family<K: Eq + Hash> {
    until: HashMap<K, EventTime, FixedState>,
    /// The lengths of prefix that occur.
    lengths: Vec<u8>,
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
    fn insert(&mut self, key: K, length: u8, until: EventTime) {
        self.until.insert(key, until);
        if !self.lengths.contains(&length) {
            self.lengths.push(length);
        }
    }

    fn has(&self, at: EventTime, key: impl Fn(u8) -> K) -> bool {
        let lengths = self.lengths.iter();
        lengths
            .filter_map(|length| self.until.get(&key(*length)))
            .any(|until| at < *until)
    }
}

impl Networks {
    /// Of a network given twice, the last one counts.
    pub(crate) fn new(networks: impl IntoIterator<Item = (Network, EventTime)>) -> Self {
        let mut all = Self::default();
        for (network, until) in networks {
            match network {
                Network::V4 { bits, length } => {
                    all.v4.insert(key_v4(bits, length), length, until);
                }
                Network::V6 { bits, length } => {
                    all.v6.insert((bits, length), length, until);
                }
            }
        }
        all
    }

    pub(crate) fn len(&self) -> usize {
        self.v4.until.len() + self.v6.until.len()
    }

    /// Whether an address, as a text, is in a network that has not expired. What is no address is in none.
    pub(crate) fn has(&self, address: &str, at: EventTime) -> bool {
        match address
            .parse::<IpAddr>()
            .map(|address| address.to_canonical())
        {
            Ok(IpAddr::V4(address)) => {
                let bits = address.to_bits();
                self.v4
                    .has(at, |length| key_v4(mask_v4(bits, length), length))
            }
            Ok(IpAddr::V6(address)) => {
                let bits = address.to_bits();
                self.v6.has(at, |length| (mask_v6(bits, length), length))
            }
            Err(_) => false,
        }
    }
}

fn key_v4(bits: u32, length: u8) -> u64 {
    u64::from(length) << 32 | u64::from(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::parse(text).unwrap()
    }

    #[test]
    fn networks_are_read_and_what_is_none_is_told_apart() {
        for (text, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("::/0", "::/0"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ] {
            assert_eq!(network(text).to_string(), shown, "{text}");
        }
        let length = |max| NotANetwork::Length { max };
        let bits = |text: &str| NotANetwork::Bits {
            network: network(text),
        };
        for (text, expected) in [
            ("10.0.0/8", NotANetwork::Address),
            ("", NotANetwork::Address),
            ("shop.example", NotANetwork::Address),
            ("10.0.0.0/33", length(32)),
            ("10.0.0.0/", length(32)),
            ("10.0.0.0/+8", length(32)),
            ("2001:db8::/129", length(128)),
            ("10.1.2.3/8", bits("10.0.0.0/8")),
            ("2001:db8::1/32", bits("2001:db8::/32")),
        ] {
            assert_eq!(Network::parse(text), Err(expected), "{text}");
        }
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
            ("nowhere", 0, false),
        ] {
            assert_eq!(networks.has(address, time(at)), expected, "{address} {at}");
        }
        let everywhere = Networks::new([(network("0.0.0.0/0"), EventTime::MAX)]);
        assert!(everywhere.has("255.1.2.3", time(0)) && !everywhere.has("::1", time(0)));
    }
}
