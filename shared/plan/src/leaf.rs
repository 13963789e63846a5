//! Leaves of our own in the engine's plans: where a batch of records enters ingest's part, and
//! where closed windows enter advance's part.
//!
//! A physical plan is made once and run many times: its leaves are [`Slot`]s that the runner fills
//! before each run ([`crate::run`]).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DFSchemaRef, Result, Statistics};
use datafusion::datasource::TableType;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning};
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties, StatisticsArgs,
};
use tidemill_model::WindowShape;
use tidemill_pipeline::Stream;

use crate::schema::{event_time_column, stream_schema};
use crate::stage::count::CountShape;

/// Hidden column: the record's row in the decoded batch. Every plan node between a stream and its
/// aggregate passes it on, so that combine finds event time, position and raw bytes again. Between
/// two stages it is the row in what the first handed over.
pub const ROW: &str = "__row";
/// Column that combine adds for aggregates that depend on order: (event time, log, position) as
/// ordered bytes, their last sort key.
pub const ORDER: &str = "__order";
/// Column that a window function adds: the window's inclusive start.
pub const WINDOW_START: &str = "window_start";
/// Column that a window function adds: the window's exclusive end.
pub const WINDOW_END: &str = "window_end";

/// A stream inside a query, as a table of the engine.
///
/// Columns: the stream's ([`crate::stream_schema`]), `window_start` and `window_end` when a window
/// function is around it, then [`ROW`].
#[derive(Debug)]
pub(crate) struct StreamScan {
    /// The stream.
    pub stream: String,
    /// The window function around it; `None` for a bare stream.
    pub shape: Option<WindowShape>,
    /// The count windows around it; it has no shape then.
    pub count: Option<CountShape>,
    /// Columns of `PARTITION BY` in the window function's table argument.
    pub partition_by: Vec<String>,
    /// The column that is the stream's event time.
    pub event_time: String,
    /// The column that holds each event's own session gap, milliseconds.
    pub gap: Option<String>,
    schema: SchemaRef,
}

impl StreamScan {
    pub(crate) fn new(
        stream: &Stream,
        shape: Option<WindowShape>,
        partition_by: Vec<String>,
    ) -> StreamScan {
        let columns = stream_schema(stream);
        let mut fields: Vec<Arc<Field>> = columns.fields().iter().cloned().collect();
        let timestamp = DataType::Timestamp(TimeUnit::Millisecond, None);
        if shape.is_some() {
            fields.push(Arc::new(Field::new(WINDOW_START, timestamp.clone(), false)));
            fields.push(Arc::new(Field::new(WINDOW_END, timestamp, false)));
        }
        fields.push(Arc::new(Field::new(ROW, DataType::UInt32, false)));
        let schema = Arc::new(Schema::new(fields));
        let event_time = event_time_column(stream).to_string();
        let stream = stream.name.clone();
        StreamScan { stream, shape, count: None, partition_by, gap: None, event_time, schema }
    }

    /// A stream in count windows. Until rows are counted both ends of a window are the row's own
    /// event time.
    pub(crate) fn counted(
        stream: &Stream,
        count: CountShape,
        partition_by: Vec<String>,
    ) -> StreamScan {
        let one = WindowShape::Tumble { size_ms: 1, offset_ms: 0 };
        let scan = StreamScan::new(stream, Some(one), partition_by);
        StreamScan { shape: None, count: Some(count), ..scan }
    }
}

#[async_trait]
impl TableProvider for StreamScan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => Arc::clone(&self.schema),
        };
        Ok(Arc::new(Slot::new(Feed::Stream(self.stream.clone()), schema)))
    }
}

/// Stands above a stage for what it hands over: closed windows, or rows that are final.
#[derive(Debug, Clone)]
pub(crate) struct ClosedWindows {
    pub(crate) stage: usize,
    pub(crate) schema: DFSchemaRef,
    /// What each column of the schema is; [`ROW`], when it is the last, is not among them.
    pub(crate) output: Vec<crate::stage::OutputColumn>,
    /// The windows that it hands over one by one; `None`: rows.
    pub(crate) shape: Option<WindowShape>,
    /// For each column, when it is a time: every later row has one of at least the watermark less
    /// these milliseconds.
    pub(crate) times: Vec<Option<i64>>,
    /// The column by which rows are handed over in rising order.
    pub(crate) ordered_by: Option<usize>,
    /// Times that an outer join may have padded with nulls.
    pub(crate) padded: Vec<Padded>,
}

/// A column that is a time, or null where a join found no match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Padded {
    pub(crate) column: usize,
    /// The side of the join that it comes from.
    pub(crate) side: usize,
    /// See [`ClosedWindows::times`].
    pub(crate) delay_ms: i64,
}

impl ClosedWindows {
    /// The same with [`ROW`] as its last column.
    pub(crate) fn with_row(&self) -> Result<LogicalPlan> {
        let row = DFSchema::try_from(Schema::new(vec![Field::new(ROW, DataType::UInt32, false)]))?;
        let schema = Arc::new(self.schema.join(&row)?);
        let node = Arc::new(ClosedWindows { schema, ..self.clone() });
        Ok(LogicalPlan::Extension(Extension { node }))
    }
}

impl PartialEq for ClosedWindows {
    fn eq(&self, other: &Self) -> bool {
        self.stage == other.stage && self.schema == other.schema
    }
}

impl Eq for ClosedWindows {}

impl PartialOrd for ClosedWindows {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal).or_else(|| self.stage.partial_cmp(&other.stage))
    }
}

impl Hash for ClosedWindows {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.stage.hash(state);
    }
}

impl UserDefinedLogicalNodeCore for ClosedWindows {
    fn name(&self) -> &str {
        "ClosedWindows"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        Vec::new()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "ClosedWindows: stage {}", self.stage)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, _: Vec<LogicalPlan>) -> Result<Self> {
        Ok(self.clone())
    }

    fn necessary_children_exprs(&self, _: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(Vec::new())
    }
}

/// Plans [`ClosedWindows`] as a [`Slot`].
#[derive(Debug)]
pub(crate) struct ClosedWindowsPlanner;

#[async_trait]
impl datafusion::physical_planner::ExtensionPlanner for ClosedWindowsPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn datafusion::physical_planner::PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        _physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _context: &datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        Ok(node.as_any().downcast_ref::<ClosedWindows>().map(|closed| {
            let schema = Arc::clone(closed.schema.inner());
            Arc::new(Slot::new(Feed::Stage(closed.stage), schema)) as Arc<dyn ExecutionPlan>
        }))
    }
}

/// What a slot is filled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feed {
    /// Decoded records of this stream.
    Stream(String),
    /// Closed windows of this stage.
    Stage(usize),
}

/// A leaf of a physical plan that answers with the batch put into it.
#[derive(Debug)]
pub struct Slot {
    /// What it wants to be filled with.
    pub feed: Feed,
    batch: Mutex<Option<RecordBatch>>,
    properties: Arc<PlanProperties>,
}

impl Slot {
    fn new(feed: Feed, schema: SchemaRef) -> Slot {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Slot { feed, batch: Mutex::new(None), properties }
    }

    /// Schema of what it is to be filled with.
    pub fn wanted(&self) -> SchemaRef {
        Arc::clone(self.properties.eq_properties.schema())
    }

    /// Fills the slot for the next run; `None`: no rows.
    pub fn fill(&self, batch: Option<RecordBatch>) {
        *self.batch.lock().unwrap_or_else(PoisonError::into_inner) = batch;
    }
}

impl DisplayAs for Slot {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.feed {
            Feed::Stream(stream) => write!(f, "Records: stream={stream}"),
            Feed::Stage(stage) => write!(f, "ClosedWindows: stage={stage}"),
        }
    }
}

impl ExecutionPlan for Slot {
    fn name(&self) -> &str {
        "Slot"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(
            children,
            ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute),
        )
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let schema = self.schema();
        Ok(Box::pin(MemoryStream::try_new(batch.into_iter().collect(), schema, None)?))
    }

    /// Streams are always the larger side of a join: the engine then builds its hash table from
    /// the static table, once, and probes it with each batch.
    fn statistics_from_inputs(
        &self,
        _: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        statistics.num_rows = Precision::Inexact(1 << 40);
        statistics.total_byte_size = Precision::Inexact(1 << 50);
        Ok(Arc::new(statistics))
    }
}
