//! Addresses as limits see them: what one subscriber of an access network usually has.

use std::net::{IpAddr, Ipv6Addr};

/// IPv4 for IPv4-mapped IPv6, all else unchanged.
pub fn unmapped(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// The network of one subscriber: an IPv4 address, or the /64 of an IPv6 one, for whoever has one
/// address of it has all.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_counts_by_its_64_and_mapped_addresses_as_ipv4() {
        let net = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(net("192.0.2.7"), "192.0.2.7");
        assert_eq!(net("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(net("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(net("2001:db8:1:2:ffff::1"), "2001:db8:1:2::");
    }
}
