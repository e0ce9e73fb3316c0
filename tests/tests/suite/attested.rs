//! Attested TLS: a client knows that its connection ends in the gateway before it says anything.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_record::channel::EXPORTER_LABEL;
use countersign_record::digest::{ChannelBinding, Nonce, UnixMillis};
use countersign_tests::auditor::Auditor;
use countersign_tests::certificates::{Ca, knock};
use countersign_tests::machine::{Gateway, Machine};
use countersign_tests::process::outcome;
use countersign_tests::protected::{HERE, Protected, tcp};
use countersign_tests::relay::Relay;
use countersign_verify::counterpart::{Asked, Counterpart, CounterpartError, Shown};
use countersign_verify::trust::{EvidenceClass, Reference, Trust};
use rustls::{ClientConnection, Stream};
use serde_json::Value;
use std::fs;
use std::io::{Read as _, Write as _};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// What `countersign appraise` says of an address: success and all output.
fn appraise(url: &str, ca: &Ca, auditor: &Auditor) -> (bool, String) {
    let (trust, reference) = auditor.files();
    let mut command = Command::new(countersign_tests::program("countersign"));
    command
        .args(["appraise", "--url", url, "--ca"])
        .arg(ca.file());
    command
        .arg("--trust")
        .arg(trust)
        .arg("--reference")
        .arg(reference);
    let (status, out, err) = outcome(&mut command);
    (status.success(), out + &err)
}

#[test]
fn a_connection_is_shown_to_end_in_the_gateway_and_software_is_never_taken_for_hardware() {
    let (protected, gateway) = Protected::started();
    let auditor = protected.machine.auditor();
    let (good, said) = appraise(&gateway.url, &protected.ca, &auditor);
    assert!(good, "{said}");
    assert!(
        said.contains(&format!("ends in gateway {}", gateway.id)),
        "{said}"
    );
    assert!(
        said.contains("on a software TPM: no hardware vouches for it"),
        "{said}"
    );
    // With the hardware's word of this moment.
    let demanding = auditor.clone().trusting("[log]\nmax_age_seconds = 60");
    let (good, said) = appraise(&gateway.url, &protected.ca, &demanding);
    assert!(good, "{said}");
}

#[test]
fn whoever_relays_with_a_copy_of_the_gateways_key_is_found_out() {
    let (protected, gateway) = Protected::started();
    let relay = Relay::start(gateway.authority(), &protected.ca, &protected.pair);
    let url = format!("https://{}", relay.authority);
    let (good, said) = appraise(&url, &protected.ca, &protected.machine.auditor());
    assert!(!good, "{said}");
    assert!(said.contains("somebody stands in between"), "{said}");
    assert_eq!(relay.passed(), 1, "it was told nothing but a challenge");
}

#[test]
fn whoever_relays_with_another_certificate_is_found_out() {
    let (protected, gateway) = Protected::started();
    let own = protected.ca.issue("between", HERE);
    let relay = Relay::start(gateway.authority(), &protected.ca, &own);
    let url = format!("https://{}", relay.authority);
    let (good, said) = appraise(&url, &protected.ca, &protected.machine.auditor());
    assert!(!good, "{said}");
    assert!(said.contains("somebody stands in between"), "{said}");
}

#[test]
fn a_connection_in_the_clear_is_not_vouched_for() {
    let machine = Machine::enrolled();
    let gateway = machine.start();
    let path = format!("/attestation/connection?nonce={}", "ab".repeat(32));
    assert_eq!(gateway.stranger().get(&path).unwrap().status, 400);
}

/// A connection, and what the gateway shows on it.
struct Met {
    connection: ClientConnection,
    nonce: Nonce,
    shown: Value,
}

impl Met {
    fn meet(protected: &Protected, gateway: &Gateway, nonce: u8) -> Self {
        let nonce = Nonce([nonce; 32]);
        let mut connection = knock(&protected.ca.client(), gateway.authority());
        let mut stream = tcp(gateway);
        let ask = format!(
            "GET /attestation/connection?nonce={nonce} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        );
        let mut answer = String::new();
        let mut tls = Stream::new(&mut connection, &mut stream);
        tls.write_all(ask.as_bytes()).unwrap();
        tls.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        Self {
            connection,
            nonce,
            shown: serde_json::from_str(body).unwrap(),
        }
    }

    /// A piece by its name; of the evidence, which a software TPM has one of, that one.
    fn piece(&self, name: &str) -> Vec<u8> {
        let shown = &self.shown[name];
        let text = match shown.as_array() {
            Some(pieces) if pieces.len() == 1 => &pieces[0],
            Some(pieces) => panic!("{} pieces", pieces.len()),
            None => shown,
        };
        STANDARD.decode(text.as_str().unwrap()).unwrap()
    }

    fn asked(&self) -> Asked {
        let exported = self
            .connection
            .export_keying_material([0; 32], EXPORTER_LABEL, None);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Asked {
            nonce: self.nonce,
            channel: ChannelBinding(exported.unwrap()),
            now: UnixMillis(u64::try_from(now.as_millis()).unwrap()),
        }
    }

    /// The same with one piece taken from elsewhere.
    fn with(&self, name: &str, piece: &[u8]) -> Self {
        let mut shown = self.shown.clone();
        let text = Value::String(STANDARD.encode(piece));
        shown[name] = if shown[name].is_array() {
            Value::Array(vec![text])
        } else {
            text
        };
        Self {
            connection: knock(
                &Ca::make(tempfile::tempdir().unwrap().path()).client(),
                "localhost:1",
            ),
            nonce: self.nonce,
            shown,
        }
    }

    fn judged(&self, trust: &Trust, asked: &Asked) -> Result<Counterpart, CounterpartError> {
        let fleet = self.piece("fleet");
        let shown = Shown {
            statement: &self.piece("statement"),
            base: &self.piece("base"),
            evidence: &[&self.piece("evidence")],
            fleet: Some(&fleet),
        };
        Counterpart::appraise(&shown, trust, asked)
    }
}

fn trust_of(auditor: &Auditor) -> Trust {
    let (trust, reference) = auditor.files();
    let mut trust = Trust::parse(&fs::read(trust).unwrap()).unwrap();
    trust.reference = Reference::parse(&fs::read(reference).unwrap()).unwrap();
    trust
}

#[test]
fn each_thing_that_does_not_hold_is_named() {
    let (protected, mut gateway) = Protected::started();
    let trust = trust_of(&protected.machine.auditor());
    let met = Met::meet(&protected, &gateway, 1);
    let asked = met.asked();
    let good = met.judged(&trust, &asked).unwrap();
    assert_eq!(good.gateway().to_string(), gateway.id);
    assert_eq!(good.class(), EvidenceClass::Software);
    let other = Met::meet(&protected, &gateway, 1);
    assert_eq!(
        other.judged(&trust, &asked),
        Err(CounterpartError::OtherConnection)
    );
    let another = Asked {
        nonce: Nonce([2; 32]),
        ..asked
    };
    assert_eq!(
        met.judged(&trust, &another),
        Err(CounterpartError::OtherChallenge)
    );
    // What was shown of one epoch beside a statement of the next, and the other way round.
    assert!(gateway.stop().success());
    let gateway = protected.machine.start();
    let later = Met::meet(&protected, &gateway, 1);
    let mixed = later.with("statement", &met.piece("statement"));
    assert!(matches!(
        mixed.judged(&trust, &later.asked()),
        Err(CounterpartError::Unsigned {
            what: "statement",
            ..
        })
    ));
    let mixed = later.with("evidence", &met.piece("evidence"));
    assert!(matches!(
        mixed.judged(&trust, &later.asked()),
        Err(CounterpartError::Evidence { .. })
    ));
    for name in ["statement", "base", "evidence", "fleet"] {
        let piece = met.piece(name);
        for at in (0..piece.len()).step_by(piece.len() / 40) {
            let mut changed = piece.clone();
            changed[at] ^= 1;
            let judged = met.with(name, &changed).judged(&trust, &asked);
            assert!(judged.is_err(), "{name} at {at}");
        }
        let judged = met.with(name, b"").judged(&trust, &asked);
        assert!(judged.is_err(), "{name} empty");
    }
    trusts_that_refuse(&met, &trust, &asked);
}

/// Each change of what is trusted, and how it is refused.
fn trusts_that_refuse(met: &Met, trust: &Trust, asked: &Asked) {
    let refused = |change: &dyn Fn(&mut Trust)| {
        let mut trust = trust.clone();
        change(&mut trust);
        met.judged(&trust, asked).unwrap_err()
    };
    let nobody = |t: &mut Trust| t.governance.clear();
    assert_eq!(refused(&nobody), CounterpartError::NoAnchor);
    let hardware = |t: &mut Trust| t.accept = vec![EvidenceClass::HardwareTpm];
    let class = EvidenceClass::Software;
    assert_eq!(refused(&hardware), CounterpartError::Class { class });
    let no = |what| CounterpartError::NoReference { what };
    assert_eq!(refused(&|t| t.reference.build = None), no("program"));
    assert_eq!(
        refused(&|t| t.reference.configuration = None),
        no("configuration")
    );
    assert_eq!(refused(&|t| t.reference.pcrs = None), no("boot registers"));
    let unknown = |error: CounterpartError| {
        let CounterpartError::Unknown { what, .. } = error else {
            panic!("{error}");
        };
        what
    };
    assert_eq!(
        unknown(refused(&|t| t.reference.build = Some(Vec::new()))),
        "program"
    );
    assert_eq!(
        unknown(refused(&|t| t.reference.configuration = Some(Vec::new()))),
        "configuration"
    );
    let empty = |t: &mut Trust| {
        let known = t.reference.pcrs.as_mut().unwrap();
        known.values_mut().for_each(Vec::clear);
    };
    assert_eq!(unknown(refused(&empty)), "the value of a boot register");
    assert_eq!(
        unknown(refused(&|t| t.release = Some(Vec::new()))),
        "release key"
    );
    let pins = |t: &mut Trust| t.bundles.as_mut().unwrap().pinned = Some(Vec::new());
    assert_eq!(unknown(refused(&pins)), "bundle");
    let others = |t: &mut Trust| t.governance = t.bundles.as_ref().unwrap().signers.clone();
    assert!(matches!(
        refused(&others),
        CounterpartError::Unsigned {
            what: "fleet statement",
            ..
        }
    ));
    let before = Asked {
        now: UnixMillis(1),
        ..*asked
    };
    assert!(matches!(
        met.judged(trust, &before),
        Err(CounterpartError::NotEnrolled { .. })
    ));
}
