use std::future::poll_fn;
use std::task::Poll;

use super::*;
use crate::transport::redis::connect::{Settings, Tls, TlsOptions};
use crate::transport::redis::mock::{Authority, MockPeer, block_on};

#[test]
fn what_tls_holds_back_is_not_written() {
    block_on(async {
        let authority = Authority::new("one");
        let mut peer = MockPeer::tls(authority.identity(&["127.0.0.1"]).acceptor(None)).await;
        let tls = TlsOptions { ca: vec![authority.pem()], ..TlsOptions::default() };
        let base = Settings { tls: Some(Tls::new(&tls).unwrap()), ..Settings::default() };
        let settings = ClusterSettings { base, seeds: vec![peer.address()], nat_map: Vec::new() };
        let mut node = ClusterNode::new(&settings, &peer.address(), ChannelKind::Global);
        let mut reports = Vec::new();
        let mut poll = |node: &mut ClusterNode, cx: &mut Context<'_>| {
            node.poll(cx, &settings, &mut |_| {}, &mut reports);
        };
        let open = poll_fn(|cx| {
            poll(&mut node, cx);
            if node.is_open() { Poll::Ready(()) } else { Poll::Pending }
        });
        let _client = peer.accept_while(open).await;
        while node.connection.unwritten() == 0 || !node.connection.commands.unwritten().is_empty() {
            node.publish(b"channel", &[b'x'; 1000], Instant::now());
            poll_fn(|cx| {
                poll(&mut node, cx);
                Poll::Ready(())
            })
            .await;
        }
        assert!(node.unwritten() > 0, "TLS has taken it, the kernel has not");
    });
}
