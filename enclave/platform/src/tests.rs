//! Against a real software TPM, one for each test.

#![expect(clippy::arithmetic_side_effects, reason = "small numbers of tests")]

use crate::commands::Attested;
use crate::connection::{Authorization, Command, Connection, Named};
use crate::error::{RC_AUTH_UNAVAILABLE, RC_NV_AUTHORIZATION, RC_POLICY_FAIL, base};
use crate::nv::{COUNTER_HANDLE, FLOOR_HANDLE, NvIndex, Written};
use crate::policy::PolicyDigest;
use crate::processor::{Processor, ProcessorReport, ReportData, ReportError, Technology};
use crate::session::{Protect, SessionKind};
use crate::swtpm::{Swtpm, SwtpmError};
use crate::wire::{Reader, Writer};
use crate::*;
use p256::ecdsa::signature::hazmat::{PrehashSigner as _, PrehashVerifier as _};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use zeroize::Zeroizing;

const LABEL: SealLabel = SealLabel("test secret");
const QUALIFYING: Qualifying = Qualifying([0x51; 32]);

/// A software TPM with a connection, a release key, and nothing provisioned.
struct Bench {
    tpm: Option<Tpm>,
    swtpm: Option<Swtpm>,
    key: SigningKey,
    _state: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let swtpm = Swtpm::start(&state.path().join("tpm")).unwrap();
        let tpm = Tpm::open(swtpm.address()).unwrap();
        Self {
            tpm: Some(tpm),
            swtpm: Some(swtpm),
            key: signer(1),
            _state: state,
        }
    }

    /// Provisioned with floor 1 by release 1.
    fn provisioned() -> Self {
        let bench = Self::new();
        bench.tpm().provision(&bench.release(1), 1).unwrap();
        bench
    }

    fn tpm(&self) -> &Tpm {
        self.tpm.as_ref().unwrap()
    }

    /// A release that approves the present PCR values.
    fn release(&self, sequence: u64) -> ReleasePolicy {
        release(
            &self.key,
            self.tpm().pcrs(PcrSet::PROFILE).unwrap(),
            sequence,
        )
    }

    fn seal(&self) -> SealedBlob {
        self.tpm()
            .seal(secret(), LABEL, &release_key(&self.key))
            .unwrap()
    }

    fn extend(&self, pcr: u8) {
        const EXTEND: Command = Command::plain(0x182, "TPM2_PCR_Extend");
        let parameters = Writer::new().u32(1).u16(0x000B).raw(&[0xE7; 32]);
        let handle = u32::from(pcr);
        self.tpm()
            .as_stranger(move |c| {
                c.ask_with_password(EXTEND, &[handle], parameters)?
                    .read(|_| Ok(()))
            })
            .unwrap();
    }

    /// Power cut: the same TPM, started anew, and a new connection.
    fn power_cut(mut self) -> Self {
        self.tpm = None;
        let swtpm = self.swtpm.take().unwrap().restart().unwrap();
        self.tpm = Some(Tpm::open(swtpm.address()).unwrap());
        self.swtpm = Some(swtpm);
        self
    }

    /// What a stranger with no policy gets for an attempt.
    fn refusal<T: Send + 'static>(
        &self,
        attempt: impl FnOnce(&mut Connection) -> Result<T, TpmError> + Send + 'static,
    ) -> u32 {
        match self.tpm().as_stranger(attempt) {
            Err(TpmError::Refused { code, .. }) => base(code),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("the stranger got in"),
        }
    }

    fn counter_index(&self) -> (u32, policy::NvName) {
        (
            COUNTER_HANDLE,
            NvIndex::counter(&release_key(&self.key)).name(Written::Yes),
        )
    }
}

fn signer(seed: u8) -> SigningKey {
    SigningKey::from_slice(&[seed; 32]).unwrap()
}

fn release_key(key: &SigningKey) -> ReleaseKey {
    ReleaseKey::parse(key.verifying_key().to_sec1_point(false).as_bytes()).unwrap()
}

fn release(key: &SigningKey, pcrs: PcrValues, sequence: u64) -> ReleasePolicy {
    ReleasePolicy::approve(pcrs, sequence, release_key(key), |digest| {
        let signature: Signature = key.sign_prehash(&digest.0)?;
        let (r, s) = signature.split_bytes();
        Ok::<_, p256::ecdsa::Error>(ReleaseSignature {
            r: r.into(),
            s: s.into(),
        })
    })
    .unwrap()
}

fn secret() -> Zeroizing<Vec<u8>> {
    Zeroizing::new((0..64).collect())
}

/// Verifies an attestation and gives its type, qualifying data, reset count and the rest.
fn verified(ak_public: &[u8], attest: &[u8], signature: &[u8]) -> (u16, Vec<u8>, u32, Vec<u8>) {
    let mut r = Reader::new(&ak_public[20..]);
    let point = [&[4], r.sized().unwrap(), r.sized().unwrap()].concat();
    let mut s = Reader::new(&signature[4..]);
    let scalar = |bytes: &[u8]| -> [u8; 32] {
        let mut out = [0; 32];
        out[32 - bytes.len()..].copy_from_slice(bytes);
        out
    };
    let (sig_r, sig_s) = (scalar(s.sized().unwrap()), scalar(s.sized().unwrap()));
    let signature = Signature::from_scalars(sig_r, sig_s).unwrap();
    VerifyingKey::from_sec1_bytes(&point)
        .unwrap()
        .verify_prehash(&Sha256::digest(attest), &signature)
        .unwrap();
    let mut r = Reader::new(attest);
    r.expect_u32("magic", 0xFF54_4347).unwrap();
    let kind = r.u16().unwrap();
    let _signer = r.sized().unwrap();
    let qualifying = r.sized().unwrap().to_vec();
    let _clock = r.u64().unwrap();
    let resets = r.u32().unwrap();
    let _restarts_safe_firmware = r.take(4 + 1 + 8).unwrap();
    (kind, qualifying, resets, r.rest().to_vec())
}

// sealing

#[test]
fn a_sealed_secret_comes_back_under_the_release_it_was_sealed_for() {
    let bench = Bench::provisioned();
    assert_eq!(
        bench.tpm().unseal(&bench.seal(), LABEL, &bench.release(1)),
        Ok(secret())
    );
}

#[test]
fn the_longest_secret_can_be_sealed() {
    let bench = Bench::provisioned();
    let longest = Zeroizing::new(vec![7; MAX_SECRET_BYTES]);
    let blob = bench
        .tpm()
        .seal(longest.clone(), LABEL, &release_key(&bench.key))
        .unwrap();
    assert_eq!(
        bench.tpm().unseal(&blob, LABEL, &bench.release(1)),
        Ok(longest)
    );
}

#[test]
fn a_secret_too_short_to_be_a_key_is_not_sealed() {
    let bench = Bench::new();
    let sealed = bench
        .tpm()
        .seal(Zeroizing::new(vec![7; 31]), LABEL, &release_key(&bench.key));
    assert_eq!(
        sealed,
        Err(SealError::Length {
            found: 31,
            least: 32,
            most: 112
        })
    );
}

#[test]
fn a_blob_survives_a_power_cut() {
    let bench = Bench::provisioned();
    let blob = SealedBlob::parse(&bench.seal().to_bytes()).unwrap();
    let bench = bench.power_cut();
    assert_eq!(
        bench.tpm().unseal(&blob, LABEL, &bench.release(1)),
        Ok(secret())
    );
}

#[test]
fn a_changed_pcr_is_refused_by_its_number() {
    let bench = Bench::provisioned();
    let (blob, release) = (bench.seal(), bench.release(1));
    bench.extend(11);
    let refused = UnsealError::Policy(PolicyError::PcrChanged { pcrs: vec![11] });
    assert_eq!(bench.tpm().unseal(&blob, LABEL, &release), Err(refused));
}

#[test]
fn a_pcr_outside_the_set_does_not_matter() {
    let bench = Bench::provisioned();
    let (blob, release) = (bench.seal(), bench.release(1));
    bench.extend(10);
    assert_eq!(bench.tpm().unseal(&blob, LABEL, &release), Ok(secret()));
}

#[test]
fn a_newer_signed_release_opens_the_same_blob() {
    let bench = Bench::provisioned();
    let blob = bench.seal();
    bench.extend(11);
    assert_eq!(
        bench.tpm().unseal(&blob, LABEL, &bench.release(2)),
        Ok(secret())
    );
}

#[test]
fn a_forged_release_signature_is_refused() {
    let bench = Bench::provisioned();
    let mut release = bench.release(1);
    release.signature.s[31] ^= 1;
    let refused = UnsealError::Policy(PolicyError::SignatureWrong);
    assert_eq!(
        bench.tpm().unseal(&bench.seal(), LABEL, &release),
        Err(refused)
    );
}

#[test]
fn an_approval_of_other_pcrs_does_not_cover_these() {
    let bench = Bench::provisioned();
    let approved = bench.release(1);
    bench.extend(11);
    let moved = ReleasePolicy {
        signature: approved.signature,
        ..bench.release(1)
    };
    let refused = UnsealError::Policy(PolicyError::SignatureWrong);
    assert_eq!(
        bench.tpm().unseal(&bench.seal(), LABEL, &moved),
        Err(refused)
    );
}

#[test]
fn a_raised_floor_shuts_an_old_release_out() {
    let bench = Bench::provisioned();
    let (blob, old) = (bench.seal(), bench.release(1));
    bench.tpm().raise_floor(&bench.release(2), 2).unwrap();
    let refused = UnsealError::Policy(PolicyError::FloorAboveRelease {
        floor: 2,
        sequence: 1,
    });
    assert_eq!(bench.tpm().unseal(&blob, LABEL, &old), Err(refused));
}

#[test]
fn a_raised_floor_lets_the_release_that_raised_it_in() {
    let bench = Bench::provisioned();
    let (blob, new) = (bench.seal(), bench.release(2));
    bench.tpm().raise_floor(&new, 2).unwrap();
    assert_eq!(bench.tpm().unseal(&blob, LABEL, &new), Ok(secret()));
}

#[test]
fn another_tpm_refuses_a_blob() {
    let (bench, other) = (Bench::provisioned(), Bench::provisioned());
    let refused = other.tpm().unseal(&bench.seal(), LABEL, &other.release(1));
    assert!(
        matches!(refused, Err(UnsealError::OtherTpm { .. })),
        "{refused:?}"
    );
}

#[test]
fn another_tpm_refuses_a_blob_that_claims_to_be_its_own() {
    let (bench, other) = (Bench::provisioned(), Bench::provisioned());
    let mut blob = bench.seal();
    blob.storage_key = other.tpm().identity().storage_key_name;
    assert_eq!(
        other.tpm().unseal(&blob, LABEL, &other.release(1)),
        Err(UnsealError::Altered)
    );
}

#[test]
fn an_altered_private_part_is_refused() {
    let bench = Bench::provisioned();
    let mut blob = bench.seal();
    *blob.private.last_mut().unwrap() ^= 1;
    assert_eq!(
        bench.tpm().unseal(&blob, LABEL, &bench.release(1)),
        Err(UnsealError::Altered)
    );
}

#[test]
fn a_blob_does_not_open_under_another_label() {
    let bench = Bench::provisioned();
    let opened = bench
        .tpm()
        .unseal(&bench.seal(), SealLabel("other"), &bench.release(1));
    assert_eq!(opened, Err(UnsealError::OtherLabel { expected: "other" }));
}

#[test]
fn a_blob_for_another_release_key_is_refused() {
    let bench = Bench::provisioned();
    let blob = bench
        .tpm()
        .seal(secret(), LABEL, &release_key(&signer(2)))
        .unwrap();
    assert_eq!(
        bench.tpm().unseal(&blob, LABEL, &bench.release(1)),
        Err(UnsealError::OtherReleaseKey)
    );
}

#[test]
fn unsealing_without_a_floor_names_the_missing_index() {
    let bench = Bench::new();
    let refused = UnsealError::Policy(PolicyError::IndexMissing {
        index: FLOOR_HANDLE,
    });
    assert_eq!(
        bench.tpm().unseal(&bench.seal(), LABEL, &bench.release(1)),
        Err(refused)
    );
}

#[test]
fn the_tpm_itself_refuses_to_unseal_without_the_policy() {
    let bench = Bench::provisioned();
    let blob = bench.seal();
    const UNSEAL: Command = Command::plain(0x15E, "TPM2_Unseal");
    const LOAD: Command = Command::making(0x157, "TPM2_Load");
    let code = bench.refusal(move |c| {
        let parameters = Writer::new().sized(&blob.private).sized(&blob.public);
        let object = c
            .ask_with_password(LOAD, &[0x8100_0001], parameters)?
            .handle()?;
        let refused = c
            .ask_with_password(UNSEAL, &[object], Writer::new())
            .map(|_| ());
        c.flush(object)?;
        refused
    });
    assert_eq!(code, RC_AUTH_UNAVAILABLE);
}

// floor

#[test]
fn provisioning_makes_both_indexes_once() {
    let bench = Bench::new();
    let made = bench.tpm().provision(&bench.release(5), 3).unwrap();
    let found = bench.tpm().provision(&bench.release(5), 4).unwrap();
    let (created, there) = (IndexState::Created, IndexState::Found);
    assert_eq!(
        made,
        Provisioned {
            floor_index: created,
            counter_index: created,
            floor: 3
        }
    );
    assert_eq!(
        found,
        Provisioned {
            floor_index: there,
            counter_index: there,
            floor: 3
        }
    );
}

#[test]
fn the_floor_is_never_lowered() {
    let bench = Bench::provisioned();
    let release = bench.release(9);
    bench.tpm().raise_floor(&release, 5).unwrap();
    let refused = PolicyError::FloorWouldFall { floor: 5, asked: 4 };
    assert_eq!(bench.tpm().raise_floor(&release, 4), Err(refused));
}

#[test]
fn a_release_does_not_shut_itself_out() {
    let bench = Bench::provisioned();
    let refused = PolicyError::FloorAboveSelf {
        asked: 3,
        sequence: 2,
    };
    assert_eq!(bench.tpm().raise_floor(&bench.release(2), 3), Err(refused));
}

#[test]
fn an_old_release_cannot_raise_the_floor_again() {
    let bench = Bench::provisioned();
    let old = bench.release(1);
    bench.tpm().raise_floor(&bench.release(2), 2).unwrap();
    let refused = PolicyError::FloorAboveRelease {
        floor: 2,
        sequence: 1,
    };
    assert_eq!(bench.tpm().raise_floor(&old, 1), Err(refused));
}

#[test]
fn the_floor_survives_a_power_cut() {
    let bench = Bench::provisioned();
    bench.tpm().raise_floor(&bench.release(4), 4).unwrap();
    let bench = bench.power_cut();
    assert_eq!(bench.tpm().floor(&release_key(&bench.key)), Ok(4));
}

#[test]
fn the_first_write_branch_is_closed_after_the_first_write() {
    let bench = Bench::provisioned();
    let key = release_key(&bench.key);
    let index = (FLOOR_HANDLE, NvIndex::floor(&key).name(Written::Yes));
    let code = bench.refusal(move |c| {
        stranger_session(c, |c, session| {
            c.policy_not_yet_written(session)?;
            c.policy_either(session, &nv::floor_branches(&key))?;
            c.nv_write(&index, session, 0)
        })
    });
    assert_eq!(code, RC_POLICY_FAIL);
}

#[test]
fn a_foreign_index_at_the_floors_handle_is_named() {
    let bench = Bench::provisioned();
    let stranger = release(&signer(2), bench.tpm().pcrs(PcrSet::PROFILE).unwrap(), 1);
    assert_eq!(
        bench.tpm().provision(&stranger, 1),
        Err(PolicyError::IndexForeign {
            index: FLOOR_HANDLE
        })
    );
}

// counter

#[test]
fn each_step_of_the_counter_is_one() {
    let bench = Bench::provisioned();
    let first = bench.tpm().increment(&bench.release(1)).unwrap();
    assert_eq!(bench.tpm().increment(&bench.release(1)), Ok(first + 1));
}

#[test]
fn the_counter_survives_a_power_cut() {
    let bench = Bench::provisioned();
    let before = bench.tpm().increment(&bench.release(1)).unwrap();
    let bench = bench.power_cut();
    assert_eq!(bench.tpm().counter(&bench.release(1)), Ok(before));
}

#[test]
fn a_counter_made_anew_does_not_run_backward() {
    let bench = Bench::provisioned();
    let before = bench.tpm().increment(&bench.release(1)).unwrap();
    const UNDEFINE: Command = Command::plain(0x122, "TPM2_NV_UndefineSpace");
    bench
        .tpm()
        .as_stranger(|c| {
            c.ask_with_password(UNDEFINE, &[0x4000_0001, COUNTER_HANDLE], Writer::new())
                .map(|_| ())
        })
        .unwrap();
    bench.tpm().provision(&bench.release(1), 1).unwrap();
    assert!(bench.tpm().counter(&bench.release(1)).unwrap() > before);
}

#[test]
fn a_floor_made_anew_by_the_owner_can_be_lower_and_shows_in_its_certificate() {
    let bench = Bench::provisioned();
    bench.tpm().raise_floor(&bench.release(4), 4).unwrap();
    let key = release_key(&bench.key);
    const UNDEFINE: Command = Command::plain(0x122, "TPM2_NV_UndefineSpace");
    bench
        .tpm()
        .as_stranger(|c| {
            c.ask_with_password(UNDEFINE, &[0x4000_0001, FLOOR_HANDLE], Writer::new())
                .map(|_| ())
        })
        .unwrap();
    bench.tpm().provision(&bench.release(1), 1).unwrap();
    assert_eq!(
        bench.tpm().certify_floor(&key, QUALIFYING).unwrap().value,
        1
    );
}

#[test]
fn a_changed_pcr_stops_the_counter() {
    let bench = Bench::provisioned();
    let release = bench.release(1);
    bench.extend(4);
    assert_eq!(
        bench.tpm().increment(&release),
        Err(PolicyError::PcrChanged { pcrs: vec![4] })
    );
}

/// Runs something in a policy session of a stranger.
fn stranger_session<T>(
    c: &mut Connection,
    run: impl FnOnce(&mut Connection, &mut session::Session) -> Result<T, TpmError>,
) -> Result<T, TpmError> {
    let area = c.read_public(0x8100_0001)?.unwrap().area;
    let salt_key = device::salt_key(&area).unwrap();
    let mut session = c.start_session(SessionKind::Policy, (&salt_key, 0x8100_0001))?;
    let result = run(c, &mut session);
    c.flush(session.handle)?;
    result
}

const INCREMENT: Command = Command::plain(0x134, "TPM2_NV_Increment");
const NV_READ: Command = Command::plain(0x14E, "TPM2_NV_Read");

#[test]
fn the_owner_cannot_advance_the_counter() {
    let bench = Bench::provisioned();
    let code = bench.refusal(|c| {
        c.ask_with_password(INCREMENT, &[0x4000_0001, COUNTER_HANDLE], Writer::new())
            .map(|_| ())
    });
    assert_eq!(code, RC_NV_AUTHORIZATION);
}

#[test]
fn the_owner_cannot_read_the_counter() {
    let bench = Bench::provisioned();
    let parameters = || Writer::new().u16(8).u16(0);
    let code = bench.refusal(move |c| {
        c.ask_with_password(NV_READ, &[0x4000_0001, COUNTER_HANDLE], parameters())
            .map(|_| ())
    });
    assert_eq!(code, RC_NV_AUTHORIZATION);
}

#[test]
fn a_password_cannot_advance_the_counter() {
    let bench = Bench::provisioned();
    let code = bench.refusal(|c| {
        c.ask_with_password(INCREMENT, &[COUNTER_HANDLE, COUNTER_HANDLE], Writer::new())
            .map(|_| ())
    });
    assert_eq!(code, RC_AUTH_UNAVAILABLE);
}

#[test]
fn a_password_cannot_read_the_counter() {
    let bench = Bench::provisioned();
    let parameters = || Writer::new().u16(8).u16(0);
    let code = bench.refusal(move |c| {
        c.ask_with_password(NV_READ, &[COUNTER_HANDLE, COUNTER_HANDLE], parameters())
            .map(|_| ())
    });
    assert_eq!(code, RC_AUTH_UNAVAILABLE);
}

#[test]
fn a_password_cannot_certify_the_counter() {
    let bench = Bench::provisioned();
    let index = bench.counter_index();
    let code = bench
        .refusal(move |c| certify_by_stranger(c, &index, Authorization::EmptyPassword).map(|_| ()));
    assert_eq!(code, RC_AUTH_UNAVAILABLE);
}

#[test]
fn the_owner_cannot_certify_the_counter() {
    let bench = Bench::provisioned();
    const CERTIFY: Command = Command::plain(0x184, "TPM2_NV_Certify");
    let code = bench.refusal(|c| {
        let key = c.create_primary(0x4000_000B, &device::ATTESTATION_TEMPLATE)?;
        let handles =
            [key.handle, 0x4000_0001, COUNTER_HANDLE].map(|handle| Named { handle, name: &[] });
        let parameters = Writer::new().sized(&[1; 32]).u16(0x0010).u16(8).u16(0);
        let authorizations = &mut [Authorization::EmptyPassword, Authorization::EmptyPassword];
        let request = connection::Request {
            command: CERTIFY,
            handles: &handles,
            authorizations,
            parameters,
        };
        let result = c.run(request).map(|_| ());
        c.flush(key.handle)?;
        result
    });
    assert_eq!(code, RC_NV_AUTHORIZATION);
}

#[test]
fn a_session_without_policy_cannot_advance_the_counter() {
    let bench = Bench::provisioned();
    let index = bench.counter_index();
    let code =
        bench.refusal(move |c| stranger_session(c, |c, session| c.nv_increment(&index, session)));
    assert_eq!(code, RC_POLICY_FAIL);
}

#[test]
fn another_policy_cannot_advance_the_counter() {
    let bench = Bench::provisioned();
    let index = bench.counter_index();
    let pcrs = bench.tpm().pcrs(PcrSet::PROFILE).unwrap();
    let code = bench.refusal(move |c| {
        stranger_session(c, |c, session| {
            // The right PCRs, but nobody's approval of them.
            c.policy_pcr(session, &pcrs)?;
            c.nv_increment(&index, session)
        })
    });
    assert_eq!(code, RC_POLICY_FAIL);
}

#[test]
fn another_release_key_cannot_approve_for_the_counter() {
    let bench = Bench::provisioned();
    let (index, stranger) = (bench.counter_index(), signer(2));
    let pcrs = bench.tpm().pcrs(PcrSet::PROFILE).unwrap();
    let code = bench.refusal(move |c| {
        let approved = PolicyDigest::EMPTY.and_pcrs(&pcrs);
        let digest = policy::ApprovalDigest::of(&approved);
        let signature: Signature = stranger.sign_prehash(&digest.0).unwrap();
        let (r, s) = signature.split_bytes();
        let signature = Writer::new()
            .u16(0x18)
            .u16(0x0B)
            .sized(&r)
            .sized(&s)
            .finish()
            .unwrap();
        let key = c.load_external(&release_key(&stranger))?;
        let ticket = c.verify_signature(key, &digest.0, &signature);
        c.flush(key)?;
        let ticket = ticket?;
        stranger_session(c, |c, session| {
            c.policy_pcr(session, &pcrs)?;
            c.policy_authorize(session, &release_key(&stranger), &approved, &ticket)?;
            c.nv_increment(&index, session)
        })
    });
    assert_eq!(code, RC_POLICY_FAIL);
}

#[test]
fn another_policy_cannot_certify_the_counter() {
    let bench = Bench::provisioned();
    let index = bench.counter_index();
    let code = bench.refusal(move |c| {
        stranger_session(c, |c, session| {
            certify_by_stranger(c, &index, Authorization::Session(session, Protect::Neither))
                .map(|_| ())
        })
    });
    assert_eq!(code, RC_POLICY_FAIL);
}

fn certify_by_stranger(
    c: &mut Connection,
    index: &(u32, policy::NvName),
    authorization: Authorization<'_>,
) -> Result<Attested, TpmError> {
    let key = c.create_primary(0x4000_000B, &device::ATTESTATION_TEMPLATE)?;
    let named = Named {
        handle: key.handle,
        name: &key.public.name,
    };
    let result = c.nv_certify(named, index, authorization, &[1; 32]);
    c.flush(key.handle)?;
    result
}

// evidence

#[test]
fn the_attestation_key_is_restricted_and_made_by_this_tpm() {
    let bench = Bench::new();
    let public = &bench.tpm().identity().attestation_key.tpmt_public;
    assert_eq!(public[4..8], [0x00, 0x05, 0x04, 0x72]);
}

#[test]
fn the_attestation_key_is_the_same_after_a_power_cut() {
    let bench = Bench::new();
    let before = bench.tpm().identity().clone();
    assert_eq!(bench.power_cut().tpm().identity(), &before);
}

#[test]
fn a_quote_verifies_and_covers_the_values_beside_it() {
    let bench = Bench::new();
    let quote = bench.tpm().quote(PcrSet::PROFILE, QUALIFYING).unwrap();
    let ak = &bench.tpm().identity().attestation_key.tpmt_public;
    let (kind, qualifying, _, rest) = verified(ak, &quote.quote, &quote.quote_signature);
    let expected = [
        &PcrSet::PROFILE.selection()[..],
        &[0, 32],
        &quote.pcrs.digest(),
    ]
    .concat();
    assert_eq!(
        (kind, qualifying, rest),
        (0x8018, QUALIFYING.0.to_vec(), expected)
    );
}

#[test]
fn a_certification_verifies_and_names_the_counter_a_verifier_expects() {
    let bench = Bench::provisioned();
    let value = bench.tpm().increment(&bench.release(1)).unwrap();
    let certified = bench
        .tpm()
        .certify_counter(&bench.release(1), QUALIFYING)
        .unwrap();
    let ak = &bench.tpm().identity().attestation_key.tpmt_public;
    let (kind, qualifying, _, rest) =
        verified(ak, &certified.certify, &certified.certify_signature);
    let name = bench.counter_index().1.0;
    let expected = [&[0, 34], &name[..], &[0, 0, 0, 8], &value.to_be_bytes()].concat();
    assert_eq!(
        (kind, qualifying, rest),
        (0x8014, QUALIFYING.0.to_vec(), expected)
    );
}

#[test]
fn the_public_area_given_is_that_of_the_name_certified() {
    let bench = Bench::provisioned();
    let evidence = bench.tpm().evidence(&bench.release(1), QUALIFYING).unwrap();
    assert_eq!(
        policy::name_of(&evidence.nv_public),
        bench.counter_index().1.0
    );
}

#[test]
fn quote_and_certification_of_evidence_share_qualifying_data_and_reset_count() {
    let bench = Bench::provisioned();
    let e = bench.tpm().evidence(&bench.release(1), QUALIFYING).unwrap();
    let (_, quoted, quote_resets, _) = verified(&e.ak_public, &e.quote, &e.quote_signature);
    let (_, certified, certify_resets, _) =
        verified(&e.ak_public, &e.certify, &e.certify_signature);
    assert_eq!((quoted, quote_resets), (certified, certify_resets));
}

#[test]
fn reset_counts_are_those_of_the_tpm_and_not_obfuscated() {
    let bench = Bench::provisioned();
    let e = bench.tpm().evidence(&bench.release(1), QUALIFYING).unwrap();
    let (_, _, resets, _) = verified(&e.ak_public, &e.quote, &e.quote_signature);
    assert_eq!(resets, bench.tpm().clock().unwrap().reset_count);
}

#[test]
fn a_power_cut_raises_the_reset_count() {
    let bench = Bench::new();
    let before = bench.tpm().clock().unwrap().reset_count;
    assert!(bench.power_cut().tpm().clock().unwrap().reset_count > before);
}

#[test]
fn the_clock_is_safe_right_after_a_power_cut() {
    let bench = Bench::new().power_cut();
    assert!(bench.tpm().clock().unwrap().safe);
}

#[test]
fn evidence_under_an_unsafe_clock_is_refused_by_name() {
    let mut bench = Bench::provisioned();
    let release = bench.release(1);
    // With an owner authorization the clock cannot be settled.
    const CHANGE: Command = Command::plain(0x129, "TPM2_HierarchyChangeAuth");
    let parameters = Writer::new().sized(b"owner");
    bench
        .tpm()
        .as_stranger(|c| {
            c.ask_with_password(CHANGE, &[0x4000_0001], parameters)?
                .read(|_| Ok(()))
        })
        .unwrap();
    bench = bench.power_cut();
    assert_eq!(
        bench.tpm().evidence(&release, QUALIFYING),
        Err(PolicyError::ClockUnsafe)
    );
}

#[test]
fn an_owner_authorization_keeps_indexes_from_being_made_and_is_named() {
    let bench = Bench::new();
    const CHANGE: Command = Command::plain(0x129, "TPM2_HierarchyChangeAuth");
    let parameters = Writer::new().sized(b"owner");
    bench
        .tpm()
        .as_stranger(|c| {
            c.ask_with_password(CHANGE, &[0x4000_0001], parameters)?
                .read(|_| Ok(()))
        })
        .unwrap();
    assert_eq!(
        bench.tpm().provision(&bench.release(1), 1),
        Err(PolicyError::OwnerAuthorizationSet)
    );
}

#[test]
fn advancing_certifies_the_value_it_returns() {
    let bench = Bench::provisioned();
    let before = bench.tpm().counter(&bench.release(1)).unwrap();
    let (value, e) = bench.tpm().advance(&bench.release(1), QUALIFYING).unwrap();
    let (_, _, _, rest) = verified(&e.ak_public, &e.certify, &e.certify_signature);
    assert_eq!(
        (value, &rest[rest.len() - 8..]),
        (before + 1, &value.to_be_bytes()[..])
    );
}

#[test]
fn a_software_tpm_attests_as_software() {
    let bench = Bench::provisioned();
    let attester = TpmAttester::new(bench.tpm().clone(), bench.release(1), None).unwrap();
    assert_eq!(attester.profile(), Profile::Swtpm);
}

#[test]
fn a_software_tpm_says_whose_it_is() {
    assert_eq!(Bench::new().tpm().identity().vendor, "SW   TPM");
}

#[test]
fn an_attester_advances_what_it_counts() {
    let bench = Bench::provisioned();
    let attester = TpmAttester::new(bench.tpm().clone(), bench.release(1), None).unwrap();
    let advanced = attester.advance(QUALIFYING).unwrap();
    assert_eq!(attester.counter(), Ok(advanced.counter));
}

// what reports beside a TPM

/// A processor whose device answers as it should, or is busy.
struct Chip {
    technology: Technology,
    busy: bool,
}

impl Processor for Chip {
    fn technology(&self) -> Technology {
        self.technology
    }

    fn report(&self, ReportData(data): ReportData) -> Result<ProcessorReport, ReportError> {
        if self.busy {
            return Err(ReportError::Busy { step: "asking" });
        }
        Ok(ProcessorReport {
            technology: self.technology,
            bytes: data.to_vec(),
            host_table: b"a table".to_vec(),
        })
    }
}

/// Azure's service, which quotes what it is given.
struct Service;

impl Quotes for Service {
    fn quote(&self, td_report: &[u8]) -> Result<Vec<u8>, NoQuote> {
        Ok([b"quote of ", td_report].concat())
    }
}

const DATA: ReportData = ReportData([0xda; 64]);

fn on(bench: &Bench, profile: Profile, beside: Beside) -> TpmAttester {
    TpmAttester::of_another(bench.tpm().clone(), bench.release(1), profile).beside(beside)
}

fn chip(technology: Technology, busy: bool) -> Beside {
    Beside {
        processor: Some(Arc::new(Chip { technology, busy })),
        quotes: Some(Arc::new(Service)),
    }
}

fn missing(attester: &TpmAttester, what: &str) {
    let told = attester.platform(DATA, QUALIFYING).unwrap_err();
    assert!(matches!(told, AttestError::Missing { .. }), "{told}");
    assert!(told.to_string().contains(what), "{told}");
}

#[test]
fn a_machine_of_googles_gives_its_processors_report_and_its_keys_word() {
    let bench = Bench::new();
    for (profile, technology) in [
        (Profile::GcpSnp, Technology::SevSnp),
        (Profile::GcpTdx, Technology::Tdx),
    ] {
        let other = if technology == Technology::Tdx {
            Technology::SevSnp
        } else {
            Technology::Tdx
        };
        missing(&on(&bench, profile, Beside::default()), technology.device());
        missing(
            &on(&bench, profile, chip(other, false)),
            technology.device(),
        );
        if profile == Profile::GcpSnp {
            missing(&on(&bench, profile, chip(technology, false)), "Google's");
            vouching::tests::keep_google(bench.tpm());
        }
        let busy = on(&bench, profile, chip(technology, true)).platform(DATA, QUALIFYING);
        assert!(matches!(busy, Err(AttestError::Processor(_))), "{busy:?}");
        let given = on(&bench, profile, chip(technology, false)).platform(DATA, QUALIFYING);
        let given = given.unwrap().unwrap();
        assert_eq!(given.report.as_deref(), Some(&DATA.0[..]));
        assert_eq!(given.paravisor, None);
        assert_eq!(
            given.key_certificate.as_deref(),
            Some(&b"of the ecc key"[..])
        );
        assert_eq!(given.host_table, b"a table");
        let word = given.key.unwrap();
        assert!(vouching::tests::is_taken(bench.tpm(), &word, QUALIFYING));
    }
}

#[test]
fn a_trust_domain_below_a_paravisor_has_the_quote_of_the_report_within() {
    let bench = Bench::new();
    let report: Vec<u8> = (0..1300_u32)
        .map(|n| u8::try_from(n % 251).unwrap())
        .collect();
    missing(
        &on(&bench, Profile::AzureTdx, chip(Technology::Tdx, false)),
        "the paravisor's report",
    );
    vouching::tests::keep_report(bench.tpm(), report.clone());
    missing(
        &on(&bench, Profile::AzureSnp, Beside::default()),
        "attestation key",
    );
    vouching::tests::keep_key(bench.tpm());
    missing(
        &on(&bench, Profile::AzureTdx, Beside::default()),
        "a quote of the trust domain",
    );
    let given = on(&bench, Profile::AzureTdx, chip(Technology::Tdx, false));
    let given = given.platform(DATA, QUALIFYING).unwrap().unwrap();
    let quote = given.report.unwrap();
    assert_eq!(quote, [b"quote of ", &report[32..1056]].concat());
    assert_eq!(given.paravisor.as_deref(), Some(&report[..]));
    assert!(vouching::tests::is_taken(
        bench.tpm(),
        &given.key.unwrap(),
        QUALIFYING
    ));
    // Below the paravisor of SEV-SNP the report is inside.
    let snp = on(&bench, Profile::AzureSnp, chip(Technology::SevSnp, false));
    let snp = snp.platform(DATA, QUALIFYING).unwrap().unwrap();
    assert_eq!((snp.report, snp.key_certificate), (None, None));
}

#[test]
fn a_tpm_alone_has_nothing_beside_it_whatever_the_machine_could() {
    let bench = Bench::new();
    for profile in [Profile::Tpm, Profile::Swtpm] {
        let given = on(&bench, profile, chip(Technology::SevSnp, false));
        assert_eq!(given.platform(DATA, QUALIFYING), Ok(None));
    }
    for profile in [Profile::Snp, Profile::Tdx] {
        missing(
            &on(&bench, profile, chip(Technology::SevSnp, false)),
            "a processor by itself",
        );
    }
}

// the bus

/// Something between us and a software TPM: keeps what passes, can flip a bit, cut, or redirect.
#[derive(Clone)]
struct Bus {
    port: u16,
    to: Arc<Mutex<TpmAddress>>,
    seen: Arc<Mutex<Vec<u8>>>,
    /// Code of the command whose answer gets one bit flipped.
    flip: Arc<AtomicU32>,
    /// Whether the next command cuts the connection.
    cut: Arc<AtomicBool>,
}

impl Bus {
    fn to(swtpm: &Swtpm) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let bus = Self {
            port: listener.local_addr().unwrap().port(),
            to: Arc::new(Mutex::new(swtpm.address())),
            seen: Arc::default(),
            flip: Arc::default(),
            cut: Arc::default(),
        };
        let inside = bus.clone();
        // Ends with the test's process; it waits in accept until then.
        std::thread::spawn(move || {
            listener
                .incoming()
                .for_each(|client| inside.carry(client.unwrap()))
        });
        bus
    }

    fn address(&self) -> TpmAddress {
        TpmAddress::Tcp {
            host: "127.0.0.1".into(),
            port: self.port,
        }
    }

    fn carry(&self, mut client: TcpStream) {
        let mut tpm = transport::Channel::open(&self.to.lock().unwrap()).unwrap();
        let mut command = vec![0; 4096];
        while let Ok(length) = transport::read_framed(&mut client, &mut command) {
            if self.cut.swap(false, Ordering::SeqCst) {
                return;
            }
            let code = u32::from_be_bytes(command[6..10].try_into().unwrap());
            let mut answer = tpm.transact(&command[..length]).unwrap();
            if code == self.flip.load(Ordering::SeqCst) {
                answer[20] ^= 1;
            }
            self.seen
                .lock()
                .unwrap()
                .extend([&command[..length], &answer[..]].concat());
            client.write_all(&answer).unwrap();
        }
    }

    fn saw(&self, bytes: &[u8]) -> bool {
        self.seen
            .lock()
            .unwrap()
            .windows(bytes.len())
            .any(|window| window == bytes)
    }
}

/// A provisioned TPM behind a bus.
fn tapped() -> (Bench, Bus) {
    let mut bench = Bench::provisioned();
    bench.tpm = None;
    let bus = Bus::to(bench.swtpm.as_ref().unwrap());
    bench.tpm = Some(Tpm::open(bus.address()).unwrap());
    (bench, bus)
}

#[test]
fn a_secret_does_not_cross_the_bus_in_clear() {
    let (bench, bus) = tapped();
    let unsealed = bench
        .tpm()
        .unseal(&bench.seal(), LABEL, &bench.release(1))
        .unwrap();
    let public = bench.tpm().identity().attestation_key.tpmt_public.clone();
    // The bus does see what passes: the attestation key's public area is not encrypted.
    assert!(bus.saw(&public[20..]));
    assert!(!bus.saw(&unsealed[..16]) && !bus.saw(&unsealed[48..]) && !bus.saw(&LABEL.tag()));
}

#[test]
fn random_bytes_do_not_cross_the_bus_in_clear() {
    let (bench, bus) = tapped();
    let random = bench.tpm().random(32).unwrap();
    assert!(!bus.saw(&random[..8]));
}

#[test]
fn a_secret_altered_on_the_bus_is_noticed() {
    let (bench, bus) = tapped();
    let (blob, release) = (bench.seal(), bench.release(1));
    bus.flip.store(0x15E, Ordering::SeqCst);
    let forged = UnsealError::Policy(PolicyError::Tpm(TpmError::Forged {
        command: "TPM2_Unseal",
    }));
    assert_eq!(bench.tpm().unseal(&blob, LABEL, &release), Err(forged));
}

#[test]
fn random_bytes_altered_on_the_bus_are_noticed() {
    let (bench, bus) = tapped();
    bus.flip.store(0x17B, Ordering::SeqCst);
    assert_eq!(
        bench.tpm().random(32),
        Err(TpmError::Forged {
            command: "TPM2_GetRandom"
        })
    );
}

#[test]
fn the_request_after_a_broken_connection_connects_again() {
    let (bench, bus) = tapped();
    bus.cut.store(true, Ordering::SeqCst);
    assert!(matches!(
        bench.tpm().random(8),
        Err(TpmError::Transport { .. })
    ));
    assert_eq!(bench.tpm().random(8).unwrap().len(), 8);
}

#[test]
fn another_tpm_after_a_broken_connection_is_refused() {
    let (bench, bus) = tapped();
    let state = tempfile::tempdir().unwrap();
    let other = Swtpm::start(state.path()).unwrap();
    *bus.to.lock().unwrap() = other.address();
    bus.cut.store(true, Ordering::SeqCst);
    assert!(matches!(
        bench.tpm().random(8),
        Err(TpmError::Transport { .. })
    ));
    assert_eq!(bench.tpm().random(8), Err(TpmError::Replaced));
}

// the thread and the connection

#[test]
fn random_bytes_come_in_any_number_up_to_the_limit() {
    let bench = Bench::new();
    let (some, more) = (
        bench.tpm().random(100).unwrap(),
        bench.tpm().random(100).unwrap(),
    );
    assert_eq!((some.len(), more.len()), (100, 100));
    assert_ne!(some, more);
}

#[test]
fn more_random_bytes_than_the_limit_are_refused() {
    let refused = TpmError::TooManyBytes {
        asked: 1025,
        limit: 1024,
    };
    assert_eq!(Bench::new().tpm().random(1025), Err(refused));
}

#[test]
fn two_hundred_operations_leave_no_slot_taken() {
    let bench = Bench::provisioned();
    let (blob, good, mut bad) = (bench.seal(), bench.release(1), bench.release(1));
    bad.signature.r[0] ^= 1;
    for _ in 0..40 {
        bench.tpm().unseal(&blob, LABEL, &good).unwrap();
        bench.tpm().unseal(&blob, LABEL, &bad).unwrap_err();
        bench
            .tpm()
            .unseal(&blob, SealLabel("other"), &good)
            .unwrap_err();
        bench.tpm().advance(&good, QUALIFYING).unwrap();
        bench.tpm().increment(&bad).unwrap_err();
    }
    let taken = |first| {
        bench
            .tpm()
            .as_stranger(move |c| c.loaded_handles(first))
            .unwrap()
            .len()
    };
    // one transient object is the attestation key
    assert_eq!(
        (taken(0x8000_0000), taken(0x0200_0000), taken(0x0300_0000)),
        (1, 0, 0)
    );
}

#[test]
fn callers_at_the_same_time_each_get_their_own_answer() {
    let bench = Bench::provisioned();
    let (release, blob) = (bench.release(1), bench.seal());
    let mut values: Vec<u64> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..8u8)
            .map(|n| {
                let (tpm, release, blob) = (bench.tpm().clone(), &release, &blob);
                scope.spawn(move || {
                    let quote = tpm.quote(PcrSet::PROFILE, Qualifying([n; 32])).unwrap();
                    let ak = &tpm.identity().attestation_key.tpmt_public;
                    assert_eq!(
                        verified(ak, &quote.quote, &quote.quote_signature).1,
                        [n; 32]
                    );
                    assert_eq!(tpm.unseal(blob, LABEL, release), Ok(secret()));
                    tpm.increment(release).unwrap()
                })
            })
            .collect();
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .collect()
    });
    values.sort_unstable();
    assert!(
        values.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{values:?}"
    );
}

#[test]
fn the_last_handle_lets_the_tpm_go() {
    let bench = Bench::new();
    let address = bench.swtpm.as_ref().unwrap().address();
    let clone = bench.tpm().clone();
    let Bench {
        tpm,
        swtpm: _swtpm,
        key: _,
        _state,
    } = bench;
    drop((tpm, clone));
    assert!(Tpm::open(address).is_ok());
}

#[test]
fn what_a_killed_process_left_loaded_is_flushed() {
    let state = tempfile::tempdir().unwrap();
    let swtpm = Swtpm::start(state.path()).unwrap();
    // A process that fills all three object slots and goes away without flushing.
    let mut killed = Connection::open(&swtpm.address()).unwrap();
    for _ in 0..3 {
        killed
            .create_primary(0x4000_000B, &device::ATTESTATION_TEMPLATE)
            .unwrap();
    }
    drop(killed);
    assert!(Tpm::open(swtpm.address()).is_ok());
}

#[test]
fn a_dead_tpm_is_named_as_such() {
    let mut bench = Bench::new();
    bench.swtpm = None;
    let broken = bench.tpm().random(8);
    assert!(
        matches!(broken, Err(TpmError::Transport { .. })),
        "{broken:?}"
    );
    let gone = bench.tpm().random(8);
    assert!(
        matches!(gone, Err(TpmError::Unreachable { .. })),
        "{gone:?}"
    );
}

#[test]
fn nothing_at_the_address_is_an_error() {
    let missing = Tpm::open(TpmAddress::Device("/nonexistent/tpm".into())).err();
    let cause = std::io::ErrorKind::NotFound;
    assert_eq!(
        missing,
        Some(TpmError::Unreachable {
            address: "device /nonexistent/tpm".into(),
            cause
        })
    );
}

#[test]
fn a_storage_key_of_another_kind_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let swtpm = Swtpm::start(state.path()).unwrap();
    let mut c = Connection::open(&swtpm.address()).unwrap();
    let foreign = c
        .create_primary(0x4000_0001, &device::ATTESTATION_TEMPLATE)
        .unwrap();
    c.persist(foreign.handle, 0x8100_0001).unwrap();
    drop(c);
    let refused = Tpm::open(swtpm.address()).err();
    assert_eq!(
        refused,
        Some(TpmError::ForeignStorageKey {
            handle: 0x8100_0001
        })
    );
}

#[test]
fn a_session_code_that_does_not_fit_is_noticed() {
    let bench = Bench::new();
    let forged = bench.tpm().as_stranger(|c| {
        let area = c.read_public(0x8100_0001)?.unwrap().area;
        let mut salt_key = device::salt_key(&area).unwrap();
        // Derives another session key than the TPM does: each takes the other for a stranger.
        salt_key.x[0] ^= 1;
        let mut session = c.start_session(SessionKind::Hmac, (&salt_key, 0x8100_0001))?;
        let answer = c.get_random(8, &mut session).map(|_| ());
        c.flush(session.handle)?;
        answer
    });
    // TPM_RC_AUTH_FAIL or TPM_RC_BAD_AUTH: the TPM checks first.
    assert!(
        matches!(forged, Err(TpmError::Refused { code, .. }) if [0x8E, 0xA2].contains(&base(code))),
        "{forged:?}"
    );
}

#[test]
fn a_state_directory_in_use_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let _first = Swtpm::start(state.path()).unwrap();
    let second = Swtpm::start(state.path()).err();
    assert!(
        matches!(second, Some(SwtpmError::InUse { .. })),
        "{second:?}"
    );
}

#[test]
fn what_a_killed_starter_left_running_is_ended() {
    let state = tempfile::tempdir().unwrap();
    let first = Swtpm::start(state.path()).unwrap();
    let before = Tpm::open(first.address()).unwrap().identity().clone();
    // As if another process had started it, which is no longer its parent.
    std::fs::write(state.path().join("swtpm.owner"), "1").unwrap();
    let second = Swtpm::start(state.path()).unwrap();
    assert_eq!(Tpm::open(second.address()).unwrap().identity(), &before);
}

// digests computed without a TPM are those that a TPM computes

#[test]
fn every_policy_digest_is_the_tpms_own() {
    let bench = Bench::provisioned();
    let pcrs = bench.tpm().pcrs(PcrSet::PROFILE).unwrap();
    let key = release_key(&bench.key);
    let floor = (FLOOR_HANDLE, NvIndex::floor(&key).name(Written::Yes));
    let offline = [
        policy::approved_policy(&pcrs, 7, &key),
        PolicyDigest::EMPTY.and_not_yet_written(),
        PolicyDigest::either(&nv::floor_branches(&key)),
    ];
    const GET: Command = Command::plain(0x189, "TPM2_PolicyGetDigest");
    let digest = |c: &mut Connection, session: &session::Session| {
        c.ask(GET, &[session.handle], Writer::new())?
            .read(|r| Reader::new(r.sized()?).array::<32>())
    };
    let theirs = bench
        .tpm()
        .as_stranger(move |c| {
            let approved = stranger_session(c, |c, s| {
                c.policy_pcr(s, &pcrs)?;
                c.policy_nv_at_most(s, &floor, 7)?;
                digest(c, s)
            })?;
            let (unwritten, either) = stranger_session(c, |c, s| {
                c.policy_not_yet_written(s)?;
                let unwritten = digest(c, s)?;
                c.policy_either(s, &nv::floor_branches(&key))?;
                Ok((unwritten, digest(c, s)?))
            })?;
            Ok([approved, unwritten, either])
        })
        .unwrap();
    assert_eq!(theirs.map(PolicyDigest), offline);
}

#[test]
fn the_name_of_a_release_key_is_the_tpms_own() {
    let bench = Bench::new();
    let key = release_key(&bench.key);
    let theirs = bench
        .tpm()
        .as_stranger(move |c| {
            const READ: Command = Command::plain(0x173, "TPM2_ReadPublic");
            let handle = c.load_external(&key)?;
            let reply = c.ask(READ, &[handle], Writer::new())?;
            c.flush(handle)?;
            reply.read(|r| {
                let _public = r.sized()?;
                let name = r.sized()?.to_vec();
                let _qualified = r.sized()?;
                Ok(name)
            })
        })
        .unwrap();
    assert_eq!(theirs, key.name());
}

// secrets of the storage ring

fn ring_secret(version: u32) -> RingSecret {
    RingSecret {
        version,
        secret: Zeroizing::new([0xA0 + u8::try_from(version).unwrap(); 32]),
    }
}

/// Versions and first bytes of the secrets that the TPM has.
fn ring(bench: &Bench) -> Vec<(u32, u8)> {
    let secrets = bench.tpm().ring_secrets(&bench.release(1)).unwrap();
    secrets.iter().map(|s| (s.version, s.secret[0])).collect()
}

#[test]
fn a_ring_begins_without_a_secret() {
    assert_eq!(ring(&Bench::provisioned()), []);
}

#[test]
fn a_secret_of_the_ring_survives_a_power_cut() {
    let bench = Bench::provisioned();
    let release = bench.release(1);
    bench.tpm().write_ring(&release, ring_secret(1)).unwrap();
    assert_eq!(ring(&bench.power_cut()), [(1, 0xA1)]);
}

#[test]
fn the_next_secret_stands_beside_the_one_before_until_that_is_overwritten() {
    let bench = Bench::provisioned();
    let release = bench.release(1);
    bench.tpm().write_ring(&release, ring_secret(1)).unwrap();
    bench.tpm().write_ring(&release, ring_secret(2)).unwrap();
    assert_eq!(ring(&bench), [(1, 0xA1), (2, 0xA2)]);
    bench.tpm().clear_ring(&release, 1).unwrap();
    assert_eq!(ring(&bench.power_cut()), [(2, 0xA2)]);
}

#[test]
fn nobody_without_the_seal_policy_reads_or_writes_a_secret_of_the_ring() {
    let bench = Bench::provisioned();
    let release = bench.release(1);
    bench.tpm().write_ring(&release, ring_secret(1)).unwrap();
    let index = NvIndex::ring_of(&release_key(&bench.key), 1);
    let index = (index.handle(), index.name(Written::Yes));
    let by_password = bench.refusal(move |c| c.nv_read(&index, Authorization::EmptyPassword));
    assert_eq!(by_password, RC_AUTH_UNAVAILABLE);
    let by_policy = bench.refusal(move |c| {
        stranger_session(c, |c, s| {
            c.nv_read_secret(&index, s, nv::RING_SLOT_BYTES).map(|_| ())
        })
    });
    assert_eq!(by_policy, RC_POLICY_FAIL);
    let writing =
        bench.refusal(move |c| stranger_session(c, |c, s| c.nv_write_secret(&index, s, &[0; 40])));
    assert_eq!(writing, RC_POLICY_FAIL);
    assert_eq!(ring(&bench), [(1, 0xA1)]);
}

#[test]
fn a_secret_of_the_ring_stays_closed_where_the_machine_booted_otherwise() {
    let bench = Bench::provisioned();
    let release = bench.release(1);
    bench.tpm().write_ring(&release, ring_secret(1)).unwrap();
    bench.extend(11);
    let found = bench.tpm().ring_secrets(&release).err();
    assert_eq!(found, Some(PolicyError::PcrChanged { pcrs: vec![11] }));
}
