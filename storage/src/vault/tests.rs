//! The vault: opens what it sealed and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use super::*;

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([1; 32])
}

proptest! {
    #[test]
    fn opens_what_it_sealed(key in any::<[u8; 32]>(), label in "[a-z/]{0,20}", text in prop::collection::vec(any::<u8>(), 0..300)) {
        let vault = Vault::new(key);
        let sealed = vault.seal(&label, &text, &mut rng());
        prop_assert_eq!(sealed.len(), text.len() + OVERHEAD);
        prop_assert_eq!(&vault.open(&label, &sealed).unwrap()[..], &text[..]);
    }

    #[test]
    fn garbage_does_not_open(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        prop_assert!(Vault::new([2; 32]).open("x", &bytes).is_err());
    }
}

#[test]
fn every_altered_byte_and_every_cut_is_noticed() {
    let vault = Vault::new([2; 32]);
    let sealed = vault.seal("label", b"text", &mut rng());
    for at in 0..sealed.len() {
        let mut other = sealed.clone();
        other[at] ^= 1;
        assert!(vault.open("label", &other).is_err());
        assert!(vault.open("label", &sealed[..at]).is_err());
    }
}

#[test]
fn key_and_label_are_bound() {
    let vault = Vault::new([2; 32]);
    let sealed = vault.seal("label", b"text", &mut rng());
    assert_eq!(vault.open("labe", &sealed), Err(VaultError::Sealed));
    assert_eq!(
        Vault::new([3; 32]).open("label", &sealed),
        Err(VaultError::Sealed)
    );
}

#[test]
fn a_newer_version_says_so() {
    let vault = Vault::new([2; 32]);
    let mut sealed = vault.seal("label", b"text", &mut rng());
    sealed[0] = 2;
    assert_eq!(
        vault.open("label", &sealed),
        Err(VaultError::Newer { found: 2 })
    );
    sealed[0] = 0;
    assert_eq!(vault.open("label", &sealed), Err(VaultError::Sealed));
}

#[test]
fn no_nonce_comes_twice_and_nothing_shows() {
    let (vault, mut rng) = (Vault::new([2; 32]), rng());
    let mut nonces = std::collections::BTreeSet::new();
    for _ in 0..1000 {
        assert!(nonces.insert(vault.seal("label", b"text", &mut rng)[1..25].to_vec()));
    }
    assert_eq!(format!("{vault:?}"), "Vault(..)");
}
