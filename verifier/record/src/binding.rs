//! How hardware vouches for a key: the binding, the anchor, and what a TPM signs.
//!
//! In: what an epoch is made of. Out: the 64 bytes that go into a hardware report and the
//! 32 bytes that a TPM signs. Each use has its own domain, so evidence made for one use
//! cannot serve another.
//!
//! | use | what is hashed | domain |
//! |---|---|---|
//! | base | [`Binding`] | `countersign/anchor/v1` (SHA-512), then SHA-256 of the anchor where a TPM stands alone, and `countersign/beside/v1` over the anchor and the platform's evidence where it stands beside a report |
//! | renewal | [`RenewalStatement`] | `countersign/renewal/v1` |
//! | fresh evidence | [`FreshStatement`] | `countersign/fresh/v1` |
//! | close | [`CloseStatement`] | `countersign/close/v1` |
//!
//! Spec: `docs/spec/evidence.md`.

use crate::cbor::{Bytes, Cbor};
use crate::digest::{
    Anchor, ArtifactDigest, EntryDigest, NodeHash, Nonce, PublicKey, Qualifying, UnixMillis,
    sha256, sha256_in, sha512_in,
};
use crate::{cbor_enum, cbor_map};

/// Version of the binding that this code writes.
pub const BINDING_VERSION: u64 = 1;

cbor_enum! {
    /// Where evidence comes from, and which set of evidence is complete.
    pub enum Profile ("platform profile") {
        /// A software TPM. Vouches for nothing outside the machine that runs it.
        Swtpm = 1: "swtpm",
        /// A TPM 2.0 by itself.
        Tpm = 2: "tpm",
        /// An AMD SEV-SNP report by itself: no TPM that lasts, no certified counter.
        Snp = 3: "snp",
        /// An Intel TDX quote by itself: no TPM that lasts, no certified counter.
        Tdx = 4: "tdx",
        /// SEV-SNP on Azure: a paravisor above the guest holds its TPM.
        AzureSnp = 5: "azure-snp",
        /// TDX on Azure: a paravisor above the guest holds its TPM.
        AzureTdx = 6: "azure-tdx",
        /// SEV-SNP on Google Cloud: the hypervisor holds the guest's TPM.
        GcpSnp = 7: "gcp-snp",
        /// TDX on Google Cloud: the hypervisor holds the guest's TPM.
        GcpTdx = 8: "gcp-tdx",
    }
}

impl Profile {
    /// Whether a processor's report belongs to the evidence of an opening.
    #[must_use]
    pub fn has_report(self) -> bool {
        match self {
            Self::Swtpm | Self::Tpm => false,
            Self::Snp
            | Self::Tdx
            | Self::AzureSnp
            | Self::AzureTdx
            | Self::GcpSnp
            | Self::GcpTdx => true,
        }
    }

    /// Whether a TPM belongs to the evidence of each use, and with it a certified counter.
    #[must_use]
    pub fn has_tpm(self) -> bool {
        match self {
            Self::Snp | Self::Tdx => false,
            Self::Swtpm
            | Self::Tpm
            | Self::AzureSnp
            | Self::AzureTdx
            | Self::GcpSnp
            | Self::GcpTdx => true,
        }
    }
}

cbor_map! {
    /// Size and root of a log.
    pub struct LogHead {
        /// How many leaves.
        1 => size: u64,
        /// The root over them.
        2 => root: NodeHash,
    }
}

cbor_map! {
    /// What evidence of an epoch's opening stands for.
    pub struct Binding {
        /// [`BINDING_VERSION`].
        1 => version: u64,
        /// Which evidence is complete.
        2 => profile: Profile,
        /// The gateway's identity key.
        3 => identity_key: PublicKey,
        /// The key that signs this epoch's entries.
        4 => epoch_key: PublicKey,
        /// Name of the TPM's attestation key: algorithm identifier and digest, 34 bytes. Empty where the profile has no TPM.
        5 => ak_name: Bytes,
        /// Digest of the TLS key, where the gateway speaks TLS itself.
        6 => tls_key: Option<ArtifactDigest>,
        /// The PCRs that evidence covers, ascending, SHA-256 bank. None where the profile has no TPM.
        7 => pcrs: Vec<u8>,
        /// TPM public area (`TPMT_PUBLIC`) of the release key under which keys are sealed.
        8 => release_key: Bytes,
        /// Digest of the gateway's program.
        9 => build: ArtifactDigest,
        /// Digest of the configuration.
        10 => configuration: ArtifactDigest,
        /// Digests of the bundles in force.
        11 => bundles: Vec<ArtifactDigest>,
        /// Value of the epoch counter after this opening moved it. Where the profile has no TPM nobody certifies it.
        12 => counter: u64,
        /// The log before this epoch.
        13 => previous: LogHead,
        /// Unpredictable bytes, or a challenge.
        14 => nonce: Nonce,
    }
}

impl Binding {
    /// The 64 bytes that a hardware report carries.
    #[must_use]
    pub fn anchor(&self) -> Anchor {
        anchor_of(&self.to_bytes())
    }
}

/// The anchor of a binding's encoding.
#[must_use]
pub fn anchor_of(binding: &[u8]) -> Anchor {
    Anchor(sha512_in("countersign/anchor/v1", binding))
}

impl Anchor {
    /// What a TPM that stands alone signs.
    #[must_use]
    pub fn qualifying(&self) -> Qualifying {
        Qualifying(sha256(&self.0))
    }

    /// What a TPM signs that stands beside a processor's report: the anchor, and what was kept of the platform.
    #[must_use]
    pub fn qualifying_beside(&self, platform: ArtifactDigest) -> Qualifying {
        Qualifying(sha256_in("countersign/beside/v1", &[&self.0, &platform.0]))
    }
}

/// What the identity key signs to vouch for an epoch key: the binding, under a domain of its own.
#[must_use]
pub fn epoch_message(binding: &[u8]) -> Vec<u8> {
    sha256_in("countersign/epoch/v1", &[binding]).to_vec()
}

cbor_map! {
    /// What a renewal's evidence stands for.
    pub struct RenewalStatement {
        /// The epoch's base.
        1 => base: EntryDigest,
        /// Number of this renewal within the epoch, from 1.
        2 => number: u64,
        /// Value of the epoch counter after this renewal moved it.
        3 => counter: u64,
        /// The log that the renewal covers.
        4 => head: LogHead,
        /// Root over every tenant's last sequence number (see [`crate::body::tenants_root`]).
        5 => tenants: NodeHash,
        /// How many tenants have entries.
        6 => tenant_count: u64,
        /// The renewal before, or the base.
        7 => previous: EntryDigest,
        /// How long new calls may be accepted after this renewal, in milliseconds.
        8 => lease: u64,
        /// Claimed time.
        9 => at: UnixMillis,
        /// Bytes that nobody could know earlier, where there is an outside source.
        10 => beacon: Option<Bytes>,
    }
}

impl RenewalStatement {
    /// What the TPM signs; of a report by itself, the first half of its report data.
    #[must_use]
    pub fn qualifying(&self) -> Qualifying {
        Qualifying(sha256_in("countersign/renewal/v1", &[&self.to_bytes()]))
    }
}

cbor_map! {
    /// What the evidence of an epoch's end stands for.
    pub struct CloseStatement {
        /// The epoch's base.
        1 => base: EntryDigest,
        /// Value of the epoch counter after the close moved it.
        2 => counter: u64,
        /// The log up to the entry before the close.
        3 => head: LogHead,
        /// The last renewal, or the base.
        4 => previous: EntryDigest,
        /// Claimed time.
        5 => at: UnixMillis,
        /// Root over every tenant's last sequence number (see [`crate::body::tenants_root`]).
        6 => tenants: NodeHash,
        /// How many tenants have entries.
        7 => tenant_count: u64,
    }
}

impl CloseStatement {
    /// What the TPM signs.
    #[must_use]
    pub fn qualifying(&self) -> Qualifying {
        Qualifying(sha256_in("countersign/close/v1", &[&self.to_bytes()]))
    }
}

cbor_map! {
    /// What evidence on demand stands for.
    pub struct FreshStatement {
        /// The epoch's base.
        1 => base: EntryDigest,
        /// The caller's challenge.
        2 => nonce: Nonce,
        /// The log at that moment.
        3 => head: LogHead,
    }
}

impl FreshStatement {
    /// What the TPM signs.
    #[must_use]
    pub fn qualifying(&self) -> Qualifying {
        Qualifying(sha256_in("countersign/fresh/v1", &[&self.to_bytes()]))
    }
}

#[cfg(test)]
mod tests {
    use super::Profile;

    #[test]
    fn each_profile_has_the_devices_that_its_name_says() {
        for profile in Profile::ALL {
            let name = profile.name();
            let processor = ["snp", "tdx"].iter().any(|p| name.ends_with(p));
            assert_eq!(profile.has_report(), processor, "{name}");
            let alone = ["snp", "tdx"].contains(&name);
            assert_eq!(profile.has_tpm(), !alone, "{name}");
        }
    }
}
