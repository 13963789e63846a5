//! What stages hand over at one tick, and how it enters the upper plan.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::common::Result;
use tidemill_model::{EventMs, Window};
use tidemill_plan::{QueryPlan, Stage};

use crate::merge::failed::Failures;
use crate::merge::results::{Upper, sorted};
use crate::merge::sessions::OpenSessions;
use crate::merge::window_columns::edges;
use crate::merge::windows::OpenSlices;

/// What a stage hands over at one tick.
pub(in crate::merge) enum Handed {
    /// Closed windows, in the order in which they close.
    Windows(Vec<(Window, RecordBatch)>),
    Rows(RecordBatch),
}

impl Handed {
    /// The windows of `slices` that close at `watermark` and were open at `before`.
    pub(in crate::merge) fn closed(
        plan: &QueryPlan,
        stage: &Stage,
        slices: &mut OpenSlices,
        before: Option<EventMs>,
        watermark: EventMs,
        failures: &mut Failures<'_>,
    ) -> Result<Handed> {
        let mut windows = Vec::new();
        for window in slices.windows_closing(plan, stage, before, watermark) {
            let rows = slices.close(stage, window, failures)?;
            windows.push((window, sorted(&rows, &[])?));
        }
        slices.forget(plan, stage, watermark);
        Ok(Handed::Windows(windows))
    }

    /// The sessions that close at `watermark`, in the order in which they end.
    pub(in crate::merge) fn ended(
        plan: &QueryPlan,
        stage: &Stage,
        sessions: &mut OpenSessions,
        watermark: EventMs,
        failures: &mut Failures<'_>,
    ) -> Result<Handed> {
        let closed = sessions.close(plan, stage, watermark, failures)?;
        Ok(Handed::Rows(match closed {
            Some((_, rows)) => sorted(&rows, &edges(&stage.output))?,
            None => RecordBatch::new_empty(Arc::clone(&stage.closed)),
        }))
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Handed::Windows(windows) => windows.is_empty(),
            Handed::Rows(rows) => rows.num_rows() == 0,
        }
    }

    /// Everything, in order; `None`: nothing.
    pub(super) fn together(&self) -> Result<Option<RecordBatch>> {
        match self {
            Handed::Rows(rows) => Ok((rows.num_rows() > 0).then(|| rows.clone())),
            Handed::Windows(windows) => match windows.first() {
                Some((_, first)) => {
                    let rows = windows.iter().map(|(_, rows)| rows);
                    Ok(Some(concat_batches(&first.schema(), rows)?))
                }
                None => Ok(None),
            },
        }
    }
}

/// Runs the upper plan over what its stages handed over. Answers how many windows it got.
pub(super) fn feed(
    plan: &QueryPlan,
    handed: &[Handed],
    upper: &mut Upper,
    failures: &mut Failures<'_>,
) -> Result<u64> {
    let leaves = plan.upper_stages();
    let of_leaves = || leaves.iter().filter_map(|leaf| handed.get(*leaf));
    let windows: BTreeSet<Window> = of_leaves()
        .flat_map(|handed| match handed {
            Handed::Windows(windows) => windows.as_slice(),
            Handed::Rows(_) => &[],
        })
        .map(|(window, _)| *window)
        .collect();
    if plan.row_wise {
        let mut together = Vec::new();
        for (stage, handed) in handed.iter().enumerate() {
            let is_leaf = leaves.contains(&stage);
            together.push(if is_leaf { handed.together()? } else { None });
        }
        upper.run_rows(plan, &together, failures)?;
        return Ok(windows.len() as u64);
    }
    for leaf in leaves {
        // Rows that see each other are sessions: no other stage can be beside them.
        if let Some(Handed::Rows(sessions)) = handed.get(*leaf)
            && sessions.num_rows() > 0
        {
            upper.run_sessions(plan, *leaf, sessions, failures)?;
        }
    }
    for window in &windows {
        let mut batches = Vec::new();
        for (stage, handed) in handed.iter().enumerate() {
            batches.push(match handed {
                _ if !leaves.contains(&stage) => None,
                Handed::Windows(windows) => {
                    let found = windows.binary_search_by(|(other, _)| other.cmp(window)).ok();
                    found.map(|index| windows[index].1.clone())
                }
                Handed::Rows(_) => None,
            });
        }
        upper.run_window(Some(*window), &batches, failures)?;
    }
    Ok(windows.len() as u64)
}
