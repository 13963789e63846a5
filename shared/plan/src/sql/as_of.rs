//! As-of joins, rewritten into joins that the engine plans.
//!
//! The engine's parser reads `a ASOF JOIN b MATCH_CONDITION (c) ON x`, but neither `ASOF LEFT JOIN`
//! nor `FOR SYSTEM_TIME AS OF`, and its planner plans none of them. Among the tokens, which keep
//! their places, and then in the statement they become joins with a marker in their condition:
//!
//! ```text
//! a ASOF LEFT JOIN b MATCH_CONDITION (c) ON x       a LEFT JOIN b ON __as_of(c) AND (x)
//! a JOIN b FOR SYSTEM_TIME AS OF a.ts ON x          a JOIN b ON __as_of_time(a.ts) AND (x)
//! ```
//!
//! Not here: what an as-of join means (`stage::as_of`), the markers' types (`functions`).

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Join,
    JoinConstraint, JoinOperator, ObjectName, Select, Statement, TableFactor, TableWithJoins,
    VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::{is_keyword, word};
use crate::error::Refusal;
use crate::functions::{AS_OF, AS_OF_TIME};

/// Around the match condition of an outer as-of join, between tokens and statement.
const AS_OF_LEFT: &str = "__as_of_left";

/// Tokens that the engine's parser reads.
pub(super) fn plain_joins(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    // Of each as-of join whose match condition has not come yet, the marker.
    let mut joins: Vec<&str> = Vec::new();
    // Depths of parentheses at which a match condition ends.
    let mut ends: Vec<usize> = Vec::new();
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let span = token.span;
        if is_keyword(&token.token, Keyword::ASOF)
            && let Some((next, marker)) = as_of_join(&tokens, at + 1)
        {
            joins.push(marker);
            out.extend([token.clone(), space(span), tokens[next].clone()]);
            at = next + 1;
            continue;
        }
        if is_keyword(&token.token, Keyword::MATCH_CONDITION)
            && let Some(open) = solid(&tokens, at + 1)
            && tokens[open].token == Token::LParen
            && let Some(marker) = joins.pop()
        {
            depth += 1;
            ends.push(depth);
            let inner = TokenWithSpan::new(Token::LParen, span);
            out.extend([token.clone(), tokens[open].clone(), word(marker, span), inner]);
            at = open + 1;
            continue;
        }
        if is_keyword(&token.token, Keyword::FOR)
            && let Some((next, call)) = system_time(&tokens, at)
        {
            out.extend(call);
            at = next;
            continue;
        }
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => {
                if ends.last() == Some(&depth) {
                    ends.pop();
                    out.push(token.clone());
                }
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
        out.push(token.clone());
        at += 1;
    }
    out
}

/// Whether `[LEFT [OUTER] | INNER] JOIN` follows: where its JOIN is, and the join's marker.
fn as_of_join(tokens: &[TokenWithSpan], from: usize) -> Option<(usize, &'static str)> {
    let mut at = solid(tokens, from)?;
    let mut marker = AS_OF;
    if is_keyword(&tokens[at].token, Keyword::LEFT) {
        marker = AS_OF_LEFT;
        at = solid(tokens, at + 1)?;
        if is_keyword(&tokens[at].token, Keyword::OUTER) {
            at = solid(tokens, at + 1)?;
        }
    } else if is_keyword(&tokens[at].token, Keyword::INNER) {
        at = solid(tokens, at + 1)?;
    }
    is_keyword(&tokens[at].token, Keyword::JOIN).then_some((at, marker))
}

/// `FOR SYSTEM_TIME AS OF a.ts` as an argument of the table before it, and where it ends.
fn system_time(tokens: &[TokenWithSpan], at: usize) -> Option<(usize, Vec<TokenWithSpan>)> {
    let mut last = at;
    for expected in ["SYSTEM_TIME", "AS", "OF"] {
        last = solid(tokens, last + 1)?;
        let Token::Word(word) = &tokens[last].token else { return None };
        if word.quote_style.is_some() || !word.value.eq_ignore_ascii_case(expected) {
            return None;
        }
    }
    let span = tokens[at].span;
    let token = |token| TokenWithSpan::new(token, span);
    let mut call = vec![token(Token::LParen), word(AS_OF_TIME, span), token(Token::LParen)];
    let mut next = solid(tokens, last + 1)?;
    loop {
        let Token::Word(_) = tokens[next].token else { return None };
        call.push(tokens[next].clone());
        next += 1;
        if tokens.get(next).map(|it| &it.token) != Some(&Token::Period) {
            break;
        }
        call.push(tokens[next].clone());
        next += 1;
    }
    call.extend([token(Token::RParen), token(Token::RParen), space(span)]);
    Some((next, call))
}

/// The first token from `from` on that is no white space.
fn solid(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    let rest = tokens.get(from..)?;
    let skipped = rest.iter().position(|it| !matches!(it.token, Token::Whitespace(_)))?;
    Some(from + skipped)
}

fn space(span: Span) -> TokenWithSpan {
    use datafusion::sql::sqlparser::tokenizer::Whitespace;
    TokenWithSpan::new(Token::Whitespace(Whitespace::Space), span)
}

/// The statement with the marked joins as joins that the engine plans.
pub(super) fn plain_statement(statement: &mut Statement) -> Result<(), Refusal> {
    match statement.visit(&mut Rewrite) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(refusal) => Err(*refusal),
    }
}

struct Rewrite;

impl VisitorMut for Rewrite {
    type Break = Box<Refusal>;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        for tables in &mut select.from {
            if let Err(refusal) = rewrite(tables) {
                return ControlFlow::Break(Box::new(refusal));
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<Self::Break> {
        match table {
            TableFactor::NestedJoin { table_with_joins, .. } => match rewrite(table_with_joins) {
                Ok(()) => ControlFlow::Continue(()),
                Err(refusal) => ControlFlow::Break(Box::new(refusal)),
            },
            _ => ControlFlow::Continue(()),
        }
    }
}

fn rewrite(tables: &mut TableWithJoins) -> Result<(), Refusal> {
    if system_time_of(&mut tables.relation).is_some() {
        return Err(refuse("FOR SYSTEM_TIME AS OF stands on a table that nothing is joined with"));
    }
    tables.joins.iter_mut().try_for_each(rewrite_join)
}

fn rewrite_join(join: &mut Join) -> Result<(), Refusal> {
    let marker = system_time_of(&mut join.relation);
    let operator =
        std::mem::replace(&mut join.join_operator, JoinOperator::CrossJoin(JoinConstraint::None));
    join.join_operator = match (operator, marker) {
        (JoinOperator::AsOf { match_condition, constraint }, None) => {
            let (marker, is_left) = match_marker(match_condition)?;
            let constraint = with_marker(marker, constraint)?;
            match is_left {
                true => JoinOperator::Left(constraint),
                false => JoinOperator::Inner(constraint),
            }
        }
        (operator, None) => operator,
        (JoinOperator::Join(constraint) | JoinOperator::Inner(constraint), Some(marker)) => {
            JoinOperator::Inner(with_marker(marker, constraint)?)
        }
        (JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint), Some(marker)) => {
            JoinOperator::Left(with_marker(marker, constraint)?)
        }
        _ => return Err(refuse("FOR SYSTEM_TIME AS OF works with JOIN and LEFT JOIN only")),
    };
    Ok(())
}

/// The marker of a match condition, and whether the join is outer.
fn match_marker(condition: Expr) -> Result<(Expr, bool), Refusal> {
    let Expr::Function(mut call) = condition else {
        return Err(refuse("MATCH_CONDITION holds no condition"));
    };
    let is_left = call.name.to_string() == AS_OF_LEFT;
    if is_left {
        call.name = ObjectName::from(vec![Ident::new(AS_OF)]);
    }
    Ok((Expr::Function(call), is_left))
}

fn with_marker(marker: Expr, constraint: JoinConstraint) -> Result<JoinConstraint, Refusal> {
    match constraint {
        JoinConstraint::On(on) => Ok(JoinConstraint::On(Expr::BinaryOp {
            left: Box::new(marker),
            op: BinaryOperator::And,
            right: Box::new(Expr::Nested(Box::new(on))),
        })),
        JoinConstraint::None => Ok(JoinConstraint::On(marker)),
        JoinConstraint::Using(_) | JoinConstraint::Natural => {
            Err(refuse("USING and NATURAL do not work in an as-of join"))
        }
    }
}

/// Takes the marker off a table that has one.
fn system_time_of(table: &mut TableFactor) -> Option<Expr> {
    let TableFactor::Table { args, .. } = table else { return None };
    let found = match args.as_ref()?.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Function(call)))]
            if call.name.to_string() == AS_OF_TIME
                && matches!(call.args, FunctionArguments::List(_)) =>
        {
            Expr::Function(call.clone())
        }
        _ => return None,
    };
    *args = None;
    Some(found)
}

fn refuse(message: &str) -> Refusal {
    Refusal::new("plan::join::as_of", message)
        .help("write a ASOF [LEFT] JOIN b MATCH_CONDITION (a.ts >= b.ts) ON a.k = b.k")
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    fn reads_as(sql: &str) -> String {
        parse(sql).unwrap().to_string()
    }

    #[test]
    fn as_of_joins_become_marked_joins() {
        assert_eq!(
            reads_as("SELECT * FROM a ASOF JOIN b MATCH_CONDITION (a.t >= b.t) ON a.k = b.k OR z"),
            "SELECT * FROM a INNER JOIN b ON __as_of(a.t >= b.t) AND (a.k = b.k OR z)"
        );
        assert_eq!(
            reads_as(
                "SELECT * FROM a ASOF LEFT OUTER JOIN b AS x MATCH_CONDITION (abs(a.t) >= (b.t)) ON y"
            ),
            "SELECT * FROM a LEFT JOIN b AS x ON __as_of(abs(a.t) >= (b.t)) AND (y)"
        );
        assert_eq!(
            reads_as("SELECT * FROM a ASOF JOIN b MATCH_CONDITION (a.t >= b.t)"),
            "SELECT * FROM a INNER JOIN b ON __as_of(a.t >= b.t)"
        );
        assert_eq!(
            reads_as(
                "SELECT * FROM a LEFT JOIN b FOR SYSTEM_TIME AS OF a.t AS x ON a.k = x.k WHERE 1 = 1"
            ),
            "SELECT * FROM a LEFT JOIN b AS x ON __as_of_time(a.t) AND (a.k = x.k) WHERE 1 = 1"
        );
    }

    #[test]
    fn they_are_found_inside_each_other() {
        assert_eq!(
            reads_as(
                "SELECT * FROM a ASOF LEFT JOIN (SELECT * FROM b ASOF JOIN c MATCH_CONDITION (b.t > c.t)) d MATCH_CONDITION (a.t >= d.t) ON a.k = d.k"
            ),
            "SELECT * FROM a LEFT JOIN (SELECT * FROM b INNER JOIN c ON __as_of(b.t > c.t)) AS d ON __as_of(a.t >= d.t) AND (a.k = d.k)"
                .replace("AS d", "d")
        );
    }

    #[test]
    fn what_no_join_can_say_is_refused() {
        for sql in [
            "SELECT * FROM a FOR SYSTEM_TIME AS OF a.t",
            "SELECT * FROM a RIGHT JOIN b FOR SYSTEM_TIME AS OF a.t ON a.k = b.k",
            "SELECT * FROM a ASOF JOIN b MATCH_CONDITION (a.t >= b.t) USING (k)",
        ] {
            assert_eq!(parse(sql).unwrap_err().code, "plan::join::as_of", "{sql}");
        }
    }
}
