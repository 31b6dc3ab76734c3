//! Delta tables on object stores: log, snapshots, scans, writes, commits, checkpoints and maintenance.
