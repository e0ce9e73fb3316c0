//! Bodies about what is in force: [`Change`], [`Event`], [`Stop`].

use crate::digest::{ArtifactDigest, Commitment, KeyId, TenantId};
use crate::entry::EntryRef;
use crate::{cbor_enum, cbor_map};

cbor_enum! {
    /// What changed.
    pub enum ChangeKind ("kind of change") {
        /// The policy bundle.
        Bundle = 1: "bundle",
        /// A pack.
        Pack = 2: "pack",
        /// The registry.
        Registry = 3: "registry",
        /// The configuration.
        Configuration = 4: "configuration",
        /// Who may administer.
        Roles = 5: "roles",
        /// A key.
        Key = 6: "key",
        /// The kill switch.
        Kill = 7: "kill",
    }
}

cbor_map! {
    /// Something in force changed.
    pub struct Change {
        /// What.
        1 => kind: ChangeKind,
        /// Digest of what is in force now.
        2 => digest: ArtifactDigest,
        /// Its version.
        3 => version: u64,
        /// The base or change that held before.
        4 => before: EntryRef,
        /// Who signed it.
        5 => signers: Vec<KeyId>,
        /// Why, in words of whoever did it.
        6 => reason: Option<String>,
    }
}

cbor_enum! {
    /// What happened.
    pub enum EventKind ("kind of event") {
        /// Requests were refused before their caller was known; counted.
        Unauthenticated = 1: "unauthenticated",
        /// A restart settled calls whose outcome is not known; counted.
        Recovered = 2: "recovered",
        /// The clock stepped.
        Clock = 3: "clock",
        /// A tool's descriptor differs from the pinned one.
        Descriptor = 4: "descriptor",
        /// A renewal failed.
        RenewalFailed = 5: "renewal-failed",
        /// An upstream failed.
        Upstream = 6: "upstream",
        /// Somebody exported the log.
        Exported = 7: "exported",
        /// Something against the security rules.
        Security = 8: "security",
        /// Witnesses did not answer, or would not cosign; counted.
        Witness = 9: "witness",
        /// Calls of an adopted log that were sealed and never settled; counted.
        Restored = 10: "restored",
        /// Timestamping authorities did not answer, or not with a token that holds; counted.
        Timestamp = 11: "timestamp",
    }
}

cbor_map! {
    /// Something happened that belongs to no call.
    pub struct Event {
        /// What.
        1 => kind: EventKind,
        /// How often since the last such entry.
        2 => count: u64,
        /// Details.
        3 => detail: Option<Commitment>,
    }
}

cbor_enum! {
    /// What was done with a stop.
    pub enum StopAct ("act on a stop") {
        /// From here on, no call that it covers goes on.
        Stopped = 1: "stopped",
        /// They may again.
        Resumed = 2: "resumed",
    }
}

cbor_map! {
    /// Calls are stopped, or may go on again. Of what is named, all must fit a call; what names nothing covers every call.
    pub struct Stop {
        /// What was done.
        1 => act: StopAct,
        /// Name of the stop, used once in a log.
        2 => id: String,
        /// If given: it covers calls of this tenant alone.
        3 => tenant: Option<TenantId>,
        /// If given: it covers calls of this capability alone.
        4 => capability: Option<String>,
        /// If given: it covers calls of this agent alone; commits to the agent's URN.
        5 => agent: Option<Commitment>,
        /// The key of the person who ordered it.
        6 => ordered_by: KeyId,
        /// The person's signed statement (see [`crate::statement::StopStatement`]), which has the reason.
        7 => statement: Commitment,
    }
}
