//! Names for runs that got none.

use boathouse_base::Env;

const MANNERS: [&str; 16] = [
    "calm", "brisk", "clear", "deep", "fair", "gentle", "keen", "light", "mild", "quiet", "rapid", "silver", "steady", "swift",
    "warm", "windy",
];
const BOATS: [&str; 16] = [
    "barge", "canoe", "clipper", "cutter", "dinghy", "ferry", "galley", "gig", "kayak", "ketch", "launch", "lugger", "punt",
    "scull", "sloop", "yawl",
];

/// Such as `steady-ketch-417`. Two runs may get the same one: the id tells them apart.
pub(crate) fn invent(env: &Env) -> String {
    let pick = |words: &[&'static str; 16]| {
        let i = usize::try_from(env.random_below(16)).unwrap_or(0);
        words.get(i).copied().unwrap_or_default()
    };
    format!("{}-{}-{}", pick(&MANNERS), pick(&BOATS), env.random_below(1000))
}
