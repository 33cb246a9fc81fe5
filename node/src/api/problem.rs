//! Errors as RFC 9457 problem documents: stable `code`, what is wrong, what to do.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::handle::{RequestError, RequestErrorKind};

/// A problem document, `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:murmuration:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Stable, for programs.
    pub code: String,
    /// What is wrong, for a person.
    pub detail: String,
    /// What to do, for a person.
    pub hint: String,
    /// When to try again, if trying again helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Why the node is not ready; on 503 of `GET /ready` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasons: Option<Vec<String>>,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        code: &str,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            kind: format!("urn:murmuration:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            code: code.to_owned(),
            detail: detail.into(),
            hint: hint.into(),
            retry_after_ms: None,
            reasons: None,
        }
    }

    pub(super) fn retry_after_ms(mut self, milliseconds: u64) -> Self {
        self.retry_after_ms = Some(milliseconds);
        self
    }

    pub(super) fn invalid(detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            RequestErrorKind::Invalid.code(),
            detail,
            hint,
        )
    }

    pub(super) fn not_ready(reasons: Vec<String>) -> Self {
        let detail = format!("messages can't flow yet: {}", reasons.join(", "));
        let hint = "wait; `murmur status` shows the reasons";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", detail, hint);
        Self {
            reasons: Some(reasons),
            ..problem.retry_after_ms(1_000)
        }
    }

    pub(super) fn timeout() -> Self {
        let hint = "the node is busy; try again";
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "timeout",
            "the request took too long",
            hint,
        )
        .retry_after_ms(1_000)
    }

    pub(super) fn stopping() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopped",
            "the node is stopping",
            "start it again with `murmur up`",
        )
    }

    pub(super) fn too_many_connections() -> Self {
        let detail = format!("{} connections are open already", super::MAX_CONNECTIONS);
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_connections",
            detail,
            "close some and try again",
        )
        .retry_after_ms(1_000)
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        // Strings and numbers only: this can't fail; an empty body would be the harmless outcome.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        let status = match error.kind {
            RequestErrorKind::Invalid => StatusCode::BAD_REQUEST,
            RequestErrorKind::NotFound => StatusCode::NOT_FOUND,
            RequestErrorKind::Conflict => StatusCode::CONFLICT,
            RequestErrorKind::Full => StatusCode::TOO_MANY_REQUESTS,
            RequestErrorKind::NotReady | RequestErrorKind::Stopped => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            RequestErrorKind::Storage => StatusCode::INSUFFICIENT_STORAGE,
        };
        let problem = Self::new(status, error.kind.code(), error.message, error.hint);
        match error.kind {
            RequestErrorKind::Full | RequestErrorKind::NotReady => problem.retry_after_ms(1_000),
            _ => problem,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, self.to_json()).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(milliseconds) = self.retry_after_ms {
            headers.insert(
                header::RETRY_AFTER,
                HeaderValue::from(milliseconds.div_ceil(1_000)),
            );
        }
        response
    }
}
