//! The interface over a socket: statuses, bodies, and what a restart remembers.

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking, and its numbers are small"
)]

use countersign_record::checkpoint::{Checkpoint, note_text, origin};
use countersign_record::digest::{NodeHash, PublicKey, Signature};
use countersign_record::merkle::{Frontier, Head, leaf_hash};
use countersign_record::note::{NoteKey, Role, UnixSeconds, encode};
use countersign_witness::config::Config;
use countersign_witness::door::{Witness, router};
use countersign_witness::store::{Store, directory_name};
use ed25519_dalek::{Signer as _, SigningKey};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// The log's key.
fn log_key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

fn identity() -> PublicKey {
    PublicKey(log_key().verifying_key().to_bytes())
}

fn head(size: u8, tag: u8) -> Head {
    let mut frontier = Frontier::new();
    (0..size).for_each(|i| frontier.append(leaf_hash(&[tag, i]), |_, _, _| ()));
    Head {
        size: u64::from(size),
        root: frontier.root(),
    }
}

fn note(head: &Head) -> String {
    let text = note_text(&identity().gateway(), head);
    let key = NoteKey::new(&origin(&identity().gateway()), Role::Log, identity()).unwrap();
    let signature = Signature(log_key().sign(text.as_bytes()).to_bytes());
    format!("{text}\n{}", key.signature_line(&signature))
}

/// A request that grows a log of powers of two by doubling it: the proof is the right half.
fn doubling(old: u8, tag: u8) -> String {
    let half: Vec<NodeHash> = if old == 0 {
        Vec::new()
    } else {
        let mut right = Frontier::new();
        (old..old * 2).for_each(|i| right.append(leaf_hash(&[tag, i]), |_, _, _| ()));
        vec![right.root()]
    };
    let size = if old == 0 { 1 } else { old * 2 };
    let proof: String = half.iter().map(|h| encode(&h.0) + "\n").collect();
    format!("old {old}\n{proof}\n{}", note(&head(size, tag)))
}

struct Running {
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

fn made() -> (TempDir, NoteKey) {
    let directory = tempfile::tempdir().unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let witness = Config::make(directory.path(), "witness.example/w1", listen).unwrap();
    let key = NoteKey::new(&origin(&identity().gateway()), Role::Log, identity()).unwrap();
    Config::add_log(directory.path(), key.name(), &key).unwrap();
    (directory, witness)
}

fn start(directory: &Path) -> Running {
    let (config, store) = (
        Config::read(directory).unwrap(),
        Store::open(directory).unwrap(),
    );
    let clock = Box::new(|| UnixSeconds(1_800_000_000));
    let witness = Arc::new(Witness::new(config, store, clock).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move { axum::serve(listener, router(witness)).await });
    Running {
        address,
        _runtime: runtime,
    }
}

impl Running {
    fn exchange(&self, request: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_owned(), body.to_owned())
    }

    fn add(&self, body: &str) -> (u16, String, String) {
        self.exchange(&format!(
            "POST /add-checkpoint HTTP/1.1\r\nhost: w\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    fn get(&self, path: &str) -> (u16, String) {
        let (status, _, body) = self.exchange(&format!(
            "GET {path} HTTP/1.1\r\nhost: w\r\nconnection: close\r\n\r\n"
        ));
        (status, body)
    }
}

#[test]
fn a_checkpoint_is_cosigned_given_out_and_remembered_over_a_restart() {
    let (directory, witness) = made();
    let running = start(directory.path());
    let path = format!(
        "/{}/checkpoint",
        directory_name(&origin(&identity().gateway()))
    );
    assert_eq!(running.get(&path).0, 404);
    for old in [0, 1, 2, 4] {
        let (status, _, line) = running.add(&doubling(old, 0));
        assert_eq!(status, 200, "{line}");
        let (status, given) = running.get(&path);
        assert_eq!(status, 200);
        assert!(given.ends_with(&line), "{given}");
        let checkpoint = Checkpoint::parse(given.as_bytes(), &identity().gateway()).unwrap();
        assert_eq!(
            checkpoint
                .lines()
                .iter()
                .filter(|l| l.is_of(&witness))
                .count(),
            1
        );
    }
    drop(running);
    let running = start(directory.path());
    let (status, head, body) = running.add(&doubling(0, 0));
    assert_eq!((status, body.as_str()), (409, "8\n"));
    assert!(
        head.to_lowercase()
            .contains("content-type: text/x.tlog.size"),
        "{head}"
    );
    assert_eq!(running.add(&doubling(8, 0)).0, 200);
}

#[test]
fn every_refusal_has_its_status_and_leaves_the_witness_as_it_was() {
    let (directory, _) = made();
    let running = start(directory.path());
    assert_eq!(running.add(&doubling(0, 0)).0, 200);
    assert_eq!(running.add(&doubling(1, 0)).0, 200);
    let other = note(&head(2, 1));
    let foreign = doubling(2, 0).replace("countersign/", "elsewhere/");
    let unsigned = doubling(2, 0).replace("\u{2014} countersign/", "\u{2014} nobody/");
    for (body, expected) in [
        ("old 2".to_owned(), 400),
        (foreign, 404),
        (unsigned, 403),
        (doubling(1, 0), 409),
        (format!("old 2\n\n{other}"), 409),
        (doubling(2, 1), 422),
        ("x".repeat(100_000), 413),
    ] {
        let (status, _, said) = running.add(&body);
        assert_eq!(status, expected, "{said}");
    }
    assert_eq!(running.add(&doubling(2, 0)).0, 200);
}

#[test]
fn two_histories_are_kept_as_proof() {
    let (directory, _) = made();
    let running = start(directory.path());
    assert_eq!(running.add(&doubling(0, 0)).0, 200);
    let other = note(&head(1, 1));
    assert_eq!(running.add(&format!("old 1\n\n{other}")).0, 409);
    let name = directory_name(&origin(&identity().gateway()));
    let logs = directory.path().join("logs").join(name);
    assert_eq!(
        std::fs::read_to_string(logs.join("conflict")).unwrap(),
        other
    );
    let kept = std::fs::read_to_string(logs.join("checkpoint")).unwrap();
    assert!(kept.contains(&encode(&head(1, 0).root.0)));
}

#[test]
fn of_many_requests_at_once_one_is_signed() {
    let (directory, _) = made();
    let running = start(directory.path());
    // The same old size, two histories of the next: whichever comes first, the other is refused.
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8u8)
            .map(|i| {
                scope.spawn({
                    let running = &running;
                    move || running.add(&doubling(0, i % 2)).0
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(
        statuses.iter().filter(|s| **s == 200).count(),
        1,
        "{statuses:?}"
    );
    assert!(
        statuses.iter().all(|s| [200, 409].contains(s)),
        "{statuses:?}"
    );
}
