//! Where an input's bytes come from: a plain file, a compressed one, or a pipe.
//!
//! A compressed input is known by its first bytes and not by its name. A pipe is read by a thread
//! of its own, because reading it may take for ever and an advance cannot wait that long.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use flate2::bufread::MultiGzDecoder;

use super::{InputError, InputPath, Progress};

/// Bytes that a pipe's thread reads at once, and how many such pieces wait at most.
const PIECE_BYTES: usize = 64 * 1024;
const PIECES_MAX: usize = 32;
/// How long a pipe is waited for.
const PIPE_WAIT: Duration = Duration::from_millis(100);

/// An open source of bytes.
pub(super) struct Source {
    path: InputPath,
    bytes: Bytes,
    /// Bytes taken from the file or pipe itself.
    read: Arc<AtomicU64>,
    total: Option<u64>,
}

enum Bytes {
    Plain { file: File, follow: bool },
    Compressed(Box<dyn Read + Send>),
    Pipe { pieces: Receiver<Result<Vec<u8>, Broken>> },
}

/// What a fill did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filled {
    /// Added at least one byte.
    Bytes,
    /// There is nothing now.
    Nothing,
    /// There is nothing any more.
    End,
}

/// Why bytes do not come.
#[derive(Debug)]
pub(super) enum Broken {
    /// The first bytes are those of a format that is not read.
    Unsupported(&'static str),
    /// Reading failed. `compressed`: the failure may be the decompressor's.
    Io { error: io::Error, compressed: bool },
    /// A file that was to grow has shrunk.
    Shrunk,
}

impl Source {
    pub(super) fn open(path: &InputPath, follow: bool) -> Result<Source, InputError> {
        let read = Arc::new(AtomicU64::new(0));
        let source =
            |bytes, total| Source { path: path.clone(), bytes, read: Arc::clone(&read), total };
        let name = path.to_string();
        let file_path = match path {
            InputPath::Stdin => {
                let pieces = pipe(Counted { inner: io::stdin(), read: Arc::clone(&read) }, &name)?;
                return Ok(source(Bytes::Pipe { pieces }, None));
            }
            InputPath::File(path) => path,
        };
        let unreadable = |error: io::Error| unreadable(&name, &error);
        let mut file = open_file(file_path, &name)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(InputError::Directory { path: name });
        }
        if !metadata.is_file() {
            let pieces = pipe(Counted { inner: file, read: Arc::clone(&read) }, &name)?;
            return Ok(source(Bytes::Pipe { pieces }, None));
        }
        let mut first = Vec::new();
        file.by_ref().take(MAGIC_BYTES).read_to_end(&mut first).map_err(unreadable)?;
        file.rewind().map_err(unreadable)?;
        let total = Some(metadata.len());
        match compression(&first) {
            Ok(None) => Ok(source(Bytes::Plain { file, follow }, total)),
            Ok(Some(compression)) => {
                let counted = Counted { inner: file, read: Arc::clone(&read) };
                let bytes = decompressed(compression, counted).map_err(unreadable)?;
                Ok(source(Bytes::Compressed(bytes), total))
            }
            Err(found) => Err(InputError::Unsupported { path: name, found }),
        }
    }

    #[cfg(test)]
    pub(super) fn of_pipe(reader: impl Read + Send + 'static) -> Source {
        let read = Arc::new(AtomicU64::new(0));
        let pieces = pipe(Counted { inner: reader, read: Arc::clone(&read) }, "-").unwrap();
        Source { path: InputPath::Stdin, bytes: Bytes::Pipe { pieces }, read, total: None }
    }

    /// Whether reading may have to wait for somebody to write.
    pub(super) fn may_block(&self) -> bool {
        matches!(self.bytes, Bytes::Pipe { .. })
    }

    /// Adds about `wanted` bytes to `buffer`. What came before a failure has been added.
    pub(super) fn fill(&mut self, buffer: &mut Vec<u8>, wanted: usize) -> Result<Filled, Broken> {
        let before = buffer.len();
        match &mut self.bytes {
            Bytes::Plain { file, follow } => {
                let result = read_some(file, buffer, wanted);
                let added = (buffer.len() - before) as u64;
                let read = self.read.fetch_add(added, Ordering::Relaxed) + added;
                result.map_err(|error| Broken::Io { error, compressed: false })?;
                if added > 0 {
                    return Ok(Filled::Bytes);
                }
                if !*follow {
                    return Ok(Filled::End);
                }
                let length =
                    file.metadata().map_err(|error| Broken::Io { error, compressed: false })?.len();
                self.total = Some(length);
                if length < read { Err(Broken::Shrunk) } else { Ok(Filled::Nothing) }
            }
            Bytes::Compressed(reader) => {
                read_some(reader, buffer, wanted)
                    .map_err(|error| Broken::Io { error, compressed: true })?;
                Ok(if buffer.len() > before { Filled::Bytes } else { Filled::End })
            }
            Bytes::Pipe { pieces } => {
                match pieces.recv_timeout(PIPE_WAIT) {
                    Ok(piece) => buffer.extend_from_slice(&piece?),
                    Err(RecvTimeoutError::Timeout) => return Ok(Filled::Nothing),
                    Err(RecvTimeoutError::Disconnected) => return Ok(Filled::End),
                }
                while buffer.len() - before < wanted {
                    match pieces.try_recv() {
                        Ok(piece) => buffer.extend_from_slice(&piece?),
                        Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                    }
                }
                Ok(Filled::Bytes)
            }
        }
    }

    /// Goes to a line that begins at `offset`, if this source can go anywhere: otherwise `false`.
    pub(super) fn seek_to_line(&mut self, offset: u64) -> Result<bool, InputError> {
        let Bytes::Plain { file, .. } = &mut self.bytes else { return Ok(false) };
        let name = self.path.to_string();
        let unreadable = |error: io::Error| unreadable(&name, &error);
        let mut before = Vec::new();
        file.seek(SeekFrom::Start(offset.saturating_sub(1))).map_err(unreadable)?;
        file.by_ref().take(offset.min(1)).read_to_end(&mut before).map_err(unreadable)?;
        if offset > 0 && before != b"\n" {
            return Err(InputError::Changed { path: name, offset });
        }
        self.read.store(offset, Ordering::Relaxed);
        Ok(true)
    }

    pub(super) fn progress(&self) -> Progress {
        Progress { read: self.read.load(Ordering::Relaxed), total: self.total }
    }

    /// The error of a source that broke after `offset` bytes.
    pub(super) fn error(&self, broken: Broken, offset: u64) -> InputError {
        let path = self.path.to_string();
        match broken {
            Broken::Unsupported(found) => InputError::Unsupported { path, found },
            Broken::Shrunk => InputError::Changed { path, offset },
            Broken::Io { error, compressed: false } => unreadable(&path, &error),
            Broken::Io { error, compressed: true } => match (error.kind(), error.raw_os_error()) {
                (io::ErrorKind::UnexpectedEof, _) => InputError::Truncated { path, offset },
                (_, Some(_)) => unreadable(&path, &error),
                _ => InputError::Corrupt { path, reason: error.to_string(), offset },
            },
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("path", &self.path).finish_non_exhaustive()
    }
}

fn open_file(path: &Path, name: &str) -> Result<File, InputError> {
    File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => InputError::NotFound { path: name.to_string() },
        _ => unreadable(name, &error),
    })
}

fn unreadable(path: &str, error: &io::Error) -> InputError {
    InputError::Unreadable { path: path.to_string(), reason: error.to_string() }
}

/// Adds `wanted` bytes, or fewer when the reader ends or fails.
fn read_some(reader: &mut impl Read, buffer: &mut Vec<u8>, wanted: usize) -> io::Result<()> {
    buffer.reserve_exact(wanted);
    reader.take(wanted as u64).read_to_end(buffer).map(|_| ())
}

/// Reads a pipe in a thread of its own, which ends with the pipe or when nobody listens any more.
fn pipe(
    reader: impl Read + Send + 'static,
    name: &str,
) -> Result<Receiver<Result<Vec<u8>, Broken>>, InputError> {
    let (pieces, receiver) = sync_channel(PIECES_MAX);
    std::thread::Builder::new()
        .name("input".to_string())
        .spawn(move || {
            if let Err(broken) = send(reader, &pieces) {
                // Nobody listens: nobody wants to know.
                let _ = pieces.send(Err(broken));
            }
        })
        .map_err(|error| unreadable(name, &error))?;
    Ok(receiver)
}

fn send(
    mut reader: impl Read + Send + 'static,
    pieces: &SyncSender<Result<Vec<u8>, Broken>>,
) -> Result<(), Broken> {
    let mut first = Vec::new();
    reader
        .by_ref()
        .take(MAGIC_BYTES)
        .read_to_end(&mut first)
        .map_err(|error| Broken::Io { error, compressed: false })?;
    let compression = compression(&first).map_err(Broken::Unsupported)?;
    let whole = Cursor::new(first).chain(reader);
    let mut reader: Box<dyn Read + Send> = match compression {
        None => Box::new(whole),
        Some(compression) => decompressed(compression, whole)
            .map_err(|error| Broken::Io { error, compressed: true })?,
    };
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        match reader.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                piece.truncate(count);
                if pieces.send(Ok(piece)).is_err() {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(Broken::Io { error, compressed: compression.is_some() });
            }
        }
    }
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    Gzip,
    Zstd,
}

/// Bytes that tell the formats apart.
const MAGIC_BYTES: u64 = 10;

/// How bytes that begin like this are compressed; or what they are, when they are nothing that is
/// read.
fn compression(first: &[u8]) -> Result<Option<Compression>, &'static str> {
    match first {
        [0x1f, 0x8b, ..] => Ok(Some(Compression::Gzip)),
        // A frame, or a skippable frame before one.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Ok(Some(Compression::Zstd))
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err("an xz file"),
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59] => Err("a bzip2 file"),
        [0x04, 0x22, 0x4d, 0x18, ..] => Err("an lz4 file"),
        [b'P', b'K', 3, 4, ..] => Err("a zip file"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Err("UTF-16 text"),
        _ => Ok(None),
    }
}

fn decompressed(
    compression: Compression,
    reader: impl Read + Send + 'static,
) -> io::Result<Box<dyn Read + Send>> {
    let reader = BufReader::with_capacity(PIECE_BYTES, reader);
    Ok(match compression {
        Compression::Gzip => Box::new(MultiGzDecoder::new(reader)),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(reader)?),
    })
}
