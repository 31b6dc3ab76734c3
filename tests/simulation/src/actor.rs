//! A process that works through its script, and begins anew when it crashed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use boathouse_base::Env;
use boathouse_delta_table::DeltaTable;
use boathouse_storage::Storage;
use boathouse_storage::testing::FaultStore;
use object_store::path::Path;

use crate::engine::{Hand, open, told};
use crate::executor::Play;
use crate::intent::Intent;
use crate::ledger::{Ledger, Outcome};
use crate::log_reader::TABLE;
use crate::network::Network;
use crate::sabotage::Sabotage;
use crate::schedule::Schedule;
use crate::trace::Event;
use crate::weather::Weather;
use crate::world::World;

/// How often one incarnation may repeat an operation that its forerunner died in.
const MOST_DEATHS: u32 = 3;

/// What all actors of a schedule share.
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) schedule: Arc<Schedule>,
    pub(crate) weather: Arc<Weather>,
    pub(crate) ledger: Ledger,
    pub(crate) sabotage: Option<Sabotage>,
    /// The next step of each actor: on its disk, so to speak.
    pub(crate) next_steps: Arc<Vec<AtomicUsize>>,
}

impl Stage {
    /// One life of an actor.
    pub(crate) fn start(&self, actor: usize) -> Play {
        let stage = self.clone();
        Box::pin(async move { stage.live(actor).await })
    }

    async fn live(&self, actor: usize) {
        let (Some(script), Some(next)) = (self.schedule.actors.get(actor), self.next_steps.get(actor)) else { return };
        let seed = self.draw_life(actor);
        let env = Env::new(self.world.clock(script.skew_us), seed);
        let network = Network::new(self.world.clone(), actor, Arc::clone(&self.weather), self.sabotage);
        let faults = FaultStore::new(Arc::new(network)).with_env(env.clone());
        faults.inject_at_random(seed, self.weather.faults.clone());
        let storage = Storage::from_object_store(Arc::new(faults), Path::from(TABLE), "simulated:///t");
        let table = open(storage, env);
        while let Some(step) = script.steps.get(next.load(Ordering::SeqCst)) {
            self.world.sleep_us(step.pause_us).await;
            let once = matches!(step.intent, Intent::AppendOnce { .. });
            let incarnation = self.world.lock().life(actor).incarnation;
            // Whoever numbers its writes tries them again after a crash; all others do not know whether they may.
            if !once || incarnation >= MOST_DEATHS {
                next.fetch_add(1, Ordering::SeqCst);
            }
            self.perform(actor, &table, &step.intent).await;
            if once && incarnation < MOST_DEATHS {
                next.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// Decides when this life ends, and returns its seed.
    fn draw_life(&self, actor: usize) -> u64 {
        let mut inside = self.world.lock();
        let (seed, dies) = (inside.chance.seed(), inside.chance.per_mille(self.weather.crash_per_mille));
        let at = inside.chance.below(40);
        let life = inside.life(actor);
        life.dies_at = (dies && life.incarnation < MOST_DEATHS).then_some(at);
        seed
    }

    async fn perform(&self, actor: usize, table: &DeltaTable, intent: &Intent) {
        let op = self.ledger.begin(actor, intent.clone());
        {
            let mut inside = self.world.lock();
            inside.life(actor).op = Some(op);
            inside.note(actor, Event::Began { op, what: intent.to_string() });
        }
        let hand = Hand { world: &self.world, table, ledger: &self.ledger, op, sabotage: self.sabotage };
        let outcome = told(hand.perform(intent).await);
        let mut inside = self.world.lock();
        if let Outcome::Committed { version } = &outcome {
            inside.acknowledged = inside.acknowledged.max(Some(*version));
        }
        inside.life(actor).op = None;
        inside.note(actor, Event::Ended { op, how: format!("{outcome:?}") });
        self.ledger.change(op, |attempt| attempt.outcome = outcome);
    }
}
