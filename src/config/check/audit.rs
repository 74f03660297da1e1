//! What is kept of what happened.

use super::{DAY, Findings};
use crate::config::{Audit, file};

pub(super) fn audit(file: &file::Audit, found: &mut Findings<'_>) -> Option<Audit> {
    let keep = found.period("audit.keep", &file.keep, (DAY, 3650 * DAY));
    Some(Audit { keep: keep?, max_rows: u64::from(file.max_rows) })
}
