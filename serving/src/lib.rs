//! Models behind endpoints: HTTP, batch and stream scoring.
