//! The streams and their pipelines.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bench::generate::Kind;
use serde_json::Value;
use tidemill_pipeline::Pipeline;
use tidemill_plan::PipelinePlan;

use crate::Result;

/// A stream and a pipeline over it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Name of the stream, and of its Kinesis stream.
    pub(crate) stream: &'static str,
    file: &'static str,
}

pub(crate) const CASES: [Case; 2] = [
    Case { name: "ad events", kind: Kind::Ads, stream: "ad_events", file: "ads.toml" },
    Case { name: "sensors", kind: Kind::Sensors, stream: "sensors", file: "tumbling.toml" },
];

impl Case {
    /// Where the pipeline file lies.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines").join(self.file)
    }

    /// The pipeline and its plan.
    pub(crate) fn load(&self) -> Result<(Pipeline, PipelinePlan)> {
        let pipeline = tidemill_pipeline::load(&self.path(), &|_| None);
        let pipeline = pipeline.map_err(|error| format!("{}: {error}", self.file))?;
        let plan = tidemill_plan::plan(&pipeline);
        Ok((pipeline, plan.map_err(|error| format!("{}: {error}", self.file))?))
    }
}

/// What one event adds to the window that it falls in.
#[derive(Debug, Clone)]
pub(crate) struct Contribution {
    /// Key and start of the window.
    pub(crate) key: String,
    /// The value, where the query has one.
    pub(crate) value: Option<f64>,
}

/// Reads events as the baselines do: field by field, with code written for the query.
pub(crate) struct Reader {
    kind: Kind,
    campaigns: BTreeMap<String, String>,
}

impl Reader {
    pub(crate) fn new(case: &Case) -> Result<Reader> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines/campaigns.csv");
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let rows = text.lines().skip(1).filter_map(|line| line.split_once(','));
        let campaigns = rows.map(|(ad, campaign)| (ad.to_string(), campaign.to_string()));
        Ok(Reader { kind: case.kind, campaigns: campaigns.collect() })
    }

    /// What an event adds; `None` if the query leaves it out.
    pub(crate) fn read(&self, line: &str) -> Option<Contribution> {
        let event: Value = serde_json::from_str(line).ok()?;
        let window = |field: &str, ms: u64| event[field].as_u64().map(|ts| ts / ms * ms);
        match self.kind {
            Kind::Ads if event["event_type"] == "view" => {
                let campaign = self.campaigns.get(event["ad_id"].as_str()?)?;
                let key = format!("{campaign}|{}", window("event_time", 10_000)?);
                Some(Contribution { key, value: None })
            }
            // No case has the streams of Nexmark.
            Kind::Ads | Kind::Nexmark(_) => None,
            Kind::Sensors => {
                let key = format!("{}|{}", event["sensor"].as_str()?, window("ts", 60_000)?);
                Some(Contribution { key, value: event["temperature"].as_f64() })
            }
        }
    }
}
