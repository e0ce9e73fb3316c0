//! A gateway in memory: the example site with more of everything, and a log of real entries.

use crate::admission::{Conditions, admit};
use crate::approval::{self, Approved, Clearance};
use crate::budget::budget;
use crate::call::{Moment, Seed, Who};
use crate::decision::{self, Answer, Record};
use crate::execute::{Report, ToolError};
use crate::identity::{Callers, Clock, Identified, Nonces, Presented, identify};
use crate::policy::{self, Judgement};
use crate::refusal::{Code, Refused};
use crate::request::{Request, Untrusted};
use crate::seal::{Committed, Durable, IntentReceipt, Sealed, Unwitnessed};
use crate::state::{Owned, State};
use crate::surface::{Observed, surface};
use bytes::Bytes;
use countersign_policies::example::{ExampleCredential, ExampleKeys, files};
use countersign_policies::{Bundle, Engine, Pins, Site, SiteFiles};
use countersign_record::body::{Approval, Decision, Intent};
use countersign_record::commitment::Disclosure;
use countersign_record::digest::{
    ActionDigest, CallId, Commitment, EntryDigest, GatewayId, KeyId, PublicKey, RunId, Signature,
    SubjectId, TenantId, UnixMillis, sha256,
};
use countersign_record::entry::{Body, Entry, EntryRef, Payload, Place, RunPlace, TenantPlace};
use countersign_record::statement::Choice;
use countersign_signatures::http::{Header, HttpRequest, Scheme};
use countersign_signatures::token::TokenHash;
use ed25519_dalek::{Signer as _, SigningKey};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

pub(super) const READER: &str = "reader-reader-reader-reader-reader";
pub(super) const ERASURE: &str = "erasure-erasure-erasure-erasure-er";
/// Acts for the privacy officer.
pub(super) const OFFICER: &str = "officer-officer-officer-officer-of";
/// An agent of another tenant.
pub(super) const EVE: &str = "eve-eve-eve-eve-eve-eve-eve-eve-eve";

/// Seeds of people's and agents' keys.
pub(super) const PRIVACY: u8 = 8;
pub(super) const DEPUTY: u8 = 9;
pub(super) const STRANGER: u8 = 10;
pub(super) const SIGNER: u8 = 11;

pub(super) const DEMO: TenantId = TenantId([7; 16]);
pub(super) const OTHER: TenantId = TenantId([6; 16]);
pub(super) const DELETE: &str =
    r#"{"query":"DELETE FROM customers WHERE email = 'ada@example.org'"}"#;
pub(super) const SELECT: &str = r#"{"query":"SELECT COUNT(*) AS customers FROM customers"}"#;
pub(super) const START: u64 = 1_800_000_000_000;

pub(super) fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(super) fn public(seed: u8) -> PublicKey {
    PublicKey(signing_key(seed).verifying_key().to_bytes())
}

fn hash_of(token: &str) -> [u8; 32] {
    *TokenHash::of(token).unwrap().as_bytes()
}

pub(super) fn site() -> SiteFiles {
    let keys = ExampleKeys {
        tenant: DEMO,
        listen: "127.0.0.1:8443".into(),
        tpm: "device:/dev/tpmrm0".into(),
        release: [4; 65],
        governance: public(2),
        bundle_signer: public(3),
        recovery: [4; 32],
        reader_token: hash_of(READER),
        erasure: ExampleCredential::Token(hash_of(ERASURE)),
        approver: public(PRIVACY),
        python: "python3".into(),
        database: "customers.db".into(),
        entry_sha256: None,
    };
    let mut out = SiteFiles(files(&keys).into_iter().collect());
    let settings = out.0.get_mut("countersign.toml").unwrap();
    *settings = settings.replace(
        "[listen]",
        &format!("[[tenants]]\nid = \"{OTHER}\"\nname = \"other\"\n\n[listen]"),
    );
    let mut agent = |name: &str, tenant: &str, rest: String| {
        let text = format!("urn = \"agent:{tenant}/{name}@1\"\ntenant = \"{tenant}\"\n{rest}\n");
        out.0.insert(format!("agents/{name}.toml"), text);
    };
    let token = |t: &str| format!("token_digest = \"{}\"", hex::encode(hash_of(t)));
    agent("eve", "other", token(EVE));
    agent(
        "officer",
        "demo",
        format!(
            "groups = [\"erasure-desk\"]\nuser = \"privacy-officer\"\n{}",
            token(OFFICER)
        ),
    );
    agent(
        "signer",
        "demo",
        format!("public_key = \"{}\"", public(SIGNER)),
    );
    // The example's officer may approve one capability; here all of them.
    let officer = out.0.get_mut("approvers/privacy.toml").unwrap();
    *officer = officer.replace("capabilities = [\"customers.write_query\"]", "");
    let mut approver = |id: &str, seed: u8, tenant: &str| {
        let text = format!(
            "id = \"{id}\"\nname = \"{id}\"\npublic_key = \"{}\"\ngroups = [\"privacy\"]\ntenants = [\"{tenant}\"]\n",
            public(seed)
        );
        out.0.insert(format!("approvers/{id}.toml"), text);
    };
    approver("deputy", DEPUTY, "demo");
    approver("stranger", STRANGER, "other");
    capabilities(&mut out);
    out
}

fn capabilities(out: &mut SiteFiles) {
    let template = out.0["capabilities/read_query.toml"].clone();
    let mut tool = |name: &str, from: &str, to: &str| {
        let text = template.replace("read_query", name);
        assert!(text.contains(from), "{from}");
        out.0.insert(
            format!("capabilities/{name}.toml"),
            text.replacen(from, to, 1),
        );
    };
    tool("restricted", "\"CONFIDENTIAL\"", "\"RESTRICTED\"");
    tool("keyed", "\"optional\"", "\"required\"");
    tool("few", "calls = 600", "calls = 2");
    for name in ["deferred", "two", "faulty", "unless", "seen"] {
        tool(name, "calls = 600", "calls = 600");
    }
    let rules = "redactions = [\n { name = \"mail\", pattern = '[a-z]+@[a-z.]+', replacement = \"[mail]\", apply = \"always\" },\n { name = \"digits\", pattern = '[0-9]{6}', replacement = \"[digits]\", apply = \"always\" } ]\n";
    tool("redacted", "destinations", &format!("{rules}destinations"));
    let arguments = "[arguments.query]";
    let properties = "\"type\": \"object\",\n  \"properties\": {";
    tool(
        "typed",
        properties,
        &format!(
            "{properties} \"n\": {{ \"type\": \"integer\" }}, \"o\": {{ \"type\": \"object\", \"properties\": {{ \"n\": {{ \"type\": \"integer\" }} }} }},"
        ),
    );
    assert!(out.0["capabilities/typed.toml"].contains(arguments));
    let everybody = [
        "restricted",
        "keyed",
        "few",
        "redacted",
        "typed",
        "read_query",
    ]
    .map(|t| format!("Action::\"customers.{t}\""))
    .join(", ");
    let more = format!(
        "@id(\"all\")\npermit (principal, action in [{everybody}], resource);\n\
         @id(\"seen\")\n@obligation(\"witnessed\")\npermit (principal, action == Action::\"customers.seen\", resource);\n\
         @id(\"later\")\n@obligation(\"defer\")\npermit (principal, action == Action::\"customers.deferred\", resource);\n\
         @id(\"both\")\n@obligation(\"step_up\")\n@quorum(\"2\")\npermit (principal in Tenant::\"demo\", action == Action::\"customers.two\", resource);\n\
         @id(\"overflow\")\nforbid (principal, action == Action::\"customers.faulty\", resource) when {{ context.time_ms * 9223372036854775807 > 0 }};\n\
         @id(\"faulty\")\npermit (principal, action == Action::\"customers.faulty\", resource);\n\
         @id(\"ask\")\n@obligation(\"step_up\")\npermit (principal in Tenant::\"demo\", action == Action::\"customers.unless\", resource) unless {{ context.approvers.contains(\"deputy\") }};\n\
         @id(\"asked\")\npermit (principal in Tenant::\"demo\", action == Action::\"customers.unless\", resource) when {{ context.approvers.contains(\"deputy\") }};\n"
    );
    out.0.insert("policies/more.cedar".into(), more);
}

pub(super) fn engine(files: &SiteFiles) -> (Arc<Engine>, Bundle) {
    let site = Site::parse(files).unwrap_or_else(|e| panic!("{e}"));
    let mut unsigned = Bundle::build(&site).unwrap_or_else(|e| panic!("{e}"));
    unsigned
        .sign(public(3), |m| Signature(signing_key(3).sign(m).to_bytes()))
        .unwrap();
    let bundle = Bundle::open(&unsigned.to_bytes(), &Pins::of_settings(&site.settings)).unwrap();
    (Arc::new(Engine::compile(&bundle).unwrap()), bundle)
}

/// The body of a call over plain HTTP.
pub(super) fn body(capability: &str, arguments: &str, rest: &str) -> String {
    format!(r#"{{"capability":"customers.{capability}","arguments":{arguments}{rest}}}"#)
}

/// What became of a call.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) decision: Decision,
    pub(super) answer: Answer,
}

impl Done {
    pub(super) fn code(&self) -> Option<Code> {
        match &self.answer {
            Answer::Result(_) => None,
            Answer::Refused(refusal) => Some(refusal.code()),
        }
    }

    pub(super) fn result(&self) -> &str {
        match &self.answer {
            Answer::Result(bytes) => std::str::from_utf8(bytes).unwrap(),
            Answer::Refused(refusal) => panic!("refused: {refusal:?}"),
        }
    }
}

/// Whose an entry is; mostly a tenant's, of no run.
pub(super) struct Whose(Owned);

impl From<Option<TenantId>> for Whose {
    fn from(tenant: Option<TenantId>) -> Self {
        Self(Owned { tenant, run: None })
    }
}

impl From<Owned> for Whose {
    fn from(owned: Owned) -> Self {
        Self(owned)
    }
}

pub(super) struct World {
    pub(super) engine: Arc<Engine>,
    pub(super) callers: Callers,
    pub(super) nonces: Nonces,
    pub(super) state: State,
    pub(super) log: Vec<(Vec<u8>, Vec<Disclosure>)>,
    pub(super) now: u64,
    /// Runs of calls, for those that have one.
    pub(super) runs: HashMap<CallId, RunId>,
    seeds: u64,
    /// Signs entries; made once, because a key costs more than a signature.
    key: SigningKey,
}

pub(super) const GATEWAY: GatewayId = GatewayId([1; 32]);

pub(super) fn answered(result: &str) -> Report {
    Report::Answered {
        result: Bytes::copy_from_slice(result.as_bytes()),
        tool_error: ToolError::No,
        transcript: Vec::new(),
    }
}

/// The pseudonym that the shell looks up: here a digest of the name.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the shape of the stage's parameter"
)]
pub(super) fn subject(who: &Who) -> Option<SubjectId> {
    Some(SubjectId(sha256(who.subject_name().as_bytes())))
}

impl World {
    pub(super) fn new() -> Self {
        static BUILT: OnceLock<(Arc<Engine>, Bundle)> = OnceLock::new();
        let (engine, bundle) = BUILT.get_or_init(|| engine(&site()));
        Self::with(engine, bundle)
    }

    /// Under another site.
    pub(super) fn of(files: &SiteFiles) -> Self {
        let (engine, bundle) = engine(files);
        Self::with(&engine, &bundle)
    }

    fn with(engine: &Arc<Engine>, bundle: &Bundle) -> Self {
        Self {
            callers: Callers::of_content(bundle.content()),
            engine: Arc::clone(engine),
            nonces: Nonces::default(),
            state: State::new(GATEWAY),
            log: Vec::new(),
            now: START,
            runs: HashMap::new(),
            seeds: 0,
            key: signing_key(1),
        }
    }

    pub(super) fn moment(&self) -> Moment {
        Moment {
            at: UnixMillis(self.now),
            since_boot: self.now - START,
        }
    }

    pub(super) fn in_force(&self) -> EntryRef {
        EntryRef {
            index: 0,
            digest: EntryDigest([0; 32]),
        }
    }

    pub(super) fn untrusted(&mut self, body: &str) -> Untrusted {
        self.seeds += 1;
        Untrusted {
            body: Bytes::copy_from_slice(body.as_bytes()),
            moment: self.moment(),
            seed: Seed::fresh(sha256(&self.seeds.to_be_bytes())),
            session: None,
        }
    }

    pub(super) fn clock(&self) -> Clock {
        Clock {
            now: UnixMillis(self.now),
            epoch_opened: UnixMillis(START - 3_600_000),
        }
    }

    /// A call of whoever has this token.
    pub(super) fn identified(&mut self, token: &str, body: &str) -> Identified {
        let request = Request::parse_call(self.untrusted(body)).unwrap();
        let header = format!("Bearer {token}");
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
        let clock = self.clock();
        identify(
            request,
            Presented::without_certificates(&presented),
            &self.callers,
            &mut self.nonces,
            clock,
            subject,
        )
        .unwrap()
    }

    /// The same call in a run.
    pub(super) fn in_run(&mut self, run: RunId, token: &str, body: &str) -> Identified {
        let identified = self.identified(token, body).in_run(run);
        self.runs.insert(identified.call(), run);
        identified
    }

    /// Stages 3 to 6.
    pub(super) fn clear(&mut self, identified: Identified) -> Result<Clearance, Box<Refused>> {
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

    pub(super) fn write(
        &mut self,
        body: Body,
        owned: impl Into<Whose>,
        disclosures: Vec<Disclosure>,
    ) -> EntryRef {
        let Whose(Owned { tenant, run }) = owned.into();
        let index = u64::try_from(self.log.len()).unwrap();
        let place = Place {
            index,
            base: None,
            at: UnixMillis(self.now),
            since_boot: self.now - START,
            tenant: tenant.map(|tenant| TenantPlace { tenant, seq: index }),
            run: run.map(|run| RunPlace {
                run,
                seq: index,
                previous: None,
            }),
        };
        let unsigned = Payload::new(place, body.clone()).unsigned(KeyId([1; 32]));
        let signature = Signature(self.key.sign(&unsigned.to_be_signed()).to_bytes());
        let bytes = unsigned.with_signature(signature);
        let digest = Entry::parse(&bytes).unwrap().digest();
        let at = EntryRef { index, digest };
        self.log.push((bytes, disclosures.clone()));
        self.state.apply_body(
            &body,
            &at,
            Owned { tenant, run },
            UnixMillis(self.now),
            &disclosures,
        );
        at
    }

    /// The state that the log folds to, as after a restart.
    pub(super) fn refolded(&self) -> State {
        let mut state = State::new(GATEWAY);
        for (bytes, disclosures) in &self.log {
            state.apply(&Entry::parse(bytes).unwrap(), disclosures);
        }
        state
    }

    pub(super) fn restart(&mut self) {
        self.state = self.refolded();
        self.nonces = Nonces::of_log(&self.state);
    }

    /// Another gateway continues the work of this one, which is gone.
    pub(super) fn replace_gateway(&mut self) {
        self.state = State::new(GatewayId([2; 32]));
        for (bytes, disclosures) in std::mem::take(&mut self.log) {
            self.state
                .inherit(&Entry::parse(&bytes).unwrap(), &disclosures);
        }
        self.state.inherited();
        self.nonces = Nonces::default();
    }

    pub(super) fn seal(&mut self, approved: Approved) -> (Sealed, Intent, Vec<Disclosure>) {
        Sealed::new(approved, self.in_force())
    }

    pub(super) fn commit(&mut self, approved: Approved) -> Committed {
        let (sealed, intent, disclosures) = self.seal(approved);
        let tenant = countersign_record::body::Action::from_bytes_of(&intent).tenant;
        let run = self.runs.get(&intent.call).copied();
        let owned = Owned {
            tenant: Some(tenant),
            run,
        };
        let entry = self.write(Body::Intent(intent), owned, disclosures);
        let call = sealed.call();
        match sealed.commit(IntentReceipt { call, entry }).unwrap() {
            Durable::Committed(committed) => *committed,
            Durable::Unwitnessed(_) => panic!("it has to be witnessed first"),
        }
    }

    /// Makes the intent of a call durable that has to be witnessed.
    pub(super) fn commit_unwitnessed(&mut self, approved: Approved) -> Unwitnessed {
        let (sealed, intent, disclosures) = self.seal(approved);
        let tenant = countersign_record::body::Action::from_bytes_of(&intent).tenant;
        let run = self.runs.get(&intent.call).copied();
        let owned = Owned {
            tenant: Some(tenant),
            run,
        };
        let entry = self.write(Body::Intent(intent), owned, disclosures);
        let call = sealed.call();
        match sealed.commit(IntentReceipt { call, entry }).unwrap() {
            Durable::Unwitnessed(unwitnessed) => *unwitnessed,
            Durable::Committed(_) => panic!("nothing has to be witnessed"),
        }
    }

    pub(super) fn settle(&mut self, committed: Committed, report: Report) -> Done {
        let (_, dispatched) = committed.dispatch(self.moment());
        let settled = dispatched.outcome(report).release();
        let record = decision::settle(settled, self.in_force(), self.moment());
        self.record(record)
    }

    pub(super) fn record(&mut self, record: Record) -> Done {
        let Record {
            body,
            disclosures,
            tenant,
            answer,
            halted: _,
        } = record;
        let run = self.runs.get(&body.call).copied();
        self.write(
            Body::Decision(body.clone()),
            Owned { tenant, run },
            disclosures,
        );
        Done {
            decision: body,
            answer,
        }
    }

    /// A call of a known caller, up to its record; what the upstream would answer is given.
    pub(super) fn go(&mut self, token: &str, body: &str, report: Report) -> Done {
        let identified = self.identified(token, body);
        let cleared = self.clear(identified);
        self.finish(cleared, report)
    }

    pub(super) fn finish(
        &mut self,
        cleared: Result<Clearance, Box<Refused>>,
        report: Report,
    ) -> Done {
        let (in_force, now) = (self.in_force(), self.moment());
        let record = match cleared {
            Err(refused) => decision::settle_refused(*refused, in_force, now),
            Ok(Clearance::Halted(halt)) => decision::settle_halted(*halt, in_force, now),
            Ok(Clearance::Repeated(repeated)) => {
                let (call, result) = self.first(repeated.first());
                decision::settle_repeated(repeated, call, &result, in_force, now)
            }
            Ok(Clearance::Approved(approved)) => {
                let committed = self.commit(*approved);
                return self.settle(committed, report);
            }
        };
        self.record(record)
    }

    fn first(&self, index: u64) -> (countersign_record::digest::CallId, Bytes) {
        let (bytes, disclosures) = &self.log[usize::try_from(index).unwrap()];
        let Body::Decision(decision) = Entry::parse(bytes).unwrap().body().clone() else {
            panic!("no decision");
        };
        let released = disclosures
            .iter()
            .find(|d| d.field == countersign_record::commitment::Field::Released)
            .unwrap();
        (decision.call, Bytes::copy_from_slice(&released.value.0))
    }

    /// A person's word, as the shell writes it.
    pub(super) fn word(&mut self, action: ActionDigest, seed: u8, choice: Choice, lasts: u64) {
        let Some(call) = self.state.halted_action(&action).map(|h| h.call) else {
            return;
        };
        let approval = Approval {
            action,
            call,
            approver: public(seed).id(),
            choice,
            statement: Commitment([0; 32]),
            expires: UnixMillis(self.now + lasts),
        };
        self.write(Body::Approval(approval), Some(DEMO), Vec::new());
    }

    pub(super) fn approve(&mut self, action: ActionDigest, seed: u8) {
        self.word(action, seed, Choice::Approve, 600_000);
    }
}

trait OfIntent {
    fn from_bytes_of(intent: &Intent) -> Self;
}

impl OfIntent for countersign_record::body::Action {
    fn from_bytes_of(intent: &Intent) -> Self {
        use countersign_record::cbor::Cbor as _;
        Self::from_bytes(&intent.action.0).unwrap()
    }
}

/// Runs `f` on a call with these headers and this body.
pub(super) fn presented_with<T>(
    headers: &[(&str, impl AsRef<str>)],
    body: &str,
    f: impl FnOnce(&HttpRequest<'_>) -> T,
) -> T {
    let headers: Vec<Header<'_>> = headers
        .iter()
        .map(|(name, value)| Header {
            name,
            value: value.as_ref().as_bytes(),
        })
        .collect();
    f(&HttpRequest {
        method: "POST",
        scheme: Scheme::Http,
        authority: "localhost",
        path: "/v1/calls",
        query: None,
        headers: &headers,
        body: body.as_bytes(),
    })
}
