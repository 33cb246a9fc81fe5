//! What a mistyped, foreign or damaged address says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::session::identity::ContactSecret;

const NETWORK: NetworkBytes = [7; 32];

fn address(invite: Option<[u8; 16]>) -> ContactAddress {
    let key = ContactSecret::from_bytes([3; 32]).public();
    ContactAddress::new(&NETWORK, true, key, [5; 32], 12, invite)
}

#[test]
fn round_trip_in_every_form() {
    for invite in [None, Some([9; 16])] {
        let address = address(invite);
        let text = address.to_string();
        assert_eq!(text.len(), if invite.is_some() { 149 } else { 123 });
        assert!(text.starts_with("murt1"));
        for form in [
            text.clone(),
            format!("  {text}\n"),
            address.to_uri(),
            text.to_ascii_uppercase(),
            address.to_uri().to_ascii_uppercase(),
        ] {
            assert_eq!(ContactAddress::parse(&form).unwrap(), address, "{form}");
        }
        address.check_network(&NETWORK).unwrap();
    }
    let main = ContactAddress {
        testnet: false,
        ..address(None)
    };
    assert!(main.to_string().starts_with("mur1"));
    assert_eq!(ContactAddress::parse(&main.to_string()).unwrap(), main);
}

#[test]
fn every_single_substitution_is_named_with_its_place() {
    let text = address(None).to_string();
    for at in 5..text.len() {
        let mut chars: Vec<char> = text.chars().collect();
        let right = chars[at];
        let wrong = ALPHABET
            .chars()
            .find(|c| *c != right && !(*c as usize + at).is_multiple_of(3))
            .unwrap();
        chars[at] = wrong;
        let typed: String = chars.into_iter().collect();
        let expected = AddressError::Mistyped {
            found: wrong,
            position: at + 1,
            expected: right,
        };
        assert_eq!(ContactAddress::parse(&typed), Err(expected));
    }
    let mut upper: Vec<char> = text.to_ascii_uppercase().chars().collect();
    let right = upper[20];
    upper[20] = if right == 'Q' { 'P' } else { 'Q' };
    let error = ContactAddress::parse(&upper.iter().collect::<String>()).unwrap_err();
    assert!(
        matches!(error, AddressError::Mistyped { position: 21, expected, .. } if expected == right)
    );
}

#[test]
fn a_character_no_address_has_is_named_with_the_likely_one() {
    let text = address(None).to_string();
    let mut chars: Vec<char> = text.chars().collect();
    let right = chars[40];
    chars[40] = 'b';
    let error = ContactAddress::parse(&chars.iter().collect::<String>()).unwrap_err();
    let expected = AddressError::Foreign {
        found: 'b',
        position: 41,
        expected: Some(right),
    };
    assert_eq!(error, expected);
    assert_eq!(
        error.to_string(),
        format!("'b' at position 41 can't be in an address; did you mean {right:?}?")
    );
    // Not even ASCII: still a place, never a panic.
    chars[40] = 'ä';
    let error = ContactAddress::parse(&chars.iter().collect::<String>()).unwrap_err();
    assert!(matches!(
        error,
        AddressError::Foreign {
            found: 'ä',
            position: 41,
            ..
        }
    ));
}

#[test]
fn other_mistakes_have_their_own_words() {
    let text = address(None).to_string();
    assert_eq!(ContactAddress::parse("  "), Err(AddressError::Empty));
    assert!(matches!(
        ContactAddress::parse("bc1qqqq"),
        Err(AddressError::Prefix { .. })
    ));
    assert!(matches!(
        ContactAddress::parse("ä"),
        Err(AddressError::Prefix { .. })
    ));
    let short = AddressError::Length {
        found: 122,
        expected: 123,
    };
    assert_eq!(ContactAddress::parse(&text[..122]), Err(short.clone()));
    assert!(short.to_string().ends_with("1 missing"));
    assert!(matches!(
        ContactAddress::parse(&format!("{text}q")),
        Err(AddressError::Length {
            found: 124,
            expected: 123
        })
    ));
    let mut mixed = text.clone().into_bytes();
    let at = (10..mixed.len())
        .find(|at| mixed[*at].is_ascii_alphabetic())
        .unwrap();
    mixed[at] = mixed[at].to_ascii_uppercase();
    let mixed = String::from_utf8(mixed).unwrap();
    assert!(
        matches!(ContactAddress::parse(&mixed), Err(AddressError::MixedCase { position, .. }) if position == at + 1)
    );
    let mut swapped: Vec<char> = text.chars().collect();
    let at = (20..60).find(|at| swapped[*at] != swapped[at + 1]).unwrap();
    swapped.swap(at, at + 1);
    assert_eq!(
        ContactAddress::parse(&swapped.iter().collect::<String>()),
        Err(AddressError::Checksum)
    );
}

#[test]
fn wrong_network_version_and_key() {
    let address = address(None);
    let other = address.check_network(&[8; 32]).unwrap_err();
    assert!(other.to_string().contains("another network"));
    let encode =
        |bytes: &[u8]| bech32::encode::<Bech32m>(Hrp::parse(TEST).unwrap(), bytes).unwrap();
    let mut bytes = address.to_plain_bytes();
    bytes[0] = 2;
    assert_eq!(
        ContactAddress::parse(&encode(&bytes)),
        Err(AddressError::Version(2))
    );
    let mut bytes = address.to_plain_bytes();
    // The identity point: small order, would make every blinded key the same.
    bytes[5..37].copy_from_slice(&[
        1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0,
    ]);
    assert_eq!(
        ContactAddress::parse(&encode(&bytes)),
        Err(AddressError::Key)
    );
    // Same bytes under the older checksum: not an address.
    let old =
        bech32::encode::<bech32::Bech32>(Hrp::parse(TEST).unwrap(), &address.to_plain_bytes());
    assert!(ContactAddress::parse(&old.unwrap()).is_err());
}

#[test]
fn debug_keeps_the_address_out_of_logs() {
    let address = address(Some([9; 16]));
    let debug = format!("{address:?}");
    assert!(
        !debug.contains(&address.to_string()) && !debug.contains("9, 9"),
        "{debug}"
    );
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in ".{0,200}", tail in "[qpzry9x8gf2tvdw0s3jn54khce6mua7l]{100,160}") {
        let _ = ContactAddress::parse(&text);
        let _ = ContactAddress::parse(&format!("murt1{tail}"));
        let _ = ContactAddress::parse(&format!("murmuration:{text}"));
    }
}
