//! Reads the workspace and fails where it is not built as ARCHITECTURE.md says.
