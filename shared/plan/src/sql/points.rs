//! Numbers with a point, kept as they are written until it is known what they stand beside
//! (`meaning::literals`). Whole numbers that no 64 bits hold are kept as well.
//!
//! Those with an exponent stay doubles, and those in INTERVAL and in arguments of window functions are
//! left to the code that reads these.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, Query, TableFactor, UnaryOperator, Value, ValueWithSpan, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use crate::meaning::POINT;

/// Makes calls of [`POINT`] of a statement's, or an expression's, numbers with a point.
pub(super) fn kept<T: VisitMut>(ast: &mut T) {
    let visited = ast.visit(&mut Keep { inside: vec![false] });
    debug_assert!(visited.is_continue());
}

struct Keep {
    /// Whether numbers here are for others, in each query around.
    inside: Vec<bool>,
}

impl Keep {
    fn enter(&mut self, inside: bool) -> ControlFlow<()> {
        self.inside.push(inside);
        ControlFlow::Continue(())
    }

    fn leave(&mut self) -> ControlFlow<()> {
        self.inside.pop();
        ControlFlow::Continue(())
    }
}

fn is_function(table: &TableFactor) -> bool {
    match table {
        TableFactor::Table { args, .. } => args.is_some(),
        TableFactor::TableFunction { .. } | TableFactor::Function { .. } => true,
        _ => false,
    }
}

impl VisitorMut for Keep {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.enter(false)
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.leave()
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        self.enter(is_function(table))
    }

    fn post_visit_table_factor(&mut self, _: &mut TableFactor) -> ControlFlow<()> {
        self.leave()
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let inside = self.inside.last().copied().unwrap_or(false);
        if !inside && let Some((digits, span)) = number(expr) {
            *expr = call(digits, span);
        }
        self.enter(inside || matches!(expr, Expr::Interval(_)))
    }

    fn post_visit_expr(&mut self, _: &mut Expr) -> ControlFlow<()> {
        self.leave()
    }
}

/// The digits of a number that is kept.
fn number(expr: &Expr) -> Option<(String, Span)> {
    let (number, sign) = match expr {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => (expr.as_ref(), "-"),
        other => (other, ""),
    };
    let Expr::Value(ValueWithSpan { value: Value::Number(digits, _), span }) = number else {
        return None;
    };
    let digits: String = digits.chars().filter(|it| *it != '_').collect();
    let is_plain = digits.chars().all(|it| it.is_ascii_digit() || it == '.');
    let is_long =
        digits.parse::<u64>().is_err() && format!("{sign}{digits}").parse::<i64>().is_err();
    (is_plain && is_long).then(|| (format!("{sign}{digits}"), *span))
}

fn call(digits: String, span: Span) -> Expr {
    let digits = ValueWithSpan { value: Value::SingleQuotedString(digits), span };
    let argument = FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(digits)));
    let arguments =
        FunctionArgumentList { duplicate_treatment: None, args: vec![argument], clauses: vec![] };
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::with_span(span, POINT)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(arguments),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn numbers_with_a_point_are_kept_as_they_are_written() {
        for (sql, wanted) in [
            (
                "SELECT 1.50, -0.10, 1, 1e3, 1.5e3",
                "SELECT __point('1.50'), __point('-0.10'), 1, 1e3, 1.5e3",
            ),
            ("SELECT 18446744073709551616", "SELECT __point('18446744073709551616')"),
            ("SELECT INTERVAL 1.5 DAY FROM t", "SELECT INTERVAL 1.5 DAY FROM t"),
            ("SELECT a FROM f(0.5, x)", "SELECT a FROM f(0.5, x)"),
            (
                "SELECT a FROM t WHERE a IN (0.5, 1)",
                "SELECT a FROM t WHERE a IN (__point('0.5'), 1)",
            ),
        ] {
            let mut read = Parser::parse_sql(&GenericDialect {}, sql).unwrap();
            kept(&mut read[0]);
            assert_eq!(read[0].to_string(), wanted);
        }
    }
}
