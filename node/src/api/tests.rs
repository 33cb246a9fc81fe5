//! The API over a real Unix socket in front of a fake driver: every call, every refusal, slow and
//! hostile clients. Requests are written by hand, so that nothing between test and socket is ours.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::fake::{self, Fake};
use super::server::serve_with;
use super::*;
use crate::view::{Event, MessageState};

struct Bench {
    _dir: TempDir,
    server: Option<Server>,
    fake: Fake,
}

struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The problem's code, after checking that it is a whole problem document.
    fn problem(&self) -> String {
        assert!(
            self.head.contains("content-type: application/problem+json"),
            "{}",
            self.head
        );
        let json = self.json();
        assert_eq!(json["status"], self.status);
        for field in ["type", "title", "detail", "hint"] {
            assert!(
                json[field].as_str().is_some_and(|text| !text.is_empty()),
                "{field} in {json}"
            );
        }
        let code = json["code"].as_str().unwrap().to_owned();
        assert_eq!(json["type"], format!("urn:murmuration:problem:{code}"));
        code
    }
}

fn short() -> Timeouts {
    Timeouts {
        header: Duration::from_millis(300),
        request: Duration::from_millis(600),
        write: Duration::from_millis(300),
    }
}

impl Bench {
    fn new() -> Self {
        Self::with(Timeouts::default())
    }

    fn with(timeouts: Timeouts) -> Self {
        let dir = TempDir::new().unwrap();
        let (node, fake) = fake::node();
        let server = serve_with(dir.path(), node, timeouts).unwrap();
        Self {
            _dir: dir,
            server: Some(server),
            fake,
        }
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.server.as_ref().unwrap().path())
            .await
            .unwrap()
    }

    async fn raw(&self, request: &[u8]) -> Reply {
        let mut stream = self.connect().await;
        // The server may answer and close before it has read all.
        let _ = stream.write_all(request).await;
        read_reply(&mut stream).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.raw(
            format!("GET /api/v1{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                .as_bytes(),
        )
        .await
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        self.post_with(
            path,
            "content-type: application/json\r\n",
            body.to_string().as_bytes(),
        )
        .await
    }

    async fn post_with(&self, path: &str, headers: &str, body: &[u8]) -> Reply {
        let head = format!(
            "POST /api/v1{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        self.raw(&[head.as_bytes(), body].concat()).await
    }
}

async fn read_reply(stream: &mut UnixStream) -> Reply {
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes))
        .await
        .expect("an end");
    let split = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8(bytes[..split].to_vec()).unwrap();
    let status = head[9..12].parse().unwrap();
    Reply {
        status,
        head: head.to_lowercase(),
        body: bytes[split + 4..].to_vec(),
    }
}

fn message(to: &str, body: &str) -> Value {
    json!({ "to": to, "body": body })
}

#[tokio::test]
async fn the_plain_reads_answer() {
    let bench = Bench::new();
    assert_eq!(bench.get("/health").await.json()["ok"], true);
    assert_eq!(
        bench.get("/ready").await.json(),
        json!({ "ready": true, "reasons": [], "warnings": [] })
    );
    assert_eq!(bench.get("/node").await.json()["epoch"], 7);
    assert_eq!(bench.get("/counters").await.json()["cover"], 40);
    assert_eq!(
        bench.get("/addresses").await.json()[0]["address"],
        "mur1default"
    );
    assert_eq!(bench.get("/contacts").await.json()[0]["name"], "bob");
}

#[tokio::test]
async fn not_ready_gives_its_reasons() {
    let bench = Bench::new();
    {
        let mut state = bench.fake.state.lock().unwrap();
        state.node.ready = false;
        state.node.reasons = vec!["too_few_mixes(3/6)".to_owned()];
    }
    let reply = bench.get("/ready").await;
    assert_eq!((reply.status, reply.problem().as_str()), (503, "not_ready"));
    assert_eq!(reply.json()["reasons"], json!(["too_few_mixes(3/6)"]));
    assert!(reply.json()["retry_after_ms"].is_u64());
    assert!(reply.head.contains("retry-after: 1"));
}

#[tokio::test]
async fn contacts_come_and_go() {
    let bench = Bench::new();
    let added = bench
        .post(
            "/contacts",
            &json!({ "name": "eve é/x", "address": "mur1q" }),
        )
        .await;
    assert_eq!(added.status, 201);
    let again = bench
        .post("/contacts", &json!({ "name": "bob", "address": "mur1q" }))
        .await;
    assert_eq!((again.status, again.problem().as_str()), (409, "conflict"));
    let wrong = bench
        .post("/contacts", &json!({ "name": "zoe", "address": "murx" }))
        .await;
    assert_eq!(
        (wrong.status, wrong.problem().as_str()),
        (400, "invalid_request")
    );
    assert!(
        wrong.json()["detail"]
            .as_str()
            .unwrap()
            .contains("position 7")
    );

    let remove = |path: &str| {
        format!("DELETE /api/v1/contacts/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    };
    let path = crate::client::segment("eve é/x");
    assert_eq!(bench.raw(remove(&path).as_bytes()).await.status, 204);
    assert_eq!(
        bench.raw(remove(&path).as_bytes()).await.problem(),
        "not_found"
    );
    assert_eq!(
        bench.raw(remove("%ff").as_bytes()).await.problem(),
        "invalid_request"
    );
    assert_eq!(
        bench
            .post("/addresses", &json!({ "label": "shop" }))
            .await
            .json()["address"],
        "mur1shop"
    );
}

#[tokio::test]
async fn messages_are_accepted_as_they_are_written() {
    let bench = Bench::new();
    let reply = bench.post("/messages", &message("bob", "grüße")).await;
    assert_eq!(reply.status, 202);
    assert_eq!(
        reply.json(),
        json!({ "id": bench.fake.last_id(), "state": "queued" })
    );
    let full = json!({ "to": "bob", "body": "AP8=", "encoding": "base64", "deadline_ms": 5000, "class": "slow", "reliability": "reliable" });
    assert_eq!(bench.post("/messages", &full).await.status, 202);
    let state = bench.fake.state.lock().unwrap();
    assert_eq!(state.sent[0].body, "grüße".as_bytes());
    assert_eq!(
        (state.sent[0].slow, state.sent[0].deadline_ms),
        (false, None)
    );
    assert_eq!(state.sent[1].body, [0, 255]);
    assert_eq!(
        (state.sent[1].slow, state.sent[1].deadline_ms),
        (true, Some(5000))
    );
}

#[tokio::test]
async fn the_same_key_sends_once() {
    let bench = Bench::new();
    let body = message("bob", "once").to_string();
    let headers = "content-type: application/json\r\nidempotency-key: k1\r\n";
    let first = bench
        .post_with("/messages", headers, body.as_bytes())
        .await
        .json();
    let second = bench
        .post_with("/messages", headers, body.as_bytes())
        .await
        .json();
    assert_eq!(first, second);
    assert_eq!(bench.fake.state.lock().unwrap().sent.len(), 1);
    let long = format!(
        "content-type: application/json\r\nidempotency-key: {}\r\n",
        "k".repeat(129)
    );
    assert_eq!(
        bench
            .post_with("/messages", &long, body.as_bytes())
            .await
            .problem(),
        "invalid_request"
    );
}

#[tokio::test]
async fn wrong_messages_are_refused_with_their_reason() {
    let bench = Bench::new();
    let too_long = "x".repeat(crate::handle::MAX_MESSAGE + 1);
    let cases = [
        (message("bab", "hi"), 404, "not_found"),
        (message("bob", &too_long), 413, "message_too_long"),
        (
            json!({ "to": "bob", "body": "%%%", "encoding": "base64" }),
            400,
            "invalid_request",
        ),
        (
            json!({ "to": "bob", "body": "hi", "deadline_ms": 0 }),
            400,
            "invalid_request",
        ),
        (
            json!({ "to": "bob", "body": "hi", "deadline_ms": -1 }),
            400,
            "invalid_request",
        ),
        (
            json!({ "to": "bob", "body": "hi", "class": "warp" }),
            400,
            "invalid_request",
        ),
        (
            json!({ "to": "bob", "body": "hi", "colour": "red" }),
            400,
            "invalid_request",
        ),
        (json!({ "to": "bob" }), 400, "invalid_request"),
        (json!(["bob"]), 400, "invalid_request"),
    ];
    for (body, status, code) in cases {
        let reply = bench.post("/messages", &body).await;
        assert_eq!(
            (reply.status, reply.problem().as_str()),
            (status, code),
            "{}",
            reply.json()
        );
    }
    assert!(bench.fake.state.lock().unwrap().sent.is_empty());
}

#[tokio::test]
async fn malformed_requests_are_problems() {
    let bench = Bench::new();
    let json_type = "content-type: application/json\r\n";
    let cases = [
        (
            bench.post_with("/messages", json_type, b"{\"to\":").await,
            400,
            "invalid_request",
        ),
        (
            bench.post_with("/messages", json_type, b"\xff\xfe").await,
            400,
            "invalid_request",
        ),
        (
            bench
                .post_with("/messages", json_type, &b"[".repeat(100_000))
                .await,
            400,
            "invalid_request",
        ),
        (
            bench
                .post_with("/messages", "content-type: text/plain\r\n", b"{}")
                .await,
            415,
            "json_required",
        ),
        (
            bench
                .post_with("/messages", "content-type: application/jsonx\r\n", b"{}")
                .await,
            415,
            "json_required",
        ),
        (
            bench.post_with("/messages", "", b"{}").await,
            415,
            "json_required",
        ),
        (
            bench.post_with("/stop", "", b"").await,
            415,
            "json_required",
        ),
        (
            bench
                .post_with("/messages", json_type, &vec![b' '; MAX_BODY + 1])
                .await,
            413,
            "body_too_large",
        ),
        (bench.get("/nothing").await, 404, "unknown_route"),
        (
            bench
                .raw(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                .await,
            404,
            "unknown_route",
        ),
        (bench.get("/stop").await, 405, "wrong_method"),
        (bench.post("/node", &json!({})).await, 405, "wrong_method"),
        (
            bench.get("/inbox?after=minus").await,
            400,
            "invalid_request",
        ),
        (
            bench.get("/messages/00?wait=lost").await,
            400,
            "invalid_request",
        ),
        (
            bench.get("/messages/00?wait=failed").await,
            400,
            "invalid_request",
        ),
        (bench.get("/messages/00").await, 404, "not_found"),
        (
            bench.get("/messages/00?wait=stored").await,
            404,
            "not_found",
        ),
        (
            bench.post("/inbox/00/ack", &json!({})).await,
            404,
            "not_found",
        ),
    ];
    for (reply, status, code) in cases {
        assert_eq!(
            (reply.status, reply.problem().as_str()),
            (status, code),
            "{}",
            reply.json()
        );
    }
    assert!(!bench.fake.state.lock().unwrap().stopped);
    let charset = "content-type: Application/JSON; charset=utf-8\r\n";
    assert_eq!(
        bench
            .post_with(
                "/messages",
                charset,
                message("bob", "x").to_string().as_bytes()
            )
            .await
            .status,
        202
    );
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_read() {
    let bench = Bench::new();
    let mut body = message("bob", "x").to_string().into_bytes();
    body.resize(MAX_BODY, b' ');
    assert_eq!(
        bench
            .post_with("/messages", "content-type: application/json\r\n", &body)
            .await
            .status,
        202
    );
}

#[tokio::test]
async fn a_wait_ends_with_the_state_or_the_time() {
    let bench = Bench::new();
    bench.post("/messages", &message("bob", "hi")).await;
    let id = bench.fake.last_id();
    let over = bench
        .get(&format!("/messages/{id}?wait=stored&timeout_ms=50"))
        .await;
    assert_eq!(
        (over.status, over.json()["state"].as_str()),
        (200, Some("queued"))
    );

    let path = format!("/messages/{id}?wait=stored");
    let (reply, ()) = tokio::join!(bench.get(&path), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.fake.advance(&id, MessageState::Sent);
        bench.fake.advance(&id, MessageState::Stored);
    });
    assert_eq!(reply.json()["state"], "stored");
    assert_eq!(reply.json()["history"].as_array().unwrap().len(), 3);
    bench.fake.advance(&id, MessageState::Failed);
    let ended = bench.get(&format!("/messages/{id}?wait=read")).await.json();
    assert_eq!(
        (ended["state"].as_str(), ended["code"].as_str()),
        (Some("failed"), Some("too_old"))
    );
}

#[tokio::test]
async fn the_inbox_pages_waits_and_acknowledges() {
    let bench = Bench::new();
    assert_eq!(bench.get("/inbox").await.json(), json!([]));
    let (first, ()) = tokio::join!(bench.get("/inbox?wait_ms=20000"), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.fake.emit(Event::Ready);
        bench.fake.receive("one");
    });
    assert_eq!(first.json()[0]["body"], "one");
    bench.fake.receive("two");
    bench.fake.receive("three");
    let page = bench.get("/inbox?after=1&limit=1").await.json();
    assert_eq!(
        (page.as_array().unwrap().len(), page[0]["body"].as_str()),
        (1, Some("two"))
    );
    assert_eq!(
        bench.get("/inbox?after=3&wait_ms=50").await.json(),
        json!([])
    );
    assert_eq!(
        bench
            .get("/inbox?limit=0")
            .await
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let id = page[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        bench
            .post(&format!("/inbox/{id}/ack"), &json!({}))
            .await
            .status,
        204
    );
    assert!(bench.fake.state.lock().unwrap().inbox[1].acked);
}

#[tokio::test]
async fn events_stream_with_numbers_and_end_with_the_server() {
    let mut bench = Bench::new();
    let mut stream = bench.connect().await;
    stream
        .write_all(b"GET /api/v1/events HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut text = read_until(&mut stream, "\r\n\r\n").await;
    assert!(text.contains("text/event-stream"), "{text}");
    bench.fake.emit(Event::NotReady {
        reasons: vec!["no_bootstrap".to_owned()],
    });
    text = read_until(&mut stream, "\n\n").await;
    assert!(text.contains("id: 1\n"), "{text}");
    assert!(text.contains("event: not_ready\n"), "{text}");
    assert!(
        text.contains(r#"data: {"event":"not_ready","reasons":["no_bootstrap"]}"#),
        "{text}"
    );
    let server = bench.server.take().unwrap();
    let path = server.path().to_owned();
    tokio::time::timeout(Duration::from_secs(2), server.stop())
        .await
        .expect("streams end with the server");
    assert!(!path.exists());
}

async fn read_until(stream: &mut UnixStream, end: &str) -> String {
    let mut text = String::new();
    while !text.contains(end) {
        let mut bytes = [0; 1024];
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut bytes))
            .await
            .expect("in time")
            .unwrap();
        assert_ne!(read, 0, "it ended after {text}");
        text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
    }
    text
}

#[tokio::test]
async fn a_slow_reader_of_events_hears_what_it_missed() {
    let bench = Bench::new();
    let mut stream = bench.connect().await;
    stream
        .write_all(b"GET /api/v1/events HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    // All before the server's task runs once: the fake's channel holds eight.
    for _ in 0..20 {
        bench.fake.emit(Event::Ready);
    }
    let text = read_until(&mut stream, "id: 20\n").await;
    assert!(text.contains(r#"{"event":"missed","count":12}"#), "{text}");
}

#[tokio::test]
async fn a_node_that_hangs_costs_the_deadline_and_no_more() {
    let bench = Bench::with(short());
    bench.fake.state.lock().unwrap().hangs = true;
    let reply = bench.get("/node").await;
    assert_eq!((reply.status, reply.problem().as_str()), (504, "timeout"));
    assert_eq!(bench.get("/health").await.status, 200);
    // What a wait asks for comes on top, and then it ends too.
    let reply = bench.get("/inbox?wait_ms=100").await;
    assert_eq!((reply.status, reply.problem().as_str()), (504, "timeout"));
}

#[tokio::test]
async fn slow_headers_and_bodies_are_cut_off() {
    let bench = Bench::with(short());
    let mut stream = bench.connect().await;
    stream
        .write_all(b"GET /api/v1/node HTTP/1.1\r\nhost")
        .await
        .unwrap();
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(3), stream.read_to_end(&mut bytes)).await;
    assert!(read.is_ok(), "the connection must close");

    let head = "POST /api/v1/messages HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{";
    let reply = bench.raw(head.as_bytes()).await;
    assert_eq!(reply.problem(), "timeout");
}

#[tokio::test]
async fn a_reader_that_stops_is_cut_off() {
    let bench = Bench::with(short());
    for _ in 0..MAX_PAGE {
        bench.fake.receive(&"x".repeat(crate::handle::MAX_MESSAGE));
    }
    let mut stream = bench.connect().await;
    stream
        .write_all(b"GET /api/v1/inbox HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes))
        .await
        .expect("an end");
    assert!(
        bytes.len() < 20 * crate::handle::MAX_MESSAGE,
        "{} bytes came after all",
        bytes.len()
    );
}

#[tokio::test]
async fn a_page_of_long_messages_is_cut_and_loses_none() {
    let bench = Bench::new();
    for _ in 0..30 {
        bench.fake.receive(&"x".repeat(crate::handle::MAX_MESSAGE));
    }
    let (mut seen, mut pages) = (0, 0);
    loop {
        let page = bench.get(&format!("/inbox?after={seen}")).await.json();
        let page = page.as_array().unwrap();
        assert!(page.len() * crate::handle::MAX_MESSAGE <= MAX_PAGE_BYTES);
        let Some(last) = page.last() else { break };
        seen += page.len() as u64;
        pages += 1;
        assert_eq!(last["seq"], seen, "none is skipped");
    }
    assert_eq!((seen, pages), (30, 2));
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let bench = Bench::new();
    let mut held = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        held.push(bench.connect().await);
    }
    let reply = bench.get("/health").await;
    assert_eq!(
        (reply.status, reply.problem().as_str()),
        (503, "too_many_connections")
    );
    drop(held);
    for _ in 0..100 {
        if bench.get("/health").await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("seats must become free");
}

#[tokio::test]
async fn headers_have_a_limit_and_garbage_is_survived() {
    let bench = Bench::new();
    let big = format!(
        "GET /api/v1/health HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "y".repeat(2 * MAX_HEADERS)
    );
    assert_eq!(bench.raw(big.as_bytes()).await.status, 431);
    assert_eq!(
        bench.raw(b"\x16\x03\x01 not http\r\n\r\n").await.status,
        400
    );
    assert_eq!(bench.get("/health").await.status, 200);
}

#[tokio::test]
async fn stop_is_answered_and_a_stopped_node_says_so() {
    let bench = Bench::new();
    let reply = bench.post("/stop", &json!({})).await;
    assert_eq!(reply.status, 202);
    assert!(bench.fake.state.lock().unwrap().stopped);
    let reply = bench.get("/node").await;
    assert_eq!((reply.status, reply.problem().as_str()), (503, "stopped"));
}
