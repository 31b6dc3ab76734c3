//! Delta Lake values and decisions, pure: actions, schemas, features, statistics, replay and conflict checks.
