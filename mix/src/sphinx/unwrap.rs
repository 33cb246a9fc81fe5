//! Peeling: what a relay does with a packet. In place, without a heap allocation, and in two steps, so that a replay costs
//! nothing after the authentication: [`Element::check`] reads only, [`Authentic::peel`] writes. SPEC.md §6.

use core::fmt;

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::command::{Block, Class, Command, Quantile, gamma_next, tag_is_zero};
use super::geometry::{BETA_LEN, BLOCK_LEN, ID_LEN, VERSION};
use super::keys::{HopKeys, KeyContext, MixSecret, decode_element, halved};
use super::packet::{Packet, copy};
use super::payload::{Lioness, STREAM_GROUP};
use crate::{DropReason, ShortId};

/// What a relay remembers of a packet for as long as its key lives: 16 bytes derived from the shared element.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplayTag(pub [u8; 16]);

impl fmt::Debug for ReplayTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplayTag(..)")
    }
}

/// What is left of a packet once a layer is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peeled {
    /// To be passed on after a delay; the packet is ready for the next hop.
    Forward {
        /// Where to.
        next: ShortId,
        /// The class gives the mean delay.
        class: Class,
        /// The sender's draw.
        quantile: Quantile,
    },
    /// Cover that ends here.
    Drop,
    /// A loop that came home.
    Loop {
        /// The sender's name for it.
        id: [u8; ID_LEN],
    },
    /// A mailbox operation; the body is in clear.
    Box {
        /// For a crossover in the same class.
        class: Class,
    },
    /// A reply to one of our reply blocks; its keys open the body.
    Reply {
        /// Which reply block.
        surb_id: [u8; ID_LEN],
    },
}

/// Takes one layer off a packet, in place. Returns the replay tag, which the caller must check and keep.
///
/// This is [`Element::check`] and [`Authentic::peel`] in one; a relay does the replay check between the two.
/// After an error the packet's content is unspecified.
pub fn peel(
    secret: &MixSecret,
    context: &KeyContext,
    packet: &mut Packet,
) -> Result<(ReplayTag, Peeled), DropReason> {
    let authentic = Element::read(packet)?.check(secret, context, packet)?;
    let tag = authentic.tag();
    Ok((tag, authentic.peel(packet)?))
}

/// A packet's group element, decoded once however many keys are tried on it.
pub struct Element(RistrettoPoint);

impl Element {
    /// Checks the version and decodes alpha.
    pub fn read(packet: &Packet) -> Result<Self, DropReason> {
        if packet.version() != VERSION {
            return Err(DropReason::Version);
        }
        decode_element(&packet.alpha())
            .map(Self)
            .ok_or(DropReason::Alpha)
    }

    /// Whether the header was made for this key. Reads the packet only, so that another key can be tried.
    pub fn check(
        &self,
        secret: &MixSecret,
        context: &KeyContext,
        packet: &Packet,
    ) -> Result<Authentic, DropReason> {
        let shared = Zeroizing::new((self.0 * secret.scalar()).compress());
        self.check_shared(&shared, context, packet)
    }

    /// [`check`](Self::check) once the shared element is computed and encoded.
    pub(super) fn check_shared(
        &self,
        shared: &CompressedRistretto,
        context: &KeyContext,
        packet: &Packet,
    ) -> Result<Authentic, DropReason> {
        let keys = HopKeys::derive(shared, context);
        if bool::from(keys.gamma(packet.beta()).ct_eq(&packet.gamma())) {
            Ok(Authentic {
                alpha: self.0,
                keys,
            })
        } else {
            Err(DropReason::Mac)
        }
    }

    pub(super) fn point(&self) -> &RistrettoPoint {
        &self.0
    }
}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Element(..)")
    }
}

/// Proof that a header is authentic under one key, with what the rest of the peel needs.
pub struct Authentic {
    alpha: RistrettoPoint,
    keys: HopKeys,
}

impl Authentic {
    /// The tag to look up and to remember before [`peel`](Self::peel), whatever comes of that.
    pub fn tag(&self) -> ReplayTag {
        self.keys.tag()
    }

    /// Beta and the block of zeros behind it, in clear, as the hop sees it.
    #[cfg(test)]
    pub(super) fn show_beta(&self, beta: &mut [u8; BETA_LEN + BLOCK_LEN]) {
        self.keys.stream(beta);
    }

    /// Takes the layer off the packet that was checked. After an error the packet's content is unspecified.
    pub fn peel(self, packet: &mut Packet) -> Result<Peeled, DropReason> {
        let peeled = self.peel_all_but_alpha(packet)?;
        if let Peeled::Forward { .. } = peeled {
            let alpha = (self.alpha * self.keys.blinding).compress();
            packet.set_alpha(alpha.as_bytes());
        }
        Ok(peeled)
    }

    /// Half of the next hop's group element, for encoding many of them together.
    pub(super) fn half_of_next_alpha(&self) -> RistrettoPoint {
        let half = Zeroizing::new(halved(&self.keys.blinding));
        self.alpha * *half
    }

    /// What [`peel`](Self::peel) does, but for blinding alpha where the packet goes on.
    pub(super) fn peel_all_but_alpha(&self, packet: &mut Packet) -> Result<Peeled, DropReason> {
        // Longer than the stream is needed: see STREAM_GROUP.
        let mut beta = Zeroizing::new([0; STREAM_GROUP]);
        beta[..BETA_LEN].copy_from_slice(packet.beta());
        self.keys.stream(beta.as_mut_slice());
        let first: [u8; BLOCK_LEN] = copy(&beta[..BLOCK_LEN]);
        let block = Block::read(&first)?;
        Lioness::new(&self.keys.payload).decrypt(packet.delta_mut());
        match block.command {
            Command::Forward { next } => {
                packet.set_gamma(&gamma_next(&first));
                packet.set_beta(&beta[BLOCK_LEN..BLOCK_LEN + BETA_LEN]);
                Ok(Peeled::Forward {
                    next,
                    class: block.class,
                    quantile: block.quantile,
                })
            }
            // The tag of a reply is under the owner's keys; SurbKeys::open checks it.
            Command::Reply { surb_id } => Ok(Peeled::Reply { surb_id }),
            _ if !tag_is_zero(packet.delta()) => Err(DropReason::Payload),
            Command::Drop => Ok(Peeled::Drop),
            Command::Loop { id } => Ok(Peeled::Loop { id }),
            Command::Box => Ok(Peeled::Box { class: block.class }),
        }
    }
}

impl fmt::Debug for Authentic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authentic(..)")
    }
}
