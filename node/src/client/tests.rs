//! What the client makes of absent, silent and broken servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::*;
use crate::api::{self, fake};

const NO_WAIT: Duration = Duration::ZERO;

async fn get(dir: &TempDir, path: &str) -> Result<Value, Error> {
    Client::new(dir.path()).unwrap().get(path, NO_WAIT).await
}

/// A server that reads a request and says `answer`.
fn one_answer(dir: &TempDir, answer: impl Into<Vec<u8>>) {
    let listener = UnixListener::bind(dir.path().join("api.sock")).unwrap();
    let answer = answer.into();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(&answer).await;
    });
}

#[tokio::test]
async fn absent_and_stale_sockets_are_not_running() {
    let dir = TempDir::new().unwrap();
    let absent = get(&dir, "/node").await.unwrap_err();
    drop(UnixListener::bind(dir.path().join("api.sock")).unwrap());
    let stale = get(&dir, "/node").await.unwrap_err();
    let nowhere = Client::new(Path::new("/nowhere/at/all"))
        .unwrap()
        .get::<Value>("/node", NO_WAIT)
        .await
        .unwrap_err();
    for error in [absent, stale, nowhere] {
        assert_eq!(
            (error.kind(), error.kind().exit_code()),
            (ErrorKind::NotRunning, 3)
        );
        assert!(
            error.message().starts_with("no node is running on "),
            "{error}"
        );
        assert!(error.fix().contains("murmur up"));
    }
}

#[tokio::test]
async fn answers_and_refusals_come_through() {
    let dir = TempDir::new().unwrap();
    let (node, fake) = fake::node();
    let server = api::serve(dir.path(), node).unwrap();
    assert_eq!(get(&dir, "/node").await.unwrap()["epoch"], 7);
    let client = Client::new(dir.path()).unwrap();
    client.delete("/contacts/bob").await.unwrap();
    let error = client.delete("/contacts/bob").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Refused, "not_found")
    );
    fake.state.lock().unwrap().node.ready = false;
    let error = get(&dir, "/ready").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.kind().exit_code()),
        (ErrorKind::NotReady, 4)
    );
    client.post_empty("/stop").await.unwrap();
    assert_eq!(
        get(&dir, "/node").await.unwrap_err().kind(),
        ErrorKind::NotRunning
    );
    server.stop().await;
}

#[tokio::test]
async fn a_closed_connection_is_not_running() {
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"] {
        let dir = TempDir::new().unwrap();
        one_answer(&dir, answer);
        let error = get(&dir, "/node").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotRunning, "{answer:?}: {error}");
        assert!(error.message().contains("closed the connection"), "{error}");
    }
}

#[tokio::test]
async fn answers_of_another_kind_are_named() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        "HTTP/1.1 500 Oops\r\ncontent-length: 2\r\n\r\nhi",
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
    ] {
        let dir = TempDir::new().unwrap();
        one_answer(&dir, answer);
        let error = get(&dir, "/node").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{answer:?}");
        assert!(error.message().contains("not understood"), "{error}");
    }
}

#[tokio::test]
async fn an_answer_on_a_closing_connection_is_taken() {
    let dir = TempDir::new().unwrap();
    one_answer(
        &dir,
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"all\":true}",
    );
    assert_eq!(get(&dir, "/node").await.unwrap()["all"], true);
}

#[tokio::test]
async fn a_silent_server_costs_the_deadline() {
    let dir = TempDir::new().unwrap();
    let _listener = UnixListener::bind(dir.path().join("api.sock")).unwrap();
    let client = Client {
        limit: Duration::from_millis(100),
        ..Client::new(dir.path()).unwrap()
    };
    let error = client.get::<Value>("/node", NO_WAIT).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.kind().exit_code()),
        (ErrorKind::Deadline, 5)
    );
}

#[test]
fn segments_are_encoded() {
    assert_eq!(segment("a-b_c.~9"), "a-b_c.~9");
    assert_eq!(segment("é/ ?#%"), "%C3%A9%2F%20%3F%23%25");
}
