//! Claims about speed and memory.

fn main() {}
