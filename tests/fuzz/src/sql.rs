//! A query's SQL: a plan that can be run, the same each time, or a refusal with its place.

use std::fmt::Write;
use std::path::Path;
use std::sync::LazyLock;

use tidemill_flow::combine::Combiner;
use tidemill_flow::merge::State;
use tidemill_pipeline::parse;
use tidemill_plan::{PipelinePlan, PlanErrors, explain, plan};

use crate::Reached;
use crate::pipeline::{FOLDER, is_helpful, shown};

/// The pipeline of `docs/sql.md`, without a query.
static SHOP: LazyLock<String> =
    LazyLock::new(|| std::fs::read_to_string(format!("{FOLDER}/pipeline.toml")).unwrap());

/// The text of a query.
pub fn sql(input: &[u8]) -> Reached {
    let sql = String::from_utf8_lossy(input);
    let text = format!("{}\n[queries.q]\nsql = \"{}\"\n", *SHOP, escaped(&sql));
    let Ok(pipeline) = parse("pipeline.toml", &text, Path::new(FOLDER), &|_| None) else {
        // No SQL at all, control characters, and a file that is too large, are refused before.
        let is_control = |c: char| c.is_control() && !['\t', '\n', '\r'].contains(&c);
        assert!(
            sql.trim().is_empty()
                || sql.contains(is_control)
                || text.len() > tidemill_pipeline::PIPELINE_FILE_BYTES_MAX
        );
        return Reached::Rejected;
    };
    assert_eq!(pipeline.queries["q"].sql, *sql, "SQL comes out of the file as it was put in");
    match (plan(&pipeline), plan(&pipeline)) {
        (Ok(planned), Ok(again)) => {
            assert_eq!(identity(&planned), identity(&again), "planned anew, it is another plan");
            Combiner::new(&planned).expect("what is planned can be run in ingest");
            State::new(&planned).expect("what is planned can be run in advance");
            Reached::Accepted
        }
        (Err(errors), Err(again)) => {
            assert_eq!(shown(&errors), shown(&again));
            is_refused_in_our_terms(&errors, &text, &pipeline.queries["q"].sql_at.value);
            Reached::Rejected
        }
        (first, _) => panic!("refused once, planned once; first {first:?}"),
    }
}

fn identity(planned: &PipelinePlan) -> String {
    let mut text = String::new();
    for query in &planned.queries {
        let _ = write!(text, "{} {:?} {}", explain(query), query.output, query.fingerprint);
    }
    text
}

fn is_refused_in_our_terms(errors: &PlanErrors, text: &str, sql: &std::ops::Range<usize>) {
    assert!(!errors.errors.is_empty());
    for error in &errors.errors {
        assert!(error.code().starts_with("plan::"));
        is_helpful(error, text);
        let place = error.place().unwrap();
        assert!(sql.start <= place.start && place.end <= sql.end, "{place:?} is not in the SQL");
    }
}

/// Any text inside the quotes of a TOML string.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => escaped.extend(['\\', c]),
            '\n' => escaped.push_str("\\n"),
            c if c.is_control() => drop(write!(escaped, "\\u{:04x}", u32::from(c))),
            c => escaped.push(c),
        }
    }
    escaped
}
