//! Tests of the VRF: one output per key and input, and nothing else verifies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use proptest::prelude::*;

fn secret(n: u8) -> VrfSecret {
    VrfSecret::of_identity(&SigningKey::from_bytes(&[n; 32]))
}

#[test]
fn a_proof_holds_for_its_key_and_input_only() {
    let (one, two) = (secret(1), secret(2));
    let proof = one.prove(&[7; 32]);
    let output = proof.verify(&one.public(), &[7; 32]).unwrap();
    assert_eq!(output, proof.output_unchecked());
    assert_eq!(proof.verify(&two.public(), &[7; 32]), None);
    assert_eq!(proof.verify(&one.public(), &[8; 32]), None);
    assert_eq!(
        one.prove(&[7; 32]),
        proof,
        "a restored node proves the same"
    );
    assert_ne!(one.prove(&[8; 32]).output_unchecked(), output);
    assert_ne!(two.prove(&[7; 32]).output_unchecked(), output);
}

#[test]
fn every_flipped_bit_is_refused() {
    let key = secret(3);
    let proof = key.prove(&[1; 32]);
    for bit in 0..PROOF_LEN * 8 {
        let mut bytes = *proof.as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let flipped = Proof::from_bytes(bytes);
        assert_eq!(flipped.verify(&key.public(), &[1; 32]), None, "bit {bit}");
    }
}

/// A signer may choose its nonce, and so make many proofs; none has another output.
#[test]
fn another_nonce_gives_the_same_output() {
    let mut key = secret(4);
    let first = key.prove(&[1; 32]);
    key.nonce_key = [9; 32];
    let second = key.prove(&[1; 32]);
    assert_ne!(first, second);
    assert_eq!(
        first.verify(&key.public(), &[1; 32]),
        second.verify(&key.public(), &[1; 32])
    );
}

/// The exponent of Gamma must be the one of the key: a proof that is honest about another exponent fails.
#[test]
fn a_gamma_of_another_exponent_is_refused() {
    let (key, other) = (secret(5), secret(6));
    let base = hash_to_point(&key.public.bytes, &[1; 32]);
    let gamma = (base * other.scalar).compress().to_bytes();
    let nonce = Scalar::from(77u64);
    let commitments = [RistrettoPoint::mul_base(&nonce), base * nonce];
    let c = challenge(
        &key.public.bytes,
        &base.compress().to_bytes(),
        &gamma,
        &commitments,
    );
    for scalar in [key.scalar, other.scalar] {
        let s = nonce + challenge_scalar(&c) * scalar;
        let mut bytes = [0; PROOF_LEN];
        bytes[..32].copy_from_slice(&gamma);
        bytes[32..48].copy_from_slice(&c);
        bytes[48..].copy_from_slice(s.as_bytes());
        assert_eq!(Proof::from_bytes(bytes).verify(&key.public, &[1; 32]), None);
    }
}

#[test]
fn unusable_keys_are_refused() {
    assert!(VrfPublic::from_bytes(&[0; 32]).is_none(), "the identity");
    assert!(
        VrfPublic::from_bytes(&[0xff; 32]).is_none(),
        "not canonical"
    );
    let public = secret(1).public();
    assert_eq!(VrfPublic::from_bytes(&public.to_bytes()), Some(public));
}

#[test]
fn the_input_is_bound_to_network_seed_and_epoch() {
    let base = input(&NetworkId([0; 32]), &[0; 32], 0);
    assert_ne!(base, input(&NetworkId([1; 32]), &[0; 32], 0));
    assert_ne!(base, input(&NetworkId([0; 32]), &[1; 32], 0));
    assert_ne!(base, input(&NetworkId([0; 32]), &[0; 32], 1));
}

#[test]
fn the_secret_is_not_printed() {
    assert_eq!(format!("{:?}", secret(1)), "VrfSecret(…)");
}

proptest! {
    #[test]
    fn what_is_proved_verifies(key in any::<u8>(), input in any::<[u8; 32]>()) {
        let key = secret(key);
        let proof = key.prove(&input);
        prop_assert_eq!(proof.verify(&key.public(), &input), Some(proof.output_unchecked()));
    }

    #[test]
    fn random_bytes_never_verify(head in any::<[u8; 32]>(), mid in any::<[u8; 16]>(), tail in any::<[u8; 32]>()) {
        let mut bytes = [0; PROOF_LEN];
        bytes[..32].copy_from_slice(&head);
        bytes[32..48].copy_from_slice(&mid);
        bytes[48..].copy_from_slice(&tail);
        prop_assert_eq!(Proof::from_bytes(bytes).verify(&secret(1).public(), &[1; 32]), None);
        let _ = VrfPublic::from_bytes(&head);
    }
}
