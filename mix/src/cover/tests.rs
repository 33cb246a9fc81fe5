//! Tests of the cover streams.
