//! `[queries.NAME]`, without what its SQL says.

use super::duration::Bounds;
use super::{choose, duration, required, sink};
use crate::error::{PipelineError, code};
use crate::raw::{BACKSLASH, Field, Given, Named, RawQuery, literal};
use crate::{Condition, EmitMode, Incomplete, Late, Query};
use tidemill_model::Keep;

const GRACE: Bounds = Bounds { least_ms: 0, default_ms: 0 };
const ALLOWED_LATENESS: Bounds = Bounds { least_ms: 0, default_ms: 0 };
const KEEP: Bounds = Bounds { least_ms: 1, default_ms: 24 * 3600 * 1000 };

pub(super) fn check(
    raw: &Named<RawQuery>,
    sinks: &[&str],
    errors: &mut Vec<PipelineError>,
) -> Query {
    let owner = format!("query `{}`", raw.name);
    let query = &raw.value;
    let help = "write `sql = \"\"\"SELECT … FROM TUMBLE(…) GROUP BY …\"\"\"`";
    let (sql, sql_at) = required(&query.sql, "sql", &owner, raw.at.clone(), help, errors)
        .map(|given| {
            if given.value.0.trim().is_empty() {
                errors.push(
                    PipelineError::new(code::BAD_VALUE, format!("`sql` of {owner} is empty"))
                        .at(given.at.clone(), "no SQL")
                        .help(help),
                );
            }
            let (sql, place) = &given.value;
            if let Some((index, character)) = unprintable(sql) {
                let at = literal::place(&place.bytes, index..index + character.len_utf8());
                errors.push(escaped(&format!("`sql` of {owner}"), character, at));
            }
            given.value.clone()
        })
        .unwrap_or_default();
    let (late, allowed_lateness_ms) = lateness(raw, &owner, errors);
    let emit = emit(&query.emit, &owner, errors);
    Query {
        name: raw.name.clone(),
        sql,
        sql_at,
        grace_ms: duration::check(&query.grace, &format!("`grace` of {owner}"), GRACE, errors),
        late,
        allowed_lateness_ms,
        emit,
        emit_when: emit_when(&query.emit_when, emit, &owner, errors),
        keep: keep(&query.keep, &owner, errors),
        incomplete: incomplete(&query.incomplete, &owner, errors),
        sinks: sink::references(&query.sinks, sinks, &owner, errors),
    }
}

/// The first character that is never meant in SQL: an escape of TOML, such as \b, has become it.
fn unprintable(sql: &str) -> Option<(usize, char)> {
    sql.char_indices().find(|(_, c)| c.is_control() && !['\t', '\n', '\r'].contains(c))
}

fn escaped(what: &str, character: char, at: std::ops::Range<usize>) -> PipelineError {
    let code_point = u32::from(character);
    let written = match character {
        '\u{8}' => "\\b is a backspace here",
        '\u{c}' => "\\f is a form feed here",
        '\u{1b}' => "\\e is the escape character here",
        _ => "an escape has become it",
    };
    let message = format!("{what} has the character U+{code_point:04X}: {written}");
    PipelineError::new(code::BAD_VALUE, message).at(at, "here").help(BACKSLASH)
}

/// What becomes of late rows, and how long after it has closed a result may change.
fn lateness(raw: &Named<RawQuery>, owner: &str, errors: &mut Vec<PipelineError>) -> (Late, i64) {
    let late = match raw.value.late.given() {
        None => Late::DeadLetter,
        Some(given) => {
            let choices =
                [("drop", Late::Drop), ("dead_letter", Late::DeadLetter), ("update", Late::Update)];
            choose(given, &format!("`late` of {owner}"), &choices, errors)
                .unwrap_or(Late::DeadLetter)
        }
    };
    let field = &raw.value.allowed_lateness;
    let what = format!("`allowed_lateness` of {owner}");
    match (late, field.given()) {
        (Late::Update, _) => {
            let at = raw.value.late.given().map_or(raw.at.clone(), |late| late.at.clone());
            let help = "write `allowed_lateness = \"1h\"`: so long after a window has closed its \
                        rows may still come, and so long its state is kept";
            required(field, "allowed_lateness", owner, at, help, errors);
            let found = errors.len();
            let ms = duration::check(field, &what, ALLOWED_LATENESS, errors);
            if let (0, Some(given), true) = (ms, field.given(), errors.len() == found) {
                let help = "write how late rows may come, such as \"1h\", or leave out \
                            `late = \"update\"`";
                let message = format!("{what} is 0, so that no late row could change a result");
                errors.push(conflict(message, given, "no time at all", help));
            }
            (late, ms)
        }
        (_, Some(given)) => {
            let message = format!("{what} needs `late = \"update\"`");
            let help = "write `late = \"update\"` to have results emitted again when late rows \
                        come; to wait for them before the first result, write `grace` instead";
            errors.push(conflict(message, given, "no late row changes a result", help));
            (late, 0)
        }
        (_, None) => (late, 0),
    }
}

fn keep(field: &Field<String>, owner: &str, errors: &mut Vec<PipelineError>) -> Keep {
    match field.given() {
        None => Keep::None,
        Some(given) if given.value == "forever" => Keep::Forever,
        Some(_) => Keep::For(duration::check(field, &format!("`keep` of {owner}"), KEEP, errors)),
    }
}

fn incomplete(field: &Field<String>, owner: &str, errors: &mut Vec<PipelineError>) -> Incomplete {
    let Some(given) = field.given() else { return Incomplete::Drop };
    let choices = [("drop", Incomplete::Drop), ("emit", Incomplete::Emit)];
    let what = format!("`incomplete` of {owner}");
    choose(given, &what, &choices, errors).unwrap_or_default()
}

fn emit(field: &Field<String>, owner: &str, errors: &mut Vec<PipelineError>) -> EmitMode {
    let Some(given) = field.given() else { return EmitMode::Final };
    let choices = [("final", EmitMode::Final), ("updates", EmitMode::Updates)];
    choose(given, &format!("`emit` of {owner}"), &choices, errors).unwrap_or(EmitMode::Final)
}

fn emit_when(
    field: &Field<String>,
    emit: EmitMode,
    owner: &str,
    errors: &mut Vec<PipelineError>,
) -> Option<Condition> {
    let given = field.given()?;
    if given.value.trim().is_empty() {
        errors.push(
            PipelineError::new(code::BAD_VALUE, format!("`emit_when` of {owner} is empty"))
                .at(given.at.clone(), "no condition")
                .help("write a condition over the result's columns, such as \"views > 100\""),
        );
        return None;
    }
    if let Some((_, character)) = unprintable(&given.value) {
        errors.push(escaped(&format!("`emit_when` of {owner}"), character, given.at.clone()));
    }
    if emit == EmitMode::Updates {
        let message = format!("`emit_when` and `emit = \"updates\"` of {owner} exclude each other");
        let help = "leave one of them out: with \"updates\" every change is emitted, whether or \
                    not the condition holds";
        errors.push(conflict(message, given, "every change is emitted already", help));
        return None;
    }
    Some(Condition { sql: given.value.clone(), at: given.at.clone() })
}

fn conflict(message: String, given: &Given<String>, label: &str, help: &str) -> PipelineError {
    PipelineError::new(code::CONFLICT, message).at(given.at.clone(), label).help(help)
}
