//! Rules of planning that a session of ours adds to those of DataFusion.
//!
//! | rule | what it changes |
//! | --- | --- |
//! | [`SemiJoinDown`](semi_joins::SemiJoinDown) | an `IN` of few rows is decided before the joins that only widen its rows |
//! | [`LateColumns`](late_columns::LateColumns) | where a join decides which rows of a scan count, other columns of those rows alone are decoded |
//!
//! Neither changes an answer, and neither leaves a node of ours in a plan: what they make is encoded as before.

mod keys;
mod late_columns;
mod prune_only;
mod semi_joins;

use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::optimizer::OptimizerRule;
use datafusion::physical_optimizer::PhysicalOptimizerRule;

use late_columns::LateColumns;
use semi_joins::SemiJoinDown;

/// A join hands so many keys to the other side as a list. Longer ones take longer to make than they save.
const KEYS_IN_LIST: usize = 500;

/// Adds the rules of planning that a [`DeltaSession`](crate::DeltaSession) has, for a session that is built elsewhere.
///
/// **Cost**: a walk over each plan, some microseconds.
///
/// # Example
/// ```
/// use boathouse_delta_core::planned;
/// use datafusion::execution::SessionStateBuilder;
/// use datafusion::prelude::SessionContext;
///
/// let state = planned(SessionStateBuilder::new().with_default_features()).build();
/// let context = SessionContext::new_with_state(state);
/// # assert!(context.state().optimizers().iter().any(|rule| rule.name() == "semi_join_down"));
/// ```
pub fn planned(mut state: SessionStateBuilder) -> SessionStateBuilder {
    let rules = state.optimizer().get_or_insert_default();
    // Where it stands, keys of joins have been found, and filters go down after it.
    let place = rules.rules.iter().position(|rule| rule.name() == "push_down_filter").unwrap_or(rules.rules.len());
    rules.rules.insert(place, Arc::new(SemiJoinDown) as Arc<dyn OptimizerRule + Send + Sync>);
    let options = state.config().get_or_insert_default().options_mut();
    // A list can be counted, and a hash table cannot.
    let most = &mut options.optimizer.hash_join_inlist_pushdown_max_distinct_values;
    *most = (*most).max(KEYS_IN_LIST);
    let rules = state.physical_optimizers().get_or_insert_default();
    rules.rules.push(Arc::new(LateColumns) as Arc<dyn PhysicalOptimizerRule + Send + Sync>);
    state
}
