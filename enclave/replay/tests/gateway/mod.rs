//! A gateway in memory that writes genuine logs, and can be made to lie in one way at a time.
//!
//! The stages are those of `countersign-gateway`; entries, evidence and checkpoints come from the
//! verifier's own maker of logs, so its checks hold on what comes out.

use crate::common::{Mini, TENANT, bundle_signer, gateway as gateway_id, governance};
use bytes::Bytes;
use countersign_gateway::admission::{Conditions, admit};
use countersign_gateway::approval::{self, Clearance};
use countersign_gateway::budget::budget;
use countersign_gateway::call::{Moment, Seed};
use countersign_gateway::decision::{self, Record};
use countersign_gateway::execute::{Report, ToolError};
use countersign_gateway::identity::{Callers, Clock, Identified, Nonces, Presented, identify};
use countersign_gateway::policy::{self, Judgement};
use countersign_gateway::recall::Held;
use countersign_gateway::refusal::Refused;
use countersign_gateway::request::{Request, Untrusted};
use countersign_gateway::seal::{Durable, IntentReceipt, Sealed};
use countersign_gateway::state::Owned;
use countersign_gateway::state::State;
use countersign_gateway::surface::{Observed, surface};
use countersign_policies::bundle::UnsignedBundle;
use countersign_policies::example::{ExampleCredential, ExampleKeys, files};
use countersign_policies::{Bundle, Engine, Pins, Site, SiteFiles};
use countersign_record::binding::Profile;
use countersign_record::body::{Action, Event, EventKind, Verdict};
use countersign_record::cbor::Cbor as _;
use countersign_record::commitment::{Disclosure, Field, commit};
use countersign_record::digest::{
    ActionDigest, ArtifactDigest, CallId, EntryDigest, PublicKey, RunId, UnixMillis, sha256,
};
use countersign_record::entry::{Body, EntryRef};
use countersign_record::export::{Artifact, BUNDLE_KIND, SIGNED_BUNDLE_KIND};
use countersign_signatures::http::{Header, HttpRequest, Scheme};
use countersign_signatures::token::TokenHash;
use std::cell::Cell;

const READER: &str = "reader-reader-reader-reader-reader";

/// Arguments that every tool of these tests takes.
pub(crate) const SELECT: &str = r#"{"query":"SELECT COUNT(*) AS customers FROM customers"}"#;

/// What every tool answers.
const RESULT: &str = r#"{"content":[{"type":"text","text":"ada@example.org"}]}"#;

/// A policy that the site in force does not have.
pub(crate) const PERMISSIVE: &str = "@id(\"everyone-may-look\")\npermit (principal, action == Action::\"customers.secret\", resource);\n";

/// The example site with a tool that nobody may use, one that few calls may use, and one whose results are redacted.
pub(crate) fn site() -> SiteFiles {
    let keys = ExampleKeys {
        tenant: TENANT,
        listen: "127.0.0.1:8443".into(),
        tpm: "device:/dev/tpmrm0".into(),
        release: [4; 65],
        governance: governance().public(),
        bundle_signer: bundle_signer().public(),
        recovery: [4; 32],
        reader_token: *TokenHash::of(READER).unwrap().as_bytes(),
        erasure: ExampleCredential::Key(PublicKey([
            0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64,
            0x07, 0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68,
            0xf7, 0x07, 0x51, 0x1a,
        ])),
        approver: crate::common::approver().public(),
        python: "python3".into(),
        database: "customers.db".into(),
        entry_sha256: None,
    };
    let mut out = SiteFiles(files(&keys).into_iter().collect());
    let template = out.0["capabilities/read_query.toml"].clone();
    let mut tool = |name: &str, from: &str, to: &str| {
        let text = template.replace("read_query", name).replacen(from, to, 1);
        out.0.insert(format!("capabilities/{name}.toml"), text);
    };
    tool("secret", "calls = 600", "calls = 600");
    tool("few", "calls = 600", "calls = 2");
    tool(
        "redacted",
        "destinations",
        "redactions = [ { name = \"mail\", pattern = '[a-z]+@[a-z.]+', replacement = \"[mail]\", apply = \"always\" } ]\ndestinations",
    );
    let more = "@id(\"more\")\npermit (principal, action in [Action::\"customers.few\", Action::\"customers.redacted\"], resource);\n";
    out.0.insert("policies/more.cedar".into(), more.into());
    out
}

/// The site with another policy file.
pub(crate) fn with_policy(text: &str) -> SiteFiles {
    let mut out = site();
    out.0.insert("policies/other.cedar".into(), text.into());
    out
}

/// The bundle of a site, unsigned.
pub(crate) fn unsigned(files: &SiteFiles) -> UnsignedBundle {
    let site = Site::parse(files).unwrap_or_else(|e| panic!("{e}"));
    Bundle::build(&site).unwrap()
}

fn signed(files: &SiteFiles) -> (UnsignedBundle, Bundle) {
    let site = Site::parse(files).unwrap_or_else(|e| panic!("{e}"));
    let mut out = Bundle::build(&site).unwrap();
    let key = bundle_signer();
    out.sign(key.public(), |m| key.sign(m)).unwrap();
    let bundle = Bundle::open(&out.to_bytes(), &Pins::of_settings(&site.settings)).unwrap();
    (out, bundle)
}

type Lie = Box<dyn Fn(&mut Body)>;

/// A gateway, its log, and how it lies.
pub(crate) struct Gateway {
    mini: Mini,
    engine: Engine,
    bundle: UnsignedBundle,
    callers: Callers,
    state: State,
    in_force: EntryRef,
    seeds: u64,
    lie: Option<Lie>,
    releases_all: bool,
    repeats: Option<&'static str>,
}

impl Gateway {
    pub(crate) fn new(files: &SiteFiles) -> Self {
        let (unsigned, bundle) = signed(files);
        let mut mini = Mini::new(Profile::Tpm);
        let artifact = |kind: &str, bytes: Vec<u8>| Artifact {
            kind: kind.into(),
            bytes: countersign_record::cbor::Bytes(bytes),
        };
        mini.artifacts = vec![
            artifact(BUNDLE_KIND, bundle.payload().to_vec()),
            artifact(SIGNED_BUNDLE_KIND, unsigned.to_bytes()),
        ];
        let mut binding = mini.binding();
        binding.bundles = vec![bundle.digest()];
        let in_force = mini.open_with(binding);
        mini.enrol();
        let mut out = Self {
            engine: Engine::compile(&bundle).unwrap(),
            callers: Callers::of_content(bundle.content()),
            bundle: unsigned,
            state: State::new(gateway_id()),
            in_force,
            mini,
            seeds: 0,
            lie: None,
            releases_all: false,
            repeats: None,
        };
        for leaf in out.mini.leaves.clone() {
            let entry = countersign_record::entry::Entry::parse(&leaf.bytes).unwrap();
            out.state.apply(&entry, &leaf.disclosures);
        }
        out
    }

    pub(crate) fn bundle(&self) -> UnsignedBundle {
        self.bundle.clone()
    }

    /// Decides by the rules of another site, in the name of the bundle in force.
    pub(crate) fn decide_by(&mut self, files: &SiteFiles) {
        let in_force = self.bundle.digest();
        self.engine = Engine::compile(&signed(files).1).unwrap();
        let sealed = Cell::new(None);
        self.change(move |body| in_the_name_of(body, in_force, &sealed));
    }

    /// Changes every body before it is signed.
    pub(crate) fn change(&mut self, lie: impl Fn(&mut Body) + 'static) {
        self.lie = Some(Box::new(lie));
    }

    /// Releases results as they came, whatever policy obliges to.
    pub(crate) fn release_all(&mut self) {
        self.releases_all = true;
    }

    /// Answers repeated calls with this result.
    pub(crate) fn repeat_with(&mut self, result: &'static str) {
        self.repeats = Some(result);
    }

    /// Forgets the log.
    pub(crate) fn forget(&mut self) {
        self.state = State::new(gateway_id());
    }

    /// Forgets every budget, and says that it knows the whole log.
    pub(crate) fn forget_budgets(&mut self) {
        self.forget();
        let last = EntryRef {
            index: self.mini.next() - 1,
            digest: EntryDigest([0; 32]),
        };
        let event = Body::Event(Event {
            kind: EventKind::Clock,
            count: 1,
            detail: None,
        });
        self.state.apply_body(
            &event,
            &last,
            Owned::default(),
            UnixMillis(self.mini.time),
            &[],
        );
    }

    /// Has other calls of `few` under way that never reach the log.
    pub(crate) fn busy(&mut self, count: u64) {
        Held::default().calls(&mut self.state, TENANT, "customers.few", count);
    }

    /// Takes what opens a field out of the export.
    pub(crate) fn withhold(&mut self, field: Field) {
        for leaf in &mut self.mini.leaves {
            leaf.disclosures.retain(|d| d.field != field);
        }
    }

    /// Takes what opens a field out of the first entry that has it.
    pub(crate) fn withhold_of_first(&mut self, field: Field) {
        let has =
            |leaf: &&mut crate::common::LeafSpec| leaf.disclosures.iter().any(|d| d.field == field);
        let leaf = self.mini.leaves.iter_mut().find(has).unwrap();
        leaf.disclosures.retain(|d| d.field != field);
    }

    pub(crate) fn export(&mut self) -> Vec<u8> {
        self.mini.renew();
        self.mini.export()
    }

    /// A call by the reader, up to its record.
    pub(crate) fn call(&mut self, tool: &str, arguments: &str, rest: &str) {
        let body = format!(r#"{{"capability":"customers.{tool}","arguments":{arguments}{rest}}}"#);
        let identified = self.identified(&body);
        let (in_force, now) = (self.in_force.clone(), self.moment());
        let record = match self.clear(identified) {
            Err(refused) => decision::settle_refused(*refused, in_force, now),
            Ok(Clearance::Halted(halt)) => decision::settle_halted(*halt, in_force, now),
            Ok(Clearance::Repeated(repeated)) => {
                let (call, result) = self.first(repeated.first());
                decision::settle_repeated(repeated, call, &result, in_force, now)
            }
            Ok(Clearance::Approved(approved)) => {
                let (sealed, intent, disclosures) = Sealed::new(*approved, in_force.clone());
                let call = sealed.call();
                let entry = self.write(Body::Intent(intent), disclosures);
                let committed = sealed.commit(IntentReceipt { call, entry }).unwrap();
                let Durable::Committed(committed) = committed else {
                    panic!("nothing here has to be witnessed");
                };
                let (_, dispatched) = committed.dispatch(self.moment());
                let report = Report::Answered {
                    result: Bytes::from_static(RESULT.as_bytes()),
                    tool_error: ToolError::No,
                    transcript: vec![Bytes::from_static(b"half done")],
                };
                let settled = dispatched.outcome(report).release();
                let mut record = decision::settle(settled, in_force, self.moment());
                if self.releases_all {
                    release_all(&mut record);
                }
                record
            }
        };
        self.write(Body::Decision(record.body), record.disclosures);
    }

    fn moment(&self) -> Moment {
        Moment {
            at: UnixMillis(self.mini.time + 500),
            since_boot: 0,
        }
    }

    fn identified(&mut self, body: &str) -> Identified {
        self.seeds += 1;
        let untrusted = Untrusted {
            body: Bytes::copy_from_slice(body.as_bytes()),
            moment: self.moment(),
            seed: Seed::fresh(sha256(&self.seeds.to_be_bytes())),
            session: None,
        };
        let request = Request::parse_call(untrusted).unwrap();
        let header = format!("Bearer {READER}");
        let headers = [Header {
            name: "authorization",
            value: header.as_bytes(),
        }];
        let presented = HttpRequest {
            method: "POST",
            scheme: Scheme::Http,
            authority: "localhost",
            path: "/v1/calls",
            query: None,
            headers: &headers,
            body: body.as_bytes(),
        };
        let clock = Clock {
            now: self.moment().at,
            epoch_opened: UnixMillis(0),
        };
        identify(
            request,
            Presented::without_certificates(&presented),
            &self.callers,
            &mut Nonces::default(),
            clock,
            |_| Some(countersign_record::digest::SubjectId([7; 32])),
        )
        .unwrap()
    }

    fn clear(&mut self, identified: Identified) -> Result<Clearance, Box<Refused>> {
        let admitted = admit(identified, Conditions::MET)?;
        let surfaced = surface(admitted, &self.engine, |c| {
            Observed::Descriptor(c.descriptor)
        })?;
        let now = self.moment();
        let budgeted = budget(surfaced, &mut self.state, now)?;
        match policy::decide(budgeted, &self.engine, &self.state, now)? {
            Judgement::Permitted(permitted) => approval::clear(permitted, &self.state),
            Judgement::Escalated(escalated) => {
                approval::approve(escalated, &self.engine, &mut self.state, now)
            }
        }
    }

    fn first(&self, index: u64) -> (CallId, Bytes) {
        let leaf = &self.mini.leaves[usize::try_from(index).unwrap()];
        let Body::Decision(decision) = &leaf.payload.body else {
            panic!("entry {index} is no decision");
        };
        let released = leaf.disclosures.iter().find(|d| d.field == Field::Released);
        let result = self.repeats.map_or_else(
            || released.unwrap().value.0.clone(),
            |r| r.as_bytes().to_vec(),
        );
        (decision.call, Bytes::from(result))
    }

    fn write(&mut self, mut body: Body, disclosures: Vec<Disclosure>) -> EntryRef {
        if let Some(lie) = &self.lie {
            lie(&mut body);
        }
        let run = Some(RunId([1; 16]));
        let entry = self.mini.push(body.clone(), run, disclosures.clone());
        let at = UnixMillis(self.mini.time);
        self.state.apply_body(
            &body,
            &entry,
            Owned {
                tenant: Some(TENANT),
                run: None,
            },
            at,
            &disclosures,
        );
        entry
    }
}

/// Gives the caller the raw result, and writes it so.
fn release_all(record: &mut Record) {
    let find = |field| record.disclosures.iter().position(|d| d.field == field);
    let (Some(raw), Some(released)) = (find(Field::RawResult), find(Field::Released)) else {
        panic!("no result");
    };
    record.disclosures[released].value = record.disclosures[raw].value.clone();
    let opened = &record.disclosures[released];
    record.body.released = Some(commit(Field::Released, opened.salt, &opened.value.0));
    record.body.redactions.clear();
    record.body.verdict = Verdict::Modify;
}

/// `sealed` carries the action's digest from the intent to the decision.
fn in_the_name_of(body: &mut Body, bundle: ArtifactDigest, sealed: &Cell<Option<ActionDigest>>) {
    match body {
        Body::Intent(intent) => {
            intent.policy.bundle = bundle;
            let mut action = Action::from_bytes(&intent.action.0).unwrap();
            action.bundle = bundle;
            intent.action.0 = action.to_bytes();
            sealed.set(Some(action.digest()));
        }
        Body::Decision(decision) => {
            if let Some(policy) = &mut decision.policy {
                policy.bundle = bundle;
            }
            decision.action = sealed.take();
        }
        _ => panic!("only calls are decided"),
    }
}
