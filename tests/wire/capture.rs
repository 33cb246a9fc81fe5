//! What the links carried, and whether both ends of every link saw the same.
//!
//! A frame on a link is seen twice: where it was written and where it was read. There is no length on the wire, the reader cuts
//! its stream every 2,048 bytes; so if frame after frame read equals frame after frame written, then nothing else, not even
//! one byte, went over the packet protocol in between.

use std::collections::BTreeMap;
use std::time::Duration;

use mix::{PACKET_LEN, ShortId};

/// One frame's bytes.
pub(crate) type Frame = [u8; PACKET_LEN];

/// One frame as one end of a link saw it. Nodes are numbers.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) bytes: Box<Frame>,
    /// Seen where it was written, or where it was read.
    pub(crate) written: bool,
    /// Since the capture began.
    pub(crate) at: Duration,
}

/// One frame that went over a link.
#[derive(Clone)]
pub(crate) struct Crossing {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) bytes: Box<Frame>,
    /// When it was written, since the capture began.
    pub(crate) at: Duration,
}

/// Why the capture is no proof. Numbers of crossings count in the order of [`Links::crossings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A frame was written and never read.
    Lost { from: usize, to: usize },
    /// What was read is not what was written, in this order.
    Altered { from: usize, to: usize },
    /// The same bytes crossed two links, or one link twice.
    Copied { first: usize, second: usize },
    /// Its reader has no key that opens this frame.
    Unopened { crossing: usize },
    /// Its reader did not write the frame that this one peels to, to the node it names.
    NotForwarded { crossing: usize },
    /// A packet passed another number of mixing hops than 3.
    Hops { crossing: usize, hops: usize },
    /// A packet passed one node twice, or was mixed by the node that sent it or the one it ended at.
    Repeated { crossing: usize },
    /// An answer did not start at the holder of its request, or did not end where the request came from.
    Misled { crossing: usize },
    /// A frame shares bytes with the frame its reader made of it, at this place of the latter.
    Shared { crossing: usize, at: usize },
    /// A frame of a message went straight from its sender to its receiver.
    Direct { crossing: usize },
    /// No deposit of the message is on any link.
    NoDeposit,
    /// No answer with the message reached its receiver.
    NoAnswer,
}

/// All frames of all links.
pub(crate) struct Links {
    /// In the order of the capture.
    pub(crate) crossings: Vec<Crossing>,
    /// Ordered pairs of nodes that carried at least one frame.
    pub(crate) links: usize,
    /// Frames written before all links were up that went down with a connection.
    pub(crate) lost: usize,
    /// Frames written shortly before the end that were not read before it.
    pub(crate) in_flight: usize,
}

/// The time in which nothing may be missing, since the capture began: from when all links are up until shortly before the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) from: Duration,
    pub(crate) until: Duration,
}

impl Span {
    /// Whether a frame of this time must have been read, and passed on.
    pub(crate) fn holds(self, at: Duration) -> bool {
        self.from <= at && at <= self.until
    }
}

/// Compares both ends of every link: what was read must be what was written, in this order, and nothing written within `span`
/// may be missing. Before it connections are still being made, of which two nodes keep one; after it frames are under way.
pub(crate) fn join(records: &[Record], span: Span) -> Result<Links, Flaw> {
    let mut ends: BTreeMap<(usize, usize), [Vec<&Record>; 2]> = BTreeMap::new();
    for record in records {
        let link = ends.entry((record.from, record.to)).or_default();
        link[usize::from(record.written)].push(record);
    }
    let (mut lost, mut in_flight) = (0, 0);
    for (&(from, to), [read, written]) in &ends {
        let mut missing: Vec<&Record> = Vec::new();
        let mut left = written.as_slice();
        for frame in read {
            match left.iter().position(|written| written.bytes == frame.bytes) {
                Some(at) => {
                    missing.extend(&left[..at]);
                    left = &left[at + 1..];
                }
                // The reader may be a moment ahead of the writer's note when the capture ends.
                None if left.is_empty() && frame.at > span.until => {}
                None => return Err(Flaw::Altered { from, to }),
            }
        }
        missing.extend(left);
        if missing.iter().any(|frame| span.holds(frame.at)) {
            return Err(Flaw::Lost { from, to });
        }
        lost += missing.iter().filter(|frame| frame.at < span.from).count();
        in_flight += missing.iter().filter(|frame| frame.at > span.until).count();
    }
    let crossings = records
        .iter()
        .filter(|record| record.written)
        .map(|record| Crossing {
            from: record.from,
            to: record.to,
            bytes: record.bytes.clone(),
            at: record.at,
        });
    Ok(Links {
        crossings: crossings.collect(),
        links: ends.len(),
        lost,
        in_flight,
    })
}

/// Where each frame's bytes are, if no two frames are the same: a mixer that passed on what it got would make two.
pub(crate) fn by_bytes(crossings: &[Crossing]) -> Result<BTreeMap<&Frame, usize>, Flaw> {
    let mut places = BTreeMap::new();
    for (second, crossing) in crossings.iter().enumerate() {
        if let Some(first) = places.insert(&*crossing.bytes, second) {
            return Err(Flaw::Copied { first, second });
        }
    }
    Ok(places)
}

/// The nodes by number, as packets name them.
pub(crate) fn number_of(shorts: &[ShortId], short: &ShortId) -> Option<usize> {
    shorts.iter().position(|known| known == short)
}
