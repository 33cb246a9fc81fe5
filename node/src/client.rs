//! The command line's side of the API: one short HTTP/1.1 connection per call over the Unix socket.
//!
//! No retries: the caller decides. Every call has a deadline; a node that doesn't run, or that
//! ends in the middle of a call, is [`ErrorKind::NotRunning`].

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::api::{Problem, REQUEST_TIMEOUT};
use crate::datadir::socket;
use crate::error::{Error, ErrorKind};

/// The longest answer taken, in bytes: a full page of the inbox, escaped, with room to spare.
const MAX_ANSWER: usize = 8 * 1024 * 1024;
/// What a call may take beyond the server's own deadline.
const MARGIN: Duration = Duration::from_secs(5);

/// A client of the node that runs on one data directory.
#[derive(Clone, Debug)]
pub struct Client {
    data_dir: PathBuf,
    socket: PathBuf,
    /// What a call may take, waiting time asked for not counted.
    limit: Duration,
}

impl Client {
    /// A client for the node on `data_dir`. Connects only when called.
    ///
    /// # Errors
    /// `DataDir` if the directory's note about its socket can't be read.
    pub fn new(data_dir: &Path) -> Result<Self, Error> {
        Ok(Self {
            data_dir: data_dir.to_owned(),
            socket: socket::find(data_dir)?,
            limit: REQUEST_TIMEOUT + MARGIN,
        })
    }

    /// `GET path`, where the server may wait for up to `wait` before it answers.
    ///
    /// # Errors
    /// `NotRunning`; what the node refused with its code; `Deadline` if it doesn't answer in time.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, wait: Duration) -> Result<T, Error> {
        self.call(Method::GET, path, None, wait)
            .await
            .and_then(|body| parse(&body))
    }

    /// `POST path` with a JSON body.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        self.call(Method::POST, path, Some(json(body)?), Duration::ZERO)
            .await
            .and_then(|body| parse(&body))
    }

    /// `POST path` whose answer has no body.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub async fn post_empty(&self, path: &str) -> Result<(), Error> {
        self.call(Method::POST, path, Some(b"{}".to_vec()), Duration::ZERO)
            .await
            .map(|_| ())
    }

    /// `DELETE path`.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub async fn delete(&self, path: &str) -> Result<(), Error> {
        self.call(Method::DELETE, path, None, Duration::ZERO)
            .await
            .map(|_| ())
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        wait: Duration,
    ) -> Result<Bytes, Error> {
        let limit = self.limit + wait;
        let answer = timeout(limit, self.exchange(method, path, body))
            .await
            .map_err(|_| {
                Error::new(
                    ErrorKind::Deadline,
                    format!(
                        "the node on {} didn't answer in {} s",
                        self.data_dir.display(),
                        limit.as_secs()
                    ),
                    "try again; if it stays so, restart the node",
                )
            })?;
        let (status, body) = answer?;
        if status.is_success() {
            Ok(body)
        } else {
            Err(refusal(status, &body))
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<(StatusCode, Bytes), Error> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.no_connection(error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(error))?;
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| internal("the request can't be written", error))?;
        let exchange = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| self.broken(error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER)
                .collect()
                .await
                .map_err(|error| self.broken(error))?;
            Ok((status, body.to_bytes()))
        };
        tokio::pin!(exchange, connection);
        // The connection is driven here rather than in a task, so that nothing outlives the call.
        tokio::select! {
            answer = &mut exchange => answer,
            ended = &mut connection => match ended {
                // It may end right after handing over the last byte.
                Ok(()) => exchange.await,
                Err(error) => Err(self.broken(error)),
            },
        }
    }

    fn no_connection(&self, error: io::Error) -> Error {
        use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound};
        if matches!(error.kind(), NotFound | NotADirectory | ConnectionRefused) {
            return Error::new(
                ErrorKind::NotRunning,
                format!("no node is running on {}", self.data_dir.display()),
                "start it with `murmur up`, or name another data directory with --data DIR",
            )
            .with_source(error);
        }
        Error::new(
            ErrorKind::DataDir,
            format!("can't connect to {}: {error}", self.socket.display()),
            "run this as the user that runs the node",
        )
        .with_source(error)
    }

    fn broken(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::new(
            ErrorKind::NotRunning,
            format!(
                "the node on {} closed the connection",
                self.data_dir.display()
            ),
            "look at its output; start it again with `murmur up`",
        )
        .with_source(error)
    }
}

/// One path segment, percent-encoded.
#[must_use]
pub fn segment(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

fn json(body: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(body).map_err(|error| internal("the request can't be written", error))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body)
        .map_err(|error| internal("the node's answer is not understood", error))
}

fn refusal(status: StatusCode, body: &[u8]) -> Error {
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
        return internal(
            "the node's answer is not understood",
            format!("status {status}"),
        );
    };
    let kind = match problem.code.as_str() {
        "not_ready" => ErrorKind::NotReady,
        "stopped" => ErrorKind::NotRunning,
        "timeout" => ErrorKind::Deadline,
        "storage_failed" => ErrorKind::Storage,
        _ => ErrorKind::Refused,
    };
    Error::new(kind, problem.detail, problem.hint).with_code(problem.code)
}

fn internal(message: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(
        ErrorKind::Internal,
        message,
        "check that `murmur` here and the running node have one version",
    )
    .with_source(source)
}

#[cfg(test)]
mod tests;
