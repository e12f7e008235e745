//! Which addresses outbound requests may reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use url::{Host, Url};

/// Why an address may not be reached. Says nothing of what answers there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Neither `https` nor `http`.
    #[error("the scheme is neither https nor http")]
    Scheme,
    /// There is no host in it.
    #[error("there is no usable host")]
    NoHost,
    /// A name and a password in the address would be sent, and written down.
    #[error("there are credentials in the address")]
    Credentials,
    /// Plain `http` to where the operator did not allow it.
    #[error("http is only for networks in CURFEW_EGRESS_ALLOW; use https")]
    Plain,
    /// The address is none of the public internet.
    #[error("{0} is not on the public internet; CURFEW_EGRESS_ALLOW does not name its network")]
    Address(IpAddr),
}

/// Which addresses may be reached: those of the public internet over https, and those of networks that the operator
/// allows, also over http.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    allowed: Vec<IpNet>,
}

/// What an address is to the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The operator named its network.
    Allowed,
    /// On the public internet.
    Public,
    /// Anything else.
    Refused,
}

impl Policy {
    /// A policy with networks that the operator allows.
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// Whether a request to `url` could be sent, as far as that can be told without resolving its name: what a
    /// configuration is checked with.
    pub fn admit(&self, url: &Url) -> Result<(), Refused> {
        let plain = match url.scheme() {
            "https" => false,
            "http" => true,
            _ => return Err(Refused::Scheme),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::Credentials);
        }
        let address = match url.host() {
            None => return Err(Refused::NoHost),
            // What a name means is known when it is resolved.
            Some(Host::Domain(_)) if plain && self.allowed.is_empty() => return Err(Refused::Plain),
            Some(Host::Domain(_)) => return Ok(()),
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
        };
        self.judge(address, plain)
    }

    /// Those of a name's addresses that a request to `url` may be sent to.
    ///
    /// Failure: why the first may not, when none may.
    pub(crate) fn judge_all(&self, url: &Url, addresses: &[SocketAddr]) -> Result<Vec<SocketAddr>, Refused> {
        let plain = url.scheme() != "https";
        let mut judged = Vec::new();
        let mut first = None;
        for address in addresses {
            match self.judge(address.ip(), plain) {
                Ok(()) => judged.push(*address),
                Err(refused) => first = first.or(Some(refused)),
            }
        }
        match first {
            Some(refused) if judged.is_empty() => Err(refused),
            _ => Ok(judged),
        }
    }

    fn judge(&self, address: IpAddr, plain: bool) -> Result<(), Refused> {
        match self.standing(address) {
            Standing::Allowed => Ok(()),
            Standing::Public if plain => Err(Refused::Plain),
            Standing::Public => Ok(()),
            Standing::Refused => Err(Refused::Address(address)),
        }
    }

    fn standing(&self, address: IpAddr) -> Standing {
        // An IPv6 address that only stands for an IPv4 one leads where that one leads.
        let embedded = match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => embedded(address).map(IpAddr::V4),
        };
        let allows = |address: IpAddr| self.allowed.iter().any(|network| network.contains(&address));
        if allows(address) || embedded.is_some_and(allows) {
            return Standing::Allowed;
        }
        let public = match embedded.unwrap_or(address) {
            IpAddr::V4(address) => is_public_v4(address),
            IpAddr::V6(address) => is_public_v6(address),
        };
        if public { Standing::Public } else { Standing::Refused }
    }
}

/// The IPv4 address that an IPv6 address stands for: IPv4-mapped and -compatible (RFC 4291 §2.5.5), NAT64 (RFC 6052
/// §2.1), 6to4 (RFC 3056 §2).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, ..] = address.segments();
    let octets = address.octets();
    let last = Ipv4Addr::new(octets[12], octets[13], octets[14], octets[15]);
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff) | (0x64, 0xff9b, 0, 0, 0, 0) => Some(last),
        // `::` and `::1` are addresses of their own.
        (0, 0, 0, 0, 0, 0) if u32::from(last) > 1 => Some(last),
        (0x2002, ..) => Some(Ipv4Addr::new(octets[2], octets[3], octets[4], octets[5])),
        _ => None,
    }
}

/// Not in the registry of special-purpose addresses (RFC 6890), nor multicast or reserved.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127, ..)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18..=19, _)
            | (198, 51, 100)
            | (203, 0, 113)
            | (224..=255, ..)
    )
}

/// Global unicast (RFC 4291 §2.5.4), without what is set aside in it: protocol assignments and Teredo (RFC 6890),
/// documentation (RFC 3849, RFC 9637).
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    (0x2000..=0x3fff).contains(&a)
        && !(a == 0x2001 && b < 0x0200)
        && !(a == 0x2001 && b == 0x0db8)
        && !(a == 0x3fff && b < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(networks: &[&str]) -> Policy {
        Policy::new(networks.iter().map(|network| network.parse().unwrap()).collect())
    }

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    /// Both sides of every edge.
    #[test]
    fn only_the_public_internet_may_be_reached() {
        let nothing = policy(&[]);
        for refused in [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.0.0",
            "169.254.169.254",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.0",
            "192.168.255.255",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "::ffff:169.254.169.254",
            "64:ff9b::10.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a00:1::",
            "2002:c0a8:101::1",
            "100::1",
            "2001::1",
            "2001:0:4136:e378::1",
            "2001:1ff::1",
            "2001:db8::1",
            "3fff:0fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "ff0e::1",
        ] {
            let address: IpAddr = refused.parse().unwrap();
            assert_eq!(nothing.judge(address, false), Err(Refused::Address(address)), "{refused}");
        }
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "192.0.3.0",
            "192.88.98.1",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.1",
            "203.0.112.1",
            "223.255.255.255",
            "::ffff:1.1.1.1",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
            "2000::1",
            "2001:200::1",
            "2001:db7::1",
            "2606:4700::1111",
            "3fff:1000::1",
        ] {
            assert_eq!(nothing.judge(public.parse().unwrap(), false), Ok(()), "{public}");
            assert_eq!(nothing.judge(public.parse().unwrap(), true), Err(Refused::Plain), "{public}");
        }
    }

    #[test]
    fn what_the_operator_names_may_be_reached_also_over_http() {
        let own = policy(&["10.1.0.0/16", "fd00::/8"]);
        for allowed in
            ["10.1.0.0", "10.1.255.255", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "2002:a01:203::", "fd12::1"]
        {
            assert_eq!(own.judge(allowed.parse().unwrap(), true), Ok(()), "{allowed}");
        }
        for refused in ["10.0.255.255", "10.2.0.0", "::ffff:10.2.0.1", "127.0.0.1", "fc00::1"] {
            assert!(own.judge(refused.parse().unwrap(), false).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_url_is_judged_as_far_as_it_tells() {
        let (nothing, loopback) = (policy(&[]), policy(&["127.0.0.0/8"]));
        for (text, without, with) in [
            ("https://app.example/x?y=1", Ok(()), Ok(())),
            ("https://localhost/", Ok(()), Ok(())),
            ("http://app.example/", Err(Refused::Plain), Ok(())),
            ("http://1.1.1.1/", Err(Refused::Plain), Err(Refused::Plain)),
            ("https://127.0.0.1/", Err(Refused::Address([127, 0, 0, 1].into())), Ok(())),
            // However the address is spelled.
            ("https://0x7f.1/", Err(Refused::Address([127, 0, 0, 1].into())), Ok(())),
            ("https://2130706433/", Err(Refused::Address([127, 0, 0, 1].into())), Ok(())),
            ("https://user@app.example/", Err(Refused::Credentials), Err(Refused::Credentials)),
            ("ftp://app.example/", Err(Refused::Scheme), Err(Refused::Scheme)),
            ("data:text/plain,x", Err(Refused::Scheme), Err(Refused::Scheme)),
        ] {
            assert_eq!(nothing.admit(&url(text)), without, "{text}");
            assert_eq!(loopback.admit(&url(text)), with, "{text}");
        }
    }

    #[test]
    fn of_several_addresses_only_those_that_may_be_reached_are_tried() {
        let addresses: Vec<SocketAddr> =
            ["10.0.0.1:443", "1.1.1.1:443", "[::1]:443"].iter().map(|text| text.parse().unwrap()).collect();
        let nothing = policy(&[]);
        let judged = nothing.judge_all(&url("https://app.example/"), &addresses);
        assert_eq!(judged, Ok(vec![addresses[1]]));
        let refused = nothing.judge_all(&url("https://app.example/"), &addresses[..1]);
        assert_eq!(refused, Err(Refused::Address([10, 0, 0, 1].into())));
        // The public one is not for http, however the others stand.
        let own = policy(&["10.0.0.0/8"]).judge_all(&url("http://app.example/"), &addresses);
        assert_eq!(own, Ok(vec![addresses[0]]));
    }
}
