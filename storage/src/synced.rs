//! The local disk, forced to keep what it was given.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use tokio::task::spawn_blocking;

/// A local file system whose writes have reached the disk when they return.
///
/// The content goes to the disk before the file has its name, and the name before the write returns: after a power cut an
/// object is whole or absent, and what was acknowledged is there. Deletions are not forced.
///
/// **Cost**: two flushes of the disk for each object, one for each folder that is made, and one look at the file.
#[derive(Debug)]
pub(crate) struct SyncedLocalFileSystem {
    inner: LocalFileSystem,
}

impl SyncedLocalFileSystem {
    pub(crate) fn new() -> Self {
        Self { inner: LocalFileSystem::new() }
    }

    /// What the store says of an object that was just written.
    async fn put_result(&self, location: &Path) -> Result<PutResult> {
        let meta = self.inner.head(location).await?;
        Ok(PutResult { e_tag: meta.e_tag, version: meta.version })
    }
}

impl fmt::Display for SyncedLocalFileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Synced{}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for SyncedLocalFileSystem {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if !matches!(opts.mode, PutMode::Overwrite | PutMode::Create) || !opts.attributes.is_empty() {
            // Neither is possible on a disk: it says so.
            return self.inner.put_opts(location, payload, opts).await;
        }
        let path = self.inner.path_to_filesystem(location)?;
        let create = opts.mode == PutMode::Create;
        off_the_runtime(move || {
            let mut staged = Staged::beside(&path)?;
            let written = payload.iter().try_for_each(|bytes| staged.file.write_all(bytes));
            written.map_err(|error| staged.failed(error))?;
            staged.name(create)
        })
        .await?;
        self.put_result(location).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        if !opts.attributes.is_empty() {
            return self.inner.put_multipart_opts(location, opts).await;
        }
        let path = self.inner.path_to_filesystem(location)?;
        let staged = off_the_runtime(move || Staged::beside(&path)).await?;
        Ok(Box::new(SyncedUpload { staged: Arc::new(Mutex::new(Some(staged))), end: 0 }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<bytes::Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (source, path) = (self.inner.path_to_filesystem(from)?, self.inner.path_to_filesystem(to)?);
        // It may have been written by somebody who did not force it.
        off_the_runtime(move || File::open(&source).and_then(|file| file.sync_all()).map_err(|error| failed(&source, error)))
            .await?;
        self.inner.copy_opts(from, to, options).await?;
        off_the_runtime(move || sync_folder_of(&path).map_err(|error| failed(&path, error))).await
    }
}

/// An object in parts.
struct SyncedUpload {
    /// Nothing once it has its name or was given up.
    staged: Arc<Mutex<Option<Staged>>>,
    end: u64,
}

impl fmt::Debug for SyncedUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SyncedUpload({} bytes)", self.end)
    }
}

impl SyncedUpload {
    /// Does something with the file; `what` fails when there is none any more.
    fn with<T: Send + 'static>(&self, what: impl FnOnce(&mut Option<Staged>) -> Result<T> + Send + 'static) -> Work<T> {
        let staged = Arc::clone(&self.staged);
        Work(spawn_blocking(move || what(&mut staged.lock().unwrap_or_else(PoisonError::into_inner))))
    }
}

#[async_trait]
impl MultipartUpload for SyncedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let start = self.end;
        self.end += data.content_length() as u64;
        let work = self.with(move |staged| {
            let staged = staged.as_mut().ok_or_else(ended)?;
            let written = staged
                .file
                .seek(SeekFrom::Start(start))
                .and_then(|_| data.iter().try_for_each(|bytes| staged.file.write_all(bytes)));
            written.map_err(|error| staged.failed(error))
        });
        Box::pin(work.done())
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.with(|staged| staged.take().ok_or_else(ended)?.name(false)).done().await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        self.with(|staged| {
            staged.take();
            Ok(())
        })
        .done()
        .await
    }
}

/// Work on a thread that may wait for the disk.
struct Work<T>(tokio::task::JoinHandle<Result<T>>);

impl<T> Work<T> {
    async fn done(self) -> Result<T> {
        self.0.await.map_err(Error::from)?
    }
}

async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    Work(spawn_blocking(work)).done().await
}

/// A file that does not have its name yet. It is deleted unless it gets it.
struct Staged {
    file: File,
    path: PathBuf,
    /// The name that it is to have.
    target: PathBuf,
    is_named: bool,
}

impl Staged {
    /// A new file in the folder of `target`, which is made if need be.
    ///
    /// Names that end in `#` and a number are what [`LocalFileSystem`] calls files under way: listings leave them out.
    fn beside(target: &FilePath) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        loop {
            let mut path = target.as_os_str().to_owned();
            path.push(format!("#{}", NEXT.fetch_add(1, Ordering::Relaxed)));
            let path = PathBuf::from(path);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Self { file, path, target: target.to_owned(), is_named: false }),
                // Another process is at it, or left it.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (),
                Err(error) if error.kind() == io::ErrorKind::NotFound => match target.parent() {
                    Some(folder) => make_folder(folder).map_err(|error| failed(target, error))?,
                    None => return Err(failed(target, error)),
                },
                Err(error) => return Err(failed(target, error)),
            }
        }
    }

    /// Gives it its name, of which there may be none before if it is to be created.
    fn name(mut self, create: bool) -> Result<()> {
        self.file.sync_all().map_err(|error| self.failed(error))?;
        if create {
            fs::hard_link(&self.path, &self.target).map_err(|error| self.failed(error))?;
        } else {
            fs::rename(&self.path, &self.target).map_err(|error| self.failed(error))?;
            self.is_named = true;
        }
        sync_folder_of(&self.target).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> Error {
        failed(&self.target, error)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_named {
            // Nobody sees it: it has no name of an object.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes a folder and those above it, and forces their names to the disk.
fn make_folder(folder: &FilePath) -> io::Result<()> {
    match fs::create_dir(folder) {
        Ok(()) => sync_folder_of(folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match folder.parent() {
            Some(above) => make_folder(above).and_then(|()| make_folder(folder)),
            None => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// Forces the names in the folder of a file to the disk. Only Unix can open a folder for that.
fn sync_folder_of(path: &FilePath) -> io::Result<()> {
    match path.parent() {
        Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

fn failed(path: &FilePath, error: io::Error) -> Error {
    let (path, kind) = (path.display().to_string(), error.kind());
    let source = Box::new(error);
    match kind {
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { path, source },
        io::ErrorKind::NotFound => Error::NotFound { path, source },
        io::ErrorKind::PermissionDenied => Error::PermissionDenied { path, source },
        _ => Error::Generic { store: "SyncedLocalFileSystem", source },
    }
}

fn ended() -> Error {
    Error::Generic { store: "SyncedLocalFileSystem", source: "the upload has ended before".into() }
}
