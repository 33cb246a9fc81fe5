//! What callers may ask of a node and how it refuses: plain types, shared by the core and by every
//! way into it.

/// Why a request was refused: a stable code, what is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct RequestError {
    /// What kind of refusal this is.
    pub kind: RequestErrorKind,
    /// For a person: what is wrong and where.
    pub message: String,
    /// For a person: what to do.
    pub hint: String,
}

impl RequestError {
    /// A refusal of `kind` with a text and a hint.
    #[must_use]
    pub fn new(
        kind: RequestErrorKind,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// The node is gone.
    #[must_use]
    pub fn stopped() -> Self {
        Self::new(
            RequestErrorKind::Stopped,
            "the node has stopped",
            "start it with `murmur up`",
        )
    }
}

/// The kinds of refusal; each has a stable code and an HTTP status in the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestErrorKind {
    /// The request itself is wrong.
    Invalid,
    /// No such contact or message.
    NotFound,
    /// The name is taken, or the same request came with another content.
    Conflict,
    /// A cap is reached.
    Full,
    /// The node can't do it now.
    NotReady,
    /// The node has stopped.
    Stopped,
    /// The disk refused.
    Storage,
}

impl RequestErrorKind {
    /// The stable code of problem documents.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Invalid => "invalid_request",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Full => "full",
            Self::NotReady => "not_ready",
            Self::Stopped => "stopped",
            Self::Storage => "storage_failed",
        }
    }
}

/// What to send.
#[derive(Clone, Debug, Default)]
pub struct SendRequest {
    /// The contact's name.
    pub to: String,
    /// The body, at most [`MAX_MESSAGE`] bytes.
    pub body: Vec<u8>,
    /// How long it may take before it counts as expired, milliseconds; the network's default if absent.
    pub deadline_ms: Option<u64>,
    /// Whether to use the slow class.
    pub slow: bool,
    /// The same key again returns the same message id instead of sending twice.
    pub idempotency_key: Option<String>,
}

/// The longest message body, in bytes.
pub const MAX_MESSAGE: usize = 48 * 1024;
