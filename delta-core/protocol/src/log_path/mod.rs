//! The folder `_delta_log`: names of its files, and which of them make a version.
//!
//! **Source**: Delta protocol, "File Types", "Checkpoint Naming Scheme", "Last Checkpoint File".

mod cleanup;
mod json_checksum;
mod last_checkpoint;
mod name;
mod segment;

pub use cleanup::{CleanupPlan, LogEntry, expired_sidecars, midnight_before, plan_cleanup};
pub use last_checkpoint::LastCheckpoint;
pub use name::{
    CheckpointFormat, LAST_CHECKPOINT, LOG_FOLDER, LogFile, SIDECAR_FOLDER, STAGED_FOLDER, checkpoint_name, checkpoint_part_name,
    checksum_name, commit_name, compacted_name, list_after, uuid_checkpoint_name,
};
pub use segment::{Checkpoint, CommitFile, LogSegment, plan_segment};
