//! Bugs that are built in on purpose are found.

use boathouse_simulation::{Sabotage, Sweep};

/// Schedules within which every bug must show.
const WITHIN: u64 = 1_500;

#[test]
fn every_sabotage_is_found_within_some_hundred_schedules() {
    for sabotage in Sabotage::ALL {
        let swept = Sweep::over(0..WITHIN).sabotage(sabotage).run();
        let found = swept.broken.first_key_value();
        let (seed, violation) = found.unwrap_or_else(|| panic!("{sabotage:?} was not found in {WITHIN} schedules"));
        println!("{sabotage:?}: seed {seed}: {violation}");
    }
}
