//! `[queries.NAME]`, without what its SQL says.

use super::duration::Bounds;
use super::{choose, duration, required, sink};
use crate::error::{PipelineError, code};
use crate::raw::{Field, Given, Named, RawQuery};
use crate::{Late, Query};
use tidemill_model::Keep;

const GRACE: Bounds = Bounds { least_ms: 0, default_ms: 0 };
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
            given.value.clone()
        })
        .unwrap_or_default();
    check_emit(&query.emit, &owner, errors);
    Query {
        name: raw.name.clone(),
        sql,
        sql_at,
        grace_ms: duration::check(&query.grace, &format!("`grace` of {owner}"), GRACE, errors),
        late: late(&query.late, &owner, errors),
        keep: keep(&query.keep, &owner, errors),
        sink: sink::reference(&query.sink, sinks, &owner, errors),
    }
}

fn late(field: &Field<String>, owner: &str, errors: &mut Vec<PipelineError>) -> Late {
    let Some(given) = field.given() else { return Late::DeadLetter };
    let what = format!("`late` of {owner}");
    if given.value == "update" {
        let help = "write `late = \"dead_letter\"` to keep late rows aside, or a longer `grace` to \
                    have fewer of them";
        errors.push(not_available(given, &what, help));
        return Late::DeadLetter;
    }
    let choices = [("drop", Late::Drop), ("dead_letter", Late::DeadLetter)];
    choose(given, &what, &choices, errors).unwrap_or(Late::DeadLetter)
}

fn keep(field: &Field<String>, owner: &str, errors: &mut Vec<PipelineError>) -> Keep {
    match field.given() {
        None => Keep::None,
        Some(given) if given.value == "forever" => Keep::Forever,
        Some(_) => Keep::For(duration::check(field, &format!("`keep` of {owner}"), KEEP, errors)),
    }
}

fn check_emit(field: &Field<String>, owner: &str, errors: &mut Vec<PipelineError>) {
    let Some(given) = field.given() else { return };
    let what = format!("`emit` of {owner}");
    if given.value == "updates" {
        let help = "write `emit = \"final\"`, or leave it out: a window's result is emitted once, \
                    when the window closes";
        errors.push(not_available(given, &what, help));
    } else {
        choose(given, &what, &[("final", ())], errors);
    }
}

fn not_available(given: &Given<String>, what: &str, help: &str) -> PipelineError {
    let message = format!("{what} cannot be `{}` yet", given.value);
    PipelineError::new(code::NOT_AVAILABLE, message)
        .at(given.at.clone(), "not available")
        .help(help)
}
