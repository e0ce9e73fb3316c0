//! What a client makes of a gateway at the other end of its connection, where a processor's report belongs to the
//! opening: the same appraisal as an export's, under a fake vendor's roots, which the trust file names.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests"
)]

use crate::common::platform::{
    endorsement_table, launch, trust_google, trust_intel, trust_platform, trust_snp,
};
use crate::common::{
    Key, Mini, NOW, START, bundle_digest, epoch_key, gateway, governance, trust_text,
};
use countersign_record::binding::{FreshStatement, LogHead, Profile};
use countersign_record::cbor::{Bytes, Cbor as _};
use countersign_record::channel::{CHANNEL_TYP, ChannelStatement};
use countersign_record::digest::{
    ChannelBinding, EntryDigest, GatewayId, NodeHash, Nonce, Qualifying, UnixMillis,
};
use countersign_record::entry::Body;
use countersign_record::statement::{FLEET_TYP, FleetMember, FleetStatement};
use countersign_verify::counterpart::{Asked, Counterpart, CounterpartError, Shown};
use countersign_verify::trust::{EvidenceClass, Trust};

const ASKED: Asked = Asked {
    nonce: Nonce([0x2a; 32]),
    channel: ChannelBinding([0x2b; 32]),
    now: NOW,
};

/// What a gateway shows on a connection.
struct Gateway {
    base: Vec<u8>,
    digest: EntryDigest,
    evidence: Vec<Vec<u8>>,
    fleet: Vec<u8>,
    log: Mini,
}

impl Gateway {
    fn start(profile: Profile) -> Self {
        Self::changed(profile, |_| {})
    }

    /// One whose platform was changed before it opened its epoch.
    fn changed(profile: Profile, change: impl FnOnce(&mut Mini)) -> Self {
        let mut log = Mini::new(profile);
        change(&mut log);
        let opened = log.open();
        log.enrol();
        let Body::Base(base) = log.leaves[0].payload.body.clone() else {
            panic!("the first entry opens the epoch");
        };
        let Body::Enrol(enrol) = log.leaves[1].payload.body.clone() else {
            panic!("the second entry enrols");
        };
        let found = base.evidence.iter().map(|named| {
            let piece = log.artifacts.iter().find(|a| a.digest() == named.digest);
            piece.unwrap().bytes.0.clone()
        });
        Self {
            base: log.leaves[0].bytes.clone(),
            digest: opened.digest,
            evidence: found.collect(),
            fleet: enrol.statement.0,
            log,
        }
    }

    fn appraised(&self, trust: &str) -> Result<Counterpart, CounterpartError> {
        self.appraised_with(&self.evidence, trust)
    }

    fn appraised_with(
        &self,
        evidence: &[Vec<u8>],
        trust: &str,
    ) -> Result<Counterpart, CounterpartError> {
        let statement = ChannelStatement {
            gateway: gateway(),
            base: self.digest,
            nonce: ASKED.nonce,
            channel: ASKED.channel,
            at: NOW,
        };
        let evidence: Vec<&[u8]> = evidence.iter().map(Vec::as_slice).collect();
        let shown = Shown {
            statement: &epoch_key(1).statement(CHANNEL_TYP, statement.to_bytes()),
            base: &self.base,
            evidence: &evidence,
            fleet: Some(&self.fleet),
        };
        Counterpart::appraise(&shown, &Trust::parse(trust.as_bytes()).unwrap(), &ASKED)
    }

    fn why(&self, trust: &str) -> String {
        self.appraised(trust).unwrap_err().to_string()
    }

    /// Fresh evidence of a processor alone, over a challenge.
    fn fresh(&mut self) -> (Vec<u8>, Vec<u8>) {
        let statement = FreshStatement {
            base: self.digest,
            nonce: ASKED.nonce,
            head: LogHead {
                size: 2,
                root: NodeHash([1; 32]),
            },
        };
        let Qualifying(qualifying) = statement.qualifying();
        let mut data = [0; 64];
        data[..32].copy_from_slice(&qualifying);
        let device = self.log.device.clone();
        let platform = &mut self.log.platform;
        let evidence = platform.evidence(&device, data, Qualifying(qualifying));
        (statement.to_bytes(), evidence.to_bytes())
    }
}

/// Each profile with a processor's report, what its auditor trusts, and how many pieces its opening has.
fn platforms() -> [(Profile, String, EvidenceClass, usize); 4] {
    use EvidenceClass::{ParavisorTpm, Processor};
    [
        (Profile::AzureSnp, trust_platform(), ParavisorTpm, 2),
        (Profile::AzureTdx, trust_intel(), ParavisorTpm, 2),
        (Profile::Snp, trust_platform(), Processor, 1),
        (Profile::Tdx, trust_intel(), Processor, 1),
    ]
}

#[test]
fn an_opening_with_two_pieces_of_evidence_is_appraised_like_an_exports() {
    for (profile, trust, class, pieces) in platforms() {
        let there = Gateway::start(profile);
        assert_eq!(there.evidence.len(), pieces, "{profile}");
        let counterpart = there.appraised(&trust).unwrap();
        assert_eq!(counterpart.gateway(), gateway());
        assert_eq!(counterpart.name(), Some("shop-1"));
        assert_eq!(counterpart.class(), class);
        let turned: Vec<Vec<u8>> = there.evidence.iter().rev().cloned().collect();
        assert!(there.appraised_with(&turned, &trust).is_ok(), "{profile}");
    }
}

#[test]
fn a_piece_that_is_missing_exchanged_doubled_or_unnamed_is_refused() {
    for (profile, trust, _, _) in platforms() {
        let there = Gateway::start(profile);
        let refused = |evidence: &[Vec<u8>]| {
            let refused = there.appraised_with(evidence, &trust);
            assert!(
                matches!(refused, Err(CounterpartError::Evidence { .. })),
                "{profile}: {refused:?}"
            );
        };
        for at in 0..there.evidence.len() {
            let mut without = there.evidence.clone();
            without.remove(at);
            refused(&without);
            let mut exchanged = there.evidence.clone();
            exchanged[at] =
                Gateway::changed(profile, |log| log.device.counter += 1).evidence[at].clone();
            if exchanged != there.evidence {
                refused(&exchanged);
            }
            let mut doubled = there.evidence.clone();
            doubled.push(there.evidence[at].clone());
            refused(&doubled);
        }
        refused(&[]);
        let mut unnamed = there.evidence.clone();
        unnamed.push(b"more".to_vec());
        refused(&unnamed);
    }
}

#[test]
fn every_changed_byte_of_a_piece_is_refused() {
    for (profile, trust, _, _) in platforms() {
        let there = Gateway::start(profile);
        for (which, piece) in there.evidence.iter().enumerate() {
            for at in (0..piece.len()).step_by(piece.len().div_ceil(97)) {
                let mut evidence = there.evidence.clone();
                evidence[which][at] ^= 1;
                let refused = there.appraised_with(&evidence, &trust);
                assert!(refused.is_err(), "{profile}: piece {which}, byte {at}");
            }
        }
    }
}

#[test]
fn genuine_evidence_that_the_client_does_not_accept_is_refused_by_name() {
    let there = Gateway::start(Profile::AzureSnp);
    let trust = trust_platform();
    let nobody = trust.replace(", \"microsoft-paravisor\"", "");
    assert!(there.why(&nobody).contains("microsoft-paravisor"));
    let unsaid = trust.replace("parties = [\"amd\", \"microsoft-paravisor\"]", "");
    let no = |what| CounterpartError::NoReference { what };
    assert_eq!(there.appraised(&unsaid).unwrap_err(), no("parties"));
    let unknown = trust.replace(&launch(), &"ab".repeat(48));
    assert!(there.why(&unknown).contains("launch measurement"));
    let line = format!("azure-snp = [\"{}\"]", launch());
    let unpinned = trust.replace(&line, "");
    assert_eq!(
        there.appraised(&unpinned).unwrap_err(),
        no("what was launched")
    );
    let floor = trust.replace("microcode = 1 ", "microcode = 255 ");
    assert!(there.why(&floor).contains("snp.tcb.reported"));
    let vendor = trust.replace(&trust_snp(), "");
    assert!(there.why(&vendor).contains("snp.root.pinned"));
    let azure = trust.replace("[azure]\n", "");
    assert!(there.why(&azure).contains("no table [azure]"));
    let class = trust.replace("\"processor\", \"paravisor-tpm\"", "\"processor\"");
    assert!(there.why(&class).contains("paravisor-tpm"));
}

#[test]
fn a_report_of_another_paravisor_key_or_opening_is_refused() {
    let debugged = Gateway::changed(Profile::AzureSnp, |log| {
        log.platform.snp = Some(|draft| draft.report.policy |= 1 << 19);
    });
    assert!(debugged.why(&trust_platform()).contains("snp.guest.debug"));
    let certified = Gateway::changed(Profile::AzureSnp, |log| {
        log.platform.certify = Some(|statement| statement.qualifying[0] ^= 1);
    });
    let why = certified.why(&trust_platform());
    assert!(why.contains("tpm.certify.qualifying"), "{why}");
    let replayed = Gateway::changed(Profile::Snp, |log| {
        log.platform.snp = Some(|draft| draft.report.report_data[63] ^= 1);
    });
    assert!(replayed.why(&trust_platform()).contains("snp.report.data"));
}

#[test]
fn fresh_evidence_of_a_processor_alone_has_to_be_of_the_same_launch() {
    let trust = Trust::parse(trust_platform().as_bytes()).unwrap();
    let mut there = Gateway::start(Profile::Snp);
    let counterpart = there.appraised(&trust_platform()).unwrap();
    let alive = |(statement, evidence): (Vec<u8>, Vec<u8>), nonce, now| {
        counterpart.is_alive(&statement, &evidence, nonce, &trust, now)
    };
    assert_eq!(alive(there.fresh(), ASKED.nonce, NOW), Ok(()));
    assert_eq!(
        alive(there.fresh(), Nonce([3; 32]), NOW),
        Err(CounterpartError::OtherChallenge)
    );
    let late = alive(there.fresh(), ASKED.nonce, UnixMillis(1_900_000_000_000));
    assert!(late.unwrap_err().to_string().contains("snp.chain.validity"));
    there.log.platform.snp = Some(|draft| draft.report.measurement = [1; 48]);
    let other = alive(there.fresh(), ASKED.nonce, NOW);
    assert!(other.unwrap_err().to_string().contains("another launch"));
    there.log.platform.snp = Some(|draft| draft.report.report_data[0] ^= 1);
    let stale = alive(there.fresh(), ASKED.nonce, NOW);
    assert!(stale.unwrap_err().to_string().contains("snp.report.data"));
}

#[test]
fn googles_word_on_the_firmware_stands_for_a_value_only_where_the_client_says_so() {
    let there = Gateway::changed(Profile::GcpSnp, |log| log.platform.launch = Some(|_| ()));
    let trust = |line: &str| {
        let table = format!("{}{line}\n[reference]", endorsement_table());
        let trust = trust_google().replace("[reference]", &table);
        trust.replace(&format!("gcp-snp = [\"{}\"]", launch()), "")
    };
    let counterpart = there.appraised(&trust("stands_for_launch = true")).unwrap();
    assert_eq!(counterpart.class(), EvidenceClass::HypervisorTpm);
    let what = "what was launched";
    let no = CounterpartError::NoReference { what };
    assert_eq!(there.appraised(&trust("")).unwrap_err(), no);
}

#[test]
fn beside_a_processors_report_a_tpm_in_software_is_still_one() {
    let there = Gateway::changed(Profile::AzureSnp, |log| {
        log.device.edit = Some(|draft| {
            draft.quote.firmware = SOFTWARE;
            draft.certify.firmware = SOFTWARE;
        });
    });
    let class = EvidenceClass::Software;
    let refused = Err(CounterpartError::Class { class });
    assert_eq!(there.appraised(&trust_platform()), refused);
}

/// What software TPMs say of their firmware.
const SOFTWARE: u64 = 0x2023_0101_0016_3636;

// ---- a TPM alone ---------------------------------------------------------------------------

fn tpm_trust() -> String {
    trust_text("hardware-tpm")
}

/// The trust file with one piece of text in another's place.
fn tpm_trust_with(from: &str, to: &str) -> String {
    let text = tpm_trust();
    assert!(text.contains(from), "{from}");
    text.replace(from, to)
}

#[test]
fn a_gateway_on_a_tpm_is_appraised_with_every_value_that_is_expected() {
    let there = Gateway::start(Profile::Tpm);
    assert_eq!(
        there.appraised(&tpm_trust()).unwrap().class(),
        EvidenceClass::HardwareTpm
    );
    let register = crate::common::device::Device::pcr_values().remove(0);
    let line = format!(
        "{} = [\"{}\"]\n",
        register.index,
        hex::encode(register.value)
    );
    let changed = format!("{} = [\"{}\"]\n", register.index, "ab".repeat(32));
    let release = hex::encode(countersign_record::digest::sha256(
        &crate::common::device::release_public(),
    ));
    for (from, to, what) in [
        ("b1".repeat(32), "ab".repeat(32), "program"),
        ("c1".repeat(32), "ab".repeat(32), "configuration"),
        (line.clone(), changed, "the value of a boot register"),
        (release, "ab".repeat(32), "release key"),
        (
            "threshold = 1\n".to_owned(),
            format!("threshold = 1\npinned = [\"{}\"]\n", "ab".repeat(32)),
            "bundle",
        ),
    ] {
        let refused = there.appraised(&tpm_trust_with(&from, &to)).unwrap_err();
        assert!(
            matches!(&refused, CounterpartError::Unknown { what: found, .. } if *found == what),
            "{what}: {refused}"
        );
    }
    let no = |what| Err(CounterpartError::NoReference { what });
    let build = format!("build = [\"{}\"]\n", "b1".repeat(32));
    assert_eq!(there.appraised(&tpm_trust_with(&build, "")), no("program"));
    assert_eq!(
        there.appraised(&tpm_trust_with(&line, "")),
        no("a boot register that the evidence covers")
    );
    let pinned = format!("threshold = 1\npinned = [\"{}\"]\n", bundle_digest());
    assert!(
        there
            .appraised(&tpm_trust_with("threshold = 1\n", &pinned))
            .is_ok()
    );
}

/// Comes of a gateway whose place in the fleet was changed.
fn listed(change: impl FnOnce(&mut FleetMember)) -> Result<Counterpart, CounterpartError> {
    let mut there = Gateway::start(Profile::Tpm);
    let mut member = FleetMember {
        gateway: gateway(),
        name: "shop-1".into(),
        from: UnixMillis(START),
        until: None,
        ak_name: Some(Bytes(there.log.device.ak_name())),
    };
    change(&mut member);
    let statement = FleetStatement {
        fleet: "acme".into(),
        number: 5,
        issued: UnixMillis(START),
        members: vec![member],
    };
    there.fleet = governance().statement(FLEET_TYP, statement.to_bytes());
    there.appraised(&tpm_trust())
}

#[test]
fn a_gateway_is_of_the_fleet_from_its_first_moment_to_before_its_last() {
    assert_eq!(listed(|_| ()).unwrap().name(), Some("shop-1"));
    assert!(listed(|m| m.from = NOW).is_ok());
    assert!(listed(|m| m.until = Some(UnixMillis(NOW.0 + 1))).is_ok());
    for (refused, why) in [
        (
            listed(|m| m.from = UnixMillis(NOW.0 + 1)),
            "not yet of the fleet",
        ),
        (
            listed(|m| m.from = UnixMillis(NOW.0 + 2)),
            "not yet of the fleet",
        ),
        (listed(|m| m.until = Some(NOW)), "has left the fleet"),
        (
            listed(|m| m.until = Some(UnixMillis(NOW.0 - 1))),
            "has left the fleet",
        ),
        (
            listed(|m| m.gateway = GatewayId([9; 32])),
            "does not list it",
        ),
    ] {
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn an_attestation_key_is_vouched_for_by_the_fleet_or_by_a_pin() {
    let other = listed(|m| m.ak_name = Some(Bytes(vec![5; 34])));
    assert!(matches!(
        other,
        Err(CounterpartError::Unknown {
            what: "attestation key",
            ..
        })
    ));
    let class = |class| Err(CounterpartError::Class { class });
    let unnamed = listed(|m| m.ak_name = None);
    assert_eq!(unnamed, class(EvidenceClass::UnendorsedTpm));
    // Nobody enrolled it, and the auditor checked the key.
    let there = Gateway::start(Profile::Tpm);
    let by_gateway = tpm_trust_with(
        &format!("[governance]\nkeys = [\"{}\"]\n", governance().public()),
        &format!("[gateways]\nids = [\"{}\"]\n", gateway()),
    );
    let pin = |name: &[u8]| {
        format!(
            "{by_gateway}[[evidence.attestation_keys]]\nname = \"{}\"\nchecked_by = \"me\"\n",
            hex::encode(name)
        )
    };
    assert_eq!(
        there.appraised(&by_gateway),
        class(EvidenceClass::UnendorsedTpm)
    );
    let pinned = there.appraised(&pin(&there.log.device.ak_name())).unwrap();
    assert_eq!(
        (pinned.class(), pinned.name()),
        (EvidenceClass::HardwareTpm, None)
    );
    let mut another = there.log.device.ak_name();
    another[5] ^= 1;
    assert_eq!(
        there.appraised(&pin(&another)),
        class(EvidenceClass::UnendorsedTpm)
    );
}

#[test]
fn who_speaks_is_the_epoch_that_is_appraised_over_this_connection_and_challenge() {
    let there = Gateway::start(Profile::Tpm);
    let of = |key: &Key, change: fn(&mut ChannelStatement)| {
        let mut statement = ChannelStatement {
            gateway: gateway(),
            base: there.digest,
            nonce: ASKED.nonce,
            channel: ASKED.channel,
            at: NOW,
        };
        change(&mut statement);
        let evidence: Vec<&[u8]> = there.evidence.iter().map(Vec::as_slice).collect();
        let shown = Shown {
            statement: &key.statement(CHANNEL_TYP, statement.to_bytes()),
            base: &there.base,
            evidence: &evidence,
            fleet: Some(&there.fleet),
        };
        let trust = Trust::parse(tpm_trust().as_bytes()).unwrap();
        Counterpart::appraise(&shown, &trust, &ASKED).map(|_| ())
    };
    assert_eq!(of(&epoch_key(1), |_| ()), Ok(()));
    let unsigned = of(&epoch_key(2), |_| ()).unwrap_err();
    assert!(
        matches!(unsigned, CounterpartError::Unsigned { .. }),
        "{unsigned}"
    );
    assert_eq!(
        of(&epoch_key(1), |s| s.gateway = GatewayId([9; 32])),
        Err(CounterpartError::OtherEpoch)
    );
    assert_eq!(
        of(&epoch_key(1), |s| s.base = EntryDigest([9; 32])),
        Err(CounterpartError::OtherEpoch)
    );
    assert_eq!(
        of(&epoch_key(1), |s| s.nonce = Nonce([9; 32])),
        Err(CounterpartError::OtherChallenge)
    );
    assert_eq!(
        of(&epoch_key(1), |s| s.channel = ChannelBinding([9; 32])),
        Err(CounterpartError::OtherConnection)
    );
}
