//! Two streams, payments and what became of their accounts, and a pipeline of everything that must see
//! rows in the order of event time, or whose results change: totals, joins, stages in sequence, sessions
//! that late payments join. What must come out is in [`batch`].
//!
//! # Invariants
//! 1. A record is at most [`STRAGGLE_MS`] older than the newest before it, whatever its shard: less than
//!    `out_of_orderness` and the `grace` of the queries over rows, so these miss nothing. Queries that
//!    change their results have no `grace`, so stragglers are late for them, and come within
//!    `allowed_lateness`.
//! 2. No two records of a stream have the same event time, so that no order depends on shards.

pub mod batch;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tidemill_testkit::Rng;

use batch::{QUIET_MAX, QUIET_MS};

/// The stream of payments, in Kinesis too.
pub const PAYMENTS: &str = "payments";
/// The stream of accounts' statuses, in Kinesis too.
pub const STATUS: &str = "status";
/// How much older than the newest record before it a straggler may be, milliseconds.
pub const STRAGGLE_MS: i64 = 12_000;
/// How much older others may be: less than `out_of_orderness`.
const DISORDER_MS: i64 = 1_000;
/// Of 100 records, how many are stragglers, and how many payments are sent twice.
const STRAGGLING_PERCENT: u64 = 4;
const TWICE_PERCENT: u64 = 20;
/// Accounts.
pub const ACCOUNTS: usize = 3;
const STATUSES: [&str; 3] = ["open", "watched", "blocked"];

/// How long before the newest record a window has ended that is closed as soon as everything is merged:
/// `out_of_orderness`, and what the slowest shard's newest record is older.
const CLOSED_MS: i64 = 6_500;

/// The queries' names.
pub const BALANCE: &str = "balance";
/// See [`BALANCE`].
pub const STANDING: &str = "standing";
/// See [`BALANCE`].
pub const NEARBY: &str = "nearby";
/// See [`BALANCE`].
pub const TURNOVER: &str = "turnover";
/// The query whose results are sessions that grow, merge, and open again.
pub const SESSIONS: &str = "sessions";
/// The query whose rows fall out of HAVING.
pub const QUIET: &str = "quiet";
/// Queries whose results are emitted once.
pub const FINAL: [&str; 4] = [BALANCE, STANDING, NEARBY, TURNOVER];
/// Queries whose results change.
pub const CHANGING: [&str; 2] = [SESSIONS, QUIET];

/// The pipeline.
pub const PIPELINE: &str = r#"
name = "payments"
dead_letters = "dead"

[streams.payments]
format = "json"
columns = { ts = "timestamp_ms", id = "bigint", account = "string", amount = "bigint" }
event_time = "ts"
out_of_orderness = "3s"
idle_after = "10m"

[streams.status]
format = "json"
columns = { ts = "timestamp_ms", account = "string", status = "string" }
event_time = "ts"
out_of_orderness = "3s"
idle_after = "10m"

[queries.balance]
sql = """
  SELECT ts, account, amount,
         SUM(amount) OVER (PARTITION BY account ORDER BY ts ROWS UNBOUNDED PRECEDING) AS balance
  FROM payments
"""
keep = "forever"
grace = "20s"
sink = "results"

[queries.standing]
sql = """
  SELECT p.ts, p.account, p.amount, s.status, s.ts AS since
  FROM payments p
  ASOF LEFT JOIN status s MATCH_CONDITION (p.ts >= s.ts) ON p.account = s.account
"""
keep = "forever"
grace = "20s"
sink = "results"

[queries.nearby]
sql = """
  SELECT p.ts, p.account, s.ts AS changed_at, s.status
  FROM payments p
  LEFT JOIN status s
    ON s.account = p.account
   AND s.ts BETWEEN p.ts - INTERVAL '2' SECOND AND p.ts + INTERVAL '1' SECOND
"""
grace = "20s"
sink = "results"

[queries.turnover]
sql = """
  WITH once AS (
    SELECT ts, account, amount
    FROM payments
    QUALIFY ROW_NUMBER() OVER (PARTITION BY id ORDER BY ts) = 1
  )
  SELECT account, window_start, window_end, COUNT(*) AS payments, SUM(amount) AS total
  FROM TUMBLE(once, ts, INTERVAL '5' SECOND)
  GROUP BY account, window_start, window_end
"""
keep = "1h"
grace = "20s"
sink = "results"

[queries.sessions]
sql = """
  SELECT account, window_start, window_end, COUNT(*) AS payments, SUM(amount) AS total
  FROM SESSION(payments, ts, INTERVAL '500' MILLISECOND)
  GROUP BY account, window_start, window_end
"""
emit = "updates"
late = "update"
allowed_lateness = "1m"
sink = "results"

[queries.quiet]
sql = """
  SELECT account, window_start, window_end, COUNT(*) AS payments
  FROM TUMBLE(payments, ts, INTERVAL '2' SECOND)
  GROUP BY account, window_start, window_end
  HAVING COUNT(*) <= 3
"""
late = "update"
allowed_lateness = "1m"
sink = "results"

[sinks.results]
type = "dynamodb"
table = "${VIEWS_TABLE}"

[sinks.dead]
type = "dynamodb"
table = "${DEAD_TABLE}"

[advance]
tick = "1s"
"#;

/// A payment; one that was sent twice has the same `id` both times.
#[derive(Debug, Clone)]
pub struct Payment {
    /// Milliseconds since 1970.
    pub ts: i64,
    id: i64,
    account: usize,
    amount: i64,
}

/// What an account is from a time on.
#[derive(Debug, Clone)]
pub struct Status {
    ts: i64,
    account: usize,
    status: &'static str,
}

/// Records in the order they arrive in.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// Those of the one stream.
    pub payments: Vec<Payment>,
    /// Those of the other.
    pub statuses: Vec<Status>,
}

/// Makes records, stretch by stretch of event time.
pub struct Generator {
    rng: Rng,
    /// Event times that are taken, by stream.
    taken: BTreeMap<&'static str, BTreeSet<i64>>,
    /// Event time of the next stretch.
    next: i64,
    next_id: i64,
    all: Records,
}

impl Generator {
    /// One whose records begin at a time, milliseconds since 1970, or up to ten seconds before, so that a
    /// seed's records have the same places in their windows at any time.
    pub fn new(from: i64, seed: u64) -> Generator {
        let (taken, all) = (BTreeMap::new(), Records::default());
        let from = from.div_euclid(10_000) * 10_000;
        Generator { rng: Rng::new(seed), taken, next: from, next_id: 0, all }
    }

    /// Everything so far.
    pub fn all(&self) -> &Records {
        &self.all
    }

    /// So many payments, and a third as many statuses, over the next `span_ms`.
    pub fn more(&mut self, payments: usize, span_ms: i64) -> Records {
        let mut made = Records::default();
        let count = i64::try_from(payments).expect("a count is small");
        for number in 0..count {
            let now = self.next + span_ms * number / count;
            let age = self.age();
            let ts = self.free(PAYMENTS, now - age);
            let account = self.rng.index(ACCOUNTS);
            let repeated = self.all.payments.last().filter(|_| self.rng.chance(TWICE_PERCENT));
            let payment = match repeated {
                Some(sent) => Payment { ts, ..sent.clone() },
                None => {
                    self.next_id += 1;
                    Payment { ts, id: self.next_id, account, amount: self.rng.between(-50, 100) }
                }
            };
            self.all.payments.push(payment.clone());
            made.payments.push(payment);
            if number % 3 == 0 {
                let age = self.age();
                let ts = self.free(STATUS, now - age);
                let status = self.rng.pick(&STATUSES).expect("there are three");
                let status = Status { ts, account: self.rng.index(ACCOUNTS), status };
                self.all.statuses.push(status.clone());
                made.statuses.push(status);
            }
        }
        self.next += span_ms;
        made
    }

    /// Payments of one account that all straggle: as many as make a window of `quiet` one of many
    /// payments, in a window that has been closed as soon as all before them is merged. None when there
    /// is no such window.
    pub fn straggle(&mut self) -> Records {
        let oldest = self.next - STRAGGLE_MS + DISORDER_MS;
        let mut counts: BTreeMap<(usize, i64), usize> = BTreeMap::new();
        for payment in &self.all.payments {
            let start = payment.ts.div_euclid(QUIET_MS) * QUIET_MS;
            if start >= oldest && start + QUIET_MS <= self.next - CLOSED_MS {
                *counts.entry((payment.account, start)).or_default() += 1;
            }
        }
        let quiet: Vec<(usize, i64)> = counts
            .into_iter()
            .filter(|(_, count)| *count <= QUIET_MAX)
            .map(|(window, _)| window)
            .collect();
        let mut made = Records::default();
        let Some((account, start)) = self.rng.pick(&quiet).copied() else { return made };
        for number in 1..=QUIET_MAX as i64 {
            self.next_id += 1;
            let ts = self.free(PAYMENTS, start + QUIET_MS * number / (QUIET_MAX as i64 + 1));
            made.payments.push(Payment { ts, id: self.next_id, account, amount: 1 });
        }
        self.all.payments.extend(made.payments.iter().cloned());
        made
    }

    /// How much older than the newest record one may be.
    fn age(&mut self) -> i64 {
        let straggles = self.rng.chance(STRAGGLING_PERCENT);
        let longest = if straggles { STRAGGLE_MS - DISORDER_MS } else { DISORDER_MS };
        self.rng.between(0, longest)
    }

    /// The first event time of a stream that is free, from `time` downwards.
    fn free(&mut self, stream: &'static str, mut time: i64) -> i64 {
        let taken = self.taken.entry(stream).or_default();
        while !taken.insert(time) {
            time -= 1;
        }
        time
    }
}

impl Payment {
    /// The record's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        let Payment { ts, id, amount, .. } = self;
        let account = account(self.account);
        json!({ "ts": ts, "id": id, "account": account, "amount": amount }).to_string().into_bytes()
    }
}

impl Status {
    /// The record's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        let account = account(self.account);
        json!({ "ts": self.ts, "account": account, "status": self.status }).to_string().into_bytes()
    }
}

/// An account's name.
pub fn account(number: usize) -> String {
    format!("account-{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_straggle_less_than_their_bound_and_share_no_time() {
        let mut generator = Generator::new(1_700_000_000_000, 5);
        for _ in 0..60 {
            let part = generator.more(40, 1_000);
            assert_eq!(part.payments.len(), 40);
            generator.straggle();
        }
        let Records { payments, statuses } = generator.all();
        let (mut newest, mut stragglers) = (0, 0);
        for payment in payments {
            assert!(payment.ts >= newest - STRAGGLE_MS);
            stragglers += u32::from(payment.ts < newest - 3_000);
            newest = newest.max(payment.ts);
        }
        assert!(stragglers > 10, "{stragglers}");
        assert!(statuses.len() > 100);
        let times: BTreeSet<i64> = payments.iter().map(|payment| payment.ts).collect();
        assert_eq!(times.len(), payments.len());
        assert_eq!(Generator::new(0, 1).straggle().payments.len(), 0);
        let straggled = {
            let mut sparse = Generator::new(1_700_000_000_000, 6);
            sparse.more(60, 20_000);
            sparse.straggle().payments
        };
        assert_eq!(straggled.len(), QUIET_MAX);
        let windows: BTreeSet<i64> =
            straggled.iter().map(|it| it.ts.div_euclid(QUIET_MS)).collect();
        assert_eq!(windows.len(), 1, "{straggled:?}");
        let ids: BTreeSet<i64> = payments.iter().map(|payment| payment.id).collect();
        assert!(ids.len() < payments.len());
    }
}
