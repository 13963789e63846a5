//! Nothing is ignored: what the parser reads and the engine's planner drops without a word is refused,
//! with what to write instead. So is what the planner refuses in words of its own inside.
//!
//! # Invariants
//! 1. Every field of the statement's tree is named, none is skipped by `..`: what a new version of the
//!    parser reads in addition does not compile until it is decided here.
//!
//! Not here: expressions (`exprs`), what is read otherwise than it is meant (`misread`), what cannot
//! run as a stream (`split`).

mod exprs;
mod relations;
mod types;

use datafusion::sql::sqlparser::ast::{
    ConnectByKind, Cte, Distinct, Expr, ExprWithAlias, ExprWithAliasAndOrderBy, Fetch, GroupByExpr,
    GroupByWithModifier, LimitClause, NamedWindowDefinition, NamedWindowExpr, Offset, OrderBy,
    OrderByExpr, OrderByKind, OrderByOptions, PipeOperator, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, Spanned, Statement, Top, TopQuantity, Values,
    WildcardAdditionalOptions, With,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use crate::error::{Refusal, span_range};

type Checked = Result<(), Refusal>;

/// Refuses a statement that has parts which nothing would read. `is_scalar` knows the functions of one
/// row: those of many rows have clauses of their own.
pub(crate) fn statement(
    statement: &Statement,
    sql: &str,
    is_scalar: &dyn Fn(&str) -> bool,
) -> Checked {
    match statement {
        Statement::Query(query) => Walk { sql, is_scalar }.query(query),
        // No query: refused before.
        _ => Ok(()),
    }
}

/// The same for a condition.
pub(crate) fn condition(condition: &Expr, sql: &str, is_scalar: &dyn Fn(&str) -> bool) -> Checked {
    Walk { sql, is_scalar }.expr(condition)
}

struct Walk<'a> {
    sql: &'a str,
    is_scalar: &'a dyn Fn(&str) -> bool,
}

impl Walk<'_> {
    /// Refuses `what`, at `span` if that is somewhere.
    fn unused(&self, what: impl Into<String>, help: impl Into<String>, span: Span) -> Checked {
        let message = format!("{} cannot be used here", what.into());
        let refusal = Refusal::new("plan::sql::unused", message).help(help);
        Err(refusal.at(span_range(self.sql, span)))
    }

    fn unless(&self, used: bool, what: &str, help: &str, span: Span) -> Checked {
        if used { Ok(()) } else { self.unused(what, help, span) }
    }

    fn query(&self, query: &Query) -> Checked {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        // The place of what has none of its own.
        let span = Span::empty();
        if let Some(with) = with {
            self.with(with)?;
        }
        self.body(body)?;
        if let Some(order_by) = order_by {
            self.order_by(order_by, body)?;
        }
        if let Some(limit) = limit_clause {
            self.limit(limit)?;
        }
        if let Some(Fetch { with_ties, percent, quantity }) = fetch {
            return self.rows_of("FETCH", *with_ties, *percent, quantity.as_ref());
        }
        let leave = "leave it out: a query reads streams and tables, and locks nothing";
        self.unless(locks.is_empty(), "FOR UPDATE or FOR SHARE", leave, span)?;
        let help = "write `format` of the sink in the pipeline file";
        self.unless(for_clause.is_none(), "FOR XML, JSON or BROWSE", help, span)?;
        self.unless(format_clause.is_none(), "FORMAT", help, span)?;
        let help = "settings stand in the pipeline file: `grace`, `keep`, `emit` and others of \
                    [queries.NAME]";
        self.unless(settings.is_none(), "SETTINGS", help, span)?;
        pipe_operators.iter().try_for_each(|operator| self.pipe(operator))
    }

    fn with(&self, with: &With) -> Checked {
        let With { with_token, recursive: _, cte_tables } = with;
        cte_tables.iter().try_for_each(|cte| {
            let Cte { alias, query, from, materialized, closing_paren_token: _ } = cte;
            let help = "leave it out: what a WITH clause gives is computed where it is read";
            let span = with_token.0.span;
            self.unless(materialized.is_none(), "MATERIALIZED", help, span)?;
            self.unless(from.is_none(), "FROM behind a WITH clause", "leave it out", span)?;
            self.alias(alias)?;
            self.query(query)
        })
    }

    fn body(&self, body: &SetExpr) -> Checked {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { left, op: _, set_quantifier: _, right } => {
                self.body(left)?;
                self.body(right)
            }
            SetExpr::Values(Values { explicit_row: _, value_keyword: _, rows }) => {
                rows.iter().flat_map(|row| &row.content).try_for_each(|expr| self.expr(expr))
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                let help = "write SELECT …; where results go is said by `sink`";
                self.unused("a statement that changes a table", help, body.span())
            }
            SetExpr::Table(_) => self.unused("TABLE name", "write SELECT * FROM name", body.span()),
        }
    }

    fn select(&self, select: &Select) -> Checked {
        let Select {
            select_token,
            optimizer_hints,
            distinct,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection,
            exclude,
            into,
            from,
            lateral_views,
            prewhere,
            selection,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor: _,
        } = select;
        let span = select_token.0.span;
        let of = |expr: Option<&Expr>| expr.map_or(span, Spanned::span);
        let none = optimizer_hints.is_empty();
        self.unless(none, "a hint", "leave the comment /*+ … */ out", span)?;
        self.unless(select_modifiers.is_none(), "a modifier of SELECT", "leave it out", span)?;
        if let Some(Top { with_ties, percent, quantity }) = top {
            let rows = match quantity {
                Some(TopQuantity::Expr(rows)) => Some(rows.clone()),
                Some(TopQuantity::Constant(rows)) => Some(number(*rows)),
                None => None,
            };
            return self.rows_of("TOP", *with_ties, *percent, rows.as_ref());
        }
        let named = "write the columns: SELECT a, b FROM …";
        self.unless(exclude.is_none(), "EXCLUDE behind the columns", named, span)?;
        let help = "results go where `sink` of [queries.NAME] says";
        self.unless(into.is_none(), "SELECT INTO", help, span)?;
        self.unless(value_table_mode.is_none(), "SELECT AS", named, span)?;
        match distinct {
            None | Some(Distinct::All | Distinct::Distinct) => {}
            Some(Distinct::On(exprs)) => exprs.iter().try_for_each(|expr| self.expr(expr))?,
        }
        projection.iter().try_for_each(|item| self.item(item))?;
        from.iter().try_for_each(|tables| self.tables(tables))?;
        if let Some(view) = lateral_views.first() {
            let help = "write the list in SELECT: SELECT k, unnest(string_to_array(tags, ',')) AS \
                        tag FROM s";
            return self.unused("LATERAL VIEW", help, view.lateral_view.span());
        }
        let help = "write WHERE …";
        self.unless(prewhere.is_none(), "PREWHERE", help, of(prewhere.as_ref()))?;
        self.optional(selection.as_ref())?;
        if let Some(by) = connect_by.first() {
            let span = match by {
                ConnectByKind::ConnectBy { connect_token, nocycle: _, relationships: _ } => {
                    connect_token.0.span
                }
                ConnectByKind::StartWith { start_token, condition: _ } => start_token.0.span,
            };
            let help = "join the levels one by one, or write the whole path into the table's file";
            return self.unused("CONNECT BY", help, span);
        }
        self.group_by(group_by, span)?;
        let help = "leave it out: work is divided by the shards of the sources";
        self.unless(cluster_by.is_empty(), "CLUSTER BY", help, of(cluster_by.first()))?;
        self.unless(distribute_by.is_empty(), "DISTRIBUTE BY", help, of(distribute_by.first()))?;
        let help = "write ORDER BY: it sorts each window's rows";
        self.unless(sort_by.is_empty(), "SORT BY", help, of(sort_by.first().map(|it| &it.expr)))?;
        self.optional(having.as_ref())?;
        for NamedWindowDefinition(_, window) in named_window {
            match window {
                NamedWindowExpr::NamedWindow(_) => {}
                NamedWindowExpr::WindowSpec(spec) => self.window(spec)?,
            }
        }
        self.optional(qualify.as_ref())
    }

    fn group_by(&self, group_by: &GroupByExpr, span: Span) -> Checked {
        let (exprs, modifiers) = match group_by {
            GroupByExpr::All(modifiers) => (&[][..], modifiers),
            GroupByExpr::Expressions(exprs, modifiers) => (exprs.as_slice(), modifiers),
        };
        exprs.iter().try_for_each(|expr| self.expr(expr))?;
        let at = exprs.first().map_or(span, Spanned::span);
        match modifiers.first() {
            None => Ok(()),
            Some(GroupByWithModifier::Rollup) => {
                self.unused("WITH ROLLUP", "write GROUP BY ROLLUP (a, b), window_end", at)
            }
            Some(GroupByWithModifier::Cube) => {
                self.unused("WITH CUBE", "write GROUP BY CUBE (a, b), window_end", at)
            }
            Some(GroupByWithModifier::Totals) => {
                let help = "write GROUP BY GROUPING SETS ((a, window_end), (window_end))";
                self.unused("WITH TOTALS", help, at)
            }
            Some(GroupByWithModifier::GroupingSets(_)) => {
                let help = "write one list: GROUP BY GROUPING SETS ((a, window_end), (window_end))";
                self.unused("GROUPING SETS behind GROUP BY's columns", help, at)
            }
        }
    }

    fn item(&self, item: &SelectItem) -> Checked {
        match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, alias: _ } => {
                self.expr(expr)
            }
            SelectItem::ExprWithAliases { expr, aliases: _ } => {
                self.unused("a list of names", "give each column a name with AS", expr.span())
            }
            SelectItem::QualifiedWildcard(kind, options) => {
                match kind {
                    SelectItemQualifiedWildcardKind::ObjectName(_) => {}
                    SelectItemQualifiedWildcardKind::Expr(expr) => {
                        let help = "write each member: (x).a, (x).b";
                        return self.unused("`.*` of an expression", help, expr.span());
                    }
                }
                self.wildcard(options)
            }
            SelectItem::Wildcard(options) => self.wildcard(options),
        }
    }

    fn wildcard(&self, options: &WildcardAdditionalOptions) -> Checked {
        let WildcardAdditionalOptions {
            wildcard_token,
            opt_ilike: _,
            opt_exclude: _,
            opt_except: _,
            opt_replace,
            opt_rename,
            opt_alias,
        } = options;
        let span = wildcard_token.0.span;
        let help = "write the columns, with AS where they get another name";
        self.unless(opt_rename.is_none(), "RENAME of columns", help, span)?;
        self.unless(opt_alias.is_none(), "AS behind *", help, span)?;
        let replaced = opt_replace.iter().flat_map(|replace| &replace.items);
        replaced.map(|item| &item.expr).try_for_each(|expr| self.expr(expr))
    }

    fn order_by(&self, order_by: &OrderBy, body: &SetExpr) -> Checked {
        let OrderBy { kind, interpolate } = order_by;
        let help = "write ORDER BY a, b";
        let span = order_by.span();
        self.unless(interpolate.is_none(), "INTERPOLATE", help, span)?;
        match kind {
            OrderByKind::All(OrderByOptions { asc: _, nulls_first: _ }) => {
                let is_select = matches!(body, SetExpr::Select(_));
                self.unless(is_select, "ORDER BY ALL of a UNION", help, span)
            }
            OrderByKind::Expressions(exprs) => self.sorts(exprs),
        }
    }

    fn sorts(&self, sorts: &[OrderByExpr]) -> Checked {
        sorts.iter().try_for_each(|sort| {
            let OrderByExpr { expr, options, with_fill } = sort;
            let OrderByOptions { asc: _, nulls_first: _ } = options;
            let help = "leave it out: rows are not made up";
            self.unless(with_fill.is_none(), "WITH FILL", help, expr.span())?;
            self.expr(expr)
        })
    }

    fn limit(&self, limit: &LimitClause) -> Checked {
        match limit {
            LimitClause::LimitOffset { limit, offset, limit_by } => {
                let help = "write ROW_NUMBER() OVER (PARTITION BY k, window_end ORDER BY n DESC) AS \
                            r in a subquery, and WHERE r <= 3 around it";
                let span = limit_by.first().map_or(Span::empty(), Spanned::span);
                self.unless(limit_by.is_empty(), "LIMIT … BY", help, span)?;
                self.optional(limit.as_ref())?;
                match offset {
                    Some(Offset { value, rows: _ }) => self.expr(value),
                    None => Ok(()),
                }
            }
            LimitClause::OffsetCommaLimit { offset, limit } => {
                self.expr(offset)?;
                self.expr(limit)
            }
        }
    }

    /// TOP and FETCH.
    fn rows_of(&self, what: &str, ties: bool, percent: bool, rows: Option<&Expr>) -> Checked {
        let span = rows.map_or(Span::empty(), Spanned::span);
        let rows = rows.map_or("1".to_string(), Expr::to_string);
        let help = match (ties, percent) {
            (_, true) => "write ORDER BY … LIMIT with a number of rows".to_string(),
            (true, false) => format!(
                "write RANK() OVER (PARTITION BY window_end ORDER BY n DESC) AS r in a subquery, and \
                 WHERE r <= {rows} around it"
            ),
            (false, false) => format!("write ORDER BY … LIMIT {rows}, at the query's end"),
        };
        self.unused(what, help, span)
    }

    fn pipe(&self, operator: &PipeOperator) -> Checked {
        let listed = |exprs: &[ExprWithAliasAndOrderBy]| {
            exprs.iter().try_for_each(|it| {
                let ExprWithAliasAndOrderBy { expr, order_by } = it;
                let ExprWithAlias { expr, alias: _ } = expr;
                let OrderByOptions { asc, nulls_first } = order_by;
                let unsorted = asc.is_none() && nulls_first.is_none();
                self.unless(
                    unsorted,
                    "an order in |> AGGREGATE",
                    "write |> ORDER BY",
                    expr.span(),
                )?;
                self.expr(expr)
            })
        };
        match operator {
            PipeOperator::Limit { expr, offset } => {
                self.expr(expr)?;
                self.optional(offset.as_ref())
            }
            PipeOperator::Where { expr } => self.expr(expr),
            PipeOperator::OrderBy { exprs } => self.sorts(exprs),
            PipeOperator::Select { exprs } | PipeOperator::Extend { exprs } => {
                exprs.iter().try_for_each(|item| self.item(item))
            }
            PipeOperator::As { alias: _ } => Ok(()),
            PipeOperator::Aggregate { full_table_exprs, group_by_expr } => {
                listed(full_table_exprs)?;
                listed(group_by_expr)
            }
            PipeOperator::Union { set_quantifier: _, queries }
            | PipeOperator::Intersect { set_quantifier: _, queries }
            | PipeOperator::Except { set_quantifier: _, queries } => {
                queries.iter().try_for_each(|query| self.query(query))
            }
            PipeOperator::Join(join) => self.join(join),
            PipeOperator::Set { assignments: _ }
            | PipeOperator::Drop { columns: _ }
            | PipeOperator::TableSample { sample: _ }
            | PipeOperator::Rename { mappings: _ }
            | PipeOperator::Call { function: _, alias: _ }
            | PipeOperator::Pivot {
                aggregate_functions: _,
                value_column: _,
                value_source: _,
                alias: _,
            }
            | PipeOperator::Unpivot {
                value_column: _,
                name_column: _,
                unpivot_columns: _,
                alias: _,
            } => self.unused(
                "this |> operator",
                "write |> with WHERE, SELECT, EXTEND, AGGREGATE, JOIN, AS, ORDER BY or LIMIT",
                Span::empty(),
            ),
        }
    }

    fn optional(&self, expr: Option<&Expr>) -> Checked {
        expr.map_or(Ok(()), |expr| self.expr(expr))
    }
}

fn number(rows: u64) -> Expr {
    use datafusion::sql::sqlparser::ast::Value;
    Expr::value(Value::Number(rows.to_string(), false))
}

#[cfg(test)]
mod tests;
