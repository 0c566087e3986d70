//! Networks of IP addresses, in the notation of RFC 4632 and RFC 4291: `10.0.0.0/8`, `2001:db8::/32`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Network {
    /// The first address; an IPv4 one in the last 32 bits.
    first: u128,
    /// How many bits all its addresses share, of 32 or 128.
    shared_bits: u32,
    is_v4: bool,
}

/// A text that is not a network. What it says does not repeat the text.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("this is {}", if .address.is_some() { "a single address, not a network" } else { "not a network" })]
    NoLength { address: Option<IpAddr> },
    #[error("what stands before `/` is not an IP address")]
    NotAnAddress,
    #[error("what stands after `/` is not a number of bits")]
    NotALength { bits_max: u32 },
    #[error("/{shared_bits} is too long: an {version} address has {bits_max} bits", version = version(*.bits_max))]
    TooLong { shared_bits: u32, bits_max: u32 },
    #[error("{address} is one address within {network}, not where that network begins")]
    BitsBeyond { network: Network, address: IpAddr },
}

impl NetworkError {
    /// What to write instead.
    pub fn help(&self) -> String {
        match self {
            Self::NoLength {
                address: Some(address),
            } => {
                let bits = bits_of(*address);
                format!("for this address alone write \"{address}/{bits}\"")
            }
            Self::NoLength { address: None } | Self::NotAnAddress => {
                "write a network such as \"10.0.0.0/8\" or \"2001:db8::/32\"".to_owned()
            }
            Self::NotALength { bits_max } | Self::TooLong { bits_max, .. } => {
                format!("write 0 to {bits_max}; {bits_max} is one single address")
            }
            Self::BitsBeyond { network, address } => {
                let bits = bits_of(*address);
                format!("write \"{network}\", or \"{address}/{bits}\" for the one address")
            }
        }
    }
}

impl Network {
    /// Reads `<address>/<bits>`. An IPv4 network written as IPv6 (`::ffff:10.0.0.0/104`) is the IPv4 one.
    pub fn parse(text: &str) -> Result<Self, NetworkError> {
        let Some((address, length)) = text.split_once('/') else {
            let address = text.parse().ok();
            return Err(NetworkError::NoLength { address });
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::NotAnAddress)?;
        let bits_max = bits_of(address);
        let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let shared_bits = length
            .parse()
            .ok()
            .filter(|_| digits)
            .ok_or(NetworkError::NotALength { bits_max })?;
        if shared_bits > bits_max {
            return Err(NetworkError::TooLong {
                shared_bits,
                bits_max,
            });
        }
        let network = Self::around(address, shared_bits);
        if network.first == number(address) {
            Ok(network.as_v4_if_mapped())
        } else {
            Err(NetworkError::BitsBeyond { network, address })
        }
    }

    /// Reads a network, or an address as the network that is this address alone.
    pub fn parse_or_address(text: &str) -> Result<Self, NetworkError> {
        match Self::parse(text) {
            Err(NetworkError::NoLength {
                address: Some(address),
            }) => Ok(Self::around(address, bits_of(address)).as_v4_if_mapped()),
            other => other,
        }
    }

    /// Whether the address is of this network; an IPv6 network has no IPv4 addresses, and the other way round.
    #[inline]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.is_v4
            && number(address) & mask(self.bits_max(), self.shared_bits) == self.first
    }

    /// The network that the address is of, whose addresses share so many bits: 32 at most, or 128.
    #[must_use]
    pub fn around(address: IpAddr, shared_bits: u32) -> Self {
        Self {
            first: number(address) & mask(bits_of(address), shared_bits),
            shared_bits,
            is_v4: address.is_ipv4(),
        }
    }

    fn as_v4_if_mapped(self) -> Self {
        const MAPPED_BITS: u32 = 96;
        if self.is_v4 || self.shared_bits < MAPPED_BITS {
            return self;
        }
        match IpAddr::V6(Ipv6Addr::from_bits(self.first)).to_canonical() {
            address @ IpAddr::V4(_) => Self::around(address, self.shared_bits - MAPPED_BITS),
            IpAddr::V6(_) => self,
        }
    }

    const fn bits_max(&self) -> u32 {
        if self.is_v4 { 32 } else { 128 }
    }

    /// How many bits all its addresses share.
    pub const fn shared_bits(&self) -> u32 {
        self.shared_bits
    }

    /// The first address as a number.
    pub const fn first_bits(&self) -> u128 {
        self.first
    }

    /// The first address.
    pub fn first(&self) -> IpAddr {
        if self.is_v4 {
            let bits = u32::try_from(self.first).unwrap_or(u32::MAX);
            IpAddr::V4(Ipv4Addr::from_bits(bits))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(self.first))
        }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.first(), self.shared_bits)
    }
}

/// Reads an address; an IPv4 one that is written as IPv6 (`::ffff:10.0.0.1`) is the IPv4 one.
#[inline]
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    text.parse()
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

const fn bits_of(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The first `shared` of `bits` bits. A shift by all 128 would be none at all.
const fn mask(bits: u32, shared: u32) -> u128 {
    match u128::MAX.checked_shl(bits - shared) {
        Some(mask) => mask,
        None => 0,
    }
}

const fn version(bits_max: u32) -> &'static str {
    if bits_max == 32 { "IPv4" } else { "IPv6" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_as_it_does() {
        let table = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("10.0.0.0/8", "::10.1.2.3", false),
            ("192.0.2.7/32", "192.0.2.7", true),
            ("192.0.2.7/32", "192.0.2.6", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("2001:db8::1/128", "2001:db8::1", true),
        ];
        for (network, text, expected) in table {
            let parsed = Network::parse(network).unwrap();
            let found = parsed.contains(address(text).unwrap());
            assert_eq!(found, expected, "{text} in {network}");
        }
        assert!(
            Network::parse("10.0.0.0/8")
                .unwrap()
                .contains("::ffff:10.0.0.1".parse().unwrap())
        );
    }

    #[test]
    fn networks_are_written_as_they_are_read() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "::1/128"] {
            assert_eq!(Network::parse(text).unwrap().to_string(), text);
        }
        for (text, written) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ] {
            let network = Network::parse_or_address(text).unwrap();
            assert_eq!(network.to_string(), written, "{text}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused_with_what_to_write() {
        let table = [
            (
                "10.0.0.1",
                "this is a single address, not a network",
                "for this address alone write \"10.0.0.1/32\"",
            ),
            (
                "10.*",
                "this is not a network",
                "write a network such as \"10.0.0.0/8\" or \"2001:db8::/32\"",
            ),
            (
                "10.0.0/8",
                "what stands before `/` is not an IP address",
                "write a network such as \"10.0.0.0/8\" or \"2001:db8::/32\"",
            ),
            (
                "10.0.0.0/255.0.0.0",
                "what stands after `/` is not a number of bits",
                "write 0 to 32; 32 is one single address",
            ),
            (
                "10.0.0.0/+8",
                "what stands after `/` is not a number of bits",
                "write 0 to 32; 32 is one single address",
            ),
            (
                "10.0.0.0/33",
                "/33 is too long: an IPv4 address has 32 bits",
                "write 0 to 32; 32 is one single address",
            ),
            (
                "::/129",
                "/129 is too long: an IPv6 address has 128 bits",
                "write 0 to 128; 128 is one single address",
            ),
            (
                "10.0.0.1/8",
                "10.0.0.1 is one address within 10.0.0.0/8, not where that network begins",
                "write \"10.0.0.0/8\", or \"10.0.0.1/32\" for the one address",
            ),
        ];
        for (text, message, help) in table {
            let error = Network::parse(text).unwrap_err();
            assert_eq!(
                (error.to_string().as_str(), error.help().as_str()),
                (message, help)
            );
        }
    }
}
