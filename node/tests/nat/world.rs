//! Three network namespaces in a row: the internet (where the test runs), a router, a home behind it.
//!
//! ```text
//!   internet                    router                      home
//!   198.51.100.1 ── w0 | r1 ── 198.51.100.2
//!                               192.168.77.1 ── r0 | h0 ── 192.168.77.2
//! ```
//! The internet has no route to the home's network; the router masquerades what goes out.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::child::until;

/// Where everybody can be dialled. From a range for documentation: no machine of the real internet has it.
pub(super) const PUBLIC_IP: &str = "198.51.100.1";
const ROUTER_IP: &str = "198.51.100.2";
pub(super) const HOME_IP: &str = "192.168.77.2";
const GATEWAY_IP: &str = "192.168.77.1";

/// Tells a process of this very test where it is.
const VARIABLE: &str = "MURMURATION_NAT_PART";

/// The part that this process plays.
pub(super) enum Part {
    /// In the namespaces of whoever started the test.
    Outside,
    /// In namespaces of its own.
    Inside,
    /// In the router's, only to switch its NAT on.
    Router,
}

pub(super) fn part() -> Part {
    match std::env::var(VARIABLE).as_deref() {
        Ok("inside") => Part::Inside,
        Ok("router") => Part::Router,
        _ => Part::Outside,
    }
}

/// Runs the test `name` of this binary again in namespaces of its own, or says why that can't be.
pub(super) fn enter(name: &str) {
    if let Err(why) = possible() {
        // Past the harness, which keeps what a passing test prints to itself.
        let _ = writeln!(std::io::stderr(), "\nSKIPPED {name}: {why}\n");
        return;
    }
    let status = again(Command::new("unshare").args(["-Urn"]), name, "inside")
        .status()
        .unwrap();
    assert!(status.success(), "the test inside the namespaces: {status}");
}

/// This binary again, by another program.
fn again<'a>(by: &'a mut Command, name: &str, part: &str) -> &'a mut Command {
    by.arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(VARIABLE, part)
}

/// Whether namespaces can be made here, and the tools for it are there.
fn possible() -> Result<(), String> {
    for tool in ["unshare", "nsenter", "ip"] {
        let found = Command::new(tool).arg("--help").output();
        found.map_err(|error| format!("the program {tool} can't be run: {error}"))?;
    }
    let tried = Command::new("unshare")
        .args([
            "-Urn", "ip", "link", "add", "w0", "type", "veth", "peer", "name", "w1",
        ])
        .output()
        .map_err(|error| error.to_string())?;
    if tried.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&tried.stderr);
    Err(format!(
        "network namespaces are refused here: {}",
        said.trim()
    ))
}

/// The namespaces, as long as this lives.
pub(super) struct World {
    router: Child,
    home: Child,
}

impl World {
    /// Makes them around this process, which must be in namespaces of its own.
    pub(super) fn make(test: &str) -> Self {
        let world = Self {
            router: sleeper(),
            home: sleeper(),
        };
        let (router, home) = (world.router.id().to_string(), world.home.id().to_string());
        ip(&["link", "set", "lo", "up"]);
        ip(&[
            "link", "add", "w0", "type", "veth", "peer", "name", "r1", "netns", &router,
        ]);
        within(
            &router,
            &[
                "ip", "link", "add", "r0", "type", "veth", "peer", "name", "h0", "netns", &home,
            ],
        );
        ip(&["addr", "add", &format!("{PUBLIC_IP}/24"), "dev", "w0"]);
        ip(&["link", "set", "w0", "up"]);
        for (inside, address, device) in [
            (&router, ROUTER_IP, "r1"),
            (&router, GATEWAY_IP, "r0"),
            (&home, HOME_IP, "h0"),
        ] {
            within(inside, &["ip", "link", "set", "lo", "up"]);
            within(
                inside,
                &["ip", "addr", "add", &format!("{address}/24"), "dev", device],
            );
            within(inside, &["ip", "link", "set", device, "up"]);
        }
        within(&home, &["ip", "route", "add", "default", "via", GATEWAY_IP]);
        within(
            &router,
            &["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"],
        );
        let mut by = Command::new("nsenter");
        let status = again(by.args(["-t", &router, "-n"]), test, "router")
            .status()
            .unwrap();
        assert!(status.success(), "the router's NAT: {status}");
        world
    }

    /// What runs a program at home: itself, and what stands before the program's name.
    pub(super) fn at_home(&self) -> (&'static str, [String; 3]) {
        (
            "nsenter",
            ["-t".into(), self.home.id().to_string(), "-n".into()],
        )
    }

    /// Whether this TCP multiaddr of the home, or its port at the router, takes a connection from the internet.
    pub(super) fn can_dial(&self, own: &str) -> bool {
        let port = own.split('/').nth(4).unwrap();
        [HOME_IP, ROUTER_IP].into_iter().any(|ip| {
            let to: SocketAddr = format!("{ip}:{port}").parse().unwrap();
            TcpStream::connect_timeout(&to, Duration::from_secs(2)).is_ok()
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in [&mut self.router, &mut self.home] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A process in a network namespace of its own, which lives as long as it does.
fn sleeper() -> Child {
    let child = Command::new("unshare")
        .args(["-n", "sleep", "1000"])
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    let place = format!("/proc/{}/ns/net", child.id());
    until("a new namespace", Duration::from_secs(10), || {
        let there = std::fs::read_link(&place).ok()?;
        (there != own).then_some(())
    });
    child
}

fn ip(args: &[&str]) {
    run(Command::new("ip").args(args));
}

fn within(process: &str, args: &[&str]) {
    run(Command::new("nsenter")
        .args(["-t", process, "-n"])
        .args(args));
}

fn run(command: &mut Command) {
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{command:?}: {said}");
}
