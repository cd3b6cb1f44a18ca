//! The addresses of this machine's network interfaces.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

/// The addresses of this machine's network interfaces, each with the mask of its network.
///
/// An address without a usable mask has a mask of ones, which leaves the address alone. Source:
/// `run_ifaddr_callback` in PostgreSQL's ifaddr.c, by which `samehost` and `samenet` in
/// `pg_hba.conf` are compared.
///
/// # Errors
///
/// If the system cannot list its interfaces.
pub fn interface_addresses() -> io::Result<Vec<(IpAddr, IpAddr)>> {
    let found = getifaddrs()?.filter_map(|interface| {
        let address = ip(interface.address.as_ref()?)?;
        let mask = interface.netmask.as_ref().and_then(ip);
        Some((address, usable_mask(address, mask)))
    });
    Ok(found.collect())
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|found| found.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|found| found.ip().into()))
}

fn usable_mask(address: IpAddr, mask: Option<IpAddr>) -> IpAddr {
    let is_usable = |mask: &IpAddr| mask.is_ipv4() == address.is_ipv4() && !mask.is_unspecified();
    mask.filter(is_usable).unwrap_or(match address {
        IpAddr::V4(_) => Ipv4Addr::BROADCAST.into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(u128::MAX).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_that_is_missing_or_empty_leaves_the_address_alone() {
        let address: IpAddr = [10, 0, 0, 7].into();
        let ones = IpAddr::from(Ipv4Addr::BROADCAST);
        let six = IpAddr::from(Ipv6Addr::LOCALHOST);
        assert_eq!(usable_mask(address, None), ones);
        assert_eq!(usable_mask(address, Some([0, 0, 0, 0].into())), ones);
        assert_eq!(usable_mask(address, Some(six)), ones);
        let mask = IpAddr::from([255, 0, 0, 0]);
        assert_eq!(usable_mask(address, Some(mask)), mask);
    }

    #[test]
    fn addresses_and_masks_are_of_one_family() {
        for (address, mask) in interface_addresses().expect("a list of interfaces") {
            assert_eq!(address.is_ipv4(), mask.is_ipv4());
            assert!(!mask.is_unspecified());
        }
    }
}
