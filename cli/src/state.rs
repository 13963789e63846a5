//! `tidemill state`: what a store holds, for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use indicatif::{HumanBytes, HumanCount};
use miette::Report;
use tidemill_codec::{decode_emitted, decode_segment};
use tidemill_embedded::sink::{OUTPUT, PrinterSink, PrinterStyle};
use tidemill_flow::advance::{Advance, Settings};
use tidemill_flow::append::Registry;
use tidemill_flow::emit::{Emit, Routes};
use tidemill_flow::merge::State;
use tidemill_flow::ports::{OpenWindows, Sink};
use tidemill_model::{Checkpoint, Epoch, LogEntry, Position};
use tidemill_pipeline::Pipeline;
use tidemill_plan::PipelinePlan;

use crate::args::StateArgs;
use crate::problem::Problem;
use crate::run::Handed;
use crate::{pipeline, print, stored, text};
use opened::Opened;

mod opened;

pub(crate) fn state(args: StateArgs) -> Result<ExitCode, Report> {
    let pipeline = args.pipeline.map(Loaded::read).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Problem::plain(format!("cannot start: {error}")))?;
    let shown = runtime.block_on(async {
        let opened = match (&args.store, &args.table, &pipeline) {
            (Some(path), _, _) => opened::file(path)?,
            (None, Some(table), Some(pipeline)) => {
                opened::table(table, &pipeline.pipeline.name).await?
            }
            (None, _, _) => return Err(Problem::plain("name a store file or a table").into()),
        };
        let mut shown = overview(&opened).await?;
        if let Some(pipeline) = &pipeline {
            shown.push_str(&open_windows(&opened, pipeline).await?);
        }
        Ok::<_, Report>(shown)
    })?;
    print(&shown)?;
    Ok(ExitCode::SUCCESS)
}

/// A pipeline file, read and planned, and where it lies.
struct Loaded {
    path: PathBuf,
    pipeline: Pipeline,
    plan: PipelinePlan,
}

impl Loaded {
    fn read(path: PathBuf) -> Result<Loaded, Report> {
        let (pipeline, plan) = pipeline::load(&path)?;
        Ok(Loaded { path, pipeline, plan })
    }
}

/// Pipeline, newest checkpoint, logs.
async fn overview(opened: &Opened) -> Result<String, Report> {
    let Opened { store, keys, .. } = opened;
    let checkpoint = stored::newest_checkpoint(&**store, keys).await?;
    let emitted = match store.last(&keys.emitted()).await.map_err(Problem::plain)? {
        Some(row) => Some(decode_emitted(&row.item.bytes).map_err(Problem::plain)?.epoch),
        None => None,
    };
    let entries = Registry::new(Arc::clone(store), keys.clone()).all().await;
    let entries = entries.map_err(Problem::plain)?;

    let mut shown = String::new();
    line(&mut shown, "pipeline", &opened.pipeline);
    describe(&mut shown, checkpoint.as_ref(), emitted);
    let mut rows =
        vec![["log", "position", "merged", "clock", "lag", "last append", ""].map(String::from)];
    for entry in &entries {
        rows.push(log_row(opened, entry, checkpoint.as_ref()).await?);
    }
    shown.push('\n');
    shown.push_str(&table(&rows));
    Ok(shown)
}

fn describe(shown: &mut String, checkpoint: Option<&Checkpoint>, emitted: Option<Epoch>) {
    let Some(checkpoint) = checkpoint else {
        line(shown, "checkpoint", "none yet");
        return;
    };
    let waiting = if checkpoint.emits && emitted < Some(checkpoint.epoch) {
        ", its results are not emitted yet"
    } else {
        ""
    };
    let at = text::time(checkpoint.at.0);
    line(shown, "checkpoint", &format!("{} at {at}{waiting}", checkpoint.epoch));
    let watermark = checkpoint.watermark.map(|watermark| text::time(watermark.0));
    line(shown, "watermark", watermark.as_deref().unwrap_or("none yet"));
    let snapshot = match &checkpoint.snapshot {
        Some(snapshot) => {
            format!("of checkpoint {}, {}", snapshot.epoch, HumanBytes(snapshot.bytes))
        }
        None => "none".to_string(),
    };
    line(shown, "snapshot", &snapshot);
    line(shown, "log since", &HumanBytes(checkpoint.log_bytes).to_string());
    let totals = &checkpoint.totals;
    for (name, count) in [
        ("records", totals.records),
        ("windows", totals.windows),
        ("results", totals.results),
        ("late", totals.late),
        ("dead letters", totals.dead_letters),
    ] {
        line(shown, name, &HumanCount(count).to_string());
    }
    for (query, progress) in &checkpoint.queries {
        line(shown, "query", &format!("{query}, fingerprint {}", progress.fingerprint));
    }
}

async fn log_row(
    opened: &Opened,
    entry: &LogEntry,
    checkpoint: Option<&Checkpoint>,
) -> Result<[String; 7], Report> {
    let Opened { store, keys, .. } = opened;
    let progress = checkpoint.and_then(|checkpoint| checkpoint.logs.get(&entry.log));
    let newest = store.last(&keys.log(&entry.log)).await.map_err(Problem::plain)?;
    let newest = newest.map(|row| decode_segment(&row.item.bytes)).transpose();
    let newest = newest.map_err(|error| {
        Problem::plain(format!("the newest segment of {} cannot be read: {error}", entry.log))
    })?;
    let merged = progress.map_or(entry.start, |progress| progress.merged);
    let tail = newest.as_ref().map_or(merged, |segment| segment.through.max(merged));
    let clock = progress.and_then(|progress| progress.clock);
    let watermark = checkpoint.and_then(|checkpoint| checkpoint.watermark);
    let lag = clock
        .zip(watermark)
        .map(|(clock, watermark)| text::duration(clock.0.saturating_sub(watermark.0).max(0)));
    let appended = newest.as_ref().map(|segment| segment.appended_at);
    let dash = || "–".to_string();
    Ok([
        entry.log.to_string(),
        position(tail, opened.offsets),
        position(merged, opened.offsets),
        clock.map_or_else(dash, |clock| text::time(clock.0)),
        lag.unwrap_or_else(dash),
        appended.map_or_else(dash, |at| text::time(at.0)),
        if progress.is_some_and(|progress| progress.idle) { "idle" } else { "" }.to_string(),
    ])
}

/// What the pipeline's queries keep open.
async fn open_windows(opened: &Opened, loaded: &Loaded) -> Result<String, Report> {
    let Loaded { path, pipeline, plan } = loaded;
    if pipeline.name != opened.pipeline {
        let (of, is) = (&opened.pipeline, &pipeline.name);
        return Err(Problem::new(
            format!("the store is of pipeline `{of}`, {} is `{is}`", path.display()),
            "name the pipeline file that the store was made with",
        )
        .into());
    }
    let printer = PrinterSink::new(Box::new(io::sink()), PrinterStyle::default(), []);
    let sinks = BTreeMap::from([(OUTPUT.to_string(), Box::new(printer) as Box<dyn Sink>)]);
    let routes = Routes { dead_letters: OUTPUT.to_string(), ..Routes::default() };
    let emit = Emit::new(sinks, routes).map_err(Problem::plain)?;
    let open = Box::new(State::new(plan).map_err(Problem::plain)?);
    let source = Arc::new(Handed::default());
    let settings = Settings::of(pipeline);
    let mut advance =
        Advance::new(Arc::clone(&opened.store), opened.keys.clone(), open, settings, source, emit);
    let open = advance.open_windows().await.map_err(Problem::plain)?;

    let mut rows = vec![["query", "open windows", "groups", "oldest", "memory"].map(String::from)];
    rows.extend(open.iter().map(open_row));
    Ok(format!("\n{}", table(&rows)))
}

fn open_row(open: &OpenWindows) -> [String; 5] {
    let dash = || "–".to_string();
    [
        open.query.clone(),
        HumanCount(open.windows).to_string(),
        HumanCount(open.groups).to_string(),
        open.oldest.map_or_else(dash, |start| text::time(start.0)),
        HumanBytes(open.bytes).to_string(),
    ]
}

/// A position as its source counts: an offset, or a Kinesis sequence number.
fn position(position: Position, offsets: &str) -> String {
    match position.to_offset() {
        Some(offset) => format!("{offsets} {}", HumanCount(offset)),
        None if position == Position::START => "start".to_string(),
        None => match position.to_sequence() {
            (number, 0) => number,
            (number, sub) => format!("{number}+{sub}"),
        },
    }
}

fn line(shown: &mut String, name: &str, value: &str) {
    let _ = writeln!(shown, "{name:<14}{value}");
}

/// Rows with aligned columns; the first row is the heading.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or(0)).collect();
    let mut shown = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let joined = cells.collect::<Vec<_>>().join("  ");
        shown.push_str(joined.trim_end());
        shown.push('\n');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_shown_as_their_source_counts() {
        let sequence = "49590338271490256608559692538361571095921575989136588898";
        for (at, said) in [
            (Position::START, "start".to_string()),
            (Position::from_offset(1234), "offset 1,234".to_string()),
            (Position::from_sequence(sequence, 0).unwrap(), sequence.to_string()),
            (Position::from_sequence(sequence, 7).unwrap(), format!("{sequence}+7")),
        ] {
            assert_eq!(position(at, "offset"), said);
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a", "bb"], ["ccc", "d"]].map(|row| row.map(String::from));
        assert_eq!(table(&rows), "a    bb\nccc  d\n");
    }
}
