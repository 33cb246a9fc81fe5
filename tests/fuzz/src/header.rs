//! Target `header`: any bytes into every decoder of the packet core. None may panic, and what one accepts is the only encoding
//! of what it read: it encodes to the same bytes. Packets, elements, keys and reply blocks; nothing is peeled here.

use curve25519_dalek::scalar::Scalar;
use mix::keyring::EPOCH_KEY_LEN;
use mix::sphinx::{Element, Malformed, SURB_KEYS_LEN};
use mix::time::Moment;
use mix::{DropReason, EpochKey, MixPublic, MixSecret, Packet, SURB_LEN, Surb, SurbKeys};

use crate::lab::{CASES, Input, ODD_ALPHAS};
use crate::model::{ALPHA, element, part};

/// Decodes what the input says, and names the decoder and its answer.
pub fn play(data: &[u8]) -> &'static str {
    let mut input = Input(data);
    match input.below(6) {
        0 => length(&mut input),
        1 => read(&mut input),
        2 => public(&altered(public_seed(&mut input), &mut input)),
        3 => secret(&mut input),
        4 => reply_block(&mut input),
        _ => epoch_key(&mut input),
    }
}

/// Puts what is left of the input over `bytes`: runs of (place, length, that many bytes).
fn altered<const N: usize>(mut bytes: [u8; N], input: &mut Input<'_>) -> [u8; N] {
    while !input.is_empty() {
        let place = input.wide(N);
        for byte in bytes.iter_mut().skip(place).take(1 + input.below(40)) {
            *byte = input.byte();
        }
    }
    bytes
}

/// Packets of every length.
fn length(input: &mut Input<'_>) -> &'static str {
    let length = match input.below(4) {
        0 => 2048,
        1 => 2048 - 1 - input.below(4),
        2 => 2049 + input.below(4),
        _ => input.wide(4096),
    };
    let mut bytes = vec![0; length];
    input.pattern(&mut bytes);
    match Packet::from_slice(&bytes) {
        Ok(packet) => {
            assert_eq!(packet.as_bytes()[..], bytes);
            assert_eq!(packet.into_boxed()[..], bytes);
            "packet"
        }
        Err(refused) => {
            let want = 2048;
            assert_ne!(length, want);
            assert_eq!(refused, Malformed::Length { got: length, want });
            "length"
        }
    }
}

/// The first step of a peel, on a packet whose header is the input's.
fn read(input: &mut Input<'_>) -> &'static str {
    let mut bytes = CASES[input.below(CASES.len())].packet;
    if let Some(odd) = ODD_ALPHAS.get(input.below(16)) {
        bytes[ALPHA].copy_from_slice(odd);
    }
    let header = altered(part::<229>(&bytes[..229]), input);
    bytes[..229].copy_from_slice(&header);
    let packet = Packet::from_slice(&bytes).expect("2,048 bytes");
    let want = match (header[0], element(&header[ALPHA])) {
        (1, Some(_)) => None,
        (1, None) => Some(DropReason::Alpha),
        _ => Some(DropReason::Version),
    };
    assert_eq!(Element::read(&packet).err(), want);
    assert_eq!(*packet.as_bytes(), bytes, "reading changed the packet");
    want.map_or("element", DropReason::name)
}

fn public_seed(input: &mut Input<'_>) -> [u8; 32] {
    let choice = input.below(16);
    match ODD_ALPHAS.get(choice) {
        Some(odd) => *odd,
        None => part(&CASES[choice].packet[ALPHA]),
    }
}

fn public(bytes: &[u8; 32]) -> &'static str {
    let key = MixPublic::from_bytes(bytes);
    assert_eq!(key.is_some(), element(bytes).is_some());
    let Some(key) = key else {
        return "no public key";
    };
    assert_eq!(key.to_bytes(), *bytes);
    "public key"
}

/// 32 bytes around the order of the group, where the canonical ones end, and any others.
fn scalar(input: &mut Input<'_>) -> [u8; 32] {
    let mut bytes = match input.below(3) {
        0 => [0; 32],
        1 => (-Scalar::ONE).to_bytes(),
        _ => {
            let mut any = [0; 32];
            input.pattern(&mut any);
            any
        }
    };
    bytes[0] = bytes[0].wrapping_add(input.byte());
    bytes[31] ^= input.byte();
    bytes
}

fn good_scalar(bytes: &[u8; 32]) -> bool {
    Option::<Scalar>::from(Scalar::from_canonical_bytes(*bytes))
        .is_some_and(|scalar| scalar != Scalar::ZERO)
}

fn secret(input: &mut Input<'_>) -> &'static str {
    let bytes = scalar(input);
    let key = MixSecret::from_bytes(&bytes);
    assert_eq!(key.is_some(), good_scalar(&bytes));
    let Some(key) = key else {
        return "no secret key";
    };
    assert_eq!(*key.to_bytes(), bytes);
    if input.byte() % 16 == 15 {
        public(&key.public().to_bytes());
    }
    "secret key"
}

/// Both halves of a reply block.
fn reply_block(input: &mut Input<'_>) -> &'static str {
    if input.byte().is_multiple_of(2) {
        let mut bytes = [0; SURB_LEN];
        bytes[0] = 1;
        let bytes = altered(bytes, input);
        match Surb::from_bytes(&bytes) {
            Ok(surb) => {
                assert_eq!((bytes[0], surb.to_bytes()), (1, bytes));
                "reply block"
            }
            Err(_) => {
                assert_ne!(bytes[0], 1);
                "no reply block"
            }
        }
    } else {
        let mut bytes = [0; SURB_KEYS_LEN];
        bytes[0] = input.byte() % 8;
        let bytes = altered(bytes, input);
        match SurbKeys::from_bytes(&bytes) {
            Ok(keys) => {
                assert!((1..=5).contains(&bytes[0]));
                assert_eq!(*keys.to_bytes(), bytes);
                "reply keys"
            }
            Err(_) => {
                assert!(!(1..=5).contains(&bytes[0]));
                "no reply keys"
            }
        }
    }
}

fn epoch_key(input: &mut Input<'_>) -> &'static str {
    let mut bytes = [0; EPOCH_KEY_LEN];
    bytes[28..].copy_from_slice(&scalar(input));
    let bytes = altered(bytes, input);
    let moment = |at: usize| Moment(u64::from_le_bytes(part(&bytes[at..at + 8])));
    let ordered = moment(4) <= moment(12) && moment(12) <= moment(20);
    match EpochKey::from_bytes(&bytes) {
        Ok(key) => {
            assert!(ordered && good_scalar(&part(&bytes[28..])));
            assert_eq!(*key.to_bytes(), bytes);
            assert_eq!(
                key.is_usable(moment(4)),
                moment(4) < moment(20),
                "usable from its first moment on"
            );
            assert!(!key.is_usable(moment(20)));
            "epoch key"
        }
        Err(_) => {
            assert!(!ordered || !good_scalar(&part(&bytes[28..])));
            "no epoch key"
        }
    }
}
