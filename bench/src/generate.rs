//! Event files, the same bytes each time.
//!
//! Ad events follow the Yahoo streaming benchmark: seven fields, about 215 bytes, 1,000 ads, a third
//! of them views, 20,000 events a second of event time. Sensors: 10,000 keys, one reading a second
//! each, every key silent for a third of the time so that sessions end.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use tidemill_testkit::Rng;

/// Which file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Ad events.
    Ads,
    /// Sensor readings.
    Sensors,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Ads => "ads",
            Kind::Sensors => "sensors",
        }
    }
}

/// First event: 2026-01-01T00:00:00Z.
const START_MS: u64 = 1_767_225_600_000;

/// The file with `events` events; written if it is not there yet.
pub(crate) fn file(kind: Kind, events: u64, folder: &Path) -> Result<PathBuf, String> {
    let path = folder.join(format!("{}-{events}.jsonl", kind.name()));
    if path.exists() {
        return Ok(path);
    }
    let partial = path.with_extension("partial");
    write(kind, events, &partial)
        .and_then(|()| std::fs::rename(&partial, &path))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

fn write(kind: Kind, events: u64, path: &Path) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut rng = Rng::new(7);
    for event in 0..events {
        match kind {
            Kind::Ads => ad(&mut out, &mut rng, event)?,
            Kind::Sensors => reading(&mut out, &mut rng, event)?,
        }
    }
    out.flush()
}

fn ad(out: &mut impl Write, rng: &mut Rng, event: u64) -> std::io::Result<()> {
    let kinds = ["view", "click", "purchase"];
    let ads = ["banner", "modal", "sponsored-search", "mail", "mobile"];
    writeln!(
        out,
        "{{\"user_id\":\"{:08x}-{:08x}-{:08x}-{:08x}\",\"page_id\":\"{:08x}-{:08x}-{:08x}\",\"ad_id\":\"ad-{:04}\",\"ad_type\":\"{}\",\"event_type\":\"{}\",\"event_time\":{},\"ip_address\":\"10.{}.{}.{}\"}}",
        rng.below(1 << 32),
        rng.below(1 << 32),
        rng.below(1 << 32),
        rng.below(1 << 32),
        rng.below(1 << 32),
        rng.below(1 << 32),
        rng.below(1 << 32),
        rng.below(1000),
        ads[rng.index(ads.len())],
        kinds[rng.index(kinds.len())],
        START_MS + event / 20,
        rng.below(256),
        rng.below(256),
        rng.below(256),
    )
}

fn reading(out: &mut impl Write, rng: &mut Rng, event: u64) -> std::io::Result<()> {
    let ms = event / 10;
    let key = loop {
        let key = rng.below(10_000);
        if !(ms / 45_000 + key).is_multiple_of(3) {
            break key;
        }
    };
    writeln!(
        out,
        "{{\"sensor\":\"sensor-{key:05}\",\"ts\":{},\"temperature\":{}.{:02},\"status\":\"ok\"}}",
        START_MS + ms,
        rng.below(60),
        rng.below(100),
    )
}
