//! Addresses that may do something: one address or a network, `192.168.1.0/24`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One address or all addresses with a common beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// This machine: `127.0.0.0/8` and `::1`.
    pub const LOOPBACK: [Self; 2] = [
        Self {
            address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)),
            prefix: 8,
        },
        Self {
            address: IpAddr::V6(Ipv6Addr::LOCALHOST),
            prefix: 128,
        },
    ];

    /// Reads `192.168.1.7` or `192.168.1.0/24`, IPv4 or IPv6.
    ///
    /// # Errors
    /// What is wrong, with the text that was probably meant.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_no_address| {
            format!("`{text}` is no address; write 192.168.1.7 or 192.168.1.0/24")
        })?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|prefix| *prefix <= most)
                .ok_or_else(|| format!("`{prefix}` is no length of a network: 0 to {most}"))?,
        };
        let network = Self { address, prefix };
        let base = Self {
            address: network.base(address),
            prefix,
        };
        if network == base {
            Ok(network)
        } else {
            Err(format!(
                "`{text}` is an address within a network; write {base} for the whole network or {address} for the one"
            ))
        }
    }

    /// Whether the address belongs to it. IPv4 addresses in IPv6 clothes count as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && self.base(address) == self.address
    }

    /// Whether it is this machine only.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        Self::LOOPBACK
            .iter()
            .any(|loopback| loopback.contains(self.address) && self.prefix >= loopback.prefix)
    }

    /// Whether it is every address there is.
    #[must_use]
    pub const fn is_everyone(&self) -> bool {
        self.prefix == 0
    }

    fn base(&self, address: IpAddr) -> IpAddr {
        let prefix = u32::from(self.prefix);
        match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.address.is_ipv4() { 32 } else { 128 };
        if self.prefix == whole {
            write!(f, "{}", self.address)
        } else {
            write!(f, "{}/{}", self.address, self.prefix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Network;

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("192.168.1.0/24", "192.168.1.255", "192.168.2.0"),
            ("10.0.0.7", "10.0.0.7", "10.0.0.8"),
            ("0.0.0.0/0", "8.8.8.8", "::1"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            (
                "192.168.1.0/25",
                "::ffff:192.168.1.127",
                "::ffff:192.168.1.128",
            ),
        ] {
            let found = Network::parse(network).unwrap();
            assert!(found.contains(inside.parse().unwrap()), "{network}");
            assert!(!found.contains(outside.parse().unwrap()), "{network}");
            assert_eq!(found.to_string(), network);
        }
        assert!(Network::parse("127.0.0.1").unwrap().is_loopback());
        assert!(!Network::parse("0.0.0.0/0").unwrap().is_loopback());
    }

    #[test]
    fn a_mistake_is_answered_with_what_was_meant() {
        let error = |text| Network::parse(text).unwrap_err();
        assert!(error("192.168.1.7/24").contains("write 192.168.1.0/24"));
        assert!(error("192.168.1.0/33").contains("0 to 32"));
        assert!(error("scada").contains("no address"));
    }
}
