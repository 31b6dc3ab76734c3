//! A random forest: decision trees by linfa, with a probability in each leaf.
//!
//! linfa's tree answers with a class. Late flights, fraud and churn are rare, so a tree grown on all rows
//! would answer "no" nearly everywhere. Each tree is therefore grown on a sample with as many positive as
//! negative rows (Chen, Liaw, Breiman, "Using random forest to learn imbalanced data", 2004), and then all
//! training rows run down the tree: a leaf's probability is the share of positive rows that reach it. The
//! balanced sample shapes the tree, the true rows say the probability, and the forest gives the mean.
//!
//! ```text
//!   balanced sample ──▶ linfa DecisionTree ──▶ flat nodes ─┐
//!                                                          ├─▶ leaf = (positives + m·base rate) / (rows + m)
//!   all training rows ─────────────────────────────────────┘
//! ```

use std::num::NonZeroUsize;

use arrow_array::RecordBatch;
use boathouse_base::{Env, ManualClock};
use linfa::prelude::{DatasetBase, Fit};
use linfa_trees::{DecisionTree, TreeNode};
use ndarray::{Array1, Array2, ArrayView1};
use serde::{Deserialize, Serialize};

use super::FeatureEncoder;
use super::linfa_model::{Classifier, LinfaModel};
use super::training::TrainingRows;
use crate::error::{Result, ServingError};

const KIND: &str = "random forest";

/// Rows of the base rate that every leaf starts with, so that a small leaf does not claim certainty.
const PRIOR_ROWS: f64 = 2.0;

/// How [`LinfaModel::train_random_forest`] learns. The same settings, seed included, on the same rows give
/// the same forest, whatever the number of threads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ForestSettings {
    /// Trees.
    pub trees: usize,
    /// Splits above a leaf at most.
    pub max_depth: usize,
    /// Rows that each tree is grown on, half of them positive.
    pub rows_per_tree: usize,
    /// Share of the features that each tree sees, above 0 and up to 1.
    pub feature_share: f64,
    /// Sampled rows in a leaf at least.
    pub min_leaf_rows: usize,
    /// Where the samples come from.
    pub seed: u64,
    /// Threads that grow trees; `None` for as many as there are cores.
    pub threads: Option<NonZeroUsize>,
}

impl Default for ForestSettings {
    fn default() -> Self {
        Self { trees: 20, max_depth: 10, rows_per_tree: 20_000, feature_share: 0.4, min_leaf_rows: 20, seed: 0, threads: None }
    }
}

impl ForestSettings {
    fn check(&self) -> Result<()> {
        let wrong = |setting, expected, found: String| Err(ServingError::TrainSetting { kind: KIND, setting, expected, found });
        if self.trees == 0 {
            return wrong("trees", "1 or more", "0".into());
        }
        if self.max_depth == 0 || self.max_depth > 64 {
            return wrong("max_depth", "1 to 64", self.max_depth.to_string());
        }
        if self.rows_per_tree < 2 {
            return wrong("rows_per_tree", "2 or more", self.rows_per_tree.to_string());
        }
        if !(self.feature_share > 0.0 && self.feature_share <= 1.0) {
            return wrong("feature_share", "above 0 and up to 1", self.feature_share.to_string());
        }
        if self.min_leaf_rows == 0 {
            return wrong("min_leaf_rows", "1 or more", "0".into());
        }
        Ok(())
    }
}

impl LinfaModel {
    /// Trains a random forest for a label of true and false (or 1 and 0).
    ///
    /// **Cost**: holds rows × features of `f64`; each tree costs about depth × its rows × its features.
    /// Blocks the calling thread and grows trees on `settings.threads` others.
    ///
    /// **Errors**: all of kind `Invalid`: a label that is neither, a single class, a setting out of range.
    ///
    /// **Source**: Breiman, "Random forests", 2001; linfa-trees.
    pub fn train_random_forest(
        encoder: &FeatureEncoder,
        batches: &[RecordBatch],
        label: &str,
        settings: &ForestSettings,
    ) -> Result<Self> {
        settings.check()?;
        let rows = TrainingRows::new(KIND, encoder, batches, label)?;
        let threads = settings.threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        let threads = threads.min(settings.trees);
        // Tree i is grown by thread i mod threads, from its own seed.
        let grown = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|first| {
                    let rows = &rows;
                    scope.spawn(move || {
                        (first..settings.trees)
                            .step_by(threads)
                            .map(|i| Ok((i, grow(rows, settings, i)?)))
                            .collect::<Result<Vec<_>>>()
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join()).collect::<Vec<_>>()
        });
        let mut trees = Vec::with_capacity(settings.trees);
        for worker in grown {
            trees.extend(
                worker.map_err(|_| ServingError::Stopped { message: "a tree could not be grown".into(), panicked: true })??,
            );
        }
        trees.sort_by_key(|(i, _)| *i);
        Self::new(encoder.clone(), Classifier::RandomForest(Forest { trees: trees.into_iter().map(|(_, tree)| tree).collect() }))
    }
}

/// The mean of the probabilities of its trees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Forest {
    trees: Vec<Tree>,
}

/// Nodes in one list, the root first; a child always stands behind its parent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Tree {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Node {
    Split { feature: usize, at_most: f64, left: usize, right: usize },
    Leaf { probability: f64 },
}

impl Forest {
    pub(super) fn probabilities(&self, features: &Array2<f64>) -> Vec<f64> {
        #[allow(clippy::cast_precision_loss, reason = "a count of trees")]
        let count = self.trees.len().max(1) as f64;
        features.rows().into_iter().map(|row| self.trees.iter().map(|tree| tree.probability(&row)).sum::<f64>() / count).collect()
    }

    /// Whether every tree can be walked from its root to a leaf with `width` features.
    pub(super) fn check(&self, width: usize) -> Result<()> {
        let sound = !self.trees.is_empty()
            && self.trees.iter().all(|tree| {
                !tree.nodes.is_empty()
                    && tree.nodes.iter().enumerate().all(|(at, node)| match node {
                        Node::Split { feature, left, right, .. } => {
                            *feature < width && [*left, *right].iter().all(|child| *child > at && *child < tree.nodes.len())
                        }
                        Node::Leaf { probability } => probability.is_finite(),
                    })
            });
        if sound {
            Ok(())
        } else {
            Err(ServingError::ModelContradiction {
                problem: "a tree of the forest points outside of its nodes or features".into(),
            })
        }
    }
}

impl Tree {
    fn leaf(&self, row: &ArrayView1<'_, f64>) -> usize {
        let mut at = 0;
        while let Some(Node::Split { feature, at_most, left, right }) = self.nodes.get(at) {
            at = if row.get(*feature).is_some_and(|v| v <= at_most) { *left } else { *right };
        }
        at
    }

    fn probability(&self, row: &ArrayView1<'_, f64>) -> f64 {
        match self.nodes.get(self.leaf(row)) {
            Some(Node::Leaf { probability }) => *probability,
            _ => 0.0,
        }
    }
}

fn grow(rows: &TrainingRows, settings: &ForestSettings, tree: usize) -> Result<Tree> {
    let chance =
        Env::new(ManualClock::default(), settings.seed ^ (tree as u64).wrapping_add(1).wrapping_mul(0xd6e8_feb8_6659_fd93));
    let (all_rows, width) = rows.features.dim();
    let features = sample(&chance, (0..width).collect(), share(width, settings.feature_share));
    let of_class = |class: bool| (0..all_rows).filter(|i| rows.labels[*i] == class).collect::<Vec<_>>();
    let half = (settings.rows_per_tree / 2).max(1);
    let mut picked = sample(&chance, of_class(true), half);
    picked.extend(sample(&chance, of_class(false), half));
    // In the order of the table, so that the copy reads memory forwards.
    picked.sort_unstable();

    let sampled = Array2::from_shape_fn((picked.len(), features.len()), |(r, f)| rows.features[[picked[r], features[f]]]);
    let labels: Vec<bool> = picked.iter().map(|i| rows.labels[*i]).collect();
    // A leaf with as many of each class would be called by the order of a hash map. A weight that is a hair
    // below 1 decides such ties the same way every time.
    let weights = labels.iter().map(|l| if *l { 1.0_f32 } else { 1.0 - 1.0 / 4096.0 }).collect::<Array1<f32>>();
    let data = DatasetBase::new(sampled, Array1::from(labels)).with_weights(weights);
    #[allow(clippy::cast_precision_loss, reason = "a count of rows in a leaf")]
    let min_leaf = settings.min_leaf_rows as f32;
    let fitted = DecisionTree::params()
        .max_depth(Some(settings.max_depth))
        .min_weight_leaf(min_leaf)
        .min_weight_split(2.0 * min_leaf)
        .min_impurity_decrease(1e-7)
        .fit(&data)
        .map_err(|e| ServingError::Train { kind: KIND, rows: picked.len(), features: features.len(), source: Box::new(e) })?;

    let mut tree = Tree { nodes: Vec::new() };
    flatten(fitted.root_node(), &features, &mut tree.nodes);
    let mut reached = vec![(0_u32, 0_u32); tree.nodes.len()];
    for (row, label) in rows.features.rows().into_iter().zip(&rows.labels) {
        let (positives, all) = &mut reached[tree.leaf(&row)];
        *positives += u32::from(*label);
        *all += 1;
    }
    #[allow(clippy::cast_precision_loss, reason = "counts of rows")]
    let base_rate = rows.positives as f64 / all_rows as f64;
    for (node, (positives, all)) in tree.nodes.iter_mut().zip(reached) {
        if let Node::Leaf { probability } = node {
            *probability = (f64::from(positives) + PRIOR_ROWS * base_rate) / (f64::from(all) + PRIOR_ROWS);
        }
    }
    Ok(tree)
}

/// Appends `node` and all below it; gives its place.
fn flatten(node: &TreeNode<f64, bool>, features: &[usize], nodes: &mut Vec<Node>) -> usize {
    let at = nodes.len();
    nodes.push(Node::Leaf { probability: 0.0 });
    if let ([Some(left), Some(right)], false) = (node.children().as_slice(), node.is_leaf()) {
        let (feature, at_most, _) = node.split();
        let left = flatten(left, features, nodes);
        let right = flatten(right, features, nodes);
        nodes[at] = Node::Split { feature: features[feature], at_most, left, right };
    }
    at
}

/// `count` of `from` without repetition, in order; all of them if there are fewer.
fn sample(chance: &Env, mut from: Vec<usize>, count: usize) -> Vec<usize> {
    let count = count.min(from.len());
    for i in 0..count {
        let left = u64::try_from(from.len() - i).unwrap_or(u64::MAX);
        let j = i + usize::try_from(chance.random_below(left)).unwrap_or(0);
        from.swap(i, j);
    }
    from.truncate(count);
    from.sort_unstable();
    from
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a small count"
)]
fn share(width: usize, share: f64) -> usize {
    ((width as f64 * share).ceil() as usize).clamp(1, width)
}
