//! The trading node.
