//! Where what was decoded goes.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Fields;

use super::rows::Target;
use super::{SourceFile, Stop, UnknownFields};
use crate::quarantine::QuarantinedLine;

/// Takes finished batches; an error stops the decoding.
pub(crate) type Emit<'a> = &'a mut dyn FnMut(RecordBatch) -> Result<(), Stop>;

/// Files of one schema version become batches for whoever wants them, and what is no record is kept aside.
pub(super) struct Output<'a> {
    pub(super) unknown: UnknownFields,
    /// The columns that files have: those of paths are added when batches are put together.
    pub(super) fields: Fields,
    pub(super) target: Arc<Target>,
    emit: Emit<'a>,
    refused: Vec<QuarantinedLine>,
}

impl<'a> Output<'a> {
    pub(super) fn new(unknown: UnknownFields, fields: Fields, target: Arc<Target>, emit: Emit<'a>) -> Self {
        Self { unknown, fields, target, emit, refused: Vec::new() }
    }

    pub(super) fn emit(&mut self, batch: RecordBatch) -> Result<(), Stop> {
        (self.emit)(batch)
    }

    /// Keeps a line aside that is no record.
    pub(super) fn refuse_line(&mut self, file: &SourceFile, line: u64, offset: u64, reason: String, raw: &[u8]) {
        self.refused.push(QuarantinedLine::line(file, line, offset, reason, raw));
    }

    /// Keeps a file aside, or what is left of it.
    pub(super) fn refuse_file(&mut self, file: &SourceFile, reason: String) {
        self.refused.push(QuarantinedLine::whole_file(file, reason));
    }

    /// What was kept aside.
    pub(super) fn into_refused(self) -> Vec<QuarantinedLine> {
        self.refused
    }
}
