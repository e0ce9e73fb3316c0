//! A processor in test code, and whoever stands between it and the guest: fakes under test roots; the checks are the real
//! ones. A trust file that names these roots believes in nobody's hardware.

use super::device::{self, Device};
use countersign_devices::azure::{Claims, Report as Hcl, TdReport, report_data};
use countersign_devices::google::{self, KeyChain, Launch};
use countersign_devices::key::{Key, Rsa};
use countersign_devices::rsa::Hash;
use countersign_devices::snp::{Draft, Evidence, Kind, Product};
use countersign_devices::tdx::{Collateral, Intel, Quote};
use countersign_devices::tpm::{Public, Statement, certified, signature};
use countersign_evidence::snp::SpkiDigest;
use countersign_evidence::tdx::RootDigest;
use countersign_record::binding::Profile;
use countersign_record::cbor::Bytes;
use countersign_record::digest::Qualifying;
use countersign_record::evidence::{Endorsement, EndorsementKind, PlatformEvidence, PlatformKey};

/// Everything about the platform that a test may change, each made once, before it is signed.
#[derive(Default, Clone)]
pub struct Platform {
    /// Of the processor's report and its chain.
    pub snp: Option<fn(&mut Draft)>,
    /// Of the quote.
    pub tdx: Option<fn(&mut Quote)>,
    /// Of Intel's collateral.
    pub collateral: Option<fn(&mut Collateral)>,
    /// Of the paravisor's claims.
    pub claims: Option<fn(&mut Claims)>,
    /// Of the chain of Google's key.
    pub key_chain: Option<fn(&mut KeyChain)>,
    /// Of Google's statement about the firmware, which comes with every opening where this is there.
    pub launch: Option<fn(&mut Launch)>,
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
            &format!("{}[azure]\n[reference]", trust_snp()),
        )
        + &launch_table(&["snp", "azure-snp", "gcp-snp"], &launch())
}

/// One reference value of what was launched, for each of these profiles.
pub fn launch_table(profiles: &[&str], value: &str) -> String {
    let line = |profile| format!("{profile} = [\"{value}\"]\n");
    let lines: String = profiles.iter().map(line).collect();
    format!("[reference.launch]\n{lines}")
}

/// The trust file of an auditor of gateways on Intel's processors.
pub fn trust_intel() -> String {
    let root = RootDigest::of(&Intel::default().root_der());
    let registers: String = Quote::default()
        .td
        .rtmrs
        .iter()
        .enumerate()
        .map(|(number, value)| format!("{number} = [\"{}\"]\n", hex::encode(value)))
        .collect();
    let tdx = format!("[tdx]\nroots = [\"{root}\"]\n");
    trust_platform()
        .replace("\"amd\"", "\"intel\"")
        .replace(&trust_snp(), &tdx)
        .replace(
            &launch_table(&["snp", "azure-snp", "gcp-snp"], &launch()),
            &launch_table(
                &["tdx", "azure-tdx", "gcp-tdx"],
                &hex::encode(Quote::default().td.mrtd),
            ),
        )
        + "[reference.rtmrs]\n"
        + &registers
}

/// The trust file of an auditor of gateways on Google's machines, on AMD's processors.
pub fn trust_google() -> String {
    google_of(&trust_platform())
}

/// The same, on Intel's.
pub fn trust_google_intel() -> String {
    google_of(&trust_intel())
}

fn google_of(text: &str) -> String {
    let root = KeyChain::of(&Key::rsa(Rsa::Tpm)).root_digest();
    let root = hex::encode(root);
    text.replace("\"paravisor-tpm\"", "\"hypervisor-tpm\"")
        .replace("\"microsoft-paravisor\"", "\"google-hypervisor\"")
        .replace("[azure]\n", &format!("[gcp]\nroots = [\"{root}\"]\n"))
}

/// The table that asks for the fake Google's statement about the firmware.
pub fn endorsement_table() -> String {
    let root = hex::encode(Launch::of([0; 48], [0; 48]).root_digest());
    format!("[gcp.endorsement]\nroots = [\"{root}\"]\nsvn_floor = 5\n")
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
        let (report, paravisor, key, endorsements) = match device.profile {
            Profile::AzureSnp | Profile::AzureTdx => self.azure(device, qualifying),
            Profile::GcpSnp | Profile::GcpTdx => self.google(device, data, qualifying),
            Profile::Tdx => {
                let quote = self.quote(data).to_bytes();
                (Some(quote), None, None, self.intel())
            }
            Profile::Swtpm | Profile::Tpm | Profile::Snp => {
                let endorsed = self.processor(data);
                let report = endorsed.report.clone();
                (Some(report), None, None, endorsements(endorsed))
            }
        };
        let mut evidence = PlatformEvidence {
            profile: device.profile,
            report: report.map(Bytes),
            paravisor: paravisor.map(Bytes),
            key,
            endorsements,
        };
        if let Some(edit) = self.after.take() {
            edit(&mut evidence);
        }
        evidence
    }

    fn azure(&mut self, device: &Device, qualifying: Qualifying) -> Said {
        let platform = Key::rsa(Rsa::Tpm);
        let mut claims = Claims::new(&platform, &Key::rsa(Rsa::Endorsement));
        if let Some(edit) = self.claims.take() {
            edit(&mut claims);
        }
        let claims = claims.to_json();
        let public = Public::of(&platform, device::AK_ATTRIBUTES);
        let key = self.vouch(&platform, &public, device, qualifying);
        if device.profile == Profile::AzureSnp {
            let endorsed = self.processor(report_data(&claims));
            let hcl = Hcl::around(endorsed.report.clone(), 2, &claims).to_bytes();
            return (None, Some(hcl), Some(key), endorsements(endorsed));
        }
        let quote = self.quote(report_data(&claims));
        let hcl = Hcl::around(td_report(&quote).to_bytes(), 4, &claims).to_bytes();
        (Some(quote.to_bytes()), Some(hcl), Some(key), self.intel())
    }

    fn google(&mut self, device: &Device, data: [u8; 64], qualifying: Qualifying) -> Said {
        let platform = Key::rsa(Rsa::Tpm);
        let mut chain = KeyChain::of(&platform);
        if let Some(edit) = self.key_chain.take() {
            edit(&mut chain);
        }
        let public = Public::of(&platform, google::AK_ATTRIBUTES);
        let key = self.vouch(&platform, &public, device, qualifying);
        let (report, measured, mut endorsed) = if device.profile == Profile::GcpTdx {
            let quote = self.quote(data);
            (quote.to_bytes(), quote.td.mrtd, self.intel())
        } else {
            let draft = self.draft(data);
            let measured = draft.report.measurement;
            let of = draft.build();
            (of.report.clone(), measured, endorsements(of))
        };
        let certificates = chain
            .build()
            .map(|der| (EndorsementKind::KeyCertificate, der));
        let launch = self.launch.map(|edit| {
            let mut launch = Launch::of(measured, measured);
            edit(&mut launch);
            (EndorsementKind::GoogleLaunch, launch.build())
        });
        endorsed.extend(
            certificates
                .into_iter()
                .chain(launch)
                .map(|(kind, bytes)| Endorsement {
                    kind,
                    bytes: Bytes(bytes),
                }),
        );
        endorsed.sort_by_key(|it| it.kind);
        (Some(report), None, Some(key), endorsed)
    }

    fn quote(&mut self, data: [u8; 64]) -> Quote {
        let mut quote = Quote::default();
        quote.td.report_data = data;
        if let Some(edit) = self.tdx.take() {
            edit(&mut quote);
        }
        quote
    }

    fn intel(&mut self) -> Vec<Endorsement> {
        let mut of = Collateral::default();
        for text in [&mut of.tcb_info, &mut of.qe_identity] {
            *text = text.replace("2026-01-27", "2026-03-27");
        }
        for list in [&mut of.root_crl, &mut of.pck_crl] {
            list.next_update = Some(1_775_000_000_000);
        }
        if let Some(edit) = self.collateral.take() {
            edit(&mut of);
        }
        let kinds = Profile::Tdx.endorsements().needed;
        let answers = intel_answers(&of);
        let endorsement = |(kind, bytes): (&EndorsementKind, _)| Endorsement {
            kind: *kind,
            bytes: Bytes(bytes),
        };
        kinds.iter().zip(answers).map(endorsement).collect()
    }

    fn processor(&mut self, data: [u8; 64]) -> Evidence {
        self.draft(data).build()
    }

    fn draft(&mut self, data: [u8; 64]) -> Draft {
        let mut draft = Draft::new(Product::Genoa, Kind::Vcek);
        draft.report.report_data = data;
        if let Some(edit) = self.snp.take() {
            edit(&mut draft);
        }
        draft
    }

    /// The platform's key about the attestation key.
    fn vouch(
        &mut self,
        by: &Key,
        public: &Public,
        device: &Device,
        qualifying: Qualifying,
    ) -> PlatformKey {
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

/// What Intel's service answers, in the order of the kinds of endorsements.
pub fn intel_answers(of: &Collateral) -> [Vec<u8>; 6] {
    let answer = |name: &str, object: &str, signature: &[u8]| {
        let signature = hex::encode(signature);
        format!("{{\"{name}\":{object},\"signature\":\"{signature}\"}}").into_bytes()
    };
    [
        answer("tcbInfo", &of.tcb_info, &of.tcb_info_signature()),
        of.tcb_info_chain.clone(),
        answer(
            "enclaveIdentity",
            &of.qe_identity,
            &of.qe_identity_signature(),
        ),
        of.qe_identity_chain.clone(),
        of.pck_crl.sign(&of.pck_crl_by),
        of.root_crl.sign(&of.root_crl_by),
    ]
}

/// Report, paravisor's report, key, endorsements.
type Said = (
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<PlatformKey>,
    Vec<Endorsement>,
);

/// The report that a processor makes of the same trust domain.
fn td_report(quote: &Quote) -> TdReport {
    let body = quote.td.to_bytes(2);
    let mut report = TdReport::new(quote.td.report_data);
    report.tcb_info[8..128].copy_from_slice(&body[..120]);
    report.tcb_info[128..].fill(0);
    report.td_info[..400].copy_from_slice(&body[120..520]);
    report.td_info[400..].fill(0);
    report
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
