//! The access line: one per request, formatted once into the buffer of its core, and handed to the
//! writer thread by the bufferful. Queries, cookies and credentials have no field here, so they
//! cannot be written.

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem;
use std::net::IpAddr;
use std::time::Duration;

use super::encode::{self, Fields, key};
use super::request_id::RequestId;
use super::writer::{Batch, Outlet};
use crate::clock::Timestamp;
use crate::config::LogFormat;
use crate::id::SessionId;

/// A core's buffer is handed over when it holds this many bytes.
const FLUSH_AT: usize = 64 * 1024;

/// Room beyond `FLUSH_AT`, so that an ordinary last line does not make the buffer grow.
const HEADROOM: usize = 2 * 1024;

// Longest values, in bytes. What is longer is cut and ends in `...`: a line is for people and
// programs that count, and a stranger must not be able to fill the disk with one request.
const METHOD_MAX: usize = 32;
const HOST_MAX: usize = 255;
const PATH_MAX: usize = 2048;
const NAME_MAX: usize = 256;

/// What is told of one request.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    /// When the request's head had been read.
    pub now: Timestamp,
    /// The id that the client was given.
    pub request_id: RequestId,
    /// The client's true address, after trusted proxies.
    pub client: IpAddr,
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub protocol: &'static str,
    /// As sent.
    pub method: &'a str,
    /// The host asked for, as sent.
    pub host: &'a str,
    /// The path, as sent. Never the query: it may hold secrets.
    pub path: &'a str,
    /// The status sent.
    pub status: u16,
    /// What became of it: the label of a rejection, or `ok` and its like. A closed set.
    pub outcome: &'static str,
    /// The login name of a known caller.
    pub caller: Option<&'a str>,
    /// The session of a known caller.
    pub session: Option<SessionId>,
    /// The route's name; `None` when none matched.
    pub route: Option<&'a str>,
    /// The upstream's name; `None` when we answered ourselves.
    pub upstream: Option<&'a str>,
    /// Bytes of body sent to the client.
    pub bytes: u64,
    /// From the request's head to the end of the answer.
    pub elapsed: Duration,
    /// From the request sent on to the head of the upstream's answer.
    pub upstream_elapsed: Option<Duration>,
}

/// The lines of one core that the writer has not been given yet. Not `Sync`: it lives on its core.
/// What is in it when it is dropped is handed over.
#[derive(Debug)]
pub struct CoreBuffer {
    bytes: Vec<u8>,
    lines: u64,
    format: LogFormat,
    second: Second,
    outlet: Outlet,
    of_one_core: PhantomData<Cell<()>>,
}

impl CoreBuffer {
    pub(super) fn new(outlet: Outlet, format: LogFormat) -> Self {
        let second = Second::of(0);
        Self { bytes: Vec::new(), lines: 0, format, second, outlet, of_one_core: PhantomData }
    }

    /// Adds a line; hands the buffer over when it is full. Never waits.
    pub fn line(&mut self, line: &Line<'_>) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(FLUSH_AT + HEADROOM);
        }
        if self.second.secs != line.now.secs() {
            self.second = Second::of(line.now.secs());
        }
        match self.format {
            LogFormat::Json => write::<true>(&mut self.bytes, &self.second, line),
            LogFormat::Text => write::<false>(&mut self.bytes, &self.second, line),
        }
        self.lines += 1;
        if self.bytes.len() >= FLUSH_AT {
            self.flush();
        }
    }

    /// Hands over what there is. The core calls this once a second, so that the log is never older
    /// than that. Never waits: if the writer is that far behind, the lines are dropped and counted.
    pub fn flush(&mut self) {
        if self.bytes.is_empty() {
            return;
        }
        let batch = Batch { bytes: mem::take(&mut self.bytes), lines: mem::take(&mut self.lines) };
        if let Some(mut refused) = self.outlet.offer(batch) {
            refused.clear();
            self.bytes = refused;
        }
    }
}

impl Drop for CoreBuffer {
    fn drop(&mut self) {
        self.flush();
    }
}

fn write<const JSON: bool>(out: &mut Vec<u8>, second: &Second, line: &Line<'_>) {
    let mut fields = Fields::<JSON>::begin(out, key!("time"), |out| {
        out.extend_from_slice(&second.text);
        let millis = line.now.millis().rem_euclid(1000);
        encode::padded::<3>(out, u64::try_from(millis).unwrap_or_default());
        out.push(b'Z');
    });
    fields
        .ascii(key!("request_id"), |out| out.extend_from_slice(line.request_id.text().as_bytes()));
    fields.ascii(key!("client"), |out| encode::address(out, line.client));
    fields.ascii(key!("protocol"), |out| out.extend_from_slice(line.protocol.as_bytes()));
    fields.text(key!("method"), line.method, METHOD_MAX);
    fields.text(key!("host"), line.host, HOST_MAX);
    fields.text(key!("path"), line.path, PATH_MAX);
    fields.number(key!("status"), u64::from(line.status));
    fields.ascii(key!("outcome"), |out| out.extend_from_slice(line.outcome.as_bytes()));
    // What there is not has no field, so no name that a stranger chooses can look like an absence.
    if let Some(caller) = line.caller {
        fields.text(key!("caller"), caller, NAME_MAX);
    }
    if let Some(session) = line.session {
        fields.ascii(key!("session"), |out| {
            out.extend_from_slice(&encode::digits(*session.as_bytes()));
        });
    }
    if let Some(route) = line.route {
        fields.text(key!("route"), route, NAME_MAX);
    }
    if let Some(upstream) = line.upstream {
        fields.text(key!("upstream"), upstream, NAME_MAX);
    }
    fields.number(key!("bytes"), line.bytes);
    fields.millis(key!("elapsed_ms"), line.elapsed);
    if let Some(elapsed) = line.upstream_elapsed {
        fields.millis(key!("upstream_ms"), elapsed);
    }
    fields.end();
}

/// `2026-11-22T05:22:01.` of the second that the last line was in: at any load worth speeding up,
/// the next one is in the same.
#[derive(Debug)]
struct Second {
    secs: i64,
    text: Vec<u8>,
}

impl Second {
    /// RFC 3339 section 5.6, in UTC.
    fn of(secs: i64) -> Self {
        // A clock outside of the years that RFC 3339 can write shows as the epoch.
        let date = time::OffsetDateTime::from_unix_timestamp(secs)
            .ok()
            .filter(|date| (0..=9999).contains(&date.year()))
            .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
        let mut text = Vec::with_capacity(20);
        encode::padded::<4>(&mut text, u64::from(date.year().unsigned_abs()));
        for (mark, value) in [
            (b'-', u8::from(date.month())),
            (b'-', date.day()),
            (b'T', date.hour()),
            (b':', date.minute()),
            (b':', date.second()),
        ] {
            text.push(mark);
            encode::padded::<2>(&mut text, u64::from(value));
        }
        text.push(b'.');
        Self { secs, text }
    }
}

#[cfg(test)]
mod tests;
