//! The router's NAT, switched on in the kernel's own words: a table, a chain and one rule of nf_tables in one netlink batch.
//!
//! What `nft add table ip nat; nft add chain ip nat out '{ type nat hook postrouting priority 100; }'; nft add rule ip nat out
//! masquerade` would do, without asking for that program. Numbers are those of linux/netfilter/nf_tables.h.

use std::io::{self, Read as _, Write as _};

use socket2::{Domain, Protocol, Socket, Type};

/// The kernel's sockets for talking to the kernel, and netfilter's among them.
const NETLINK: i32 = 16;
const NETFILTER: i32 = 12;
/// Netfilter's subsystem of tables, in the upper byte of a message type.
const TABLES: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = TABLES;
const NEW_CHAIN: u16 = TABLES | 3;
const NEW_RULE: u16 = TABLES | 6;
/// Request, acknowledge, create, append.
const REQUEST: u16 = 1;
const CREATE: u16 = 0x405;
const APPEND: u16 = 0xc05;
/// `NLMSG_ERROR`: the answer to each of the three; its code is 0 if all is well.
const ANSWER: u16 = 2;
const NESTED: u16 = 0x8000;
const IPV4: u8 = 2;
/// After routing, at the priority of source NAT.
const POSTROUTING: u32 = 4;
const PRIORITY: u32 = 100;

/// Masquerades everything that this network namespace forwards.
pub(super) fn switch_on() -> io::Result<()> {
    let hook = [
        attribute(1, &POSTROUTING.to_be_bytes()),
        attribute(2, &PRIORITY.to_be_bytes()),
    ];
    let chain = [
        attribute(1, b"nat\0"),
        attribute(3, b"out\0"),
        attribute(4 | NESTED, &hook.concat()),
        attribute(7, b"nat\0"),
    ];
    let masquerade = attribute(1 | NESTED, &attribute(1, b"masq\0"));
    let rule = [
        attribute(1, b"nat\0"),
        attribute(2, b"out\0"),
        attribute(4 | NESTED, &masquerade),
    ];
    let batch = [
        message(0, BATCH_BEGIN, REQUEST, 0, &[]),
        message(1, NEW_TABLE, CREATE, IPV4, &attribute(1, b"nat\0")),
        message(2, NEW_CHAIN, CREATE, IPV4, &chain.concat()),
        message(3, NEW_RULE, APPEND, IPV4, &rule.concat()),
        message(4, BATCH_END, REQUEST, 0, &[]),
    ];
    let kind = (Domain::from(NETLINK), Type::RAW, Protocol::from(NETFILTER));
    let mut socket = Socket::new(kind.0, kind.1, Some(kind.2))?;
    // A netlink socket without a peer talks to the kernel.
    socket.write_all(&batch.concat())?;
    let mut answers = 0;
    while answers < 3 {
        let mut room = [0; 8_192];
        let len = socket.read(&mut room)?;
        let mut left = &room[..len];
        while left.len() >= 20 {
            let len = u32::from_ne_bytes(left[..4].try_into().unwrap()) as usize;
            let kind = u16::from_ne_bytes(left[4..6].try_into().unwrap());
            let code = i32::from_ne_bytes(left[16..20].try_into().unwrap());
            if kind == ANSWER && code != 0 {
                return Err(io::Error::from_raw_os_error(-code));
            }
            answers += usize::from(kind == ANSWER);
            left = &left[len.next_multiple_of(4).min(left.len())..];
        }
    }
    Ok(())
}

/// Length, type, value, padding.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(4 + value.len()).unwrap();
    let mut out = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// A netlink header, netfilter's header, attributes.
fn message(number: u32, kind: u16, flags: u16, family: u8, attributes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(20 + attributes.len()).unwrap();
    let mut out = len.to_ne_bytes().to_vec();
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(&flags.to_ne_bytes());
    out.extend_from_slice(&number.to_ne_bytes());
    out.extend_from_slice(&[0; 4]);
    // A batch's frame names the subsystem; the messages in it need not.
    let subsystem = if family == 0 { TABLES >> 8 } else { 0 };
    out.extend_from_slice(&[family, 0]);
    out.extend_from_slice(&subsystem.to_be_bytes());
    out.extend_from_slice(attributes);
    out
}
