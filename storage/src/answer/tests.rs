//! Every answer: round trip, one size, one encoding only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::*;

fn answer() -> impl Strategy<Value = Answer> {
    let sealed = || any::<u8>().prop_map(|n| -> Sealed { Box::new([n; 1600]) });
    let held = prop_oneof![Just(Held::Absent), Just(Held::Held), Just(Held::Deleted)];
    prop_oneof![
        sealed().prop_map(|ciphertext| Answer::Found { ciphertext }),
        Just(Answer::Empty),
        (held, any::<u8>()).prop_map(|(held, effort)| Answer::Stat { held, effort }),
        (any::<u16>(), any::<u16>(), prop::option::of(sealed())).prop_map(
            |(index, count, ciphertext)| Answer::Inbox {
                index,
                count,
                ciphertext
            }
        ),
    ]
}

proptest! {
    #[test]
    fn round_trip(answer in answer()) {
        prop_assert_eq!(Answer::decode(&answer.encode()).unwrap(), answer);
    }

    #[test]
    fn no_byte_is_ignored(answer in answer(), at in 0..BODY_LEN, flip in 1u8..) {
        let mut body = answer.encode();
        body[at] ^= flip;
        if let Ok(other) = Answer::decode(&body) {
            prop_assert_ne!(&other, &answer);
            prop_assert_eq!(other.encode(), body);
        }
    }

    #[test]
    fn random_bytes_never_panic(seed in any::<[u8; 32]>(), kind in 0u8..8) {
        let mut body = [0; BODY_LEN];
        blake3::Hasher::new_keyed(&seed).finalize_xof().fill(&mut body);
        let _ = Answer::decode(&body);
        body[..2].copy_from_slice(&[1, kind]);
        let _ = Answer::decode(&body);
    }
}

#[test]
fn an_impossible_state_is_malformed() {
    let mut body = Answer::Stat {
        held: Held::Deleted,
        effort: 3,
    }
    .encode();
    body[2] = 3;
    assert_eq!(Answer::decode(&body), Err(Malformed::Field));
}
