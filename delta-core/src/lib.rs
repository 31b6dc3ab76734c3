//! Delta Lake for Rust: tables, transactions and the DataFusion engine over them.
