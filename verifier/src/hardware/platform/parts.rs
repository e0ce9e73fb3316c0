//! What stands in a container of the platform: exactly the parts and the endorsements that its profile names.
//!
//! In: the container. Out: [`Parts`], each by its name, or what there is too much or too little of.

use super::Blame;
use crate::codes::Code;
use countersign_record::binding::Profile;
use countersign_record::evidence::{EndorsementKind, Endorsements, PlatformEvidence, PlatformKey};

/// The container, its parts by name.
pub(super) struct Parts<'a> {
    pub(super) report: Option<&'a [u8]>,
    pub(super) paravisor: Option<&'a [u8]>,
    pub(super) key: Option<&'a PlatformKey>,
    endorsements: Vec<(EndorsementKind, &'a [u8])>,
    /// `TPMT_PUBLIC` of the key that signs beside the report.
    pub(super) attestation_key: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Exactly the parts that the profile names.
    pub(super) fn of(
        evidence: &'a PlatformEvidence,
        attestation_key: Option<&'a [u8]>,
    ) -> Result<Self, Vec<Blame>> {
        let PlatformEvidence {
            profile,
            report,
            paravisor,
            key,
            endorsements,
        } = evidence;
        let asked = asked(*profile);
        for (what, there, wanted) in [
            ("a processor's report", report.is_some(), asked.report),
            ("a paravisor's report", paravisor.is_some(), asked.paravisor),
            ("a key of the platform", key.is_some(), asked.key),
        ] {
            if there != wanted {
                let does = if wanted { "needs" } else { "does not have" };
                let text = format!("profile {profile} {does} {what}");
                return Err(Blame::one(Code::EvidenceSet, text));
            }
        }
        let endorsements: Vec<_> = endorsements
            .iter()
            .map(|e| (e.kind, e.bytes.0.as_slice()))
            .collect();
        expect_endorsements(*profile, &endorsements, &asked)?;
        Ok(Self {
            report: report.as_ref().map(|b| b.0.as_slice()),
            paravisor: paravisor.as_ref().map(|b| b.0.as_slice()),
            key: key.as_ref(),
            endorsements,
            attestation_key: attestation_key.unwrap_or_default(),
        })
    }

    pub(super) fn report(&self, profile: Profile) -> Result<&'a [u8], Vec<Blame>> {
        let text = || format!("profile {profile} needs a processor's report");
        self.report
            .ok_or_else(|| Blame::one(Code::EvidenceSet, text()))
    }

    pub(super) fn endorsement(&self, kind: EndorsementKind) -> Option<&'a [u8]> {
        self.endorsements
            .iter()
            .find(|(k, _)| *k == kind)
            .map(|(_, b)| *b)
    }

    /// Certificates towards the platform's key, its own first.
    pub(super) fn key_certificates(&self) -> Vec<&'a [u8]> {
        self.endorsements
            .iter()
            .filter(|(kind, _)| *kind == EndorsementKind::KeyCertificate)
            .map(|(_, bytes)| *bytes)
            .collect()
    }

    /// One that [`Parts::of`] found to be there.
    pub(super) fn needed(&self, kind: EndorsementKind) -> &'a [u8] {
        self.endorsement(kind).unwrap_or_default()
    }
}

/// What a profile's container has.
struct Asked {
    report: bool,
    paravisor: bool,
    key: bool,
    endorsements: Endorsements,
}

/// The table of `docs/spec/evidence.md`, "Platform profiles".
fn asked(profile: Profile) -> Asked {
    let (report, paravisor, key) = match profile {
        Profile::Swtpm | Profile::Tpm => (false, false, false),
        Profile::Snp | Profile::Tdx => (true, false, false),
        Profile::AzureSnp => (false, true, true),
        Profile::AzureTdx => (true, true, true),
        Profile::GcpSnp | Profile::GcpTdx => (true, false, true),
    };
    Asked {
        report,
        paravisor,
        key,
        endorsements: profile.endorsements(),
    }
}

/// Most certificates towards a platform's key.
const MAX_KEY_CERTIFICATES: usize = 8;

fn expect_endorsements(
    profile: Profile,
    found: &[(EndorsementKind, &[u8])],
    asked: &Asked,
) -> Result<(), Vec<Blame>> {
    let refused = |text: String| Err(Blame::one(Code::EvidenceSet, text));
    for pair in found.windows(2) {
        if let [(before, _), (after, _)] = pair
            && (before > after || (before == after && *after != EndorsementKind::KeyCertificate))
        {
            return refused("endorsements are not in the order of their kinds".to_owned());
        }
    }
    let certificates = found
        .iter()
        .filter(|(k, _)| *k == EndorsementKind::KeyCertificate);
    if certificates.count() > MAX_KEY_CERTIFICATES {
        return refused(format!(
            "more than {MAX_KEY_CERTIFICATES} certificates of a key"
        ));
    }
    let Endorsements { needed, allowed } = asked.endorsements;
    for kind in needed {
        if !found.iter().any(|(k, _)| k == kind) {
            return refused(format!("profile {profile} needs an endorsement {kind}"));
        }
    }
    let fits = |kind: &EndorsementKind| needed.contains(kind) || allowed.contains(kind);
    match found.iter().find(|(kind, _)| !fits(kind)) {
        Some((kind, _)) => refused(format!(
            "profile {profile} does not have an endorsement {kind}"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with Google's endorsements for AMD's processors and so many certificates of its key.
    fn with_certificates(count: usize) -> Option<String> {
        let profile = Profile::GcpSnp;
        let needed = profile.endorsements().needed.iter();
        let others = needed.filter(|kind| **kind != EndorsementKind::KeyCertificate);
        let mut found: Vec<(EndorsementKind, &[u8])> = others.map(|k| (*k, &[][..])).collect();
        found.extend(std::iter::repeat_n(
            (EndorsementKind::KeyCertificate, &[][..]),
            count,
        ));
        found.sort_by_key(|(kind, _)| *kind);
        let blames = expect_endorsements(profile, &found, &asked(profile)).err()?;
        blames.first().map(|blame| blame.text.clone())
    }

    #[test]
    fn a_platforms_key_has_at_most_eight_certificates() {
        assert_eq!(with_certificates(1), None);
        assert_eq!(with_certificates(8), None);
        let more = Some("more than 8 certificates of a key".to_owned());
        assert_eq!(
            (with_certificates(9), with_certificates(10)),
            (more.clone(), more)
        );
    }
}
