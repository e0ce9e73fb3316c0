//! Another program on the gateway's TPM, over a TPM stack by others (tss-esapi, libtss2).
//!
//! In: a machine whose gateway is stopped, for the TPM serves one connection at a time. Out: what the TPM answers.

use countersign::site::SiteDir;
use countersign_platform::policy::{ApprovalDigest, POLICY_REF, ReleasePolicy};
use countersign_platform::{PcrSet, TpmAddress};
use countersign_tests::machine::Machine;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::str::FromStr as _;
use tss_esapi::attributes::NvIndexAttributesBuilder;
use tss_esapi::constants::{SessionType, Tss2ResponseCodeKind};
use tss_esapi::handles::{
    KeyHandle, NvIndexHandle, NvIndexTpmHandle, ObjectHandle, PcrHandle, PersistentTpmHandle,
    TpmHandle,
};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::{Hierarchy, NvAuth, Provision};
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{
    Data, Digest, DigestValues, EccParameter, EccSignature, MaxNvBuffer, Nonce, NvPublicBuilder,
    PcrSelectionList, PcrSelectionListBuilder, PcrSlot, Private, Public, Signature,
    SignatureScheme, SymmetricDefinition,
};
use tss_esapi::traits::{Marshall as _, UnMarshall as _};
use tss_esapi::{Context, Error, TctiNameConf};

/// Handle of the epoch counter.
pub(crate) const COUNTER: u32 = countersign_platform::nv::COUNTER_HANDLE;
/// Handle of the release floor.
pub(crate) const FLOOR: u32 = countersign_platform::nv::FLOOR_HANDLE;
/// Handle of the storage key.
const STORAGE_KEY: u32 = 0x8100_0001;

/// What the TPM refused, by the name of its response code.
pub(crate) type Refused = Tss2ResponseCodeKind;

/// A foreign program.
pub(crate) struct Foreign(Context);

/// How a right to an index is claimed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Claim {
    /// By the owner's authorization, which is empty.
    Owner,
    /// By the index's own password, which is empty.
    Password,
}

/// A quote of the gateway's attestation key.
pub(crate) struct Quoted {
    pub(crate) quote: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

fn kind<T>(result: Result<T, Error>) -> Result<T, Refused> {
    result.map_err(|error| match error {
        Error::Tss2Error(code) => code.kind().unwrap_or_else(|| panic!("{code}")),
        Error::WrapperError(kind) => panic!("{kind}"),
    })
}

/// The release that the machine boots.
pub(crate) fn release(machine: &Machine) -> ReleasePolicy {
    SiteDir::new(machine.site().path()).release().unwrap()
}

fn port(machine: &Machine) -> u16 {
    match machine.tpm_address() {
        TpmAddress::Tcp { port, .. } => port,
        TpmAddress::Device(_) => panic!("a software TPM has a port"),
    }
}

fn registers() -> PcrSelectionList {
    let slots: Vec<PcrSlot> = PcrSet::PROFILE
        .iter()
        .map(|i| PcrSlot::try_from(1u32 << i).unwrap())
        .collect();
    PcrSelectionListBuilder::new()
        .with_selection(HashingAlgorithm::Sha256, &slots)
        .build()
        .unwrap()
}

impl Foreign {
    pub(crate) fn on(machine: &Machine) -> Self {
        let address = format!("swtpm:host=127.0.0.1,port={}", port(machine));
        Self(Context::new(TctiNameConf::from_str(&address).unwrap()).unwrap())
    }

    fn by_password<T>(
        &mut self,
        run: impl FnOnce(&mut Context) -> Result<T, Error>,
    ) -> Result<T, Refused> {
        kind(
            self.0
                .execute_with_session(Some(AuthSession::Password), run),
        )
    }

    /// Measures something into a register: another image was booted.
    pub(crate) fn measure(&mut self, register: PcrHandle) {
        let mut values = DigestValues::new();
        values.set(
            HashingAlgorithm::Sha256,
            Digest::try_from(vec![0x5a; 32]).unwrap(),
        );
        self.by_password(|tpm| tpm.pcr_extend(register, values))
            .unwrap();
    }

    /// Loads a sealed file under the storage key, which anybody on this TPM can use.
    fn load(&mut self, sealed: &[u8]) -> ObjectHandle {
        // docs/decisions/0002: magic 8, name of the storage key 34, then public and private, each with its length
        let public_end = 44 + usize::from(u16::from_be_bytes([sealed[42], sealed[43]]));
        let public = Public::unmarshall(&sealed[44..public_end]).unwrap();
        let private = Private::try_from(sealed[public_end + 2..].to_vec()).unwrap();
        let handle = TpmHandle::Persistent(PersistentTpmHandle::new(STORAGE_KEY).unwrap());
        let parent = self
            .0
            .execute_without_session(|tpm| tpm.tr_from_tpm_public(handle))
            .unwrap();
        self.by_password(|tpm| tpm.load(KeyHandle::from(parent), private, public))
            .unwrap()
            .into()
    }

    /// Opens a sealed file with a password.
    pub(crate) fn unseal_by_password(&mut self, sealed: &[u8]) -> Result<(), Refused> {
        let object = self.load(sealed);
        self.by_password(|tpm| tpm.unseal(object)).map(|_| ())
    }

    /// Opens a sealed file in a policy session in which only the registers were shown.
    pub(crate) fn unseal_by_registers(&mut self, sealed: &[u8]) -> Result<(), Refused> {
        let object = self.load(sealed);
        let session = self.policy_session();
        kind(self.0.policy_pcr(session, Digest::default(), registers())).unwrap();
        let unseal = |tpm: &mut Context| tpm.unseal(object);
        kind(self.0.execute_with_session(Some(session.into()), unseal)).map(|_| ())
    }

    /// Presents the release key's genuine approval, which stands on the operator's disk, in the state of this machine.
    pub(crate) fn present_approval(&mut self, release: &ReleasePolicy) -> Result<(), Refused> {
        let public = Public::unmarshall(&release.release_key.tpmt_public()).unwrap();
        let approved = release.approved();
        let signed = ApprovalDigest::of(&approved).0.to_vec();
        let number = |bytes: [u8; 32]| EccParameter::try_from(bytes.to_vec()).unwrap();
        let (r, s) = (number(release.signature.r), number(release.signature.s));
        let signature = EccSignature::create(HashingAlgorithm::Sha256, r, s).unwrap();
        let tpm = &mut self.0;
        let key = tpm.load_external_public(public, Hierarchy::Owner).unwrap();
        let name = tpm.tr_get_name(key.into()).unwrap();
        let digest = Digest::try_from(signed).unwrap();
        let ticket = tpm
            .verify_signature(key, digest, Signature::EcDsa(signature))
            .unwrap();
        let session = self.policy_session();
        kind(self.0.policy_pcr(session, Digest::default(), registers())).unwrap();
        kind(self.0.policy_authorize(
            session,
            Digest::try_from(approved.0.to_vec()).unwrap(),
            Nonce::try_from(POLICY_REF.to_vec()).unwrap(),
            &name,
            ticket,
        ))
    }

    fn policy_session(&mut self) -> PolicySession {
        let session = self.0.execute_without_session(|tpm| {
            tpm.start_auth_session(
                None,
                None,
                None,
                SessionType::Policy,
                SymmetricDefinition::AES_128_CFB,
                HashingAlgorithm::Sha256,
            )
        });
        PolicySession::try_from(session.unwrap().unwrap()).unwrap()
    }

    fn index(&mut self, handle: u32) -> NvIndexHandle {
        let handle = TpmHandle::NvIndex(NvIndexTpmHandle::new(handle).unwrap());
        let found = self
            .0
            .execute_without_session(|tpm| tpm.tr_from_tpm_public(handle));
        NvIndexHandle::from(found.unwrap())
    }

    fn claimed(claim: Claim, index: NvIndexHandle) -> NvAuth {
        match claim {
            Claim::Owner => NvAuth::Owner,
            Claim::Password => NvAuth::NvIndex(index),
        }
    }

    pub(crate) fn read_counter(&mut self, claim: Claim) -> Result<MaxNvBuffer, Refused> {
        let index = self.index(COUNTER);
        self.by_password(|tpm| tpm.nv_read(Self::claimed(claim, index), index, 8, 0))
    }

    pub(crate) fn advance_counter(&mut self, claim: Claim) -> Result<(), Refused> {
        let index = self.index(COUNTER);
        self.by_password(|tpm| tpm.nv_increment(Self::claimed(claim, index), index))
    }

    /// Deletes an index by the owner's authorization.
    pub(crate) fn delete(&mut self, handle: u32) {
        let index = self.index(handle);
        self.by_password(|tpm| tpm.nv_undefine_space(Provision::Owner, index))
            .unwrap();
    }

    /// Makes the counter anew, with the gateway's own attributes and policy.
    pub(crate) fn define_counter_alike(&mut self, release: &ReleasePolicy) {
        let attributes = NvIndexAttributesBuilder::new()
            .with_policy_write(true)
            .with_policy_read(true)
            .with_no_da(true)
            .with_nv_index_type(tss_esapi::constants::NvIndexType::Counter)
            .build()
            .unwrap();
        let policy = Digest::try_from(release.release_key.seal_policy().0.to_vec()).unwrap();
        self.define(attributes, policy);
    }

    /// Makes a counter that its owner can read and advance.
    pub(crate) fn define_counter_of_ones_own(&mut self) {
        let attributes = NvIndexAttributesBuilder::new()
            .with_owner_write(true)
            .with_owner_read(true)
            .with_auth_write(true)
            .with_auth_read(true)
            .with_no_da(true)
            .with_nv_index_type(tss_esapi::constants::NvIndexType::Counter)
            .build()
            .unwrap();
        self.define(attributes, Digest::default());
    }

    fn define(&mut self, attributes: tss_esapi::attributes::NvIndexAttributes, policy: Digest) {
        let public = NvPublicBuilder::new()
            .with_nv_index(NvIndexTpmHandle::new(COUNTER).unwrap())
            .with_index_name_algorithm(HashingAlgorithm::Sha256)
            .with_index_attributes(attributes)
            .with_index_auth_policy(policy)
            .with_data_area_size(8)
            .build()
            .unwrap();
        self.by_password(|tpm| tpm.nv_define_space(Provision::Owner, None, public))
            .unwrap();
    }

    /// Quotes by the gateway's attestation key: a primary of the endorsement hierarchy, which anybody on this TPM can make.
    pub(crate) fn quote(&mut self, ak_public: &[u8], data: [u8; 32]) -> Quoted {
        // The template is the key's public area with an empty point.
        let template = [&ak_public[..20], &[0; 4]].concat();
        let public = Public::unmarshall(&template).unwrap();
        let made = self.by_password(|tpm| {
            tpm.create_primary(Hierarchy::Endorsement, public, None, None, None, None)
        });
        let made = made.unwrap();
        assert_eq!(
            made.out_public.marshall().unwrap(),
            ak_public,
            "it is the same key"
        );
        let data = Data::try_from(data.to_vec()).unwrap();
        let (attest, signature) = self
            .by_password(|tpm| tpm.quote(made.key_handle, data, SignatureScheme::Null, registers()))
            .unwrap();
        Quoted {
            quote: attest.marshall().unwrap(),
            signature: signature.marshall().unwrap(),
        }
    }
}

/// `TPM2_NV_Certify` of the counter, which tss-esapi does not have, as bytes; the TPM's response code.
///
/// SPEC: TPM 2.0 Part 3, 31.16.
pub(crate) fn certify_counter(machine: &Machine, claim: Claim) -> u32 {
    let authority = match claim {
        Claim::Owner => 0x4000_0001,
        Claim::Password => COUNTER,
    };
    let mut body = Vec::new();
    // No signer (TPM_RH_NULL) is needed to ask whether one may.
    for handle in [0x4000_0007_u32, authority, COUNTER] {
        body.extend(handle.to_be_bytes());
    }
    let password = [0x40, 0, 0, 9, 0, 0, 0, 0, 0];
    body.extend(18_u32.to_be_bytes());
    body.extend([password, password].concat());
    // no qualifying data, scheme null, 8 bytes from offset 0
    body.extend([0, 0, 0x00, 0x10, 0, 8, 0, 0]);
    let mut command = vec![0x80, 0x02];
    command.extend(u32::try_from(body.len() + 10).unwrap().to_be_bytes());
    command.extend(super::bus::NV_CERTIFY.to_be_bytes());
    command.extend(body);
    let mut tpm = TcpStream::connect((Ipv4Addr::LOCALHOST, port(machine))).unwrap();
    tpm.write_all(&command).unwrap();
    let mut header = [0; 10];
    tpm.read_exact(&mut header).unwrap();
    u32::from_be_bytes(header[6..].try_into().unwrap())
}
