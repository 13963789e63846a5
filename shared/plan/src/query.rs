//! A pipeline's queries, planned once, at start.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::{Result, internal_err};
use datafusion::execution::context::SessionContext;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use tidemill_model::limits::{PLAN_STACK_BYTES, STATE_BYTES_MAX};
use tidemill_model::{Fingerprint, WindowShape};
use tidemill_pipeline::{Late, Pipeline, Query, Stream};

use crate::constants;
use crate::engine::{self, Functions};
use crate::error::{PlanErrors, Refusal};
use crate::fingerprint::{Identity, Reads};
use crate::functions::CheckpointTime;
use crate::graph::{Derived, Glue, Graph, Ingested, Node, NodeKind, OperatorPlan};
use crate::optimizer;
use crate::result_key::{self, ResultKey};
use crate::revisions::{self, Revisions};
use crate::run::Runner;
use crate::split::{self, Options, Split};
use crate::stage::Stage;
use crate::stage::within::WithinStage;
use crate::statement;
use crate::tables::{self, InferredTable, StaticTable};

/// All queries of a pipeline, planned.
#[derive(Debug, Clone)]
pub struct PipelinePlan {
    /// The queries, in name order.
    pub queries: Vec<Arc<QueryPlan>>,
    /// What `now()` answers: to be set before closed windows are computed.
    pub time: CheckpointTime,
    /// Bytes of open state that advance may keep.
    pub state_bytes_max: u64,
    /// Whether errors may quote the values that a query failed on.
    pub show_content: bool,
}

/// Name of the thread that plans: what panics there is reported as a refusal of its query.
pub const PLANNER_THREAD: &str = "plan";

/// The variable that asks for errors which quote values of records.
pub const LOG_CONTENT: &str = "TIDEMILL_LOG_CONTENT";

/// Whether the value of [`LOG_CONTENT`] asks for them.
pub fn shows_content(value: Option<&str>) -> bool {
    value == Some("true")
}

/// One query, planned.
#[derive(Debug)]
pub struct QueryPlan {
    /// Its name.
    pub name: String,
    /// What its stored state is.
    pub fingerprint: Fingerprint,
    /// The windows that the upper plan gets; `None`: it gets rows.
    pub shape: Option<WindowShape>,
    /// How long after its end a window stays open, milliseconds.
    pub grace_ms: i64,
    /// What becomes of late rows.
    pub late: Late,
    /// How long after it has closed a window takes rows, milliseconds.
    pub allowed_lateness_ms: i64,
    /// How its results change after they were first emitted; `None`: they do not.
    pub revisions: Option<Revisions>,
    /// Its aggregates over streams, when it has nothing else below the upper plan.
    pub stages: Vec<Stage>,
    /// What it has below the upper plan otherwise.
    pub graph: Option<Graph>,
    /// What advance runs over closed windows.
    pub upper: LogicalPlan,
    /// Whether all windows that close together can run at once; else one by one.
    pub row_wise: bool,
    /// Output columns by which results are sorted first: the window's end and start.
    pub sort_first: Vec<usize>,
    /// Schema of its results, with [`OP`](crate::OP), [`REVISION`](crate::REVISION) and
    /// [`TIMING`](crate::TIMING) at the end when they can change.
    pub output: SchemaRef,
    /// What was found of the tables that it reads and whose columns are not declared.
    pub tables: Vec<Arc<InferredTable>>,
    key: ResultKey,
    upper_stages: Vec<usize>,
    pub(crate) state: SessionState,
}

impl QueryPlan {
    /// What ingest ships, by the number of the stage that it feeds.
    pub fn ingested(&self) -> Vec<(u16, Ingested<'_>)> {
        let stages = self.stages.iter().map(|stage| Some(Ingested::Aggregate(stage)));
        let nodes = self.graph.iter().flat_map(|graph| graph.nodes.iter().map(Node::ingested));
        let numbered = (0..).zip(stages.chain(nodes));
        numbered.filter_map(|(number, ingested)| Some((number, ingested?))).collect()
    }

    /// A runner of what ingest runs for a stage. Each ingest worker has its own.
    pub fn lower(&self, stage: u16) -> Result<Runner> {
        match self.ingested().into_iter().find(|(number, _)| *number == stage) {
            Some((_, ingested)) => Runner::new(&self.state, ingested.lower()),
            None => internal_err!("ingest ships nothing for stage {stage}"),
        }
    }

    /// A runner of a plan that is run window by window.
    pub fn within(&self, stage: &WithinStage) -> Result<Runner> {
        Runner::new(&self.state, &stage.plan)
    }

    /// A runner of the lower plan of a stage that other stages feed.
    pub fn lower_of(&self, stage: &Stage) -> Result<Runner> {
        Runner::new(&self.state, &stage.lower)
    }

    /// A runner of what stands between two stages.
    pub fn glue(&self, glue: &Glue) -> Result<Runner> {
        Runner::new(&self.state, &glue.plan)
    }

    /// How long after its end a window takes rows, milliseconds. So long its state is kept.
    pub fn takes_ms(&self) -> i64 {
        self.grace_ms.saturating_add(self.allowed_lateness_ms)
    }

    /// What tells its result rows apart.
    pub fn result_key(&self) -> &ResultKey {
        &self.key
    }

    /// The stages that the upper plan is over, rising.
    pub fn upper_stages(&self) -> &[usize] {
        &self.upper_stages
    }

    /// A runner of the upper plan.
    pub fn upper(&self) -> Result<Runner> {
        Runner::new(&self.state, &self.upper)
    }
}

/// Plans all queries of a pipeline. The error names everything that is wrong, not the first only.
pub fn plan(pipeline: &Pipeline) -> std::result::Result<PipelinePlan, PlanErrors> {
    plan_with(pipeline, &Functions::default())
}

/// The same, with functions of the program's own.
///
/// Planning recurses along the SQL, so it has a thread of its own, whose stack is known.
pub fn plan_with(
    pipeline: &Pipeline,
    functions: &Functions,
) -> std::result::Result<PipelinePlan, PlanErrors> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(PLANNER_THREAD.to_string());
        let planning = thread
            .stack_size(PLAN_STACK_BYTES)
            .spawn_scoped(scope, || plan_here(pipeline, functions));
        match planning.map(|planning| planning.join()) {
            Ok(Ok(planned)) => planned,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            // No thread can be had.
            Err(_) => plan_here(pipeline, functions),
        }
    })
}

fn plan_here(
    pipeline: &Pipeline,
    functions: &Functions,
) -> std::result::Result<PipelinePlan, PlanErrors> {
    let mut errors = Vec::new();
    let time = CheckpointTime::default();
    let context = engine::session(&time, functions);
    for stream in pipeline.streams.values() {
        let added = engine::add_stream(&context, stream);
        debug_assert!(added.is_ok(), "names are unique");
    }
    let static_tables = tables::load(&context, pipeline, &mut errors);
    let streams = Arc::new(pipeline.streams.clone());
    let mut queries = Vec::new();
    for query in pipeline.queries.values() {
        let known = Known { streams: &streams, static_tables: &static_tables, functions };
        match plan_caught(&context, known, query) {
            Ok(planned) => queries.push(Arc::new(planned)),
            Err(refusal) => errors.push(refusal.into_mistake(&pipeline.file, query)),
        }
    }
    if !errors.is_empty() {
        return Err(PlanErrors { errors });
    }
    let state_bytes_max = pipeline.state_bytes_max.unwrap_or(STATE_BYTES_MAX);
    Ok(PipelinePlan { queries, time, state_bytes_max, show_content: false })
}

/// What all queries of a pipeline can read and call.
#[derive(Clone, Copy)]
struct Known<'a> {
    streams: &'a Arc<BTreeMap<String, Stream>>,
    static_tables: &'a BTreeMap<String, StaticTable>,
    functions: &'a Functions,
}

/// Plans a query. A panic of the engine's planner is a refusal of this query and not the end of the
/// program.
fn plan_caught(
    context: &SessionContext,
    known: Known<'_>,
    query: &Query,
) -> std::result::Result<QueryPlan, Refusal> {
    // Whatever a panic left half done belongs to this query's planning and is dropped with it.
    let planning = std::panic::AssertUnwindSafe(|| plan_query(context, known, query));
    std::panic::catch_unwind(planning).unwrap_or_else(|_| {
        let message = "the planner stopped at an error of its own";
        Err(Refusal::new("plan::engine", message)
            .help("please report it with the query; a simpler spelling of the same may work"))
    })
}

fn plan_query(
    context: &SessionContext,
    known: Known<'_>,
    query: &Query,
) -> std::result::Result<QueryPlan, Refusal> {
    let Known { streams, static_tables, .. } = known;
    let state = statement::session(context, streams, query);
    statement::logical_plan(&state, streams, static_tables, query)
        .and_then(|plan| plan_statement(&state, plan, known, query))
        .map_err(|error| Refusal::from_engine(error, &query.sql).suggest(functions(&state)))
}

/// The names of all functions, in no order.
fn functions(state: &SessionState) -> impl Iterator<Item = &String> {
    let aggregates = state.aggregate_functions().keys();
    state.scalar_functions().keys().chain(aggregates).chain(state.window_functions().keys())
}

fn plan_statement(
    state: &SessionState,
    plan: LogicalPlan,
    known: Known<'_>,
    query: &Query,
) -> Result<QueryPlan> {
    has_columns(&plan)?;
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
    constants::check(&plan, &query.sql)?;
    let options =
        Options { grace_ms: query.grace_ms, keep: query.keep, incomplete: query.incomplete };
    let plan = optimizer::not_in::exact(plan)?;
    let tables = tables::inferred_of(&plan, known.static_tables);
    let plan = split::joins::gathered(plan)?;
    let needed = engine::needed_columns(state, plan.clone())?;
    let reads = Reads::of(&needed)?;
    let mut split = split::split(plan, options)?;
    if split.graph.is_some() {
        // Rows travel whole: with the columns that somebody reads, and no others. Where those do not
        // tell a row's window, and a stage must know it, they travel with all.
        split = split::split(needed, options).unwrap_or(split);
    }
    let Split { mut stages, mut graph, shape, upper } = split;
    let row_wise = shape.is_none() || split::is_row_wise(&upper);
    let sort_first = split::window_outputs(&upper);
    let upper_stages = split::stages_above(&upper)?;
    let key = result_key::of(&upper, shape);
    check_output(&upper)?;
    for stage in &mut stages {
        stage.lower = optimizer::optimized(state, &stage.lower)?;
    }
    for node in graph.iter_mut().flat_map(|graph| &mut graph.nodes) {
        for plan in node.kind.plans_mut() {
            *plan = optimizer::optimized(state, plan)?;
        }
    }
    let of_log = shape.filter(|_| graph.is_none());
    let revisions = revisions::of(query, &upper, of_log, row_wise, &stages, &key, state)?;
    let output = match &revisions {
        Some(revisions) => revisions.output(),
        None => Arc::clone(upper.schema().inner()),
    };
    let identity = Identity {
        query,
        reads: &reads,
        streams: known.streams,
        static_tables: known.static_tables,
        functions: known.functions,
        stages: &stages,
        graph: graph.as_ref(),
        upper: &upper,
        output: &output,
    };
    let fingerprint = identity.fingerprint();
    let upper = optimizer::optimized(state, &upper)?;
    let planned = QueryPlan {
        name: query.name.clone(),
        fingerprint,
        shape,
        grace_ms: query.grace_ms,
        late: query.late,
        allowed_lateness_ms: query.allowed_lateness_ms,
        revisions,
        stages,
        graph,
        upper,
        row_wise,
        sort_first,
        output,
        tables,
        key,
        upper_stages,
        state: state.clone(),
    };
    for (number, _) in planned.ingested() {
        planned.lower(number)?;
    }
    for node in planned.graph.iter().flat_map(|graph| &graph.nodes) {
        for glue in node.glue() {
            planned.glue(glue)?;
        }
        match &node.kind {
            NodeKind::AggregateRows(aggregate) => drop(planned.lower_of(&aggregate.stage)?),
            NodeKind::Derived(Derived { operator: OperatorPlan::Within(stage), .. }) => {
                drop(planned.within(stage)?);
            }
            _ => {}
        }
    }
    planned.upper()?;
    Ok(planned)
}

/// A row without columns tells nothing, and no sink could take it.
fn has_columns(plan: &LogicalPlan) -> Result<()> {
    if !plan.schema().fields().is_empty() {
        return Ok(());
    }
    let message = "the query has no column: nothing stands between SELECT and FROM";
    Err(Refusal::new("plan::output::no_column", message)
        .help("write SELECT * FROM …, or the columns")
        .into_engine())
}

/// Results are objects: their columns need names of their own.
fn check_output(upper: &LogicalPlan) -> Result<()> {
    let names: Vec<&String> = upper.schema().fields().iter().map(|field| field.name()).collect();
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            return Err(Refusal::new(
                "plan::output::same_name",
                format!("two result columns are called `{name}`"),
            )
            .help("give one of them another name with AS")
            .into_engine());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
