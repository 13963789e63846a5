//! How deep the tree of a query can be, and how many relations it has, by its tokens alone.
//!
//! The parser bounds its own recursion, and so what is nested by parentheses. A chain (`a + a + …`,
//! `x::int::int…`) it reads in a loop, into a tree that is as deep as the chain is long; walking
//! that tree, and dropping it, recurse. A stack overflow cannot be caught, so such a query must be
//! refused before there is a tree.
//!
//! # Invariants
//! 1. The tree of one expression is at most as deep as [`Measured::depth`] says: every operator
//!    adds a level to the operand that it applies to, and parentheses add what is inside.
//! 2. One pass, and memory by the nesting of parentheses only.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// What the tokens of a query tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Measured {
    /// Levels of its deepest expression, at most.
    pub(super) depth: usize,
    /// SELECTs, JOINs and further items of FROM.
    pub(super) relations: usize,
    /// WITH clauses inside each other.
    pub(super) with_nesting: usize,
}

/// What is known inside one pair of parentheses.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    /// Operators of the expression so far.
    operators: usize,
    /// The deepest of what stands in parentheses in that expression.
    inside: usize,
    /// The deepest expression before it.
    before: usize,
    /// Whether a comma begins another relation.
    in_from: bool,
    /// Whether it has a WITH.
    has_with: bool,
}

impl Level {
    /// Ends the expression.
    fn end(&mut self) {
        self.before = self.depth();
        (self.operators, self.inside) = (0, 0);
    }

    fn depth(&self) -> usize {
        self.before.max(self.operators + self.inside)
    }
}

/// Measures the tokens of a query.
pub(super) fn measure(tokens: &[TokenWithSpan]) -> Measured {
    let mut outer: Vec<Level> = Vec::new();
    let mut level = Level::default();
    let (mut relations, mut with_nesting) = (0, 0);
    for token in tokens {
        match &token.token {
            Token::LParen => outer.push(std::mem::take(&mut level)),
            Token::RParen => {
                let inside = level.depth() + 1;
                // One too many is the parser's to refuse.
                level = outer.pop().unwrap_or_default();
                level.inside = level.inside.max(inside);
            }
            Token::Comma => {
                relations += usize::from(level.in_from);
                level.end();
            }
            Token::Word(word) if word.quote_style.is_none() => match word.keyword {
                Keyword::SELECT => {
                    relations += 1;
                    (level.in_from, _) = (false, level.end());
                }
                Keyword::WITH => {
                    level.has_with = true;
                    let around = outer.iter().filter(|level| level.has_with).count();
                    with_nesting = with_nesting.max(around + 1);
                }
                Keyword::FROM => (level.in_from, _) = (true, level.end()),
                Keyword::JOIN => {
                    relations += 1;
                    level.end();
                }
                Keyword::WHERE
                | Keyword::GROUP
                | Keyword::HAVING
                | Keyword::ORDER
                | Keyword::QUALIFY
                | Keyword::LIMIT => (level.in_from, _) = (false, level.end()),
                Keyword::ON | Keyword::USING => level.end(),
                keyword => level.operators += usize::from(is_operator(keyword)),
            },
            operand if is_operand(operand) => {}
            _ => level.operators += 1,
        }
    }
    // Parentheses that are never closed are the parser's to refuse, too.
    let open = outer.iter().rev().fold(level.depth(), |inside, level| {
        Level { inside: level.inside.max(inside + 1), ..*level }.depth()
    });
    Measured { depth: open, relations, with_nesting }
}

/// Words that apply to an operand before or after them. Each of them may come again and again in
/// one expression.
fn is_operator(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::AND
            | Keyword::OR
            | Keyword::XOR
            | Keyword::NOT
            | Keyword::IS
            | Keyword::NOTNULL
            | Keyword::IN
            | Keyword::BETWEEN
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::SIMILAR
            | Keyword::RLIKE
            | Keyword::REGEXP
            | Keyword::MATCH
            | Keyword::DIV
            | Keyword::MOD
            | Keyword::AT
            | Keyword::COLLATE
            | Keyword::INTERVAL
            | Keyword::OVERLAPS
            | Keyword::MEMBER
            | Keyword::OPERATOR
            | Keyword::PRIOR
            | Keyword::WHEN
            | Keyword::CASE
            | Keyword::UNION
            | Keyword::INTERSECT
            | Keyword::EXCEPT
            | Keyword::MINUS
    )
}

/// Tokens that stand for a value or part two of them, and put nothing on top of each other. The
/// parts of `a.b.c` are bounded by the parser.
fn is_operand(token: &Token) -> bool {
    matches!(
        token,
        Token::Word(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::NationalStringLiteral(_)
            | Token::EscapedStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::Whitespace(_)
            | Token::Period
            | Token::SemiColon
            | Token::RBracket
            | Token::RBrace
            | Token::EOF
    )
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::*;

    fn of(sql: &str) -> Measured {
        measure(&Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().unwrap())
    }

    #[test]
    fn a_chain_is_as_deep_as_it_is_long() {
        for operator in
            [" + 1", "::int", "[1]", " AND a", " IS NULL", " AT TIME ZONE 'UTC'", " || b"]
        {
            let sql = format!("SELECT a{} FROM s", operator.repeat(70));
            assert!(of(&sql).depth >= 70, "{operator}");
        }
        assert!(of(&format!("SELECT {}a FROM s", "NOT ".repeat(70))).depth >= 70);
        assert!(of(&format!("SELECT {}a FROM s", "- ".repeat(70))).depth >= 70);
    }

    #[test]
    fn what_stands_side_by_side_is_not_deep() {
        let list = vec!["a + 1"; 500].join(", ");
        assert_eq!(of(&format!("SELECT {list} FROM s WHERE a IN ({list})")).depth, 3);
        assert_eq!(of("SELECT a + 1 FROM s WHERE b = 2 GROUP BY c || d").depth, 1);
    }

    #[test]
    fn parentheses_add_up_wherever_they_stand() {
        let mut sql = "a".to_string();
        for _ in 0..10 {
            sql = format!("({sql} + 1 + 1 + 1)");
        }
        assert_eq!(of(&sql).depth, 40);
        assert_eq!(of("(((a + b").depth, 4, "also while they are open");
        assert_eq!(of("a + b)))").depth, 4, "also when there are too many");
    }

    #[test]
    fn relations_are_counted() {
        let sql =
            "WITH c AS (SELECT a, b FROM s, t) SELECT * FROM c JOIN d ON a = b, e GROUP BY x, y";
        assert_eq!(of(sql), Measured { depth: 1, relations: 5, with_nesting: 1 });
    }
}
