//! Incremental file discovery and decoding: a stream source over a growing folder or bucket.
