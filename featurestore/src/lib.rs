//! Feature tables, point-in-time training sets and online lookup.
