//! Tests of the matching core.
