//! Expressions that the engine reads otherwise than whoever wrote them: refused, since their results
//! would be wrong without a word.
//!
//! Not here: what cannot run as a stream (`split`).

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value, Visit,
    visit_expressions,
};

use crate::error::Refusal;

/// Refuses a query or condition in which something would be misread.
pub(super) fn check(sql: &impl Visit) -> Result<(), Refusal> {
    let checked = visit_expressions(sql, |part| match refusal(part) {
        Some(refusal) => ControlFlow::Break(Box::new(refusal)),
        None => ControlFlow::Continue(()),
    });
    match checked {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(refusal) => Err(*refusal),
    }
}

fn refusal(part: &Expr) -> Option<Refusal> {
    match part {
        // The parser takes everything behind it for its right side.
        Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) if is_logical(right) => {
            let message = "what stands behind IS [NOT] DISTINCT FROM is ambiguous";
            Some(
                Refusal::new("plan::sql::misread", message)
                    .help("write parentheses: (a IS NOT DISTINCT FROM b) AND …"),
            )
        }
        // The engine takes the pattern for a regular expression that may match anywhere.
        Expr::SimilarTo { .. } => {
            let message = "SIMILAR TO would be read as a regular expression";
            Some(
                Refusal::new("plan::sql::misread", message)
                    .help("write LIKE for % and _, or a regular expression: x ~ '^eu-.*$'"),
            )
        }
        Expr::Function(function) => pattern(function),
        _ => None,
    }
}

fn is_logical(expr: &Expr) -> bool {
    use BinaryOperator::{And, Or, Xor};
    matches!(expr, Expr::BinaryOp { op: And | Or | Xor, .. })
}

/// Refuses Java's patterns of dates: without a `%` every value would be the pattern itself.
fn pattern(function: &Function) -> Option<Refusal> {
    let name = function.name.to_string().to_lowercase();
    if !["date_format", "to_char"].contains(&name.as_str()) {
        return None;
    }
    let FunctionArguments::List(list) = &function.args else { return None };
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) = list.args.get(1)? else {
        return None;
    };
    let Value::SingleQuotedString(pattern) = &value.value else { return None };
    if pattern.contains('%') || !pattern.contains(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let message = format!("{name} would give the text '{pattern}' for every value");
    Some(
        Refusal::new("plan::sql::misread", message)
            .help("write the pattern with %, as strftime does: '%Y-%m-%d %H:%M:%S'"),
    )
}

#[cfg(test)]
mod tests {
    use crate::sql::parse;

    #[test]
    fn what_would_be_misread_is_refused() {
        for sql in [
            "SELECT a IS NOT DISTINCT FROM b AND c FROM s",
            "SELECT x FROM s WHERE a OR b IS DISTINCT FROM c OR d",
            "SELECT x FROM s WHERE x SIMILAR TO 'eu-%'",
            "SELECT date_format(t, 'yyyy-MM-dd') FROM s",
            "SELECT k FROM s GROUP BY TO_CHAR(t, 'HH:mm')",
        ] {
            assert_eq!(parse(sql).unwrap_err().code, "plan::sql::misread", "{sql}");
        }
    }

    #[test]
    fn what_is_read_as_it_is_meant_is_not() {
        for sql in [
            "SELECT (a IS NOT DISTINCT FROM b) AND c, c AND a IS DISTINCT FROM b FROM s",
            "SELECT date_format(t, '%Y'), to_char(t, p), to_char(d, '') FROM s",
        ] {
            parse(sql).unwrap();
        }
    }
}
