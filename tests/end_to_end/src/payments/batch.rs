//! What the pipeline of [`super`] must give, computed over all records at once, without any of
//! Tidemill's code.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    BALANCE, NEARBY, Payment, QUIET, Records, SESSIONS, STANDING, Status, TURNOVER, account,
};
use crate::ads::rfc3339;

/// Windows of `turnover` and of `quiet`, and the gap of `sessions`, milliseconds.
const TURNOVER_MS: i64 = 5_000;
pub(super) const QUIET_MS: i64 = 2_000;
const GAP_MS: i64 = 500;
/// How many payments a window of `quiet` has at most.
pub(super) const QUIET_MAX: usize = 3;
/// How long before and after a payment a status is near it.
const BEFORE_MS: i64 = 2_000;
const AFTER_MS: i64 = 1_000;

/// Each query's rows, as [`crate::tables::contents`] writes them.
pub fn expected(records: &Records) -> BTreeMap<&'static str, Vec<String>> {
    let mut payments: Vec<&Payment> = records.payments.iter().collect();
    payments.sort_by_key(|payment| payment.ts);
    let mut statuses: Vec<&Status> = records.statuses.iter().collect();
    statuses.sort_by_key(|status| status.ts);
    let mut rows = BTreeMap::from([
        (BALANCE, balance(&payments)),
        (STANDING, standing(&payments, &statuses)),
        (NEARBY, nearby(&payments, &statuses)),
        (TURNOVER, turnover(&payments)),
        (SESSIONS, sessions(&payments)),
        (QUIET, quiet(&payments)),
    ]);
    rows.values_mut().for_each(|rows| rows.sort_unstable());
    rows
}

fn balance(payments: &[&Payment]) -> Vec<String> {
    let mut balances: BTreeMap<usize, i64> = BTreeMap::new();
    let row = |payment: &&Payment| {
        let balance = balances.entry(payment.account).or_default();
        *balance += payment.amount;
        json!({
            "ts": rfc3339(payment.ts), "account": account(payment.account),
            "amount": payment.amount, "balance": *balance,
        })
    };
    payments.iter().map(row).map(text).collect()
}

fn standing(payments: &[&Payment], statuses: &[&Status]) -> Vec<String> {
    let (mut latest, mut next): (BTreeMap<usize, &Status>, usize) = (BTreeMap::new(), 0);
    let row = |payment: &&Payment| {
        while let Some(status) = statuses.get(next).filter(|status| status.ts <= payment.ts) {
            latest.insert(status.account, status);
            next += 1;
        }
        let status = latest.get(&payment.account);
        json!({
            "ts": rfc3339(payment.ts), "account": account(payment.account),
            "amount": payment.amount, "status": status.map(|status| status.status),
            "since": status.map(|status| rfc3339(status.ts)),
        })
    };
    payments.iter().map(row).map(text).collect()
}

fn nearby(payments: &[&Payment], statuses: &[&Status]) -> Vec<String> {
    let mut rows = Vec::new();
    for payment in payments {
        let row = |status: Option<&Status>| {
            text(json!({
                "ts": rfc3339(payment.ts), "account": account(payment.account),
                "status": status.map(|status| status.status),
                "changed_at": status.map(|status| rfc3339(status.ts)),
            }))
        };
        let from = statuses.partition_point(|status| status.ts < payment.ts - BEFORE_MS);
        let through = statuses.partition_point(|status| status.ts <= payment.ts + AFTER_MS);
        let near = &statuses[from..through];
        let before = rows.len();
        let of_account = near.iter().filter(|status| status.account == payment.account);
        rows.extend(of_account.map(|status| row(Some(status))));
        if rows.len() == before {
            rows.push(row(None));
        }
    }
    rows
}

/// Count and sum by account and window.
fn windows(payments: &[&Payment], size: i64) -> BTreeMap<(usize, i64), (i64, i64)> {
    let mut windows: BTreeMap<(usize, i64), (i64, i64)> = BTreeMap::new();
    for payment in payments {
        let start = payment.ts.div_euclid(size) * size;
        let window = windows.entry((payment.account, start)).or_default();
        *window = (window.0 + 1, window.1 + payment.amount);
    }
    windows
}

fn turnover(payments: &[&Payment]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let first: Vec<&Payment> =
        payments.iter().copied().filter(|payment| seen.insert(payment.id)).collect();
    let row = |((of, start), (count, total))| {
        text(json!({
            "account": account(of), "window_start": rfc3339(start),
            "window_end": rfc3339(start + TURNOVER_MS), "payments": count, "total": total,
        }))
    };
    windows(&first, TURNOVER_MS).into_iter().map(row).collect()
}

fn quiet(payments: &[&Payment]) -> Vec<String> {
    let windows = windows(payments, QUIET_MS).into_iter();
    let quiet = windows.filter(|(_, (count, _))| *count <= QUIET_MAX as i64);
    let row = |((of, start), (count, _))| {
        text(json!({
            "account": account(of), "window_start": rfc3339(start),
            "window_end": rfc3339(start + QUIET_MS), "payments": count,
        }))
    };
    quiet.map(row).collect()
}

fn sessions(payments: &[&Payment]) -> Vec<String> {
    struct Session {
        start: i64,
        last: i64,
        count: i64,
        total: i64,
    }
    let mut sessions: BTreeMap<usize, Vec<Session>> = BTreeMap::new();
    for payment in payments {
        let (of_account, ts) = (sessions.entry(payment.account).or_default(), payment.ts);
        match of_account.last_mut().filter(|session| ts - session.last <= GAP_MS) {
            Some(session) => {
                session.last = ts;
                session.count += 1;
                session.total += payment.amount;
            }
            None => {
                of_account.push(Session { start: ts, last: ts, count: 1, total: payment.amount });
            }
        }
    }
    let row = |of: usize, session: Session| {
        text(json!({
            "account": account(of), "window_start": rfc3339(session.start),
            "window_end": rfc3339(session.last + GAP_MS), "payments": session.count,
            "total": session.total,
        }))
    };
    let all = sessions.into_iter();
    all.flat_map(|(of, sessions)| sessions.into_iter().map(move |it| row(of, it))).collect()
}

/// A row's text, without nulls and with its members in order.
fn text(row: Value) -> String {
    let members = row.as_object().into_iter().flatten();
    let said: BTreeMap<&String, &Value> = members.filter(|(_, value)| !value.is_null()).collect();
    json!(said).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_query_is_computed_as_its_sql_says() {
        let payment = |ts, id, account, amount| Payment { ts, id, account, amount };
        let status = |ts, account, status| Status { ts, account, status };
        let records = Records {
            payments: vec![
                payment(1_500, 2, 0, 5),
                payment(1_000, 1, 0, 10),
                payment(2_001, 2, 0, 5),
                payment(9_000, 3, 1, 7),
            ],
            statuses: vec![status(2_000, 0, "blocked"), status(1_200, 0, "open")],
        };
        let expected = expected(&records);
        let counts: Vec<(&str, usize)> =
            expected.iter().map(|(query, rows)| (*query, rows.len())).collect();
        assert_eq!(
            counts,
            [(BALANCE, 4), (NEARBY, 7), (QUIET, 3), (SESSIONS, 3), (STANDING, 4), (TURNOVER, 2)]
        );
        let has = |query: &str, row: &str| {
            assert!(
                expected[query].iter().any(|text| text.contains(row)),
                "{:#?}",
                expected[query]
            );
        };
        has(BALANCE, r#""balance":20,"ts":"1970-01-01T00:00:02.001Z""#);
        has(STANDING, r#""since":"1970-01-01T00:00:02.000Z","status":"blocked""#);
        has(TURNOVER, r#""payments":2,"total":15"#);
        has(SESSIONS, r#""payments":2,"total":15,"window_end":"1970-01-01T00:00:02.000Z""#);
    }
}
