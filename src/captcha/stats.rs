//! How checks came out, counted for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Somebody is there.
    Passed,
    /// No token came.
    Missing,
    /// The token is not good.
    Failed,
    /// The service could not be asked.
    Unavailable,
    /// The same, and the config lets people past.
    LetPast,
    /// Too many checks under way.
    Busy,
}

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Stats([AtomicU64; OUTCOMES.len()]);

const OUTCOMES: [(Outcome, &str); 6] = [
    (Outcome::Passed, "passed"),
    (Outcome::Missing, "missing"),
    (Outcome::Failed, "failed"),
    (Outcome::Unavailable, "unavailable"),
    (Outcome::LetPast, "let_past"),
    (Outcome::Busy, "busy"),
];

impl Stats {
    /// By outcome, how many.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let each = OUTCOMES.iter().zip(&self.0);
        each.map(|((_, label), count)| (*label, count.load(Ordering::Relaxed)))
    }

    pub(super) fn count(&self, outcome: Outcome) {
        let mut each = OUTCOMES.iter().zip(&self.0);
        if let Some((_, count)) = each.find(|((which, _), _)| *which == outcome) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}
