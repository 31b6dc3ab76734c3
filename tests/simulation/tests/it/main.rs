//! Many simulated worlds, and worlds with bugs that must be found.

mod repetition;
mod sabotages;
mod schedules;
