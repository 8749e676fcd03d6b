//! Market recordings (SPEC §2.4): compressed text, a line per received frame, `<receive time ns> <raw frame>`.
//!
//! Files are read as streams, a line at a time, with a limit on the line; several files are merged by receive time.
//! Read too: hftbacktest's raw files, which have this format, and cryptofeed's (`cryptofeed`), websocket and REST file together.
//!
//! Depth snapshots stand in the same file, wrapped as `{"stream":"<symbol lower>@depthSnapshot","data":{…}}` or bare
//! as the REST reply came; a bare one belongs to the symbol of the file's other frames.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use market::Nanos;

use self::cryptofeed::CryptofeedLine;

mod cryptofeed;
mod survey;

pub use survey::{Survey, SurveyedSymbol, survey};

/// Longest line read.
pub const MAX_LINE_BYTES: usize = (4 << 20) + 64;

/// What goes wrong with a recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file cannot be opened, created or written.
    #[error("{}: {source}", path.display())]
    File {
        /// File.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The compressed data is damaged or cut short.
    #[error("{} is damaged after line {line}: {source}; what is before it can be read, record it again or cut it there", path.display())]
    Damaged {
        /// File.
        path: PathBuf,
        /// Lines read before the damage.
        line: u64,
        /// Cause.
        source: io::Error,
    },
    /// A line is not `<receive time ns> <frame>`.
    #[error("{}, line {line}: {what}; expected `<receive time in ns> <frame>`, as `dolphin record` and hftbacktest write it, or cryptofeed's raw `<seconds>: <frame>`", path.display())]
    Line {
        /// File.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A bare snapshot in a file of several symbols.
    #[error("{}, line {line}: a depth snapshot without a symbol in a file of {symbols} symbols; record it wrapped as \"<symbol>@depthSnapshot\"", path.display())]
    WhoseSnapshot {
        /// File.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Symbols in the file.
        symbols: usize,
    },
    /// No frame names a symbol.
    #[error("{}: no market frame of any symbol in {lines} lines", path.display())]
    NoSymbols {
        /// First file.
        path: PathBuf,
        /// Lines read.
        lines: u64,
    },
}

/// A received frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Which of the merged files, in the order given.
    pub file: usize,
    /// Line, from 1.
    pub number: u64,
    /// When it was received.
    pub recv: Nanos,
    /// The frame as received.
    pub frame: &'a [u8],
}

/// Is the frame a bare REST depth reply?
pub fn is_bare_snapshot(frame: &[u8]) -> bool {
    frame.starts_with(b"{\"lastUpdateId\"")
}

/// A REST depth reply with its symbol.
fn wrapped(symbol: &str, reply: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(reply.len() + 64);
    frame.extend_from_slice(b"{\"stream\":\"");
    frame.extend_from_slice(symbol.to_lowercase().as_bytes());
    frame.extend_from_slice(b"@depthSnapshot\",\"data\":");
    frame.extend_from_slice(reply);
    frame.push(b'}');
    frame
}

/// Reads one recording.
pub struct RecordingReader {
    path: PathBuf,
    input: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    number: u64,
    recv: Nanos,
    /// Where the frame begins in `line`.
    frame_at: usize,
}

impl std::fmt::Debug for RecordingReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordingReader").field("path", &self.path).field("line", &self.number).finish()
    }
}

impl RecordingReader {
    /// Opens a recording: `.gz`, `.zst`, anything else is plain text.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let fail = |source| RecordingError::File { path: path.to_owned(), source };
        let file = File::open(path).map_err(fail)?;
        if file.metadata().map_err(fail)?.is_dir() {
            return Err(fail(io::ErrorKind::IsADirectory.into()));
        }
        let input: Box<dyn BufRead + Send> = match path.extension().and_then(|e| e.to_str()) {
            Some("gz") => Box::new(BufReader::with_capacity(
                1 << 16,
                flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file)),
            )),
            Some("zst" | "zstd") => {
                Box::new(BufReader::with_capacity(1 << 16, zstd::Decoder::new(file).map_err(fail)?))
            }
            _ => Box::new(BufReader::with_capacity(1 << 16, file)),
        };
        let line = Vec::with_capacity(1 << 16);
        Ok(Self { path: path.to_owned(), input, line, number: 0, recv: Nanos(0), frame_at: 0 })
    }

    /// Steps to the next frame; `false` at the end. Empty lines are skipped.
    pub fn advance(&mut self) -> Result<bool, RecordingError> {
        loop {
            self.line.clear();
            let mut limited = self.input.by_ref().take(MAX_LINE_BYTES as u64 + 1);
            let read = limited.read_until(b'\n', &mut self.line).map_err(|source| {
                RecordingError::Damaged { path: self.path.clone(), line: self.number, source }
            })?;
            if read == 0 {
                return Ok(false);
            }
            self.number += 1;
            if self.line.len() > MAX_LINE_BYTES {
                return Err(self.bad("line too long"));
            }
            while matches!(self.line.last(), Some(b'\n' | b'\r')) {
                self.line.pop();
            }
            if !self.line.is_empty() && self.split()? {
                return Ok(true);
            }
        }
    }

    /// Finds the frame of the line; `false`: it has none.
    fn split(&mut self) -> Result<bool, RecordingError> {
        let digits = self.line.iter().take_while(|c| c.is_ascii_digit()).count();
        if digits == 0 || self.line.get(digits) != Some(&b' ') {
            return self.split_other();
        }
        let parse = |n: u64, c: &u8| n.checked_mul(10)?.checked_add(u64::from(c - b'0'));
        let recv = self.line[..digits].iter().try_fold(0u64, parse);
        self.recv = Nanos(recv.ok_or_else(|| self.bad("receive time beyond 64 bits"))?);
        self.frame_at = digits + 1;
        Ok(true)
    }

    /// A line of another writer's.
    fn split_other(&mut self) -> Result<bool, RecordingError> {
        if self.number == 1 && self.line.starts_with(b"PK\x03\x04") {
            return Err(self
                .bad("a zip file: of hftbacktest's files the raw ones can be read, not the converted .npz"));
        }
        let wrapped = match cryptofeed::line(&self.line) {
            None => return Err(self.bad("no receive time")),
            Some(CryptofeedLine::Other) => return Ok(false),
            Some(CryptofeedLine::Frame(at, frame)) => {
                (self.recv, self.frame_at) = (at, self.line.len() - frame.len());
                return Ok(true);
            }
            Some(CryptofeedLine::Snapshot(at, symbol, reply)) => {
                self.recv = at;
                wrapped(symbol, reply)
            }
        };
        (self.line, self.frame_at) = (wrapped, 0);
        Ok(true)
    }

    fn bad(&self, what: &'static str) -> RecordingError {
        RecordingError::Line { path: self.path.clone(), line: self.number, what }
    }

    /// The frame the reader stands at, after [`Self::advance`] said `true`.
    pub fn line(&self) -> Line<'_> {
        let frame = self.line.get(self.frame_at..).unwrap_or_default();
        Line { file: 0, number: self.number, recv: self.recv, frame }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Several recordings as one, by receive time; at equal times the file given first comes first. Within a file the
/// order is that of its lines.
#[derive(Debug)]
pub struct MergedRecordings {
    /// Reader and whether it stands at a frame.
    readers: Vec<(RecordingReader, bool)>,
    /// The reader whose frame was handed out last.
    current: Option<usize>,
}

impl MergedRecordings {
    /// Opens all of them.
    pub fn open(paths: &[PathBuf]) -> Result<Self, RecordingError> {
        let mut readers = Vec::with_capacity(paths.len());
        for path in paths {
            let mut reader = RecordingReader::open(path)?;
            let at_frame = reader.advance()?;
            readers.push((reader, at_frame));
        }
        Ok(Self { readers, current: None })
    }

    /// The next frame of all files; `None` at the end of all.
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, RecordingError> {
        if let Some(i) = self.current {
            let (reader, at_frame) = &mut self.readers[i];
            *at_frame = reader.advance()?;
        }
        let waiting = self.readers.iter().enumerate().filter(|(_, (_, at_frame))| *at_frame);
        self.current = waiting.min_by_key(|(i, (reader, _))| (reader.recv, *i)).map(|(i, _)| i);
        Ok(self.current.map(|file| Line { file, ..self.readers[file].0.line() }))
    }

    /// A file by its place.
    pub fn path(&self, file: usize) -> &Path {
        self.readers[file].0.path()
    }
}

/// What the writer compresses with.
enum Sink {
    Gzip(flate2::write::GzEncoder<BufWriter<File>>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
    Plain(BufWriter<File>),
}

/// Writes a recording.
pub struct RecordingWriter {
    path: PathBuf,
    sink: Sink,
    lines: u64,
}

impl std::fmt::Debug for RecordingWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordingWriter").field("path", &self.path).field("lines", &self.lines).finish()
    }
}

impl RecordingWriter {
    /// Creates the file: `.gz`, `.zst`, anything else is plain text.
    pub fn create(path: &Path) -> Result<Self, RecordingError> {
        let fail = |source| RecordingError::File { path: path.to_owned(), source };
        let file = BufWriter::with_capacity(1 << 16, File::create(path).map_err(fail)?);
        let sink = match path.extension().and_then(|e| e.to_str()) {
            Some("gz") => Sink::Gzip(flate2::write::GzEncoder::new(file, flate2::Compression::fast())),
            Some("zst" | "zstd") => Sink::Zstd(zstd::Encoder::new(file, 3).map_err(fail)?),
            _ => Sink::Plain(file),
        };
        Ok(Self { path: path.to_owned(), sink, lines: 0 })
    }

    /// Appends a received frame. A frame is one line: line breaks in it, which JSON allows between its words, become
    /// blanks.
    pub fn write(&mut self, recv: Nanos, frame: &[u8]) -> Result<(), RecordingError> {
        self.lines += 1;
        let mut put = || -> io::Result<()> {
            let out = self.sink.writer();
            write!(out, "{} ", recv.0)?;
            let mut parts = frame.split(|&c| c == b'\n' || c == b'\r');
            out.write_all(parts.next().unwrap_or_default())?;
            for part in parts {
                out.write_all(b" ")?;
                out.write_all(part)?;
            }
            out.write_all(b"\n")
        };
        put().map_err(|source| RecordingError::File { path: self.path.clone(), source })
    }

    /// Appends a REST depth reply, wrapped with its symbol.
    pub fn write_snapshot(&mut self, recv: Nanos, symbol: &str, reply: &[u8]) -> Result<(), RecordingError> {
        self.write(recv, &wrapped(symbol, reply))
    }

    /// Writes out what is buffered, so that a reader of the unfinished file sees it.
    pub fn flush(&mut self) -> Result<(), RecordingError> {
        let flushed = self.sink.writer().flush();
        flushed.map_err(|source| RecordingError::File { path: self.path.clone(), source })
    }

    /// Lines written.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Ends the file. A recording dropped without it is cut short.
    pub fn finish(self) -> Result<(), RecordingError> {
        let file = match self.sink {
            Sink::Gzip(encoder) => encoder.finish(),
            Sink::Zstd(encoder) => encoder.finish(),
            Sink::Plain(file) => Ok(file),
        };
        let finished = file.and_then(|mut file| file.flush());
        finished.map_err(|source| RecordingError::File { path: self.path, source })
    }
}

impl Sink {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Gzip(w) => w,
            Self::Zstd(w) => w,
            Self::Plain(w) => w,
        }
    }
}
