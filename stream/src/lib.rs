//! The micro-batch engine: sources, transformations, watermarks, windows, sinks and exactly-once recovery.
