//! Goldens: the example's encodings, annotated. Rewritten only by `UPDATE_GOLDEN=1`.

use super::example::{Example, KEYS, example, public_key};
use super::schema::{Inside, body_of, enums, inner, inside, map, plain};
use crate::binding::epoch_message;
use crate::body::{TenantHead, tenants_root};
use crate::cbor::{Cbor, Reader};
use crate::commitment::{Field, commit};
use crate::cose::Sign1;
use crate::digest::{ArtifactDigest, Salt, TenantId};
use crate::entry::{Entry, Kind};
use crate::export::{Framer, ItemKind, MAGIC};
use crate::merkle::{entry_digest, leaf_hash, node_hash};
use std::fmt::Write as _;
use std::path::PathBuf;

fn path(name: &str) -> PathBuf {
    crate::testdata::directory().join("golden").join(name)
}

#[expect(
    clippy::disallowed_methods,
    reason = "asks whoever runs the tests, not the machine, whether to rewrite"
)]
pub(super) fn update() -> bool {
    std::env::var("UPDATE_GOLDEN").is_ok_and(|v| v == "1")
}

/// Compares with the golden of that name, or rewrites it.
fn check(name: &str, found: &str) {
    if update() {
        std::fs::write(path(name), found).unwrap();
    }
    let expected = std::fs::read_to_string(path(name)).unwrap_or_default();
    let difference = expected.lines().zip(found.lines()).find(|(a, b)| a != b);
    assert!(
        expected == found,
        "{name} differs; first line that does: {difference:?}"
    );
}

/// The bytes of an annotated encoding.
fn bytes_of(text: &str) -> Vec<u8> {
    let digits: String = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .collect();
    hex::decode(digits).unwrap()
}

/// Writes an encoding as lines of hexadecimal, each with what it is.
struct Annotator {
    out: String,
    depth: usize,
}

impl Annotator {
    fn line(&mut self, bytes: &[u8], what: &str) {
        let indent = "  ".repeat(self.depth);
        let mut chunks = bytes.chunks(32);
        let first = chunks.next().map(hex::encode).unwrap_or_default();
        writeln!(self.out, "{indent}{first}  # {what}").unwrap();
        for chunk in chunks {
            writeln!(self.out, "{indent}  {}", hex::encode(chunk)).unwrap();
        }
    }

    fn nested(&mut self, f: impl FnOnce(&mut Self)) {
        self.depth += 1;
        f(self);
        self.depth -= 1;
    }

    /// A map of the format; `prefix` are bytes of its key that stand before it.
    fn map(&mut self, name: &str, bytes: &[u8], prefix: &[u8], label: &str) {
        let declared = map(name).unwrap();
        let mut r = Reader::new(bytes);
        let (head, pairs) = open(&mut r, bytes);
        self.line(
            &[prefix, &head].concat(),
            &format!("{label}{name}, {pairs} keys"),
        );
        self.nested(|a| {
            for _ in 0..pairs {
                let from = r.position();
                let key = r.int().unwrap();
                let prefix = bytes[from..r.position()].to_vec();
                let at = declared.fields.iter().position(|(k, _)| *k == key).unwrap();
                let value = r.any().unwrap();
                let ty = plain(declared.types[at]);
                a.value(
                    name,
                    declared.fields[at].1,
                    inner("Option", &ty).unwrap_or(&ty),
                    value,
                    &prefix,
                );
            }
        });
    }

    fn value(&mut self, owner: &str, field: &str, ty: &str, bytes: &[u8], prefix: &[u8]) {
        if let Some(item) = inner("Vec", ty) {
            let mut r = Reader::new(bytes);
            let (head, n) = open(&mut r, bytes);
            self.line(&[prefix, &head].concat(), &format!("{field}: {n} items"));
            return self.nested(|a| {
                (0..n).for_each(|_| a.value(owner, field, item, r.any().unwrap(), &[]))
            });
        }
        if map(ty).is_some() {
            return self.map(ty, bytes, prefix, &format!("{field}: "));
        }
        if let Some(inside) = inside(owner, field) {
            let content = Reader::new(bytes).bytes().unwrap();
            let head = &bytes[..bytes.len() - content.len()];
            self.line(
                &[prefix, head].concat(),
                &format!("{field}: {} bytes, which are", content.len()),
            );
            return self.nested(|a| match inside {
                Inside::Map(name) => a.map(name, content, &[], ""),
                Inside::Signed(name) => {
                    a.signed(content, |a, payload| a.map(name, payload, &[], ""))
                }
            });
        }
        self.line(
            &[prefix, bytes].concat(),
            &format!("{field}: {}", meaning(ty, bytes)),
        );
    }

    /// A signed statement.
    fn signed(&mut self, bytes: &[u8], payload: impl FnOnce(&mut Self, &[u8])) {
        let statement = Sign1::parse(bytes).unwrap();
        self.line(&bytes[..2], "tag 18 (COSE_Sign1), array of 4");
        self.nested(|a| {
            let header_length = 1 + usize::from(bytes[2] == 0x58);
            let content = Reader::new(&bytes[2..]).bytes().unwrap();
            a.line(
                &bytes[2..2 + header_length],
                &format!("protected header: {} bytes, which are", content.len()),
            );
            a.nested(|a| {
                a.line(&content[..1], "map of 3");
                a.line(&content[1..3], "1 algorithm: -19 (Ed25519)");
                a.line(&content[3..38], "4 key id");
                a.line(&content[38..], &format!("16 type: {}", statement.typ()));
            });
            let rest = &bytes[2 + header_length + content.len()..];
            a.line(&rest[..1], "unprotected header: empty");
            let inside = statement.payload();
            let head = rest.len() - 1 - inside.len() - 66;
            a.line(
                &rest[1..=head],
                &format!("payload: {} bytes, which are", inside.len()),
            );
            a.nested(|a| payload(a, inside));
            a.line(&rest[1 + head + inside.len()..], "signature");
        });
    }

    fn entry(&mut self, bytes: &[u8]) {
        let kind = Entry::parse(bytes).unwrap().body().kind();
        self.signed(bytes, |a, payload| a.payload(kind, payload));
    }

    fn payload(&mut self, kind: Kind, bytes: &[u8]) {
        let mut r = Reader::new(bytes);
        let (head, n) = open(&mut r, bytes);
        self.line(&head, &format!("payload of an entry, {n} keys"));
        self.nested(|a| {
            for _ in 0..n {
                let from = r.position();
                let key = r.int().unwrap();
                let prefix = bytes[from..r.position()].to_vec();
                let value = r.any().unwrap();
                match key {
                    1 => a.line(&[&prefix, value].concat(), "version: 1"),
                    2 => a.map("Place", value, &prefix, "place: "),
                    3 => a.map(body_of(kind), value, &prefix, "body: "),
                    -1 => a.line(&[&prefix, value].concat(), "critical extensions"),
                    _ => a.line(&[&prefix, value].concat(), "optional extensions"),
                }
            }
        });
    }
}

/// Enters an array or map: its head, and how many items or pairs it has.
fn open(r: &mut Reader<'_>, bytes: &[u8]) -> (Vec<u8>, u64) {
    let n = if bytes[0] >> 5 == 4 {
        r.array_head().unwrap()
    } else {
        let width = [0, 1, 2][usize::from((bytes[0] & 0x1f).max(23) - 23)];
        let n = if width == 0 {
            u64::from(bytes[0] & 0x1f)
        } else {
            u64::from(bytes[1])
        };
        r.map_head(n).unwrap();
        n
    };
    (bytes[..r.position()].to_vec(), n)
}

fn meaning(ty: &str, bytes: &[u8]) -> String {
    let mut r = Reader::new(bytes);
    if let Some(e) = enums().into_iter().find(|e| e.name == ty) {
        let code = r.uint().unwrap();
        return e
            .values
            .into_iter()
            .find(|(c, _)| *c == code)
            .unwrap()
            .1
            .to_owned();
    }
    match ty {
        "u64" | "u8" => r.uint().unwrap().to_string(),
        "UnixMillis" => format!("{} ms", r.uint().unwrap()),
        "bool" => r.boolean().unwrap().to_string(),
        "String" => format!("{:?}", r.text().unwrap()),
        other => other.to_owned(),
    }
}

fn annotate(f: impl FnOnce(&mut Annotator)) -> String {
    let mut a = Annotator {
        out: String::new(),
        depth: 0,
    };
    f(&mut a);
    a.out
}

/// Compares an annotated encoding, and that the annotation has lost nothing.
fn check_bytes(name: &str, bytes: &[u8], f: impl FnOnce(&mut Annotator)) {
    let text = annotate(f);
    assert_eq!(bytes_of(&text), bytes, "{name}");
    check(&format!("{name}.hex"), &text);
}

#[test]
fn every_kind_of_entry_has_its_golden_encoding() {
    let Example {
        entries, extended, ..
    } = example();
    let mut kinds = Vec::new();
    for entry in &entries {
        let kind = Entry::parse(entry).unwrap().body().kind();
        let name = if kinds.contains(&kind) {
            format!("entry-{kind}-settled")
        } else {
            format!("entry-{kind}")
        };
        check_bytes(&name, entry, |a| a.entry(entry));
        kinds.push(kind);
    }
    assert!(Kind::ALL.iter().all(|k| kinds.contains(k)));
    check_bytes("entry-with-extensions", &extended, |a| a.entry(&extended));
}

#[test]
fn every_statement_has_its_golden_encoding() {
    for (name, inside, bytes) in example().statements {
        check_bytes(name, &bytes, |a| {
            a.signed(&bytes, |a, payload| a.map(inside, payload, &[], ""))
        });
    }
}

#[test]
fn every_other_structure_has_its_golden_encoding() {
    let e = example();
    for (name, map, bytes) in [
        ("binding", "Binding", e.binding.to_bytes()),
        (
            "renewal-statement",
            "RenewalStatement",
            e.renewal.to_bytes(),
        ),
        ("close-statement", "CloseStatement", e.close.to_bytes()),
        ("fresh-statement", "FreshStatement", e.fresh.to_bytes()),
        ("action", "Action", e.action.to_bytes()),
        ("tpm-evidence", "TpmEvidence", e.evidence.to_bytes()),
        (
            "platform-evidence",
            "PlatformEvidence",
            e.platform_evidence.to_bytes(),
        ),
        ("disclosure", "Disclosure", e.disclosure.to_bytes()),
        ("caller-proof", "CallerProof", e.caller_proof.to_bytes()),
        ("caller-claims", "CallerClaims", e.caller_claims.to_bytes()),
        (
            "principal-chain",
            "PrincipalChain",
            e.principal_chain.to_bytes(),
        ),
        (
            "egress-connections",
            "EgressConnections",
            e.egress.to_bytes(),
        ),
        ("signed-bundle", "SignedBundle", e.bundle.to_bytes()),
    ] {
        check_bytes(name, &bytes, |a| a.map(map, &bytes, &[], ""));
    }
}

#[test]
fn the_checkpoint_and_the_preview_have_their_golden_text() {
    let e = example();
    check("checkpoint.txt", &e.checkpoint);
    check("preview.txt", &e.preview);
}

#[test]
fn the_export_has_its_golden_encoding() {
    let export = example().export;
    let mut framer = Framer::new();
    framer.push(&export);
    let mut frames = Vec::new();
    while let Some(frame) = framer.next_frame().unwrap() {
        frames.push(frame);
    }
    check_bytes("export", &export, |a| {
        a.line(MAGIC, "tag 55799, text \"countersign-export-1\"");
        for frame in &frames {
            let start = usize::try_from(frame.offset).unwrap();
            let mut r = Reader::new(&export[start..]);
            r.array_head().unwrap();
            r.uint().unwrap();
            r.bytes_head().unwrap();
            let what = format!(
                "item at byte {start}: {}, {} bytes",
                frame.kind,
                frame.content.len()
            );
            a.line(&export[start..start + r.position()], &what);
            a.nested(|a| match frame.kind {
                ItemKind::Manifest => a.map("Manifest", &frame.content, &[], ""),
                ItemKind::Trailer => a.map("Trailer", &frame.content, &[], ""),
                ItemKind::Artifact => a.map("Artifact", &frame.content, &[], ""),
                ItemKind::Span => a.map("Span", &frame.content, &[], ""),
                ItemKind::TenantProof => a.map("TenantProof", &frame.content, &[], ""),
                ItemKind::Timestamp => a.map("Timestamp", &frame.content, &[], ""),
                ItemKind::Entry | ItemKind::Leaf | ItemKind::Checkpoint | ItemKind::Disclosures => {
                    a.line(&frame.content, frame.kind.name());
                }
            });
        }
    });
}

/// One line a digest: what of, by which function, the value.
#[test]
fn every_digest_has_its_golden_value() {
    let e = example();
    let mut out =
        String::from("# Digests of the example; each domain of docs/spec/record.md once.\n");
    let mut line =
        |what: &str, value: &dyn std::fmt::Display| writeln!(out, "{what}: {value}").unwrap();
    for (name, seed) in KEYS {
        line(
            &format!("public key of the {name} key, seed {seed:02x} 32 times"),
            &public_key(name),
        );
        line(&format!("key id of the {name} key"), &public_key(name).id());
    }
    line("gateway id", &e.gateway);
    line("artifact digest of no bytes", &ArtifactDigest::of(b""));
    line(
        "artifact digest of tpm-evidence.hex",
        &ArtifactDigest::of(&e.evidence.to_bytes()),
    );
    line("anchor of binding.hex", &e.binding.anchor());
    line(
        "qualifying data of a base, from that anchor",
        &e.binding.anchor().qualifying(),
    );
    let platform = ArtifactDigest::of(&e.platform_evidence.to_bytes());
    line("artifact digest of platform-evidence.hex", &platform);
    line(
        "qualifying data beside platform-evidence.hex, from that anchor",
        &e.binding.anchor().qualifying_beside(platform),
    );
    line(
        "epoch message of binding.hex",
        &hex::encode(epoch_message(&e.binding.to_bytes())),
    );
    line(
        "qualifying data of renewal-statement.hex",
        &e.renewal.qualifying(),
    );
    line(
        "qualifying data of close-statement.hex",
        &e.close.qualifying(),
    );
    line(
        "qualifying data of fresh-statement.hex",
        &e.fresh.qualifying(),
    );
    line("action digest of action.hex", &e.action.digest());
    line("commitment of disclosure.hex", &e.disclosure.commitment());
    line(
        "commitment to no bytes as agent, salt of 16 zeros",
        &commit(Field::Agent, Salt([0; 16]), b""),
    );
    line(
        "entry digest of entry-base.hex",
        &entry_digest(&e.entries[0]),
    );
    line(
        "node hash over leaves entry-base.hex and entry-renewal.hex",
        &node_hash(&leaf_hash(&e.entries[0]), &leaf_hash(&e.entries[1])),
    );
    let heads = [([2; 16], 5), ([1; 16], 3)].map(|(t, seq)| TenantHead {
        tenant: TenantId(t),
        seq,
    });
    line(
        "tenants root of tenants 01… at 3 and 02… at 5",
        &tenants_root(&heads),
    );
    line("tenants root of no tenant", &tenants_root(&[]));
    check("digests.txt", &out);
}

#[test]
fn every_golden_is_made_by_some_test() {
    let e = example();
    let mut expected: Vec<String> = Kind::ALL.iter().map(|k| format!("entry-{k}.hex")).collect();
    expected.extend(["entry-decision-settled.hex", "entry-with-extensions.hex"].map(str::to_owned));
    expected.extend(e.statements.iter().map(|(name, ..)| format!("{name}.hex")));
    let maps = "binding renewal-statement close-statement fresh-statement action tpm-evidence platform-evidence disclosure caller-proof caller-claims principal-chain egress-connections \
                signed-bundle export";
    expected.extend(maps.split_whitespace().map(|name| format!("{name}.hex")));
    expected.extend(["checkpoint.txt", "preview.txt", "digests.txt"].map(str::to_owned));
    expected.sort();
    if update() {
        return;
    }
    let found: Vec<String> = crate::testdata::files(&crate::testdata::directory().join("golden"))
        .iter()
        .map(|p| p.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(found, expected);
}
