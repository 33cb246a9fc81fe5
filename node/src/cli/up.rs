//! `up`: a node in the foreground, until it is told to stop.
//!
//! Prints what happens as lines or JSON; a closed output does not stop the node. SIGINT, SIGTERM
//! and `POST /stop` end it within five seconds: what was acknowledged is on disk already.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{sleep, timeout};

use super::messages::name;
use super::print::{Out, harmless};
use super::seam::{self, Running};
use super::shape::Listening;
use crate::api;
use crate::config::{NodeConfig, Overrides};
use crate::error::{Error, ErrorKind};
use crate::view::{Event, NodeView};

/// How long stopping may take.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// How long to wait for the first listening address before saying so without one.
const LISTEN_POLLS: u32 = 100;
const LISTEN_POLL: Duration = Duration::from_millis(50);

pub(super) async fn run(data_dir: PathBuf, flags: Overrides, out: &mut Out) -> Result<u8, Error> {
    let config = NodeConfig::load(&data_dir, flags)?;
    log_to_stderr(&config.log);
    // Before the node starts: a signal in between must not kill it half-way.
    let signals = signals()?;
    let running = seam::start(config).await?;
    attend(&data_dir, running, signals, out).await
}

/// Serves a started node until `signals` or its own end.
pub(super) async fn attend(
    data_dir: &Path,
    running: Running,
    signals: impl Future<Output = ()>,
    out: &mut Out,
) -> Result<u8, Error> {
    let Running {
        handle,
        mut stopped,
    } = running;
    let mut events = handle.events();
    let server = match api::serve(data_dir, handle.clone()) {
        Ok(server) => server,
        Err(error) => {
            let _ = timeout(STOP_LIMIT, async { (handle.stop().await, stopped.await) }).await;
            return Err(error);
        }
    };
    tokio::pin!(signals);
    let mut shown = Shown::default();
    let attend = async {
        let node = first_view(&handle).await?;
        shown.listening(&node, server.path(), out);
        shown.readiness(node.ready, node.reasons, out);
        loop {
            match events.recv().await {
                Ok((_, event)) => shown.event(event, out),
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "events came faster than they were printed")
                }
                Err(RecvError::Closed) => return std::future::pending().await,
            }
        }
    };
    let ended: Option<Result<(), Error>> = tokio::select! {
        ended = &mut stopped => Some(ended),
        () = &mut signals => None,
        ended = attend => Some(ended),
    };
    let wind_down = async {
        let server = server.stop();
        match ended {
            Some(ended) => {
                server.await;
                ended
            }
            None => {
                let node = async {
                    let _ = handle.stop().await;
                    stopped.await
                };
                tokio::join!(server, node).1
            }
        }
    };
    match timeout(STOP_LIMIT, wind_down).await {
        Ok(ended) => ended.map(|()| 0),
        Err(_) => Err(Error::new(
            ErrorKind::Internal,
            "the node didn't stop in 5 s and was left",
            "nothing acknowledged is lost; report this as a bug",
        )),
    }
}

/// What was printed last about readiness, so that it is said once.
#[derive(Default)]
struct Shown {
    readiness: Option<(bool, Vec<String>)>,
}

impl Shown {
    fn listening(&mut self, node: &NodeView, api: &Path, out: &mut Out) {
        if out.is_json() {
            // The node goes on without a reader of its output.
            let _ = out.json(&Listening::new(node, api));
            return;
        }
        for address in &node.listen {
            let _ = out.line(&format!("listening on {address}"));
        }
        let _ = out.line(&format!("API on {}", api.display()));
        let _ = out.line("stop with ctrl-c");
    }

    fn readiness(&mut self, ready: bool, reasons: Vec<String>, out: &mut Out) {
        let now = (ready, reasons);
        if self.readiness.as_ref() == Some(&now) {
            return;
        }
        let (ready, reasons) = &now;
        let _ = match (out.is_json(), *ready) {
            (true, true) => out.json(&Event::Ready),
            (true, false) => out.json(&Event::NotReady {
                reasons: reasons.clone(),
            }),
            (false, true) => out.line("ready: messages can flow"),
            (false, false) => out.line(&format!("not ready: {}", reasons.join(", "))),
        };
        self.readiness = Some(now);
    }

    fn event(&mut self, event: Event, out: &mut Out) {
        if out.is_json() && !matches!(event, Event::Ready | Event::NotReady { .. }) {
            let _ = out.json(&event);
            return;
        }
        let line = match event {
            Event::Ready => return self.readiness(true, Vec::new(), out),
            Event::NotReady { reasons } => return self.readiness(false, reasons, out),
            Event::Message { id, state } => format!("message {id}: {}", name(state)),
            // Not the text: who reads this output is not always who may read the messages.
            Event::Inbox { message } => format!(
                "message {} from {}: `murmur inbox`",
                message.id,
                harmless(&message.from)
            ),
            Event::Contact { contact } => {
                format!("contact {}: {}", harmless(&contact.name), contact.state)
            }
            Event::Epoch {
                epoch,
                nodes,
                degraded,
                ..
            } => {
                let worth = if degraded.is_some() {
                    "degraded"
                } else {
                    "certified"
                };
                format!("epoch {epoch}: {nodes} nodes, {worth}")
            }
            Event::Alarm { alarm } => format!(
                "ALARM {}: {} {}",
                alarm.id,
                harmless(&alarm.what()),
                harmless(&alarm.advice())
            ),
        };
        let _ = out.line(&line);
    }
}

/// The node as soon as it listens, or as it is after five seconds.
async fn first_view(handle: &crate::handle::NodeHandle) -> Result<NodeView, Error> {
    let mut node = handle.node().await?;
    for _ in 0..LISTEN_POLLS {
        if !node.listen.is_empty() {
            break;
        }
        sleep(LISTEN_POLL).await;
        node = handle.node().await?;
    }
    Ok(node)
}

fn signals() -> Result<impl Future<Output = ()>, Error> {
    let listen = |kind| {
        signal(kind).map_err(|error| {
            Error::new(
                ErrorKind::Internal,
                "can't listen for signals",
                "report this as a bug",
            )
            .with_source(error)
        })
    };
    let (mut interrupt, mut terminate) = (
        listen(SignalKind::interrupt())?,
        listen(SignalKind::terminate())?,
    );
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// The filter is checked already; a second subscriber (tests, embedding programs) stays as it is.
fn log_to_stderr(filter: &str) {
    use std::io::IsTerminal;
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::io::stderr().is_terminal();
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .try_init();
}
