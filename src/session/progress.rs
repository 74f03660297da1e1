//! How far the store's revocations have been read. Their numbers are given out before they can be
//! seen: an act that is under way leaves a gap, and what fills it must not be missed.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Stopwatch;

/// After a reading of everything, so many numbers before the highest may still have gaps: whether they
/// are new is not known.
const OVERLAP: i64 = 512;

/// The numbers that have been read.
#[derive(Debug)]
pub(super) struct Progress {
    /// All that will ever be seen up to here has been.
    up_to: i64,
    /// What has been read beyond it, and since when.
    beyond: BTreeMap<i64, Stopwatch>,
    /// No act is under way for longer between being given its number and being seen. What comes
    /// later still is found by the reading of everything.
    late: Duration,
}

impl Progress {
    /// After a reading of everything whose highest number is this, of a store that has no act under
    /// way for longer than `late`.
    pub(super) const fn after_all(highest: i64, late: Duration) -> Self {
        Self { up_to: highest.saturating_sub(OVERLAP), beyond: BTreeMap::new(), late }
    }

    /// The number behind which has to be read.
    pub(super) const fn after(&self) -> i64 {
        self.up_to
    }

    /// Notes what a reading behind [`Self::after`] found.
    pub(super) fn note(&mut self, numbers: impl IntoIterator<Item = i64>) {
        self.note_at(numbers, Stopwatch::elapsed);
    }

    fn note_at(
        &mut self,
        numbers: impl IntoIterator<Item = i64>,
        age: impl Fn(&Stopwatch) -> Duration,
    ) {
        for number in numbers.into_iter().filter(|number| *number > self.up_to) {
            self.beyond.entry(number).or_insert_with(Stopwatch::start);
        }
        while let Some(first) = self.beyond.first_entry() {
            // Every smaller number was given out before this one was seen.
            let gapless = self.up_to.checked_add(1) == Some(*first.key());
            if !gapless && age(first.get()) < self.late {
                break;
            }
            self.up_to = first.remove_entry().0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = Duration::from_secs(3);

    fn read_up_to(up_to: i64) -> Progress {
        Progress { up_to, beyond: BTreeMap::new(), late: LATE }
    }

    fn read(progress: &mut Progress, numbers: &[i64]) -> i64 {
        progress.note(numbers.iter().copied());
        progress.after()
    }

    #[test]
    fn what_follows_without_a_gap_is_not_read_again() {
        let mut progress = read_up_to(0);
        assert_eq!(read(&mut progress, &[1, 2, 3]), 3);
        assert_eq!(read(&mut progress, &[]), 3);
        assert_eq!(read(&mut progress, &[4]), 4);
        assert!(progress.beyond.is_empty());
    }

    #[test]
    fn a_gap_of_any_width_is_read_again_until_it_is_filled() {
        let mut progress = read_up_to(3);
        let later: Vec<i64> = (5..9000).collect();
        assert_eq!(read(&mut progress, &later), 3);
        assert_eq!(read(&mut progress, &later), 3);
        assert_eq!(read(&mut progress, &[4]), 8999);
        assert!(progress.beyond.is_empty());
    }

    #[test]
    fn a_gap_that_stays_is_waited_for_no_longer_than_an_act_can_take() {
        let mut progress = read_up_to(3);
        assert_eq!(read(&mut progress, &[5, 6]), 3);
        progress.note_at([7], |_| LATE - Duration::from_millis(1));
        assert_eq!(progress.after(), 3, "its act may still be under way");
        progress.note_at([8], |_| LATE);
        assert_eq!(progress.after(), 8);
    }

    #[test]
    fn after_everything_was_read_the_last_numbers_are_looked_at_once_more() {
        let progress = Progress::after_all(10_000, LATE);
        assert_eq!(progress.after(), 10_000 - OVERLAP);
        assert_eq!(Progress::after_all(0, LATE).after(), -OVERLAP);
    }
}
