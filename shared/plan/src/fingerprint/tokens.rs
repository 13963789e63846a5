//! SQL as tokens, for fingerprints: white space and comments do not count, keywords and unquoted names
//! are in lower case, everything else is as it is written.
//!
//! A lexer of our own and not the engine's, so that another version of the engine cannot give a query
//! another fingerprint.
//!
//! # Invariants
//! 1. Two texts with equal tokens are read as the same query: what the parser takes for one token is
//!    one here. Text that this lexer does not understand is kept as it is written.
//!
//! Not here: reading SQL (`sql`).

/// Operators of several characters, the longest first: `a ~~ b` is another operator than `a ~ ~b`.
const OPERATORS: [&str; 35] = [
    "!~~*", "||/", "<=>", "!~*", "!~~", "~~*", "->>", "#>>", "<=", "<>", "<<", "<@", ">=", ">>",
    "!=", "!!", "!~", "~*", "~~", "||", "|/", "|>", "->", "=>", "==", "::", ":=", "#>", "#-", "@>",
    "@@", "@?", "&&", "^@", "//",
];

/// The tokens of `sql`, each with the byte at which it begins.
pub(super) fn tokens(sql: &str) -> Vec<(usize, String)> {
    let mut lexer = Lexer { sql, at: 0 };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next() {
        tokens.push(token);
    }
    tokens
}

struct Lexer<'a> {
    sql: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.sql[self.at..]
    }

    fn next(&mut self) -> Option<(usize, String)> {
        self.skip_space();
        let begin = self.at;
        let first = self.rest().chars().next()?;
        let end = begin + self.length(first);
        self.at = end;
        let text = &self.sql[begin..end];
        let is_word = is_word_start(first) && !text.ends_with(['\'', '"']);
        Some((begin, if is_word { text.to_lowercase() } else { text.to_string() }))
    }

    fn skip_space(&mut self) {
        loop {
            let rest = self.rest();
            let spaces = rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
            self.at += spaces;
            let rest = self.rest();
            if rest.starts_with("--") {
                self.at += rest.find(['\n', '\r']).unwrap_or(rest.len());
            } else if rest.starts_with("/*") && !rest.starts_with("/*!") {
                self.at += comment(rest);
            } else if spaces == 0 {
                return;
            }
        }
    }

    /// Bytes of the token that begins here, with `first`.
    fn length(&self, first: char) -> usize {
        let rest = self.rest();
        match first {
            '\'' => quoted(rest, '\'', false),
            '"' | '`' => quoted(rest, first, false),
            '$' => dollar_quoted(rest).unwrap_or_else(|| placeholder(rest)),
            '0'..='9' => number(rest),
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => number(rest),
            // A hint: what is in it counts.
            '/' if rest.starts_with("/*") => comment(rest),
            _ => prefixed_text(rest)
                .or_else(|| word(rest))
                .or_else(|| OPERATORS.iter().find(|it| rest.starts_with(**it)).map(|it| it.len()))
                .unwrap_or(first.len_utf8()),
        }
    }
}

fn is_word_start(c: char) -> bool {
    c.is_alphabetic() || c == '_' || c == '#' || c == '@'
}

fn is_word_part(c: char) -> bool {
    c.is_alphabetic() || c.is_ascii_digit() || matches!(c, '_' | '@' | '$' | '#')
}

fn word(text: &str) -> Option<usize> {
    let mut chars = text.chars();
    let first = chars.next().filter(|c| is_word_start(*c))?;
    // A lone `#` or `@` is an operator.
    let is_name = matches!(first, '#' | '@');
    if is_name && !chars.next().is_some_and(|c| c.is_alphabetic() || c == '_') {
        return None;
    }
    Some(text.find(|c| !is_word_part(c)).unwrap_or(text.len()))
}

/// A text with a letter before its quote: `E'…'`, `X'…'`, `N'…'`, `B'…'`, `R'…'`, `U&'…'`.
fn prefixed_text(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    if first.eq_ignore_ascii_case(&'u') && text[1..].starts_with("&'") {
        return Some(2 + quoted(&text[2..], '\'', false));
    }
    let has_escapes = match first.to_ascii_lowercase() {
        'e' | 'x' => true,
        'n' | 'b' | 'r' => false,
        _ => return None,
    };
    let may_be_double = matches!(first.to_ascii_lowercase(), 'b' | 'r');
    match text[1..].chars().next()? {
        '\'' => Some(1 + quoted(&text[1..], '\'', has_escapes)),
        '"' if may_be_double => Some(1 + quoted(&text[1..], '"', false)),
        _ => None,
    }
}

/// Bytes of a quoted text with both quotes; a doubled quote does not end it.
fn quoted(text: &str, quote: char, has_escapes: bool) -> usize {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && has_escapes {
            chars.next();
        } else if c == quote {
            match chars.peek() {
                Some((_, next)) if *next == quote => drop(chars.next()),
                _ => return at + quote.len_utf8(),
            }
        }
    }
    text.len()
}

/// Bytes of `$$…$$` or `$tag$…$tag$`.
fn dollar_quoted(text: &str) -> Option<usize> {
    let tag = text[1..].find(|c: char| !c.is_alphanumeric() && c != '_')? + 1;
    let tag = text[..=tag].ends_with('$').then(|| &text[..=tag])?;
    let body = &text[tag.len()..];
    Some(body.find(tag).map_or(text.len(), |end| 2 * tag.len() + end))
}

/// Bytes of `$1` or `$name`.
fn placeholder(text: &str) -> usize {
    let name = &text[1..];
    1 + name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len())
}

/// Bytes of a number: `12`, `1.5`, `.5`, `1e-3`, `0xff`, `12L`.
fn number(text: &str) -> usize {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    if let Some(hex) = text.strip_prefix("0x") {
        return 2 + hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
    }
    let mut end = digits(text);
    if text[end..].starts_with('.') {
        end += 1 + digits(&text[end + 1..]);
    }
    if let Some(exponent) = text[end..].strip_prefix(['e', 'E']) {
        let sign = usize::from(exponent.starts_with(['+', '-']));
        let power = digits(&exponent[sign..]);
        end += if power > 0 { 1 + sign + power } else { 0 };
    }
    end + usize::from(text[end..].starts_with('L'))
}

/// Bytes of a comment between `/*` and `*/`; comments may stand in each other.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

    use super::*;

    fn texts(sql: &str) -> Vec<String> {
        tokens(sql).into_iter().map(|(_, text)| text).collect()
    }

    /// Where the parser's tokens begin; `None`: it reads no tokens there.
    fn parsed(sql: &str) -> Option<Vec<usize>> {
        let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().ok()?;
        let line = |number: u64| {
            let lines = sql.match_indices('\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(lines).nth(number as usize - 1).unwrap()
        };
        let begins = tokens.iter().filter(|it| !matches!(it.token, Token::Whitespace(_)));
        let begins = begins.map(|it| {
            let begin = line(it.span.start.line);
            let column = it.span.start.column as usize - 1;
            begin + sql[begin..].chars().take(column).map(char::len_utf8).sum::<usize>()
        });
        Some(begins.collect())
    }

    fn begins(sql: &str) -> Vec<usize> {
        tokens(sql).into_iter().map(|(at, _)| at).collect()
    }

    #[test]
    fn space_comments_and_case_of_names_do_not_count() {
        let plain = texts("select k, 'A b' from s where x >= 1.5e3");
        for other in [
            "SELECT k,\n\t'A b'  FROM S WHERE X>=1.5e3",
            "Select /* a /* nested */ comment */ k, 'A b' -- to the end\nfrom s where x >= 1.5e3 -- end",
        ] {
            assert_eq!(texts(other), plain, "{other}");
        }
    }

    #[test]
    fn what_is_quoted_is_kept_as_it_is_written() {
        for (one, other) in [
            ("'a b'", "'a  b'"),
            ("'A'", "'a'"),
            ("\"K\"", "\"k\""),
            ("'it''s'", "'it' 's'"),
            ("E'a\\'--b'", "E'a\\'--c'"),
            ("$$ A $$", "$$ a $$"),
            ("$x$ A $x$", "$x$ a $x$"),
            ("a ~~ b", "a ~ ~b"),
            ("1L", "1 L"),
            ("/*! a */", "/*! b */"),
            ("1.50", "1.5"),
        ] {
            assert_ne!(texts(one), texts(other), "{one} {other}");
        }
    }

    #[test]
    fn tokens_begin_where_the_parsers_do() {
        for sql in [
            "SELECT a.b, t.\"x y\" FROM s WHERE a<=b AND a<-1 AND b>= -2",
            "x'ff' X'f\\'f' n'a' N'a' b'01' e'\\n' E'it\\'s' r'\\d' U&'d\\0061t' eat exit ubu",
            "1 1.5 .5 1. 1e5 1e-5 1E+5 12L 0xff 1e a1 t1.c 5.a",
            "a!~*b a!~b a~*b a~~b a~~*b a!~~b a!~~*b a||b a::int a->b a->>b a=>b a==b a!=b a<>b",
            "a--b\n+c /* x */ - d // e",
            "'it''s' \"a\"\"b\" `q`",
            "$$a'b$$ $t$ a $$ b $t$ $1",
            "ä.ö = 'ü' AND größe > 1",
            "[1, 2][1] {a: 1} @> <@ && << >> ^@ a | b & c # d",
        ] {
            assert_eq!(Some(begins(sql)), parsed(sql), "{sql}");
        }
    }

    /// Of pieces that begin, end or continue tokens in every order.
    #[test]
    fn tokens_begin_where_the_parsers_do_in_random_texts() {
        let pieces = [
            "'", "''", "\"", "a", "E", "x", "B", "r", "n", "1", "1.", ".5", "e5", " ", "\n", "--",
            "/*", "*/", "-", "+", "<", ">", "=", "!", "~", "*", "|", "||", ":", "::", "(", ")",
            ",", "$$", "_", "ü", "/", "%", "L", "0x",
        ];
        let mut random = 88_172_645_463_325_252_u64;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % below as u64) as usize
        };
        let mut compared = 0;
        for _ in 0..20_000 {
            let sql: String = (0..1 + next(10)).map(|_| pieces[next(pieces.len())]).collect();
            // What is in a hint is one token here.
            if let Some(expected) = parsed(&sql).filter(|_| !sql.contains("/*!")) {
                assert_eq!(begins(&sql), expected, "{sql:?}");
                compared += 1;
            }
        }
        assert!(compared > 5_000, "{compared}");
    }
}
