//! Other engines read what we write, and we read what they write.

mod delta;
mod mlflow;
mod peers;
