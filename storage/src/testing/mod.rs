//! Stores for tests: they fail, count and take simulated time.
