//! Contact addresses: what one person gives to another, as text, URI or QR code.
//!
//! bech32m over 70 bytes (86 with an invite secret): version, network tag, contact key, checkpoint,
//! effort. Reading one is where people mistype, so [`ContactAddress::parse`] says which character is
//! wrong and where. Not here: node identities and multiaddrs. Sources: BIP-173, BIP-350. SPEC §1.

use std::fmt;
use std::str::FromStr;

use bech32::primitives::decode::{CheckedHrpstring, UncheckedHrpstring};
use bech32::{Bech32m, Hrp};

use crate::session::identity::ContactKey;
use crate::session::prekey::array;
use crate::session::{NetworkBytes, derive};

/// Bytes of an address without invite secret.
pub const PLAIN_BYTES: usize = 1 + 4 + 32 + 32 + 1;
/// Bytes of an address with invite secret.
pub const INVITE_BYTES: usize = PLAIN_BYTES + 16;

const VERSION: u8 = 1;
const MAIN: &str = "mur";
const TEST: &str = "murt";
const SCHEME: &str = "murmuration:";
const TAG: &str = "murmuration/v1/network-tag";
const ALPHABET: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const CHECKSUM_LEN: usize = 6;

/// A contact's address.
#[derive(Clone, PartialEq, Eq)]
pub struct ContactAddress {
    testnet: bool,
    tag: [u8; 4],
    contact: ContactKey,
    checkpoint: [u8; 32],
    effort: u8,
    invite: Option<[u8; 16]>,
}

/// Why a text is not a usable address. Positions count characters of the address from 1, without
/// the `murmuration:` of a URI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Nothing given.
    #[error("the address is empty")]
    Empty,
    /// It does not begin like an address.
    #[error("an address begins with mur1 or murt1, this begins with {found:?}")]
    Prefix {
        /// What stands there instead.
        found: String,
    },
    /// A character that no address contains.
    #[error("{found:?} at position {position} can't be in an address{}", likely(*.expected))]
    Foreign {
        /// The character.
        found: char,
        /// Where, from 1.
        position: usize,
        /// What makes the checksum right, if one character does.
        expected: Option<char>,
    },
    /// Upper and lower case mixed.
    #[error("{found:?} at position {position}: an address is all lower or all upper case")]
    MixedCase {
        /// The first character in the other case.
        found: char,
        /// Where, from 1.
        position: usize,
    },
    /// One character is mistyped.
    #[error("{found:?} at position {position} is probably wrong{}", likely(Some(*.expected)))]
    Mistyped {
        /// The character.
        found: char,
        /// Where, from 1.
        position: usize,
        /// What makes the checksum right.
        expected: char,
    },
    /// More than one character is wrong.
    #[error("the checksum fails: more than one character is wrong, or their order")]
    Checksum,
    /// Characters missing or too many.
    #[error("the address has {found} characters instead of {expected}: {}", length_hint(*.found, *.expected))]
    Length {
        /// Characters given.
        found: usize,
        /// The nearest right number.
        expected: usize,
    },
    /// Made by a newer program.
    #[error("the address has version {0}; this program knows version 1")]
    Version(u8),
    /// The key in it is not a key.
    #[error("the address has a right checksum but no usable key")]
    Key,
    /// It belongs to another network.
    #[error("the address belongs to another network ({})", network_kind(*.testnet, .tag))]
    WrongNetwork {
        /// Whether it is a test network's.
        testnet: bool,
        /// The network tag in it.
        tag: [u8; 4],
    },
}

impl ContactAddress {
    /// An address for `contact` on `network`. `testnet` chooses `murt1…` over `mur1…`; `checkpoint`
    /// is a recent directory root for newcomers; `effort` the proof-of-work bits a hello needs.
    #[must_use]
    pub fn new(
        network: &NetworkBytes,
        testnet: bool,
        contact: ContactKey,
        checkpoint: [u8; 32],
        effort: u8,
        invite: Option<[u8; 16]>,
    ) -> Self {
        Self {
            testnet,
            tag: network_tag(network),
            contact,
            checkpoint,
            effort,
            invite,
        }
    }

    /// Reads an address as typed, pasted or scanned: text or `murmuration:` URI, either case,
    /// surrounding space ignored.
    ///
    /// # Errors
    /// [`AddressError`] says what is wrong and where.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let text = match text.get(..SCHEME.len()) {
            Some(scheme) if scheme.eq_ignore_ascii_case(SCHEME) => &text[SCHEME.len()..],
            _ => text,
        };
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        let (testnet, data_at) = prefix(text)?;
        check_case(text)?;
        check_characters(text, data_at)?;
        check_length(text, data_at)?;
        let checked = CheckedHrpstring::new::<Bech32m>(text).map_err(|_| locate(text, data_at))?;
        let bytes: Vec<u8> = checked.byte_iter().collect();
        let version = bytes.first().copied().unwrap_or(0);
        if version != VERSION {
            return Err(AddressError::Version(version));
        }
        let address = match bytes.len() {
            PLAIN_BYTES => Self::from_plain_bytes(&bytes, testnet),
            INVITE_BYTES => {
                Self::from_plain_bytes(&bytes[..PLAIN_BYTES], testnet).map(|address| Self {
                    invite: Some(array(&bytes[PLAIN_BYTES..])),
                    ..address
                })
            }
            _ => None,
        }
        .ok_or(AddressError::Key)?;
        // Unused bits of the last character are not bytes: without this two texts were one address.
        if address.to_string() == text.to_ascii_lowercase() {
            Ok(address)
        } else {
            Err(AddressError::Checksum)
        }
    }

    /// Whether the address belongs to `network`.
    ///
    /// # Errors
    /// [`AddressError::WrongNetwork`].
    pub fn check_network(&self, network: &NetworkBytes) -> Result<(), AddressError> {
        if self.tag == network_tag(network) {
            Ok(())
        } else {
            Err(AddressError::WrongNetwork {
                testnet: self.testnet,
                tag: self.tag,
            })
        }
    }

    /// As `murmuration:` URI.
    #[must_use]
    pub fn to_uri(&self) -> String {
        format!("{SCHEME}{self}")
    }

    /// The contact key.
    #[must_use]
    pub const fn contact(&self) -> ContactKey {
        self.contact
    }

    /// A directory root the owner vouched for when it made the address.
    #[must_use]
    pub const fn checkpoint(&self) -> &[u8; 32] {
        &self.checkpoint
    }

    /// Proof-of-work bits the owner asks of a hello.
    #[must_use]
    pub const fn effort(&self) -> u8 {
        self.effort
    }

    /// The invite secret.
    #[must_use]
    pub const fn invite(&self) -> Option<[u8; 16]> {
        self.invite
    }

    /// Whether it is written `murt1…`.
    #[must_use]
    pub const fn is_testnet(&self) -> bool {
        self.testnet
    }

    /// The 70 bytes without invite secret.
    #[must_use]
    pub fn to_plain_bytes(&self) -> [u8; PLAIN_BYTES] {
        let mut out = [0; PLAIN_BYTES];
        out[0] = VERSION;
        out[1..5].copy_from_slice(&self.tag);
        out[5..37].copy_from_slice(self.contact.as_bytes());
        out[37..69].copy_from_slice(&self.checkpoint);
        out[69] = self.effort;
        out
    }

    /// From the 70 bytes without invite secret.
    #[must_use]
    pub fn from_plain_bytes(bytes: &[u8], testnet: bool) -> Option<Self> {
        if bytes.len() != PLAIN_BYTES || bytes[0] != VERSION {
            return None;
        }
        Some(Self {
            testnet,
            tag: array(&bytes[1..5]),
            contact: ContactKey::from_bytes(array(&bytes[5..37]))?,
            checkpoint: array(&bytes[37..69]),
            effort: bytes[69],
            invite: None,
        })
    }
}

impl fmt::Display for ContactAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hrp = Hrp::parse(if self.testnet { TEST } else { MAIN }).map_err(|_| fmt::Error)?;
        let mut bytes = self.to_plain_bytes().to_vec();
        bytes.extend(self.invite.iter().flatten());
        bech32::encode_to_fmt::<Bech32m, _>(f, hrp, &bytes).map_err(|_| fmt::Error)
    }
}

impl fmt::Debug for ContactAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An address opens its owner's inbox: not for logs.
        f.debug_struct("ContactAddress")
            .field("testnet", &self.testnet)
            .field("contact", &self.contact)
            .field("invite", &self.invite.map(|_| "…"))
            .finish_non_exhaustive()
    }
}

impl FromStr for ContactAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

/// The four bytes by which an address names its network.
#[must_use]
pub fn network_tag(network: &NetworkBytes) -> [u8; 4] {
    array(&derive(TAG, &[network])[..4])
}

/// Which network kind, and where the data begins (in characters; the prefix is ASCII).
fn prefix(text: &str) -> Result<(bool, usize), AddressError> {
    for (hrp, testnet) in [(TEST, true), (MAIN, false)] {
        let starts = text
            .get(..hrp.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(hrp));
        if starts && text[hrp.len()..].starts_with('1') {
            return Ok((testnet, hrp.len() + 1));
        }
    }
    Err(AddressError::Prefix {
        found: text.chars().take(5).collect(),
    })
}

fn check_case(text: &str) -> Result<(), AddressError> {
    let mut letters = text
        .chars()
        .enumerate()
        .filter(|(_, c)| c.is_ascii_alphabetic());
    let upper = letters.next().is_some_and(|(_, c)| c.is_ascii_uppercase());
    match letters.find(|(_, c)| c.is_ascii_uppercase() != upper) {
        Some((at, found)) => Err(AddressError::MixedCase {
            found,
            position: at + 1,
        }),
        None => Ok(()),
    }
}

fn check_characters(text: &str, data_at: usize) -> Result<(), AddressError> {
    let foreign = |c: char| !ALPHABET.contains(c.to_ascii_lowercase());
    let Some((at, found)) = text
        .chars()
        .enumerate()
        .skip(data_at)
        .find(|(_, c)| foreign(*c))
    else {
        return Ok(());
    };
    let mut chars: Vec<char> = text.to_ascii_lowercase().chars().collect();
    Err(AddressError::Foreign {
        found,
        position: at + 1,
        expected: repair(&mut chars, at),
    })
}

fn check_length(text: &str, data_at: usize) -> Result<(), AddressError> {
    let right = |bytes: usize| data_at + (bytes * 8).div_ceil(5) + CHECKSUM_LEN;
    let (plain, invite) = (right(PLAIN_BYTES), right(INVITE_BYTES));
    let found = text.chars().count();
    if found == plain || found == invite {
        return Ok(());
    }
    let expected = if found.abs_diff(plain) <= found.abs_diff(invite) {
        plain
    } else {
        invite
    };
    Err(AddressError::Length { found, expected })
}

/// Finds the one character whose replacement makes the checksum right. bech32's code has distance
/// 4 or more at this length, so there is at most one such place: at most 145 × 31 trials.
fn locate(text: &str, data_at: usize) -> AddressError {
    let mut chars: Vec<char> = text.to_ascii_lowercase().chars().collect();
    for at in data_at..chars.len() {
        let found = text.chars().nth(at).unwrap_or_default();
        if let Some(expected) = repair(&mut chars, at) {
            let upper = found.is_ascii_uppercase();
            let expected = if upper {
                expected.to_ascii_uppercase()
            } else {
                expected
            };
            return AddressError::Mistyped {
                found,
                position: at + 1,
                expected,
            };
        }
    }
    AddressError::Checksum
}

/// Tries every character at one place; leaves the text as it was.
fn repair(chars: &mut [char], at: usize) -> Option<char> {
    let before = chars[at];
    let found = ALPHABET.chars().filter(|c| *c != before).find(|candidate| {
        chars[at] = *candidate;
        let text: String = chars.iter().collect();
        UncheckedHrpstring::new(&text).is_ok_and(|parsed| parsed.has_valid_checksum::<Bech32m>())
    });
    chars[at] = before;
    found
}

fn likely(expected: Option<char>) -> String {
    expected
        .map(|c| format!("; did you mean {c:?}?"))
        .unwrap_or_default()
}

fn length_hint(found: usize, expected: usize) -> String {
    if found < expected {
        format!("{} missing", expected - found)
    } else {
        format!("{} too many", found - expected)
    }
}

fn network_kind(testnet: bool, tag: &[u8; 4]) -> String {
    let kind = if testnet {
        "a test network"
    } else {
        "the main network"
    };
    format!(
        "{kind}, tag {:02x}{:02x}{:02x}{:02x}",
        tag[0], tag[1], tag[2], tag[3]
    )
}

#[cfg(test)]
mod tests;
