//! The records of a journal, one after the other.

use std::ops::ControlFlow;
use std::path::Path;

use node::error::Failure;
use node::journal::header::Header;
use node::journal::replay::runs;
use runtime::environment::SystemFiles;
use runtime::journal::frame::Record;
use runtime::journal::library::read;
use runtime::journal::segment::{OWN, kind};

/// Passes every record of every run, with its header, to `take`, until that says false. Segments without a header that
/// can be read have no records that could be shown.
pub fn each(
    journal: &Path,
    mut take: impl FnMut(&Header, &Record<'_>) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let mut failed = None;
    for (_, segments) in runs(&SystemFiles, journal)? {
        let mut header: Option<Header> = None;
        let mut on = true;
        for segment in segments {
            let walked = read(&SystemFiles, &segment.path, |record| {
                if record.stream == OWN {
                    if record.kind == kind::HEADER {
                        header = serde_json::from_slice(record.payload).ok().or_else(|| header.take());
                    }
                    return ControlFlow::Continue(());
                }
                let Some(header) = &header else { return ControlFlow::Continue(()) };
                match take(header, &record) {
                    Ok(true) => ControlFlow::Continue(()),
                    Ok(false) => {
                        on = false;
                        ControlFlow::Break(())
                    }
                    Err(why) => {
                        failed = Some(why);
                        ControlFlow::Break(())
                    }
                }
            });
            walked.map_err(|e| Failure::input(format!("{}: {e:?}", segment.path.display())))?;
            if let Some(why) = failed {
                return Err(why);
            }
            if !on {
                break;
            }
        }
    }
    Ok(())
}
