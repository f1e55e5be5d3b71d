//! Reads from JS where a link's own connections go.

use std::path::PathBuf;
use std::sync::Arc;

use napi::bindgen_prelude::{Error, Status};
use napi_derive::napi;

use super::args::List;
use crate::driver::command::Place;
use crate::transport::redis::{
    Address, AllowedHosts, AskCredentials, ClusterSettings, Credentials, Endpoint, Login, RedisTarget, Role,
    Sentinels, Settings, Tls, TlsOptions,
};

/// How a link's own connections are made secret.
#[napi(object, object_to_js = false)]
pub struct LinkTls {
    /// The certificates of the authorities, in PEM; each text may hold several. Nobody else is trusted.
    #[napi(ts_type = "Array<string>")]
    pub ca: List<String>,
    /// The certificate of the client in PEM, with those that lead to its authority.
    pub cert: Option<String>,
    /// Its private key in PEM: PKCS #8, PKCS #1 or SEC 1, not encrypted.
    pub key: Option<String>,
    /// The name that the server's certificate has to have, if that is not the host.
    pub server_name: Option<String>,
    /// Whether the server's certificate has to be right.
    pub verify: bool,
}

/// One of the sentinels.
#[napi(object, object_to_js = false)]
pub struct LinkSentinelNode {
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// The sentinels that know where the master is.
#[napi(object, object_to_js = false)]
pub struct LinkSentinel {
    /// The name that they know the master by.
    pub name: String,
    /// The sentinels. One is enough; but only those that are named here are ever asked.
    #[napi(ts_type = "Array<LinkSentinelNode>")]
    pub nodes: List<LinkSentinelNode>,
    /// The ACL user at the sentinels.
    pub username: Option<String>,
    /// The password at the sentinels.
    pub password: Option<String>,
    /// How the connections to the sentinels are made secret.
    pub tls: Option<LinkTls>,
}

/// One of the nodes of a cluster.
#[napi(object, object_to_js = false)]
pub struct LinkClusterNode {
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Where a node of a cluster is, seen from here.
#[napi(object, object_to_js = false)]
pub struct LinkNat {
    /// What the cluster calls it: `host:port`.
    pub from: String,
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A Redis cluster.
#[napi(object, object_to_js = false)]
pub struct LinkCluster {
    /// Some of its nodes, to learn of the others from.
    #[napi(ts_type = "Array<LinkClusterNode>")]
    pub nodes: List<LinkClusterNode>,
    /// Where nodes are that cannot be reached as the cluster calls them.
    #[napi(ts_type = "Array<LinkNat>")]
    pub nat_map: Option<List<LinkNat>>,
}

/// Where a link's own connections go.
#[napi(object, object_to_js = false)]
#[derive(Default)]
pub struct LinkSettings {
    /// `redis://user:password@host:port/db` or `redis+unix:///path`; the rest then only adds to it. `rediss://` needs
    /// `tls`, unless it ends in `#insecure`.
    pub url: Option<String>,
    /// The host.
    pub host: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The path of a unix socket.
    pub path: Option<String>,
    /// The ACL user.
    pub username: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// The number of the database. Pub/sub does not care, but the user may only be allowed in one.
    pub database: Option<i64>,
    /// The name that the connections give themselves.
    pub name: Option<String>,
    /// How the connections are made secret.
    pub tls: Option<LinkTls>,
    /// The cluster, instead of `url`, `host`, `port` and `path`.
    pub cluster: Option<LinkCluster>,
    /// Who says where Redis is, instead of `url`, `host`, `port` and `path`.
    pub sentinel: Option<LinkSentinel>,
    /// The hosts that may be connected to when a cluster or a sentinel names them; all, unless given.
    #[napi(ts_type = "Array<string>")]
    pub allowed_hosts: Option<List<String>>,
    /// Whether JS is asked for the username and the password at each connect, by `Credentials` records.
    pub credentials: Option<bool>,
}

/// Makes settings of what JS has read from the user's clients; `ask` makes what asks JS for credentials.
///
/// # Errors
/// An `Error` if the URL is malformed, a part of `tls` cannot be read, or there is no sentinel to ask.
pub fn place<A: AskCredentials + 'static>(
    mut given: LinkSettings,
    ask: impl FnOnce() -> A,
) -> napi::Result<Place> {
    let rules = given.allowed_hosts.take();
    let allowed = |named| {
        let allowed = rules.map(|rules| AllowedHosts::new(&rules, named)).transpose();
        allowed.map(|allowed| allowed.map(Arc::new)).map_err(|rule| {
            invalid(format!(
                "opts.allowedHosts: \"{rule}\" is no host, no end of one with *., and no network"
            ))
        })
    };
    let Some(LinkCluster { nodes, nat_map }) = given.cluster.take() else {
        let RedisTarget { endpoint, settings } = target(given, ask)?;
        let named = match &endpoint {
            Endpoint::Sentinels(_) => Vec::new(),
            Endpoint::Fixed(address) => vec![address.clone()],
        };
        let settings = Settings { role: Role::NotReplica, allowed: allowed(named)?, ..settings };
        return Ok(Place::Redis(RedisTarget { endpoint, settings }));
    };
    let seeds: Vec<Address> = nodes
        .into_vec()
        .into_iter()
        .map(|LinkClusterNode { host, port }| Address::Tcp { host, port })
        .collect();
    if seeds.is_empty() {
        return Err(invalid("cluster.nodes is empty"));
    }
    let nat_map = nat_map.map(List::into_vec).unwrap_or_default();
    let nat_map: Vec<(String, Address)> =
        nat_map.into_iter().map(|LinkNat { from, host, port }| (from, Address::Tcp { host, port })).collect();
    let named = seeds.iter().chain(nat_map.iter().map(|(_, to)| to)).cloned().collect();
    let base = Settings { allowed: allowed(named)?, ..target(given, ask)?.settings };
    Ok(Place::Cluster(ClusterSettings { base, seeds, nat_map }))
}

fn target<A: AskCredentials + 'static>(
    given: LinkSettings,
    ask: impl FnOnce() -> A,
) -> napi::Result<RedisTarget> {
    let tls = given.tls.map(tls_options);
    let at = |endpoint| RedisTarget::new(endpoint, Settings::default());
    let RedisTarget { endpoint, mut settings } = match (given.sentinel, &given.url, &given.path) {
        (Some(sentinel), ..) => at(sentinels(sentinel, given.name.as_ref())?),
        (None, Some(url), _) => RedisTarget::from_url(url, tls.as_ref()).map_err(invalid)?,
        (None, None, Some(path)) => at(Address::Unix(PathBuf::from(path)).into()),
        (None, None, None) => {
            let host = given.host.unwrap_or_else(|| "localhost".into());
            at(Address::Tcp { host, port: given.port.unwrap_or(6379) }.into())
        }
    };
    if let Some(tls) = &tls
        && settings.tls.is_none()
    {
        if matches!(endpoint, Endpoint::Fixed(Address::Unix(_))) {
            return Err(invalid("tls: there is none over a unix socket"));
        }
        settings.tls = Some(Tls::new(tls).map_err(invalid)?);
    }
    if given.credentials == Some(true) {
        settings.credentials = Credentials::Asked(Arc::new(ask()));
    } else if let Credentials::Fixed(login) = &mut settings.credentials {
        login.username = given.username.or(login.username.take());
        login.password = given.password.or(login.password.take());
    }
    settings.database = given.database.unwrap_or(settings.database);
    settings.client_name = given.name.or(settings.client_name);
    Ok(RedisTarget { endpoint, settings })
}

fn sentinels(given: LinkSentinel, client_name: Option<&String>) -> napi::Result<Endpoint> {
    if given.nodes.is_empty() {
        return Err(invalid("sentinel.nodes is empty"));
    }
    let tls = given.tls.map(|tls| Tls::new(&tls_options(tls))).transpose();
    let tls = tls.map_err(|error| invalid(format!("sentinel.{error}")))?;
    let nodes =
        given.nodes.into_vec().into_iter().map(|LinkSentinelNode { host, port }| Address::Tcp { host, port });
    let settings = Settings {
        credentials: Credentials::Fixed(Login { username: given.username, password: given.password }),
        client_name: client_name.cloned(),
        tls,
        ..Settings::default()
    };
    Ok(Endpoint::Sentinels(Arc::new(Sentinels::new(given.name, nodes, settings))))
}

fn tls_options(given: LinkTls) -> TlsOptions {
    TlsOptions {
        ca: given.ca.into_vec(),
        cert: given.cert,
        key: given.key,
        server_name: given.server_name,
        insecure: !given.verify,
    }
}

fn invalid(error: impl std::fmt::Display) -> Error {
    Error::new(Status::InvalidArg, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::shared::{AskJs, Shared};

    fn read(given: LinkSettings) -> Result<Place, String> {
        place(given, || AskJs::new(Arc::new(Shared::default()))).map_err(|error| error.to_string())
    }

    fn single(given: LinkSettings) -> RedisTarget {
        match read(given) {
            Ok(Place::Redis(target)) => target,
            other => panic!("{other:?}"),
        }
    }

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.to_owned(), port }
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn login(settings: &Settings) -> (Option<&str>, Option<&str>) {
        match &settings.credentials {
            Credentials::Fixed(login) => (login.username.as_deref(), login.password.as_deref()),
            Credentials::Asked(_) => panic!("nobody is to be asked"),
        }
    }

    fn unsafe_tls() -> LinkTls {
        LinkTls { ca: Vec::new().into(), cert: None, key: None, server_name: None, verify: false }
    }

    #[test]
    fn without_more_redis_is_here() {
        let target = single(LinkSettings::default());
        let settings = Settings { role: Role::NotReplica, ..Settings::default() };
        assert_eq!(target, RedisTarget::new(tcp("localhost", 6379), settings));
    }

    #[test]
    fn a_url_goes_before_a_path_and_that_before_a_host() {
        let all = || LinkSettings {
            url: some("redis://one:1"),
            path: some("/two"),
            host: some("three"),
            port: Some(3),
            ..LinkSettings::default()
        };
        assert_eq!(single(all()).endpoint, tcp("one", 1).into());
        let path = LinkSettings { url: None, ..all() };
        assert_eq!(single(path).endpoint, Address::Unix(PathBuf::from("/two")).into());
        let host = LinkSettings { url: None, path: None, ..all() };
        assert_eq!(single(host).endpoint, tcp("three", 3).into());
    }

    #[test]
    fn what_is_given_goes_before_what_the_url_says() {
        let url = || LinkSettings { url: some("redis://user:secret@one:1/4"), ..LinkSettings::default() };
        let of_url = single(url()).settings;
        assert_eq!((login(&of_url), of_url.database), ((Some("user"), Some("secret")), 4));
        let both =
            single(LinkSettings { username: some("other"), database: Some(0), name: some("name"), ..url() })
                .settings;
        assert_eq!((login(&both), both.database), ((Some("other"), Some("secret")), 0));
        assert_eq!(both.client_name.as_deref(), Some("name"));
        let asked = single(LinkSettings { credentials: Some(true), ..url() }).settings;
        assert!(matches!(asked.credentials, Credentials::Asked(_)));
    }

    #[test]
    fn a_cluster_has_seeds_and_places_that_are_allowed() {
        let cluster = LinkCluster {
            nodes: vec![LinkClusterNode { host: "one".to_owned(), port: 1 }].into(),
            nat_map: Some(vec![LinkNat { from: "in:1".to_owned(), host: "out".to_owned(), port: 2 }].into()),
        };
        let given = LinkSettings {
            cluster: Some(cluster),
            allowed_hosts: Some(vec!["*.example".to_owned()].into()),
            ..LinkSettings::default()
        };
        let Ok(Place::Cluster(settings)) = read(given) else { panic!("not a cluster") };
        assert_eq!(settings.seeds, [tcp("one", 1)]);
        assert_eq!(settings.nat_map, [("in:1".to_owned(), tcp("out", 2))]);
        assert!(settings.base.allowed.is_some());
    }

    #[test]
    fn sentinels_have_their_own_login() {
        let sentinel = LinkSentinel {
            name: "master".to_owned(),
            nodes: vec![LinkSentinelNode { host: "one".to_owned(), port: 1 }].into(),
            username: None,
            password: some("theirs"),
            tls: None,
        };
        let RedisTarget { endpoint, settings } = single(LinkSettings {
            sentinel: Some(sentinel),
            password: some("ours"),
            ..LinkSettings::default()
        });
        assert!(matches!(endpoint, Endpoint::Sentinels(_)));
        assert_eq!(login(&settings), (None, Some("ours")));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let refused = |given: LinkSettings| read(given).expect_err("it is refused");
        let nobody = LinkCluster { nodes: Vec::new().into(), nat_map: None };
        let error = refused(LinkSettings { cluster: Some(nobody), ..LinkSettings::default() });
        assert!(error.contains("cluster.nodes is empty"), "{error}");
        let (username, password) = (None, None);
        let nobody =
            LinkSentinel { name: String::new(), nodes: Vec::new().into(), username, password, tls: None };
        let error = refused(LinkSettings { sentinel: Some(nobody), ..LinkSettings::default() });
        assert!(error.contains("sentinel.nodes is empty"), "{error}");
        let rules = Some(vec!["*".to_owned()].into());
        let error = refused(LinkSettings { allowed_hosts: rules, ..LinkSettings::default() });
        assert!(error.contains("opts.allowedHosts: \"*\""), "{error}");
        let given = LinkSettings { path: some("/redis"), tls: Some(unsafe_tls()), ..LinkSettings::default() };
        let error = refused(given);
        assert!(error.contains("unix socket"), "{error}");
        let authority = LinkTls { ca: vec!["secret".to_owned()].into(), verify: true, ..unsafe_tls() };
        let error = refused(LinkSettings { tls: Some(authority), ..LinkSettings::default() });
        assert!(error.contains("tls") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn a_url_that_is_none_is_not_repeated() {
        let given = LinkSettings { url: some("http://user:secret@one:1"), ..LinkSettings::default() };
        let error = read(given).expect_err("it is refused");
        assert!(!error.contains("secret"), "{error}");
    }
}
