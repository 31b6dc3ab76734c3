//! The log is put together: files move to segments, and segments of like size are merged.

use super::SEGMENT_FILES;
use super::keys;
use super::log::{LOG, Ledger, all_path, parse_name, stored, to_bytes};
use super::record::{FORMAT, Record};
use super::segment::{self, Segment, SegmentInfo};
use crate::error::AutoLoadError;
use crate::plan::blocking;

impl Ledger {
    /// Moves the files of the loose records to a segment, writes one record for all, then removes them. Whoever reads
    /// meanwhile finds the one or the others.
    pub(super) async fn compact(&mut self, at_us: i64) -> Result<(), AutoLoadError> {
        let last = self.next_record - 1;
        // What the record before the base named, nobody reads any more.
        for info in &self.retired {
            self.state.delete(&info.files_path()).await?;
            self.state.delete(&info.keys_path()).await?;
        }
        let (segments, retired, written) = self.segments_for(self.loose.len() as u64).await?;
        let record = Record {
            v: FORMAT,
            number: last,
            at_us,
            schemas: (0..).zip(&self.schemas).map(|(version, schema)| stored(version, schema)).collect::<Result<_, _>>()?,
            discovered: Vec::new(),
            etags: Vec::new(),
            commits: self.marks.commits.clone(),
            cleans: self.marks.cleans.clone(),
            segments: segments.clone(),
            skipped: self.skipped.as_ref().map(|segment| segment.info.clone()),
            retired: retired.clone(),
        };
        self.state.put(&all_path(last), to_bytes(&record)?).await?;
        let kept = segments.len() - usize::from(written.is_some());
        self.segments.truncate(kept);
        self.segments.extend(written);
        self.retired = retired;
        self.base = Some(last);
        self.loose.clear();
        self.loose_keys.clear();
        self.bound_keys();
        let keep = all_path(last);
        for object in self.state.list(LOG).await? {
            let number = parse_name(&object.path).map(|(number, _)| number);
            if number.is_some_and(|number| number <= last) && !keep.ends_with(object.path.rsplit('/').next().unwrap_or_default())
            {
                self.state.delete(&object.path).await?;
            }
        }
        Ok(())
    }

    /// The segments after a compaction, those that it makes needless, and the new one, which is durable.
    async fn segments_for(&mut self, loose: u64) -> Result<(Vec<SegmentInfo>, Vec<SegmentInfo>, Option<Segment>), AutoLoadError> {
        let mut infos: Vec<SegmentInfo> = self.segments.iter().map(|segment| segment.info.clone()).collect();
        if loose == 0 {
            return Ok((infos, Vec::new(), None));
        }
        let mut merged = loose;
        let mut from = infos.len();
        while let Some(info) = from.checked_sub(1).and_then(|at| infos.get(at)) {
            if info.files() > 2 * merged || info.files() + merged > SEGMENT_FILES {
                break;
            }
            merged += info.files();
            from -= 1;
        }
        let (mut keys, mut parts) = (Vec::new(), Vec::new());
        let (state, clock) = (self.state.clone(), self.tick());
        for segment in &mut self.segments[from..] {
            segment.used = clock;
            keys.extend_from_slice(segment.keys(&state).await?);
            parts.push(state.get(&segment.info.files_path()).await?);
        }
        keys.extend(&self.loose_keys);
        let files = self.loose.clone();
        let (encoded, keys, packed) = blocking(move || {
            keys.sort_unstable();
            keys.dedup();
            let packed = keys::encode(&keys);
            (segment::encode(&parts, &files), keys, packed)
        })
        .await?;
        let encoded = encoded.map_err(|source| AutoLoadError::Segment { state: state.url().to_owned(), source })?;
        let start = infos.get(from).map_or(self.total() - loose, |info| info.start);
        let info = SegmentInfo { start, end: start + merged, keys: keys.len() as u64, name: None };
        state.put(&info.files_path(), encoded).await?;
        state.put(&info.keys_path(), packed).await?;
        let retired = infos.split_off(from);
        infos.push(info.clone());
        Ok((infos, retired, Some(Segment::with_keys(info, keys))))
    }
}
