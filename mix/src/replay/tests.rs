//! Tests of the replay set.
