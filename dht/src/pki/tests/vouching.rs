//! What is forwarded and what is not: a node answers for every record of a bundle it passes on, so it passes on only what it
//! has checked.

use super::*;

/// What the node gossips in the seconds after `now`, record by record.
fn relayed(pki: &mut Pki, now: Moment) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for step in 0..8 {
        pki.handle_timeout(now + Span::from_millis(500 * step));
        while let Some(bytes) = pki.poll_bundle() {
            for record in bundle::decode(&bytes).unwrap().1 {
                out.push(match record {
                    Record::Descriptor(bytes) => bytes.to_vec(),
                    // Made here, of what was checked: it stands for itself.
                    Record::Fault(_) => continue,
                    Record::Beat(bytes) => bytes.to_vec(),
                    Record::Proposal(bytes) => bytes.to_vec(),
                    Record::Vote(bytes) => bytes.to_vec(),
                });
            }
        }
    }
    out
}

fn forged(beat: &Beat) -> [u8; BEAT_LEN] {
    let mut bytes = *beat.as_bytes();
    bytes[BEAT_LEN - 1] ^= 1;
    bytes
}

/// The bundle of an attacker: the good records of `node`, then one more.
fn spoiled(node: &TestNode, last: Record<'_>) -> Vec<u8> {
    let (descriptor, beat) = node.records(EPOCH);
    bundle(&[
        Record::Descriptor(descriptor.as_bytes()),
        Record::Beat(beat.as_bytes()),
        last,
    ])
}

/// A node that gets `bytes` forwards them only if any other node, too, would find nothing to blame in them; and what was good
/// in them reaches others in any case.
fn assert_not_vouched_for(mut pki: Pki, bytes: &[u8], good: &TestNode) {
    let now = start();
    assert_eq!(pki.handle_bundle(now, bytes), Verdict::Ignore);
    let out = relayed(&mut pki, now);
    let (descriptor, beat) = good.records(EPOCH);
    assert!(out.contains(&descriptor.as_bytes().to_vec()));
    assert!(out.contains(&beat.as_bytes().to_vec()));
    let mut other = super::pki(Caps::default());
    for record in &out {
        let record = match <&[u8; BEAT_LEN]>::try_from(record.as_slice()) {
            Ok(beat) => Record::Beat(beat),
            Err(_) => Record::Descriptor(record),
        };
        assert_ne!(
            other.handle_bundle(now, &bundle(&[record])),
            Verdict::Reject
        );
    }
}

#[test]
fn a_forged_beat_of_a_stranger_is_not_forwarded_with_the_rest() {
    let (good, stranger) = (TestNode::new(&params(), 1), TestNode::new(&params(), 2));
    let bytes = spoiled(&good, Record::Beat(&forged(&stranger.beat(EPOCH, 0))));
    assert_not_vouched_for(pki(Caps::default()), &bytes, &good);
    // Who knows the stranger would have blamed whoever forwarded it.
    let mut knows = pki(Caps::default());
    knows.handle_bundle(start(), &introduce(&stranger, start(), &[]));
    assert_eq!(knows.handle_bundle(start(), &bytes), Verdict::Reject);
    // And yet what stood before the forgery isn't lost.
    let out = relayed(&mut knows, start());
    assert!(out.contains(&good.beat(EPOCH, 0).as_bytes().to_vec()));
}

#[test]
fn another_signature_under_known_words_is_not_forwarded() {
    let (good, known) = (TestNode::new(&params(), 1), TestNode::new(&params(), 2));
    let introduced = || {
        let mut pki = pki(Caps::default());
        pki.handle_bundle(
            start(),
            &introduce(&known, start(), &[known.beat(EPOCH, 0)]),
        );
        pki
    };
    let beat = forged(&known.beat(EPOCH, 0));
    assert_not_vouched_for(introduced(), &spoiled(&good, Record::Beat(&beat)), &good);
    let mut descriptor = known.descriptor(start(), 1).as_bytes().to_vec();
    *descriptor.last_mut().unwrap() ^= 1;
    let bytes = spoiled(&good, Record::Descriptor(&descriptor));
    assert_not_vouched_for(introduced(), &bytes, &good);
}

#[test]
fn what_is_dropped_before_its_signature_is_looked_at_is_not_forwarded() {
    let (good, known) = (TestNode::new(&params(), 1), TestNode::new(&params(), 2));
    let mut pki = pki(Caps::default());
    let beats = [known.beat(EPOCH, 0)];
    pki.handle_bundle(start(), &introduce(&known, start(), &beats));
    for variant in 1..3 {
        let second = known.beat(EPOCH, variant);
        pki.handle_bundle(start(), &bundle(&[Record::Beat(second.as_bytes())]));
    }
    // Of a proven equivocator nothing more is checked: a forgery in its name costs us nothing, and must cost nobody else.
    let bytes = spoiled(&good, Record::Beat(&forged(&known.beat(EPOCH, 5))));
    assert_not_vouched_for(pki, &bytes, &good);
}

#[test]
fn known_records_beside_new_ones_are_forwarded_as_they_are() {
    let (new, known) = (TestNode::new(&params(), 1), TestNode::new(&params(), 2));
    let mut pki = pki(Caps::default());
    let beats = [known.beat(EPOCH, 0)];
    pki.handle_bundle(start(), &introduce(&known, start(), &beats));
    let bytes = spoiled(&new, Record::Beat(beats[0].as_bytes()));
    assert_eq!(pki.handle_bundle(start(), &bytes), Verdict::Accept);
    assert!(relayed(&mut pki, start()).is_empty(), "gossip forwards it");
}
