//! Listings that the venue gives in parts: windows of time, and pages within a window.
//!
//! A listing (orders, fills, income) takes a window of at most seven days and gives at most [`PAGE`] rows of it. Which
//! rows of a fuller window it gives differs: the oldest of some listings, the newest of others. So a full page says only
//! that the rows between its first and its last are there, and what lies before and after it is asked for again, until no
//! page is full. Rows are told apart by time and id, so that the edges may overlap.

use std::collections::BTreeMap;

/// Rows of a full page.
pub const PAGE: usize = 1_000;
/// How far back orders, fills and income are listed, ms: three months.
pub const LISTED_MS: u64 = 90 * DAY_MS;
/// Most pages of one window: a million rows in a week are not ours.
const MAX_PAGES: usize = 1_000;
const DAY_MS: u64 = 86_400_000;
/// The venue wants less than seven days between start and end.
const WINDOW_MS: u64 = 7 * DAY_MS;

/// A window of venue time, ms, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeWindow {
    /// First millisecond.
    pub start_ms: u64,
    /// Last millisecond.
    pub end_ms: u64,
}

/// The windows of at most seven days that cover `since_ms` to `until_ms`, oldest first; `.rev()` walks back from the
/// newest, which is a whole one. None if `until_ms` is before `since_ms`.
pub fn windows(since_ms: u64, until_ms: u64) -> impl DoubleEndedIterator<Item = TimeWindow> {
    let count = (until_ms + 1).saturating_sub(since_ms).div_ceil(WINDOW_MS);
    (0..count).rev().map(move |back| {
        let end_ms = until_ms - back * WINDOW_MS;
        TimeWindow { start_ms: since_ms.max((end_ms + 1).saturating_sub(WINDOW_MS)), end_ms }
    })
}

/// Why a listing cannot be made whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PagesError {
    /// More rows in one millisecond than a page holds.
    #[error("more than {PAGE} rows in the millisecond {0}: they cannot be listed")]
    TooDense(u64),
    /// The venue does not keep to the windows that it is asked for.
    #[error("{MAX_PAGES} pages, and the listing is not whole")]
    Endless,
}

/// A listing in the making.
pub(crate) struct Pages<T> {
    todo: Vec<TimeWindow>,
    rows: BTreeMap<(u64, u64), T>,
    pages: usize,
}

impl<T> Pages<T> {
    pub(crate) fn new(window: TimeWindow) -> Self {
        Self { todo: vec![window], rows: BTreeMap::new(), pages: 0 }
    }

    /// The window to ask for next; [`Self::page`] must follow.
    pub(crate) fn next(&mut self) -> Option<TimeWindow> {
        self.todo.pop()
    }

    /// What came of `asked`: rows with their time and id. Those of another time belong to another window.
    pub(crate) fn page(
        &mut self,
        asked: TimeWindow,
        mut rows: Vec<((u64, u64), T)>,
    ) -> Result<(), PagesError> {
        let TimeWindow { start_ms, end_ms } = asked;
        let full = rows.len() >= PAGE;
        rows.retain(|((time, _), _)| (start_ms..=end_ms).contains(time));
        let times = || rows.iter().map(|((time, _), _)| *time);
        let span = times().min().zip(times().max());
        self.rows.extend(rows);
        self.pages += 1;
        let (Some((first, last)), true) = (span, full) else { return Ok(()) };
        if start_ms == end_ms {
            return Err(PagesError::TooDense(start_ms));
        }
        if self.pages == MAX_PAGES {
            return Err(PagesError::Endless);
        }
        // The page may have cut the milliseconds of its ends, so they are asked for again: with what lies beyond them, or
        // alone where nothing smaller than this window would be left. So every window comes to an end.
        let mut again = |start_ms, end_ms| self.todo.push(TimeWindow { start_ms, end_ms });
        match (first == end_ms, last == start_ms) {
            (true, _) => {
                again(start_ms, end_ms - 1);
                again(end_ms, end_ms);
            }
            (_, true) => {
                again(start_ms, start_ms);
                again(start_ms + 1, end_ms);
            }
            _ => {
                again(start_ms, first);
                again(last, end_ms);
            }
        }
        Ok(())
    }

    /// All rows, by time and id.
    pub(crate) fn into_rows(self) -> Vec<T> {
        self.rows.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn windows_cover_everything_once() {
        let all: Vec<TimeWindow> = windows(1_000, 1_000 + 20 * DAY_MS).collect();
        assert_eq!(all.len(), 3);
        assert_eq!((all[0].start_ms, all[2].end_ms), (1_000, 1_000 + 20 * DAY_MS));
        for pair in all.windows(2) {
            assert_eq!(pair[0].end_ms + 1, pair[1].start_ms);
        }
        assert!(all.iter().all(|w| w.end_ms - w.start_ms < 7 * DAY_MS));
        // Walking back begins with a whole window at the newest.
        let newest = windows(0, LISTED_MS).next_back().unwrap();
        assert_eq!(newest, TimeWindow { start_ms: LISTED_MS + 1 - 7 * DAY_MS, end_ms: LISTED_MS });
        assert_eq!(windows(5, 5).collect::<Vec<_>>(), [TimeWindow { start_ms: 5, end_ms: 5 }]);
        assert_eq!(windows(6, 5).count(), 0);
    }

    /// A venue that gives the oldest or the newest rows of a window.
    fn listed(rows: &[(u64, u64)], w: TimeWindow, newest: bool) -> Vec<((u64, u64), u64)> {
        let mut found: Vec<(u64, u64)> =
            rows.iter().copied().filter(|(t, _)| (w.start_ms..=w.end_ms).contains(t)).collect();
        found.sort_unstable();
        let from = if newest { found.len().saturating_sub(PAGE) } else { 0 };
        found.into_iter().skip(from).take(PAGE).map(|row| (row, row.1)).collect()
    }

    #[test]
    fn what_cannot_be_listed_is_said() {
        let rows: Vec<(u64, u64)> = (0..1_500).map(|id| (7, id)).collect();
        let mut pages = Pages::new(TimeWindow { start_ms: 0, end_ms: 10 });
        let mut asked = 0;
        let said = loop {
            let Some(window) = pages.next() else { panic!("taken for complete") };
            asked += 1;
            assert!(asked < 100, "without end");
            if let Err(error) = pages.page(window, listed(&rows, window, false)) {
                break error;
            }
        };
        assert_eq!(said, PagesError::TooDense(7));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Every row is listed once, whichever end of a window the venue gives, and however the rows crowd.
        #[test]
        fn every_row_is_listed(times in prop::collection::vec(0u64..400, 0..4_000), newest: bool) {
            let rows: Vec<(u64, u64)> = (0..).zip(&times).map(|(id, time)| (*time, id)).collect();
            let mut pages = Pages::new(TimeWindow { start_ms: 0, end_ms: 500 });
            let mut asked = 0;
            while let Some(window) = pages.next() {
                asked += 1;
                prop_assert!(asked < 200);
                pages.page(window, listed(&rows, window, newest)).unwrap();
            }
            let mut expected = rows;
            expected.sort_unstable();
            prop_assert_eq!(pages.into_rows(), expected.iter().map(|(_, id)| *id).collect::<Vec<_>>());
        }
    }
}
