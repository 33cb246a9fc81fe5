//! The seam between the command line and what it starts: the node, the demo, the simulator.
//!
//! Everything else in `cli` knows only [`Running`] and the two argument types.

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;

use super::print::Out;
use super::{DemoArgs, SimArgs};
use crate::config::NodeConfig;
use crate::error::{Error, ErrorKind};
use crate::handle::NodeHandle;

/// A started node: the way in, and a future that ends when the node has ended.
pub(super) struct Running {
    pub(super) handle: NodeHandle,
    pub(super) stopped: Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>,
}

// SEAM, for the lead: replace the three bodies below by
//   let node = crate::node::Node::start(config).await?; Running { handle: node.handle.clone(), stopped: Box::pin(async move { node.stopped().await }) }
//   crate::demo::run(args)
//   crate::sim::command(args)

/// Starts the node. It holds the data directory's lock when this returns.
pub(super) async fn start(_config: NodeConfig) -> Result<Running, Error> {
    Err(missing("node"))
}

/// Runs the demo.
pub(super) fn demo(args: DemoArgs) -> ExitCode {
    unavailable("demo", args.json)
}

/// Runs a scenario of the simulator.
pub(super) fn sim(args: SimArgs) -> ExitCode {
    unavailable("simulator", args.json)
}

fn unavailable(what: &str, json: bool) -> ExitCode {
    let error = missing(what);
    Out::stdout(json).error(&error);
    ExitCode::from(error.kind().exit_code())
}

fn missing(what: &str) -> Error {
    Error::new(
        ErrorKind::Internal,
        format!("this build has no {what} yet"),
        "build it from a later commit",
    )
}
