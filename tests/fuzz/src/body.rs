//! Target `body`: the payload. Wide blocks under any key and around any content, in both directions and in chains of up to
//! five, must be those of the model; a tag with one bit set anywhere must not pass, at a forward packet's end or a reply's.

use mix::sphinx::{Peeled, SURB_KEYS_LEN, peel};
use mix::{BODY_LEN, DropReason, Packet, SURB_LEN, Surb, SurbKeys};

use crate::lab::{CASES, Input, RELAY, name_of, one_in};
use crate::model::{self, BETA, DELTA, Wire};

/// Plays one payload.
pub fn play(data: &[u8]) -> &'static str {
    let mut input = Input(data);
    if one_in(16, data) {
        return delivered(&mut input);
    }
    match input.below(2) {
        0 => used(&mut input),
        _ => opened(data, &mut input),
    }
}

/// A clear text: a tag, zero but for one byte that the input names, and a body.
fn clear(input: &mut Input<'_>) -> [u8; 1819] {
    let mut delta = [0; 1819];
    input.pattern(&mut delta[16..]);
    delta[input.below(16)] = input.byte();
    for _ in 0..input.below(4) {
        delta[16 + input.wide(BODY_LEN)] ^= input.byte();
    }
    delta
}

/// Changes up to three bytes of a cipher text.
fn garble(delta: &mut [u8], input: &mut Input<'_>) {
    for _ in 0..input.below(4) {
        delta[input.wide(1819)] ^= input.byte();
    }
}

/// What the user of a reply block sends, under a key that the input chose.
fn used(input: &mut Input<'_>) -> &'static str {
    let mut bytes = [0; SURB_LEN];
    bytes[0] = 1;
    input.pattern(&mut bytes[245..]);
    let mut delta = clear(input);
    delta[..16].fill(0);
    let body: &[u8; BODY_LEN] = delta[16..].try_into().expect("its length");
    let (_, packet) = Surb::from_bytes(&bytes).expect("version 1").reply(body);
    model::encrypt(&model::part(&bytes[245..]), &mut delta);
    assert!(packet.as_bytes()[DELTA] == delta, "another wide block");
    "used"
}

/// What the owner of a reply block reads, under keys that the input chose.
fn opened(data: &[u8], input: &mut Input<'_>) -> &'static str {
    let mut keys = [0; SURB_KEYS_LEN];
    // Long chains more seldom: every layer costs, and adds little that is new.
    let longest = if one_in(4, data) { 5 } else { 1 };
    keys[0] = 1 + input.byte() % longest;
    input.pattern(&mut keys[1..]);
    // Two equal keys would take each other's layers off.
    for (place, key) in keys[1..].chunks_exact_mut(32).enumerate() {
        key[0] = place as u8;
    }
    let hops = usize::from(keys[0]);
    let key = |place: usize| model::part(&keys[1 + 32 * place..33 + 32 * place]);

    let mut wire: Wire = CASES[0].packet;
    let sent = clear(input);
    wire[DELTA].copy_from_slice(&sent);
    model::encrypt(&key(0), &mut wire[DELTA]);
    for hop in 1..=hops {
        model::decrypt(&key(hop), &mut wire[DELTA]);
    }
    let arrives = wire;
    garble(&mut wire[DELTA], input);

    let packet = Packet::from_slice(&wire).expect("2,048 bytes");
    let keys = SurbKeys::from_bytes(&keys).expect("1 to 5 hops");
    match keys.open(packet) {
        Ok(body) => {
            assert!(wire == arrives, "an altered reply opened");
            assert_eq!(sent[..16], [0; 16], "a wrong tag passed");
            assert!(body[..] == sent[16..], "another body");
            "opened"
        }
        Err(_) => {
            assert!(wire != arrives || sent[..16] != [0; 16], "a reply was lost");
            "not opened"
        }
    }
}

/// A payload at the end of a forward packet's way, or before the owner of a reply block.
fn delivered(input: &mut Input<'_>) -> &'static str {
    // The first four cases have one hop: one multiplication, not two.
    let case = &CASES[input.below(4)];
    let mut wire = case.packet;
    let sent = clear(input);
    wire[DELTA].copy_from_slice(&sent);
    model::encrypt(&case.keys.payload, &mut wire[DELTA]);
    let arrives = wire;
    garble(&mut wire[DELTA], input);

    let mut packet = Packet::from_slice(&wire).expect("2,048 bytes");
    let result = peel(&RELAY.secret, &RELAY.context(), &mut packet);
    let left = packet.as_bytes();
    match &result {
        Ok((_, Peeled::Reply { .. })) => {
            assert_eq!(wire == arrives, left[DELTA] == sent, "garbled, or not");
            let mut again = *left;
            model::encrypt(&case.keys.payload, &mut again[DELTA]);
            assert!(again == wire, "the owner cannot put the layer on again");
        }
        Ok(_) => {
            assert!(wire == arrives, "an altered payload was delivered");
            assert_eq!(sent[..16], [0; 16], "a wrong tag passed");
            assert!(left[DELTA] == sent, "another body");
            assert_eq!(left[BETA], wire[BETA], "the header of the last hop stays");
        }
        Err(reason) => {
            assert_eq!(*reason, DropReason::Payload);
            assert!(
                wire != arrives || sent[..16] != [0; 16],
                "a payload was lost"
            );
        }
    }
    name_of(&result)
}
