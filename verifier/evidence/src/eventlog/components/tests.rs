#![expect(
    clippy::arithmetic_side_effects,
    reason = "tests count positions in fixed data"
)]

use base64::Engine as _;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::eventlog::{EventLogError, SignatureKind, signature_entries};

const UKI: &[u8] = include_bytes!("../../../testdata/lab-ovmf-uki/eventlog.bin");
const TAMPERED: &[u8] =
    include_bytes!("../../../testdata/lab-ovmf-uki-tampered-initrd/eventlog.bin");
const DIRECT: &[u8] = include_bytes!("../../../testdata/lab-ovmf-direct/eventlog.bin");
const COS: &[u8] = include_bytes!("../../../testdata/eventlog/cos-101-amd-sev.bin");
const UBUNTU: &[u8] = include_bytes!("../../../testdata/eventlog/ubuntu-2104-no-secure-boot.bin");
const SB_CERT: &[u8] = include_bytes!("../../../vectors/eventlog/sb_cert_eventlog");

/// A log of the SHA-256 bank, event by event.
#[derive(Clone)]
struct Draft(Vec<(u32, u32, [u8; 32], Vec<u8>)>);

fn sha256(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}

fn variable(vendor: [u8; 16], name: &str, contents: &[u8]) -> Vec<u8> {
    let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let length = |bytes: usize| u64::try_from(bytes).unwrap().to_le_bytes();
    [
        vendor.as_slice(),
        &length(name.len() / 2),
        &length(contents.len()),
        &name,
        contents,
    ]
    .concat()
}

impl Draft {
    /// A boot of a unified kernel image with Secure Boot.
    fn good() -> Self {
        let mut draft = Self(vec![]);
        draft.hashed(0, EV_S_CRTM_VERSION, b"v1");
        draft.add(0, EV_EFI_FIRMWARE_BLOB, [1; 32], b"where it lies");
        draft.hashed(
            7,
            EV_EFI_VARIABLE_DRIVER_CONFIG,
            &variable(GLOBAL, "SecureBoot", &[1]),
        );
        for (vendor, name) in [
            (GLOBAL, "PK"),
            (GLOBAL, "KEK"),
            (IMAGE_SECURITY, "db"),
            (IMAGE_SECURITY, "dbx"),
        ] {
            draft.hashed(
                7,
                EV_EFI_VARIABLE_DRIVER_CONFIG,
                &variable(vendor, name, name.as_bytes()),
            );
        }
        for pcr in 0..8 {
            draft.hashed(pcr, EV_SEPARATOR, &[0; 4]);
        }
        draft.hashed(
            7,
            EV_EFI_VARIABLE_AUTHORITY,
            &variable(IMAGE_SECURITY, "db", b"entry"),
        );
        draft.add(4, EV_EFI_APPLICATION, [2; 32], &[0; 32]);
        draft.add(11, EV_IPL, sha256(b".linux\0"), b"");
        draft.add(11, EV_IPL, [3; 32], b"");
        draft.add(
            9,
            EV_EVENT_TAG,
            [4; 32],
            b"\xec\x22\x3b\x8f\x0d\0\0\0Linux initrd\0",
        );
        draft.hashed(5, EV_EFI_ACTION, b"Exit Boot Services Invocation");
        draft.hashed(5, EV_EFI_ACTION, EXIT_SUCCEEDED);
        draft
    }

    fn add(&mut self, pcr: u32, kind: u32, digest: [u8; 32], data: &[u8]) {
        self.0.push((pcr, kind, digest, data.to_vec()));
    }

    fn hashed(&mut self, pcr: u32, kind: u32, data: &[u8]) {
        self.add(pcr, kind, sha256(data), data);
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut log = [[0, 0, 0, 0], 3_u32.to_le_bytes()].concat();
        log.extend([0; 20]);
        let data = [
            b"Spec ID Event03\0".as_slice(),
            &[0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 0xb, 0, 32, 0, 0],
        ]
        .concat();
        log.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        log.extend(data);
        for (pcr, kind, digest, data) in &self.0 {
            log.extend([pcr.to_le_bytes(), kind.to_le_bytes(), 1_u32.to_le_bytes()].concat());
            log.extend([0xb, 0]);
            log.extend(digest);
            log.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
            log.extend(data);
        }
        log
    }

    fn refusal(&self) -> ComponentsError {
        let bytes = self.to_bytes();
        let log = EventLog::parse(&bytes).unwrap();
        of_all(&log).expect_err("this log shall be refused")
    }

    /// Changes the first event of this type.
    fn change(
        mut self,
        kind: u32,
        change: impl FnOnce(&mut (u32, u32, [u8; 32], Vec<u8>)),
    ) -> Self {
        change(self.0.iter_mut().find(|it| it.1 == kind).unwrap());
        self
    }

    fn position(&self, kind: u32) -> usize {
        self.0.iter().position(|it| it.1 == kind).unwrap() + 1
    }
}

/// What a log shows if all of its PCRs are quoted.
fn of_all<'a>(log: &EventLog<'a>) -> Result<Components<'a>, ComponentsError> {
    let quoted = (0..24).map(|index| (index, log.pcr(index))).collect();
    Components::of(log, &quoted)
}

fn read(log: &[u8]) -> Components<'_> {
    of_all(&EventLog::parse(log).unwrap()).unwrap()
}

#[test]
fn what_no_quoted_register_covers_is_not_read() {
    let bytes = Draft::good().to_bytes();
    let log = EventLog::parse(&bytes).unwrap();
    let quoted = |pcrs: &[u8]| pcrs.iter().map(|index| (*index, log.pcr(*index))).collect();
    let found = Components::of(&log, &quoted(&[4, 11])).unwrap();
    assert_eq!((found.applications.len(), found.sections.len()), (1, 1));
    assert_eq!(found.separated, [4]);
    assert_eq!(found.secure_boot, SecureBoot::default());
    assert_eq!((found.firmware_version, found.firmware.len()), (None, 0));
    assert_eq!((found.boot_inputs.len(), found.exited), (0, false));
    // What is not covered may be anything.
    let mut forged = Draft::good();
    forged.hashed(7, EV_EFI_VARIABLE_DRIVER_CONFIG, b"no variable");
    let forged = forged.to_bytes();
    let forged = EventLog::parse(&forged).unwrap();
    assert_eq!(Components::of(&forged, &quoted(&[4, 11])), Ok(found));
    assert!(Components::of(&forged, &quoted(&[4, 7])).is_err());
}

#[test]
fn a_log_that_does_not_lead_to_the_quoted_values_shows_nothing() {
    let bytes = Draft::good().to_bytes();
    let log = EventLog::parse(&bytes).unwrap();
    let quoted = [(4, log.pcr(4)), (7, [0; 32])].into_iter().collect();
    assert_eq!(
        Components::of(&log, &quoted),
        Err(ComponentsError::OtherValues(OtherValues { pcrs: vec![7] }))
    );
}

#[test]
fn a_boot_is_read_component_by_component() {
    let bytes = Draft::good().to_bytes();
    let found = read(&bytes);
    assert_eq!(found.firmware_version.unwrap().data, Data::Hashed(b"v1"));
    assert_eq!(found.firmware[0].data, Data::Claimed(b"where it lies"));
    let secure_boot = &found.secure_boot;
    assert_eq!(secure_boot.enabled, Some(true));
    for (variable, contents) in [
        (secure_boot.pk, "PK"),
        (secure_boot.kek, "KEK"),
        (secure_boot.db, "db"),
        (secure_boot.dbx, "dbx"),
    ] {
        assert_eq!(variable.unwrap().contents, contents.as_bytes());
    }
    assert_eq!(secure_boot.authorities[0].contents, b"entry");
    assert_eq!(
        (found.applications[0].pcr, found.applications[0].digest),
        (4, [2; 32])
    );
    let section = Section {
        name: SectionName::Linux,
        digest: [3; 32],
    };
    assert_eq!(found.sections, [section]);
    assert_eq!(found.boot_inputs[0].claimed, BootInputKind::LinuxInitrd);
    assert_eq!(found.boot_inputs[0].measured.digest, [4; 32]);
    assert_eq!(found.separated, [0, 1, 2, 3, 4, 5, 6, 7]);
    assert!(found.exited);
}

#[test]
fn a_measured_boot_of_a_unified_kernel_image_names_its_hash_and_its_sections() {
    let (good, tampered) = (read(UKI), read(TAMPERED));
    let names: Vec<_> = good.sections.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, [".linux", ".osrel", ".cmdline", ".initrd"]);
    // The image, then the kernel inside it.
    let applications = |it: &Components<'_>| {
        it.applications
            .iter()
            .map(|a| (a.pcr, a.digest))
            .collect::<Vec<_>>()
    };
    let (of_good, of_tampered) = (applications(&good), applications(&tampered));
    assert_eq!(of_good.len(), 2);
    assert_ne!(of_good[0], of_tampered[0]);
    assert_eq!(of_good[1], of_tampered[1]);
    // Another initial file system, and nothing else.
    let digests = |it: &Components<'_>| it.sections.iter().map(|s| s.digest).collect::<Vec<_>>();
    let (of_good, of_tampered) = (digests(&good), digests(&tampered));
    assert_eq!(of_good[..3], of_tampered[..3]);
    assert_ne!(of_good[3], of_tampered[3]);
    let kinds: Vec<_> = good
        .boot_inputs
        .iter()
        .map(|it| (it.pcr, it.claimed))
        .collect();
    assert_eq!(
        kinds,
        [
            (9, BootInputKind::LoadOptions),
            (9, BootInputKind::LinuxInitrd)
        ]
    );
    assert_eq!(good.secure_boot.enabled, Some(false));
}

#[test]
fn the_sections_and_the_image_are_what_pcr_11_and_4_are_made_of() {
    let log = EventLog::parse(UKI).unwrap();
    let found = of_all(&log).unwrap();
    let extend = |value: [u8; 32], digest: [u8; 32]| sha256(&[value, digest].concat());
    let mut pcr = [0; 32];
    for section in &found.sections {
        let name = [section.name.as_str().as_bytes(), &[0]].concat();
        pcr = extend(extend(pcr, sha256(&name)), section.digest);
    }
    assert_eq!(pcr, log.pcr(11));
    let mut pcr = extend([0; 32], sha256(b"Calling EFI Application from Boot Option"));
    pcr = extend(pcr, sha256(&[0; 4]));
    for application in &found.applications {
        pcr = extend(pcr, application.digest);
    }
    assert_eq!(pcr, log.pcr(4));
}

#[test]
fn captured_logs_of_machines_are_read() {
    let logs: [(&[u8], Option<bool>, usize, bool); 9] = [
        (DIRECT, Some(false), 1, true),
        (COS, Some(true), 4, true),
        (UBUNTU, Some(false), 2, true),
        (
            include_bytes!("../../../testdata/eventlog/arch-linux-workstation.bin"),
            Some(false),
            3,
            false,
        ),
        (
            include_bytes!("../../../testdata/eventlog/crypto_agile_eventlog"),
            Some(false),
            2,
            false,
        ),
        (
            include_bytes!("../../../testdata/eventlog/eventlogwithsp800155.bin"),
            Some(true),
            3,
            true,
        ),
        (
            include_bytes!("../../../testdata/eventlog/glinux-alex.bin"),
            Some(false),
            2,
            false,
        ),
        (
            include_bytes!("../../../testdata/eventlog/ubuntu-2104-no-dbx.bin"),
            Some(false),
            2,
            true,
        ),
        (
            include_bytes!(
                "../../../vectors/eventlog/coreos_36_shielded_vm_no_secure_boot_eventlog"
            ),
            Some(false),
            2,
            true,
        ),
    ];
    for (number, (log, secure_boot, applications, exited)) in logs.into_iter().enumerate() {
        let found = read(log);
        assert_eq!(found.secure_boot.enabled, secure_boot, "log {number}");
        assert_eq!(found.applications.len(), applications, "log {number}");
        assert_eq!(found.exited, exited, "log {number}");
        assert!(found.firmware_version.is_some(), "log {number}");
    }
    let captured = crate::captures::gce();
    let google = read(&captured.event_log);
    // The technology of the machine, SEV, stands in bytes that are hashed.
    let Data::Hashed(info) = google.non_host_info.unwrap().data else {
        panic!("claimed")
    };
    assert_eq!(&info[..17], b"GCE NonHostInfo\0\x01");
    assert_eq!(google.secure_boot.authorities.len(), 3);
}

#[test]
fn logs_of_the_old_format_are_refused_by_name() {
    let windows: Value = serde_json::from_str(include_str!(
        "../../../vectors/eventlog/windows_gcp_shielded_vm.json"
    ))
    .unwrap();
    let windows = base64::engine::general_purpose::STANDARD
        .decode(windows["Log"]["Raw"].as_str().unwrap())
        .unwrap();
    for log in [
        include_bytes!("../../../vectors/eventlog/ebs_event_missing_eventlog").as_slice(),
        include_bytes!("../../../vectors/eventlog/option_rom_eventlog"),
        include_bytes!("../../../testdata/eventlog/debian-10.bin"),
        &windows,
    ] {
        assert_eq!(EventLog::parse(log), Err(EventLogError::NotCryptoAgile));
    }
}

#[test]
fn a_captured_log_that_was_cut_lacks_separators() {
    let log = EventLog::parse(SB_CERT).unwrap();
    assert_eq!(of_all(&log), Err(ComponentsError::NoSeparator { pcr: 0 }));
}

#[test]
fn known_certificates_are_found_in_captured_lists() {
    let secure_boot = read(UBUNTU).secure_boot;
    let holds = |variable: Option<Variable<'_>>, certificate: &[u8]| {
        signature_entries(variable.unwrap().contents)
            .unwrap()
            .iter()
            .any(|it| it.kind == SignatureKind::X509 && it.data == certificate)
    };
    let uefi_ca: &[u8] =
        include_bytes!("../../../vectors/secureboot/MicCorUEFCA2011_2011-06-27.crt");
    let windows: &[u8] =
        include_bytes!("../../../vectors/secureboot/MicWinProPCA2011_2011-10-19.crt");
    let kek: &[u8] = include_bytes!("../../../vectors/secureboot/MicCorKEKCA2011_2011-06-24.crt");
    let pk: &[u8] = include_bytes!("../../../vectors/secureboot/GcePk.crt");
    let boothole: &[u8] = include_bytes!("../../../vectors/secureboot/canonical-boothole.crt");
    assert!(holds(secure_boot.db, uefi_ca) && holds(secure_boot.db, windows));
    assert!(holds(secure_boot.kek, kek) && holds(secure_boot.pk, pk));
    assert!(holds(secure_boot.dbx, boothole));
    assert!(!holds(secure_boot.db, boothole));
}

#[test]
fn an_update_of_dbx_is_lists_after_its_signature() {
    let update: &[u8] = include_bytes!("../../../vectors/secureboot/dbxupdate_x64-2021-04-29.bin");
    // A time of 16 bytes, then a signature that begins with its length.
    let length = u32::from_le_bytes(update[16..20].try_into().unwrap());
    let lists = &update[16 + usize::try_from(length).unwrap()..];
    let entries = signature_entries(lists).unwrap();
    let hashes = entries.iter().filter(|it| it.kind == SignatureKind::Sha256);
    assert_eq!(hashes.count(), 211);
    let secure_boot = read(UBUNTU).secure_boot;
    let dbx = signature_entries(secure_boot.dbx.unwrap().contents).unwrap();
    let known = |data: &[u8]| dbx.iter().any(|it| it.data == data);
    // The machine's list is of before that update.
    assert!(entries.iter().any(|it| known(it.data)));
    assert!(!entries.iter().all(|it| known(it.data)));
}

#[test]
fn events_whose_digest_has_to_be_of_their_data_are_refused_where_it_is_not() {
    for kind in [
        EV_S_CRTM_VERSION,
        EV_EFI_VARIABLE_DRIVER_CONFIG,
        EV_EFI_VARIABLE_AUTHORITY,
        EV_SEPARATOR,
        EV_EFI_ACTION,
    ] {
        let draft = Draft::good().change(kind, |it| it.2[0] ^= 1);
        let event = draft.position(kind);
        assert_eq!(draft.refusal(), ComponentsError::NotHashed { event });
    }
    let mut draft = Draft::good();
    draft
        .0
        .insert(0, (0, EV_NONHOST_INFO, [0; 32], b"GCE".to_vec()));
    assert_eq!(draft.refusal(), ComponentsError::NotHashed { event: 1 });
}

#[test]
fn one_byte_after_an_authority_may_be_no_part_of_it_and_is_dropped() {
    let kind = EV_EFI_VARIABLE_AUTHORITY;
    let bytes = Draft::good().change(kind, |it| it.3.push(0xaf)).to_bytes();
    assert_eq!(read(&bytes).secure_boot.authorities[0].contents, b"entry");
    // Up to five more are hashed with it, and are no part of it either.
    for count in 1..=6 {
        let draft = Draft::good().change(kind, |it| {
            it.3.resize(it.3.len() + count, 0xaf);
            it.2 = sha256(&it.3);
        });
        let log = draft.to_bytes();
        let found = of_all(&EventLog::parse(&log).unwrap());
        assert_eq!(found.is_ok(), count <= 5, "{count} bytes");
    }
    let two = Draft::good().change(kind, |it| it.3.extend([0, 0]));
    let event = two.position(kind);
    assert_eq!(two.refusal(), ComponentsError::NotHashed { event });
    // Of what the firmware itself measures nothing is dropped.
    let config = Draft::good().change(EV_EFI_VARIABLE_DRIVER_CONFIG, |it| it.3.push(0));
    let event = config.position(EV_EFI_VARIABLE_DRIVER_CONFIG);
    assert_eq!(config.refusal(), ComponentsError::NotHashed { event });
}

#[test]
fn a_variable_of_another_form_is_refused() {
    let kind = EV_EFI_VARIABLE_DRIVER_CONFIG;
    let changes: [fn(&mut Vec<u8>); 5] = [
        |it| it.truncate(20),
        |it| it.push(0),
        |it| it[16] += 1,
        |it| it[23] = 0x80,
        |it| it[24] += 1,
    ];
    for change in changes {
        let draft = Draft::good().change(kind, |it| {
            change(&mut it.3);
            it.2 = sha256(&it.3);
        });
        let event = draft.position(kind);
        assert!(matches!(draft.refusal(), ComponentsError::Form { event: at, .. } if at == event));
    }
    let other = Draft::good().change(kind, |it| {
        it.3 = variable(GLOBAL, "SecureBoot", &[2]);
        it.2 = sha256(&it.3);
    });
    assert!(matches!(other.refusal(), ComponentsError::Form { .. }));
}

#[test]
fn secure_boot_is_off_where_its_variable_is_empty_or_zero_or_anothers() {
    for (vendor, contents, expected) in [
        (GLOBAL, &[][..], Some(false)),
        (GLOBAL, &[0], Some(false)),
        (IMAGE_SECURITY, &[1], None),
    ] {
        let draft = Draft::good().change(EV_EFI_VARIABLE_DRIVER_CONFIG, |it| {
            it.3 = variable(vendor, "SecureBoot", contents);
            it.2 = sha256(&it.3);
        });
        assert_eq!(read(&draft.to_bytes()).secure_boot.enabled, expected);
    }
}

#[test]
fn what_is_measured_once_is_refused_the_second_time() {
    for name in [EV_S_CRTM_VERSION, EV_EFI_VARIABLE_DRIVER_CONFIG] {
        let mut draft = Draft::good();
        let first = draft.0[draft.position(name) - 1].clone();
        draft.0.insert(draft.position(name), first);
        let event = draft.position(name) + 1;
        assert_eq!(draft.refusal(), ComponentsError::Twice { event });
    }
    let mut draft = Draft::good();
    let at = draft.position(EV_SEPARATOR);
    let separator = draft.0[at - 1].clone();
    draft.0.insert(at, separator.clone());
    assert!(of_all(&EventLog::parse(&draft.to_bytes()).unwrap()).is_ok());
    draft.0.insert(at, separator);
    assert_eq!(draft.refusal(), ComponentsError::Twice { event: at + 2 });
}

#[test]
fn a_separator_that_tells_of_an_error_is_refused() {
    for value in [[1, 0, 0, 0].as_slice(), &[0; 5], &[]] {
        let draft = Draft::good().change(EV_SEPARATOR, |it| {
            it.3 = value.to_vec();
            it.2 = sha256(value);
        });
        let event = draft.position(EV_SEPARATOR);
        assert_eq!(draft.refusal(), ComponentsError::Separator { event });
    }
}

#[test]
fn each_separator_has_to_be_there() {
    for pcr in 0..8 {
        let mut draft = Draft::good();
        draft.0.retain(|it| (it.0, it.1) != (pcr, EV_SEPARATOR));
        let pcr = u8::try_from(pcr).unwrap();
        assert_eq!(draft.refusal(), ComponentsError::NoSeparator { pcr });
    }
}

#[test]
fn nothing_of_the_firmware_comes_after_it_handed_over() {
    for (pcr, kind) in [
        (4, EV_EFI_APPLICATION),
        (7, EV_EFI_VARIABLE_AUTHORITY),
        (0, EV_EFI_FIRMWARE_BLOB),
        (5, EV_IPL),
        (1, 0x8000_0002),
    ] {
        let mut draft = Draft::good();
        draft.add(pcr, kind, [0; 32], &[0; 32]);
        let event = draft.0.len();
        assert_eq!(draft.refusal(), ComponentsError::AfterExit { event });
    }
    // The kernel's own measurements go elsewhere.
    let mut draft = Draft::good();
    draft.add(15, EV_IPL, [0; 32], b"");
    draft.add(0, 3, [0; 32], b"no action");
    assert!(read(&draft.to_bytes()).exited);
}

#[test]
fn a_section_has_a_name_and_contents() {
    let (name, contents) = (sha256(b".cmdline\0"), [5; 32]);
    let with = |digests: &[[u8; 32]]| {
        let mut draft = Draft::good();
        let at = draft.position(EV_EFI_APPLICATION);
        for digest in digests.iter().rev() {
            draft.0.insert(at, (11, EV_IPL, *digest, vec![]));
        }
        (draft, at)
    };
    let (good, _) = with(&[name, contents]);
    assert_eq!(read(&good.to_bytes()).sections.len(), 2);
    let (nameless, at) = with(&[contents]);
    assert_eq!(
        nameless.refusal(),
        ComponentsError::Section { event: at + 1 }
    );
    let (empty, at) = with(&[name]);
    assert_eq!(empty.refusal(), ComponentsError::Section { event: at + 2 });
    let mut last = Draft::good();
    last.add(11, EV_IPL, name, b"");
    let event = last.0.len();
    assert_eq!(last.refusal(), ComponentsError::Section { event });
    last.add(12, EV_IPL, [0; 32], b"");
    assert_eq!(last.refusal(), ComponentsError::Section { event });
}

#[test]
fn an_application_is_its_digest_and_its_path_a_claim() {
    let path = |data: Vec<u8>| {
        let draft = Draft::good().change(EV_EFI_APPLICATION, |it| it.3 = data);
        let bytes = draft.to_bytes();
        let found = read(&bytes).applications[0];
        (found.digest, found.device_path.to_vec())
    };
    let head = [0; 24];
    let data = [head.as_slice(), &4_u64.to_le_bytes(), b"path"].concat();
    assert_eq!(path(data), ([2; 32], b"path".to_vec()));
    let data = [head.as_slice(), &u64::MAX.to_le_bytes(), b"path"].concat();
    assert_eq!(path(data), ([2; 32], b"path".to_vec()));
    let short = Draft::good().change(EV_EFI_APPLICATION, |it| it.3 = vec![0; 31]);
    assert!(matches!(short.refusal(), ComponentsError::Form { .. }));
}

proptest! {
    #[test]
    fn a_mutated_log_never_panics(which in 0_usize..3, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut log = [UKI, COS, UBUNTU][which].to_vec();
        for (position, value) in changes {
            let position = position.index(log.len());
            log[position] = value;
        }
        if let Ok(log) = EventLog::parse(&log) {
            let _ = of_all(&log);
        }
    }

    #[test]
    fn lists_of_any_bytes_never_panic(bytes: Vec<u8>) {
        let _ = signature_entries(&bytes);
    }
}
