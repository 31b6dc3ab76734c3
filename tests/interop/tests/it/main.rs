//! Other engines read what we write, and we read what they write.

mod mlflow;
mod peers;
