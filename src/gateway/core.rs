//! One core: a thread with a runtime of its own, which owns its connections, its upstream pools and
//! its memory of verified tokens. Nothing that changes per request is shared with another core.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, oneshot, watch};

use super::StartError;
use crate::config::Server;
use crate::deadline::{Deadlines, TICK};
use crate::journey::{Journey, Parts, Shared};
use crate::listen::{Connections, Socket, TlsConfig, serve};
use crate::observe::{CoreBuffer, CoreMetrics, RequestIds};
use crate::upstream::{Load, Place, Pool, Trust};

/// How often a core that stops looks whether its last tunnel has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Ticks between two rounds of housekeeping: one second.
const ROUND: u128 = 1000 / TICK.as_millis();

/// What a core is made of; crosses to its thread.
pub(super) struct Outline {
    pub(super) index: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) servers: Vec<Vec<Server>>,
    pub(super) trusts: Vec<Option<Arc<Trust>>>,
    pub(super) loads: Vec<Arc<Load>>,
    pub(super) tls: Option<Arc<TlsConfig>>,
    pub(super) metrics: Arc<CoreMetrics>,
    pub(super) lines: Option<CoreBuffer>,
    pub(super) draining: watch::Receiver<bool>,
}

/// A running core.
pub(super) struct Core {
    thread: JoinHandle<()>,
    finished: watch::Receiver<bool>,
    cut: oneshot::Sender<()>,
}

impl Core {
    pub(super) fn start(
        outline: Outline,
        sockets: mpsc::Receiver<Socket>,
    ) -> Result<Self, StartError> {
        let (report, finished) = watch::channel(false);
        let (cut, cutting) = oneshot::channel();
        let ids = RequestIds::new().map_err(|error| StartError::System {
            what: "randomness",
            source: io::Error::other(error),
        })?;
        let work = move || {
            let index = outline.index;
            match run(outline, sockets, ids, cutting) {
                Ok(()) => {}
                Err(error) => tracing::error!(core = index, error = %error, "a core did not start"),
            }
            report.send_replace(true);
        };
        let thread = std::thread::Builder::new()
            .name("core".to_owned())
            .spawn(work)
            .map_err(|source| StartError::System { what: "a thread", source })?;
        Ok(Self { thread, finished, cut })
    }

    /// Ready once the last connection has ended.
    pub(super) async fn finished(&self) {
        let mut finished = self.finished.clone();
        // An error means that the thread is gone, which is as finished as can be.
        let _gone = finished.wait_for(|finished| *finished).await;
    }

    pub(super) fn is_finished(&self) -> bool {
        *self.finished.borrow()
    }

    /// Cuts off what is left and waits for the thread.
    pub(super) fn join(self) {
        drop(self.cut);
        if self.thread.join().is_err() {
            tracing::error!("a core's thread ended by a panic");
        }
    }
}

fn run(
    outline: Outline,
    sockets: mpsc::Receiver<Socket>,
    ids: RequestIds,
    cutting: oneshot::Receiver<()>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(async move {
        let deadlines = Deadlines::new();
        let cores = outline.shared.config.listen.cores.get();
        let upstreams = &outline.shared.config.upstreams;
        let pools = upstreams.iter().zip(outline.servers).zip(outline.loads).enumerate();
        let pools = pools
            .map(|(index, ((upstream, servers), load))| {
                let trust = outline.trusts.get(index).cloned().flatten();
                let metrics = Arc::clone(&outline.metrics);
                let place = Place { index, cores, metrics, trust };
                Pool::new(Arc::clone(upstream), servers, load, Rc::clone(&deadlines), place)
            })
            .collect();
        let config = Arc::clone(&outline.shared.config);
        let metrics = Arc::clone(&outline.metrics);
        let journey = Journey::new(
            outline.shared,
            Parts {
                pools,
                deadlines: Rc::clone(&deadlines),
                metrics: outline.metrics,
                lines: outline.lines,
                ids,
            },
        );
        let tls = outline.tls;
        let (ours, drain) = (Rc::clone(&deadlines), outline.draining.clone());
        let connections = Connections::new(Rc::clone(&journey), tls, ours, &config, metrics, drain);
        let mut ticks = 0;
        let (stopping, last) = (outline.draining.clone(), Rc::clone(&journey));
        let tick = move || {
            journey.end_tunnels();
            if *stopping.borrow() {
                // Those that began since the last tick too.
                journey.end_streams();
            }
            ticks += 1;
            if ticks >= ROUND {
                ticks = 0;
                journey.housekeeping();
            }
        };
        tokio::task::spawn_local(deadlines.run(tick));
        let serving = serve(connections, sockets);
        let serving = async move {
            serving.await;
            // Tunnels outlive the connections that they were made of, and are told before they go.
            while last.has_tunnels() {
                last.end_streams();
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::select! {
            () = serving => {}
            _ = cutting => {}
        }
    });
    Ok(())
}
