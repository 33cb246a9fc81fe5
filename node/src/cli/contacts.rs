//! `address` and `contact`: who can be written to, and how to be found.

use std::time::Duration;

use super::print::{Out, harmless};
use super::shape::{Added, Address, Removed};
use super::{AddressArgs, ContactCommand};
use crate::api::{NewAddress, NewContact};
use crate::client::{Client, segment};
use crate::error::{Error, ErrorKind};
use crate::view::{AddressView, ContactView};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

const NO_WAIT: Duration = Duration::ZERO;

pub(super) async fn address(
    client: &Client,
    args: AddressArgs,
    out: &mut Out,
) -> Result<u8, Error> {
    let addresses: Vec<AddressView> = match args.new {
        Some(label) => vec![client.post("/addresses", &NewAddress { label }).await?],
        None => client.get("/addresses", NO_WAIT).await?,
    };
    let Some(first) = addresses.first() else {
        return Err(Error::new(
            ErrorKind::Internal,
            "the node has no address",
            "report this as a bug",
        ));
    };
    if out.is_json() {
        out.json(&Address {
            address: &first.address,
        })?;
        return Ok(0);
    }
    if let [only] = addresses.as_slice() {
        out.line(&only.address)?;
    } else {
        let rows: Vec<_> = addresses
            .iter()
            .map(|a| [harmless(&a.label), a.address.clone()])
            .collect();
        out.table(["LABEL", "ADDRESS"], &rows)?;
    }
    if args.qr {
        out.line(&qr(&first.address)?)?;
    }
    Ok(0)
}

pub(super) async fn contact(
    client: &Client,
    command: ContactCommand,
    out: &mut Out,
) -> Result<u8, Error> {
    match command {
        ContactCommand::Add { name, address } => {
            let contact: ContactView = client
                .post("/contacts", &NewContact { name, address })
                .await?;
            if out.is_json() {
                out.json(&Added {
                    name: &contact.name,
                    id: &contact.id,
                })?;
            } else {
                out.line(&format!(
                    "added {}; write with `murmur send {} TEXT`",
                    contact.name, contact.name
                ))?;
            }
        }
        ContactCommand::List => {
            let contacts: Vec<ContactView> = client.get("/contacts", NO_WAIT).await?;
            if out.is_json() {
                out.json(&contacts)?;
            } else if contacts.is_empty() {
                out.note("no contacts yet; add one with `murmur contact add NAME ADDRESS`");
            } else {
                let rows: Vec<_> = contacts
                    .into_iter()
                    .map(|c| [harmless(&c.name), c.state, c.id])
                    .collect();
                out.table(["NAME", "STATE", "ID"], &rows)?;
            }
        }
        ContactCommand::Rm { name } => {
            if let Err(error) = client
                .delete(&format!("/contacts/{}", segment(&name)))
                .await
            {
                return Err(with_suggestion(client, &name, error).await);
            }
            if out.is_json() {
                out.json(&Removed {
                    name: &name,
                    removed: true,
                })?;
            } else {
                out.line(&format!("removed {name}"))?;
            }
        }
    }
    Ok(0)
}

/// Where an unknown name is the trouble, the fix names the contacts that are spelled like it.
pub(super) async fn with_suggestion(client: &Client, name: &str, error: Error) -> Error {
    if error.code() != "not_found" {
        return error;
    }
    let Ok(contacts) = client.get::<Vec<ContactView>>("/contacts", NO_WAIT).await else {
        return error;
    };
    let near = near_names(name, contacts.into_iter().map(|contact| contact.name));
    match near.as_slice() {
        [] => error,
        names => {
            let names: Vec<String> = names
                .iter()
                .map(|name| format!("`{}`", harmless(name)))
                .collect();
            error.with_fix(format!(
                "did you mean {}? `murmur contact list` shows all",
                names.join(" or ")
            ))
        }
    }
}

/// At most three names that differ from `name` by case, by a few letters or by what follows it, nearest first.
fn near_names(name: &str, known: impl Iterator<Item = String>) -> Vec<String> {
    let wanted = name.to_lowercase();
    let allowed = 1 + wanted.chars().count() / 4;
    let mut near: Vec<(usize, String)> = known
        .filter_map(|candidate| {
            let lower = candidate.to_lowercase();
            let distance = distance(&wanted, &lower);
            let is_near = distance <= allowed || (!wanted.is_empty() && lower.starts_with(&wanted));
            is_near.then_some((distance, candidate))
        })
        .collect();
    near.sort();
    near.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Levenshtein's distance: letters to insert, remove or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

fn qr(address: &str) -> Result<String, Error> {
    let code = QrCode::new(address.as_bytes()).map_err(|error| {
        Error::new(
            ErrorKind::Internal,
            "the address doesn't fit a QR code",
            "copy it as text",
        )
        .with_source(error)
    })?;
    Ok(code.render::<Dense1x2>().build())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn near_names_come_nearest_first() {
        let known = || {
            ["alice", "Bob", "bobby", "carol", "alicia"]
                .map(str::to_owned)
                .into_iter()
        };
        assert_eq!(near_names("bob", known()), ["Bob", "bobby"]);
        assert_eq!(near_names("alicie", known()), ["alice", "alicia"]);
        assert_eq!(near_names("al", known()), ["alice", "alicia"]);
        assert!(near_names("zed", known()).is_empty());
        assert!(near_names("", known()).is_empty());
    }

    #[test]
    fn distance_is_symmetric_and_counts_letters() {
        for (a, b, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("kitten", "sitting", 3),
            ("größe", "grosse", 3),
        ] {
            assert_eq!(distance(a, b), expected);
            assert_eq!(distance(b, a), expected);
        }
    }
}
