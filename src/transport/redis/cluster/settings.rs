use std::sync::Arc;

use crate::transport::redis::connect::{Address, RedisTarget, Settings};
use crate::transport::redis::slot::{Redirect, Slot};

/// Where a Redis cluster is, and how to speak to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// How to speak to each node. The database is not used.
    pub base: Settings,
    /// The nodes to ask first. One answer is enough.
    pub seeds: Vec<Address>,
    /// The real addresses of nodes that the cluster calls `host:port`, for nodes that cannot be reached by
    /// that name.
    pub nat_map: Vec<(String, Address)>,
}

impl ClusterSettings {
    /// Returns the target for one node.
    pub(super) fn of(&self, address: &Address) -> Arc<RedisTarget> {
        Arc::new(RedisTarget::new(address.clone(), Settings { database: 0, ..self.base.clone() }))
    }

    /// Returns the address of a node that `asked` has named. If there is no host, an empty one, or `?`, the
    /// host of `asked` is meant. Redis says `?` if it has no host name.
    pub(super) fn resolve(&self, host: Option<&str>, port: u16, asked: &Address) -> Address {
        let host = match (host, asked) {
            (Some(host), _) if !host.is_empty() && host != "?" => host,
            (_, Address::Tcp { host, .. }) => host,
            (_, Address::Unix(_)) => return asked.clone(),
        };
        let address = Address::Tcp { host: host.to_owned(), port };
        if self.nat_map.is_empty() {
            return address;
        }
        let plain = format!("{host}:{port}");
        let known = self.nat_map.iter().find(|(from, _)| *from == plain || *from == address.to_string());
        known.map_or(address, |(_, to)| to.clone())
    }

    /// Returns the slot and its owner, if the node `asked` has named one.
    pub(super) fn owner(&self, redirect: &Redirect, asked: &Address) -> Option<(Slot, Address)> {
        match redirect {
            Redirect::Moved { slot, host, port } => {
                Some((*slot, self.resolve(host.as_deref(), *port, asked)))
            }
            Redirect::Later => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn nodes_are_where_the_nat_map_says() {
        let settings = ClusterSettings {
            base: Settings::default(),
            seeds: Vec::new(),
            nat_map: vec![
                ("10.0.0.1:6379".to_owned(), tcp("localhost", 7001)),
                ("fd00::1:6379".to_owned(), tcp("localhost", 7002)),
            ],
        };
        let asked = tcp("10.0.0.1", 7);
        assert_eq!(settings.resolve(Some("10.0.0.1"), 6379, &asked), tcp("localhost", 7001));
        assert_eq!(settings.resolve(None, 6379, &asked), tcp("localhost", 7001));
        assert_eq!(settings.resolve(Some("fd00::1"), 6379, &asked), tcp("localhost", 7002));
        assert_eq!(settings.resolve(Some("10.0.0.2"), 6379, &asked), tcp("10.0.0.2", 6379));
        for unknown in [None, Some(""), Some("?")] {
            assert_eq!(settings.resolve(unknown, 8, &asked), tcp("10.0.0.1", 8));
        }
        let socket = Address::Unix("/run/redis.sock".into());
        assert_eq!(settings.resolve(None, 8, &socket), socket);
    }

    #[test]
    fn a_node_has_the_settings_of_the_whole() {
        let base = Settings { database: 3, client_name: Some("n".to_owned()), ..Settings::default() };
        let settings = ClusterSettings { base, seeds: Vec::new(), nat_map: Vec::new() };
        let node = settings.of(&tcp("node", 2));
        assert_eq!(node.endpoint, tcp("node", 2).into());
        assert_eq!(node.settings.client_name.as_deref(), Some("n"));
        assert_eq!(node.settings.database, 0);
    }
}
