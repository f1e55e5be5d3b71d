//! Messages that were captured from the reference, and those of other implementations.

use super::*;
use crate::wire::broadcast::Arguments;
use crate::wire::request::{Answer, RequestType};

/// Captured from the reference: `io.emit("hello", 1, "a")`.
const CAPTURED: &[u8] = b"\x93\xa65sZd1M\x83\xa4type\x02\xa4data\x93\xa5hello\x01\xa1a\xa3nsp\xa1/\x83\xa5rooms\x90\xa6except\x90\xa5flags\x80";

#[test]
fn a_broadcast_is_encoded_as_the_reference_does() {
    let mut out = Vec::new();
    encode_broadcast("5sZd1M", "/", br#"42["hello",1,"a"]"#, &[], None, None, &mut out).unwrap();
    assert_eq!(out, CAPTURED);
}

#[test]
fn a_captured_broadcast_is_read() {
    let broadcast = decode_broadcast(CAPTURED).unwrap();
    assert_eq!(broadcast.uid, "5sZd1M");
    assert_eq!(broadcast.nsp, "/");
    assert_eq!(broadcast.arguments, Arguments::Msgpack(b"\x93\xa5hello\x01\xa1a"[..].into()));
    assert!(broadcast.target.is_trivial());
    assert_eq!(peek_uid(CAPTURED).unwrap(), "5sZd1M");
}

#[test]
fn the_emitter_and_go_write_the_options_in_other_ways() {
    // rooms, flags, except
    let emitter =
        b"\x93\xa7emitter\x82\xa4type\x02\xa4data\x91\xa1e\x83\xa5rooms\x92\xa1r\x07\xa5flags\x81\xa8volatile\xc3\xa6except\x90";
    let broadcast = decode_broadcast(emitter).unwrap();
    assert_eq!(broadcast.nsp, "/");
    assert!(!broadcast.target.is_trivial());
    assert!(broadcast.target.any_room(|room| room == b"r"));
    assert!(broadcast.target.any_room(|room| room == b"7"));
    assert!(!broadcast.target.any_room(|room| room == b"s"));
    // all that is empty is left out
    let go = b"\x93\xa1u\x82\xa4type\x02\xa4data\x91\xa1e\x80";
    assert!(decode_broadcast(go).unwrap().target.is_trivial());
}

#[test]
fn broadcasts_of_wrong_shape_are_refused() {
    for bytes in [
        &b""[..],
        b"\x90",
        b"\x91\xa1u",
        b"\x93\xa1u\xc0\x80",
        b"\x93\x01\x80\x80",
        b"\x93\xa1u\x80\x80\x00",
        b"\x93\xa1u\x80\x81\xa5rooms\x07",
        b"\x93\xa1u\x81\xa4type\xa1x\x80",
        b"{\"uid\":1}",
    ] {
        assert!(decode_broadcast(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn requests_are_read_in_both_encodings() {
    let json = br#"{"uid":"U","requestId":"R","type":5,"opts":{"rooms":["a",1],"except":[]}}"#;
    let request = Request::decode(json).unwrap();
    assert_eq!(request.kind(), Some(RequestType::RemoteFetch));
    assert_eq!(request.uid.as_deref(), Some("U"));
    assert_eq!(request.request_id.as_deref(), Some("R"));
    assert!(request.addresses(false, |room| room == b"1"));
    assert!(!request.addresses(true, |room| room == b"b"));

    let msgpack = b"\x85\xa3uid\xa1U\xa9requestId\xa1R\xa4type\x07\xa6packet\x83\xa4type\x02\xa4data\x91\xa1e\xa3nsp\xa2/a\xa4opts\x83\xa5rooms\x90\xa6except\x90\xa5flags\x80";
    let request = Request::decode(msgpack).unwrap();
    assert_eq!(request.kind(), Some(RequestType::Broadcast));
    assert_eq!(request.packet_nsp(), "/a");
    assert!(request.addresses(true, |_| false));
    assert!(!request.addresses(false, |_| false));

    let dates = b"\x84\xa9requestId\xa1R\xa4type\x07\xa6packet\x81\xa4data\x93\xa1e\xd6\xff\0\0\0\x05\x81\xa1d\xd7\xff\0\0\0\0\0\0\0\x05\xa4opts\x80";
    assert!(Request::decode(dates).is_ok());
}

#[test]
fn requests_of_wrong_shape_are_refused() {
    for text in [
        r#"{"type":5}"#,
        r#"{"type":2,"opts":{"rooms":[]}}"#,
        r#"{"type":2,"opts":{"rooms":[]},"rooms":[{"toString":1}]}"#,
        r#"{"type":0,"rooms":[[]]}"#,
        r#"{"type":2,"opts":{"rooms":7},"rooms":[]}"#,
        r#"{"type":6,"data":{}}"#,
        r#"{"type":6}"#,
        r#"{"type":7,"requestId":"R","opts":{}}"#,
        r#"{"type":"x"}"#,
        r#"{}"#,
        "{",
    ] {
        assert!(Request::decode(text.as_bytes()).is_err(), "{text}");
    }
    assert!(Request::decode(b"\x95\x01\x01\x01\x01\x01").is_err());
    let deep = [b"{\"type\":6,\"data\":".to_vec(), vec![b'['; 100_000]].concat();
    assert!(Request::decode(&deep).is_err());
}

#[test]
fn unknown_requests_are_told_apart() {
    assert_eq!(Request::decode(br#"{"type":99}"#).unwrap().kind(), None);
}

#[test]
fn responses_are_read() {
    let answer = |text: &[u8]| Response::decode(text).unwrap().answer();
    assert_eq!(answer(br#"{"requestId":"R","sockets":[{"id":"1"}]}"#), Answer::Sockets);
    assert_eq!(answer(br#"{"requestId":"R","sockets":["id"]}"#), Answer::SocketIds);
    assert_eq!(answer(br#"{"requestId":"R","sockets":[]}"#), Answer::NoSockets);
    assert_eq!(answer(br#"{"requestId":"R","sockets":[{"id":"1"},null]}"#), Answer::Other);
    assert_eq!(answer(br#"{"requestId":"R","sockets":[{"id":1}]}"#), Answer::Other);
    assert_eq!(answer(br#"{"requestId":"R","rooms":["a"]}"#), Answer::Rooms);
    assert_eq!(answer(br#"{"requestId":"R","rooms":7}"#), Answer::Other);
    assert_eq!(answer(br#"{"type":6,"requestId":"R","data":1}"#), Answer::ServerSideEmit);
    assert_eq!(answer(br#"{"type":6,"requestId":"R"}"#), Answer::ServerSideEmit);
    assert_eq!(answer(br#"{"type":8,"requestId":"R","clientCount":3}"#), Answer::ClientCount(3));
    assert_eq!(answer(br#"{"type":8,"requestId":"R"}"#), Answer::Other);
    assert_eq!(answer(b"\x83\xa4type\x09\xa9requestId\xa1R\xa6packet\xc4\x01x"), Answer::Ack);
}

#[test]
fn the_id_is_seen_at_the_beginning_of_a_response() {
    for (response, expected) in [
        (&br#"{"requestId":"R1","sockets":[]}"#[..], Some("R1")),
        (br#"{"requestId":"","#, Some("")),
        (br#"{"requestId":"R"#, None),
        (br#"{"requestId":"R\n1","sockets":[]}"#, None),
        (br#"{"requestId":null,"sockets":[]}"#, None),
        (br#"{"type":6,"requestId":"R1"}"#, None),
        (b"{\"requestId\":\"\xff\"}", None),
        (b"\x81\xa9requestId\xa1R", None),
        (b"", None),
    ] {
        assert_eq!(peek_request_id(response), expected, "{response:?}");
    }
}

#[test]
fn no_client_is_what_the_reference_would_send() {
    assert_eq!(no_client("R"), br#"{"type":8,"requestId":"R","clientCount":0}"#);
}

#[test]
fn what_this_node_has_is_told_as_the_reference_would() {
    assert_eq!(no_sockets("R\""), br#"{"requestId":"R\"","sockets":[]}"#);
    assert_eq!(rooms("R", std::iter::empty()), br#"{"requestId":"R","rooms":[]}"#);
    assert_eq!(
        rooms("R", ["a", "\u{1f600}\n"].into_iter()),
        "{\"requestId\":\"R\",\"rooms\":[\"a\",\"\u{1f600}\\n\"]}".as_bytes()
    );
}
