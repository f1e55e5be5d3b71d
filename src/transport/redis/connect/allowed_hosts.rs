//! Which hosts may be connected to if a cluster or a sentinel names them: the password is sent there.

use std::net::IpAddr;

use super::address::Address;

/// Hosts, allowed by name, by a suffix of the name, by address or by network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHosts {
    rules: Vec<Rule>,
    /// The addresses that the user has named.
    named: Vec<Address>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Name(String),
    /// With the leading dot.
    End(String),
    Network(IpAddr, u8),
}

impl AllowedHosts {
    /// Returns rules of the forms `redis.example.com`, `*.example.com`, `10.0.0.7` and `10.0.0.0/8`. The
    /// addresses in `named` are allowed as well.
    ///
    /// # Errors
    /// The first rule that has another form.
    pub fn new(rules: &[String], named: Vec<Address>) -> Result<Self, String> {
        let rules = rules.iter().map(|rule| Rule::of(rule).ok_or_else(|| rule.clone()));
        Ok(Self { rules: rules.collect::<Result<_, _>>()?, named })
    }

    /// Returns whether an address may be connected to.
    pub(crate) fn allows(&self, address: &Address) -> bool {
        let Address::Tcp { host, .. } = address else {
            // Only the user can name a unix socket.
            return true;
        };
        self.named.contains(address) || self.rules.iter().any(|rule| rule.allows(host))
    }
}

impl Rule {
    fn of(rule: &str) -> Option<Self> {
        if let Some(end) = rule.strip_prefix('*') {
            return (end.len() > 1 && end.starts_with('.') && is_name(end))
                .then(|| Self::End(end.to_ascii_lowercase()));
        }
        if let Some((network, bits)) = rule.split_once('/') {
            let (network, bits): (IpAddr, u8) = (network.parse().ok()?, bits.parse().ok()?);
            return (bits <= width(network)).then_some(Self::Network(network, bits));
        }
        if let Ok(address) = rule.parse() {
            return Some(Self::Network(address, width(address)));
        }
        is_name(rule).then(|| Self::Name(rule.to_ascii_lowercase()))
    }

    fn allows(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        match self {
            Self::Name(name) => *name == host,
            Self::End(end) => host.len() > end.len() && host.ends_with(end.as_str()),
            Self::Network(network, bits) => match (network, host.parse()) {
                (IpAddr::V4(network), Ok(IpAddr::V4(host))) => {
                    (u32::from(*network) ^ u32::from(host)).leading_zeros() >= u32::from(*bits)
                }
                (IpAddr::V6(network), Ok(IpAddr::V6(host))) => {
                    (u128::from(*network) ^ u128::from(host)).leading_zeros() >= u32::from(*bits)
                }
                _ => false,
            },
        }
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str) -> Address {
        Address::Tcp { host: host.to_owned(), port: 6379 }
    }

    #[test]
    fn hosts_are_allowed_by_name_by_the_end_of_it_and_by_network() {
        let rules = [
            "Redis.Example.com",
            "*.cache.example.com",
            "10.1.0.0/16",
            "192.168.0.7",
            "fd00::/8",
            "0.0.0.0/32",
        ];
        let allowed = AllowedHosts::new(&rules.map(str::to_owned), vec![tcp("seed")]).unwrap();
        for host in [
            "redis.example.com",
            "REDIS.example.COM",
            "a.cache.example.com",
            "a.b.cache.example.com",
            "10.1.255.3",
            "192.168.0.7",
            "fd12::1",
            "seed",
        ] {
            assert!(allowed.allows(&tcp(host)), "{host}");
        }
        for host in [
            "example.com",
            "xredis.example.com",
            "cache.example.com",
            ".cache.example.com",
            "evilcache.example.com",
            "redis.example.com.evil.org",
            "10.2.0.1",
            "192.168.0.70",
            "fe80::1",
            "::ffff:10.1.0.1",
            "",
        ] {
            assert!(!allowed.allows(&tcp(host)), "{host}");
        }
        // The same host with another port was not named.
        assert!(!allowed.allows(&Address::Tcp { host: "seed".to_owned(), port: 1 }));
    }

    #[test]
    fn what_is_no_rule_is_an_error() {
        for rule in
            ["", "*", "*.", "*example.com", "a b", "10.0.0.0/33", "a/8", "10.0.0.1/", "redis:6379", "a/b"]
        {
            assert_eq!(AllowedHosts::new(&[rule.to_owned()], Vec::new()), Err(rule.to_owned()));
        }
    }
}
