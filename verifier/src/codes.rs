//! What is checked: every check's code, where it is printed, and what follows from its failure.
//!
//! In and out: constants. Codes are frozen: a script may rely on them. `docs/checks.md` is
//! generated from this table, and a test compares the two.

use serde::Serialize;

/// Parts of a report, in the order in which they are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Section {
    /// Which gateway, whose, on what hardware.
    Who,
    /// Which program, configuration and policy.
    Rules,
    /// Whether anything was changed.
    Unaltered,
    /// Whether anything is missing.
    Complete,
    /// Whether anybody else knows this log.
    KnownToOthers,
}

impl Section {
    /// All sections, in order.
    pub const ALL: &'static [Self] = &[
        Self::Who,
        Self::Rules,
        Self::Unaltered,
        Self::Complete,
        Self::KnownToOthers,
    ];

    /// The heading.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Who => "Who",
            Self::Rules => "What code and rules",
            Self::Unaltered => "Unaltered",
            Self::Complete => "Complete",
            Self::KnownToOthers => "Known to others",
        }
    }
}

/// What a failed check means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The export is altered, or not of a gateway of yours: exit code 1.
    Untrusted,
    /// The export is genuine, and breaks a rule of yours: exit code 2.
    Policy,
}

/// What it means that a check was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// There is no verdict without it: exit code 3.
    Required,
    /// It is said, and the verdict stands.
    Optional,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckInfo {
    /// The stable code.
    pub name: &'static str,
    /// Where it is printed.
    pub section: Section,
    /// What a failure means.
    pub severity: Severity,
    /// What absence means.
    pub need: Need,
    /// What passing means, in words of everyday.
    pub means: &'static str,
    /// What a reader should do if it does not pass.
    pub todo: &'static str,
}

/// Declares the codes and their table in one place.
macro_rules! codes {
    ($($variant:ident = $name:literal, $section:ident, $severity:ident, $need:ident, $means:literal, $todo:literal;)*) => {
        /// A check, by its code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $(#[doc = $means] $variant),* }

        impl Code {
            /// Every check, in the order of the report.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The row of the table.
            #[must_use]
            pub fn info(self) -> CheckInfo {
                match self { $(Self::$variant => CheckInfo {
                    name: $name, section: Section::$section, severity: Severity::$severity,
                    need: Need::$need, means: $means, todo: $todo,
                }),* }
            }
        }
    };
}

codes! {
    TrustAnchor = "trust-anchor", Who, Untrusted, Required,
        "your trust file names a governance key or a gateway of yours",
        "put the governance key that your organization published into [governance] of the trust file; without it this log is genuine, but nobody says whose it is";
    TrustSource = "trust-source", Who, Policy, Required,
        "the trust file did not come with the export",
        "take the trust file from your own records, never from whoever gave you the export";
    Gateway = "gateway", Who, Untrusted, Required,
        "the export is of one gateway, and its name is the digest of its identity key",
        "ask for an export of the gateway that you mean; do not rely on this one";
    Enrolment = "enrolment", Who, Untrusted, Required,
        "your organization's signed fleet statement lists this gateway for the time of its epochs",
        "ask governance whether this gateway was ever enrolled; an unlisted one is somebody else's";
    Identity = "identity", Who, Untrusted, Required,
        "the gateway's identity key vouches for the signing key of every epoch",
        "treat the export as forged, and ask the operator for the gateway's own export";
    EvidenceSet = "evidence-set", Who, Untrusted, Required,
        "each opening, renewal and close comes with exactly the evidence its platform must give",
        "ask for an export that includes all evidence";
    Evidence = "evidence", Who, Untrusted, Required,
        "the attestation hardware signed exactly what each opening, renewal and close claims",
        "treat the export as forged: the hardware did not say this";
    AttestationKey = "attestation-key", Who, Untrusted, Required,
        "all evidence of an epoch is by the attestation key its opening names, and by the one that was enrolled",
        "find out which machine made this evidence; it is not the one that was enrolled";
    EvidenceClass = "evidence-class", Who, Policy, Required,
        "the class of the evidence is one that you accept",
        "accept the class in [evidence] of the trust file if you mean to, or have the gateway run on hardware";
    Parties = "parties", Who, Policy, Required,
        "everybody on whom the evidence of the processor rests is somebody that you accept",
        "name the printed parties in [evidence] parties of the trust file, if you do rely on them";
    PlatformRules = "platform-rules", Who, Policy, Required,
        "the processor, its firmware, and how the guest was launched are as your trust file asks, at the time of each opening",
        "write [snp], [tdx], [azure] or [gcp] into the trust file; if they are there, have the machine updated or set up as they ask";
    ReleaseKey = "release-key", Who, Policy, Optional,
        "what may unseal the gateway's keys is decided by a release key that you accept",
        "compare the printed release key with the vendor's, and put it into [release] of the trust file";
    RecoveryKey = "recovery-key", Who, Policy, Optional,
        "stored values can be recovered by a key outside the machine",
        "have the gateway set up with a recovery key before its data matters";
    Build = "build", Rules, Policy, Required,
        "every epoch ran a program that you know",
        "give reference values with --reference; if they were given, find out which program ran";
    Configuration = "configuration", Rules, Policy, Required,
        "every epoch ran a configuration that you know",
        "give reference values with --reference; if they were given, find out who changed the configuration";
    Registers = "pcr-values", Rules, Policy, Required,
        "the boot registers that the chip signed have values that you know",
        "give the registers' values with --reference; if they were given, find out what was booted";
    Launch = "launch", Rules, Untrusted, Required,
        "what the processor launched, and its registers, have measurements that you know",
        "give launch, and rtmrs for TDX, with --reference; if they were given, find out what was launched";
    Bundle = "bundle", Rules, Untrusted, Required,
        "every policy bundle that was in force is in the export and has the digest the log names",
        "ask for an export with its bundles";
    BundleSigners = "bundle-signers", Rules, Policy, Required,
        "every policy bundle is signed by as many of the people you named as you demand",
        "put the keys of those who may sign policy into [bundles] of the trust file; if they are there, ask who put this policy in force";
    BundlePins = "bundle-pins", Rules, Policy, Optional,
        "every policy bundle is one that you pinned",
        "pin the digests of the bundles that you reviewed in [bundles] of the trust file";
    Framing = "framing", Unaltered, Untrusted, Required,
        "the file is a whole export, its items are well formed and in order",
        "the file is damaged, cut short or was edited; ask for it again, and keep this one";
    Entries = "entries", Unaltered, Untrusted, Required,
        "every entry is well formed, in the one encoding that the format has",
        "an entry was altered or the file is damaged; ask for the export again, and keep this one";
    Extensions = "extensions", Unaltered, Untrusted, Optional,
        "no entry needs a newer verifier",
        "use a newer verifier";
    Signatures = "signatures", Unaltered, Untrusted, Required,
        "every entry is signed by the key of its epoch, and nothing in it was changed since",
        "the named entries were altered or are not the gateway's; rely on none of this export";
    BaseReference = "base-reference", Unaltered, Untrusted, Required,
        "every entry belongs to the epoch in which it stands",
        "entries were moved from another epoch; rely on none of this export";
    Root = "root", Unaltered, Untrusted, Required,
        "the entries add up to exactly the log that the gateway signed",
        "entries were changed, added or taken out; rely on none of this export";
    CheckpointSignatures = "checkpoint-signatures", Unaltered, Untrusted, Required,
        "the log's checkpoints are signed by the gateway and by the epoch",
        "the checkpoint is not the gateway's; ask for its own";
    Cosignatures = "cosignatures", Unaltered, Untrusted, Optional,
        "cosignatures in the name of witnesses that you trust are theirs, over this very log",
        "somebody put a false signature under a checkpoint; ask the witness for its own";
    Disclosures = "disclosures", Unaltered, Untrusted, Optional,
        "each disclosed value is the one that the log committed to",
        "a disclosed value was altered, or was never in the log; do not rely on it";
    Erasures = "erasures", Unaltered, Untrusted, Optional,
        "values that the log says were erased were ordered so by a person who may, and are not shown",
        "ask who ordered the named erasures; what was said to be erased must not be anywhere";
    Holds = "holds", Unaltered, Untrusted, Optional,
        "people who may placed and lifted each legal hold, and nothing was erased that one covered",
        "ask what was destroyed under the named hold, and by whom";
    Stops = "stops", Unaltered, Untrusted, Optional,
        "people who may stopped and resumed calls, and none was let through that a stop covered",
        "find out who let the named call through, and who stopped or resumed it";
    CallerProofs = "caller-proofs", Unaltered, Untrusted, Optional,
        "requests that agents signed carry those agents' signatures, over the request that is shown",
        "find out who made the named calls: it was not shown to be the named agent";
    Actions = "actions", Unaltered, Untrusted, Optional,
        "each sealed intent describes one action, and agrees with itself",
        "rely on none of this export; report it to the vendor";
    Approvals = "approvals", Unaltered, Untrusted, Optional,
        "each approval is an enrolled person's signature over that very action, in time, and used once",
        "ask the named approvers what they approved";
    ApprovalRequired = "approval-required", Unaltered, Untrusted, Optional,
        "nothing that needed a person's approval was done without it",
        "find out who let the named call through";
    Trailer = "trailer", Unaltered, Untrusted, Required,
        "the file's own count and checksum agree with what is in it",
        "the file was edited or damaged after it was written; ask for it again";
    Scope = "scope", Complete, Untrusted, Required,
        "the export holds what it says: all entries, or those of one tenant or run",
        "ask for an export of the range that you need";
    Leaves = "leaves", Complete, Untrusted, Required,
        "no entry is missing, doubled or out of order, from the first to the last",
        "entries are missing or were moved; ask for the whole log, and keep this export";
    ClockOrder = "clock-order", Complete, Untrusted, Optional,
        "no entry claims an earlier time than one before it",
        "entries were moved, or the gateway's clock ran backwards; rely on no times of this export";
    Period = "period", Complete, Untrusted, Optional,
        "what the export leaves out lies outside of its period",
        "entries of the period may be missing; ask for the whole log, or for a period that ends within it";
    MissingDisclosures = "missing-disclosures", Complete, Untrusted, Optional,
        "every value that the export's profile promises is there, or an erasure says that it was destroyed",
        "values were left out of the export that its profile promises; ask for it again";
    TenantSequences = "tenant-sequences", Complete, Untrusted, Optional,
        "each tenant's entries are numbered without a gap",
        "entries of a tenant are missing; ask for the whole log";
    TenantHeads = "tenant-heads", Complete, Untrusted, Optional,
        "each tenant's last number is the one that hardware vouched for",
        "the newest entries of a tenant are missing, or nothing shows that they are there; ask for the whole log";
    RunChains = "run-chains", Complete, Untrusted, Optional,
        "each run's entries form one unbroken chain",
        "entries of a run are missing or were replaced; ask for the whole log";
    RunCloses = "run-closes", Complete, Untrusted, Optional,
        "each closed run has as many entries as its close says, and none after it",
        "entries of a run are missing; ask for the whole log";
    Settlement = "settlement", Complete, Untrusted, Optional,
        "every call that was sealed before acting is settled exactly once, and as it was sealed",
        "find out what became of the named calls";
    SettledTwice = "settled-twice", Complete, Untrusted, Optional,
        "no call has two outcomes",
        "compare both outcomes with what the caller received";
    IntentFirst = "intent-before-effect", Complete, Untrusted, Optional,
        "nothing left the gateway before its intent stood in the log",
        "find out what the named calls did";
    InForce = "in-force", Complete, Untrusted, Optional,
        "every call was decided under the policy that was in force at that place of the log",
        "find out under which policy the named calls were decided";
    Epochs = "epochs", Complete, Untrusted, Required,
        "each epoch goes on exactly where the one before ended",
        "a stretch of the log is missing or was replaced; ask for the whole log";
    Counter = "counter", Complete, Untrusted, Required,
        "the chip's counter moved by one for each opening, renewal and close, and no further",
        "somebody moved the counter: a copy of the gateway may have run; ask the operator for the missing entries";
    Resets = "reset-counts", Complete, Untrusted, Required,
        "the chip's own count of restarts agrees with the epochs",
        "the machine was restarted within an epoch, or evidence of another boot was used";
    Adoption = "adoption", Complete, Untrusted, Optional,
        "where a gateway continues another's work, governance said so, of these gateways and of this very log",
        "give the exports of both gateways; ask governance who may continue this one's work";
    HandedOver = "handed-over", Complete, Policy, Optional,
        "a log that was handed over ends where governance was told that it ends",
        "ask who had the later entries, and what the successor did without knowing them";
    Renewals = "renewals", Complete, Untrusted, Optional,
        "each renewal covers the log as it stood, and follows the one before",
        "renewals are missing, or belong to another log";
    Leases = "leases", Complete, Untrusted, Optional,
        "no call was accepted after the hardware's last word had expired",
        "the gateway went on without its hardware; ask why";
    Gaps = "gaps", Complete, Policy, Optional,
        "no stretch of the log is known to be missing, or your trust file allows it",
        "read the reason that governance signed; raise max_gap in [log] of the trust file if you accept it";
    EpochEnds = "epoch-ends", Complete, Policy, Optional,
        "each epoch before the last ended in good order, or its unseen end is as short as you allow",
        "ask the operator why the gateway stopped without closing";
    Tail = "tail", Complete, Policy, Required,
        "what is signed but not yet vouched for by hardware is as short as you allow",
        "ask for an export made after the next renewal";
    Freshness = "freshness", Complete, Policy, Optional,
        "the hardware's last word is as recent as you demand",
        "ask for a newer export";
    Receipts = "receipts", Complete, Untrusted, Optional,
        "the receipts are the gateway's own",
        "check where the receipt comes from; what is no receipt of this gateway proves nothing";
    ReceiptMissing = "receipt-missing", Complete, Untrusted, Optional,
        "every call that you hold a receipt for is in the export, as the receipt says",
        "your receipt proves that the call was recorded: the export leaves it out or shows another outcome";
    Query = "query", Complete, Untrusted, Optional,
        "the number of records that answer your question is all of them",
        "ask for an export that is complete and discloses what you ask for; until then the number is a lower bound";
    Fleet = "fleet", Complete, Untrusted, Optional,
        "the exports are of all gateways that the fleet statement lists, for the time that you ask about",
        "ask for the exports of the named gateways; a gateway that no statement lists is not yours";
    Histories = "histories", Complete, Untrusted, Optional,
        "of two exports of one gateway, the smaller is the beginning of the larger",
        "keep both exports: the gateway's keys signed two logs; rely on neither";
    Witnesses = "witnesses", KnownToOthers, Policy, Optional,
        "as many independent organisations as you demand have cosigned this log, each as its one history",
        "name witnesses that you trust in [[witnesses]] of the trust file; if they are there, ask them which checkpoint they have, and give it with --checkpoint";
    WitnessedCalls = "witnessed-calls", KnownToOthers, Policy, Optional,
        "calls that had to be witnessed left only after your witnesses had cosigned their intent",
        "find out who let the named calls go without a witness that you trust";
    OutsideTime = "outside-time", KnownToOthers, Policy, Optional,
        "clocks outside the operator's control saw the entries, and no entry claims a later time",
        "treat all times as the gateway's own claims; to bound them, ask for an export with timestamps, and name their authorities in [[timestamping]] of the trust file";
}

impl Code {
    /// The check with this code.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|c| c.info().name == name)
    }

    /// The order in which failures are named first: the check that catches a change most directly
    /// comes before those that only notice its consequences.
    pub const BLAME: &'static [Self] = &[
        Self::Framing,
        Self::Entries,
        Self::Signatures,
        Self::Identity,
        Self::Gateway,
        Self::EvidenceSet,
        Self::AttestationKey,
        Self::Evidence,
        Self::Enrolment,
        Self::Disclosures,
        Self::CallerProofs,
        Self::SettledTwice,
        Self::Leaves,
        Self::BaseReference,
        Self::Epochs,
        Self::Adoption,
        Self::Counter,
        Self::Resets,
        Self::Actions,
        Self::ApprovalRequired,
        Self::Approvals,
        Self::InForce,
        Self::IntentFirst,
        Self::Settlement,
        Self::RunChains,
        Self::TenantSequences,
        Self::Period,
        Self::TenantHeads,
        Self::RunCloses,
        Self::Renewals,
        Self::Leases,
        Self::ClockOrder,
        Self::Bundle,
        Self::CheckpointSignatures,
        Self::Cosignatures,
        Self::Root,
        Self::ReceiptMissing,
        Self::Receipts,
        Self::Erasures,
        Self::Holds,
        Self::Stops,
        Self::MissingDisclosures,
        Self::Scope,
        Self::Trailer,
    ];
}

/// The text of `docs/checks.md`.
#[must_use]
pub fn checks_document() -> String {
    let mut out = String::from(
        "# What the verifier checks\n\n\
         Written from the table in `verifier/src/codes.rs`; a test compares the two.\n\n\
         *If it fails*: 1 means altered or untrusted, 2 means genuine but against your policy.\n\
         *If it is not made*: 3 means that there is no verdict without it, – means that it is said and the verdict stands.\n",
    );
    for section in Section::ALL {
        out.push_str(&format!(
            "\n## {}\n\n| code | passing means | fails | not made | what to do |\n|---|---|---|---|---|\n",
            section.title()
        ));
        for info in Code::ALL
            .iter()
            .map(|c| c.info())
            .filter(|i| i.section == *section)
        {
            let fails = match info.severity {
                Severity::Untrusted => "1",
                Severity::Policy => "2",
            };
            let absent = match info.need {
                Need::Required => "3",
                Need::Optional => "–",
            };
            out.push_str(&format!(
                "| `{}` | {} | {fails} | {absent} | {} |\n",
                info.name, info.means, info.todo
            ));
        }
    }
    out
}
