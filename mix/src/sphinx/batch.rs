//! Peeling many packets at once. The arithmetic is that of [`super::unwrap`], but Ristretto encodings, which cost an inverse
//! square root each, are computed for a whole group as encodings of doubles: one inversion for up to 64. SPEC.md §6.
//!
//! Nothing here knows a replay set: whoever opens a batch looks the tags up afterwards ([`crate::mixer`]).

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::traits::Identity as _;
use zeroize::{Zeroize as _, Zeroizing};

use super::keys::{KeyContext, MixSecret};
use super::packet::Packet;
use super::unwrap::{Authentic, Element, Peeled, ReplayTag};
use crate::DropReason;

/// Packets that share one inversion. More would save next to nothing and let the first wait longer for the last.
pub const BATCH: usize = 64;

/// Takes one layer off each of any number of packets, in place, with the bytes and results of [`peel`](super::peel).
/// `results` is cleared; its n-th entry is that of the n-th packet.
///
/// The tag of a packet that fails after its authentication is lost with the error, as it is by `peel`; a relay, which must
/// keep it, opens packets by an [`Opener`](crate::Opener).
///
/// Costs a group of 64 a fixed, small number of heap allocations in the curve library, and none per packet if `results` has
/// room.
pub fn peel_batch(
    secret: &MixSecret,
    context: &KeyContext,
    packets: &mut [Packet],
    results: &mut Vec<Result<(ReplayTag, Peeled), DropReason>>,
) {
    results.clear();
    for group in packets.chunks_mut(BATCH) {
        let opened = open_group([(secret, *context)].into_iter(), group);
        results.extend(
            opened
                .into_iter()
                .take(group.len())
                .map(|opened| opened.and_then(|opened| Ok((opened.tag, opened.peeled?)))),
        );
    }
}

/// What an authentic packet of a group turned out to be.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Whose key opened it.
    pub(crate) epoch: u32,
    pub(crate) tag: ReplayTag,
    /// What came of peeling it. The tag stays used up whatever that is.
    pub(crate) peeled: Result<Peeled, DropReason>,
}

/// Peels up to [`BATCH`] packets by whichever of the keys opens each, keys tried in their order. Entries beyond the packets
/// given mean nothing.
pub(crate) fn open_group<'a>(
    keys: impl Iterator<Item = (&'a MixSecret, KeyContext)>,
    packets: &mut [impl AsRef<Packet> + AsMut<Packet>],
) -> [Result<Outcome, DropReason>; BATCH] {
    let mut found = authenticate(keys, packets);
    let mut opened = [const { Err(DropReason::Mac) }; BATCH];
    let mut halves = Halves::new();
    for (place, packet) in packets.iter_mut().enumerate() {
        opened[place] =
            found[place]
                .as_ref()
                .map_err(|reason| *reason)
                .map(|(epoch, authentic)| {
                    let peeled = authentic.peel_all_but_alpha(packet.as_mut());
                    if let Ok(Peeled::Forward { .. }) = peeled {
                        halves.push(place, authentic.half_of_next_alpha());
                    }
                    Outcome {
                        epoch: *epoch,
                        tag: authentic.tag(),
                        peeled,
                    }
                });
        // The keys of this hop have done their work.
        found[place] = Err(DropReason::Mac);
    }
    halves.encode_doubles(|place, alpha| packets[place].as_mut().set_alpha(alpha.as_bytes()));
    opened
}

type Found = Result<(u32, Authentic), DropReason>;

/// Finds the key of each packet.
fn authenticate<'a>(
    keys: impl Iterator<Item = (&'a MixSecret, KeyContext)>,
    packets: &[impl AsRef<Packet>],
) -> [Found; BATCH] {
    let mut found: [Found; BATCH] = [const { Err(DropReason::Mac) }; BATCH];
    let mut elements: [Option<Element>; BATCH] = [const { None }; BATCH];
    for ((packet, element), found) in packets.iter().zip(&mut elements).zip(&mut found) {
        match Element::read(packet.as_ref()) {
            Ok(read) => *element = Some(read),
            Err(reason) => *found = Err(reason),
        }
    }
    for (secret, context) in keys {
        let mut halves = Halves::new();
        for (place, element) in elements.iter().enumerate() {
            if let Some(element) = element {
                halves.push(place, element.point() * secret.half());
            }
        }
        halves.encode_doubles(|place, shared| {
            let Some(element) = &elements[place] else {
                return;
            };
            if let Ok(authentic) = element.check_shared(shared, &context, packets[place].as_ref()) {
                found[place] = Ok((context.epoch, authentic));
                elements[place] = None;
            }
        });
    }
    found
}

/// Halves of the elements that are wanted, each for a place of the group. Erased when dropped.
struct Halves {
    points: Zeroizing<[RistrettoPoint; BATCH]>,
    places: [usize; BATCH],
    len: usize,
}

impl Halves {
    fn new() -> Self {
        Self {
            points: Zeroizing::new([RistrettoPoint::identity(); BATCH]),
            places: [0; BATCH],
            len: 0,
        }
    }

    fn push(&mut self, place: usize, half: RistrettoPoint) {
        self.points[self.len] = half;
        self.places[self.len] = place;
        self.len += 1;
    }

    /// Gives the encoding of the double of each with its place.
    ///
    /// What the curve library computes in between lies in memory that it frees without erasing: it offers no other way.
    fn encode_doubles(&self, mut give: impl FnMut(usize, &CompressedRistretto)) {
        match self.len {
            // At the turn of epochs the second key mostly finds every packet opened by the first.
            0 => return,
            // Alone, a plain encoding is as fast and allocates nothing.
            1 => {
                let alone = Zeroizing::new((self.points[0] + self.points[0]).compress());
                return give(self.places[0], &alone);
            }
            _ => {}
        }
        let mut encoded = RistrettoPoint::double_and_compress_batch(&self.points[..self.len]);
        for (place, encoded) in self.places.iter().zip(&mut encoded) {
            give(*place, encoded);
            encoded.zeroize();
        }
    }
}
