//! The seam between the command line and the node it starts: all that `up` knows of one.

use std::future::Future;
use std::pin::Pin;

use crate::config::NodeConfig;
use crate::error::Error;
use crate::handle::NodeHandle;

/// A started node: the way in, and a future that ends when the node has ended.
pub(super) struct Running {
    pub(super) handle: NodeHandle,
    pub(super) stopped: Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>,
}

/// Starts the node. It holds the data directory's lock when this returns.
pub(super) async fn start(config: NodeConfig) -> Result<Running, Error> {
    let node = crate::node::Node::start(config).await?;
    Ok(Running {
        handle: node.handle.clone(),
        stopped: Box::pin(node.stopped()),
    })
}
