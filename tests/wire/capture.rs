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
    /// Frames written shortly before the end that were not read before it.
    pub(crate) in_flight: usize,
}

/// Compares both ends of every link. Frames written after `horizon` may still be under way.
pub(crate) fn join(records: &[Record], horizon: Duration) -> Result<Links, Flaw> {
    let mut ends: BTreeMap<(usize, usize), [Vec<&Record>; 2]> = BTreeMap::new();
    for record in records {
        let link = ends.entry((record.from, record.to)).or_default();
        link[usize::from(record.written)].push(record);
    }
    let mut in_flight = 0;
    for (&(from, to), [read, written]) in &ends {
        if read.len() > written.len()
            || read
                .iter()
                .zip(written)
                .any(|(read, written)| read.bytes != written.bytes)
        {
            return Err(classify(from, to, read, written));
        }
        let rest = &written[read.len()..];
        if rest.iter().any(|frame| frame.at <= horizon) {
            return Err(Flaw::Lost { from, to });
        }
        in_flight += rest.len();
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
        in_flight,
    })
}

/// A gap in the middle of a link is a loss; anything else that differs is an alteration.
fn classify(from: usize, to: usize, read: &[&Record], written: &[&Record]) -> Flaw {
    let mut left = written.iter();
    let subsequence = read
        .iter()
        .all(|read| left.any(|written| written.bytes == read.bytes));
    if subsequence {
        Flaw::Lost { from, to }
    } else {
        Flaw::Altered { from, to }
    }
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
