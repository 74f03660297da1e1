//! The diagnostic log: everything but access lines, by way of `tracing`, to standard error.

use std::io::{self, IsTerminal as _};

use tracing::Subscriber;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

use super::ObserveError;
use crate::config::{Log, LogFormat, log_filter};

/// Starts the diagnostic log of this process, on standard error; colours only for a terminal. Errors:
/// a filter that is none, or a second start.
pub fn start(log: &Log) -> Result<(), ObserveError> {
    let subscriber = subscriber(log, io::stderr().is_terminal(), io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(ObserveError::LogTaken)
}

/// The log as `log` wants it, written to wherever `output` leads. Errors: a filter that is none.
pub fn subscriber<W>(
    log: &Log,
    colours: bool,
    output: W,
) -> Result<impl Subscriber + Send + Sync, ObserveError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = log_filter(&log.level).map_err(ObserveError::Filter)?;
    Ok(Registry::default().with(form(log.format, colours, output)).with(filter))
}

fn form<S, W>(format: LogFormat, colours: bool, output: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(output);
    match format {
        LogFormat::Text => layer.with_ansi(colours).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(true).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::config::AccessLog;

    /// A log that is kept in memory.
    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: &str, format: LogFormat) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let log = Log { level: level.to_owned(), format, access: AccessLog::Off };
        let subscriber = subscriber(&log, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "sallyport::store", session = 7, "opened\u{1b}[31m\nforged");
            tracing::debug!(target: "sallyport::store", "asked");
            tracing::debug!(target: "sallyport::listen", "accepted");
        });
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn directives_choose_what_is_logged() {
        let text = logged("info", LogFormat::Text);
        assert!(text.contains("INFO sallyport::store: opened"), "{text}");
        assert!(text.contains("session=7"), "{text}");
        assert!(!text.contains("DEBUG"), "{text}");
        let text = logged("warn, sallyport::listen=debug", LogFormat::Text);
        assert!(text.contains("DEBUG sallyport::listen: accepted"), "{text}");
        assert!(!text.contains("store"), "{text}");
        assert_eq!(logged("off", LogFormat::Text), "");
    }

    #[test]
    fn json_is_one_object_a_line_and_keeps_what_was_said_inside_its_quotes() {
        let text = logged("info", LogFormat::Json);
        assert_eq!(text.lines().count(), 1, "{text}");
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(object["level"], "INFO");
        assert_eq!(object["target"], "sallyport::store");
        assert_eq!(object["session"], 7);
        assert_eq!(object["message"], "opened\u{1b}[31m\nforged");
    }

    #[test]
    fn a_filter_that_is_none_is_refused_in_the_operators_words() {
        let log = Log { level: "inof".to_owned(), format: LogFormat::Text, access: AccessLog::Off };
        let error = subscriber(&log, false, io::sink).map(drop).unwrap_err().to_string();
        assert_eq!(error, r#"log.level: "inof" is not a filter: it is not a level"#);
    }
}
