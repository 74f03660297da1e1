//! How long an application may take: in all, and for the requests of one route.

use std::time::Duration;

use super::{DAY, Findings, HOUR};
use crate::config::Times;
use crate::config::file::{self, Period};

const LEAST: Duration = Duration::from_millis(10);

const CONNECT: (Duration, Duration) = (LEAST, Duration::from_mins(5));
const FIRST_BYTE: (Duration, Duration) = (LEAST, HOUR);
const IDLE: (Duration, Duration) = (LEAST, DAY);
const TOTAL: (Duration, Duration) = (LEAST, Duration::from_hours(30 * 24));

pub(super) fn of_upstream(
    at: &str,
    file: &file::Upstream,
    found: &mut Findings<'_>,
) -> Option<Times> {
    let mut period =
        |name: &str, period: &Period, bounds| found.period(&format!("{at}.{name}"), period, bounds);
    let connect = period("connect_timeout", &file.connect_timeout, CONNECT);
    let first_byte = period("first_byte_timeout", &file.first_byte_timeout, FIRST_BYTE);
    let idle = period("idle_timeout", &file.idle_timeout, IDLE);
    let total = file.total_timeout.as_ref().map(|total| period("total_timeout", total, TOTAL));
    Some(Times {
        connect: connect?,
        first_byte: first_byte?,
        idle: idle?,
        // What is wrong with it has been told.
        total: total.flatten(),
    })
}

/// What `route` says, and for the rest what its upstream does.
pub(super) fn of_route(
    at: &str,
    file: &file::Route,
    upstream: Option<Times>,
    found: &mut Findings<'_>,
) -> Option<Times> {
    let mut period = |name: &str, period: &Option<Period>, bounds| {
        period.as_ref().and_then(|period| found.period(&format!("{at}.{name}"), period, bounds))
    };
    let connect = period("connect_timeout", &file.connect_timeout, CONNECT);
    let first_byte = period("first_byte_timeout", &file.first_byte_timeout, FIRST_BYTE);
    let idle = period("idle_timeout", &file.idle_timeout, IDLE);
    let total = period("total_timeout", &file.total_timeout, TOTAL);
    let upstream = upstream?;
    Some(Times {
        connect: connect.unwrap_or(upstream.connect),
        first_byte: first_byte.unwrap_or(upstream.first_byte),
        idle: idle.unwrap_or(upstream.idle),
        total: total.or(upstream.total),
    })
}
