//! SQL text → one statement, in both spellings of the window functions.
//!
//! The generic dialect reads everything but the SQL:2016 / Flink arguments `TABLE s`,
//! `TABLE s PARTITION BY k` and `DESCRIPTOR(ts)`. Those are rewritten among the tokens, which keep
//! their places, into what the generic dialect reads as expressions:
//!
//! ```text
//! TABLE(SESSION(TABLE s PARTITION BY a, b, DESCRIPTOR(ts), INTERVAL '1' HOUR))
//! TABLE(SESSION(__partitioned(s, a, b),    DESCRIPTOR(ts), INTERVAL '1' HOUR))
//! ```
//!
//! As-of joins (`as_of`) and named windows (`named_windows`) are rewritten too. What the engine would
//! read otherwise than it is meant is refused (`misread`). Numbers with a point are kept as they are
//! written (`points`).
//!
//! Not here: what the functions mean (`windowed`).

mod as_of;
mod depth;
pub(crate) mod ignored;
mod misread;
mod named_windows;
pub(crate) mod names;
mod points;

use datafusion::sql::sqlparser::ast::{Expr, Statement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Tokenizer, Word};

use tidemill_model::limits::{
    SQL_BYTES_MAX, SQL_DEPTH_MAX, SQL_NESTING_MAX, SQL_RELATIONS_MAX, SQL_WITH_NESTING_MAX,
};

use crate::error::Refusal;

/// Name under which `TABLE s PARTITION BY k, …` reaches `windowed` as a function call.
pub(crate) const PARTITIONED: &str = "__partitioned";

/// Reads one query.
pub(crate) fn parse(sql: &str) -> Result<Statement, Refusal> {
    if sql.len() > SQL_BYTES_MAX {
        let message = format!("the SQL is {} bytes long, more than {SQL_BYTES_MAX}", sql.len());
        return Err(Refusal::new("plan::sql::too_long", message)
            .help("put long lists of values into a file of their own, as [tables.NAME]"));
    }
    let dialect = GenericDialect {};
    let syntax = |message: String| Refusal::from_engine(plan_error(message), sql).syntax();
    let tokens = Tokenizer::new(&dialect, sql)
        .tokenize_with_location()
        .map_err(|error| syntax(error.to_string()))?;
    bounded(depth::measure(&tokens))?;
    let mut statements = Parser::new(&dialect)
        .with_recursion_limit(SQL_NESTING_MAX)
        .with_tokens_with_locations(as_of::plain_joins(plain_arguments(tokens)))
        .parse_statements()
        .map_err(|error| syntax(error.to_string()))?;
    match (statements.pop(), statements.is_empty()) {
        (Some(mut query @ Statement::Query(_)), true) => {
            as_of::plain_statement(&mut query)?;
            named_windows::written_out(&mut query)?;
            misread::check(&query)?;
            points::kept(&mut query);
            Ok(query)
        }
        (Some(other), true) => Err(Refusal::new(
            "plan::sql::not_a_query",
            format!("a query must be a SELECT, not {}", first_word(&other.to_string())),
        )
        .help("write SELECT …; where results go is said by `sink`")),
        (Some(_), false) => Err(Refusal::new(
            "plan::sql::several_statements",
            "a query must be one statement".to_string(),
        )
        .help("make each statement a [queries.NAME] of its own")),
        (None, _) => Err(Refusal::new("plan::sql::empty", "the SQL is empty")
            .help("write SELECT … FROM TUMBLE(stream, event_time, INTERVAL '1' MINUTE) …")),
    }
}

/// Reads one condition over the columns of a row.
pub(crate) fn parse_condition(sql: &str) -> Result<Expr, Refusal> {
    let dialect = GenericDialect {};
    let syntax = |message: String| Refusal::from_engine(plan_error(message), sql).syntax();
    let tokens = Tokenizer::new(&dialect, sql)
        .tokenize_with_location()
        .map_err(|error| syntax(error.to_string()))?;
    bounded(depth::measure(&tokens))?;
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(SQL_NESTING_MAX)
        .with_tokens_with_locations(tokens);
    let mut condition = parser.parse_expr().map_err(|error| syntax(error.to_string()))?;
    let rest = parser.next_token();
    match rest.token {
        Token::EOF => {
            misread::check(&condition)?;
            points::kept(&mut condition);
            Ok(condition)
        }
        _ => Err(syntax(format!("Expected: end of the condition, found: {rest}"))),
    }
}

/// Refuses what could overflow the stack, or be planned for minutes.
fn bounded(measured: depth::Measured) -> Result<(), Refusal> {
    let depth::Measured { depth, relations, with_nesting } = measured;
    if depth > SQL_DEPTH_MAX {
        let message = format!(
            "an expression of the SQL chains {depth} operators, counting those in parentheses; at \
             most {SQL_DEPTH_MAX} can be"
        );
        return Err(Refusal::new("plan::sql::too_deep", message).help(
            "write `x IN (a, b, …)` for a chain of OR, `concat(a, b, …)` for one of `||`, and join \
             a table (`[tables.NAME]`) for a long CASE",
        ));
    }
    if with_nesting > SQL_WITH_NESTING_MAX {
        let message = format!(
            "the SQL has {with_nesting} WITH clauses inside each other, more than \
             {SQL_WITH_NESTING_MAX}"
        );
        return Err(Refusal::new("plan::sql::too_deep", message)
            .help("name them side by side: WITH a AS (…), b AS (…) SELECT …"));
    }
    if relations > SQL_RELATIONS_MAX {
        let message = format!(
            "the SQL reads {relations} relations (SELECT, JOIN, items of FROM), more than \
             {SQL_RELATIONS_MAX}"
        );
        return Err(Refusal::new("plan::sql::too_many_relations", message)
            .help("make several queries of it, or join the tables' files beforehand"));
    }
    Ok(())
}

fn plan_error(message: String) -> datafusion::common::DataFusionError {
    datafusion::common::DataFusionError::Plan(message)
}

fn first_word(text: &str) -> String {
    text.split_whitespace().next().unwrap_or("nothing").to_uppercase()
}

impl Refusal {
    fn syntax(self) -> Refusal {
        let message = self.message.trim_start_matches("sql parser error: ").to_string();
        Refusal { code: "plan::sql::syntax", message, ..self }
    }
}

/// Rewrites `TABLE s [PARTITION BY …]` where it is an argument.
fn plain_arguments(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out = Vec::with_capacity(tokens.len());
    let mut rest = tokens.into_iter().peekable();
    let mut before_argument = false;
    while let Some(token) = rest.next() {
        if matches!(token.token, Token::Whitespace(_)) {
            out.push(token);
            continue;
        }
        let is_table = before_argument && is_keyword(&token.token, Keyword::TABLE);
        before_argument = matches!(token.token, Token::LParen | Token::Comma | Token::RArrow);
        if !is_table {
            out.push(token);
            continue;
        }
        let mut argument: Vec<TokenWithSpan> = Vec::new();
        while let Some(next) = rest.peek() {
            let ends = matches!(next.token, Token::LParen | Token::Comma | Token::RParen)
                || is_keyword(&next.token, Keyword::PARTITION);
            if ends {
                break;
            }
            argument.extend(rest.next());
        }
        match rest.peek() {
            // `TABLE(…)`, a table function where SQL:2016 puts it: the generic dialect reads it.
            Some(next) if next.token == Token::LParen => {
                out.push(token);
                out.extend(argument);
            }
            Some(next) if is_keyword(&next.token, Keyword::PARTITION) => {
                let span = next.span;
                out.push(word(PARTITIONED, span));
                out.push(TokenWithSpan::new(Token::LParen, span));
                out.extend(argument);
                out.extend(partition_columns(&mut rest, span));
                out.push(TokenWithSpan::new(Token::RParen, span));
            }
            _ => out.extend(argument),
        }
    }
    out
}

/// Takes `PARTITION BY a, b` off `rest` and gives `, a, b`. The list ends before a comma that
/// `DESCRIPTOR` or `name =>` follows, or before the closing parenthesis.
fn partition_columns(
    rest: &mut std::iter::Peekable<std::vec::IntoIter<TokenWithSpan>>,
    span: Span,
) -> Vec<TokenWithSpan> {
    let mut taken: Vec<TokenWithSpan> = vec![TokenWithSpan::new(Token::Comma, span)];
    let mut skipped = 0;
    while let Some(next) = rest.peek().cloned() {
        match &next.token {
            Token::RParen => break,
            Token::Comma if !continues(rest) => break,
            Token::Whitespace(_) => {
                rest.next();
            }
            // PARTITION and BY themselves.
            _ if skipped < 2 => {
                skipped += 1;
                rest.next();
            }
            _ => taken.extend(rest.next()),
        }
    }
    taken
}

/// Whether the comma that `rest` stands at is followed by another partition column.
fn continues(rest: &std::iter::Peekable<std::vec::IntoIter<TokenWithSpan>>) -> bool {
    let mut ahead = rest.clone();
    ahead.next();
    let mut words = ahead.filter(|token| !matches!(token.token, Token::Whitespace(_)));
    let column = match words.next().map(|token| token.token) {
        Some(Token::Word(word)) => !word.value.eq_ignore_ascii_case("DESCRIPTOR"),
        _ => false,
    };
    column && !matches!(words.next().map(|token| token.token), Some(Token::RArrow))
}

fn is_keyword(token: &Token, keyword: Keyword) -> bool {
    matches!(token, Token::Word(word) if word.keyword == keyword && word.quote_style.is_none())
}

fn word(text: &str, span: Span) -> TokenWithSpan {
    let word = Word { value: text.to_string(), quote_style: None, keyword: Keyword::NoKeyword };
    TokenWithSpan::new(Token::Word(word), span)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads_as(sql: &str) -> String {
        parse(sql).unwrap().to_string()
    }

    #[test]
    fn the_flink_spelling_is_read() {
        assert_eq!(
            reads_as("SELECT * FROM TABLE(TUMBLE(TABLE s, DESCRIPTOR(ts), INTERVAL '1' HOUR))"),
            "SELECT * FROM TABLE(TUMBLE(s, DESCRIPTOR(ts), INTERVAL '1' HOUR))"
        );
        assert_eq!(
            reads_as("SELECT * FROM TABLE(SESSION(TABLE s PARTITION BY a, b, DESCRIPTOR(ts), g))"),
            "SELECT * FROM TABLE(SESSION(__partitioned(s, a, b), DESCRIPTOR(ts), g))"
        );
        assert_eq!(
            reads_as(
                "SELECT * FROM TABLE(TUMBLE(DATA => TABLE s, TIMECOL => DESCRIPTOR(ts), SIZE => i))"
            ),
            "SELECT * FROM TABLE(TUMBLE(DATA => s, TIMECOL => DESCRIPTOR(ts), SIZE => i))"
        );
    }

    #[test]
    fn what_is_no_single_select_is_refused() {
        for (sql, code) in [
            ("", "plan::sql::empty"),
            ("DROP TABLE x", "plan::sql::not_a_query"),
            ("SELECT 1; SELECT 2", "plan::sql::several_statements"),
            ("SELECT k FROM", "plan::sql::syntax"),
            ("SELECT 'open", "plan::sql::syntax"),
        ] {
            assert_eq!(parse(sql).unwrap_err().code, code, "{sql}");
        }
    }

    #[test]
    fn long_chains_are_refused_before_they_are_read() {
        let sum = |terms: usize| format!("SELECT a{} FROM s", " + 1".repeat(terms));
        parse(&sum(SQL_DEPTH_MAX)).unwrap();
        assert_eq!(parse(&sum(SQL_DEPTH_MAX + 1)).unwrap_err().code, "plan::sql::too_deep");
        assert_eq!(parse(&sum(60_000)).unwrap_err().code, "plan::sql::too_deep");
    }

    #[test]
    fn too_many_relations_are_refused() {
        let union = |selects: usize| vec!["SELECT 1"; selects].join(" UNION ALL ");
        parse(&union(SQL_RELATIONS_MAX)).unwrap();
        let code = parse(&union(SQL_RELATIONS_MAX + 1)).unwrap_err().code;
        assert_eq!(code, "plan::sql::too_many_relations");
    }

    #[test]
    fn a_long_text_is_refused() {
        let sql = format!("SELECT '{}'", "x".repeat(SQL_BYTES_MAX));
        assert_eq!(parse(&sql).unwrap_err().code, "plan::sql::too_long");
    }

    #[test]
    fn deep_nesting_is_refused_and_does_not_overflow_the_stack() {
        let sql = format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000));
        assert_eq!(parse(&sql).unwrap_err().code, "plan::sql::too_deep");
        let sql = format!("SELECT {}1{}", "(".repeat(100), ")".repeat(100));
        assert_eq!(parse(&sql).unwrap_err().code, "plan::sql::syntax");
    }
}
