//! The files that are new and wait for their batch.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use boathouse_base::Env;
use futures::{StreamExt, TryStreamExt};

use super::{Discovery, Effort, FileFacts, FoundFile, Listing, Selection, Sighting};
use crate::error::AutoLoadError;
use crate::fingerprint::{Fingerprint, Fingerprints};
use crate::landing::Landing;
use crate::ledger::{Landed, Ledger};

/// No more files wait in memory; the others are found again when these are done.
const MOST_WAITING: usize = 1 << 20;

/// The facts of so many files are asked for at once.
const RESOLVE_FILES: usize = 4096;

/// Looks for files, asks the ledger which are new, and keeps those in the order of their paths.
///
/// What waits here is not durable: it is found again after a restart.
#[derive(Debug)]
pub(crate) struct Finder {
    listing: Listing,
    /// Where new files are heard of; the listing alone when there is none.
    events: Option<Arc<dyn Discovery>>,
    selection: Selection,
    fingerprints: Fingerprints,
    backfill_us: Option<i64>,
    env: Env,
    waiting: VecDeque<Waiting>,
    /// Whether a scan has not been settled yet.
    unsettled: bool,
    /// Whether more files were found than may wait.
    overflowed: bool,
}

/// A new file.
#[derive(Debug, Clone)]
struct Waiting {
    fingerprint: Fingerprint,
    path: Box<str>,
    facts: Option<FileFacts>,
}

impl Finder {
    pub(crate) fn new(
        listing: Listing,
        events: Option<Arc<dyn Discovery>>,
        selection: Selection,
        fingerprints: Fingerprints,
        backfill_us: Option<i64>,
        env: Env,
    ) -> Self {
        let waiting = VecDeque::new();
        Self { listing, events, selection, fingerprints, backfill_us, env, waiting, unsettled: false, overflowed: false }
    }

    /// Files that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether there are more files than those that were taken.
    pub(crate) fn has_more(&self) -> bool {
        self.overflowed || !self.waiting.is_empty()
    }

    /// Forgets what waits: somebody else may have taken it.
    pub(crate) fn reset(&mut self) {
        self.waiting.clear();
        self.listing.unsettled();
        self.unsettled = false;
    }

    /// Looks for new files.
    pub(crate) async fn scan(&mut self, ledger: &mut Ledger, landing: &Landing) -> Result<(), AutoLoadError> {
        let result = self.try_scan(ledger, landing).await;
        if result.is_err() {
            self.reset();
        }
        result
    }

    async fn try_scan(&mut self, ledger: &mut Ledger, landing: &Landing) -> Result<(), AutoLoadError> {
        let now_us = self.env.now_us();
        let overdue = match (self.listing.thorough_us(), self.backfill_us) {
            (None, _) => true,
            (Some(at_us), Some(interval_us)) => now_us.saturating_sub(at_us) >= interval_us,
            (Some(_), None) => false,
        };
        let mut found = Vec::new();
        self.unsettled = true;
        let mut list = self.events.is_none() || overdue;
        if let Some(events) = &self.events {
            let events = Arc::clone(events);
            let failed = |source| AutoLoadError::Discovery { what: events.describe(), source };
            let mut sightings = events.scan(Effort::Quick);
            while let Some(sighting) = sightings.next().await {
                match sighting.map_err(failed)? {
                    Sighting::Files(files) => self.admit(files, ledger, landing, &mut found).await?,
                    Sighting::Lost => list = true,
                }
            }
        }
        if list {
            let effort = if overdue { Effort::Thorough } else { Effort::Quick };
            let mut pages = self.listing.files(effort);
            let mut taken = Vec::new();
            while let Some(page) = pages.try_next().await? {
                // The ledger is asked about many at once: what it keeps on disk is then read in order.
                taken.extend(page);
                if taken.len() >= ASK_FILES {
                    self.admit(std::mem::take(&mut taken), ledger, landing, &mut found).await?;
                }
            }
            self.admit(taken, ledger, landing, &mut found).await?;
        }
        self.overflowed = false;
        found.extend(self.waiting.drain(..));
        let found = self.bounded(found);
        self.overflowed |= found.len() == MOST_WAITING;
        self.waiting = found.into();
        Ok(())
    }

    /// Keeps what is meant and not known.
    async fn admit(
        &self,
        mut files: Vec<FoundFile>,
        ledger: &mut Ledger,
        landing: &Landing,
        found: &mut Vec<Waiting>,
    ) -> Result<(), AutoLoadError> {
        let now_us = self.env.now_us();
        files.retain(|file| self.selection.meets(&file.path, |path| landing.url_of(path), landing.url()));
        if self.fingerprints.need_facts() {
            let mut known = Vec::with_capacity(files.len());
            let paths: Vec<&FoundFile> = files.iter().filter(|file| file.facts.is_none()).collect();
            let facts = landing.facts(paths.iter().map(|file| file.path.clone()).collect()).await?;
            known.extend(
                paths
                    .iter()
                    .zip(facts)
                    .filter_map(|(file, facts)| Some(FoundFile { path: file.path.clone(), facts: Some(facts?) })),
            );
            files.retain(|file| file.facts.is_some());
            files.extend(known);
        }
        files.retain(|file| file.facts.as_ref().is_none_or(|facts| self.selection.meets_facts(facts, now_us)));
        let asked = files.into_iter().map(|file| {
            let fingerprint = self.fingerprints.of(&file.path, file.facts.as_ref());
            (fingerprint, file)
        });
        let new = ledger.unknown(asked.collect()).await?;
        found.extend(new.into_iter().map(|(fingerprint, file)| Waiting {
            fingerprint,
            path: file.path.into(),
            facts: file.facts,
        }));
        if found.len() >= 2 * MOST_WAITING {
            *found = self.bounded(std::mem::take(found));
        }
        Ok(())
    }

    /// Sorted by path, each once, and not more than may wait.
    fn bounded(&self, mut found: Vec<Waiting>) -> Vec<Waiting> {
        found.sort_unstable_by(|a, b| {
            let time = |file: &Waiting| file.facts.as_ref().map(|facts| facts.modified_us);
            a.path.cmp(&b.path).then_with(|| time(a).cmp(&time(b))).then(a.fingerprint.cmp(&b.fingerprint))
        });
        if self.fingerprints.need_facts() {
            // One version may have come with the time of its event and with that of the store.
            let mut seen = HashSet::new();
            found.retain(|file| seen.insert(file.fingerprint));
        } else {
            found.dedup_by(|a, b| a.fingerprint == b.fingerprint);
        }
        found.truncate(MOST_WAITING);
        found
    }

    /// The first `most` files that wait, with their facts. Files that are gone, or not meant after all, wait no longer.
    pub(crate) async fn front(&mut self, most: usize, landing: &Landing) -> Result<Vec<Landed>, AutoLoadError> {
        let mut at = 0;
        while at < most.min(self.waiting.len()) {
            let end = (at + RESOLVE_FILES).min(most).min(self.waiting.len());
            let ask: Vec<usize> = (at..end).filter(|&index| self.waiting[index].facts.is_none()).collect();
            if ask.is_empty() {
                at = end;
                continue;
            }
            let now_us = self.env.now_us();
            let facts = landing.facts(ask.iter().map(|&index| self.waiting[index].path.to_string()).collect()).await?;
            let mut gone = HashSet::new();
            for (index, facts) in ask.into_iter().zip(facts) {
                match facts {
                    Some(facts) if self.selection.meets_facts(&facts, now_us) => self.waiting[index].facts = Some(facts),
                    _ => {
                        gone.insert(self.waiting[index].fingerprint);
                    }
                }
            }
            self.waiting.retain(|file| !gone.contains(&file.fingerprint));
        }
        let landed = |file: &Waiting| {
            file.facts.as_ref().map(|facts| Landed {
                fingerprint: file.fingerprint,
                path: Arc::from(&*file.path),
                size_bytes: facts.size_bytes,
                modified_us: facts.modified_us,
                etag: facts.etag.as_deref().map(Arc::from),
                discovered_us: 0,
            })
        };
        Ok(self.waiting.iter().take(most).filter_map(landed).collect())
    }

    /// The first `files` are durable in the ledger.
    pub(crate) async fn took(&mut self, files: usize) {
        self.waiting.drain(..files.min(self.waiting.len()));
        self.settle_if_done().await;
    }

    /// Tells the discoveries that everything they gave is durable, when that is so.
    ///
    /// A failure costs nothing but looking again.
    pub(crate) async fn settle_if_done(&mut self) {
        if !self.unsettled || !self.waiting.is_empty() {
            return;
        }
        if self.overflowed {
            self.reset();
            return;
        }
        if let Err(error) = self.listing.settle().await {
            tracing::warn!(%error, "autoload.settle: the listing is not remembered");
        }
        if let Some(events) = &self.events
            && let Err(error) = events.settled().await
        {
            tracing::warn!(%error, events = events.describe(), "autoload.settle: events come again");
            return;
        }
        self.unsettled = false;
    }

    /// Every file that is meant, for those who do not want it.
    pub(crate) async fn everything(&mut self, landing: &Landing) -> Result<Vec<Fingerprint>, AutoLoadError> {
        let now_us = self.env.now_us();
        self.unsettled = true;
        // Whatever was told of by now is among what is listed next.
        if let Some(events) = &self.events {
            let events = Arc::clone(events);
            let mut sightings = events.scan(Effort::Quick);
            while let Some(sighting) = sightings.next().await {
                sighting.map_err(|source| AutoLoadError::Discovery { what: events.describe(), source })?;
            }
        }
        let mut pages = self.listing.files(Effort::Thorough);
        let mut all = Vec::new();
        while let Some(page) = pages.try_next().await? {
            let meant = page.iter().filter(|file| {
                self.selection.meets(&file.path, |path| landing.url_of(path), landing.url())
                    && file.facts.as_ref().is_none_or(|facts| self.selection.meets_facts(facts, now_us))
            });
            all.extend(meant.map(|file| self.fingerprints.of(&file.path, file.facts.as_ref())));
        }
        Ok(all)
    }
}

/// The ledger is asked about so many files at once.
const ASK_FILES: usize = 256 << 10;
