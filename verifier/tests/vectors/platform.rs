//! Processors that make reports, alone and below a paravisor: under a fake vendor's root, which the trust file names.

use super::case::*;
use super::common::platform::{
    endorsement_table, launch, trust_google, trust_google_intel, trust_intel, trust_platform,
    trust_snp,
};
use super::common::*;
use countersign_devices::azure::Claims;
use countersign_devices::google::{
    KeyChain, Launch, alternative_name, purpose, snp_measurements, tdx_measurements, varint,
};
use countersign_devices::key::{Key as VendorKey, Rsa, Scheme};
use countersign_devices::rsa::Hash;
use countersign_devices::x509::Extension;
use countersign_record::binding::Profile;
use countersign_record::cbor::Bytes;
use countersign_record::evidence::{Endorsement, EndorsementKind};
use countersign_verify::ledger::State;

pub fn cases() -> Vec<Case> {
    [
        genuine(),
        processors(),
        intel(),
        paravisors(),
        google(),
        firmware(),
        sets(),
        rules(),
    ]
    .into_iter()
    .flatten()
    .map(|case| match case.trust.0 {
        "hardware" => case.trust("platform", trust_platform()),
        _ => case,
    })
    .collect()
}

/// A short log on a platform, with a change of it.
fn on(profile: Profile, change: impl FnOnce(&mut Mini)) -> Vec<u8> {
    let mut log = Mini::new(profile);
    change(&mut log);
    log.open();
    log.enrol();
    log.renew();
    log.export()
}

/// Two epochs on two profiles; the second has the attestation key of this seed.
fn switched(first: Profile, second: Profile, seed: u8) -> Vec<u8> {
    let mut log = Mini::new(first);
    log.open();
    log.enrol();
    log.renew();
    log.close();
    log.device.profile = second;
    log.device.ak_seed = seed;
    log.open();
    log.renew();
    log.export()
}

fn azure(change: impl FnOnce(&mut Mini)) -> Vec<u8> {
    on(Profile::AzureSnp, change)
}

fn genuine() -> Vec<Case> {
    vec![
        case(
            "accept-platform-azure-snp",
            "A log on SEV-SNP below Azure's paravisor is verified.",
            azure(|_| ()),
        ),
        case(
            "platform-snp-renewed-elsewhere",
            "Another guest's report stands for the renewal.",
            {
                let mut log = Mini::new(Profile::Snp);
                log.open();
                log.enrol();
                log.platform.snp = Some(|d| d.report.measurement[0] ^= 1);
                log.renew();
                log.export()
            },
        )
        .fails("evidence"),
        case(
            "platform-snp-alone",
            "A processor alone vouches for the keys, and nobody for the counter.",
            on(Profile::Snp, |_| ()),
        )
        .cannot("counter")
        .state("evidence", State::Pass)
        .state("launch", State::Pass)
        .state("platform-rules", State::Pass),
        case(
            "accept-platform-that-expired-since",
            "What the platform showed held at its time; its certificates have expired since.",
            azure(|_| ()),
        )
        .now(1_800_000_000_000),
    ]
}

fn processors() -> Vec<Case> {
    vec![
        case(
            "platform-snp-debug",
            "The guest can be debugged.",
            azure(|l| l.platform.snp = Some(|d| d.report.policy |= 1 << 19)),
        )
        .fails("evidence"),
        case(
            "platform-snp-over-another-anchor",
            "The report is over another anchor.",
            on(Profile::Snp, |l| {
                l.platform.snp = Some(|d| d.report.report_data[63] ^= 1);
            }),
        )
        .fails("evidence"),
        case(
            "platform-snp-signature",
            "A byte of the report was changed after it was signed.",
            azure(|l| l.platform.snp = Some(|d| d.report_by = VendorKey::p384(9))),
        )
        .fails("evidence"),
        case(
            "platform-snp-issuer",
            "Another key issued the certificate of the signing key.",
            azure(|l| l.platform.snp = Some(|d| d.key_by = VendorKey::rsa(Rsa::Other))),
        )
        .fails("evidence"),
        case(
            "platform-snp-expired",
            "The certificate of the signing key had expired when the epoch opened.",
            azure(|l| l.platform.snp = Some(|d| d.key.not_after = 1_769_904_000_000)),
        )
        .fails("evidence"),
        case(
            "platform-snp-revoked",
            "The root took its issuer's certificate back.",
            azure(|l| {
                l.platform.snp = Some(|d| {
                    let serial = d.issuer.serial.clone();
                    if let Some(crl) = &mut d.crl {
                        crl.revoked.push((serial, 1_768_000_000_000));
                    }
                });
            }),
        )
        .fails("evidence"),
        case(
            "platform-snp-chip",
            "The report is of another chip than the certificate.",
            azure(|l| l.platform.snp = Some(|d| d.report.chip_id[0] ^= 1)),
        )
        .fails("evidence"),
        case(
            "platform-snp-tcb",
            "The signing key is not that of the reported versions.",
            azure(|l| l.platform.snp = Some(|d| d.report.reported_tcb[0] -= 1)),
        )
        .fails("evidence"),
        case(
            "platform-snp-another-root",
            "The trust file names no root, and the chain ends in none of AMD's.",
            azure(|_| ()),
        )
        .trust(
            "platform-vendor",
            trust_platform().replace(&trust_snp(), ""),
        )
        .fails("evidence"),
    ]
}

fn intel() -> Vec<Case> {
    let tdx = |change: fn(&mut Mini)| on(Profile::Tdx, change);
    [
        case(
            "accept-platform-azure-tdx",
            "A log on TDX below Azure's paravisor is verified.",
            on(Profile::AzureTdx, |_| ()),
        ),
        case(
            "platform-tdx-alone",
            "A processor alone vouches for the keys, and nobody for the counter.",
            tdx(|_| ()),
        )
        .cannot("counter")
        .state("evidence", State::Pass)
        .state("launch", State::Pass)
        .state("platform-rules", State::Pass),
        case(
            "platform-tdx-debug",
            "The trust domain can be debugged.",
            tdx(|l| l.platform.tdx = Some(|q| q.td.attributes |= 1)),
        )
        .fails("evidence"),
        case(
            "platform-tdx-over-another-anchor",
            "The quote is over another anchor.",
            tdx(|l| l.platform.tdx = Some(|q| q.td.report_data[0] ^= 1)),
        )
        .fails("evidence"),
        case(
            "platform-tdx-signature",
            "Another key than the quote's attestation key signed it.",
            tdx(|l| {
                l.platform.tdx = Some(|q| q.signed_by = countersign_devices::tdx::other_key());
            }),
        )
        .fails("evidence"),
        case(
            "platform-tdx-collateral-expired",
            "The TCB information had expired when the epoch opened.",
            tdx(|l| {
                l.platform.collateral =
                    Some(|c| c.tcb_info = c.tcb_info.replace("2026-03-27", "2026-01-27"));
            }),
        )
        .fails("evidence"),
        case(
            "platform-tdx-collateral-of-somebody-else",
            "Another key than Intel's signer signed the TCB information.",
            tdx(|l| {
                l.platform.collateral =
                    Some(|c| c.tcb_info_by = countersign_devices::tdx::other_key());
            }),
        )
        .fails("evidence"),
        case(
            "platform-tdx-out-of-date",
            "The platform lacks updates, and the trust file accepts only those that do not.",
            on(Profile::AzureTdx, |l| {
                l.platform.tdx = Some(|q| q.td.tee_tcb_svn[0] = 3);
            }),
        )
        .against("platform-rules"),
        case(
            "platform-tdx-revoked",
            "Intel took the platform's versions back.",
            tdx(|l| {
                l.platform.collateral = Some(|c| {
                    c.tcb_info = c.tcb_info.replace("\"UpToDate\"", "\"Revoked\"");
                });
            }),
        )
        .fails("evidence"),
        case(
            "platform-azure-tdx-two-reports",
            "The quote is of another trust domain than the paravisor's report.",
            on(Profile::AzureTdx, |l| {
                l.platform.after = Some(|e| {
                    let mut quote = countersign_devices::tdx::Quote::default();
                    quote.td.report_data = [7; 64];
                    e.report = Some(Bytes(quote.to_bytes()));
                });
            }),
        )
        .fails("evidence"),
    ]
    .into_iter()
    .map(|case| case.trust("platform-intel", trust_intel()))
    .chain([case(
        "platform-tdx-registers-unknown",
        "Nobody named values of the registers that alone say what was booted.",
        tdx(|_| ()),
    )
    .trust(
        "platform-intel-launch",
        trust_intel()
            .split("[reference.rtmrs]")
            .next()
            .unwrap_or_default()
            .to_owned(),
    )
    .cannot("launch")])
    .collect()
}

fn paravisors() -> Vec<Case> {
    let of_a_guest = |l: &mut Mini| l.platform.snp = Some(|d| d.report.vmpl = 1);
    // Intel's processors deliver faults that the host provokes unless this bit is set.
    let with_faults = |l: &mut Mini| l.platform.tdx = Some(|q| q.td.attributes &= !(1 << 28));
    let allowed = |text: String| text.replace("[snp]\n", "[snp]\nvmpl = 1\n");
    vec![
        case(
            "platform-azure-report-of-a-guest",
            "Code of less privilege than the paravisor's asked for the report, which the trust file allows of guests alone.",
            azure(of_a_guest),
        )
        .trust("platform-less-privilege", allowed(trust_platform()))
        .against("platform-rules"),
        case(
            "accept-platform-report-of-less-privilege",
            "Code of less privilege asked for the report, and the trust file allows it.",
            on(Profile::GcpSnp, of_a_guest),
        )
        .trust("platform-google-less-privilege", allowed(trust_google())),
        case(
            "accept-platform-azure-tdx-faults",
            "Azure's paravisor handles faults that a host provokes.",
            on(Profile::AzureTdx, with_faults),
        )
        .trust("platform-intel", trust_intel()),
        case(
            "platform-tdx-faults",
            "A guest that is no paravisor gets faults that a host provokes.",
            on(Profile::GcpTdx, with_faults),
        )
        .trust("platform-google-intel", trust_google_intel())
        .against("platform-rules"),
        case(
            "platform-azure-other-claims",
            "The processor's report is over other claims than the paravisor's.",
            azure(|l| l.platform.snp = Some(|d| d.report.report_data[0] ^= 1)),
        )
        .fails("evidence"),
        case(
            "platform-azure-other-key",
            "The paravisor names another key than the one that vouches for the attestation key.",
            azure(|l| {
                l.platform.claims = Some(|c| {
                    let other = VendorKey::rsa(Rsa::Endorsement);
                    *c = Claims::new(&other, &other);
                });
            }),
        )
        .fails("evidence"),
        case(
            "platform-azure-word-about-another-key",
            "The platform's key vouches for another key than the attestation key.",
            azure(|l| l.platform.certify = Some(|s| s.attested[5] ^= 1)),
        )
        .fails("evidence"),
        case(
            "platform-azure-word-of-another-opening",
            "The platform's key vouched for the attestation key over another anchor.",
            azure(|l| l.platform.certify = Some(|s| s.qualifying[0] ^= 1)),
        )
        .fails("evidence"),
    ]
}

fn gcp(change: impl FnOnce(&mut Mini)) -> Vec<u8> {
    on(Profile::GcpSnp, change)
}

fn google() -> Vec<Case> {
    let chain = |change: fn(&mut KeyChain)| gcp(|l| l.platform.key_chain = Some(change));
    let machine = |id: u64| {
        let line = format!("[gcp]\ninstances = [{{ project = \"project\", id = {id} }}]");
        trust_google().replace("[gcp]", &line)
    };
    let roots = trust_google();
    let roots = roots.lines().find(|l| l.starts_with("roots = [\""));
    let vendor = trust_google().replace(roots.unwrap_or_default(), "");
    let table = format!("[gcp]\n{}\n", roots.unwrap_or_default());
    [
        case(
            "accept-platform-gcp-snp",
            "A log on SEV-SNP with the TPM of Google's hypervisor is verified.",
            gcp(|_| ()),
        ),
        case(
            "accept-platform-gcp-tdx",
            "A log on TDX with the TPM of Google's hypervisor is verified.",
            on(Profile::GcpTdx, |_| ()),
        )
        .trust("platform-google-intel", trust_google_intel()),
        case(
            "platform-gcp-over-another-anchor",
            "The processor's report is over another anchor, and nothing else joins it to the TPM.",
            gcp(|l| l.platform.snp = Some(|d| d.report.report_data[63] ^= 1)),
        )
        .fails("evidence"),
        case(
            "platform-gcp-other-key",
            "Google's certificate is of another key than the one that vouches for the attestation key.",
            chain(|c| c.leaf.key = VendorKey::p256(9).spki()),
        )
        .fails("evidence"),
        case(
            "platform-gcp-word-of-another-opening",
            "Google's key vouched for the attestation key over another anchor.",
            gcp(|l| l.platform.certify = Some(|s| s.qualifying[0] ^= 1)),
        )
        .fails("evidence"),
        case(
            "platform-gcp-issuer",
            "Another key than the issuer's signed the key's certificate.",
            chain(|c| c.keys[1] = VendorKey::rsa(Rsa::Tpm)),
        )
        .fails("evidence"),
        case(
            "platform-gcp-root-signature",
            "The root did not sign its own certificate.",
            chain(|c| c.root_by = VendorKey::rsa(Rsa::Tpm)),
        )
        .fails("evidence"),
        case(
            "platform-gcp-expired",
            "The key's certificate had expired when the epoch opened.",
            chain(|c| c.leaf.not_after = 1_769_904_000_000),
        )
        .fails("evidence"),
        case(
            "platform-gcp-issuer-expired",
            "The issuer's certificate had expired when the epoch opened.",
            chain(|c| c.issuer.not_after = 1_769_904_000_000),
        )
        .fails("evidence"),
        case(
            "platform-gcp-endorsement-key",
            "The certificate is of a key that enciphers: an endorsement key's.",
            chain(|c| c.leaf.extensions[1] = Extension::usage(0x20)),
        )
        .fails("evidence"),
        case(
            "platform-gcp-purpose",
            "The certificate is for something else than a TPM's keys.",
            chain(|c| c.leaf.extensions[2] = purpose("2")),
        )
        .fails("evidence"),
        case(
            "platform-gcp-usage",
            "The certificate's key usage has decipherOnly beside digitalSignature.",
            chain(|c| c.leaf.extensions[1].value = vec![3, 3, 7, 0x80, 0x80]),
        )
        .fails("evidence"),
        case(
            "platform-gcp-no-maker",
            "The certificate names no maker of a TPM.",
            chain(|c| c.leaf.extensions[3].value = alternative_name(&[("2.23.133.2.2", "vTPM")])),
        )
        .fails("evidence"),
        case(
            "platform-gcp-machine-malformed",
            "What the certificate says of its machine is malformed, and nobody asks.",
            chain(|c| c.leaf.extensions[4].value.push(0)),
        )
        .fails("evidence"),
        case(
            "platform-gcp-another-root",
            "The trust file names no root, and the chain ends in none of Google's.",
            gcp(|_| ()),
        )
        .trust("platform-google-vendor", vendor)
        .fails("evidence"),
        case(
            "platform-gcp-no-table",
            "The trust file has no rules for Google's machines, and the chain ends in none of Google's roots.",
            gcp(|_| ()),
        )
        .trust("platform-no-gcp", trust_google().replace(&table, ""))
        .fails("evidence"),
        case(
            "accept-platform-gcp-machine",
            "The certificate is of a machine that the trust file names.",
            gcp(|_| ()),
        )
        .trust("platform-google-machine", machine(42)),
        case(
            "platform-gcp-machine",
            "The certificate is of another machine than the trust file names.",
            gcp(|_| ()),
        )
        .trust("platform-google-other-machine", machine(43))
        .against("platform-rules"),
        case(
            "platform-gcp-set-no-certificate",
            "No certificate of the platform's key is there.",
            gcp(|l| {
                l.platform.after = Some(|e| {
                    e.endorsements
                        .retain(|it| it.kind != EndorsementKind::KeyCertificate);
                });
            }),
        )
        .fails("evidence-set"),
        case(
            "platform-gcp-set-nine-certificates",
            "More certificates of the platform's key are there than may be.",
            gcp(|l| {
                l.platform.after = Some(|e| {
                    let more = vec![e.endorsements[3].clone(); 9];
                    e.endorsements.truncate(3);
                    e.endorsements.extend(more);
                });
            }),
        )
        .fails("evidence-set"),
        case(
            "platform-gcp-six-certificates",
            "The chain is longer than one may be.",
            gcp(|l| {
                l.platform.after = Some(|e| {
                    let more = vec![e.endorsements[e.endorsements.len() - 1].clone(); 3];
                    e.endorsements.extend(more);
                });
            }),
        )
        .fails("evidence"),
    ]
    .into_iter()
    .map(|case| match case.trust.0 {
        "hardware" => case.trust("platform-google", trust_google()),
        _ => case,
    })
    .collect()
}

/// Google's statement about the firmware.
fn firmware() -> Vec<Case> {
    let with = |change: fn(&mut Launch)| gcp(|l| l.platform.launch = Some(change));
    let asked = |line: &str| {
        let table = format!("{}{line}[reference]", endorsement_table());
        trust_google().replace("[reference]", &table)
    };
    let unknown = format!("gcp-snp = [\"{}\"]\n", launch());
    let stands = asked("stands_for_launch = true\n").replace(&unknown, "");
    let named = asked(&format!("firmware = [\"{}\"]\n", "ab".repeat(48)));
    [
        case(
            "accept-platform-gcp-firmware",
            "Google's statement about the firmware holds, and stands for a reference value.",
            with(|_| ()),
        )
        .trust("platform-google-stands", stands.clone()),
        case(
            "accept-platform-gcp-firmware-tdx",
            "Google's statement about the firmware of a trust domain holds.",
            on(Profile::GcpTdx, |l| l.platform.launch = Some(|_| ())),
        )
        .trust(
            "platform-google-intel-firmware",
            trust_google_intel().replace("[reference]", &(endorsement_table() + "[reference]")),
        ),
        case(
            "accept-platform-gcp-firmware-unasked",
            "Nobody asks for Google's statement about the firmware, and it holds as far as it goes.",
            with(|_| ()),
        )
        .trust("platform-google", trust_google()),
        case(
            "platform-gcp-firmware-stands-for-nothing",
            "Google's statement about the firmware holds, and the trust file does not let it stand for a reference value.",
            with(|_| ()),
        )
        .trust("platform-google-no-launch", asked("").replace(&unknown, ""))
        .cannot("launch"),
        case(
            "platform-gcp-firmware-missing",
            "The trust file asks for Google's statement about the firmware, and none came.",
            gcp(|_| ()),
        )
        .against("platform-rules"),
        case(
            "platform-gcp-firmware-another-measurement",
            "Google's statement is about other measurements than what was launched.",
            with(|e| e.snp = snp_measurements(5, &[7; 48])),
        )
        .fails("evidence"),
        case(
            "platform-gcp-firmware-another-technology",
            "Google's statement has the measurement, as one of trust domains.",
            with(|e| {
                e.tdx = tdx_measurements(6, &e.snp[62..110]);
                e.snp = snp_measurements(5, &[7; 48]);
            }),
        )
        .fails("evidence"),
        case(
            "platform-gcp-firmware-signature",
            "Another key signed the statement about the firmware.",
            with(|e| e.signer = VendorKey::rsa(Rsa::Other)),
        )
        .fails("evidence"),
        case(
            "platform-gcp-firmware-scheme",
            "The statement about the firmware is signed by another scheme.",
            with(|e| e.scheme = Scheme::Pkcs1(Hash::Sha256)),
        )
        .fails("evidence"),
        case(
            "platform-gcp-firmware-issuer",
            "Another key than the root's signed the endorser's certificate.",
            with(|e| e.root_key = VendorKey::rsa(Rsa::Other)),
        )
        .fails("evidence"),
        case(
            "platform-gcp-firmware-expired",
            "The endorser's certificate had expired when the epoch opened.",
            with(|e| e.certificate.not_after = 1_769_904_000_000),
        )
        .fails("evidence"),
        case(
            "platform-gcp-firmware-later",
            "The statement about the firmware was signed after the time that the opening claims.",
            with(|e| e.timestamp = varint(1, 1_790_000_000)),
        )
        .fails("evidence"),
        case(
            "platform-gcp-firmware-malformed",
            "The statement about the firmware has a field that is not known.",
            with(|e| e.more = varint(9, 1)),
        )
        .fails("evidence"),
        case(
            "platform-gcp-firmware-root",
            "The statement about the firmware is under another root than the trust file names.",
            with(|e| {
                e.root.key = VendorKey::rsa(Rsa::Other).spki();
                e.root_key = VendorKey::rsa(Rsa::Other);
            }),
        )
        .against("platform-rules"),
        case(
            "platform-gcp-firmware-version",
            "The firmware's security version is below the floor of the trust file.",
            with(|e| e.snp = [varint(1, 4), e.snp[2..].to_vec()].concat()),
        )
        .against("platform-rules"),
        case(
            "platform-gcp-firmware-another",
            "The firmware is none that the trust file names.",
            with(|_| ()),
        )
        .trust("platform-google-firmware-named", named)
        .against("platform-rules"),
        case(
            "platform-gcp-firmware-broken-and-unasked",
            "Nobody asks for Google's statement about the firmware, and its signature does not hold.",
            with(|e| e.signer = VendorKey::rsa(Rsa::Other)),
        )
        .trust("platform-google", trust_google())
        .fails("evidence"),
    ]
    .into_iter()
    .map(|case| match case.trust.0 {
        "hardware" => case.trust("platform-google-firmware", asked("")),
        _ => case,
    })
    .collect()
}

fn sets() -> Vec<Case> {
    vec![
        case(
            "platform-set-endorsement-missing",
            "The root's certificate is not there.",
            azure(|l| l.platform.after = Some(|e| e.endorsements.truncate(2))),
        )
        .fails("evidence-set"),
        case(
            "platform-set-endorsements-out-of-order",
            "Endorsements are not in the order of their kinds.",
            azure(|l| l.platform.after = Some(|e| e.endorsements.swap(0, 1))),
        )
        .fails("evidence-set"),
        case(
            "platform-set-endorsement-of-another-platform",
            "There is an endorsement that the profile does not have.",
            azure(|l| {
                l.platform.after = Some(|e| {
                    e.endorsements.push(Endorsement {
                        kind: EndorsementKind::GoogleLaunch,
                        bytes: Bytes(vec![1]),
                    });
                });
            }),
        )
        .fails("evidence-set"),
        case(
            "platform-set-no-key",
            "Nothing vouches for the attestation key.",
            azure(|l| l.platform.after = Some(|e| e.key = None)),
        )
        .fails("evidence-set"),
        case(
            "platform-set-tpm-missing",
            "The opening names the platform's evidence alone.",
            azure(|l| {
                l.edits.references = Some(|refs| {
                    refs.remove(0);
                });
            }),
        )
        .fails("evidence-set"),
        case(
            "platform-set-another-profile",
            "The platform's evidence is of another profile than the binding.",
            azure(|l| l.platform.after = Some(|e| e.profile = Profile::GcpSnp)),
        )
        .fails("evidence-set"),
    ]
}

fn rules() -> Vec<Case> {
    let without = |name, from: &str, to: &str| (name, trust_platform().replace(from, to));
    let (floor, text) = without("platform-floor", "microcode = 1 ", "microcode = 255 ");
    let (party, parties) = without("platform-party", ", \"microsoft-paravisor\"", "");
    let (other, unknown) = without("platform-launch", &launch(), &"ab".repeat(48));
    let (none, no_parties) = without(
        "platform-no-parties",
        "parties = [\"amd\", \"microsoft-paravisor\"]\n",
        "",
    );
    let (table, no_table) = without("platform-no-azure", "[azure]\n", "");
    vec![
        case(
            "platform-floor",
            "The processor's microcode is below the floor of the trust file.",
            azure(|_| ()),
        )
        .trust(floor, text)
        .against("platform-rules"),
        case(
            "platform-party",
            "The trust file does not name the paravisor among those on whom evidence may rest.",
            azure(|_| ()),
        )
        .trust(party, parties)
        .against("parties"),
        case(
            "platform-launch",
            "What was launched has another measurement than the reference values.",
            azure(|_| ()),
        )
        .trust(other, unknown)
        .fails("launch"),
        case(
            "platform-launch-of-another-platform",
            "What was launched is known as what another platform launches.",
            azure(|_| ()),
        )
        .trust(
            "platform-launch-elsewhere",
            trust_platform().replace(&format!("azure-snp = [\"{}\"]\n", launch()), ""),
        )
        .cannot("launch"),
        case(
            "platform-no-parties",
            "The trust file does not say on whom evidence may rest.",
            azure(|_| ()),
        )
        .trust(none, no_parties)
        .cannot("parties"),
        case(
            "platform-hidden-by-another-epoch",
            "The trust file names no parties, and another epoch of the log needs none.",
            switched(Profile::Tpm, Profile::AzureSnp, 1),
        )
        .trust(
            "platform-no-parties-two-classes",
            trust_platform()
                .replace("parties = [\"amd\", \"microsoft-paravisor\"]\n", "")
                .replace("\"processor\"", "\"processor\", \"unendorsed-tpm\", \"hardware-tpm\""),
        )
        .cannot("parties"),
        case(
            "platform-left-away",
            "A later epoch leaves the processor's report away, with the attestation key beside which it belongs.",
            switched(Profile::AzureSnp, Profile::Tpm, 1),
        )
        .cannot("platform-rules"),
        case(
            "platform-artifact-of-another-kind",
            "The platform's evidence stands in the export as an artifact of another kind.",
            azure(|_| ()),
        )
        .with_items(|items| {
            let from = b"countersign.platform-evidence+cbor";
            for (_, bytes) in items.iter_mut().filter(|(kind, _)| *kind == 1) {
                if let Some(at) = bytes.windows(from.len()).position(|w| w == from) {
                    // The text has four letters fewer: so has the length before it.
                    let name = b"countersign.tpm-evidence+cbor";
                    let start = at.saturating_sub("application/".len());
                    let head = start.saturating_sub(2);
                    let text = [b"application/", name.as_slice()].concat();
                    let mut new = bytes[..head].to_vec();
                    new.extend([0x78, u8::try_from(text.len()).unwrap_or(0)]);
                    new.extend(&text);
                    new.extend(&bytes[at + from.len()..]);
                    *bytes = new;
                }
            }
        })
        .fails("evidence-set"),
        case(
            "platform-no-rules",
            "The trust file has no table for the paravisor.",
            azure(|_| ()),
        )
        .trust(table, no_table)
        .cannot("platform-rules"),
        case(
            "platform-no-list",
            "The trust file asks for a revocation list, and there is none.",
            azure(|l| l.platform.snp = Some(|d| d.crl = None)),
        )
        .fails("evidence"),
        case(
            "platform-memory-not-checked",
            "The trust file asks for memory that was checked for aliases, and it was not.",
            azure(|l| l.platform.snp = Some(|d| d.report.platform_info &= !(1 << 5))),
        )
        .against("platform-rules"),
    ]
}
