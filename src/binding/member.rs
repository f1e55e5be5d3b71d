//! What JS says of a member of a link.

use napi_derive::napi;

use super::numbers::to_u64;
use crate::core::member::{MemberSpec, StreamSpec};
use crate::core::routing::{Joins, SubscriptionMode};
use crate::transport::ChannelKind;
use crate::wire::Family;

/// One Socket.IO server's adapter for one namespace.
#[napi(object, object_to_js = false)]
pub struct LinkMember {
    /// Its uid.
    pub uid: String,
    /// Its namespace.
    pub nsp: String,
    /// The `key` option.
    pub prefix: String,
    /// Whether the user gave a parser of his own.
    pub custom_parser: bool,
    /// The `publishOnSpecificResponseChannel` option.
    pub specific_responses: bool,
    /// Whether broadcasts are wanted as ready frames.
    pub frames: bool,
    /// The `subscriptionMode` option of a sharded member: `static`, `dynamic` or `dynamic-private`.
    pub mode: Option<String>,
    /// The streams, of a member that has any.
    pub stream: Option<LinkStream>,
    /// The name of its own channel if it is an emitter.
    pub emitter: Option<String>,
}

/// The options of a member about its streams.
#[napi(object, object_to_js = false)]
pub struct LinkStream {
    /// `streamName`.
    pub name: String,
    /// `streamCount`.
    pub count: u32,
    /// `maxLen`.
    pub max_len: f64,
    /// `readCount`.
    pub read_count: f64,
    /// `blockTimeInMs`.
    pub block: f64,
    /// Whether the server recovers connections.
    pub recovers: bool,
}

/// Makes what the core knows of a member.
pub(super) fn spec_of(member: LinkMember) -> MemberSpec {
    MemberSpec {
        uid: member.uid,
        nsp: member.nsp,
        prefix: member.prefix,
        custom_parser: member.custom_parser,
        specific_responses: member.specific_responses,
        frames: member.frames,
        emitter: member.emitter,
        joins: Joins::default(),
        mode: match member.mode.as_deref() {
            Some("dynamic") => SubscriptionMode::Dynamic,
            Some("dynamic-private") => SubscriptionMode::DynamicPrivate,
            _ => SubscriptionMode::Static,
        },
        stream: member.stream.map(|stream| StreamSpec {
            name: stream.name,
            count: stream.count,
            max_len: to_u64(stream.max_len),
            read_count: to_u64(stream.read_count),
            block: to_u64(stream.block),
            recovers: stream.recovers,
        }),
    }
}

/// What members speak, by the name that JS has for it; see `LinkOptions`.
pub(super) fn family_of(name: &str) -> Family {
    match name {
        "sharded" => Family::Sharded,
        "streams" => Family::Streams { channel_kind: ChannelKind::Global },
        "streams-sharded" => Family::Streams { channel_kind: ChannelKind::Shard },
        _ => Family::Classic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member() -> LinkMember {
        LinkMember {
            uid: "uid".to_owned(),
            nsp: "/nsp".to_owned(),
            prefix: "prefix".to_owned(),
            custom_parser: true,
            specific_responses: false,
            frames: true,
            mode: None,
            stream: None,
            emitter: None,
        }
    }

    #[test]
    fn a_member_is_what_js_says() {
        let spec = spec_of(LinkMember { emitter: Some("own".to_owned()), ..member() });
        assert_eq!((&*spec.uid, &*spec.nsp, &*spec.prefix), ("uid", "/nsp", "prefix"));
        assert_eq!((spec.custom_parser, spec.specific_responses, spec.frames), (true, false, true));
        assert_eq!(spec.emitter.as_deref(), Some("own"));
        assert!(spec.stream.is_none());
    }

    #[test]
    fn without_a_mode_that_is_known_rooms_have_no_channels() {
        let mode =
            |mode: Option<&str>| spec_of(LinkMember { mode: mode.map(str::to_owned), ..member() }).mode;
        assert_eq!(mode(Some("dynamic")), SubscriptionMode::Dynamic);
        assert_eq!(mode(Some("dynamic-private")), SubscriptionMode::DynamicPrivate);
        for other in [None, Some("static"), Some("Dynamic"), Some("")] {
            assert_eq!(mode(other), SubscriptionMode::Static);
        }
    }

    #[test]
    fn streams_are_read_in_any_numbers() {
        let stream = LinkStream {
            name: "stream".to_owned(),
            count: 3,
            max_len: f64::NAN,
            read_count: -1.0,
            block: 5000.5,
            recovers: true,
        };
        let spec = spec_of(LinkMember { stream: Some(stream), ..member() }).stream.unwrap();
        assert_eq!((&*spec.name, spec.count, spec.recovers), ("stream", 3, true));
        assert_eq!((spec.max_len, spec.read_count, spec.block), (0, 0, 5000));
    }

    #[test]
    fn each_family_has_a_name() {
        assert_eq!(family_of("classic"), Family::Classic);
        assert_eq!(family_of("sharded"), Family::Sharded);
        assert_eq!(family_of("streams"), Family::Streams { channel_kind: ChannelKind::Global });
        assert_eq!(family_of("streams-sharded"), Family::Streams { channel_kind: ChannelKind::Shard });
    }
}
