//! Stamps: work is found, bound to its subject, and dearer the fuller the holder is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

fn subject(n: u8) -> Subject {
    Subject::put_box(&[1; 32], &[n; 32], &[3; SEALED_LEN])
}

#[test]
fn a_proof_holds_for_its_effort_and_less() {
    for effort in [0, 1, 8, 12] {
        let proof = HashStamp.solve(&subject(1), effort, 77).unwrap();
        assert!((0..=effort).all(|less| HashStamp.holds(&subject(1), &proof, less)));
        assert!(!HashStamp.holds(&subject(1), &proof, 64));
    }
    assert_eq!(
        HashStamp.solve(&subject(1), HashStamp::MAX_EFFORT + 1, 0),
        None
    );
}

#[test]
fn a_proof_is_bound_to_its_subject_and_has_one_form() {
    let proof = HashStamp.solve(&subject(1), 14, 0).unwrap();
    assert!(!HashStamp.holds(&subject(2), &proof, 14));
    for at in 8..PROOF_LEN {
        let mut other = proof;
        other.0[at] = 1;
        assert!(!HashStamp.holds(&subject(1), &other, 0));
    }
}

#[test]
fn work_doubles_with_every_bit() {
    // Among 4,096 nonces about 4,096 / 2^effort hold; three standard deviations allowed.
    for effort in 0..8u8 {
        let nonce = |n: u64| {
            let mut proof = Proof::default();
            proof.0[..8].copy_from_slice(&n.to_le_bytes());
            proof
        };
        let hits = (0..4096)
            .filter(|n| HashStamp.holds(&subject(5), &nonce(*n), effort))
            .count() as f64;
        let mean = 4096.0 / f64::from(1u32 << effort);
        assert!(
            (hits - mean).abs() <= 3.0 * mean.sqrt(),
            "effort {effort}: {hits} of {mean}"
        );
    }
}

#[test]
fn subjects_differ_in_every_part() {
    let all = [
        Subject::put_box(&[1; 32], &[2; 32], &[3; SEALED_LEN]),
        Subject::put_box(&[9; 32], &[2; 32], &[3; SEALED_LEN]),
        Subject::put_box(&[1; 32], &[9; 32], &[3; SEALED_LEN]),
        Subject::put_box(&[1; 32], &[2; 32], &[9; SEALED_LEN]),
        Subject::put_inbox(&[1; 32], &[2; 32], &[3; SEALED_LEN]),
        Subject::put_prekey(&[1; 32], &[2; 32], &[3; SEALED_LEN]),
    ];
    for (n, one) in all.iter().enumerate() {
        assert!(all[n + 1..].iter().all(|other| other != one));
    }
}

#[test]
fn effort_steps_at_half_and_three_quarters() {
    let at = |used| effort_at(8, used, 100);
    assert_eq!(
        [at(0), at(49), at(50), at(74), at(75), at(100)],
        [8, 8, 9, 9, 10, 10]
    );
    assert_eq!(effort_at(255, 100, 100), 255);
    assert_eq!(effort_at(1, u64::MAX, u64::MAX), 3);
}
