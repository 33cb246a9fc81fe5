//! Target `process`: a packet before a relay, altered field by field, peeled with the relay's key. The input may write clear
//! text into the routing block, make gamma right again and encrypt a payload anew, as a sender could, so that what lies behind
//! the authentication is reached. Every outcome, and every byte of what is passed on, must be what the model says.

use std::sync::LazyLock;

use mix::sphinx::{Peeled, ReplayTag, peel, peel_batch};
use mix::{DropReason, KeyContext, MixSecret, Packet};

use crate::lab::{CASES, Case, Input, ODD_ALPHAS, OWN, RELAY, Relay, name_of, one_in};
use crate::model::{self, ALPHA, BETA, DELTA, GAMMA, Wire, element, part};

const MOST_CHANGES: usize = 8;

static OTHER: LazyLock<Relay> = LazyLock::new(|| Relay::named(OWN + 1, RELAY.hop.epoch));

/// A packet that is being altered.
struct Draft {
    /// What it is now.
    bytes: Wire,
    start: &'static Case,
    /// Something was written with keys that only a sender or the relay has.
    forged: bool,
    /// The relay's network, epoch, name or secret is another one than the packet was made for.
    elsewhere: Option<u8>,
}

/// Alters a packet and peels it.
pub fn play(data: &[u8]) -> &'static str {
    let mut input = Input(data);
    if one_in(16, data) {
        return play_batch(&mut input);
    }
    let draft = Draft::read(&mut input);
    draft.check(draft.peel())
}

/// Up to three altered packets among many that are noise, peeled together: each fares as it would alone.
fn play_batch(input: &mut Input<'_>) -> &'static str {
    let mut drafts: Vec<Draft> = (0..1 + input.below(3))
        .map(|_| Draft::read(input))
        .collect();
    // Two of these cross the size of a group, so that any place in any group is met.
    let mut batch: Vec<Option<Draft>> = Vec::new();
    batch.resize_with([0, 1, 62, 130][input.below(4)], || None);
    let elsewhere = drafts[0].elsewhere;
    for mut draft in drafts.drain(..) {
        draft.elsewhere = elsewhere;
        let place = input.below(batch.len() + 1);
        batch.insert(place, Some(draft));
    }
    let mut packets: Vec<Packet> = batch
        .iter()
        .map(|draft| match draft {
            Some(draft) => draft.packet(),
            None => Packet::from_slice(&[0; 2048]).expect("2,048 bytes"),
        })
        .collect();
    let (secret, context) = keys_at(elsewhere);
    let mut results = vec![Err(DropReason::Payload)];
    peel_batch(secret, &context, &mut packets, &mut results);
    assert_eq!(results.len(), batch.len());
    for ((draft, result), packet) in batch.iter().zip(results).zip(packets) {
        match draft {
            Some(draft) => _ = draft.check((result, packet)),
            None => assert_eq!(result, Err(DropReason::Version)),
        }
    }
    "batch"
}

/// The keys of the relay that a packet was made for, or of another one, in one respect.
fn keys_at(elsewhere: Option<u8>) -> (&'static MixSecret, KeyContext) {
    let mut context = RELAY.context();
    match elsewhere {
        None => {}
        Some(0) => context.network.0[31] ^= 1,
        Some(1) => context.epoch ^= 1,
        Some(2) => context.relay.0[15] ^= 1,
        Some(_) => return (&OTHER.secret, context),
    }
    (&RELAY.secret, context)
}

impl Draft {
    /// Picks a packet and alters it as the input says.
    fn read(input: &mut Input<'_>) -> Self {
        let start = &CASES[input.below(CASES.len())];
        let mut draft = Self {
            bytes: start.packet,
            start,
            forged: false,
            elsewhere: None,
        };
        for _ in 0..MOST_CHANGES {
            if input.is_empty() {
                break;
            }
            draft.alter(input);
        }
        draft
    }

    fn alter(&mut self, input: &mut Input<'_>) {
        match input.below(11) {
            0 => self.bytes[input.below(229)] ^= input.byte(),
            1 => self.bytes[229 + input.wide(1819)] ^= input.byte(),
            2 => {
                let bit = input.wide(2048 * 8);
                self.bytes[bit / 8] ^= 1 << (bit % 8);
            }
            3 => {
                let from = input.wide(2048);
                for byte in self.bytes[from..].iter_mut().take(input.below(64)) {
                    *byte = input.byte();
                }
            }
            4 => {
                let other = &CASES[input.below(CASES.len())].packet;
                let field = [ALPHA, GAMMA, BETA, DELTA][input.below(4)].clone();
                self.bytes[field.clone()].copy_from_slice(&other[field]);
            }
            5 => self.bytes[ALPHA].copy_from_slice(&ODD_ALPHAS[input.below(8)]),
            6 => self.write_block(input),
            7 | 8 => self.seal(),
            9 => self.write_payload(input),
            _ => self.elsewhere = Some(input.byte() % 4),
        }
    }

    /// The packet whose alpha this one has now; its keys are known.
    fn known(&self) -> Option<&'static Case> {
        CASES
            .iter()
            .find(|case| case.packet[ALPHA] == self.bytes[ALPHA])
    }

    /// Writes one field of the routing block, in clear.
    fn write_block(&mut self, input: &mut Input<'_>) {
        let Some(case) = self.known() else { return };
        let clear = case.keys.clear(&self.bytes[BETA]);
        let mut block: [u8; 36] = part(&clear[..36]);
        match input.below(6) {
            0 => block[0] = input.byte(),
            1 => block[0] = input.byte() % 7,
            2 => block[1] = input.byte(),
            3 => block[1] = input.byte() % 4,
            4 => block[2..4].copy_from_slice(&[input.byte(), input.byte()]),
            _ => block[4..20].fill(OWN),
        }
        for (i, byte) in block.into_iter().enumerate() {
            self.bytes[49 + i] ^= clear[i] ^ byte;
        }
    }

    fn seal(&mut self) {
        let Some(case) = self.known() else { return };
        let gamma = case.keys.gamma(&self.bytes[BETA]);
        self.bytes[GAMMA].copy_from_slice(&gamma);
        self.forged = true;
    }

    /// Encrypts a payload of the input's own, with at most one byte of its tag set.
    fn write_payload(&mut self, input: &mut Input<'_>) {
        let Some(case) = self.known() else { return };
        let mut delta = [0; 1819];
        input.pattern(&mut delta[16..]);
        delta[input.below(16)] = input.byte();
        model::encrypt(&case.keys.payload, &mut delta);
        self.bytes[DELTA].copy_from_slice(&delta);
        self.forged = true;
    }

    fn packet(&self) -> Packet {
        Packet::from_slice(&self.bytes).expect("2,048 bytes")
    }

    fn peel(&self) -> (Result<(ReplayTag, Peeled), DropReason>, Packet) {
        let mut packet = self.packet();
        let (secret, context) = keys_at(self.elsewhere);
        let result = peel(secret, &context, &mut packet);
        (result, packet)
    }

    /// Compares what became of the packet with the model, and with what must hold whatever the model says.
    fn check(
        &self,
        (result, packet): (Result<(ReplayTag, Peeled), DropReason>, Packet),
    ) -> &'static str {
        let want = self.expected();
        assert_eq!(
            result.as_ref().err(),
            want.as_ref().err(),
            "another reason than the format says"
        );
        if let (Ok((tag, peeled)), Ok((case, want_peeled, want_bytes))) = (&result, &want) {
            assert_eq!(tag.0, case.keys.tag);
            assert_eq!(peeled, want_peeled);
            assert!(packet.as_bytes() == want_bytes, "other bytes pass on");
        }
        self.check_alteration(&result, &packet);
        name_of(&result)
    }

    fn expected(&self) -> Result<(&'static Case, Peeled, Wire), DropReason> {
        if self.bytes[0] != 1 {
            return Err(DropReason::Version);
        }
        let Some(case) = self.known() else {
            return Err(match element(&self.bytes[ALPHA]) {
                Some(_) => DropReason::Mac,
                None => DropReason::Alpha,
            });
        };
        if self.elsewhere.is_some() {
            return Err(DropReason::Mac);
        }
        let (peeled, bytes) = model::peel(&self.bytes, &case.keys, &case.next_alpha)?;
        Ok((case, peeled, bytes))
    }

    /// Without keys nobody turns one packet into another: an altered header opens nothing, an altered payload delivers nothing.
    fn check_alteration(&self, result: &Result<(ReplayTag, Peeled), DropReason>, packet: &Packet) {
        let start = &self.start.packet;
        if self.forged || CASES.iter().any(|case| case.packet == self.bytes) {
            return;
        }
        let Ok((_, peeled)) = result else { return };
        // The header of another honest packet may stand before another payload.
        let honest = CASES
            .iter()
            .find(|case| case.packet[..229] == self.bytes[..229])
            .expect("an altered header was accepted");
        assert!(
            matches!(peeled, Peeled::Forward { .. } | Peeled::Reply { .. }),
            "an altered payload was delivered"
        );
        let mut unaltered = Packet::from_slice(&honest.packet).expect("2,048 bytes");
        // Half of the time is spent here and little is learnt from it twice: only for what differs from its start in one byte.
        if start
            .iter()
            .zip(&self.bytes)
            .filter(|(a, b)| a != b)
            .count()
            == 1
        {
            RELAY.peel(&mut unaltered);
            let same = (229..2048)
                .filter(|&i| unaltered.as_bytes()[i] == packet.as_bytes()[i])
                .count();
            // 1,819 bytes agree in 7 places by chance; in 60 never.
            assert!(same < 60, "an altered payload is not garbled everywhere");
        }
    }
}
