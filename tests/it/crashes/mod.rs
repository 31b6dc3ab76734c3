//! Streaming queries that die: every source, operator and sink with every other, at every place, and by the hand of the system.

mod kills;
mod matrix;
mod processor;
mod world;
