//! The one error type of the node: what went wrong, where, and what to do about it.
//!
//! Opaque on purpose: callers look at [`Error::kind`], people read the message and the fix. The
//! command line prints both, the exit code follows from the kind. Errors of a running node's
//! requests are [`RequestError`]; they turn into this type on their way to a person.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use crate::request::{RequestError, RequestErrorKind};

/// What went wrong, in one line, with one line that says what to do.
///
/// The `Display` form is the message alone; [`Error::fix`] is the second line and
/// [`StdError::source`] the cause below, if there is one.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    code: Option<Cow<'static, str>>,
    message: String,
    fix: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kinds of failure a caller can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The command was called wrongly.
    Usage,
    /// The configuration file or an environment variable holds something wrong.
    Config,
    /// The data directory can't be used.
    DataDir,
    /// A port is taken, an address is malformed, a network is unknown.
    Network,
    /// The store is damaged, from a newer version, or the disk refused.
    Storage,
    /// No node runs on this data directory.
    NotRunning,
    /// The node runs and refused the request.
    Refused,
    /// The node can't do it now.
    NotReady,
    /// The time given ran out first.
    Deadline,
    /// A mistake in this program.
    Internal,
}

impl ErrorKind {
    /// The stable code of JSON output.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Config => "config",
            Self::DataDir => "data_dir",
            Self::Network => "network",
            Self::Storage => "storage_failed",
            Self::NotRunning => "not_running",
            Self::Refused => "refused",
            Self::NotReady => "not_ready",
            Self::Deadline => "deadline",
            Self::Internal => "internal",
        }
    }

    /// The exit code of the command line: 1 failed, 2 usage, 3 not running, 4 not ready, 5 deadline passed.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Usage | Self::Config => 2,
            Self::NotRunning => 3,
            Self::NotReady => 4,
            Self::Deadline => 5,
            Self::DataDir | Self::Network | Self::Storage | Self::Refused | Self::Internal => 1,
        }
    }
}

impl Error {
    /// An error of `kind` that says what is wrong and what to do.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            code: None,
            message: message.into(),
            fix: fix.into(),
            source: None,
        }))
    }

    /// The store refused.
    #[must_use]
    pub fn storage(cause: storage::backend::BackendError) -> Self {
        Self::new(
            ErrorKind::Storage,
            cause.to_string(),
            "do what the message says and start again",
        )
        .with_source(cause)
    }

    /// A mistake of ours.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message, "report this as a bug")
    }

    /// The same error with the cause below it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error with a finer code than its kind's: the code of a problem document.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.0.code = Some(code.into());
        self
    }

    /// The same error with another line that says what to do.
    #[must_use]
    pub fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.0.fix = fix.into();
        self
    }

    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The stable code of JSON output.
    #[must_use]
    pub fn code(&self) -> &str {
        self.0.code.as_deref().unwrap_or(self.0.kind.code())
    }

    /// For a person, one line: what is wrong and where.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// For a person, one line: what to do.
    #[must_use]
    pub fn fix(&self) -> &str {
        &self.0.fix
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.code())
            .field("message", &self.0.message)
            .field("fix", &self.0.fix)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        let kind = match error.kind {
            RequestErrorKind::NotReady => ErrorKind::NotReady,
            RequestErrorKind::Stopped => ErrorKind::NotRunning,
            RequestErrorKind::Storage => ErrorKind::Storage,
            RequestErrorKind::Invalid
            | RequestErrorKind::NotFound
            | RequestErrorKind::Conflict
            | RequestErrorKind::Full => ErrorKind::Refused,
        };
        Self::new(kind, error.message, error.hint).with_code(error.kind.code())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let codes: Vec<u8> = [
            ErrorKind::Refused,
            ErrorKind::Usage,
            ErrorKind::NotRunning,
            ErrorKind::NotReady,
            ErrorKind::Deadline,
        ]
        .map(ErrorKind::exit_code)
        .to_vec();
        assert_eq!(codes, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_request_error_keeps_its_code_and_lines() {
        let refused = RequestError::new(RequestErrorKind::NotFound, "no contact bob", "add it");
        let error = Error::from(refused);
        assert_eq!(
            (error.code(), error.message(), error.fix()),
            ("not_found", "no contact bob", "add it")
        );
        assert_eq!(error.kind().exit_code(), 1);
    }

    #[test]
    fn the_source_is_kept_and_not_printed() {
        let error = Error::new(ErrorKind::DataDir, "can't write", "free space")
            .with_source(std::io::Error::other("full"));
        assert_eq!(error.to_string(), "can't write");
        assert_eq!(error.source().expect("a source").to_string(), "full");
    }
}
