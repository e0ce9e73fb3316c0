//! One case of the corpus, and the words in which the lists of cases are written.

use super::common::*;
use countersign_record::binding::Profile;
use countersign_record::body::*;
use countersign_record::cbor::{Bytes, Cbor as _, Writer};
use countersign_record::checkpoint::{epoch_name, note_text, origin, signature_line};
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::cose::Unsigned;
use countersign_record::digest::*;
use countersign_record::entry::{Body, EntryRef, Kind, Payload, Place};
use countersign_record::export::{Framer, MAGIC, Trailer};
use countersign_record::merkle::{Head, entry_digest, leaf_hash};
use countersign_verify::ledger::State;

/// One case: what a verifier is given, and what it has to say.
pub struct Case {
    pub name: &'static str,
    pub sentence: &'static str,
    pub export: Vec<u8>,
    /// Name of the trust file, and its text.
    pub trust: (&'static str, String),
    /// Name of the reference file, and its text.
    pub reference: Option<(&'static str, String)>,
    pub receipts: Vec<Vec<u8>>,
    /// Checkpoints that the auditor has from elsewhere.
    pub checkpoints: Vec<String>,
    pub now: UnixMillis,
    /// Exit code and first failure.
    pub expected: (u8, Option<&'static str>),
    /// States that are the point of the case.
    pub states: Vec<(&'static str, State)>,
}

/// A case that is verified, until something else is said.
pub fn case(name: &'static str, sentence: &'static str, export: Vec<u8>) -> Case {
    Case {
        name,
        sentence,
        export,
        trust: ("hardware", trust_text("hardware-tpm")),
        reference: None,
        receipts: vec![],
        checkpoints: vec![],
        now: NOW,
        expected: (0, None),
        states: vec![],
    }
}

impl Case {
    /// Altered or untrusted, and this check says so first.
    pub fn fails(self, code: &'static str) -> Self {
        Self {
            expected: (1, Some(code)),
            ..self
        }
        .state(code, State::Fail)
    }
    /// Against policy, and this check says so first.
    pub fn against(self, code: &'static str) -> Self {
        Self {
            expected: (2, Some(code)),
            ..self
        }
        .state(code, State::Fail)
    }
    /// Cannot be evaluated, because this check cannot tell.
    pub fn cannot(self, code: &'static str) -> Self {
        Self {
            expected: (3, None),
            ..self
        }
        .state(code, State::CannotTell)
    }
    /// Cannot be evaluated, because this check was not made.
    pub fn lacks(self, code: &'static str) -> Self {
        Self {
            expected: (3, None),
            ..self
        }
        .state(code, State::NotChecked)
    }
    pub fn state(mut self, code: &'static str, state: State) -> Self {
        self.states.push((code, state));
        self
    }
    /// Changes items of the file; the trailer stays as it was.
    pub fn with_items(self, change: impl FnOnce(&mut Vec<(u64, Vec<u8>)>)) -> Self {
        let mut all = items(&self.export);
        change(&mut all);
        Self {
            export: file(&all),
            ..self
        }
    }
    pub fn trust(self, name: &'static str, text: String) -> Self {
        Self {
            trust: (name, text),
            ..self
        }
    }
    pub fn reference(self, name: &'static str, text: &str) -> Self {
        Self {
            reference: Some((name, text.to_owned())),
            ..self
        }
    }
    pub fn receipts(self, receipts: Vec<Vec<u8>>) -> Self {
        Self { receipts, ..self }
    }
    pub fn given(self, checkpoints: Vec<String>) -> Self {
        Self {
            checkpoints,
            ..self
        }
    }
    pub fn now(self, millis: u64) -> Self {
        Self {
            now: UnixMillis(millis),
            ..self
        }
    }
}

/// The trust file of most cases, with one piece of text in another's place.
pub fn trust_with(from: &str, to: &str) -> String {
    let text = trust_text("hardware-tpm");
    assert!(text.contains(from), "{from}");
    text.replace(from, to)
}

/// The same, with a table added.
pub fn trust_and(more: &str) -> String {
    format!("{}{more}", trust_text("hardware-tpm"))
}

/// A log that the true keys signed, checkpoint and all: opening, enrolment, what `build` adds, a renewal.
pub fn log(build: impl FnOnce(&mut Mini)) -> Mini {
    let mut log = Mini::new(Profile::Tpm);
    log.open();
    log.enrol();
    build(&mut log);
    log.renew();
    log
}

/// Its export.
pub fn signed(build: impl FnOnce(&mut Mini)) -> Vec<u8> {
    log(build).export()
}

/// A log without the enrolment and the renewal that others have.
pub fn bare(build: impl FnOnce(&mut Mini)) -> Vec<u8> {
    let mut log = Mini::new(Profile::Tpm);
    build(&mut log);
    log.export()
}

pub const RUN: RunId = RunId([1; 16]);

/// A short genuine log: 0 base, 1 enrol, 2 decision, 3 intent, 4 decision, 5 event, 6 renewal, 7 decision.
pub fn story() -> Mini {
    let mut story = log(|log| {
        log.decide(&call(1, Mode::Network), Verdict::Deny, None);
        let read = Call {
            signed: true,
            ..call(2, Mode::ReadOnly)
        };
        let intent = log.intent(&read, vec![], None);
        log.decide(&read, Verdict::Allow, Some(intent));
        log.event();
    });
    story.decide(&call(3, Mode::Network), Verdict::Deny, None);
    story
}

/// The story's export after something was changed that nobody signed.
pub fn changed(change: impl FnOnce(&mut Parts)) -> Vec<u8> {
    let mut parts = Parts::of(&story());
    change(&mut parts);
    parts.bytes()
}

/// A reference to a leaf of a log.
pub fn reference(log: &Mini, index: usize) -> EntryRef {
    EntryRef {
        index: index as u64,
        digest: entry_digest(&log.leaves[index].bytes),
    }
}

/// Appends bytes as they are.
pub fn append(log: &mut Mini, bytes: Vec<u8>) {
    log.frontier.append(leaf_hash(&bytes), |_, _, _| ());
    let payload = log.leaves.last().unwrap().payload.clone();
    log.leaves.push(LeafSpec {
        payload,
        epoch: log.epoch,
        bytes,
        disclosures: vec![],
    });
}

/// An event's payload at the next place: a map of three, whose last five bytes are the body `{1: 1, 2: 3}`.
pub fn event_payload(log: &mut Mini) -> Vec<u8> {
    log.time += 1000;
    let base = log
        .leaves
        .iter()
        .rev()
        .find(|l| matches!(l.payload.body, Body::Base(_)))
        .map(|l| entry_digest(&l.bytes));
    let place = Place {
        index: log.next(),
        base,
        at: UnixMillis(log.time),
        since_boot: log.time - START,
        tenant: None,
        run: None,
    };
    let body = Body::Event(Event {
        kind: EventKind::Unauthenticated,
        count: 3,
        detail: None,
    });
    Payload::new(place, body).to_bytes()
}

/// Appends an event whose body is these bytes, truly signed.
pub fn event_of(log: &mut Mini, body: &[u8]) {
    entry_of(log, Kind::Event, body);
}

/// Appends an entry of a kind whose body is these bytes, truly signed.
pub fn entry_of(log: &mut Mini, kind: Kind, body: &[u8]) {
    let mut payload = event_payload(log);
    payload.truncate(payload.len() - 5);
    payload.extend_from_slice(body);
    payload_of(log, kind.typ(), payload);
}

/// Appends an entry with this payload, truly signed.
pub fn payload_of(log: &mut Mini, typ: &str, payload: Vec<u8>) {
    let key = epoch_key(log.epoch);
    append(log, key.statement(typ, payload));
}

/// A signed statement of another shape: parts as given, the signature over protected header and payload.
pub struct Shape {
    pub head: Vec<u8>,
    pub protected: Vec<u8>,
    pub unprotected: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Shape {
    /// The true shape of an entry of this type by the epoch key of the log.
    pub fn of(log: &mut Mini) -> Self {
        let payload = event_payload(log);
        let mut w = Writer::new();
        w.map(3);
        w.int(1);
        w.int(-19);
        w.int(4);
        w.bytes(&epoch_key(log.epoch).public().id().0);
        w.int(16);
        w.text(Kind::Event.typ());
        Self {
            head: vec![0xd2, 0x84],
            protected: w.into_bytes(),
            unprotected: vec![0xa0],
            payload,
        }
    }
    pub fn signed(&self, key: &Key) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(4);
        w.text("Signature1");
        w.bytes(&self.protected);
        w.bytes(&[]);
        w.bytes(&self.payload);
        let signature = key.sign(&w.into_bytes());
        let mut w = Writer::new();
        w.raw(&self.head);
        w.bytes(&self.protected);
        w.raw(&self.unprotected);
        w.bytes(&self.payload);
        w.bytes(&signature.0);
        w.into_bytes()
    }
}

/// A log with one entry of another shape.
pub fn shaped(change: impl FnOnce(&mut Shape)) -> Vec<u8> {
    signed(|log| {
        let mut shape = Shape::of(log);
        change(&mut shape);
        append(log, shape.signed(&epoch_key(1)));
    })
}

/// A statement whose last byte is another.
pub fn broken(mut statement: Vec<u8>) -> Vec<u8> {
    *statement.last_mut().unwrap() ^= 1;
    statement
}

/// A signature with another payload under the old header: the signature no longer holds, the key id stays.
pub fn by_another(original: &Payload, epoch: u64) -> Vec<u8> {
    let unsigned: Unsigned = original.unsigned(epoch_key(epoch).public().id());
    unsigned.with_signature(Key::new(99).sign(&unsigned.to_be_signed()))
}

/// A checkpoint over any head, by any keys.
pub fn note(head: Head, identity: &Key, epoch: &Key) -> String {
    let text = note_text(&gateway(), &head);
    let line =
        |name: &str, key: &Key| signature_line(name, &key.public(), &key.sign(text.as_bytes()));
    format!(
        "{text}\n{}{}",
        line(&origin(&gateway()), identity),
        line(&epoch_name(&gateway()), epoch)
    )
}

/// The head of a log.
pub fn head(log: &Mini) -> Head {
    Head {
        size: log.frontier.size(),
        root: log.frontier.root(),
    }
}

/// An intent's body and what opens it, as [`Mini::intent`] would write it.
pub fn intent_body(
    log: &Mini,
    call: &Call,
    approvals: Vec<EntryRef>,
    parent: Option<CallId>,
) -> (Intent, Vec<Disclosure>) {
    let (caller, received, disclosures) = log.caller(call);
    let in_force = log.decision_body(call, Verdict::Deny, None).in_force;
    let intent = Intent {
        call: call.id,
        in_force,
        action: Bytes(log.action(call).to_bytes()),
        caller,
        verdict: Verdict::Allow,
        policy: policy(call.mode),
        facts: salted(Field::Facts, b"facts").0,
        received,
        approvals,
        idempotency: None,
        controls: vec!["budget".into()],
        parent,
        basis: log.next(),
    };
    (intent, disclosures)
}

/// Seals and settles a call whose intent was changed.
pub fn sealed(
    log: &mut Mini,
    call: &Call,
    approvals: Vec<EntryRef>,
    edit: impl FnOnce(&mut Intent),
) {
    let (mut intent, disclosures) = intent_body(log, call, approvals, None);
    edit(&mut intent);
    let action = Action::from_bytes(&intent.action.0).ok();
    let entry = log.push(Body::Intent(intent), Some(call.run), disclosures);
    let mut body = log.decision_body(call, Verdict::Allow, Some(entry));
    if let Some(action) = action {
        body.action = Some(action.digest());
    }
    log.push(Body::Decision(body), Some(call.run), vec![]);
}

/// Seals a call and settles it with a changed decision.
pub fn settled(log: &mut Mini, edit: impl FnOnce(&mut Decision)) {
    let read = call(1, Mode::ReadOnly);
    let intent = log.intent(&read, vec![], None);
    let mut body = log.decision_body(&read, Verdict::Allow, Some(intent));
    edit(&mut body);
    log.push(Body::Decision(body), Some(read.run), vec![]);
}

/// A refused call with a changed decision.
pub fn refused(log: &mut Mini, edit: impl FnOnce(&mut Decision)) {
    let read = call(1, Mode::ReadOnly);
    let mut body = log.decision_body(&read, Verdict::Deny, None);
    edit(&mut body);
    log.push(Body::Decision(body), Some(read.run), vec![]);
}

/// Items of an export: number and content.
pub fn items(export: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut framer = Framer::new();
    framer.push(export);
    let mut out = vec![];
    while let Some(frame) = framer.next_frame().unwrap() {
        out.push((frame.kind.code(), frame.content));
    }
    out
}

/// A file of these items.
pub fn file(items: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    for (number, content) in items {
        let mut w = Writer::new();
        w.array(2);
        w.uint(*number);
        w.bytes(content);
        out.extend(w.into_bytes());
    }
    out
}

/// Changes the trailer, which is the last item.
pub fn trailer_with(items: &mut [(u64, Vec<u8>)], change: impl FnOnce(&mut Trailer)) {
    let last = items.last_mut().unwrap();
    let mut trailer = Trailer::from_bytes(&last.1).unwrap();
    change(&mut trailer);
    last.1 = trailer.to_bytes();
}

/// The story's file with its items changed; the trailer stays as it was.
pub fn refiled(change: impl FnOnce(&mut Vec<(u64, Vec<u8>)>)) -> Vec<u8> {
    let mut items = items(&story().export());
    change(&mut items);
    file(&items)
}
