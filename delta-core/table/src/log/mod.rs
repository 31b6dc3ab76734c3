//! The folder `_delta_log`: reading and writing its files.
//!
//! ```text
//!   _last_checkpoint ─ hint ─▶ LIST from there ─ plan_segment ─▶ checkpoint ─┐
//!                                                           └──▶ commits  ───┴─ Replay ─▶ LoadedLog
//! ```

pub(crate) mod checkpoint_read;
pub(crate) mod checkpoint_write;
pub(crate) mod commit;
pub(crate) mod list;
pub(crate) mod load;
