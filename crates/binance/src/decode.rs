//! Market frames to events.
