use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;
use tidemill_flow::ports::QueryResults;
use tidemill_model::{DeadLetter, DeadReason, Epoch, LogId, Position, WallMs};

use super::*;

fn batch(values: &[i64]) -> RecordBatch {
    let column = Arc::new(Int64Array::from(values.to_vec())) as ArrayRef;
    RecordBatch::try_from_iter([("n", column)]).unwrap()
}

fn owner(store: &str) -> Owner {
    Owner { pipeline: "p".into(), store: store.into() }
}

fn sink(dir: &Path, store: &str, format: FileFormat) -> FolderSink {
    let schema = batch(&[]).schema();
    let file = ResultFile { query: "q".into(), format, schema };
    FolderSink::new(dir.to_path_buf(), owner(store), vec![file])
}

fn lines(dir: &Path, store: &str) -> FolderSink {
    sink(dir, store, FileFormat::JsonLines)
}

fn emission(epoch: u64, values: &[i64]) -> Emission {
    let results = QueryResults { query: "q".into(), windows: 1, batch: batch(values) };
    Emission { results: vec![results], ..Emission::empty(Epoch(epoch)) }
}

fn read(dir: &TempDir) -> String {
    fs::read_to_string(dir.path().join("q.jsonl")).unwrap()
}

#[tokio::test]
async fn a_run_goes_on_after_the_last_marked_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = lines(dir.path(), "s");
    first.restore(None).await.unwrap();
    let marked = first.emit(&emission(0, &[1, 2])).await.unwrap().state;
    // Emitted, but the process dies before the marker.
    first.emit(&emission(1, &[3])).await.unwrap();
    assert_eq!(read(&dir), "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
    drop(first);
    fs::write(dir.path().join("q.jsonl"), read(&dir) + "{\"n\":").unwrap();

    let mut second = lines(dir.path(), "s");
    second.restore(Some(&marked)).await.unwrap();
    assert_eq!(read(&dir), "{\"n\":1}\n{\"n\":2}\n");
    second.emit(&emission(1, &[3])).await.unwrap();
    assert_eq!(read(&dir), "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
}

#[tokio::test]
async fn a_crash_before_the_first_marker_leaves_only_what_is_ours_to_cut() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = lines(dir.path(), "s");
    first.restore(None).await.unwrap();
    first.emit(&emission(0, &[1])).await.unwrap();

    let mut second = lines(dir.path(), "s");
    second.restore(None).await.unwrap();
    assert_eq!(read(&dir), "");
}

#[tokio::test]
async fn what_somebody_else_wrote_is_never_cut() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("q.jsonl"), "precious\n").unwrap();
    let error = lines(dir.path(), "s").restore(None).await.unwrap_err();
    assert!(error.to_string().contains("q.jsonl"), "{error}");
    assert_eq!(read(&dir), "precious\n");
    assert!(!dir.path().join(".tidemill").exists(), "a refused folder is left as it was");
}

#[tokio::test]
async fn results_of_another_store_are_never_cut() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = lines(dir.path(), "s");
    first.restore(None).await.unwrap();
    first.emit(&emission(0, &[1])).await.unwrap();

    // The user deleted the store and runs again.
    assert!(lines(dir.path(), "another").restore(None).await.is_err());
    // Nor may another pipeline move in beside them.
    let owner = Owner { pipeline: "other".into(), store: "another".into() };
    let file =
        ResultFile { query: "r".into(), format: FileFormat::Parquet, schema: batch(&[]).schema() };
    let mut other = FolderSink::new(dir.path().to_path_buf(), owner, vec![file]);
    assert!(other.restore(None).await.is_err());
    assert_eq!(read(&dir), "{\"n\":1}\n");
}

#[tokio::test]
async fn going_back_to_an_earlier_folder_is_refused() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut first = lines(one.path(), "s");
    first.restore(None).await.unwrap();
    let in_one = first.emit(&emission(0, &[1])).await.unwrap().state;

    let mut second = lines(two.path(), "s");
    second.restore(Some(&in_one)).await.unwrap();
    let in_two = second.emit(&emission(1, &[2])).await.unwrap().state;
    assert_eq!(read(&two), "{\"n\":2}\n");

    assert!(lines(one.path(), "s").restore(Some(&in_two)).await.is_err());
    let on_stdout = OutputState::Stdout.encode().unwrap();
    assert!(lines(two.path(), "s").restore(Some(&on_stdout)).await.is_err());
    assert_eq!((read(&one), read(&two)), ("{\"n\":1}\n".into(), "{\"n\":2}\n".into()));
}

#[tokio::test]
async fn a_result_file_that_lost_results_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = lines(dir.path(), "s");
    first.restore(None).await.unwrap();
    let marked = first.emit(&emission(0, &[1])).await.unwrap().state;
    fs::write(dir.path().join("q.jsonl"), "").unwrap();
    let error = lines(dir.path(), "s").restore(Some(&marked)).await.unwrap_err();
    assert!(error.to_string().contains("put the file back"), "{error}");
}

#[tokio::test]
async fn a_parquet_file_appears_at_the_end_and_grows_with_later_runs() {
    let dir = tempfile::tempdir().unwrap();
    let parquet = dir.path().join("q.parquet");
    let rows = || {
        let file = fs::File::open(&parquet).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>()
    };
    let mut first = sink(dir.path(), "s", FileFormat::Parquet);
    first.restore(None).await.unwrap();
    first.emit(&emission(0, &[1, 2])).await.unwrap();
    let marked = first.emit(&emission(1, &[])).await.unwrap().state;
    assert!(!parquet.exists());
    assert_eq!(first.finish().unwrap(), std::slice::from_ref(&parquet));
    assert_eq!(rows(), 2);

    let mut second = sink(dir.path(), "s", FileFormat::Parquet);
    second.restore(Some(&marked)).await.unwrap();
    second.emit(&emission(2, &[3])).await.unwrap();
    second.finish().unwrap();
    assert_eq!(rows(), 3);
}

#[tokio::test]
async fn dead_letters_have_their_own_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = lines(dir.path(), "s");
    sink.restore(None).await.unwrap();
    let letter = DeadLetter {
        log: LogId::new("s", "0"),
        position: Position::from_offset(7),
        arrival: WallMs(0),
        reason: DeadReason::NoEventTime,
        raw: None,
    };
    let mut emission = emission(0, &[]);
    emission.dead_letters = vec![letter.clone(), letter];
    sink.emit(&emission).await.unwrap();
    let written = fs::read_to_string(dir.path().join("dead_letters.jsonl")).unwrap();
    assert_eq!(written.lines().count(), 2);
    for line in written.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["reason"], "no_event_time");
    }
}
