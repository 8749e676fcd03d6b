//! The kill of a deployment on this machine: the kill file, and what it has to do with the kill's record in memory.
//!
//! A kill file without a record is this machine's affair: who removes it lets trading begin again. With a record (its second
//! line) the kill holds on every machine, and the file is only what this machine knows of it: it goes when memory shows that
//! very kill taken back (`dolphin rearm`), and memory that has lost the record gets it again.

use std::path::{Path, PathBuf};

use memory::schema::{FromMemory, Kill, to_text};
use runtime::environment::Files;

use crate::control::orders::KILL_FLATTEN;
use crate::error::Failure;

/// What stands in a kill file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Positions are to be closed too.
    pub flatten: bool,
    /// The kill as memory has it; `None`: it is of this machine alone.
    pub record: Option<Kill>,
}

impl Wish {
    /// Of a file's text. What cannot be understood still is a wish to stop.
    pub fn of(text: &str) -> Self {
        let mut lines = text.lines();
        let flatten = lines.next().is_some_and(|line| line.contains(KILL_FLATTEN));
        Self { flatten, record: lines.next().and_then(|line| Kill::from_memory(line).ok()) }
    }

    /// For the file.
    pub fn text(&self) -> String {
        let wish = if self.flatten { KILL_FLATTEN } else { "stop" };
        let record = self.record.as_ref().map_or_else(String::new, |kill| to_text(kill) + "\n");
        format!("{wish}\n{record}")
    }

    /// What the file says; `None`: there is none.
    pub fn read(file: &Path, files: &dyn Files) -> Option<Self> {
        match files.read(file) {
            Ok(text) => text.map(|text| Self::of(&text)),
            // What cannot be read still is a wish to stop.
            Err(_) => Some(Self { flatten: false, record: None }),
        }
    }
}

/// Where an order to rearm a node of this machine lies ([`memory::schema::RearmOrder`]), beside its kill file; the node takes it away.
pub fn rearm_file(kill_file: &Path) -> PathBuf {
    beside(kill_file, ".rearm")
}

/// Where the node answers it.
pub fn rearm_report_file(kill_file: &Path) -> PathBuf {
    beside(kill_file, ".rearm.report")
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// The kill of all machines that this one knows of.
pub fn known(file: Option<&Path>, files: &dyn Files) -> Option<Kill> {
    Wish::read(file?, files)?.record
}

/// Makes the file say what memory does: a kill in force is written down, one that memory shows taken back is forgotten.
pub fn follow(kill: Option<&Kill>, file: Option<&Path>, files: &dyn Files) {
    let (Some(kill), Some(file)) = (kill, file) else { return };
    let here = Wish::read(file, files);
    let done = match here {
        None if kill.in_force() => {
            let wish = Wish { flatten: kill.flatten, record: Some(kill.clone()).filter(|k| k.number > 0) };
            files.write(file, &wish.text())
        }
        Some(Wish { record: Some(known), .. }) if !kill.in_force() && kill.settles(&known) => {
            tracing::info!("kill {} was taken back: {} is removed", known.number, file.display());
            files.remove(file)
        }
        _ => Ok(()),
    };
    if let Err(error) = done {
        tracing::error!("the kill file {}: {error}", file.display());
    }
}

/// Why nothing starts.
pub fn refusal(file: Option<&Path>, kill: Option<&Kill>) -> Failure {
    let place = file.map_or_else(|| "system memory".to_owned(), |file| format!("{} exists", file.display()));
    let Some(kill) = kill else {
        return Failure::usage(format!(
            "the kill switch is latched: {place}; when trading may go on, remove it by `dolphin rearm --reason TEXT` and \
             start again"
        ));
    };
    let why = if kill.reason.is_empty() { String::new() } else { format!(", because: {}", kill.reason) };
    let by = if kill.by.is_empty() { "somebody" } else { &kill.by };
    Failure::usage(format!(
        "the deployment was killed by {by} (kill {} in system memory{why}): nothing opens on any machine; when trading may \
         go on, `dolphin rearm --reason TEXT` (it also removes the kill file: {place})",
        kill.number
    ))
}

#[cfg(test)]
mod tests {
    use market::Nanos;
    use memory::schema::Rearm;
    use runtime::environment::SystemFiles;

    use super::*;

    fn kill(number: u64) -> Kill {
        let (id, reason, by) = (format!("{number:016x}"), "a \"test\"".to_owned(), "anna".to_owned());
        let killed_at = Nanos(1_618_099_205_500_000_000);
        Kill { number, id, killed_at, reason, flatten: true, by, rearmed: None }
    }

    fn taken_back(number: u64) -> Kill {
        let at = Nanos(1_618_099_300_500_000_000);
        Kill { rearmed: Some(Rearm { at, reason: "looked".into(), by: "bert".into() }), ..kill(number) }
    }

    #[test]
    fn a_file_says_the_wish_and_the_record() {
        for wish in [Wish { flatten: true, record: Some(kill(3)) }, Wish { flatten: false, record: None }] {
            assert_eq!(Wish::of(&wish.text()), wish);
        }
        assert_eq!(Wish { flatten: false, record: None }.text(), "stop\n");
        assert_eq!(Wish::of("flatten"), Wish { flatten: true, record: None });
        // The record's own words are no wish.
        let stop = Wish { flatten: false, record: Some(kill(3)) };
        assert!(stop.text().contains("flatten") && !Wish::of(&stop.text()).flatten);
        assert_eq!(Wish::of("nonsense\n{"), Wish { flatten: false, record: None });
    }

    #[test]
    fn the_file_follows_memory_and_is_kept_while_memory_has_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("node.kill");
        let (file, files) = (file.as_path(), &SystemFiles);
        follow(None, Some(file), files);
        assert_eq!(Wish::read(file, files), None);
        follow(Some(&kill(3)), Some(file), files);
        assert_eq!(known(Some(file), files), Some(kill(3)));
        for other in [None, Some(&taken_back(2))] {
            follow(other, Some(file), files);
            assert_eq!(known(Some(file), files), Some(kill(3)), "{other:?} settles nothing");
        }
        follow(Some(&taken_back(3)), Some(file), files);
        assert_eq!(Wish::read(file, files), None);
        // A file of this machine alone is nobody else's to remove.
        files.write(file, "stop\n").unwrap();
        follow(Some(&taken_back(9)), Some(file), files);
        assert!(Wish::read(file, files).is_some());
    }
}
