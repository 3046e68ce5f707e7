//! The HTTP door, for axum.
