//! Tests of the packet.
