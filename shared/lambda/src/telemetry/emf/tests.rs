use serde_json::Value;

use super::super::metrics::{self, ALL};
use super::*;

/// The rules of CloudWatch's specification.
fn check(document: &Value) {
    let root = document.as_object().unwrap();
    let aws = root["_aws"].as_object().unwrap();
    assert!(aws["Timestamp"].is_i64(), "milliseconds since the epoch");
    let directives = aws["CloudWatchMetrics"].as_array().unwrap();
    assert!(!directives.is_empty());
    for directive in directives {
        let namespace = directive["Namespace"].as_str().unwrap();
        assert!(!namespace.is_empty() && namespace.len() <= 1024 && !namespace.starts_with("AWS/"));
        for set in directive["Dimensions"].as_array().unwrap() {
            let set = set.as_array().unwrap();
            assert!(set.len() <= 30);
            for dimension in set {
                let name = dimension.as_str().unwrap();
                assert!(!name.is_empty() && name.len() <= 250 && name.is_ascii());
                let value = root[name].as_str().expect("a dimension is a text at the root");
                assert!(!value.is_empty() && value.len() <= 1024 && value.is_ascii());
            }
        }
        let defined = directive["Metrics"].as_array().unwrap();
        assert!(!defined.is_empty() && defined.len() <= 100);
        for metric in defined {
            let name = metric["Name"].as_str().unwrap();
            assert!(!name.is_empty() && name.len() <= 1024);
            let unit = metric["Unit"].as_str().unwrap();
            assert!(["Count", "Bytes", "Milliseconds"].contains(&unit));
            assert!(root[name].is_number(), "a metric is a number at the root");
        }
    }
}

#[test]
fn a_document_of_all_metrics_follows_the_format() {
    let measured: Vec<Measured> = (0..).zip(ALL).map(|(n, metric)| metric.is(n)).collect();
    let document = document(WallMs(1_700_000_000_000), "ads", Some("clicks"), &measured);
    check(&document);
    let expected = r#"{"Name":"Records","Unit":"Count"}"#;
    assert!(document.to_string().contains(expected), "{document}");
    assert!(document.to_string().len() < 256 * 1024, "a log event's bound");
}

#[test]
fn a_document_reads_like_this() {
    let measured = [metrics::RECORDS.is(7), metrics::APPEND_LATENCY.is_about(1.5)];
    let document = document(WallMs(5), "ads", None, &measured);
    check(&document);
    let expected = serde_json::json!({
        "_aws": {
            "Timestamp": 5,
            "CloudWatchMetrics": [{
                "Namespace": "Tidemill",
                "Dimensions": [["Pipeline"]],
                "Metrics": [
                    { "Name": "Records", "Unit": "Count" },
                    { "Name": "AppendLatency", "Unit": "Milliseconds" },
                ],
            }],
        },
        "Pipeline": "ads",
        "Records": 7,
        "AppendLatency": 1.5,
    });
    assert_eq!(document, expected);
}

#[test]
fn what_is_no_number_is_left_out() {
    let measured = [metrics::RECORDS.is(1), metrics::APPEND_LATENCY.is_about(f64::NAN)];
    let document = document(WallMs(5), "ads", None, &measured);
    check(&document);
    assert!(document.get("AppendLatency").is_none());
}

#[test]
fn no_two_metrics_have_one_name_and_the_manual_has_them_all() {
    let manual = include_str!("../../../../../docs/operations.md");
    let mut names: Vec<&str> = ALL.iter().map(|metric| metric.name).collect();
    for Metric { name, unit } in ALL {
        let row = manual.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/operations.md lacks the metric `{name}`"));
        assert!(row.contains(unit.name()), "{row}");
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ALL.len());
}
