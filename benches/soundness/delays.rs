//! x
pub(crate) fn run() -> bool { true }
