//! The sections of the file and the keys that each may hold.

use std::fmt;

use crate::check::nearest::nearest;

/// What a section describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Top,
    State,
    Advance,
    Stream,
    Table,
    Query,
    Sink,
    Source,
    Column,
}

/// Keys that hold text of all types of sink; `check` knows which type has which.
pub(crate) const SINK_TEXTS: &[&str] =
    &["format", "table", "stream", "queue_url", "bucket", "prefix", "bootstrap_servers", "topic"];

/// Keys that hold text of all types of source.
pub(crate) const SOURCE_TEXTS: &[&str] = &["stream", "topic", "bootstrap_servers"];

impl Kind {
    pub(crate) const ALL: [Kind; 9] = [
        Kind::Top,
        Kind::State,
        Kind::Advance,
        Kind::Stream,
        Kind::Table,
        Kind::Query,
        Kind::Sink,
        Kind::Source,
        Kind::Column,
    ];

    /// The keys, in the order in which the reference explains them.
    pub(crate) fn keys(self) -> &'static [&'static str] {
        match self {
            Kind::Top => &[
                "name",
                "dead_letters",
                "state",
                "advance",
                "streams",
                "tables",
                "queries",
                "sinks",
            ],
            Kind::State => &["segment_ttl"],
            Kind::Advance => &["tick", "max_state"],
            Kind::Stream => &[
                "format",
                "columns",
                "event_time",
                "out_of_orderness",
                "idle_after",
                "max_future",
                "idle",
                "source",
            ],
            Kind::Table => &["file", "format", "columns"],
            Kind::Query => &[
                "sql",
                "grace",
                "late",
                "allowed_lateness",
                "keep",
                "incomplete",
                "emit",
                "emit_when",
                "sink",
            ],
            Kind::Sink => &[
                "type",
                "format",
                "table",
                "stream",
                "queue_url",
                "bucket",
                "prefix",
                "bootstrap_servers",
                "topic",
                "properties",
            ],
            Kind::Source => {
                &["type", "stream", "topic", "bootstrap_servers", "properties", "batching_window"]
            }
            Kind::Column => &["type", "path", "format", "time_zone"],
        }
    }

    /// The top-level key that holds sections of this kind by name.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Kind::Stream => "streams",
            Kind::Table => "tables",
            Kind::Query => "queries",
            Kind::Sink => "sinks",
            Kind::Column => "columns",
            Kind::Source => "streams.NAME.source",
            Kind::Advance => "advance",
            Kind::Top | Kind::State => "state",
        }
    }

    pub(crate) fn singular(self) -> &'static str {
        match self {
            Kind::Stream => "stream",
            Kind::Table => "table",
            Kind::Query => "query",
            Kind::Sink => "sink",
            Kind::Column => "column",
            Kind::Top => "pipeline",
            Kind::State => "[state]",
            Kind::Advance => "[advance]",
            Kind::Source => "source",
        }
    }

    /// The key that `typed`, which is none, probably means.
    pub(crate) fn means(self, typed: &str) -> Option<&'static str> {
        let is_key = self.keys().contains(&typed);
        nearest(typed, self.keys().iter().copied()).filter(|_| !is_key)
    }

    /// What to do about `key`, which this kind of section does not have.
    pub(crate) fn unknown_key_help(self, key: &str) -> String {
        if let Some(meant) = self.means(key) {
            return format!("did you mean `{meant}`?");
        }
        let of_stream = (self == Kind::Stream).then_some(Kind::Source);
        let mut homes = of_stream.into_iter().chain(Kind::ALL);
        let home = homes.find(|kind| kind.keys().contains(&key));
        match home {
            Some(Kind::Top) => {
                format!("`{key}` belongs at the top of the file, above the first [section]")
            }
            Some(kind @ (Kind::State | Kind::Advance | Kind::Source)) => {
                format!("`{key}` belongs under `[{}]`", kind.plural())
            }
            Some(Kind::Column) | None => {
                let keys: Vec<_> = self.keys().iter().map(|key| format!("`{key}`")).collect();
                let what = match self {
                    Kind::Top => "the top of the file holds".to_owned(),
                    Kind::State | Kind::Advance => format!("`{}` holds", self.singular()),
                    kind => format!("a {} has the keys", kind.singular()),
                };
                format!("remove it; {what} {}", keys.join(", "))
            }
            Some(kind) => format!("`{key}` belongs under `[{}.NAME]`", kind.plural()),
        }
    }
}

/// A section, for messages: "stream `ad_events`".
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) kind: Kind,
    name: String,
}

impl Section {
    pub(crate) fn new(kind: Kind, name: &str) -> Section {
        Section { kind, name: name.to_owned() }
    }

    /// A column of this stream or table.
    pub(crate) fn column(&self, name: &str) -> Section {
        Section {
            kind: Kind::Column,
            name: format!("{name}` of {} `{}", self.kind.singular(), self.name),
        }
    }

    /// The source of this stream.
    pub(crate) fn source(&self) -> Section {
        Section { kind: Kind::Source, name: self.name.clone() }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Top => write!(f, "the pipeline"),
            Kind::State | Kind::Advance => write!(f, "`{}`", self.kind.singular()),
            Kind::Source => write!(f, "the source of stream `{}`", self.name),
            kind => write!(f, "{} `{}`", kind.singular(), self.name),
        }
    }
}
