//! Running a plan that was made once, batch after batch.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{JoinType, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, collect_partitioned};

use crate::engine::{now, physical};
use crate::leaf::Slot;
use crate::typed::check_batch;

/// A physical plan with slots for leaves. One run at a time.
#[derive(Debug)]
pub struct Runner {
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    /// A plan whose joins keep the hash tables of their static sides from run to run.
    keeps_tables: bool,
    /// Some node hands rows from task to task, which needs a runtime.
    needs_runtime: bool,
    /// Runs since the plan was reset.
    runs: u32,
}

/// Runs after which also a plan that keeps tables is reset: every node notes measurements of each
/// run, and would keep those of all runs.
const RUNS_MAX: u32 = 1000;

impl Runner {
    pub(crate) fn new(state: &SessionState, plan: &LogicalPlan) -> Result<Runner> {
        let plan = physical(state, plan)?;
        let keeps_tables = keeps_tables(&plan)?;
        let mut needs_runtime = plan.output_partitioning().partition_count() > 1;
        plan.apply(|node| {
            needs_runtime |= node.is::<CoalescePartitionsExec>()
                || node.is::<RepartitionExec>()
                || node.is::<SortPreservingMergeExec>();
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(Runner { plan, context: state.task_ctx(), keeps_tables, needs_runtime, runs: 0 })
    }

    /// Runs the plan over what `feed` gives for each slot (`None`: no rows).
    pub fn run(
        &mut self,
        mut feed: impl FnMut(&Slot) -> Result<Option<RecordBatch>>,
    ) -> Result<Vec<RecordBatch>> {
        self.runs += 1;
        if !self.keeps_tables || self.runs > RUNS_MAX {
            self.plan = reset_plan_states(Arc::clone(&self.plan))?;
            self.runs = 1;
        }
        self.plan.apply(|node| {
            if let Some(slot) = node.downcast_ref::<Slot>() {
                let batch = feed(slot)?;
                if let Some(batch) = &batch {
                    check_batch(batch, &slot.wanted())?;
                }
                slot.fill(batch);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        let collected = collect_partitioned(Arc::clone(&self.plan), Arc::clone(&self.context));
        let batches = if self.needs_runtime { in_runtime(collected)? } else { now(collected)?? };
        self.plan.apply(|node| {
            if let Some(slot) = node.downcast_ref::<Slot>() {
                slot.fill(None);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        let batches = batches.into_iter().flatten().filter(|batch| batch.num_rows() > 0);
        let planned = self.plan.schema();
        batches.map(|batch| check_batch(&batch, &planned).map(|()| batch)).collect()
    }

    /// How many measurements the nodes hold.
    #[cfg(test)]
    pub(crate) fn measurements(&self) -> usize {
        let mut count = 0;
        let counted = self.plan.apply(|node| {
            count += node.metrics().map_or(0, |metrics| metrics.iter().count());
            Ok(TreeNodeRecursion::Continue)
        });
        debug_assert!(counted.is_ok());
        count
    }

    /// The plan as text.
    pub fn display(&self) -> String {
        datafusion::physical_plan::displayable(self.plan.as_ref()).indent(false).to_string()
    }
}

/// Runs a future on a runtime of its own, on a thread of its own, because the caller may be inside
/// a runtime whose only thread it is.
fn in_runtime<T: Send>(future: impl Future<Output = Result<T>> + Send) -> Result<T> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(future)
    };
    std::thread::scope(|scope| scope.spawn(run).join())
        .unwrap_or_else(|_| datafusion::common::exec_err!("the plan's thread panicked"))
}

/// Whether a plan can be run again without being reset: its only nodes with state are hash joins
/// whose build side holds no slot and that need no mark of what was matched before.
fn keeps_tables(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    let mut keeps = true;
    plan.apply(|node| {
        if let Some(join) = node.downcast_ref::<HashJoinExec>() {
            let probes_only = matches!(
                join.join_type(),
                JoinType::Inner
                    | JoinType::Right
                    | JoinType::RightSemi
                    | JoinType::RightAnti
                    | JoinType::RightMark
            );
            let collected = *join.partition_mode() == PartitionMode::CollectLeft;
            keeps &= probes_only && collected && !has_slot(join.left())?;
        } else if !is_stateless(node.name()) {
            keeps = false;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(keeps)
}

fn is_stateless(name: &str) -> bool {
    matches!(
        name,
        "Slot"
            | "ProjectionExec"
            | "FilterExec"
            | "DataSourceExec"
            | "CoalesceBatchesExec"
            | "UnionExec"
            | "UnnestExec"
            | "CooperativeExec"
            | "CoalescePartitionsExec"
            | "PlaceholderRowExec"
            | "EmptyExec"
    )
}

fn has_slot(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        found |= node.is::<Slot>();
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}
