//! Projections in physical plans: columns that are not needed are dropped early, expressions stay above
//! the filters below them.
//!
//! The engine's rule moves a projection below a filter when that leaves fewer columns, with what it
//! computes: `SELECT CAST(v AS BIGINT) AS n, v FROM s WHERE v ~ '^[0-9]+$'` casts every row. It also
//! computes parts of a join's condition for all rows of a side.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::{
    ProjectionExec, all_columns, remove_unnecessary_projections, try_embed_projection,
};

/// Moves projections of columns alone, and has filters and joins drop columns.
#[derive(Debug)]
pub(crate) struct Projections;

impl PhysicalOptimizerRule for Projections {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_down(moved).data()
    }

    fn name(&self) -> &str {
        "projections"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn moved(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let Some(projection) = plan.downcast_ref::<ProjectionExec>() else {
        return Ok(Transformed::no(plan));
    };
    let input = projection.input();
    // Projections one upon another, and those that a join takes, are computed for the same rows.
    if all_columns(projection.expr()) || input.is::<ProjectionExec>() || input.is::<HashJoinExec>()
    {
        return remove_unnecessary_projections(plan);
    }
    match input.downcast_ref::<FilterExec>() {
        Some(filter) if input.schema().metadata() == projection.schema().metadata() => {
            let embedded = try_embed_projection(projection, filter)?;
            Ok(embedded.map_or_else(|| Transformed::no(plan), Transformed::yes))
        }
        _ => Ok(Transformed::no(plan)),
    }
}
