//! What is known of files: whether one was seen, and the details of those that were.

use std::ops::Range;

use boathouse_base::{DomainError, ErrorKind};

use super::log::Ledger;
use super::record::Landed;
use super::segment::{self, Segment};
use crate::error::AutoLoadError;
use crate::fingerprint::Fingerprint;
use crate::plan::blocking;

/// Keys of segments in memory, at most.
const KEY_BYTES: usize = 128 << 20;

impl Ledger {
    /// Those of the files that were never seen, in any order.
    ///
    /// **Cost**: a look into memory for each; keys of segments are read when their filter cannot tell and they are not in
    /// memory.
    pub(crate) async fn unknown<F>(&mut self, mut files: Vec<(Fingerprint, F)>) -> Result<Vec<(Fingerprint, F)>, AutoLoadError> {
        files.retain(|(key, _)| !self.loose_keys.contains(key));
        if files.is_empty() || (self.segments.is_empty() && self.skipped.is_none()) {
            return Ok(files);
        }
        files.sort_unstable_by_key(|(key, _)| *key);
        let clock = self.tick();
        let state = self.state.clone();
        // The newest segment is the likeliest, and whatever it knows is not asked of the others.
        for at in (0..self.segments.len() + usize::from(self.skipped.is_some())).rev() {
            if files.is_empty() {
                break;
            }
            let segment = match self.segments.get_mut(at) {
                Some(segment) => segment,
                None => match &mut self.skipped {
                    Some(skipped) => skipped,
                    None => continue,
                },
            };
            if segment.keys.is_none() {
                let bloom = segment.bloom(&state).await?;
                if !files.iter().any(|(key, _)| bloom.may_hold(*key)) {
                    continue;
                }
            }
            segment.used = clock;
            let mut rest = segment.keys(&state).await?;
            files.retain(|(key, _)| {
                rest = &rest[rest.partition_point(|known| known < key)..];
                rest.first() != Some(key)
            });
            self.bound_keys();
        }
        Ok(files)
    }

    /// Lets go of the keys that were not asked for the longest time.
    pub(super) fn bound_keys(&mut self) {
        let mut segments: Vec<&mut Segment> = self.segments.iter_mut().chain(&mut self.skipped).collect();
        let mut bytes: usize = segments.iter().map(|segment| segment.key_bytes()).sum();
        if bytes <= KEY_BYTES {
            return;
        }
        segments.sort_by_key(|segment| segment.used);
        for segment in segments {
            if bytes <= KEY_BYTES {
                break;
            }
            bytes -= segment.key_bytes();
            segment.keys = None;
        }
    }

    /// The details of some files, in the order of discovery.
    ///
    /// **Cost**: nothing for loose files; one GET for each segment that the range touches, but the last one used.
    pub(crate) async fn files(&mut self, range: Range<u64>) -> Result<Vec<Landed>, AutoLoadError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.try_files(range.clone()).await {
                // Another process merged the segment, and compacted once more since.
                Err(AutoLoadError::Storage(error)) if error.kind() == ErrorKind::NotFound && attempts < 5 => {
                    self.reload().await?
                }
                result => return result,
            }
        }
    }

    async fn try_files(&mut self, range: Range<u64>) -> Result<Vec<Landed>, AutoLoadError> {
        let range = range.start..range.end.min(self.total());
        let mut files = Vec::new();
        for at in 0..self.segments.len() {
            let info = self.segments[at].info.clone();
            let (start, end) = (range.start.max(info.start), range.end.min(info.end));
            if start >= end {
                continue;
            }
            let path = info.files_path();
            let bytes = match &self.opened {
                Some((opened, bytes)) if *opened == info => bytes.clone(),
                _ => {
                    let bytes = self.state.get(&path).await?;
                    self.opened = Some((info.clone(), bytes.clone()));
                    bytes
                }
            };
            let found = blocking(move || segment::decode(&bytes, start - info.start, end - start)).await?;
            let found = found.map_err(|error| self.corrupt(path.clone(), &error.to_string()))?;
            if found.len() as u64 != end - start {
                return Err(self.corrupt(path, &format!("it holds {} files of {start} to {end}", found.len())));
            }
            files.extend(found);
        }
        let first = self.total() - self.loose.len() as u64;
        let place = |file: u64| usize::try_from(file.saturating_sub(first)).unwrap_or(usize::MAX).min(self.loose.len());
        if range.end > first && range.start < range.end {
            files.extend_from_slice(&self.loose[place(range.start)..place(range.end)]);
        }
        Ok(files)
    }

    pub(super) fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}
