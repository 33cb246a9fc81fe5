//! Records over several nodes: gossip with verdicts, lookups through a bootstrap peer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

/// Answers every bundle with `verdict` until the end of the test and passes on what arrived.
fn judge(
    mut node: Node,
    verdict: impl Fn(&[u8]) -> Verdict + Send + 'static,
) -> mpsc::Receiver<Vec<u8>> {
    let (seen, arrived) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Some(event) = node.net.events.recv().await {
            if let NetEvent::Gossip { ticket, data } = event {
                node.send(NetCommand::Verdict {
                    ticket,
                    verdict: verdict(&data),
                })
                .await;
                if seen.send(data).await.is_err() {
                    return;
                }
            }
        }
    });
    arrived
}

#[tokio::test]
async fn an_accepted_bundle_reaches_eight_nodes() {
    let mut arrived = Vec::new();
    let mut others = vec![start(config(30)).await];
    let known = |others: &[Node]| others.iter().map(|node| node.address.clone()).collect();
    // Everyone knows everyone before: through one alone gossip reaches four, and reconciliation the rest.
    for secret in 31..37 {
        let mut config = config(secret);
        config.bootstrap = known(&others);
        others.push(start(config).await);
    }
    let mut last = config(37);
    last.bootstrap = known(&others);
    let last = start(last).await;
    // Published before anybody is connected: it waits and goes out when somebody listens.
    last.send(NetCommand::Publish {
        data: b"bundle".to_vec(),
    })
    .await;
    for node in others {
        arrived.push(judge(node, |_| Verdict::Accept));
    }
    for seen in &mut arrived {
        assert_eq!(within("bundle", seen.recv()).await.unwrap(), b"bundle");
    }
    assert_eq!(last.counters().await.dropped(NetDrop::PublishFailed), 0);
}

#[tokio::test]
async fn a_rejected_bundle_goes_no_further() {
    let middle = start(config(40)).await;
    // The outer two have room for one connection: there is no way around the middle.
    let mut outer = Vec::new();
    for secret in [41, 42] {
        let mut config = config(secret);
        config.limits.connections = 1;
        config.bootstrap = vec![middle.address.clone()];
        let node = start(config).await;
        node.counted("mesh", |c| c.mesh == 1).await;
        outer.push(node);
    }
    let commands = middle.net.commands.clone();
    let mut seen = judge(middle, |data| {
        if data == b"bad" {
            Verdict::Reject
        } else {
            Verdict::Accept
        }
    });
    let (to, from) = (outer.pop().unwrap(), outer.pop().unwrap());
    let mut reached = judge(to, |_| Verdict::Accept);
    from.send(NetCommand::Publish {
        data: b"bad".to_vec(),
    })
    .await;
    assert_eq!(
        within("bad at the middle", seen.recv()).await.unwrap(),
        b"bad"
    );
    from.send(NetCommand::Publish {
        data: b"good".to_vec(),
    })
    .await;
    assert_eq!(
        within("good at the middle", seen.recv()).await.unwrap(),
        b"good"
    );
    // Had the first been forwarded, it would be here first: one connection keeps the order.
    assert_eq!(
        within("good at the end", reached.recv()).await.unwrap(),
        b"good"
    );
    let (reply, counters) = oneshot::channel();
    commands.send(NetCommand::Counters(reply)).await.unwrap();
    assert_eq!(counters.await.unwrap().dropped(NetDrop::GossipRejected), 1);
}

async fn find(node: &mut Node, key: [u8; 32], many: bool) -> Vec<Vec<u8>> {
    node.send(NetCommand::Lookup { key, many }).await;
    let mut values = Vec::new();
    let found = node
        .until("lookup", |event| match event {
            NetEvent::Found { key: of, value } if of == key => {
                values.push(value);
                None
            }
            NetEvent::LookupDone { key: of, found } if of == key => Some(found),
            _ => None,
        })
        .await;
    assert_eq!(found, values.len());
    values
}

#[tokio::test]
async fn a_newcomer_finds_records_through_one_bootstrap_peer() {
    let mut hub = start(config(50)).await;
    let key = [0x77; 32];
    let mut servers = Vec::new();
    for secret in [51, 52] {
        let mut config = config(secret);
        config.bootstrap = vec![hub.address.clone()];
        let server = start(config).await;
        let value = vec![secret; 9_000];
        server
            .send(NetCommand::Serve {
                key,
                value,
                ttl_ms: 600_000,
            })
            .await;
        server
            .send(NetCommand::Serve {
                key: [secret; 32],
                value: vec![secret],
                ttl_ms: 600_000,
            })
            .await;
        assert_eq!(server.counters().await.served, 2);
        servers.push(server);
    }
    // Until the hub knows both servers …
    for secret in [51u8, 52] {
        while find(&mut hub, [secret; 32], false).await != [vec![secret]] {}
    }
    // … a newcomer that knows only the hub finds the record at a node it never heard of.
    let mut newcomer = config(53);
    newcomer.bootstrap = vec![hub.address.clone()];
    let mut newcomer = start(newcomer).await;
    let first = find(&mut newcomer, [51; 32], false).await;
    assert_eq!(first, [[51]]);
    // One value is enough, unless several are asked for.
    assert_eq!(find(&mut newcomer, key, false).await.len(), 1);
    let mut both: Vec<u8> = find(&mut newcomer, key, true)
        .await
        .iter()
        .map(|value| value[0])
        .collect();
    both.sort_unstable();
    assert_eq!(both, [51, 52]);
    assert_eq!(find(&mut newcomer, [1; 32], true).await, [[0u8; 0]; 0]);
    servers[0].send(NetCommand::Unserve { key: [51; 32] }).await;
    assert_eq!(servers[0].counters().await.served, 1);
    assert_eq!(find(&mut newcomer, [51; 32], false).await, [[0u8; 0]; 0]);
}

#[tokio::test]
async fn a_request_to_reconcile_goes_to_a_peer_and_back() {
    let mut one = start(config(60)).await;
    let mut two = config(61);
    two.bootstrap = vec![one.address.clone()];
    let mut two = start(two).await;
    one.until("a peer", |event| {
        matches!(event, NetEvent::Connected(1)).then_some(())
    })
    .await;
    let ask = |token, with, but| NetCommand::Sync {
        token,
        with,
        but,
        lot: 7,
        request: b"what do you hold".to_vec(),
    };
    // Nobody is left to ask, and nobody is dialled.
    one.send(ask(1, None, vec![two.id])).await;
    one.send(ask(2, Some([9; 32]), Vec::new())).await;
    for token in [1, 2] {
        one.until("a failure", |event| {
            matches!(event, NetEvent::SyncFailed { token: failed } if failed == token).then_some(())
        })
        .await;
    }
    for (token, response) in [(3, Some(vec![7; dht::net::MAX_FRAME])), (4, None)] {
        one.send(ask(token, None, Vec::new())).await;
        let (ticket, from, data) = two
            .until("a request", |event| match event {
                NetEvent::SyncRequest { ticket, from, data } => Some((ticket, from, data)),
                _ => None,
            })
            .await;
        assert_eq!((from, &data[..]), (one.id, &b"what do you hold"[..]));
        let answer = NetCommand::SyncAnswer {
            ticket,
            response: response.clone(),
        };
        two.send(answer).await;
        let id = two.id;
        let answered = one
            .until("an answer", |event| match event {
                NetEvent::SyncResponse {
                    token: of,
                    from,
                    data,
                } if of == token && from == id => Some(Some(data)),
                NetEvent::SyncFailed { token: of } if of == token => Some(None),
                _ => None,
            })
            .await;
        assert_eq!(answered, response);
    }
}
