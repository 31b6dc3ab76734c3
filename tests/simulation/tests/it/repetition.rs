//! The same seed is the same world.

use boathouse_simulation::Simulation;

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another_one() {
    let mut fingerprints = Vec::new();
    for seed in 0..40 {
        let (one, two) = (Simulation::of_seed(seed).run(), Simulation::of_seed(seed).run());
        assert!(!one.trace.is_empty());
        if one.trace.fingerprint() != two.trace.fingerprint() {
            let (one, two) = (one.trace.to_string(), two.trace.to_string());
            let at = one.lines().zip(two.lines()).position(|(a, b)| a != b);
            let at = at.unwrap_or_else(|| one.lines().count().min(two.lines().count()));
            let show = |text: &str| text.lines().skip(at.saturating_sub(3)).take(8).collect::<Vec<_>>().join("\n");
            panic!("seed {seed}, from event {at} on:\n{}\n\nand\n{}", show(&one), show(&two));
        }
        fingerprints.push(one.trace.fingerprint());
    }
    fingerprints.sort_unstable();
    fingerprints.dedup();
    assert_eq!(fingerprints.len(), 40);
}
