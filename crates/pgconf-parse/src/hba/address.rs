//! Addresses of clients, read as by `getaddrinfo` and shown as by `getnameinfo`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The client addresses that a rule applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address<'a> {
    /// `all`: any address.
    All,
    /// `samehost`: an address of the server's machine.
    SameHost,
    /// `samenet`: an address in a network that the server's machine is in.
    SameNet,
    /// The addresses of a network.
    Network(Network),
    /// The addresses of the host of that name. A name that begins with a dot means all hosts of a
    /// domain.
    Host(&'a [u8]),
}

/// An address and a mask of the same family.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    mask: IpAddr,
}

impl Network {
    /// The addresses that have the bits of `address` where `mask` has ones. None if one is of
    /// version 4 and the other of version 6.
    #[must_use]
    pub fn new(address: IpAddr, mask: IpAddr) -> Option<Self> {
        (address.is_ipv4() == mask.is_ipv4()).then_some(Self { address, mask })
    }

    /// The address as written. It may have ones where the mask has zeros.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The mask. Ones may follow zeros.
    #[must_use]
    pub fn mask(&self) -> IpAddr {
        self.mask
    }

    /// Returns whether an address is in the network. Source: `pg_range_sockaddr` in ifaddr.c.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (address, self.address, self.mask) {
            (IpAddr::V4(address), IpAddr::V4(net), IpAddr::V4(mask)) => {
                (address.to_bits() ^ net.to_bits()) & mask.to_bits() == 0
            }
            (IpAddr::V6(address), IpAddr::V6(net), IpAddr::V6(mask)) => {
                (address.to_bits() ^ net.to_bits()) & mask.to_bits() == 0
            }
            _ => false,
        }
    }

    /// Returns whether all addresses of the other are in this one.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let is_looser = match (self.mask, other.mask) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => ours & theirs == ours,
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => ours & theirs == ours,
            _ => false,
        };
        is_looser && self.contains(other.address)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", shown(self.address), shown(self.mask))
    }
}

/// The text of an address, as the server's views have it.
///
/// Source: `inet_ntop`, which writes the last four bytes with dots where only zeros precede them.
pub(crate) fn shown(address: IpAddr) -> String {
    match address {
        IpAddr::V6(v6) if v6.segments()[..6] == [0; 6] && v6.segments()[6] != 0 => {
            format!("::{}", Ipv4Addr::from_bits(v6.to_bits() as u32))
        }
        _ => address.to_string(),
    }
}

/// The address, if `getaddrinfo` takes the text for an address and not for a name.
///
/// DIFFERENCE: any word after `%` is taken for the name of an interface. The server checks whether
/// its machine has such an interface.
pub(crate) fn parse(text: &[u8]) -> Option<IpAddr> {
    // The first byte excludes most names.
    if let Some(b'0'..=b'9') = text.first() {
        if let Some(v4) = parse_v4(text) {
            return Some(v4.into());
        }
    }
    if !text.contains(&b':') {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let (address, scope) = match text.split_once('%') {
        Some((address, scope)) => (address, Some(scope)),
        None => (text, None),
    };
    let v6: Ipv6Addr = address.parse().ok()?;
    let is_local = v6.segments()[0] & 0xffc0 == 0xfe80 || v6.segments()[0] & 0xff0f == 0xff02;
    let is_scope = scope.is_none_or(|scope| {
        let is_number = scope.parse::<u32>().is_ok() && !scope.starts_with('+');
        is_number || is_local && !scope.is_empty()
    });
    is_scope.then_some(v6.into())
}

/// Source: `inet_aton`. One to four numbers, decimal, octal or hexadecimal. The last number has all
/// bytes that are left.
fn parse_v4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut address = 0;
    let mut rest = text;
    for bytes in 0..4 {
        let (value, length) = number(rest)?;
        match rest.get(length) {
            None => {
                let most = u32::MAX >> (8 * bytes);
                return (value <= most).then(|| Ipv4Addr::from_bits(address | value));
            }
            Some(b'.') if value <= 255 => address |= value << (24 - 8 * bytes),
            Some(_) => return None,
        }
        rest = &rest[length + 1..];
    }
    None
}

/// The number at the beginning of a text, and its length.
fn number(text: &[u8]) -> Option<(u32, usize)> {
    match text {
        [b'0', b'x' | b'X', digits @ ..] if digits.first().is_some_and(u8::is_ascii_hexdigit) => {
            let (value, length) = numeral::<16>(digits)?;
            Some((value, length + 2))
        }
        [b'0', ..] => numeral::<8>(text),
        _ => numeral::<10>(text),
    }
}

/// The number without a sign or a prefix at the beginning of a text, and its length.
#[inline]
fn numeral<const RADIX: u32>(text: &[u8]) -> Option<(u32, usize)> {
    let mut value = 0_u64;
    let mut length = 0;
    for &byte in text {
        let Some(digit) = char::from(byte).to_digit(RADIX) else {
            break;
        };
        value = (value * u64::from(RADIX) + u64::from(digit)).min(u64::from(u32::MAX) + 1);
        length += 1;
    }
    let value = u32::try_from(value).ok()?;
    (length > 0).then_some((value, length))
}

/// The mask of that many ones. Source: `pg_sockaddr_cidr_mask` in ip.c.
pub(crate) fn cidr_mask(bits: &[u8], of: IpAddr) -> Option<IpAddr> {
    // As strtol does.
    let blanks = b" \t\n\x0b\x0c\r";
    let blank = bits.iter().take_while(|byte| blanks.contains(byte)).count();
    let (is_negative, digits) = match &bits[blank..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let (bits, length) = numeral::<10>(digits)?;
    if length < digits.len() || is_negative && bits != 0 {
        return None;
    }
    match of {
        IpAddr::V4(_) if bits <= 32 => {
            Some(Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - bits).unwrap_or(0)).into())
        }
        IpAddr::V6(_) if bits <= 128 => {
            Some(Ipv6Addr::from_bits(u128::MAX.checked_shl(128 - bits).unwrap_or(0)).into())
        }
        _ => None,
    }
}
