//! stub
#[cfg(feature = "net")]
pub mod net;
