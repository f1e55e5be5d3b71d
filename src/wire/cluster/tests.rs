//! Messages that were captured from the reference, and malformed ones.

use super::*;
use crate::wire::broadcast::{Arguments, Broadcast};
use crate::wire::request::{Answer, RequestType};

/// Captured from the reference: `io.emit("hello", 1, "a")`.
const CAPTURED: &str = r#"{"type":3,"data":{"packet":{"type":2,"data":["hello",1,"a"]},"opts":{"rooms":[],"except":[],"flags":{}}},"uid":"0123456789abcdef","nsp":"/"}"#;

fn encoded(payload: &str, attachments: &[&[u8]], room: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    let payload = payload.as_bytes();
    encode_broadcast("0123456789abcdef", "/", payload, attachments, room, None, &mut out).unwrap();
    out
}

fn broadcast(payload: &[u8]) -> Broadcast<'_> {
    match Message::decode(payload).unwrap() {
        Some(Message::Broadcast(broadcast)) => broadcast,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_data_of_a_broadcast_stand_alone_in_an_entry() {
    let data = |payload: &str, attachments: &[&[u8]]| {
        let mut out = Vec::new();
        encode_broadcast_data("/", payload.as_bytes(), attachments, Some("r"), None, &mut out).map(|()| out)
    };
    assert_eq!(
        String::from_utf8(data(r#"42["hello",1]"#, &[]).unwrap()).unwrap(),
        r#"{"packet":{"type":2,"data":["hello",1]},"opts":{"rooms":["r"],"except":[],"flags":{}}}"#
    );
    let binary = r#"451-["b",{"_placeholder":true,"num":0}]"#;
    let bytes = data(binary, &[&[1, 2]]).unwrap();
    assert!(
        bytes.starts_with(b"\x82\xa6packet\x82\xa4type\x02\xa4data\x92\xa1b\xc4\x02\x01\x02\xa4opts\x83")
    );
    assert!(data(binary, &[]).is_err(), "attachments are missing");
}

#[test]
fn a_broadcast_is_encoded_as_the_reference_does() {
    let out = encoded(r#"42["hello",1,"a"]"#, &[], None);
    assert_eq!(String::from_utf8(out).unwrap(), CAPTURED);
}

#[test]
fn a_captured_broadcast_is_read() {
    let broadcast = broadcast(CAPTURED.as_bytes());
    assert_eq!(broadcast.uid, "0123456789abcdef");
    assert_eq!(broadcast.nsp, "/");
    assert_eq!(broadcast.arguments, Arguments::Json(r#"["hello",1,"a"]"#.into()));
    assert!(broadcast.target.is_trivial());
}

#[test]
fn binary_goes_in_msgpack_and_comes_back() {
    let out = encoded(r#"451-["e",{"_placeholder":true,"num":0}]"#, &[b"bytes"], Some("r"));
    assert!(out.starts_with(b"\x84\xa4type\x03\xa4data\x82\xa6packet\x82\xa4type\x02\xa4data\x92\xa1e\xc4\x05bytes\xa4opts\x83\xa5rooms\x91\xa1r"));
    let broadcast = broadcast(&out);
    assert_eq!(broadcast.arguments, Arguments::Msgpack(b"\x92\xa1e\xc4\x05bytes"[..].into()));
    assert!(broadcast.target.any_room(|room| room == b"r"));
}

#[test]
fn own_messages_are_known_by_their_end() {
    let own = tail("0123456789abcdef", "/");
    assert!(is_own(CAPTURED.as_bytes(), &own));
    assert!(!is_own(CAPTURED.as_bytes(), &tail("0123456789abcdef", "/a")));
    assert!(!is_own(&own, &own), "not a message");
}

#[test]
fn requests_are_read_in_both_encodings() {
    let request = |payload: &[u8]| match Message::decode(payload) {
        Ok(Some(Message::Request(request))) => request,
        other => panic!("{other:?}"),
    };
    let fetch = request(
        br#"{"type":7,"data":{"opts":{"rooms":["a",1],"except":[],"flags":{}},"requestId":"R"},"uid":"U","nsp":"/"}"#,
    );
    assert_eq!(fetch.kind(), RequestType::RemoteFetch);
    assert_eq!((fetch.request_id(), fetch.uid.as_deref(), fetch.nsp()), (Some("R"), Some("U"), Some("/")));
    assert!(fetch.addresses(false, |room| room == b"1"));
    assert!(!fetch.addresses(true, |room| room == b"b"));
    let acked = request(
        br#"{"type":3,"data":{"packet":{"type":2,"data":["e"]},"requestId":"R","opts":{"rooms":[],"except":[],"flags":{"timeout":5}}},"uid":"U","nsp":"/"}"#,
    );
    assert_eq!(acked.kind(), RequestType::Broadcast);
    assert!(acked.addresses(true, |_| false));
    let emit = request(br#"{"type":9,"data":{"packet":["e",{"packet":[]}]},"uid":"U","nsp":"/"}"#);
    assert_eq!((emit.kind(), emit.request_id()), (RequestType::ServerSideEmit, None));
    let binary = request(b"\x84\xa4type\x09\xa4data\x81\xa6packet\x92\xa1e\xc4\x01x\xa3uid\xa1U\xa3nsp\xa1/");
    assert_eq!(binary.kind(), RequestType::ServerSideEmit);
    let half = request(br#"{"type":4,"data":{"opts":{"rooms":[]},"rooms":["\ud800"]},"nsp":"/"}"#);
    assert_eq!(half.kind(), RequestType::RemoteJoin);
}

#[test]
fn responses_are_read() {
    let answer = |payload: &[u8]| match Message::decode(payload) {
        Ok(Some(Message::Response(response))) => (response.request_id().to_owned(), response.answer()),
        other => panic!("{other:?}"),
    };
    let of = |kind: u32, data: &str| {
        let text = format!(r#"{{"type":{kind},"data":{{"requestId":"R",{data}}},"uid":"U","nsp":"/"}}"#);
        answer(text.as_bytes()).1
    };
    assert_eq!(of(8, r#""sockets":[{"id":"1"}]"#), Answer::Sockets);
    assert_eq!(of(8, r#""sockets":[]"#), Answer::NoSockets);
    assert_eq!(of(8, r#""sockets":[1]"#), Answer::Other);
    assert_eq!(of(10, r#""packet":{"type":"x"}"#), Answer::ServerSideEmit);
    assert_eq!(of(11, r#""clientCount":2"#), Answer::ClientCount(2));
    assert_eq!(of(11, r#""clientCount":-2"#), Answer::Other);
    assert_eq!(of(12, r#""packet":[1]"#), Answer::Ack);
    assert_eq!(of(12, r#""packet":true"#), Answer::Ack);
    assert_eq!(of(12, r#""packet":{"\ud800":1}"#), Answer::Ack);
    assert_eq!(
        answer(br#"{"type":10,"data":{"requestId":"Q"},"uid":"U"}"#),
        ("Q".to_owned(), Answer::ServerSideEmit)
    );
}

#[test]
fn nothing_here_is_what_the_reference_would_send() {
    let answer = |text: &str| {
        let request = Request::decode(text.as_bytes()).unwrap();
        String::from_utf8(nothing_here(&request, "U", "/n", false)).unwrap()
    };
    assert_eq!(
        answer(r#"{"type":7,"data":{"opts":{},"requestId":"R"},"uid":"V","nsp":"/n"}"#),
        r#"{"type":8,"data":{"requestId":"R","sockets":[]},"uid":"U","nsp":"/n"}"#
    );
    assert_eq!(
        answer(r#"{"type":3,"data":{"packet":{"data":[]},"opts":{},"requestId":"R"},"uid":"V"}"#),
        r#"{"type":11,"data":{"requestId":"R","clientCount":0},"uid":"U","nsp":"/n"}"#
    );
    let request = Request::decode(br#"{"type":7,"data":{"opts":{},"requestId":"R"},"uid":"V"}"#).unwrap();
    assert_eq!(
        nothing_here(&request, "U", "/n", true),
        b"\x84\xa4type\x08\xa4data\x82\xa9requestId\xa1R\xa7sockets\x90\xa3uid\xa1U\xa3nsp\xa2/n"
    );
}

#[test]
fn what_makes_no_sense_is_refused_or_passed_over() {
    for text in [
        "{",
        "{}",
        r#"{"type":"3"}"#,
        r#"{"type":3}"#,
        r#"{"type":3,"data":{}}"#,
        r#"{"type":3,"data":{"packet":{"type":2,"data":["e"]}}}"#,
        r#"{"type":3,"data":{"packet":{"type":0,"data":["e"]}},"nsp":"/"}"#,
        r#"{"type":3,"data":{"packet":{"type":2}},"nsp":"/"}"#,
        r#"{"type":3,"data":{"packet":["e"]},"nsp":"/"}"#,
        r#"{"type":3,"data":7,"nsp":"/"}"#,
        r#"{"type":4,"data":{"opts":{}},"nsp":"/"}"#,
        r#"{"type":4,"data":{"opts":{},"rooms":[[]]},"nsp":"/"}"#,
        r#"{"type":7,"data":{"opts":{}},"nsp":"/"}"#,
        r#"{"type":9,"data":{"packet":{}},"nsp":"/"}"#,
        r#"{"type":11,"data":{}}"#,
    ] {
        let read = Message::decode(text.as_bytes());
        // Without data it is a request whose data are missed.
        assert!(read.is_err(), "{text}: {read:?}");
    }
    for bytes in
        [&b"\x80"[..], b"\x81\xa4type\xa13", b"\x82\xa4type\x03\xa4data\x80", b"\x90", b"\x81\xa4type\x03x"]
    {
        assert!(Message::decode(bytes).is_err(), "{bytes:?}");
    }
    let hello = hello("U", "/", false);
    assert_eq!(hello, br#"{"type":2,"uid":"U","nsp":"/"}"#);
    assert!(matches!(Message::decode(&hello), Ok(Some(Message::Hello(_)))));
    for text in [r#"{"type":13,"uid":"U","nsp":"/"}"#, r#"{"type":99,"data":{"packet":[{}]}}"#] {
        assert!(matches!(Message::decode(text.as_bytes()), Ok(None)), "{text}");
    }
    let deep = [&br#"{"type":9,"data":{"packet":["#[..], &vec![b'['; 100_000]].concat();
    assert!(Message::decode(&deep).is_err());
}
