//! What a program wrote: kept whole, to be waited for and searched.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use super::PATIENCE;

/// A log under way. Clones are the same log; each is a writer.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<(Mutex<Vec<u8>>, Condvar)>);

impl Log {
    /// Takes in all that comes out of `source` (a child's output) until it ends.
    pub(crate) fn follow(&self, mut source: impl Read + Send + 'static) {
        let mut log = self.clone();
        thread::spawn(move || io::copy(&mut source, &mut log));
    }

    /// All of it so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.0.lock().unwrap()).into_owned()
    }

    /// Waits for a whole line that holds `words`, and returns it.
    pub(crate) fn wait_for(&self, words: &str) -> String {
        match self.line(words, PATIENCE) {
            Some(line) => line,
            None => panic!("no line says {words:?} in:\n{}", self.text()),
        }
    }

    /// The same for as long as `patience`; `None` if there is none by then.
    pub(crate) fn line(&self, words: &str, patience: Duration) -> Option<String> {
        let (bytes, changed) = &*self.0;
        let bytes = bytes.lock().unwrap();
        let absent = |bytes: &mut Vec<u8>| line_with(bytes, words).is_none();
        let (bytes, _) = changed.wait_timeout_while(bytes, patience, absent).unwrap();
        line_with(&bytes, words)
    }

    /// Fails if any of these is in it.
    pub(crate) fn holds_none_of(&self, secrets: &[&str]) {
        let text = self.text();
        for secret in secrets {
            assert!(!text.contains(secret), "the log holds {secret:?}:\n{text}");
        }
    }
}

fn line_with(bytes: &[u8], words: &str) -> Option<String> {
    let whole = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    whole
        .map(|line| String::from_utf8_lossy(line).trim_end().to_owned())
        .find(|l| l.contains(words))
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.0.lock().unwrap().extend_from_slice(bytes);
        self.0.1.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}
