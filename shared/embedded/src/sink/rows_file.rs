//! Result rows on their way into a Parquet file, which can only be written whole.
//!
//! The rows of each epoch are one frame: its length (4 bytes, little-endian), then an Arrow IPC
//! stream of one batch. Frames are written durably epoch by epoch and turned into Parquet at the
//! end of a run; the rows file stays, so that a later run can add to it.

use std::fs::File;
use std::io::{self, BufReader, Read, Take};
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use parquet::errors::ParquetError;
use tidemill_flow::emit::parquet::Writer;

use super::growing_file::named;

/// Largest frame that is read back, bytes: an epoch's results are bounded, so a longer one is
/// damage.
const FRAME_BYTES_MAX: u32 = 1 << 31;

/// Why rows did not become Parquet.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowsError {
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The rows file does not hold what was written.
    #[error("{file} is damaged at byte {at}; no Parquet file was written")]
    Damaged {
        /// The rows file.
        file: String,
        /// Where its last good frame ends.
        at: u64,
    },
    /// Rows that Arrow cannot encode.
    #[error("rows cannot be encoded: {0}")]
    Arrow(#[from] ArrowError),
    /// A Parquet file that cannot be written, or rows that it cannot hold.
    #[error("{file} cannot be written as Parquet: {cause}")]
    Parquet {
        /// The file.
        file: String,
        /// Why.
        #[source]
        cause: ParquetError,
    },
}

/// The frame of one batch.
pub(super) fn frame(batch: &RecordBatch) -> Result<Vec<u8>, RowsError> {
    let mut writer = StreamWriter::try_new(vec![0; 4], batch.schema_ref())?;
    writer.write(batch)?;
    let mut frame = writer.into_inner()?;
    let length = u32::try_from(frame.len() - 4)
        .ok()
        .filter(|length| *length <= FRAME_BYTES_MAX)
        .ok_or_else(|| io::Error::other("one epoch's rows are larger than 2 GiB"))?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

/// Writes the first `length` bytes of the frames at `rows` as one Parquet file at `parquet`, which
/// appears whole or not at all. Memory is bounded by a row group and a frame. Answers the rows.
///
/// `schema` is that of the file when there are no frames.
pub(super) fn to_parquet(
    rows: &Path,
    length: u64,
    schema: &SchemaRef,
    parquet: &Path,
) -> Result<u64, RowsError> {
    let mut frames = Frames::open(rows, length)?;
    let first = frames.next_batch()?;
    let schema = first.as_ref().map_or_else(|| schema.clone(), RecordBatch::schema);

    let temporary = parquet.with_extension("parquet.tmp");
    let file = File::create(&temporary).map_err(|error| named(&temporary, &error))?;
    let failed = |cause| RowsError::Parquet { file: temporary.display().to_string(), cause };
    let mut writer = Writer::new(file, schema).map_err(failed)?;
    let mut count = 0;
    let mut next = first;
    while let Some(batch) = next {
        count += batch.num_rows() as u64;
        writer.write(&batch).map_err(failed)?;
        next = frames.next_batch()?;
    }
    let file = writer.finish().map_err(failed)?;
    file.sync_all().map_err(|error| named(&temporary, &error))?;
    std::fs::rename(&temporary, parquet).map_err(|error| named(parquet, &error))?;
    Ok(count)
}

/// Reads frames one by one.
struct Frames {
    name: String,
    file: Take<BufReader<File>>,
    /// Where the next frame begins.
    at: u64,
}

impl Frames {
    fn open(path: &Path, length: u64) -> Result<Frames, RowsError> {
        let file = File::open(path).map_err(|error| named(path, &error))?;
        Ok(Frames {
            name: path.display().to_string(),
            file: BufReader::new(file).take(length),
            at: 0,
        })
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, RowsError> {
        if self.file.limit() == 0 {
            return Ok(None);
        }
        let mut prefix = [0; 4];
        self.file.read_exact(&mut prefix).map_err(|_| self.damaged())?;
        let length = u32::from_le_bytes(prefix);
        if length > FRAME_BYTES_MAX || u64::from(length) > self.file.limit() {
            return Err(self.damaged());
        }
        let mut bytes = vec![0; length as usize];
        self.file.read_exact(&mut bytes).map_err(|_| self.damaged())?;
        let mut reader =
            StreamReader::try_new(bytes.as_slice(), None).map_err(|_| self.damaged())?;
        let Some(Ok(batch)) = reader.next() else { return Err(self.damaged()) };
        self.at += 4 + u64::from(length);
        Ok(Some(batch))
    }

    fn damaged(&self) -> RowsError {
        RowsError::Damaged { file: self.name.clone(), at: self.at }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]))
    }

    fn batch(values: &[i64]) -> RecordBatch {
        RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from(values.to_vec()))]).unwrap()
    }

    fn read(path: &Path) -> Vec<i64> {
        let file = File::open(path).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        reader
            .flat_map(|batch| {
                let batch = batch.unwrap();
                let column = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
                column.values().to_vec()
            })
            .collect()
    }

    #[test]
    fn frames_become_one_parquet_file_and_later_frames_a_longer_one() {
        let dir = tempfile::tempdir().unwrap();
        let (rows, parquet) = (dir.path().join(".q.rows"), dir.path().join("q.parquet"));
        let mut bytes = frame(&batch(&[1, 2])).unwrap();
        bytes.extend(frame(&batch(&[3])).unwrap());
        std::fs::write(&rows, &bytes).unwrap();
        assert_eq!(to_parquet(&rows, bytes.len() as u64, &schema(), &parquet).unwrap(), 3);
        assert_eq!(read(&parquet), [1, 2, 3]);

        bytes.extend(frame(&batch(&[4])).unwrap());
        std::fs::write(&rows, &bytes).unwrap();
        to_parquet(&rows, bytes.len() as u64, &schema(), &parquet).unwrap();
        assert_eq!(read(&parquet), [1, 2, 3, 4]);
    }

    #[test]
    fn no_frame_is_a_file_with_the_schema_and_no_rows() {
        let dir = tempfile::tempdir().unwrap();
        let (rows, parquet) = (dir.path().join(".q.rows"), dir.path().join("q.parquet"));
        std::fs::write(&rows, b"").unwrap();
        assert_eq!(to_parquet(&rows, 0, &schema(), &parquet).unwrap(), 0);
        assert_eq!(read(&parquet), Vec::<i64>::new());
    }

    /// That the disk is full came up while Parquet was written, and nothing said which file it was.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_told_with_the_name_of_the_parquet_file() {
        let dir = tempfile::tempdir().unwrap();
        let (rows, parquet) = (dir.path().join(".q.rows"), dir.path().join("q.parquet"));
        let whole = frame(&batch(&[1])).unwrap();
        std::fs::write(&rows, &whole).unwrap();
        std::os::unix::fs::symlink("/dev/full", dir.path().join("q.parquet.tmp")).unwrap();
        let error = to_parquet(&rows, whole.len() as u64, &schema(), &parquet).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("q.parquet.tmp") && said.contains("No space left"), "{said}");
        assert!(!parquet.exists());
    }

    #[test]
    fn a_damaged_rows_file_leaves_the_old_parquet_file() {
        let dir = tempfile::tempdir().unwrap();
        let (rows, parquet) = (dir.path().join(".q.rows"), dir.path().join("q.parquet"));
        let whole = frame(&batch(&[1])).unwrap();
        std::fs::write(&rows, &whole).unwrap();
        to_parquet(&rows, whole.len() as u64, &schema(), &parquet).unwrap();
        for damaged in [&whole[..whole.len() - 1], &[0xff; 40][..], &[4, 0, 0, 0, 1, 2, 3, 4][..]] {
            std::fs::write(&rows, damaged).unwrap();
            let error = to_parquet(&rows, damaged.len() as u64, &schema(), &parquet).unwrap_err();
            assert!(matches!(error, RowsError::Damaged { at: 0, .. }), "{error}");
            assert_eq!(read(&parquet), [1]);
        }
    }
}
