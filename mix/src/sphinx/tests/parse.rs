//! Properties of everything that reads bytes: no input panics, nothing that was not built opens, what is read writes back.

use proptest::prelude::*;

use crate::sphinx::command::{Block, Command};
use crate::sphinx::geometry::{BETA_LEN, BLOCK_LEN};
use crate::sphinx::testkit::{Relay, relays, rng};
use crate::sphinx::*;
use crate::{DropReason, ShortId};

fn relay() -> Relay {
    relays(1, &mut rng(1)).remove(0)
}

fn any_packet() -> impl Strategy<Value = Packet> {
    proptest::collection::vec(any::<u8>(), PACKET_LEN)
        .prop_map(|bytes| Packet::from_slice(&bytes).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_packet_has_one_length(bytes in proptest::collection::vec(any::<u8>(), 0..2 * PACKET_LEN)) {
        match Packet::from_slice(&bytes) {
            Ok(packet) => prop_assert_eq!(packet.as_bytes().as_slice(), bytes.as_slice()),
            Err(error) => prop_assert_eq!(error, Malformed::Length { got: bytes.len(), want: PACKET_LEN }),
        }
    }

    #[test]
    fn noise_never_opens(mut packet in any_packet(), version_right: bool) {
        if version_right {
            packet.bytes_mut()[0] = 1;
        }
        let relay = relay();
        prop_assert!(peel(&relay.secret, &relay.context(), &mut packet).is_err());
    }

    /// Anybody can make a header whose code is right: the sender has the keys. So any block must be read without harm.
    #[test]
    fn an_authentic_header_with_any_block_is_read(code in 0u8..8, flags in 0u8..5, rest: [u8; 32], mut packet in any_packet()) {
        let relay = relay();
        packet.bytes_mut()[0] = 1;
        packet.set_alpha(&relay.hop.key.to_bytes());
        let keys = keys::HopKeys::derive(&(relay.hop.key.point() * relay.secret.scalar()).compress(), &relay.context());
        let mut beta: [u8; BETA_LEN] = packet::copy(packet.beta());
        (beta[0], beta[1]) = (code, flags);
        beta[2..34].copy_from_slice(&rest);
        keys.stream(&mut beta);
        packet.set_beta(&beta);
        packet.set_gamma(&keys.gamma(&beta));
        let next: [u8; 16] = packet::copy(&rest[2..18]);
        let quantile = Quantile(u16::from_le_bytes([rest[0], rest[1]]));
        let peeled = peel(&relay.secret, &relay.context(), &mut packet).map(|(_, peeled)| peeled);
        let wanted = match (code, flags) {
            (0 | 6.., _) => Err(DropReason::Command),
            (_, 3..) => Err(DropReason::Flags),
            (1, _) => Ok(Peeled::Forward { next: ShortId(next), class: Class::ALL[usize::from(flags)], quantile }),
            (5, _) => Ok(Peeled::Reply { surb_id: next }),
            _ => Err(DropReason::Payload),
        };
        prop_assert_eq!(peeled, wanted);
    }

    #[test]
    fn a_block_reads_as_it_was_written(code in 1u8..=5, class in 0usize..3, quantile: u16, next: [u8; 16], fill: u8) {
        let command = match code {
            1 => Command::Forward { next: ShortId(next) },
            2 => Command::Drop,
            3 => Command::Loop { id: next },
            4 => Command::Box,
            _ => Command::Reply { surb_id: next },
        };
        let block = Block { command, class: Class::ALL[class], quantile: Quantile(quantile) };
        let mut bytes = [fill; BLOCK_LEN];
        block.write(&mut bytes);
        prop_assert_eq!(bytes[0], code);
        let read = Block::read(&bytes).unwrap();
        prop_assert_eq!((read.command, read.class, read.quantile), (block.command, block.class, block.quantile));
    }

    #[test]
    fn a_block_with_an_unknown_command_or_flag_is_refused(code: u8, flags: u8) {
        let mut bytes = [0; BLOCK_LEN];
        (bytes[0], bytes[1]) = (code, flags);
        let wanted = match (code, flags) {
            (1..=5, 0..3) => None,
            (1..=5, _) => Some(DropReason::Flags),
            _ => Some(DropReason::Command),
        };
        prop_assert_eq!(Block::read(&bytes).err(), wanted);
    }

    #[test]
    fn reply_blocks_and_their_keys_read_as_written(
        surb in proptest::collection::vec(any::<u8>(), SURB_LEN),
        keys in proptest::collection::vec(any::<u8>(), SURB_KEYS_LEN),
        hops in 0u8..8,
    ) {
        let surb: [u8; SURB_LEN] = surb.try_into().unwrap();
        match Surb::from_bytes(&surb) {
            Ok(read) => prop_assert_eq!(read.to_bytes(), surb),
            Err(_) => prop_assert_ne!(surb[0], 1),
        }
        let mut keys: [u8; SURB_KEYS_LEN] = keys.try_into().unwrap();
        keys[0] = hops;
        match SurbKeys::from_bytes(&keys) {
            Ok(read) => prop_assert_eq!(*read.to_bytes(), keys),
            Err(_) => prop_assert!(hops == 0 || hops > 5),
        }
    }
}
