//! State on object stores: locations from URLs, versioned objects with compare-and-set, and stores for tests.
