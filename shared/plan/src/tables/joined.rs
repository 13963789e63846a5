//! Which columns of tables without declared columns a query compares with a text.
//!
//! A code such as `1234` looks like a number in its file, but where a query compares it with a text
//! column it is a text: as numbers, `01234` and `1234` would be the same. A literal does not make a
//! column text: in SQL a quoted literal may be a number.
//!
//! Found in the plan before the engine makes both sides one type.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::expr::{InList, InSubquery};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};
use tidemill_pipeline::Pipeline;

use super::StaticTable;
use crate::lineage::{origin, origin_of_index, plain};
use crate::statement;

/// Tables and their columns that some query compares with a text, and that are none.
pub(super) fn with_text(
    context: &SessionContext,
    pipeline: &Pipeline,
    tables: &BTreeMap<String, StaticTable>,
) -> Vec<(String, String)> {
    let may_change = |table: &StaticTable| {
        let fields = table.schema.fields();
        table.inferred.is_some() && fields.iter().any(|field| looks_like_text(field.data_type()))
    };
    if !tables.values().any(may_change) {
        return Vec::new();
    }
    let streams = Arc::new(pipeline.streams.clone());
    let mut found = Vec::new();
    for query in pipeline.queries.values() {
        let state = statement::session(context, &streams, query);
        // What cannot be planned is refused when it is planned.
        let Ok(plan) = statement::logical_plan(&state, &streams, tables, query) else { continue };
        let visited = plan.apply_with_subqueries(|node| {
            let mut compared = Compared { node, tables, found: &mut found };
            compared.node()?;
            Ok(TreeNodeRecursion::Continue)
        });
        debug_assert!(visited.is_ok(), "{visited:?}");
    }
    found
}

/// Whether values of this type may be what a text is meant to be compared with as a text.
fn looks_like_text(data_type: &DataType) -> bool {
    data_type.is_numeric() || *data_type == DataType::Boolean
}

/// Looks at the comparisons of one node.
struct Compared<'a> {
    node: &'a LogicalPlan,
    tables: &'a BTreeMap<String, StaticTable>,
    found: &'a mut Vec<(String, String)>,
}

impl Compared<'_> {
    fn node(&mut self) -> datafusion::common::Result<()> {
        let mut schema = DFSchema::empty();
        for input in self.node.inputs() {
            schema.merge(input.schema());
        }
        if let LogicalPlan::Join(join) = self.node {
            for (left, right) in &join.on {
                self.pair(left, right, &schema);
            }
        }
        self.node.apply_expressions(|expr| {
            expr.apply(|part| {
                match part {
                    Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(*op) => {
                        self.pair(left, right, &schema);
                    }
                    Expr::InList(InList { expr, list, .. }) => {
                        list.iter().for_each(|item| self.pair(expr, item, &schema));
                    }
                    Expr::InSubquery(InSubquery { expr, subquery, .. }) => {
                        let plan = subquery.subquery.as_ref();
                        let field = plan.schema().field(0);
                        if self.is_text(expr, &schema) {
                            self.note(origin_of_index(plan, 0));
                        }
                        if is_text(field.data_type()) {
                            self.note_expr(expr);
                        }
                    }
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        Ok(())
    }

    fn pair(&mut self, left: &Expr, right: &Expr, schema: &DFSchema) {
        if self.is_text(right, schema) {
            self.note_expr(left);
        }
        if self.is_text(left, schema) {
            self.note_expr(right);
        }
    }

    fn is_text(&self, expr: &Expr, schema: &DFSchema) -> bool {
        let expr = plain(expr);
        let has_column = expr
            .exists(|part| Ok(matches!(part, Expr::Column(_) | Expr::OuterReferenceColumn(..))));
        has_column.unwrap_or(false)
            && expr.get_type(schema).is_ok_and(|data_type| is_text(&data_type))
    }

    fn note_expr(&mut self, expr: &Expr) {
        if let Expr::Column(column) = plain(expr) {
            self.note_column(column);
        }
    }

    fn note_column(&mut self, column: &Column) {
        let node = self.node;
        for input in node.inputs() {
            if input.schema().has_column(column) {
                self.note(origin(input, column));
            }
        }
    }

    fn note(&mut self, origin: Option<(&LogicalPlan, usize)>) {
        let Some((LogicalPlan::TableScan(scan), index)) = origin else { return };
        let name = scan.table_name.table();
        let Some(table) = self.tables.get(name).filter(|table| table.inferred.is_some()) else {
            return;
        };
        let field = scan.projected_schema.field(index);
        if table.schema.field_with_name(field.name()).is_ok() && looks_like_text(field.data_type())
        {
            self.found.push((name.to_string(), field.name().clone()));
        }
    }
}

fn compares(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}
