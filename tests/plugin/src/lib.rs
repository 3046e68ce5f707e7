//! A crate of handlers.
