//! Sinks: where results and dead letters go.
//!
//! | kind | what a result becomes | module |
//! |---|---|---|
//! | `dynamodb` | an item under its query's key and window | [`dynamodb`] |
//! | `kinesis` | a record | [`kinesis`] |
//! | `sqs` | a message | [`sqs`] |
//! | `s3` | a line or row of its epoch's object | [`s3`] |
//! | `kafka` | a record | [`kafka`], behind the feature `kafka` |
//!
//! # Invariants
//! 1. Nothing here has state to restore: an epoch that is emitted again has the same keys, names and
//!    ids as before, and that is what makes it harmless.
//! 2. Everything that is wrong with a pipeline's sinks and can be known at start is told at start,
//!    all at once.
//! 3. A row that its sink can never take is rejected by its own size alone, never by how a queue or
//!    a stream happens to be set: so a replay rejects the same rows.
//!
//! Not here: which epoch is emitted when (`tidemill_flow::advance`), how a row or a dead letter
//! becomes JSON (`tidemill_flow::emit`).

mod dynamodb;
mod failure;
#[cfg(feature = "kafka")]
mod kafka;
mod kinesis;
mod messages;
mod rows;
mod s3;
#[cfg(test)]
mod samples;
mod sqs;

use std::collections::BTreeMap;

use futures::future::join_all;
use tidemill_flow::emit::{Emit, Routes, json};
use tidemill_flow::ports;
use tidemill_pipeline::{Pipeline, Sink, SinkKind};
use tidemill_plan::PipelinePlan;

use self::dynamodb::DynamoSink;
use self::kinesis::KinesisSink;
use self::rows::{Queries, Query};
use self::s3::S3Sink;
use self::sqs::SqsSink;
use crate::{Aws, Fault};

/// Opens the sinks that a pipeline's queries and dead letters go to.
///
/// Asks the services whether their tables, streams, queues and buckets exist, where the role is
/// allowed to ask. Writes nothing.
///
/// # Errors
/// Everything that is wrong.
pub async fn open(aws: &Aws, pipeline: &Pipeline, plan: &PipelinePlan) -> Result<Emit, Vec<Fault>> {
    let mut faults = Vec::new();
    let (routes, used) = route(pipeline, plan, &mut faults);
    let opened = join_all(used.iter().filter_map(|(name, queries)| {
        let sink = pipeline.sinks.get(name)?;
        Some(open_one(aws, &pipeline.name, sink, queries.clone()))
    }));
    let mut sinks: BTreeMap<String, Box<dyn ports::Sink>> = BTreeMap::new();
    for (name, opened) in used.keys().zip(opened.await) {
        match opened {
            Ok(sink) => drop(sinks.insert(name.clone(), sink)),
            Err(found) => faults.extend(found),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Emit::new(sinks, routes).map_err(|missing| {
        vec![Fault::new(missing.to_string(), "define it in the pipeline file under [sinks.NAME]")]
    })
}

/// Which query goes where, and the queries of every sink that something goes to.
fn route(
    pipeline: &Pipeline,
    plan: &PipelinePlan,
    faults: &mut Vec<Fault>,
) -> (Routes, BTreeMap<String, Queries>) {
    let mut routes = Routes::default();
    let mut used: BTreeMap<String, Queries> = BTreeMap::new();
    for planned in &plan.queries {
        let name = &planned.name;
        let sinks = pipeline.queries.get(name).map_or_else(Vec::new, |query| query.sinks.clone());
        if sinks.is_empty() {
            faults.push(Fault::new(
                format!("query `{name}` names no sink, and a function has no --output"),
                format!("write `sink = \"NAME\"` under [queries.{name}] and define [sinks.NAME]"),
            ));
            continue;
        }
        for sink in &sinks {
            let query = Query::from(planned.as_ref());
            used.entry(sink.clone()).or_default().insert(name.clone(), query);
        }
        routes.results.insert(name.clone(), sinks);
    }
    match &pipeline.dead_letter_sink {
        Some(sink) => {
            routes.dead_letters = sink.clone();
            used.entry(sink.clone()).or_default();
        }
        None => faults.push(Fault::new(
            "no sink takes the dead letters, and a function has no --output",
            "write `dead_letters = \"NAME\"` at the top of the pipeline file, before the first \
             [section], and define [sinks.NAME]; one that takes results will do",
        )),
    }
    (routes, used)
}

async fn open_one(
    aws: &Aws,
    pipeline: &str,
    sink: &Sink,
    queries: Queries,
) -> Result<Box<dyn ports::Sink>, Vec<Fault>> {
    let Sink { name, kind } = sink;
    let mut faults = columns(sink, &queries);
    let opened: Box<dyn ports::Sink> = match kind {
        SinkKind::DynamoDb { table } => {
            let sink = DynamoSink::new(aws, name, table, queries);
            faults.extend(sink.check().await);
            Box::new(sink)
        }
        SinkKind::Kinesis { stream } => {
            let sink = KinesisSink::new(aws, name, stream, queries);
            faults.extend(sink.check().await);
            Box::new(sink)
        }
        SinkKind::Sqs { queue_url } => {
            let sink = SqsSink::new(aws, pipeline, name, queue_url, queries);
            faults.extend(sink.check().await);
            Box::new(sink)
        }
        SinkKind::S3 { bucket, prefix, format } => {
            let sink = S3Sink::new(aws, name, bucket, prefix, *format, queries);
            faults.extend(sink.check().await);
            Box::new(sink)
        }
        #[cfg(feature = "kafka")]
        SinkKind::Kafka { bootstrap_servers, topic, properties } => {
            let opened = kafka::KafkaSink::new(name, bootstrap_servers, topic, properties, queries);
            match opened {
                Ok(sink) => {
                    faults.extend(sink.check().await);
                    Box::new(sink)
                }
                Err(fault) => {
                    faults.push(fault);
                    return Err(faults);
                }
            }
        }
        #[cfg(not(feature = "kafka"))]
        SinkKind::Kafka { .. } => {
            faults.push(Fault::new(
                format!("sink `{name}` is a Kafka topic, and this program is built without Kafka"),
                "build it with the cargo feature `kafka`",
            ));
            return Err(faults);
        }
        SinkKind::File { .. } | SinkKind::Stdout => {
            faults.push(on_one_machine(sink));
            return Err(faults);
        }
    };
    if faults.is_empty() { Ok(opened) } else { Err(faults) }
}

fn on_one_machine(sink: &Sink) -> Fault {
    let name = &sink.name;
    let what = if sink.kind == SinkKind::Stdout { "standard output" } else { "files" };
    Fault::new(
        format!("sink `{name}` writes to {what}, which a function does not have"),
        format!(
            "give [sinks.{name}] a type that stays: \"dynamodb\", \"kinesis\", \"sqs\", \"s3\" or \
             \"kafka\""
        ),
    )
}

/// Columns that the sink cannot hold, or that have a name of its own.
fn columns(sink: &Sink, queries: &Queries) -> Vec<Fault> {
    let reserved: &[&str] = match &sink.kind {
        SinkKind::DynamoDb { .. } => &dynamodb::RESERVED,
        SinkKind::Kinesis { .. } => &messages::TAGS,
        SinkKind::S3 { .. } => &[s3::RESULT_ID],
        SinkKind::Sqs { .. }
        | SinkKind::Kafka { .. }
        | SinkKind::File { .. }
        | SinkKind::Stdout => &[],
    };
    let mut faults = Vec::new();
    for query in queries.values() {
        let (query_name, sink_name) = (&query.name, &sink.name);
        for column in query.schema.fields().iter().map(|field| field.name()) {
            if reserved.contains(&column.as_str()) {
                faults.push(Fault::new(
                    format!(
                        "query `{query_name}` has a column `{column}`, and sink `{sink_name}` has \
                         something of its own under that name"
                    ),
                    format!("give the column another name: {column} AS {column}_value"),
                ));
            }
        }
        if let Err(error) = json::check(&query.schema) {
            faults.push(Fault::new(
                format!("sink `{sink_name}` cannot hold query `{query_name}`: {error}"),
                "cast the column to another type, or leave it out",
            ));
        }
    }
    faults
}

#[cfg(test)]
mod tests;
