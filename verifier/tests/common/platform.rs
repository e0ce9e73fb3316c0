//! A processor in test code, and whoever stands between it and the guest: fakes under test roots; the checks are the real
//! ones. A trust file that names these roots believes in nobody's hardware.

use super::device::{self, Device};
use countersign_devices::azure::{Claims, Report as Hcl, report_data};
use countersign_devices::key::{Key, Rsa};
use countersign_devices::rsa::Hash;
use countersign_devices::snp::{Draft, Evidence, Kind, Product};
use countersign_devices::tpm::{Public, Statement, certified, signature};
use countersign_evidence::snp::SpkiDigest;
use countersign_record::binding::Profile;
use countersign_record::cbor::Bytes;
use countersign_record::digest::Qualifying;
use countersign_record::evidence::{Endorsement, EndorsementKind, PlatformEvidence, PlatformKey};

/// Everything about the platform that a test may change, each made once, before it is signed.
#[derive(Default, Clone)]
pub struct Platform {
    /// Of the processor's report and its chain.
    pub snp: Option<fn(&mut Draft)>,
    /// Of the paravisor's claims.
    pub claims: Option<fn(&mut Claims)>,
    /// Of the statement about the attestation key.
    pub certify: Option<fn(&mut Statement)>,
    /// Of the container.
    pub after: Option<fn(&mut PlatformEvidence)>,
}

/// The table of a trust file that believes in the fake vendor, and asks for what its chips have.
pub fn trust_snp() -> String {
    format!(
        "[snp]\nroots = [{{ product = \"Genoa\", key = \"{}\" }}]\n\
         [[snp.products]]\nname = \"Genoa\"\nfloor = {{ bootloader = 1, tee = 0, snp = 1, microcode = 1 }}\n",
        root_key()
    )
}

/// The trust file of an auditor of such a gateway.
pub fn trust_platform() -> String {
    super::trust_text("hardware-tpm")
        .replace(
            "accept = [\"hardware-tpm\"]",
            "accept = [\"processor\", \"paravisor-tpm\"]\nparties = [\"amd\", \"microsoft-paravisor\"]",
        )
        .replace(
            "[reference]",
            &format!("{}[azure]\n[reference]\nlaunch = [\"{}\"]", trust_snp(), launch()),
        )
}

/// The launch measurement of the fake guest, in digits.
pub fn launch() -> String {
    hex::encode(Draft::new(Product::Genoa, Kind::Vcek).report.measurement)
}

fn root_key() -> String {
    let root = Draft::new(Product::Genoa, Kind::Vcek).build().root;
    let root = countersign_certificates::Certificate::parse(&root).unwrap();
    SpkiDigest::of(root.spki()).to_string()
}

impl Platform {
    /// The container of an opening, or of another use where the profile has no TPM.
    pub fn evidence(
        &mut self,
        device: &Device,
        data: [u8; 64],
        qualifying: Qualifying,
    ) -> PlatformEvidence {
        let (report, paravisor, key, endorsed) = match device.profile {
            Profile::AzureSnp => {
                let platform = Key::rsa(Rsa::Tpm);
                let mut claims = Claims::new(&platform, &Key::rsa(Rsa::Endorsement));
                if let Some(edit) = self.claims.take() {
                    edit(&mut claims);
                }
                let claims = claims.to_json();
                let endorsed = self.processor(report_data(&claims));
                let hcl = Hcl::around(endorsed.report.clone(), 2, &claims).to_bytes();
                let key = self.vouch(&platform, device, qualifying);
                (None, Some(hcl), Some(key), endorsed)
            }
            Profile::Swtpm
            | Profile::Tpm
            | Profile::Snp
            | Profile::Tdx
            | Profile::AzureTdx
            | Profile::GcpSnp
            | Profile::GcpTdx => {
                let endorsed = self.processor(data);
                (Some(endorsed.report.clone()), None, None, endorsed)
            }
        };
        let mut evidence = PlatformEvidence {
            profile: device.profile,
            report: report.map(Bytes),
            paravisor: paravisor.map(Bytes),
            key,
            endorsements: endorsements(endorsed),
        };
        if let Some(edit) = self.after.take() {
            edit(&mut evidence);
        }
        evidence
    }

    fn processor(&mut self, data: [u8; 64]) -> Evidence {
        let mut draft = Draft::new(Product::Genoa, Kind::Vcek);
        draft.report.report_data = data;
        if let Some(edit) = self.snp.take() {
            edit(&mut draft);
        }
        draft.build()
    }

    /// The platform's key about the attestation key.
    fn vouch(&mut self, by: &Key, device: &Device, qualifying: Qualifying) -> PlatformKey {
        let public = Public::of(by, device::AK_ATTRIBUTES);
        let name = device.ak_name();
        let attested = certified(&name, &device::qualified(0x4000_000b, &name));
        let signer = public.qualified_name(0x4000_000b);
        let mut statement = Statement::new(0x8017, signer, &qualifying.0, attested);
        if let Some(edit) = self.certify.take() {
            edit(&mut statement);
        }
        let certify = statement.to_bytes();
        PlatformKey {
            public: Bytes(public.to_bytes()),
            certify_signature: Bytes(signature(by, Hash::Sha256, &certify)),
            certify: Bytes(certify),
        }
    }
}

fn endorsements(of: Evidence) -> Vec<Endorsement> {
    let mut out = vec![
        (EndorsementKind::AmdVek, of.key),
        (EndorsementKind::AmdIssuer, of.issuer),
        (EndorsementKind::AmdRoot, of.root),
    ];
    out.extend(of.crl.map(|crl| (EndorsementKind::AmdCrl, crl)));
    out.into_iter()
        .map(|(kind, bytes)| Endorsement {
            kind,
            bytes: Bytes(bytes),
        })
        .collect()
}
