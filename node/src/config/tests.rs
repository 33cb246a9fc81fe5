//! Order of sources, and errors that name file and line.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use tempfile::TempDir;

use super::*;

const PEER: &str =
    "/ip4/10.0.0.1/tcp/4001/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";

fn load(text: &str, over: Overrides) -> Result<NodeConfig, Error> {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join(FILE_NAME), text).unwrap();
    NodeConfig::load(dir.path(), over)
}

/// The error's text after the directory.
fn refusal(text: &str) -> String {
    let error = load(text, Overrides::default()).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.kind().exit_code(), 2);
    let message = error.message();
    message[message.find(FILE_NAME).expect("names the file")..].to_owned()
}

#[test]
fn without_a_file_the_defaults_hold() {
    let dir = TempDir::new().unwrap();
    let config = NodeConfig::load(dir.path(), Overrides::default()).unwrap();
    assert_eq!(config, NodeConfig::new(dir.path()));
    assert_eq!(config.listen, ["/ip4/127.0.0.1/tcp/0"]);
    assert_eq!(
        (config.network, config.profile, config.quic),
        (NetworkChoice::Local, Profile::Balanced, false)
    );
    assert_eq!(load("", Overrides::default()).unwrap().log, DEFAULT_LOG);
}

#[test]
fn the_file_is_read_and_flags_go_first() {
    let text = format!(
        "network = \"testnet\"\nprofile = \"strong\"\nlisten = [\"/ip4/0.0.0.0/tcp/4001\"]\nbootstrap = [\"{PEER}\"]\nquic = true\nlog = \"info\"\n"
    );
    let file = load(&text, Overrides::default()).unwrap();
    assert_eq!(
        (file.network, file.profile, file.quic),
        (NetworkChoice::Testnet, Profile::Strong, true)
    );
    assert_eq!(
        (
            file.listen[0].as_str(),
            file.bootstrap[0].as_str(),
            file.log.as_str()
        ),
        ("/ip4/0.0.0.0/tcp/4001", PEER, "info")
    );

    let over = Overrides {
        network: Some("local".to_owned()),
        profile: Some(Profile::Eco),
        listen: vec!["/ip4/127.0.0.1/tcp/9".to_owned()],
        quic: Some(false),
        log: Some("debug".to_owned()),
        ..Overrides::default()
    };
    let both = load(&text, over).unwrap();
    assert_eq!(
        (both.network, both.profile, both.quic),
        (NetworkChoice::Local, Profile::Eco, false)
    );
    assert_eq!(
        (both.listen[0].as_str(), both.log.as_str()),
        ("/ip4/127.0.0.1/tcp/9", "debug")
    );
    assert_eq!(both.bootstrap[0], PEER);
}

#[test]
fn quic_adds_its_default_address() {
    let config = load("quic = true\nnetwork = \"testnet\"", Overrides::default()).unwrap();
    assert_eq!(
        config.listen,
        ["/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1"]
    );
}

#[test]
fn a_network_file_is_found_from_where_it_is_named() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join(FILE_NAME), "network = \"nets/own.cbor\"").unwrap();
    let config = NodeConfig::load(dir.path(), Overrides::default()).unwrap();
    assert_eq!(
        config.network,
        NetworkChoice::File(dir.path().join("nets/own.cbor"))
    );
    let over = Overrides {
        network: Some("./own.cbor".to_owned()),
        ..Overrides::default()
    };
    assert_eq!(
        NodeConfig::load(dir.path(), over).unwrap().network,
        NetworkChoice::File("./own.cbor".into())
    );
}

#[test]
fn mistakes_are_named_with_their_line() {
    let cases = [
        (
            "\nprofil = \"eco\"\n",
            "murmur.toml:2: unknown field `profil`",
        ),
        (
            "# x\n\nprofile = \"huge\"\n",
            "murmur.toml:3: unknown variant `huge`",
        ),
        (
            "quic = true\nquic = false\n",
            "murmur.toml:2: duplicate key",
        ),
        ("quic = 3\n", "murmur.toml:1: invalid type: integer `3`"),
        (
            "listen = [\n  \"/ip4/127.0.0.1/tcp/1\",\n  \"localhost:4001\",\n]\n",
            "murmur.toml:3: `localhost:4001` is not a multiaddr",
        ),
        (
            "bootstrap = [\"/ip4/127.0.0.1/tcp/1\"]\n",
            "murmur.toml:1: `/ip4/127.0.0.1/tcp/1` doesn't end with /p2p/PEER-ID",
        ),
        (
            "network = \"mainnet\"\n",
            "murmur.toml:1: unknown network `mainnet`",
        ),
        (
            "log = \"node=loud\"\n",
            "murmur.toml:1: `node=loud` is not a log filter",
        ),
        ("listen = \"x\n", "murmur.toml:1: "),
        ("[api]\nport = 1\n", "murmur.toml:1: unknown field `api`"),
    ];
    for (text, expected) in cases {
        let message = refusal(text);
        assert!(
            message.starts_with(expected),
            "{text:?}\n gave {message}\n not {expected}"
        );
        assert!(!message.contains('\n'));
    }
}

#[test]
fn flags_are_checked_too() {
    let over = Overrides {
        listen: vec!["here".to_owned()],
        ..Overrides::default()
    };
    let error = load("", over).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(
        error
            .message()
            .starts_with("--listen: `here` is not a multiaddr"),
        "{error}"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let dir = TempDir::new().unwrap();
    std::fs::create_dir(dir.path().join(FILE_NAME)).unwrap();
    let error = NodeConfig::load(dir.path(), Overrides::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataDir);
    assert!(error.message().contains("can't read"), "{error}");
}

#[test]
fn a_signed_list_needs_its_key() {
    let key = "0a".repeat(32);
    let text = format!("bootstrap_list = \"peers.list\"\nbootstrap_key = \"{key}\"\n");
    let (file, signer) = load(&text, Overrides::default())
        .unwrap()
        .bootstrap_list
        .unwrap();
    assert!(file.is_absolute() && file.ends_with("peers.list"));
    assert_eq!(signer, [10; 32]);
    for half in [
        "bootstrap_list = \"peers.list\"\n".to_owned(),
        format!("bootstrap_key = \"{key}\"\n"),
    ] {
        let error = load(&half, Overrides::default()).unwrap_err();
        assert!(error.message().contains("needs the key"), "{error}");
    }
    let error = load("\nbootstrap_key = \"0a\"\n", Overrides::default()).unwrap_err();
    assert!(
        error
            .message()
            .contains("murmur.toml:2: `0a` is not a key of 64 hex digits"),
        "{error}"
    );
    let over = Overrides {
        bootstrap_key: Some("x".to_owned()),
        ..Overrides::default()
    };
    assert_eq!(load("", over).unwrap_err().kind(), ErrorKind::Usage);
}
