//! The folder `_delta_log`: reading and writing its files.
//!
//! ```text
//!   _last_checkpoint ─ hint ─▶ LIST from there ─ plan_segment ─▶ checkpoint ─┐ head
//!                                                           └──▶ commits  ───┴─▶ Replay ─▶ LoadedLog
//!                                                                     │                        │
//!                                                                     └─ files, when asked ─▶ LazyFiles
//! ```

pub(crate) mod checkpoint_read;
pub(crate) mod checkpoint_write;
pub(crate) mod commit;
pub(crate) mod files;
pub(crate) mod list;
pub(crate) mod load;
mod parsed_stats;
pub(crate) mod tombstones;
