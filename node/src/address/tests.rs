//! Address tests.
