//! One actor runs at a time, and time stands still while it does.
//!
//! Actors are polled by hand, in the order of their numbers. When nobody can go on, the work that the engine gave to other
//! tasks and threads is waited for (a fence: the runtime has one such thread, and it works in the order of asking), then the
//! world goes on to its next moment. So the order of everything follows from the seed, whatever the threads do.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use crate::trace::Event;
use crate::world::{Life, Step, World};

/// What an actor does.
pub(crate) type Play = Pin<Box<dyn Future<Output = ()>>>;

/// Whether the runtime has a thread beside the one of the actors. Most schedules need none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Threads(Arc<AtomicBool>);

impl Threads {
    /// A thread is asked for, by whoever has work for it: says what it is called.
    pub(crate) fn start(&self) -> String {
        self.0.store(true, Ordering::SeqCst);
        "simulated-engine".to_owned()
    }

    pub(crate) fn are_used(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Running {
    play: Option<Play>,
    flag: Arc<Flag>,
}

/// Runs actors to their end. A crashed one is dropped where it is, and begins anew.
///
/// **Errors**: how many actors wait for something that never comes.
pub(crate) async fn run(world: &World, actors: usize, start: impl Fn(usize) -> Play) -> Result<(), usize> {
    let mut running: Vec<Running> =
        (0..actors).map(|actor| Running { play: Some(start(actor)), flag: Arc::new(Flag(AtomicBool::new(true))) }).collect();
    loop {
        let mut moved = false;
        for (actor, one) in running.iter_mut().enumerate() {
            while one.play.is_some() && one.flag.0.swap(false, Ordering::SeqCst) {
                moved = true;
                poll(one);
                bury(world, actor, one, &start);
            }
        }
        if moved {
            continue;
        }
        if running.iter().all(|one| one.play.is_none()) {
            return Ok(());
        }
        if waits_for_threads(world, &running) {
            fence(world).await;
            // A task beside its actor may have been what ended the process.
            running.iter_mut().enumerate().for_each(|(actor, one)| bury(world, actor, one, &start));
        }
        // A thread that ended just before it would have been waited for has woken its actor already.
        if running.iter().any(|one| one.play.is_some() && one.flag.0.load(Ordering::SeqCst)) {
            continue;
        }
        if world.step() == Step::Nothing {
            return Err(running.iter().filter(|one| one.play.is_some()).count());
        }
    }
}

fn poll(one: &mut Running) {
    let Some(play) = &mut one.play else { return };
    let waker = Waker::from(Arc::clone(&one.flag));
    // The runtime would otherwise make us yield for the sake of fairness, at moments that no seed decides.
    let mut play = tokio::task::unconstrained(play);
    if Pin::new(&mut play).poll(&mut Context::from_waker(&waker)).is_ready() {
        one.play = None;
    }
}

/// Drops an actor whose process has ended, and starts it again.
fn bury(world: &World, actor: usize, one: &mut Running, start: &impl Fn(usize) -> Play) {
    if !world.lock().life(actor).crashed {
        return;
    }
    one.play = None;
    {
        let mut inside = world.lock();
        let life = inside.life(actor);
        *life = Life { incarnation: life.incarnation + 1, ..Life::default() };
        inside.note(actor, Event::Restarted);
    }
    one.play = Some(start(actor));
    one.flag.0.store(true, Ordering::SeqCst);
}

/// Whether anybody but the world's own sleepers holds a waker of an actor, or tasks run beside the actors.
fn waits_for_threads(world: &World, running: &[Running]) -> bool {
    if tokio::runtime::Handle::current().metrics().num_alive_tasks() > 0 {
        return true;
    }
    if !world.uses_threads() {
        return false;
    }
    running.iter().filter(|one| one.play.is_some()).any(|one| {
        // One is ours.
        let held = Arc::strong_count(&one.flag) - 1;
        held > world.sleepers_of(&Waker::from(Arc::clone(&one.flag)))
    })
}

/// How often the threads and the tasks beside the actors are waited for: one may start the other.
const ROUNDS: usize = 2;

async fn fence(world: &World) {
    for _ in 0..ROUNDS {
        if !world.uses_threads() {
            break;
        }
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        // A failure means that the runtime ends: then nothing is left to wait for.
        let _ = tokio::task::spawn_blocking(|| ()).await;
    }
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}
