//! Who a query is to its stored state: a hash of everything that gives the state its meaning, and of
//! nothing else.
//!
//! State, blocks of segments and results in the making are found by fingerprint alone, so what is not
//! in it can be changed while a pipeline runs, and what is in it cannot.
//!
//! # Invariants
//! 1. No two queries of a pipeline share one: the query's name is in it.
//! 2. It holds no text and no plan of the engine's, so that another version of the engine alone changes
//!    none.
//! 3. White space, comments and the case of keywords are not in it.
//! 4. Every part is written with its length, so that different parts never give the same bytes.
//!
//! Not here: the lexer (`tokens`), how types are spelled (`types`).

mod tokens;
mod types;

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use tidemill_model::{ColumnType, Fingerprint, Keep};
use tidemill_pipeline::{Column, EmitMode, EventTime, Incomplete, Late, PathStep, Query, Stream};
use xxhash_rust::xxh3::xxh3_128;

use crate::engine::Functions;
use crate::graph::{Derived, Graph, Node, NodeKind, OperatorPlan};
use crate::lineage::any_node;
use crate::rows::stream_scan;
use crate::schema::ARRIVAL_TIME;
use crate::stage::Stage;
use crate::tables::StaticTable;

/// Version of what this planner makes of a query's text. It changes when the same text comes to mean
/// something else, or is cut into other stages.
const PLANNER: u32 = 1;

/// Version of the state of every operator and of every built-in aggregate.
const STATE: u32 = 1;

/// What a query reads, column by column.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    streams: BTreeMap<String, BTreeSet<String>>,
    tables: BTreeMap<String, BTreeMap<String, DataType>>,
}

impl Reads {
    /// What `plan` reads: analyzed, not cut yet, and without the columns that nothing needs.
    pub(crate) fn of(plan: &LogicalPlan) -> Result<Reads> {
        let mut reads = Reads::default();
        plan.apply_with_subqueries(|node| {
            let LogicalPlan::TableScan(scan) = node else { return Ok(TreeNodeRecursion::Continue) };
            let fields = scan.projected_schema.fields().iter();
            match stream_scan(node) {
                Some(stream) => {
                    let columns = reads.streams.entry(stream.stream).or_default();
                    columns.extend(fields.map(|field| field.name().clone()));
                    columns.extend([stream.event_time].into_iter().chain(stream.gap));
                }
                None => {
                    let table = reads.tables.entry(scan.table_name.table().to_string());
                    let columns = table.or_default();
                    columns.extend(fields.map(|it| (it.name().clone(), it.data_type().clone())));
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(reads)
    }
}

/// A query, planned as far as its fingerprint needs it.
pub(crate) struct Identity<'a> {
    pub(crate) query: &'a Query,
    pub(crate) reads: &'a Reads,
    pub(crate) streams: &'a BTreeMap<String, Stream>,
    pub(crate) static_tables: &'a BTreeMap<String, StaticTable>,
    pub(crate) functions: &'a Functions,
    pub(crate) stages: &'a [Stage],
    pub(crate) graph: Option<&'a Graph>,
    pub(crate) upper: &'a LogicalPlan,
    /// Schema of its results.
    pub(crate) output: &'a SchemaRef,
}

impl Identity<'_> {
    /// The query's fingerprint.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let mut text = Text::default();
        text.add("planner", PLANNER);
        text.add("name", &self.query.name);
        self.settings(&mut text);
        self.sql(&mut text);
        self.declarations(&mut text);
        self.tables_of_advance(&mut text);
        self.state(&mut text);
        text.add("results", types::schema(self.output));
        Fingerprint(xxh3_128(text.0.as_bytes()))
    }

    fn settings(&self, text: &mut Text) {
        let query = self.query;
        text.add("grace", query.grace_ms);
        text.add(
            "late",
            match query.late {
                Late::Drop => "drop",
                Late::DeadLetter => "dead letter",
                Late::Update => "update",
            },
        );
        text.add("allowed lateness", query.allowed_lateness_ms);
        text.add(
            "keep",
            match query.keep {
                Keep::None => "none".to_string(),
                Keep::For(ms) => ms.to_string(),
                Keep::Forever => "forever".to_string(),
            },
        );
        text.add(
            "incomplete",
            match query.incomplete {
                Incomplete::Drop => "drop",
                Incomplete::Emit => "emit",
            },
        );
        text.add(
            "emit",
            match query.emit {
                EmitMode::Final => "final",
                EmitMode::Updates => "updates",
            },
        );
    }

    /// The texts as tokens, and the versions of the program's own functions that they may call.
    fn sql(&self, text: &mut Text) {
        let sql = tokens::tokens(&self.query.sql);
        let when = self.query.emit_when.as_ref().map(|when| tokens::tokens(&when.sql));
        let mut words = BTreeSet::new();
        for (part, tokens) in [("sql", Some(sql)), ("emit when", when)] {
            for (_, token) in tokens.into_iter().flatten() {
                text.add(part, &token);
                words.insert(token.trim_matches(['"', '`']).to_lowercase());
            }
        }
        for (name, version) in self.functions.versions() {
            if words.contains(&name) {
                text.add("function", name);
                text.add("version", version);
            }
        }
    }

    /// Of every stream that it reads the event time and the columns that it reads, as they are
    /// declared; of every table the columns that it reads.
    fn declarations(&self, text: &mut Text) {
        for (name, columns) in &self.reads.streams {
            let Some(stream) = self.streams.get(name) else { continue };
            text.add("stream", name);
            text.add(
                "event time",
                match stream.event_time {
                    EventTime::Column(index) => stream.columns[index].name.as_str(),
                    EventTime::Arrival => ARRIVAL_TIME,
                },
            );
            // In the order of their names: the file's order does not matter.
            for name in columns {
                let declared = stream.columns.iter().filter(|it| it.name == *name);
                declared.for_each(|column| declaration(column, text));
            }
        }
        for (name, columns) in &self.reads.tables {
            text.add("table", name);
            for (name, data_type) in columns {
                let field = Field::new(name, data_type.clone(), true);
                text.add("column", types::field(&field));
            }
        }
    }

    /// What is in the tables that advance reads: a replay with other rows would give other results.
    fn tables_of_advance(&self, text: &mut Text) {
        let nodes = self.graph.into_iter().flat_map(|graph| &graph.nodes);
        let plans: Vec<&LogicalPlan> = nodes.flat_map(Node::advanced).chain([self.upper]).collect();
        for (name, table) in self.static_tables {
            let reads = |node: &LogicalPlan| match node {
                LogicalPlan::TableScan(scan) => scan.table_name.table() == name,
                _ => false,
            };
            if plans.iter().any(|plan| any_node(plan, reads)) {
                text.add("table of advance", name);
                text.add("hash", format_args!("{:032x}", table.hash));
            }
        }
    }

    /// Every part of its stored state.
    fn state(&self, text: &mut Text) {
        for stage in self.stages {
            aggregate(stage, text);
            text.add("part", types::schema(&stage.partial));
        }
        for node in self.graph.into_iter().flat_map(|graph| &graph.nodes) {
            match &node.kind {
                NodeKind::Aggregate(stage) => aggregate(stage, text),
                NodeKind::Rows(stage) => {
                    text.add("operator", "rows");
                    text.add("version", STATE);
                    text.add("part", types::schema(&stage.partial));
                }
                NodeKind::AggregateRows(of_rows) => {
                    text.add("operator", "aggregate over rows");
                    text.add("version", STATE);
                    aggregate(&of_rows.stage, text);
                }
                NodeKind::Derived(Derived { operator, .. }) => operator_state(operator, text),
            }
            for part in node.state() {
                text.add("part", types::schema(&part));
            }
            text.add("hands over", types::schema(&node.output));
        }
    }
}

fn declaration(column: &Column, text: &mut Text) {
    text.add("column", &column.name);
    text.add("type", column_type(column.data_type));
    for step in &column.path {
        match step {
            PathStep::Member(name) => text.add("member", name),
            PathStep::Element(index) => text.add("element", index),
        }
    }
    if let Some(format) = &column.format {
        text.add("format", format);
    }
    if let Some(zone) = &column.time_zone {
        text.add("time zone", zone);
    }
}

fn column_type(data_type: ColumnType) -> String {
    match data_type {
        ColumnType::Boolean => "boolean".to_string(),
        ColumnType::Int32 => "int".to_string(),
        ColumnType::Int64 => "bigint".to_string(),
        ColumnType::Float32 => "float".to_string(),
        ColumnType::Float64 => "double".to_string(),
        ColumnType::String => "string".to_string(),
        ColumnType::TimestampS => "timestamp_s".to_string(),
        ColumnType::TimestampMs => "timestamp_ms".to_string(),
        ColumnType::TimestampUs => "timestamp_us".to_string(),
        ColumnType::TimestampNs => "timestamp_ns".to_string(),
        ColumnType::TimestampText => "timestamp".to_string(),
        ColumnType::Date => "date".to_string(),
        ColumnType::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
    }
}

fn aggregate(stage: &Stage, text: &mut Text) {
    text.add("operator", "aggregate");
    text.add("version", STATE);
    for aggregate in &stage.aggregates {
        text.add("aggregate", aggregate.expr.fun().name());
        text.add("version", STATE);
    }
}

fn operator_state(operator: &OperatorPlan, text: &mut Text) {
    let name = match operator {
        OperatorPlan::Join(_) => "join",
        OperatorPlan::AsOf(_) => "as-of join",
        OperatorPlan::Over(_) => "over",
        OperatorPlan::Last(_) => "last row",
        OperatorPlan::Count(count) => {
            aggregate(&count.stage, text);
            "count windows"
        }
        OperatorPlan::Within(_) => "within windows",
    };
    text.add("operator", name);
    text.add("version", STATE);
}

/// What is hashed.
#[derive(Default)]
struct Text(String);

impl Text {
    fn add(&mut self, what: &str, value: impl ToString) {
        use std::fmt::Write;
        let value = value.to_string();
        let _ = writeln!(self.0, "{what} {} {value}", value.len());
    }
}
