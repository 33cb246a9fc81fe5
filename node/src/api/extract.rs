//! Request parts, with our problem documents where they are malformed.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// A JSON body. An empty one counts as `{}`.
pub(super) struct Json<T>(pub(super) T);

/// The query string.
pub(super) struct Query<T>(pub(super) T);

/// One path segment, percent-decoded.
pub(super) struct Segment(pub(super) String);

/// The `Idempotency-Key` header, if given: 1–128 visible ASCII characters.
pub(super) struct IdempotencyKey(pub(super) Option<String>);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if let Some(problem) = not_json(request.headers()) {
            return Err(problem);
        }
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| body_problem(&rejection))?;
        let text = if bytes.is_empty() { &b"{}"[..] } else { &bytes };
        // The types taken are flat, and serde_json stops at 128 levels in any case.
        serde_json::from_slice(text).map(Self).map_err(|error| {
            Problem::invalid(
                format!("the body is not what this call takes: {error}"),
                "see the API's documentation",
            )
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|query| Self(query.0))
            .map_err(|rejection| {
                Problem::invalid(
                    format!("the query string is wrong: {}", rejection.body_text()),
                    "see the API's documentation",
                )
            })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Path::<String>::from_request_parts(parts, state)
            .await
            .map(|path| Self(path.0))
            .map_err(|rejection| {
                let detail = format!("the path is wrong: {}", rejection.body_text());
                Problem::invalid(detail, "percent-encode it as UTF-8")
            })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get("idempotency-key") else {
            return Ok(Self(None));
        };
        let key = value
            .to_str()
            .ok()
            .filter(|key| (1..=128).contains(&key.len()));
        key.map(|key| Self(Some(key.to_owned()))).ok_or_else(|| {
            Problem::invalid(
                "the Idempotency-Key header is empty, too long or not ASCII",
                "use 1 to 128 ASCII characters, such as a UUID",
            )
        })
    }
}

/// What is wrong with the content type, if it isn't JSON's.
fn not_json(headers: &HeaderMap) -> Option<Problem> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return None;
    }
    let detail = if given.is_empty() {
        "the request has no content type".to_owned()
    } else {
        format!("the content type is {}", given.escape_debug())
    };
    Some(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "json_required",
        detail,
        "send `content-type: application/json`, also where there is no body",
    ))
}

fn body_problem(rejection: &BytesRejection) -> Problem {
    match rejection {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!("the body is longer than {} bytes", super::MAX_BODY),
                "send less at a time",
            )
        }
        _ => Problem::invalid(
            "the body ended before its announced length",
            "send it whole",
        ),
    }
}
