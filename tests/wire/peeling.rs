//! Opening captured frames with the keys of those who read them, and joining them to whole journeys.
//!
//! A journey is the way of one packet: from the node that wrote a frame no other frame peels to, over every frame matched byte
//! for byte, to the node where the packet ends.

use std::collections::BTreeMap;

use mix::sphinx::{BODY_LEN, Element, KeyContext, Peeled};
use mix::{EpochKey, NetworkId, PACKET_LEN, Packet, ShortId};

use crate::capture::{Crossing, Flaw, Frame, Span, number_of};

/// The mix keys of all nodes: what the capture is opened with.
pub(crate) struct KeyBook {
    pub(crate) network: NetworkId,
    /// The nodes' names in packets, by number.
    pub(crate) shorts: Vec<ShortId>,
    /// Per node and epoch.
    pub(crate) keys: BTreeMap<(usize, u32), EpochKey>,
}

/// What a frame says to the node that reads it.
pub(crate) enum Opened {
    /// To be passed on, as these bytes.
    Forward { next: usize, bytes: Box<Frame> },
    /// Cover that ends here.
    Drop,
    /// A loop that came home.
    Loop,
    /// A mailbox operation.
    Box(Box<[u8; BODY_LEN]>),
    /// An answer to a reply block of this node.
    Reply,
}

impl KeyBook {
    /// Opens a frame as node `reader` does; `None` if none of its keys fits.
    pub(crate) fn open(&self, reader: usize, bytes: &Frame) -> Option<Opened> {
        let mut packet = Packet::from_boxed(Box::new(*bytes));
        let element = Element::read(&packet).ok()?;
        let keys = self.keys.range((reader, 0)..=(reader, u32::MAX)).rev();
        let authentic = keys.into_iter().find_map(|((_, epoch), key)| {
            let context = KeyContext {
                network: self.network,
                epoch: *epoch,
                relay: self.shorts[reader],
            };
            element.check(&key.secret, &context, &packet).ok()
        })?;
        Some(match authentic.peel(&mut packet).ok()? {
            Peeled::Forward { next, .. } => Opened::Forward {
                next: number_of(&self.shorts, &next)?,
                bytes: packet.into_boxed(),
            },
            Peeled::Drop => Opened::Drop,
            Peeled::Loop { .. } => Opened::Loop,
            Peeled::Box { .. } => Opened::Box(body(packet.as_bytes())),
            Peeled::Reply { .. } => Opened::Reply,
        })
    }
}

/// The body at the end of an opened packet: what follows header and tag.
fn body(bytes: &Frame) -> Box<[u8; BODY_LEN]> {
    let mut body = Box::new([0; BODY_LEN]);
    body.copy_from_slice(&bytes[PACKET_LEN - BODY_LEN..]);
    body
}

/// How a journey ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Drop,
    Loop,
    Box,
    Reply,
    /// Its reader had no link yet to where it should have gone.
    Lost,
    /// Still waiting in a pool when the capture ended.
    Waiting,
}

/// One packet's way.
pub(crate) struct Journey {
    /// Its frames, first to last, as numbers of crossings.
    pub(crate) crossings: Vec<usize>,
    /// Its nodes: origin, hops, and where it ended (or waits).
    pub(crate) nodes: Vec<usize>,
    pub(crate) end: End,
    /// The operation it brought, if it ended as one.
    pub(crate) body: Option<Box<[u8; BODY_LEN]>>,
}

impl Journey {
    /// Whether all of its way is known.
    pub(crate) fn arrived(&self) -> bool {
        !matches!(self.end, End::Lost | End::Waiting)
    }

    pub(crate) fn origin(&self) -> usize {
        self.nodes[0]
    }

    pub(crate) fn last(&self) -> usize {
        self.nodes[self.nodes.len() - 1]
    }

    /// The mixing hops: all nodes but the first and the last.
    pub(crate) fn hops(&self) -> &[usize] {
        &self.nodes[1..self.nodes.len() - 1]
    }
}

/// Opens every frame and follows every packet. Each frame of `span` must have been passed on as exactly the bytes it peels to,
/// to exactly the node it names, or end where it was read.
pub(crate) fn follow(
    crossings: &[Crossing],
    places: &BTreeMap<&Frame, usize>,
    book: &KeyBook,
    span: Span,
) -> Result<Vec<Journey>, Flaw> {
    let mut after = vec![None; crossings.len()];
    let mut first = vec![true; crossings.len()];
    let mut ends = Vec::with_capacity(crossings.len());
    for (place, crossing) in crossings.iter().enumerate() {
        let opened = book
            .open(crossing.to, &crossing.bytes)
            .ok_or(Flaw::Unopened { crossing: place })?;
        ends.push(match opened {
            Opened::Forward { next, bytes } => {
                let written = places.get(&*bytes).copied().filter(|at| {
                    let onward = &crossings[*at];
                    (onward.from, onward.to) == (crossing.to, next) && *at > place
                });
                match written {
                    Some(at) => {
                        after[place] = Some(at);
                        first[at] = false;
                    }
                    None if span.holds(crossing.at) => {
                        return Err(Flaw::NotForwarded { crossing: place });
                    }
                    None => {}
                }
                let early = crossing.at < span.from;
                (if early { End::Lost } else { End::Waiting }, None)
            }
            Opened::Drop => (End::Drop, None),
            Opened::Loop => (End::Loop, None),
            Opened::Reply => (End::Reply, None),
            Opened::Box(body) => (End::Box, Some(body)),
        });
    }
    let starts = (0..crossings.len()).filter(|place| first[*place]);
    Ok(starts
        .map(|start| journey(start, crossings, &after, &ends))
        .collect())
}

fn journey(
    start: usize,
    crossings: &[Crossing],
    after: &[Option<usize>],
    ends: &[(End, Option<Box<[u8; BODY_LEN]>>)],
) -> Journey {
    let mut way = vec![start];
    let mut nodes = vec![crossings[start].from, crossings[start].to];
    let mut last = start;
    while let Some(next) = after[last] {
        way.push(next);
        nodes.push(crossings[next].to);
        last = next;
    }
    let (end, body) = ends[last].clone();
    Journey {
        crossings: way,
        nodes,
        end,
        body,
    }
}
