//! What the operator sees of a running gateway: the diagnostic log, the access line, the metrics and
//! the request id that ties them together. This room is handed labels and numbers; it never imports
//! what it measures, and nothing here decides anything.

mod access;
mod encode;
mod logging;
mod metrics;
mod request_id;
mod writer;

use std::io;
use std::path::PathBuf;

pub use access::{CoreBuffer, Line};
pub use logging::{start as start_logging, subscriber as log_subscriber};
pub use metrics::{CoreMetrics, ListenMetrics, Names, Registry, Sample, SampleKind};
pub use request_id::{RequestId, RequestIdText, RequestIds};
pub use writer::AccessWriter;

use crate::config::BadFilter;

/// Why the operator will not see what they asked to see. All of these end the start.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The operator wrote a filter that is none.
    #[error("log.level: {0}")]
    Filter(BadFilter),
    /// Something in this process has claimed the diagnostic log before.
    #[error("the diagnostic log was started twice")]
    LogTaken(#[source] tracing::subscriber::SetGlobalDefaultError),
    /// The file of `log.access` cannot be opened for appending.
    #[error("log.access: cannot append to {path:?}")]
    AccessLog {
        /// As configured.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system grants no further thread.
    #[error("cannot start the thread that writes the access log")]
    Thread(#[source] io::Error),
}
