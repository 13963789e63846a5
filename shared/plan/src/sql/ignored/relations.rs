//! What stands in FROM.

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Join, JoinConstraint,
    JoinOperator, Spanned, TableAlias, TableAliasColumnDef, TableFactor, TableFunctionArgs,
    TableWithJoins,
};

use datafusion::sql::sqlparser::tokenizer::Span;

use super::{Checked, Walk};
use crate::error::span_range;
use crate::lateral::refuse_lateral;
use crate::windowed::is_window_function;

impl Walk<'_> {
    pub(super) fn tables(&self, tables: &TableWithJoins) -> Checked {
        let TableWithJoins { relation, joins } = tables;
        self.relation(relation)?;
        joins.iter().try_for_each(|join| self.join(join))
    }

    pub(super) fn join(&self, join: &Join) -> Checked {
        let Join { relation, global, join_operator } = join;
        let span = relation.span();
        self.unless(!global, "GLOBAL", "write JOIN", span)?;
        match join_operator {
            JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::Left(constraint)
            | JoinOperator::LeftOuter(constraint)
            | JoinOperator::Right(constraint)
            | JoinOperator::RightOuter(constraint)
            | JoinOperator::FullOuter(constraint)
            | JoinOperator::LeftSemi(constraint)
            | JoinOperator::RightSemi(constraint)
            | JoinOperator::LeftAnti(constraint)
            | JoinOperator::RightAnti(constraint) => self.constraint(constraint)?,
            JoinOperator::CrossJoin(JoinConstraint::None) => {}
            JoinOperator::CrossJoin(constraint) => {
                self.constraint(constraint)?;
                return self.unused("CROSS JOIN with a condition", "write JOIN … ON …", span);
            }
            JoinOperator::Semi(_) => {
                return self.unused("SEMI JOIN", "write LEFT SEMI JOIN or WHERE EXISTS (…)", span);
            }
            JoinOperator::Anti(_) => {
                let help = "write LEFT ANTI JOIN or WHERE NOT EXISTS (…)";
                return self.unused("ANTI JOIN", help, span);
            }
            JoinOperator::CrossApply | JoinOperator::OuterApply => {
                let help = "write JOIN or LEFT JOIN with a condition; one row for each element of a \
                            list is CROSS JOIN UNNEST(…) AS t(x)";
                return self.unused("APPLY", help, span);
            }
            JoinOperator::AsOf { match_condition, constraint } => {
                self.expr(match_condition)?;
                self.constraint(constraint)?;
            }
            JoinOperator::StraightJoin(_) => {
                return self.unused("STRAIGHT_JOIN", "write JOIN", span);
            }
            JoinOperator::ArrayJoin
            | JoinOperator::LeftArrayJoin
            | JoinOperator::InnerArrayJoin => {
                let help = "write CROSS JOIN UNNEST(…) AS t(x)";
                return self.unused("ARRAY JOIN", help, span);
            }
        }
        self.relation(relation)
    }

    fn constraint(&self, constraint: &JoinConstraint) -> Checked {
        match constraint {
            JoinConstraint::On(expr) => self.expr(expr),
            JoinConstraint::Using(_) | JoinConstraint::Natural | JoinConstraint::None => Ok(()),
        }
    }

    pub(super) fn alias(&self, alias: &TableAlias) -> Checked {
        let TableAlias { explicit: _, name, columns, at } = alias;
        self.unless(at.is_none(), "AT behind a name", "leave it out", name.span)?;
        columns.iter().try_for_each(|column| {
            let TableAliasColumnDef { name, data_type } = column;
            let help = "write the name alone, and CAST(x AS …) where the column is made";
            self.unless(data_type.is_none(), "a type behind a column's name", help, name.span)
        })
    }

    fn relation(&self, relation: &TableFactor) -> Checked {
        let span = relation.span();
        let alias = match relation {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                let span = name.span();
                let leave = "leave it out";
                if let Some(TableFunctionArgs { args, settings }) = args {
                    self.arguments(args)?;
                    self.unless(settings.is_none(), "SETTINGS", leave, span)?;
                }
                self.unless(with_hints.is_empty(), "WITH (…) behind a table", leave, span)?;
                let help = "write JOIN b FOR SYSTEM_TIME AS OF a.ts, a.ts being a column";
                self.unless(version.is_none(), "a version of a table", help, span)?;
                self.ordinality(*with_ordinality, span)?;
                let help = "write a condition: WHERE …";
                self.unless(partitions.is_empty(), "PARTITION (…)", help, span)?;
                let help = "give the member a column of its own, with path = \"a.b\", in the \
                            pipeline file";
                self.unless(json_path.is_none(), "a path behind a table", help, span)?;
                self.sampled(sample.is_some(), span)?;
                self.unless(index_hints.is_empty(), "a hint of indexes", leave, span)?;
                alias
            }
            TableFactor::Derived { lateral: _, subquery, alias, sample } => {
                self.query(subquery)?;
                self.sampled(sample.is_some(), span)?;
                alias
            }
            TableFactor::TableFunction { expr, alias } => {
                self.table_function(expr)?;
                alias
            }
            TableFactor::Function { lateral, name, args, with_ordinality, alias } => {
                self.arguments(args)?;
                self.ordinality(*with_ordinality, span)?;
                if *lateral {
                    self.lateral(&name.to_string(), args, name.span())?;
                }
                alias
            }
            TableFactor::UNNEST {
                alias,
                array_exprs,
                with_offset,
                with_offset_alias,
                with_ordinality,
            } => {
                array_exprs.iter().try_for_each(|expr| self.expr(expr))?;
                let counted = *with_offset || with_offset_alias.is_some() || *with_ordinality;
                self.ordinality(counted, span)?;
                alias
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                self.tables(table_with_joins)?;
                alias
            }
            TableFactor::Pivot {
                table: _,
                aggregate_functions: _,
                value_column: _,
                value_source: _,
                default_on_null: _,
                alias: _,
            } => {
                let help = "write one aggregate for each column: SUM(v) FILTER (WHERE k = 'a') AS a, \
                            SUM(v) FILTER (WHERE k = 'b') AS b";
                return self.unused("PIVOT", help, span);
            }
            TableFactor::Unpivot {
                table: _,
                value: _,
                name: _,
                columns: _,
                null_inclusion: _,
                alias: _,
            } => {
                let help = "write UNION ALL: SELECT ts, 'a' AS name, a AS value FROM s UNION ALL \
                            SELECT ts, 'b', b FROM s";
                return self.unused("UNPIVOT", help, span);
            }
            TableFactor::MatchRecognize {
                table: _,
                partition_by: _,
                order_by: _,
                measures: _,
                rows_per_match: _,
                after_match_skip: _,
                pattern: _,
                symbols: _,
                alias: _,
            } => {
                let help = "LAG, LEAD and frames find short patterns";
                return self.unused("MATCH_RECOGNIZE", help, span);
            }
            TableFactor::JsonTable { json_expr: _, json_path: _, columns: _, alias: _ }
            | TableFactor::OpenJsonTable { json_expr: _, json_path: _, columns: _, alias: _ }
            | TableFactor::XmlTable {
                namespaces: _,
                row_expression: _,
                passing: _,
                columns: _,
                alias: _,
            } => {
                let help = "declare the members as columns of the stream, with path = \"a.b\", in the \
                            pipeline file";
                return self.unused("a table made of one value", help, span);
            }
            TableFactor::SemanticView {
                name: _,
                dimensions: _,
                metrics: _,
                facts: _,
                where_clause: _,
                alias: _,
            } => return self.unused("SEMANTIC_VIEW", "write SELECT … FROM …", span),
        };
        alias.as_ref().map_or(Ok(()), |alias| self.alias(alias))
    }

    /// `TABLE(…)` around a window function: nothing but its arguments is read.
    fn table_function(&self, expr: &Expr) -> Checked {
        let Expr::Function(call) = expr else {
            let help = "write TABLE(TUMBLE(TABLE stream, DESCRIPTOR(ts), INTERVAL '1' MINUTE))";
            return self.unused("this in TABLE(…)", help, expr.span());
        };
        let Function {
            name,
            uses_odbc_syntax: _,
            parameters: _,
            args: _,
            filter,
            null_treatment,
            over,
            within_group,
        } = call;
        let bare = filter.is_none()
            && null_treatment.is_none()
            && over.is_none()
            && within_group.is_empty();
        let help = "write the window function alone, and WHERE behind it";
        self.unless(bare, "a clause behind a window function", help, name.span())?;
        self.called(call)
    }

    /// LATERAL before a window function that reads a stream of its own.
    fn lateral(&self, name: &str, args: &[FunctionArg], span: Span) -> Checked {
        let inside = args.iter().find_map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Function(call))) => {
                Some(call.name.to_string())
            }
            _ => None,
        });
        let name = if name.eq_ignore_ascii_case("TABLE") { inside.as_deref() } else { Some(name) };
        match name.filter(|name| is_window_function(name)) {
            Some(name) => Err(refuse_lateral(&name.to_uppercase()).at(span_range(self.sql, span))),
            None => Ok(()),
        }
    }

    fn sampled(&self, sampled: bool, span: Span) -> Checked {
        let help = "take a share by a value of the rows: WHERE id % 10 = 0";
        self.unless(!sampled, "TABLESAMPLE", help, span)
    }

    fn ordinality(&self, counted: bool, span: Span) -> Checked {
        let help = "leave it out: the number of an element in its list is not told";
        self.unless(!counted, "WITH ORDINALITY or WITH OFFSET", help, span)
    }

    /// The arguments of a call without its clauses.
    fn called(&self, call: &Function) -> Checked {
        match &call.args {
            FunctionArguments::None => Ok(()),
            FunctionArguments::Subquery(query) => self.query(query),
            FunctionArguments::List(list) => self.arguments(&list.args),
        }
    }
}
