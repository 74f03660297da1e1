//! The one thread that writes access lines. Cores offer it whole buffers through a bounded queue and
//! never wait for it: when the disk is slower than the traffic, the queue is full, and the lines of
//! the buffer that does not fit are dropped and counted. A gateway that stands still because its
//! log does would be an outage made of a nuisance; the count says that lines are missing.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::ObserveError;
use super::access::CoreBuffer;
use super::metrics::{Sample, SampleKind};
use crate::config::{AccessLog, Log, LogFormat};

/// Buffers that may wait for the writer. With 32 KiB each: 2 MiB of lines, some 8,000 requests.
const QUEUE: usize = 64;

/// How long the end of the gateway waits for a disk, pipe or terminal that does not take the rest.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// Lines to be written, whole.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) lines: u64,
}

/// What the gateway holds of the access log: makes the cores' buffers, and ends the thread. When it
/// is finished or dropped, what was handed over before is still written.
#[derive(Debug)]
pub struct AccessWriter {
    outlet: Outlet,
    format: LogFormat,
    ended: Mutex<Receiver<()>>,
}

impl AccessWriter {
    /// Opens the log for appending and starts its thread. `None` if there is to be no access log.
    pub fn open(log: &Log) -> Result<Option<Self>, ObserveError> {
        let sink = match &log.access {
            AccessLog::Off => return Ok(None),
            AccessLog::Stdout => Sink::Stdout(io::stdout()),
            AccessLog::File(path) => match append(path) {
                Ok(file) => Sink::File(file, path.clone()),
                Err(source) => {
                    return Err(ObserveError::AccessLog { path: path.clone(), source });
                }
            },
        };
        let (queue, batches) = mpsc::sync_channel(QUEUE);
        // Held by the thread and dropped at its end: that is the signal.
        let (running, ended) = mpsc::sync_channel(1);
        let outlet = Outlet { queue, signs: Arc::default() };
        let writer = Writer { sink, torn: false, failing: false, signs: Arc::clone(&outlet.signs) };
        thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || {
                let _running = running;
                writer.run(batches);
            })
            .map_err(ObserveError::Thread)?;
        Ok(Some(Self { outlet, format: log.format, ended: Mutex::new(ended) }))
    }

    /// A buffer for one core whose lines nobody writes, and what takes those that were flushed.
    #[cfg(fuzzing)]
    pub fn kept(format: LogFormat) -> (CoreBuffer, impl Fn() -> Vec<u8>) {
        let (queue, batches) = mpsc::sync_channel(QUEUE);
        let outlet = Outlet { queue, signs: Arc::default() };
        let take = move || batches.try_iter().flat_map(|batch: Batch| batch.bytes).collect();
        (CoreBuffer::new(outlet, format), take)
    }

    /// A buffer for one core.
    pub fn core_buffer(&self) -> CoreBuffer {
        CoreBuffer::new(self.outlet.clone(), self.format)
    }

    /// Opens the file again by its name before the next line is written, so that a rotated log goes
    /// on in a new file. Nothing is lost, nothing waits. Without effect on standard output.
    pub fn reopen(&self) {
        self.outlet.signs.reopen.store(true, Ordering::Release);
        self.outlet.wake();
    }

    /// Lines that were not written: the queue was full, or the system refused them.
    pub fn dropped(&self) -> u64 {
        self.outlet.signs.dropped.load(Ordering::Relaxed)
    }

    /// The same for the metrics.
    pub fn sample(&self) -> Sample<'static> {
        Sample {
            name: "sallyport_access_lines_dropped_total",
            help: "Access lines that were not written: the log was too slow, or refused them.",
            kind: SampleKind::Counter,
            labels: &[],
            value: self.dropped(),
        }
    }

    /// Writes what was handed over and ends the thread; returns how many lines were dropped in all.
    /// Drop the cores' buffers first. Waits 5 seconds at most.
    pub fn finish(&self) -> u64 {
        self.end();
        self.dropped()
    }

    fn end(&self) {
        if self.outlet.signs.stop.swap(true, Ordering::AcqRel) {
            return;
        }
        self.outlet.wake();
        // Answers at once with an error when the thread has ended, which is what we wait for.
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(FINISH_WITHIN) {
            tracing::warn!("the access log does not take its last lines");
        }
    }
}

impl Drop for AccessWriter {
    fn drop(&mut self) {
        self.end();
    }
}

/// The way from a core to the thread.
#[derive(Debug, Clone)]
pub(super) struct Outlet {
    queue: SyncSender<Batch>,
    signs: Arc<Signs>,
}

impl Outlet {
    /// Hands `batch` over if there is room; else counts its lines as dropped and gives its memory
    /// back.
    pub(super) fn offer(&self, batch: Batch) -> Option<Vec<u8>> {
        match self.queue.try_send(batch) {
            Ok(()) => None,
            Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) => {
                self.signs.dropped.fetch_add(batch.lines, Ordering::Relaxed);
                Some(batch.bytes)
            }
        }
    }

    /// Makes the thread look at the signs. If the queue is full it is about to look anyway.
    fn wake(&self) {
        self.offer(Batch { bytes: Vec::new(), lines: 0 });
    }
}

/// What the thread is told beside the queue, and what it tells.
#[derive(Debug, Default)]
struct Signs {
    reopen: AtomicBool,
    stop: AtomicBool,
    dropped: AtomicU64,
}

struct Writer {
    sink: Sink,
    /// Whether the last write broke off within a line.
    torn: bool,
    /// Whether the last write failed; told once, not for every buffer.
    failing: bool,
    signs: Arc<Signs>,
}

impl Writer {
    /// Ends with the queue closed, so that what comes later is refused and counted.
    fn run(mut self, batches: Receiver<Batch>) {
        while let Ok(batch) = batches.recv() {
            self.take(&batch);
            if self.signs.stop.load(Ordering::Acquire) {
                while let Ok(batch) = batches.try_recv() {
                    self.take(&batch);
                }
                return;
            }
        }
    }

    fn take(&mut self, batch: &Batch) {
        if self.signs.reopen.swap(false, Ordering::AcqRel) {
            self.reopen();
        }
        if batch.bytes.is_empty() {
            return;
        }
        match self.write(&batch.bytes) {
            Ok(()) if self.failing => {
                self.failing = false;
                let dropped = self.signs.dropped.load(Ordering::Relaxed);
                tracing::warn!(dropped, "the access log is written again");
            }
            Ok(()) => {}
            Err((written, error)) => {
                let kept = batch.bytes.get(..written).unwrap_or_default();
                self.torn = kept.last().map_or(self.torn, |byte| *byte != b'\n');
                let whole = kept.iter().filter(|byte| **byte == b'\n').count();
                let lost = batch.lines.saturating_sub(u64::try_from(whole).unwrap_or(u64::MAX));
                self.signs.dropped.fetch_add(lost, Ordering::Relaxed);
                if !self.failing {
                    self.failing = true;
                    tracing::error!(error = %error, lost, "the access log cannot be written");
                }
            }
        }
    }

    /// Writes all of `bytes`, or says how many of them were written.
    fn write(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let output: &mut dyn Write = match &mut self.sink {
            Sink::Stdout(stdout) => stdout,
            Sink::File(file, _) => file,
        };
        if self.torn {
            // The broken line stays one broken line and does not swallow the next.
            output.write_all(b"\n").map_err(|error| (0, error))?;
            self.torn = false;
        }
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match output.write(rest) {
                Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((written, error)),
            }
        }
        output.flush().map_err(|error| (written, error))
    }

    fn reopen(&mut self) {
        let Sink::File(file, path) = &mut self.sink else { return };
        match append(path) {
            Ok(new) => {
                *file = new;
                self.torn = false;
            }
            // The old file is still ours: better a line in the rotated file than none.
            Err(error) => tracing::error!(error = %error, ?path, "the access log stays as it is"),
        }
    }
}

enum Sink {
    Stdout(io::Stdout),
    File(File, PathBuf),
}

/// Appends, so that a second writer or a rotation by truncation tears no line. Who visits what is
/// nobody else's business: not readable by all.
fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read as _;
    use std::net::IpAddr;
    use std::process::Command;

    use super::super::access::Line;
    use super::super::request_id::RequestId;
    use super::*;
    use crate::clock::Timestamp;

    fn open(path: &Path) -> AccessWriter {
        let access = AccessLog::File(path.to_owned());
        let log = Log { level: "info".to_owned(), format: LogFormat::Text, access };
        AccessWriter::open(&log).unwrap().expect("a file was asked for")
    }

    fn line(path: &str) -> Line<'_> {
        Line {
            now: Timestamp::from_secs(1_700_000_000),
            request_id: RequestId::from_u128(7),
            client: IpAddr::from([127, 0, 0, 1]),
            protocol: "HTTP/1.1",
            method: "GET",
            host: "localhost",
            path,
            status: 200,
            outcome: "ok",
            caller: None,
            session: None,
            route: None,
            upstream: None,
            bytes: 0,
            elapsed: Duration::ZERO,
            upstream_elapsed: None,
        }
    }

    #[test]
    fn lines_of_all_cores_are_appended_whole_and_none_is_lost_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        fs::write(&path, "an older line\n").unwrap();
        let writer = open(&path);
        thread::scope(|scope| {
            for core in 0..4 {
                let mut buffer = writer.core_buffer();
                scope.spawn(move || {
                    (0..500).for_each(|n| buffer.line(&line(&format!("/{core}/{n}"))));
                });
            }
        });
        assert_eq!(writer.finish(), 0);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("an older line\ntime="));
        let paths = text.lines().skip(1).filter_map(|line| {
            line.split(' ').find_map(|field| field.strip_prefix("path=").map(str::to_owned))
        });
        let mut paths: Vec<String> = paths.collect();
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), 2000);
    }

    #[test]
    fn a_rotated_log_goes_on_in_a_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
        let writer = open(&path);
        let mut buffer = writer.core_buffer();
        fs::rename(&path, &old).unwrap();
        writer.reopen();
        buffer.line(&line("/after"));
        buffer.flush();
        drop(buffer);
        writer.finish();
        assert_eq!(fs::read_to_string(&old).unwrap(), "");
        assert!(fs::read_to_string(&path).unwrap().contains("path=/after"));
    }

    #[test]
    fn a_log_that_nobody_reads_stops_no_core_and_every_line_is_written_or_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let reader = thread::spawn({
            let path = path.clone();
            move || File::open(path).unwrap()
        });
        let writer = open(&path);
        let mut reader = reader.join().unwrap();
        let mut buffer = writer.core_buffer();
        let mut told = 0;
        // Nobody reads: the pipe fills, then the queue, and then lines must drop.
        while writer.dropped() == 0 {
            buffer.line(&line("/flood"));
            told += 1;
            assert!(told < 1_000_000, "the queue has no bound");
        }
        drop(buffer);
        let written = thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text.lines().filter(|line| line.ends_with("elapsed_ms=0.000")).count()
        });
        let dropped = writer.finish();
        assert_eq!(u64::try_from(written.join().unwrap()).unwrap() + dropped, told);
    }

    #[test]
    fn lines_that_a_full_disk_refuses_are_counted() {
        let writer = open(Path::new("/dev/full"));
        let mut buffer = writer.core_buffer();
        (0..3).for_each(|_| buffer.line(&line("/")));
        drop(buffer);
        assert_eq!(writer.finish(), 3);
    }

    #[test]
    fn a_line_after_the_end_is_counted_as_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let writer = open(&folder.path().join("access.log"));
        let mut late = writer.core_buffer();
        let signs = Arc::clone(&writer.outlet.signs);
        writer.finish();
        late.line(&line("/late"));
        late.flush();
        assert_eq!(signs.dropped.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_log_that_cannot_be_opened_is_an_error_that_names_it() {
        let access = AccessLog::File("/nowhere/at/all/access.log".into());
        let log = Log { level: "info".to_owned(), format: LogFormat::Text, access };
        let error = AccessWriter::open(&log).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"log.access: cannot append to "/nowhere/at/all/access.log""#
        );
        let off = Log { access: AccessLog::Off, ..log };
        assert!(AccessWriter::open(&off).unwrap().is_none());
    }
}
