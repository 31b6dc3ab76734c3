//! In which order datasets are computed: a pure function of who reads whom.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::PipelineError;

/// A dataset and the names that it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) reads: Vec<String>,
}

/// Indexes of `nodes` so that each comes after what it reads. Among those that are free, the one declared first
/// comes first: the order does not depend on names or hashes.
///
/// **Cost**: O((n + edges) log n).
///
/// **Source**: Kahn, "Topological sorting of large networks", 1962.
pub(crate) fn order(pipeline: &str, nodes: &[Node], external: &BTreeSet<String>) -> Result<Vec<usize>, PipelineError> {
    let mut index: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, node) in nodes.iter().enumerate() {
        if index.insert(&node.name, at).is_some() {
            return Err(PipelineError::DuplicateDataset { pipeline: pipeline.to_owned(), dataset: node.name.clone() });
        }
    }
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    let mut waits_for: Vec<usize> = vec![0; nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        let reads: BTreeSet<&str> = node.reads.iter().map(String::as_str).collect();
        for read in reads {
            if let Some(&upstream) = index.get(read) {
                readers[upstream].push(at);
                waits_for[at] += 1;
            } else if !external.contains(read) {
                let known = nodes.iter().map(|n| n.name.as_str()).chain(external.iter().map(String::as_str));
                return Err(PipelineError::UnknownDataset {
                    pipeline: pipeline.to_owned(),
                    dataset: node.name.clone(),
                    missing: read.to_owned(),
                    nearest: nearest(read, known),
                });
            }
        }
    }
    let mut free: BTreeSet<usize> = (0..nodes.len()).filter(|at| waits_for[*at] == 0).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(at) = free.pop_first() {
        order.push(at);
        for &reader in &readers[at] {
            waits_for[reader] -= 1;
            if waits_for[reader] == 0 {
                free.insert(reader);
            }
        }
    }
    if order.len() == nodes.len() {
        Ok(order)
    } else {
        Err(PipelineError::Cycle { pipeline: pipeline.to_owned(), cycle: find_cycle(nodes, &index, &waits_for) })
    }
}

/// One circle among the nodes that still wait. Each of them reads another one that waits, so walking from read to
/// read must come back to a place where it was.
fn find_cycle(nodes: &[Node], index: &BTreeMap<&str, usize>, waits_for: &[usize]) -> Vec<String> {
    let mut path: Vec<usize> = Vec::new();
    let mut at = waits_for.iter().position(|n| *n > 0).unwrap_or(0);
    loop {
        if let Some(start) = path.iter().position(|seen| *seen == at) {
            let mut names: Vec<String> = path[start..].iter().map(|i| nodes[*i].name.clone()).collect();
            names.push(nodes[at].name.clone());
            return names;
        }
        path.push(at);
        let next = nodes[at].reads.iter().filter_map(|read| index.get(read.as_str())).find(|i| waits_for[**i] > 0);
        match next {
            Some(next) => at = *next,
            None => return path.iter().map(|i| nodes[*i].name.clone()).collect(),
        }
    }
}

/// All datasets that `of` reads, directly or not.
pub(crate) fn upstream(nodes: &[Node], of: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut todo = vec![of.to_owned()];
    while let Some(name) = todo.pop() {
        for read in nodes.iter().filter(|node| node.name == name).flat_map(|node| &node.reads) {
            if found.insert(read.clone()) {
                todo.push(read.clone());
            }
        }
    }
    found
}

/// The known name that needs the fewest changes to become `name`, if they are few.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let limit = (name.chars().count() / 3).max(1);
    known.map(|k| (distance(name, k), k)).filter(|(d, _)| *d <= limit).min().map(|(_, k)| k.to_owned())
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node(name: &str, reads: &[&str]) -> Node {
        Node { name: name.into(), reads: reads.iter().map(|r| (*r).to_owned()).collect() }
    }

    fn names(nodes: &[Node], external: &[&str]) -> Result<Vec<String>, PipelineError> {
        let external = external.iter().map(|e| (*e).to_owned()).collect();
        order("p", nodes, &external).map(|order| order.into_iter().map(|i| nodes[i].name.clone()).collect())
    }

    #[test]
    fn order_puts_upstream_first_and_keeps_the_declared_order_otherwise() {
        let nodes = [node("gold", &["silver"]), node("silver", &["bronze"]), node("audit", &["bronze"])];
        assert_eq!(names(&nodes, &["bronze"]).unwrap(), ["silver", "gold", "audit"]);
    }

    #[test]
    fn order_names_the_circle() {
        let nodes = [node("x", &["a"]), node("a", &["b"]), node("b", &["c"]), node("c", &["a"])];
        let error = names(&nodes, &[]).unwrap_err();
        assert_eq!(error.to_string(), "order the pipeline `p`: its datasets read each other in a circle: a -> b -> c -> a");
    }

    #[test]
    fn order_names_a_dataset_that_reads_itself() {
        let error = names(&[node("a", &["a"])], &[]).unwrap_err();
        assert!(matches!(error, PipelineError::Cycle { cycle, .. } if cycle == ["a", "a"]));
    }

    #[test]
    fn order_suggests_the_name_that_was_meant() {
        let error = names(&[node("gold", &["sliver"]), node("silver", &[])], &[]).unwrap_err();
        assert!(error.to_string().ends_with("did you mean `silver`?"), "{error}");
    }

    #[test]
    fn order_refuses_two_datasets_of_one_name() {
        let error = names(&[node("a", &[]), node("a", &[])], &[]).unwrap_err();
        assert!(matches!(error, PipelineError::DuplicateDataset { dataset, .. } if dataset == "a"));
    }

    proptest! {
        /// Random graphs against the definition: either every dataset follows what it reads, or the circle is one.
        #[test]
        fn order_is_topological_or_shows_a_circle(edges in proptest::collection::vec((0_usize..8, 0_usize..8), 0..16)) {
            let nodes: Vec<Node> = (0..8)
                .map(|i| Node {
                    name: format!("n{i}"),
                    reads: edges.iter().filter(|(from, _)| *from == i).map(|(_, to)| format!("n{to}")).collect(),
                })
                .collect();
            match order("p", &nodes, &BTreeSet::new()) {
                Ok(order) => {
                    let place = |name: &str| order.iter().position(|i| nodes[*i].name == name).unwrap();
                    prop_assert_eq!(order.len(), 8);
                    for node in &nodes {
                        for read in &node.reads {
                            prop_assert!(place(read) < place(&node.name));
                        }
                    }
                }
                Err(PipelineError::Cycle { cycle, .. }) => {
                    prop_assert_eq!(cycle.first(), cycle.last());
                    for pair in cycle.windows(2) {
                        let from = nodes.iter().find(|n| n.name == pair[0]).unwrap();
                        prop_assert!(from.reads.contains(&pair[1]));
                    }
                }
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
    }
}
