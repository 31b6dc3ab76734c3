//! The way between an actor and the store: it takes time, loses answers, and delivers late.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use boathouse_storage::Operation;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::disk::{Author, Disk, Listed};
use crate::sabotage::{Memory, Sabotage};
use crate::trace::{EPOCH_US, Event};
use crate::weather::Weather;
use crate::world::{Life, World};

/// A request that came too late fails like this.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("simulated network: no answer in time")]
    TimedOut,
}

/// The store as one incarnation of an actor sees it.
#[derive(Clone)]
pub(crate) struct Network {
    world: World,
    actor: usize,
    incarnation: u32,
    weather: std::sync::Arc<Weather>,
    sabotage: Option<Sabotage>,
    memory: Memory,
}

/// What a request finds in the store when it arrives.
type Apply<T> = Box<dyn FnOnce(&mut Disk, u64, Author) -> Result<T> + Send>;

/// When a process ends, seen from a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    Before,
    OnTheWay,
    After,
}

impl Network {
    pub(crate) fn new(world: World, actor: usize, weather: std::sync::Arc<Weather>, sabotage: Option<Sabotage>) -> Self {
        let incarnation = world.lock().life(actor).incarnation;
        Self { world, actor, incarnation, weather, sabotage, memory: Memory::default() }
    }

    /// Whether the process that asks is dead.
    fn is_dead(&self) -> bool {
        let mut inside = self.world.lock();
        let life: &Life = inside.life(self.actor);
        life.crashed || life.incarnation != self.incarnation
    }

    /// The dead get no answer.
    async fn stay_dead(&self) {
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    fn latency_us(&self) -> u64 {
        let inside = self.world.lock();
        let usual = inside.chance.between(1, self.weather.usual_us.max(1));
        if inside.chance.per_mille(self.weather.slow_per_mille) { usual.saturating_mul(30) } else { usual }
    }

    /// Counts the request, and says whether the process ends at it.
    fn begin(&self, operation: Operation, path: &str) -> (u64, Author, Option<Death>) {
        let mut inside = self.world.lock();
        inside.requests += 1;
        let request = inside.requests;
        inside.note(self.actor, Event::Asked { request, operation, path: path.to_owned() });
        let life = inside.life(self.actor);
        let author = Author { actor: self.actor, op: life.op };
        let dies = life.dies_at == Some(life.requests);
        life.requests += 1;
        let death =
            dies.then(|| inside.chance.weighted(&[(1, Death::Before), (1, Death::OnTheWay), (1, Death::After)], Death::Before));
        (request, author, death)
    }

    fn die(&self) {
        let mut inside = self.world.lock();
        inside.life(self.actor).crashed = true;
        inside.note(self.actor, Event::Crashed);
    }

    async fn request<T: Send + 'static>(&self, operation: Operation, path: &str, apply: Apply<T>) -> Result<T> {
        self.stay_dead().await;
        let (request, author, death) = self.begin(operation, path);
        if death == Some(Death::Before) {
            self.die();
            self.stay_dead().await;
        }
        let latency = self.latency_us();
        let (there, back) = (latency / 2, latency - latency / 2);
        let late = {
            let inside = self.world.lock();
            operation.is_write() && inside.chance.per_mille(self.weather.late_per_mille)
        };
        let mut flight = Flight {
            world: self.world.clone(),
            actor: self.actor,
            request,
            author,
            apply: Some(apply),
            write: operation.is_write(),
        };
        if death == Some(Death::OnTheWay) {
            self.die();
            self.stay_dead().await;
        }
        self.world.sleep_us(there).await;
        self.stay_dead().await;
        let outcome = if late {
            self.world.note(self.actor, Event::Delayed { request });
            flight.deliver_late();
            Err(Error::Generic { store: "Network", source: Box::new(Lost::TimedOut) })
        } else {
            flight.arrive()
        };
        if death == Some(Death::After) {
            self.die();
        }
        self.world.sleep_us(back).await;
        self.stay_dead().await;
        self.world.note(self.actor, Event::Answered { request });
        outcome
    }

    fn listing(&self, prefix: Option<&Path>, offset: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let this = self.clone();
        let folder = prefix.map_or_else(String::new, |prefix| format!("{prefix}/"));
        let after = offset.map(ToString::to_string);
        let found = stream::once(async move {
            match this.list_at_once_or_not(&folder).await {
                Ok(found) => {
                    let mut found: Vec<Listed> =
                        found.into_iter().filter(|listed| after.as_ref().is_none_or(|after| listed.path > *after)).collect();
                    if let Some(sabotage) = this.sabotage {
                        sabotage.on_list(&this.memory, &mut found);
                    }
                    found.into_iter().map(|listed| Ok(meta(&listed))).collect()
                }
                Err(error) => vec![Err(error)],
            }
        });
        found.flat_map(stream::iter).boxed()
    }

    async fn list_at_once_or_not(&self, folder: &str) -> Result<Vec<Listed>> {
        let (torn, age_us) = {
            let inside = self.world.lock();
            (inside.chance.per_mille(self.weather.torn_list_per_mille), inside.chance.below(self.weather.stale_list_us))
        };
        let shown = folder.to_owned();
        let list = move |disk: &mut Disk, now_us: u64, _: Author| Ok(disk.list(&shown, now_us.saturating_sub(age_us)));
        let mut first: Vec<Listed> = self.request(Operation::List, folder, Box::new(list.clone())).await?;
        if !torn {
            return Ok(first);
        }
        // The second page comes later, and shows what is there by then.
        first.truncate(first.len() / 2);
        let last = first.last().map(|listed| listed.path.clone()).unwrap_or_default();
        let second: Vec<Listed> = self.request(Operation::List, folder, Box::new(list)).await?;
        first.extend(second.into_iter().filter(|listed| listed.path > last));
        Ok(first)
    }
}

fn meta(listed: &Listed) -> ObjectMeta {
    let at_us = EPOCH_US.saturating_add(i64::try_from(listed.at_us).unwrap_or(i64::MAX));
    ObjectMeta {
        location: Path::from_iter(listed.path.split('/').map(literal)),
        last_modified: DateTime::<Utc>::from_timestamp_micros(at_us).unwrap_or_default(),
        size: listed.size,
        e_tag: Some(format!("{}-{}", listed.at_us, listed.revision)),
        version: None,
    }
}

/// A part of a path as it is.
fn literal(part: &str) -> object_store::path::PathPart<'_> {
    object_store::path::PathPart::parse(part).unwrap_or_else(|_| part.into())
}

fn not_found(path: &str) -> Error {
    Error::NotFound { path: path.to_owned(), source: "there is no such object".into() }
}

fn not_simulated(what: &str) -> Error {
    Error::NotImplemented { operation: what.to_owned(), implementer: "Network".to_owned() }
}

/// A request on its way. When its sender is gone, a write may arrive all the same.
struct Flight<T: Send + 'static> {
    world: World,
    actor: usize,
    request: u64,
    author: Author,
    apply: Option<Apply<T>>,
    write: bool,
}

impl<T: Send + 'static> Flight<T> {
    fn arrive(&mut self) -> Result<T> {
        let Some(apply) = self.apply.take() else { return Err(not_simulated("a request that arrives twice")) };
        let mut inside = self.world.lock();
        let now_us = inside.elapsed_us;
        let outcome = apply(&mut inside.disk, now_us, self.author);
        inside.note(self.actor, Event::Done { request: self.request, outcome: word(&outcome) });
        outcome
    }

    fn deliver_late(&mut self) {
        let Some(apply) = self.apply.take() else { return };
        let author = self.author;
        let mut inside = self.world.lock();
        let in_us = inside.chance.between(1_000, 20_000_000);
        inside.do_late(
            in_us,
            Box::new(move |disk, now_us| {
                // Nobody waits for the answer.
                let _ = apply(disk, now_us, author);
            }),
        );
    }
}

impl<T: Send + 'static> Drop for Flight<T> {
    fn drop(&mut self) {
        if self.write && self.apply.is_some() && self.world.lock().chance.per_mille(500) {
            self.deliver_late();
        }
    }
}

fn word<T>(outcome: &Result<T>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(Error::AlreadyExists { .. }) => "exists already",
        Err(Error::NotFound { .. }) => "not found",
        Err(_) => "refused",
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Network(actor {})", self.actor)
    }
}

#[async_trait]
impl ObjectStore for Network {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let path = location.to_string();
        let (absent, operation) = match opts.mode {
            PutMode::Create => (true, Operation::PutIfAbsent),
            PutMode::Overwrite => (false, Operation::Put),
            PutMode::Update(_) => return Err(not_simulated("put if unchanged")),
        };
        let absent = absent && self.sabotage != Some(Sabotage::PlainPut);
        let bytes = Bytes::from(payload);
        let bytes = match self.sabotage {
            Some(sabotage) => sabotage.on_put(&self.memory, &path, bytes),
            None => bytes,
        };
        let name = path.clone();
        let apply = move |disk: &mut Disk, now_us: u64, author: Author| {
            if disk.put(&name, bytes, now_us, author, absent) {
                Ok(())
            } else {
                Err(Error::AlreadyExists { path: name, source: "there is an object".into() })
            }
        };
        let outcome = self.request(operation, &path, Box::new(apply)).await;
        if let Err(Error::AlreadyExists { .. }) | Err(Error::Generic { .. }) = &outcome {
            self.memory.lost_a_race(&path);
        }
        outcome?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(not_simulated("upload in parts"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let path = location.to_string();
        let operation = match (options.head, options.range.is_some()) {
            (true, _) => Operation::Head,
            (false, true) => Operation::GetRange,
            (false, false) => Operation::Get,
        };
        let name = path.clone();
        let apply = move |disk: &mut Disk, _: u64, _: Author| disk.get(&name).ok_or_else(|| not_found(&name));
        let (bytes, listed) = self.request(operation, &path, Box::new(apply)).await?;
        let bytes = match self.sabotage {
            Some(sabotage) => sabotage.on_get(&self.memory, &path, bytes),
            None => bytes,
        };
        let meta = ObjectMeta { size: bytes.len() as u64, ..meta(&listed) };
        options.check_preconditions(&meta)?;
        let whole = 0..bytes.len() as u64;
        let range: Range<u64> = match options.range {
            Some(range) => {
                range.as_range(whole.end).map_err(|source| Error::Generic { store: "Network", source: Box::new(source) })?
            }
            None => whole,
        };
        let part = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let data = bytes.slice(part(range.start)..part(range.end));
        let payload = GetResultPayload::Stream(stream::once(std::future::ready(Ok(data))).boxed());
        Ok(GetResult { payload, meta, range, attributes: object_store::Attributes::default() })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let deleted = locations.then(move |location| {
            let this = this.clone();
            async move {
                let location = location?;
                let path = location.to_string();
                let name = path.clone();
                let apply = move |disk: &mut Disk, now_us: u64, author: Author| {
                    if disk.delete(&name, now_us, author) { Ok(()) } else { Err(not_found(&name)) }
                };
                this.request(Operation::Delete, &path, Box::new(apply)).await?;
                Ok(location)
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(not_simulated("list a folder"))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (from, name) = (from.to_string(), to.to_string());
        let absent = options.mode == CopyMode::Create;
        let path = name.clone();
        let apply = move |disk: &mut Disk, now_us: u64, author: Author| {
            let (bytes, _) = disk.get(&from).ok_or_else(|| not_found(&from))?;
            if disk.put(&name, bytes, now_us, author, absent) {
                Ok(())
            } else {
                Err(Error::AlreadyExists { path: name, source: "there is an object".into() })
            }
        };
        self.request(Operation::Copy, &path, Box::new(apply)).await
    }
}
