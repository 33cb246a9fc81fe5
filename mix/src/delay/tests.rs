//! Tests of the delay law.
