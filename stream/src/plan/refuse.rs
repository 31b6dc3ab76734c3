//! What a stream cannot do, and what to do instead.

use std::any::Any;

use boathouse_base::OutputMode;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::{Join, JoinType, LogicalPlan};

use crate::error::Refusal;
use crate::inlet::InletTable;

/// Spark's class for an output mode that the plan does not allow.
const OUTPUT_MODE: &str = "STREAMING_OUTPUT_MODE.UNSUPPORTED_OPERATION";
/// Spark's class for an operator that would keep rows for ever.
const NO_WATERMARK: &str = "UNSUPPORTED_STREAMING_OPERATOR_WITHOUT_WATERMARK";
/// Spark's class for an operator that a stream does not have.
const UNSUPPORTED: &str = "UNSUPPORTED_STREAMING_OPERATION";

/// How many scans of streams, and of other tables, a plan has, subqueries included.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reads {
    pub(crate) streams: usize,
    pub(crate) tables: usize,
}

pub(crate) fn reads(plan: &LogicalPlan) -> Result<Reads> {
    let mut reads = Reads::default();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let is_stream = source_as_provider(&scan.source).is_ok_and(|table| (table.as_ref() as &dyn Any).is::<InletTable>());
            if is_stream {
                reads.streams += 1;
            } else {
                reads.tables += 1;
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(reads)
}

/// Whether a plan joins streams with each other.
pub(crate) fn joins_streams(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| match node {
        LogicalPlan::Join(join) => Ok(reads(&join.left)?.streams > 0 && reads(&join.right)?.streams > 0),
        _ => Ok(false),
    })
}

/// Whether the expressions of a node, as opposed to its inputs, ask a stream.
pub(crate) fn asks_stream(node: &LogicalPlan) -> Result<bool> {
    let mut below = 0;
    for input in node.inputs() {
        below += reads(input)?.streams;
    }
    Ok(reads(node)?.streams > below && !node.inputs().is_empty())
}

/// Why a node above a stream cannot be there; `None` when it can, or when the cut decides.
pub(crate) fn refuse(node: &LogicalPlan) -> Result<Option<Refusal>> {
    const SORT_IN_TABLE: &str = "rows arrive in epochs; sort when the target is read";
    let refusal = |operator, advice| Some(Refusal { class: UNSUPPORTED, operator, advice });
    if asks_stream(node)? {
        return Ok(refusal("subquery", "join with another table instead of asking the source twice"));
    }
    Ok(match node {
        LogicalPlan::Sort(_) => refusal("ORDER BY", SORT_IN_TABLE),
        LogicalPlan::Limit(_) => refusal("LIMIT", "use `.read_limit(…)` to bound an epoch, or limit when the target is read"),
        LogicalPlan::Window(_) => {
            refusal("window function (OVER)", "group by `window(time, '10 minutes')`, or compute it over the target")
        }
        LogicalPlan::RecursiveQuery(_) => refusal("recursive query", "compute it over the target"),
        LogicalPlan::Subquery(_) => refusal("subquery", "join with another table instead of asking the source twice"),
        LogicalPlan::Join(join) => refuse_static_join(join)?,
        LogicalPlan::Dml(_) | LogicalPlan::Ddl(_) | LogicalPlan::Copy(_) => {
            refusal("statement that writes", "give the query a sink with `.sink(…)`")
        }
        _ => None,
    })
}

/// A join with a table must not keep rows of the table: whether one has a partner is only known at the end of the stream.
fn refuse_static_join(join: &Join) -> Result<Option<Refusal>> {
    let (left, right) = (reads(&join.left)?.streams > 0, reads(&join.right)?.streams > 0);
    if left && right {
        return Ok(None);
    }
    let keeps_rows_of_the_stream = match join.join_type {
        JoinType::Inner => true,
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left,
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right,
        JoinType::Full => false,
    };
    Ok((!keeps_rows_of_the_stream).then_some(Refusal {
        class: UNSUPPORTED,
        operator: "join that keeps rows of the other table",
        advice: "a row without a match is only known at the end of the stream; keep the rows of the stream, or use an inner join",
    }))
}

/// Of a whole plan: what it remembers, and whether it ever knows an end.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Remembers {
    pub(crate) aggregates: usize,
    /// Aggregates whose groups are never over.
    pub(crate) endless: usize,
    pub(crate) joins: usize,
    pub(crate) deduplications: usize,
    /// Processors of users.
    pub(crate) processors: usize,
}

/// Whether the output mode allows what the plan remembers.
pub(crate) fn refuse_mode(mode: OutputMode, remembers: Remembers) -> Option<Refusal> {
    let refusal = |class, operator, advice| Some(Refusal { class, operator, advice });
    match mode {
        OutputMode::Append if remembers.endless > 0 => refusal(
            OUTPUT_MODE,
            "aggregate without a watermark in append mode",
            "a group that can always change is never final: follow an event time with `.watermark(…)` and group by it or by a window of \
             it, or use the update or complete mode",
        ),
        OutputMode::Complete if remembers.processors > 0 => refusal(
            OUTPUT_MODE,
            "transformWithState in complete mode",
            "what a processor gives is not the whole result: use the append or the update mode",
        ),
        OutputMode::Complete if remembers.aggregates == 0 => refusal(
            OUTPUT_MODE,
            "query without an aggregate in complete mode",
            "the whole result would be all rows ever read: use the append mode",
        ),
        OutputMode::Complete | OutputMode::Update
            if remembers.joins > 0 || remembers.aggregates + remembers.deduplications + remembers.processors > 1 =>
        {
            refusal(
                OUTPUT_MODE,
                "join of two streams, or a second operator that remembers, outside of the append mode",
                "what the first operator changes would have to be taken back by the second: use the append mode",
            )
        }
        _ => None,
    }
}

/// Of a join whose kept side could never be given up.
pub(crate) fn endless_outer_join() -> Refusal {
    Refusal {
        class: NO_WATERMARK,
        operator: "join that keeps rows without a partner, without a bound of time",
        advice: "follow the event times of both sides with watermarks, and bound their difference in the condition: \
                 `r.time BETWEEN l.time AND l.time + INTERVAL '1' HOUR`, or join on windows",
    }
}

/// Of a name without an operator.
pub(crate) fn nothing_named() -> Refusal {
    unsupported("name of an operator where none is", "call `.named(…)` on a frame that groups, joins or removes duplicates")
}

/// Of a processor by event time over rows without one.
pub(crate) fn no_event_time() -> Refusal {
    Refusal {
        class: NO_WATERMARK,
        operator: "transformWithState by event time",
        advice: "timers by event time go by the watermark: follow an event time with `.with_watermark(…)` below it, or use the processing time",
    }
}

pub(crate) fn session() -> Refusal {
    Refusal {
        class: OUTPUT_MODE,
        operator: "session window in update mode, or beside another one",
        advice: "a session that grew has another window, and the one before it would have to be taken back: use the append mode, and one \
                 session window in a GROUP BY",
    }
}

pub(crate) fn cross_join() -> Refusal {
    Refusal {
        class: UNSUPPORTED,
        operator: "join of two streams without an equality",
        advice: "every row would wait for every other: join on equal columns, and bound the rest in the condition",
    }
}

pub(crate) fn unsupported(operator: &'static str, advice: &'static str) -> Refusal {
    Refusal { class: UNSUPPORTED, operator, advice }
}
