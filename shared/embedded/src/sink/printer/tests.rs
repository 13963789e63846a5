use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, Float64Array, StringArray, TimestampMillisecondArray};
use tidemill_model::{DeadLetter, DeadReason, Epoch, LogId, Position, RawBytes, WallMs};

use super::*;

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

const HOUR: i64 = 3_600_000;

fn results() -> QueryResults {
    let start = TimestampMillisecondArray::from(vec![Some(1_356_998_400_000), Some(0), None]);
    let end = TimestampMillisecondArray::from(vec![
        Some(1_356_998_400_000 + HOUR),
        Some(24 * HOUR + 5),
        None,
    ]);
    let origin = StringArray::from(vec![Some("EWR"), Some("a\nb"), None]);
    let delay = Float64Array::from(vec![Some(4.5), Some(1.0 / 3.0), Some(f64::NAN)]);
    let batch = RecordBatch::try_from_iter([
        ("origin", Arc::new(origin) as ArrayRef),
        ("window_start", Arc::new(start)),
        ("window_end", Arc::new(end)),
        ("mean", Arc::new(delay)),
    ])
    .unwrap();
    QueryResults { query: "delay".into(), windows: 2, batch }
}

async fn print(style: PrinterStyle, emission: &Emission) -> String {
    let out = Shared::default();
    let mut sink = PrinterSink::new(Box::new(out.clone()), style, ["delay", "longer_name"]);
    sink.restore(None).await.unwrap();
    sink.emit(emission).await.unwrap();
    let bytes = out.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_row_is_one_aligned_line() {
    let emission = Emission { results: vec![results()], ..Emission::empty(Epoch(1)) };
    let printed = print(PrinterStyle::default(), &emission).await;
    assert_eq!(
        printed,
        "delay        2013-01-01 00:00 – 01:00                    origin=EWR   mean=4.5\n\
         delay        1970-01-01 00:00 – 1970-01-02 00:00:00.005  origin=a\\nb  mean=0.333\n\
         delay        null – null                                 origin=null  mean=NaN\n"
    );
}

#[tokio::test]
async fn colours_only_when_asked() {
    let emission = Emission { results: vec![results()], ..Emission::empty(Epoch(1)) };
    assert!(!print(PrinterStyle::default(), &emission).await.contains('\x1b'));
    assert!(
        print(PrinterStyle { colours: true, rows_max: None }, &emission)
            .await
            .contains("\x1b[36mdelay")
    );
}

#[tokio::test]
async fn many_dead_letters_are_counted_not_printed() {
    let letter = DeadLetter {
        log: LogId::new("flights", "0"),
        position: Position::from_offset(77),
        arrival: WallMs(0),
        reason: DeadReason::Undecodable { detail: "no JSON".into() },
        raw: Some(RawBytes::of(b"{\"a\x07", 0)),
    };
    let emission = Emission { dead_letters: vec![letter; 10], ..Emission::empty(Epoch(1)) };
    let printed = print(PrinterStyle::default(), &emission).await;
    assert_eq!(printed.lines().count(), DEAD_LETTERS_MAX + 1);
    assert!(
        printed.starts_with("dead letter  flights/0 byte 77  undecodable: no JSON  {\"a\\u{7}")
    );
    assert!(printed.ends_with("and 7 more\n"));
}

#[tokio::test]
async fn the_newest_rows_are_shown_and_the_rest_is_counted() {
    let emission = Emission { results: vec![results()], ..Emission::empty(Epoch(1)) };
    let all = print(PrinterStyle::default(), &emission).await;
    let one = print(PrinterStyle { colours: false, rows_max: Some(1) }, &emission).await;
    let none = print(PrinterStyle { colours: false, rows_max: Some(0) }, &emission).await;
    assert_eq!(one.lines().count(), 2, "{one}");
    assert!(one.starts_with("delay        … 2 earlier rows of 3\n"), "{one}");
    assert_eq!(
        one.lines().last().map(str::trim_end),
        Some("delay        null – null  origin=null  mean=NaN")
    );
    assert_eq!(none, "delay        … 3 earlier rows of 3\n");
    assert_eq!(all.lines().count(), 3);
}
