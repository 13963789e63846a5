//! The pipeline file: a pipeline without contradictions, or mistakes with their places.

use std::path::Path;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};
use tidemill_pipeline::{EventTime, Pipeline, PipelineError, code, parse};
use tidemill_plan::plan;

use crate::Reached;

/// The folder of the files that seeds name.
pub(crate) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/shop");

/// The text of a pipeline file.
pub fn pipeline_file(input: &[u8]) -> Reached {
    let text = String::from_utf8_lossy(input);
    let env = |name: &str| name.starts_with("SET").then(|| "set".to_string());
    let read = || parse("pipeline.toml", &text, Path::new(FOLDER), &env);
    match read() {
        Ok(pipeline) => {
            is_consistent(&text, &pipeline);
            let sinks = pipeline.queries.values().flat_map(|query| &query.sinks);
            let sinks: Vec<&String> = sinks.chain(&pipeline.dead_letter_sink).collect();
            assert!(sinks.into_iter().all(|sink| pipeline.sinks.contains_key(sink)));
            planned(&text, &pipeline);
            assert_eq!(format!("{pipeline:?}"), format!("{:?}", read().unwrap()));
            Reached::Accepted
        }
        Err(errors) => {
            assert!(errors.iter().len() > 0);
            for error in &errors {
                is_helpful(error, &text);
            }
            assert_eq!(shown(&errors), shown(&read().unwrap_err()));
            if let Some(rest) = errors.rest() {
                is_consistent(&text, rest);
                planned(&text, rest);
            }
            Reached::Rejected
        }
    }
}

/// A mistake has a place inside the file, and a way out.
pub(crate) fn is_helpful(error: &PipelineError, text: &str) {
    assert!(!error.to_string().is_empty());
    if matches!(error.code(), code::TOO_LARGE | code::UNREADABLE) {
        return;
    }
    let place = error.place().unwrap_or_else(|| panic!("no place: {error}"));
    assert!(text.get(place.clone()).is_some(), "{place:?} is no place in the file: {error}");
    let shown = shown(error);
    assert!(shown.contains("pipeline.toml:"), "no file and line are printed: {shown}");
}

/// What a person sees.
pub(crate) fn shown(diagnostic: &dyn Diagnostic) -> String {
    let mut text = String::new();
    let theme = GraphicalTheme::unicode_nocolor();
    GraphicalReportHandler::new_themed(theme).render_report(&mut text, diagnostic).unwrap();
    text
}

/// The SQL is planned, as `tidemill check` does it, also of files with mistakes elsewhere.
fn planned(text: &str, pipeline: &Pipeline) {
    if let Err(errors) = plan(pipeline) {
        errors.errors.iter().for_each(|error| is_helpful(error, text));
    }
}

fn is_consistent(text: &str, pipeline: &Pipeline) {
    for stream in pipeline.streams.values() {
        assert!(!stream.columns.is_empty());
        if let EventTime::Column(index) = stream.event_time {
            assert!(stream.columns[index].data_type.is_timestamp());
        }
        assert!(stream.out_of_orderness_ms >= 0 && stream.idle_after_ms > 0);
        assert!(stream.max_future_ms >= 0);
        assert!(stream.columns.iter().all(|column| !column.path.is_empty()));
    }
    for query in pipeline.queries.values() {
        let place = &query.sql_at;
        if place.bytes.is_empty() {
            assert!(query.sql.is_empty(), "SQL without a place");
            continue;
        }
        assert_eq!(place.bytes.len(), query.sql.len() + 1, "every byte of SQL has a place");
        assert!(place.bytes.is_sorted() && place.value.end <= text.len());
        for at in (0..=query.sql.len()).filter(|at| query.sql.is_char_boundary(*at)) {
            let range = query.place(at..query.sql.len());
            assert!(text.get(range).is_some(), "byte {at} of the SQL has no place in the file");
        }
    }
    assert!(pipeline.tick_ms >= 1000 && pipeline.segment_ttl_ms > 0);
}
