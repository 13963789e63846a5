//! Where a column comes from: through projections, aliases, filters and joins down to a leaf.

use datafusion::common::Column;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// The leaf that `column` of `plan`'s output is an unchanged column of, with its index there.
pub(crate) fn origin<'a>(
    plan: &'a LogicalPlan,
    column: &Column,
) -> Option<(&'a LogicalPlan, usize)> {
    let index = plan.schema().maybe_index_of_column(column)?;
    origin_of_index(plan, index)
}

/// The same for the output column of this index.
pub(crate) fn origin_of_index(plan: &LogicalPlan, index: usize) -> Option<(&LogicalPlan, usize)> {
    let origins = origins_of_index(plan, index)?;
    let first = origins.first().copied()?;
    origins.iter().all(|origin| leaf_name(*origin) == leaf_name(first)).then_some(first)
}

/// The same where a UNION may make it a column of several leaves.
pub(crate) fn origins_of_index(
    plan: &LogicalPlan,
    index: usize,
) -> Option<Vec<(&LogicalPlan, usize)>> {
    match plan {
        LogicalPlan::Projection(node) => match plain(node.expr.get(index)?) {
            Expr::Column(column) => origins(&node.input, column),
            _ => None,
        },
        LogicalPlan::SubqueryAlias(node) => origins_of_index(&node.input, index),
        LogicalPlan::Filter(node) => origins_of_index(&node.input, index),
        LogicalPlan::Sort(node) => origins_of_index(&node.input, index),
        LogicalPlan::Limit(node) => origins_of_index(&node.input, index),
        LogicalPlan::Distinct(node) => origins_of_index(node.input(), index),
        LogicalPlan::Window(node) => {
            let passed = node.input.schema().fields().len();
            (index < passed).then(|| origins_of_index(&node.input, index)).flatten()
        }
        LogicalPlan::Aggregate(node) => match plain(node.group_expr.get(index)?) {
            Expr::Column(column) => origins(&node.input, column),
            _ => None,
        },
        LogicalPlan::Join(node) => {
            let (qualifier, field) = plan.schema().qualified_field(index);
            let column = Column::new(qualifier.cloned(), field.name());
            let in_left = node.left.schema().maybe_index_of_column(&column);
            match in_left {
                Some(index) => origins_of_index(&node.left, index),
                None => origins(&node.right, &column),
            }
        }
        LogicalPlan::Unnest(node) => {
            let depends_on = *node.dependency_indices.get(index)?;
            let unnested = node.list_type_columns.iter().any(|(list, _)| *list == depends_on)
                || node.struct_type_columns.contains(&depends_on);
            (!unnested).then(|| origins_of_index(&node.input, depends_on)).flatten()
        }
        LogicalPlan::Union(node) => {
            let of_inputs = node.inputs.iter().map(|input| origins_of_index(input, index));
            Some(of_inputs.collect::<Option<Vec<_>>>()?.concat())
        }
        LogicalPlan::TableScan(_) | LogicalPlan::Extension(_) => Some(vec![(plan, index)]),
        _ => None,
    }
}

fn origins<'a>(plan: &'a LogicalPlan, column: &Column) -> Option<Vec<(&'a LogicalPlan, usize)>> {
    origins_of_index(plan, plan.schema().maybe_index_of_column(column)?)
}

/// Name of a leaf's column.
pub(crate) fn leaf_name((leaf, index): (&LogicalPlan, usize)) -> &str {
    leaf.schema().field(index).name()
}

/// An expression without the aliases around it.
pub(crate) fn plain(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => plain(&alias.expr),
        other => other,
    }
}

/// Whether any node of `plan`, subqueries included, satisfies `test`.
pub(crate) fn any_node(plan: &LogicalPlan, test: impl Fn(&LogicalPlan) -> bool) -> bool {
    let mut found = false;
    let visited = plan.apply_with_subqueries(|node| {
        found |= test(node);
        Ok(if found {
            datafusion::common::tree_node::TreeNodeRecursion::Stop
        } else {
            datafusion::common::tree_node::TreeNodeRecursion::Continue
        })
    });
    debug_assert!(visited.is_ok());
    found
}

/// Whether any part of `expr` satisfies `test`.
pub(crate) fn any_part(expr: &Expr, test: impl Fn(&Expr) -> bool) -> bool {
    expr.exists(|part| Ok(test(part))).unwrap_or(true)
}
