//! `murmur up` as its user sees it, from its first line to the signal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

/// `up` around a fake node; the future given ends it as a signal would.
async fn attend(
    json: bool,
    script: impl AsyncFnOnce(&fake::Fake, &Pipe, &std::path::Path),
) -> (Result<u8, Error>, String) {
    let dir = TempDir::new().unwrap();
    let (handle, fake) = fake::node();
    fake.state.lock().unwrap().node.ready = false;
    fake.state.lock().unwrap().node.reasons = vec!["no_bootstrap".to_owned()];
    let watched = fake.clone();
    let stopped = Box::pin(async move {
        while !watched.state.lock().unwrap().stopped {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    });
    let stdout = Pipe::default();
    let mut out = Out::to(stdout.clone(), Pipe::default(), json);
    let running = seam::Running { handle, stopped };
    let signal = script(&fake, &stdout, dir.path());
    let result = up::attend(dir.path(), running, signal, &mut out).await;
    assert!(
        fake.state.lock().unwrap().stopped,
        "the node is stopped in any case"
    );
    assert!(
        !dir.path().join("api.sock").exists(),
        "and the socket is gone"
    );
    (result, stdout.text())
}

async fn lines(pipe: &Pipe, count: usize) {
    tokio::time::timeout(Duration::from_secs(5), async {
        while pipe.text().lines().count() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("only {}", pipe.text()));
}

#[tokio::test]
async fn up_tells_its_story_in_json_until_the_signal() {
    let (result, text) = attend(true, async |fake, pipe, _| {
        lines(pipe, 2).await;
        fake.emit(Event::NotReady {
            reasons: vec!["no_bootstrap".to_owned()],
        });
        fake.emit(Event::Ready);
        fake.emit(Event::Epoch {
            epoch: 8,
            root: "cd".to_owned(),
            nodes: 9,
            degraded: Some(Degraded::Pending),
        });
        fake.receive("hi");
        lines(pipe, 5).await;
    })
    .await;
    assert_eq!(result.unwrap(), 0);
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let listening = &lines[0];
    assert_eq!(
        (listening["event"].as_str(), listening["peer_id"].as_str()),
        (Some("listening"), Some("12D3KooWfake"))
    );
    assert!(listening["api"].as_str().unwrap().ends_with("/api.sock"));
    assert_eq!(
        listening["listen"][0],
        "/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWfake"
    );
    assert_eq!(
        lines[1],
        json!({ "event": "not_ready", "reasons": ["no_bootstrap"] })
    );
    assert_eq!(
        lines[2],
        json!({ "event": "ready" }),
        "the same reasons again are not repeated"
    );
    assert_eq!(
        lines[3],
        json!({ "event": "epoch", "epoch": 8, "root": "cd", "nodes": 9, "degraded": "pending" })
    );
    assert_eq!(lines[4]["message"]["body"], "hi");
    assert_eq!(lines.len(), 5);
}

#[tokio::test]
async fn up_speaks_plainly_and_shows_no_text_of_messages() {
    let (result, text) = attend(false, async |fake, pipe, _| {
        fake.receive("secret");
        let contact = ContactView {
            state: "greeting".to_owned(),
            ..fake::contact("bob")
        };
        fake.emit(Event::Contact { contact });
        fake.emit(Event::Ready);
        lines(pipe, 7).await;
    })
    .await;
    assert_eq!(result.unwrap(), 0);
    assert!(
        text.starts_with("listening on /ip4/127.0.0.1/tcp/4001/p2p/12D3KooWfake\nAPI on /"),
        "{text}"
    );
    assert!(text.contains("\nnot ready: no_bootstrap\n"), "{text}");
    assert!(
        text.ends_with("contact bob: greeting\nready: messages can flow\n"),
        "{text}"
    );
    assert!(!text.contains("secret"));
}

#[tokio::test]
async fn up_ends_when_the_api_is_told_to() {
    let (result, _) = attend(true, async |_, pipe, dir| {
        lines(pipe, 1).await;
        Client::new(dir).unwrap().post_empty("/stop").await.unwrap();
        std::future::pending().await
    })
    .await;
    assert_eq!(result.unwrap(), 0);
}

#[tokio::test]
async fn up_without_its_socket_stops_the_node() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("api.sock"), "in the way").unwrap();
    let (handle, fake) = fake::node();
    let running = seam::Running {
        handle,
        stopped: Box::pin(async { Ok(()) }),
    };
    let mut out = Out::to(Pipe::default(), Pipe::default(), true);
    let error = up::attend(dir.path(), running, std::future::pending(), &mut out)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataDir);
    assert!(fake.state.lock().unwrap().stopped);
}
