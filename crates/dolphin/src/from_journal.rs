//! The market frames of a node's journal as a recording (SPEC §2.4), in the order in which its book stage took them.

use std::path::Path;

use archive::recording::{RecordingError, RecordingWriter};
use market::Nanos;
use node::error::Failure;
use node::journal::records::{BOOK, FRAME, SNAPSHOT, decode_frame, decode_snapshot};
use node::stages::feed::FrameKind;

use crate::commands::journal::each;
use crate::recorder::Recorded;

/// Writes `out`. Where frames are missing (a lost connection, a hole in the journal, another run) the recording says so.
pub fn record(journal: &Path, out: &Path) -> Result<Recorded, Failure> {
    let mut made = Made { out, writer: None, recorded: Recorded::default(), span: None };
    let mut newest: Option<(u64, u64)> = None;
    each(journal, |header, record| {
        if record.stream != BOOK {
            return Ok(true);
        }
        let expected = newest.replace((header.run, record.seq));
        match expected {
            Some((run, _)) if run != header.run => {
                made.gap(record.at, "another run of the node")?;
            }
            Some((_, seq)) if seq.saturating_add(1) != record.seq => {
                made.gap(record.at, "records of the journal are missing")?;
            }
            _ => {}
        }
        made.recorded.symbols = header.symbols.len();
        match record.kind {
            FRAME => {
                let frame = decode_frame(record.payload).map_err(Failure::input)?;
                match frame.kind {
                    FrameKind::Market => made.line(frame.recv_ns, &frame.bytes)?,
                    FrameKind::Lost => made.gap(frame.recv_ns, "a connection was lost")?,
                    FrameKind::Opened | FrameKind::Replaced => {}
                }
            }
            SNAPSHOT => {
                let reply = decode_snapshot(record.payload).map_err(Failure::input)?;
                let name = header.symbols.get(reply.request.symbol.index());
                if let Some((name, body)) = name.zip(reply.body) {
                    made.snapshot(record.at, name, &body)?;
                }
            }
            _ => {}
        }
        Ok(true)
    })?;
    made.finish(journal)
}

struct Made<'a> {
    out: &'a Path,
    /// Begun with the first frame.
    writer: Option<RecordingWriter>,
    recorded: Recorded,
    span: Option<(u64, u64)>,
}

impl Made<'_> {
    fn writer(&mut self, at: u64) -> Result<&mut RecordingWriter, Failure> {
        self.span = Some((self.span.map_or(at, |(from, _)| from), at));
        self.recorded.lines += 1;
        if self.writer.is_none() {
            self.writer = Some(RecordingWriter::create(self.out).map_err(|e| Failure::usage(e.to_string()))?);
        }
        self.writer.as_mut().ok_or_else(|| Failure::usage("no recording was begun"))
    }

    fn line(&mut self, at: u64, frame: &[u8]) -> Result<(), Failure> {
        // The receive time, a blank, a line's end.
        self.recorded.bytes += frame.len() as u64 + 21;
        self.writer(at)?.write(Nanos(at), frame).map_err(|e| unwritten(&e))
    }

    fn snapshot(&mut self, at: u64, symbol: &str, body: &[u8]) -> Result<(), Failure> {
        self.recorded.snapshots += 1;
        self.recorded.bytes += body.len() as u64 + 60;
        self.writer(at)?.write_snapshot(Nanos(at), symbol, body).map_err(|e| unwritten(&e))
    }

    fn gap(&mut self, at: u64, why: &str) -> Result<(), Failure> {
        self.recorded.gaps += 1;
        let mark = serde_json::json!({
            "stream": "!gap",
            "data": {"e": "gap", "E": Nanos(at).millis(), "streams": "all", "reason": why},
        });
        self.line(at, mark.to_string().as_bytes())
    }

    fn finish(mut self, journal: &Path) -> Result<Recorded, Failure> {
        let Some(writer) = self.writer else {
            return Err(Failure::input(format!(
                "{}: no market frame is in it: the node keeps them with `journal: content: frames`",
                journal.display()
            )));
        };
        writer.finish().map_err(|e| unwritten(&e))?;
        self.recorded.files.push(self.out.to_owned());
        self.recorded.seconds = self.span.map_or(0.0, |(from, to)| to.saturating_sub(from) as f64 / 1e9);
        Ok(self.recorded)
    }
}

/// Exit 4: the disk is full or away.
fn unwritten(error: &RecordingError) -> Failure {
    Failure::unavailable(error.to_string())
}
