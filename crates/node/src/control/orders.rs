//! What the control thread is to do with a run.

use std::path::PathBuf;

use tokio::sync::watch as show;

use super::status::Seen;

/// What stands in the kill file where positions are to be closed too.
pub const KILL_FLATTEN: &str = "flatten";

/// What the control thread is told to do.
#[derive(Debug, Clone)]
pub struct Orders {
    /// End after this long.
    pub seconds: Option<f64>,
    /// Close the position at the end.
    pub flatten: bool,
    /// Pull the kill switch when this file appears; with [`KILL_FLATTEN`] in it positions are closed too.
    pub kill_file: Option<PathBuf>,
    /// Route of the user stream, e.g. `/private`; the listen key is added.
    pub private_path: String,
    /// Print a line of progress every five seconds.
    pub progress: bool,
    /// Where to show what is seen, every turn of the control thread, while somebody looks.
    pub watch: Option<show::Sender<Seen>>,
}

impl Orders {
    /// A text for people, where progress is wanted. Whoever reads stderr may have gone: that ends nothing.
    pub fn say(&self, text: &str) {
        if self.progress {
            say(text);
        }
    }
}

/// A text for people, on stderr. Whoever reads it may have gone: that ends nothing.
pub fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
}
