//! The statistics of many files, as text, to be picked in any order.

use std::collections::HashMap;
use std::sync::Arc;

use boathouse_delta_protocol::files::{FileIndex, OpenStats, Segment};
use boathouse_storage::Storage;
use futures::TryStreamExt;

use super::super::files::{LazyFiles, StatsRun};
use crate::error::{DeltaError, Result};
use crate::processor::{Amount, compute};

/// Runs that are unpacked at once.
const AT_ONCE: usize = 2;

/// The statistics of some files of an index.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// For each segment, for each row.
    spots: Vec<Vec<Spot>>,
    sources: Vec<Source>,
}

/// Where the text of a file stands.
#[derive(Debug, Clone, Copy)]
struct Spot {
    source: u32,
    /// Its row there.
    row: u32,
}

const NOWHERE: Spot = Spot { source: u32::MAX, row: 0 };

#[derive(Debug)]
enum Source {
    /// As it was read.
    Whole(Arc<Segment>, OpenStats),
    /// What was wanted of it: where each text ends.
    Picked(Vec<u8>, Vec<usize>),
}

impl Texts {
    /// The texts of the files that `wanted` holds by segment and row; of all when there is no `wanted`.
    ///
    /// **Cost**: a pass over all statistics; those that are wanted are in memory.
    pub(super) async fn collect(
        storage: &Storage,
        index: &FileIndex,
        files: &LazyFiles,
        wanted: Option<Arc<Vec<Vec<bool>>>>,
    ) -> Result<Self> {
        let mut numbers: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut texts = Self::default();
        for (number, segment) in index.segments().enumerate() {
            numbers.entry(address(segment)).or_default().push(number);
            texts.spots.push(vec![NOWHERE; segment.len()]);
        }
        let runs = files.stats().await?.map_ok(|runs| futures::stream::iter(runs.into_iter().map(Ok))).try_flatten();
        let read = runs.map_ok(|run| {
            // A segment of which no file is left is passed over.
            let segments = numbers.get(&address(&run.of)).cloned().unwrap_or_default();
            let wanted = wanted.clone();
            async move {
                let amount = Amount::of_actions(run.of.len());
                let read = compute(amount, move || read(&run, segments, wanted.as_deref().map(Vec::as_slice)));
                read.await.map_err(|source| DeltaError::Task { url: storage.url().to_owned(), source })
            }
        });
        let mut read = std::pin::pin!(read.try_buffered(AT_ONCE));
        while let Some((source, places)) = read.try_next().await? {
            // A source has the texts of many files: there are far fewer than numbers of 32 bits.
            let Ok(number) = u32::try_from(texts.sources.len()) else { continue };
            if places.is_empty() {
                continue;
            }
            texts.sources.push(source);
            for Place { segment, row, from } in places {
                texts.spots[segment][row] = Spot { source: number, row: from };
            }
        }
        Ok(texts)
    }

    /// Appends the statistics of a file to a text, as bytes of UTF-8. `None`, and nothing appended, without any.
    pub(super) fn append(&self, segment: usize, row: usize, to: &mut Vec<u8>) -> Option<()> {
        let spot = self.spots.get(segment)?.get(row)?;
        let row = spot.row as usize;
        match self.sources.get(spot.source as usize)? {
            Source::Whole(of, open) => open.append(of, row, to),
            Source::Picked(text, ends) => {
                let start = if row == 0 { 0 } else { ends[row - 1] };
                to.extend_from_slice(&text[start..ends[row]]);
                Some(())
            }
        }
    }
}

/// What tells a segment from others, as long as the index lives.
fn address(segment: &Arc<Segment>) -> usize {
    Arc::as_ptr(segment).addr()
}

/// A file of the index, and the row of its text in a source.
struct Place {
    segment: usize,
    row: usize,
    from: u32,
}

fn read(run: &StatsRun, segments: Vec<usize>, wanted: Option<&[Vec<bool>]>) -> (Source, Vec<Place>) {
    // Segments are short.
    let short = |row: usize| u32::try_from(row).unwrap_or(u32::MAX);
    let rows = || run.rows.clone().map(|from| (run.first + (from - run.rows.start), from));
    let places = |row: usize, from: u32| segments.iter().map(move |segment| Place { segment: *segment, row, from });
    let Some(wanted) = wanted else {
        let all = rows().flat_map(|(row, from)| places(row, short(from))).collect();
        return (Source::Whole(Arc::clone(&run.full), run.full.open()), all);
    };
    let (open, mut text, mut ends, mut found) = (run.full.open(), Vec::new(), Vec::new(), Vec::new());
    for (row, from) in rows() {
        let is_wanted = segments.iter().any(|segment| wanted[*segment][row]);
        if is_wanted && open.append(&run.full, from, &mut text).is_some() {
            found.extend(places(row, short(ends.len())));
            ends.push(text.len());
        }
    }
    (Source::Picked(text, ends), found)
}
