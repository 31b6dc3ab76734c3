//! Boathouse.
