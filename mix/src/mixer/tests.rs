//! Tests of the mixer.
