//! Hellos: both sides agree, and nothing else gets through. Prekey bundles too, since one needs the
//! other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;
use crate::session::prekey::PrekeyError;

pub(crate) const NETWORK: NetworkBytes = [1; 32];
pub(crate) const DAY_MS: u64 = 86_400_000;
pub(crate) const DAY: Day = 20_000;
pub(crate) const NOW: u64 = DAY as u64 * DAY_MS + 3_600_000;

pub(crate) struct Party {
    pub(crate) secret: ContactSecret,
    pub(crate) address: ContactAddress,
    pub(crate) prekey: PrekeySecret,
}

pub(crate) fn party(seed: u8, invite: Option<[u8; 16]>) -> Party {
    let secret = ContactSecret::from_bytes([seed; 32]);
    let mut rng = ChaCha20Rng::from_seed([seed ^ 0x55; 32]);
    let prekey = PrekeySecret::generate(DAY, NOW + DAY_MS, &mut rng);
    let address = ContactAddress::new(&NETWORK, true, secret.public(), [seed; 32], 8, invite);
    Party {
        secret,
        address,
        prekey,
    }
}

pub(crate) fn greet(from: &Party, to: &Party, seed: u8) -> HelloOut {
    let mut rng = ChaCha20Rng::from_seed([seed; 32]);
    let sealed = to.prekey.seal(&NETWORK, &to.secret, &mut rng);
    let bundle = PrekeyBundle::open(&NETWORK, &to.secret.public(), DAY, &sealed, NOW).unwrap();
    let (me, own) = (&from.secret, &from.address);
    initiate(&NETWORK, me, own, &to.address, &bundle, DAY, NOW, &mut rng).unwrap()
}

pub(crate) fn answer(to: &Party, hello: &HelloOut) -> Result<HelloIn, HelloError> {
    respond(
        &NETWORK,
        &to.secret,
        std::slice::from_ref(&to.prekey),
        DAY,
        DAY_MS,
        &hello.entries[0],
    )
}

#[test]
fn both_sides_hold_the_same_secrets() {
    let (a, b) = (party(10, None), party(11, Some([4; 16])));
    let mut out = greet(&a, &b, 1);
    assert_eq!(out.entries.len(), 1);
    let mut back = answer(&b, &out).unwrap();
    assert_eq!(
        (&back.from, back.sent_at, back.invite),
        (&a.address, NOW, Some([4; 16]))
    );
    let (ours, theirs) = (&mut out.secrets, &mut back.secrets);
    assert_eq!(
        (ours.id, ours.role, theirs.role),
        (theirs.id, Role::Initiator, Role::Responder)
    );
    assert_eq!(
        (ours.peer, theirs.peer),
        (b.secret.public(), a.secret.public())
    );
    assert_eq!(
        (&*ours.out_root, &*ours.in_root),
        (&*theirs.in_root, &*theirs.out_root)
    );
    assert_ne!(ours.out_root, ours.in_root);
    assert_eq!(ours.check_key, theirs.check_key);
    // Either may speak first.
    let text = theirs.ratchet.encrypt(b"welcome").unwrap();
    assert_eq!(ours.ratchet.decrypt(&text).unwrap(), b"welcome");
    let text = ours.ratchet.encrypt(b"thanks").unwrap();
    assert_eq!(theirs.ratchet.decrypt(&text).unwrap(), b"thanks");
}

#[test]
fn any_altered_byte_is_refused() {
    let (a, b) = (party(12, None), party(13, None));
    let out = greet(&a, &b, 2);
    for at in (0..SEALED_LEN).step_by(37).chain([SEALED_LEN - 1]) {
        let mut bad = greet(&a, &b, 2);
        bad.entries[0][at] ^= 0x10;
        assert_eq!(
            answer(&b, &bad).unwrap_err(),
            HelloError::Unreadable,
            "byte {at}"
        );
    }
    answer(&b, &out).unwrap();
}

/// Whoever knows the address can open the outer seal: what is inside must hold by itself.
#[test]
fn altering_inside_the_outer_seal_is_refused() {
    let (a, b) = (party(14, None), party(15, None));
    let out = greet(&a, &b, 3);
    let key = outer_key(&NETWORK, &b.secret.public(), DAY);
    let plain = open_for_address(&key, &out.entries[0]).unwrap();
    let mut rng = ChaCha20Rng::from_seed([0; 32]);
    for at in
        (0..PLAIN_LEN)
            .step_by(29)
            .chain([0, EPHEMERAL_AT, KEM_AT, IDENTITY_AT, BODY_AT, HELLO_LEN])
    {
        let mut changed = plain.clone();
        changed[at] ^= 1;
        let hello = HelloOut {
            entries: vec![seal_for_address(&key, &changed, &mut rng)],
            ..greet(&a, &b, 3)
        };
        let error = answer(&b, &hello).unwrap_err();
        let expected = if (1..EPHEMERAL_AT).contains(&at) {
            HelloError::UnknownPrekey
        } else {
            HelloError::Unreadable
        };
        assert_eq!(error, expected, "byte {at}");
    }
    // A small-order ephemeral key would fix the agreements.
    let mut weak = plain.clone();
    weak[EPHEMERAL_AT..KEM_AT].fill(0);
    let hello = HelloOut {
        entries: vec![seal_for_address(&key, &weak, &mut rng)],
        ..greet(&a, &b, 3)
    };
    assert_eq!(answer(&b, &hello).unwrap_err(), HelloError::Unreadable);
}

#[test]
fn wrong_day_network_receiver_and_keys() {
    let (a, b, c) = (party(16, None), party(17, None), party(18, None));
    let out = greet(&a, &b, 4);
    let entry = &out.entries[0];
    let keys = std::slice::from_ref(&b.prekey);
    let unreadable = HelloError::Unreadable;
    assert_eq!(
        respond(&NETWORK, &b.secret, keys, DAY + 1, DAY_MS, entry).unwrap_err(),
        unreadable
    );
    assert_eq!(
        respond(&[2; 32], &b.secret, keys, DAY, DAY_MS, entry).unwrap_err(),
        unreadable
    );
    assert_eq!(
        respond(&NETWORK, &c.secret, keys, DAY, DAY_MS, entry).unwrap_err(),
        unreadable
    );
    assert_eq!(
        respond(
            &NETWORK,
            &b.secret,
            std::slice::from_ref(&c.prekey),
            DAY,
            DAY_MS,
            entry
        )
        .unwrap_err(),
        HelloError::UnknownPrekey
    );
    assert_eq!(
        respond(&NETWORK, &b.secret, &[], DAY, DAY_MS, entry).unwrap_err(),
        HelloError::UnknownPrekey
    );
    let mut rng = ChaCha20Rng::from_seed([0; 32]);
    let sealed = a.prekey.seal(&NETWORK, &a.secret, &mut rng);
    let own = PrekeyBundle::open(&NETWORK, &a.secret.public(), DAY, &sealed, NOW).unwrap();
    let greeting = initiate(
        &NETWORK, &a.secret, &a.address, &a.address, &own, DAY, NOW, &mut rng,
    );
    assert_eq!(greeting.unwrap_err(), HelloError::OwnAddress);
}

#[test]
fn a_hello_that_lies_about_its_time_is_refused() {
    let (a, b) = (party(19, None), party(20, None));
    let mut rng = ChaCha20Rng::from_seed([5; 32]);
    let sealed = b.prekey.seal(&NETWORK, &b.secret, &mut rng);
    let bundle = PrekeyBundle::open(&NETWORK, &b.secret.public(), DAY, &sealed, NOW).unwrap();
    for (now, fits) in [
        (NOW - DAY_MS, true),
        (NOW + 3 * DAY_MS, false),
        (0, false),
        (u64::MAX, false),
    ] {
        let out = initiate(
            &NETWORK, &a.secret, &a.address, &b.address, &bundle, DAY, now, &mut rng,
        )
        .unwrap();
        assert_eq!(answer(&b, &out).is_ok(), fits, "{now}");
    }
}

#[test]
fn bundles_open_only_as_made() {
    let (a, b) = (party(21, None), party(22, None));
    let mut rng = ChaCha20Rng::from_seed([6; 32]);
    let sealed = a.prekey.seal(&NETWORK, &a.secret, &mut rng);
    let owner = a.secret.public();
    let open = |network, owner, day, now| {
        PrekeyBundle::open(network, owner, day, &sealed, now).map(|_| ())
    };
    assert_eq!(open(&NETWORK, &owner, DAY, NOW), Ok(()));
    assert_eq!(open(&NETWORK, &owner, DAY, NOW + DAY_MS), Ok(()));
    assert_eq!(
        open(&NETWORK, &owner, DAY, NOW + DAY_MS + 1),
        Err(PrekeyError::Expired)
    );
    assert_eq!(
        open(&NETWORK, &owner, DAY + 1, NOW),
        Err(PrekeyError::Unreadable)
    );
    assert_eq!(
        open(&[2; 32], &owner, DAY, NOW),
        Err(PrekeyError::Unreadable)
    );
    assert_eq!(
        open(&NETWORK, &b.secret.public(), DAY, NOW),
        Err(PrekeyError::Unreadable)
    );
    let mut bad = sealed.clone();
    bad[900] ^= 1;
    assert!(PrekeyBundle::open(&NETWORK, &owner, DAY, &bad, NOW).is_err());
    // Somebody else who has the address seals own keys for it: the signature gives them away.
    let forged = {
        let plain = open_for_address(
            &derive(
                "murmuration/v1/prekey-seal",
                &[&NETWORK, owner.as_bytes(), &DAY.to_le_bytes()],
            ),
            &sealed,
        );
        let mut plain = plain.unwrap();
        plain[20] ^= 1;
        seal_for_address(
            &derive(
                "murmuration/v1/prekey-seal",
                &[&NETWORK, owner.as_bytes(), &DAY.to_le_bytes()],
            ),
            &plain,
            &mut rng,
        )
    };
    assert_eq!(
        PrekeyBundle::open(&NETWORK, &owner, DAY, &forged, NOW).unwrap_err(),
        PrekeyError::Unreadable
    );
    let saved = PrekeySecret::from_bytes(&a.prekey.to_bytes());
    assert_eq!(
        (saved.id(), saved.day(), saved.valid_until()),
        (a.prekey.id(), DAY, NOW + DAY_MS)
    );
}

#[test]
fn debug_shows_no_secret() {
    let (a, b) = (party(23, None), party(24, None));
    let debug = format!("{:?}", greet(&a, &b, 7).secrets);
    assert_eq!(debug, "HelloSecrets { role: Initiator, .. }");
    assert_eq!(
        format!("{:?}", a.prekey),
        format!(
            "PrekeySecret {{ day: 20000, valid_until: {}, .. }}",
            NOW + DAY_MS
        )
    );
}
