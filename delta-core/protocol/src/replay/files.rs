//! The files of a table: active ones, and tombstones of removed ones.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, DefaultHasher, Hasher};
use std::sync::Arc;

use crate::action::{Add, FileKey, Remove};
use crate::deletion_vector::DeletionVectorDescriptor;

/// All files that a log speaks of, each once.
///
/// A file keeps its place when it is removed or changed, so that the order does not depend on anything but the log.
/// A clone shares the actions.
///
/// **Cost**: besides the action itself, about 50 bytes for each file; a clone copies those.
#[derive(Clone, Default)]
pub struct FileSet {
    slots: Vec<Slot>,
    /// From the hash of a path (or the next free number) to its slot. Nothing is ever taken out, so that
    /// the next number can always be looked at next.
    index: HashMap<u64, u32, BuildHasherDefault<Unhashed>>,
    active: usize,
    active_bytes: u64,
}

#[derive(Clone)]
struct Slot {
    file: File,
    /// The number of the [`FileSet`]'s step that wrote it: finds two additions in one commit.
    step: u64,
}

#[derive(Clone)]
enum File {
    Active(Arc<Add>),
    Removed(Arc<Remove>),
}

impl File {
    fn path(&self) -> &str {
        match self {
            Self::Active(add) => &add.path,
            Self::Removed(remove) => &remove.path,
        }
    }

    fn vector(&self) -> Option<&DeletionVectorDescriptor> {
        match self {
            Self::Active(add) => add.deletion_vector.as_deref(),
            Self::Removed(remove) => remove.deletion_vector.as_deref(),
        }
    }
}

/// The keys are hashes already.
#[derive(Default, Clone)]
struct Unhashed(u64);

impl Hasher for Unhashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// Two vectors of one data file are the same when their unique ids are: no text is built to find out.
fn same_vector(a: Option<&DeletionVectorDescriptor>, b: Option<&DeletionVectorDescriptor>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            a.storage_type == b.storage_type && a.offset == b.offset && a.path_or_inline_dv == b.path_or_inline_dv
        }
        _ => false,
    }
}

fn hash(path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(path.as_bytes());
    hasher.finish()
}

impl FileSet {
    /// How many files are active.
    pub fn len(&self) -> usize {
        self.active
    }

    /// Whether no file is active.
    pub fn is_empty(&self) -> bool {
        self.active == 0
    }

    /// Bytes of the active files.
    pub fn size_bytes(&self) -> u64 {
        self.active_bytes
    }

    /// The active files, in the order of their first appearance.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Add>> {
        self.slots.iter().filter_map(|slot| match &slot.file {
            File::Active(add) => Some(add),
            File::Removed(_) => None,
        })
    }

    /// The active file with this path, as it stands in the log.
    pub fn get(&self, path: &str) -> Option<&Arc<Add>> {
        self.slots_of(path).find_map(|at| match &self.slots[at].file {
            File::Active(add) => Some(add),
            File::Removed(_) => None,
        })
    }

    /// Whether exactly this logical file is active.
    pub fn contains(&self, key: &FileKey) -> bool {
        self.get(&key.path).is_some_and(|add| add.key() == *key)
    }

    /// Removed files, in the order of their first appearance: those that must stay in the log until they expire.
    pub fn tombstones(&self) -> impl Iterator<Item = &Arc<Remove>> {
        self.slots.iter().filter_map(|slot| match &slot.file {
            File::Removed(remove) => Some(remove),
            File::Active(_) => None,
        })
    }

    /// Adds a file or replaces what is known of it. False when, in this step, it was added before, or when
    /// it is active with another deletion vector: then nothing has changed.
    pub(super) fn add(&mut self, add: Arc<Add>, step: u64) -> bool {
        let mut found = None;
        for at in self.slots_of(&add.path) {
            let slot = &self.slots[at];
            let active = matches!(slot.file, File::Active(_));
            if same_vector(slot.file.vector(), add.deletion_vector.as_deref()) {
                if active && slot.step == step {
                    return false;
                }
                found = Some(at);
            } else if active {
                return false;
            }
        }
        let size = add.size;
        match found {
            Some(at) => {
                self.forget(at);
                self.slots[at] = Slot { file: File::Active(add), step };
            }
            None => self.push(Slot { file: File::Active(add), step }),
        }
        self.active += 1;
        self.active_bytes = self.active_bytes.saturating_add(size);
        true
    }

    pub(super) fn remove(&mut self, remove: Remove, step: u64) {
        let found =
            self.slots_of(&remove.path).find(|at| same_vector(self.slots[*at].file.vector(), remove.deletion_vector.as_deref()));
        let slot = Slot { file: File::Removed(Arc::new(remove)), step };
        match found {
            Some(at) => {
                self.forget(at);
                self.slots[at] = slot;
            }
            None => self.push(slot),
        }
    }

    /// Takes a slot out of the sums.
    fn forget(&mut self, at: usize) {
        if let File::Active(add) = &self.slots[at].file {
            self.active -= 1;
            self.active_bytes = self.active_bytes.saturating_sub(add.size);
        }
    }

    fn push(&mut self, slot: Slot) {
        let mut key = hash(slot.file.path());
        while self.index.contains_key(&key) {
            key = key.wrapping_add(1);
        }
        #[expect(clippy::expect_used, reason = "four billion files are beyond the memory of any machine that gets here")]
        let at = u32::try_from(self.slots.len()).expect("fewer than four billion files");
        self.index.insert(key, at);
        self.slots.push(slot);
    }

    /// Slots with this path; several when the file had several deletion vectors.
    fn slots_of<'a>(&'a self, path: &'a str) -> impl Iterator<Item = usize> + 'a {
        let mut key = hash(path);
        std::iter::from_fn(move || {
            let at = *self.index.get(&key)?;
            key = key.wrapping_add(1);
            Some(at as usize)
        })
        .filter(move |at| self.slots[*at].file.path() == path)
    }
}

impl fmt::Debug for FileSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSet")
            .field("active", &self.active)
            .field("active_bytes", &self.active_bytes)
            .field("tombstones", &(self.slots.len() - self.active))
            .finish()
    }
}
