//! The TPM commands we use, one function each. SPEC: TPM 2.0 Part 3, under the command's name.
//!
//! In: handles and structures of Part 2. Out: what the command returns, read to the last byte.

use crate::connection::{Authorization, Command, Connection, Named, Request};
use crate::error::{RC_AUTH_FAIL, RC_BAD_AUTH, RC_HANDLE, TpmError};
use crate::pcr::{PcrError, PcrSet, PcrValues};
use crate::policy::{
    ALG_SHA256, EO_UNSIGNED_LE, NvName, POLICY_REF, PolicyDigest, ReleaseKey, name_of,
};
use crate::session::{Protect, Session};
use crate::wire::{Reader, WireError, Writer};
use zeroize::Zeroizing;

/// `TPM_RH_OWNER`, `TPM_RH_ENDORSEMENT`. Source: Part 2, table 28.
pub(crate) const RH_OWNER: u32 = 0x4000_0001;
pub(crate) const RH_ENDORSEMENT: u32 = 0x4000_000B;

/// `TPM_ALG_NULL`. Source: Part 2, table 9.
const ALG_NULL: u16 = 0x0010;

/// `TPM_CAP_HANDLES`, `TPM_CAP_PCRS`, `TPM_CAP_TPM_PROPERTIES`. Source: Part 2, table 22.
const CAP_HANDLES: u32 = 1;
const CAP_PCRS: u32 = 5;
const CAP_TPM_PROPERTIES: u32 = 6;

/// `TPM_PT_VENDOR_STRING_1`, of four. Source: Part 2, table 23.
const PT_VENDOR_STRING_1: u32 = 0x106;

/// Public area and name of an object or an index.
pub(crate) struct Public {
    pub(crate) area: Vec<u8>,
    pub(crate) name: [u8; 34],
}

impl Public {
    fn of(area: &[u8]) -> Self {
        Self {
            area: area.to_vec(),
            name: name_of(area),
        }
    }
}

/// A loaded object.
pub(crate) struct Loaded {
    pub(crate) handle: u32,
    pub(crate) public: Public,
}

/// An attestation and the attestation key's signature over it, as received.
pub(crate) struct Attested {
    pub(crate) attest: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

/// Clock and counts of a TPM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TpmClock {
    /// Milliseconds for which the TPM was powered, over its life.
    pub clock_ms: u64,
    /// How often it was reset.
    pub reset_count: u32,
    /// How often it was restarted or resumed since the last reset.
    pub restart_count: u32,
    /// Whether the clock cannot have been ahead of its present value before.
    pub safe: bool,
}

/// `TPM_PT_CLOCK_UPDATE`: milliseconds between two savings of the clock. Source: Part 2, table 23.
const PT_CLOCK_UPDATE: u32 = 0x119;

impl TpmClock {
    /// `TPMS_CLOCK_INFO`. SPEC: Part 2, 10.11.1.
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            clock_ms: r.u64()?,
            reset_count: r.u32()?,
            restart_count: r.u32()?,
            safe: r.u8()? == 1,
        })
    }
}

impl Connection {
    /// Properties of the TPM, from the first on, at most as many as asked for.
    fn properties(&mut self, first: u32, count: u32) -> Result<Vec<(u32, [u8; 4])>, TpmError> {
        const GET: Command = Command::plain(0x17A, "TPM2_GetCapability");
        let parameters = Writer::new().u32(CAP_TPM_PROPERTIES).u32(first).u32(count);
        self.ask(GET, &[], parameters)?.read(|r| {
            let _more = r.u8()?;
            r.expect_u32("capability", CAP_TPM_PROPERTIES)?;
            let found = r.u32()?;
            (0..found).map(|_| Ok((r.u32()?, r.array()?))).collect()
        })
    }

    /// One property of the TPM; nothing where it has none of that name.
    pub(crate) fn property(&mut self, wanted: u32) -> Result<Option<[u8; 4]>, TpmError> {
        let found = self.properties(wanted, 1)?;
        let of = |(property, value): &(u32, [u8; 4])| (*property == wanted).then_some(*value);
        Ok(found.iter().find_map(of))
    }

    /// The PCRs that the SHA-256 bank has; nothing where the bank is not allocated.
    pub(crate) fn allocated(&mut self) -> Result<Option<PcrSet>, TpmError> {
        const GET: Command = Command::plain(0x17A, "TPM2_GetCapability");
        let parameters = Writer::new().u32(CAP_PCRS).u32(0).u32(1);
        self.ask(GET, &[], parameters)?.read(|r| {
            let _more = r.u8()?;
            r.expect_u32("capability", CAP_PCRS)?;
            let banks = r.u32()?;
            let mut found = None;
            for _ in 0..banks {
                let hash = r.u16()?;
                let octets = usize::from(r.u8()?);
                let bits = r.take(octets)?;
                // A PC client's banks have 24 registers, three octets.
                if let (ALG_SHA256, Some(bits)) = (hash, bits.first_chunk::<3>()) {
                    found = PcrSet::from_octets(*bits);
                }
            }
            Ok(found)
        })
    }

    /// The vendor's name for its TPM, up to 16 characters. Zero padding is dropped, spaces stay.
    pub(crate) fn vendor_string(&mut self) -> Result<String, TpmError> {
        let parts = self.properties(PT_VENDOR_STRING_1, 4)?;
        let text: Vec<u8> = parts
            .iter()
            .flat_map(|(_, part)| part)
            .copied()
            .filter(|b| *b != 0)
            .collect();
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Makes the clock safe after an unclean shutdown, by moving it past everything the TPM can
    /// have reported before. A TPM does so by itself with its next saving, minutes later.
    /// Nothing is done to a safe clock; an owner authorization that is set is no error here.
    pub(crate) fn settle_clock(&mut self) -> Result<(), TpmError> {
        const SET: Command = Command::plain(0x128, "TPM2_ClockSet");
        let clock = self.read_clock()?;
        if clock.safe {
            return Ok(());
        }
        let update = self.properties(PT_CLOCK_UPDATE, 1)?;
        let Some((PT_CLOCK_UPDATE, update)) = update.first() else {
            return Ok(());
        };
        let past = clock
            .clock_ms
            .saturating_add(u64::from(u32::from_be_bytes(*update)))
            .saturating_add(1);
        let parameters = Writer::new().raw(&past.to_be_bytes());
        match self.ask_with_password(SET, &[RH_OWNER], parameters) {
            Ok(reply) => reply.read(|_| Ok(())),
            Err(error) if error.is_refusal(&[RC_AUTH_FAIL, RC_BAD_AUTH]) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Handles of one type that are loaded now, at most 64.
    pub(crate) fn loaded_handles(&mut self, first: u32) -> Result<Vec<u32>, TpmError> {
        const GET: Command = Command::plain(0x17A, "TPM2_GetCapability");
        let parameters = Writer::new().u32(CAP_HANDLES).u32(first).u32(64);
        self.ask(GET, &[], parameters)?.read(|r| {
            let _more = r.u8()?;
            r.expect_u32("capability", CAP_HANDLES)?;
            let count = r.u32()?;
            (0..count).map(|_| r.u32()).collect()
        })
    }

    /// Public area of a loaded or persistent object; `None` when there is none.
    pub(crate) fn read_public(&mut self, handle: u32) -> Result<Option<Public>, TpmError> {
        const READ: Command = Command::plain(0x173, "TPM2_ReadPublic");
        let reply = absent(self.ask(READ, &[handle], Writer::new()))?;
        reply
            .map(|reply| {
                reply.read(|r| {
                    let public = Public::of(r.sized()?);
                    let (_name, _qualified_name) = (r.sized()?, r.sized()?);
                    Ok(public)
                })
            })
            .transpose()
    }

    /// Makes a primary key from a template; its authorization value is empty.
    pub(crate) fn create_primary(
        &mut self,
        hierarchy: u32,
        template: &[u8],
    ) -> Result<Loaded, TpmError> {
        const CREATE: Command = Command::making(0x131, "TPM2_CreatePrimary");
        // inSensitive: empty authorization and data · inPublic · outsideInfo · creationPCR
        let parameters = Writer::new()
            .sized(&[0, 0, 0, 0])
            .sized(template)
            .sized(&[])
            .u32(0);
        let reply = self.ask_with_password(CREATE, &[hierarchy], parameters)?;
        let public = reply.read(|r| {
            let public = Public::of(r.sized()?);
            let (_creation_data, _creation_hash) = (r.sized()?, r.sized()?);
            let _creation_ticket = (r.u16()?, r.u32()?, r.sized()?);
            let _name = r.sized()?;
            Ok(public)
        })?;
        Ok(Loaded {
            handle: reply.handle()?,
            public,
        })
    }

    /// Makes a transient object persistent.
    pub(crate) fn persist(&mut self, object: u32, persistent: u32) -> Result<(), TpmError> {
        const EVICT: Command = Command::plain(0x120, "TPM2_EvictControl");
        let parameters = Writer::new().u32(persistent);
        self.ask_with_password(EVICT, &[RH_OWNER, object], parameters)?
            .read(|_| Ok(()))
    }

    /// Makes an object under the storage key; what goes in is encrypted on the bus.
    pub(crate) fn create(
        &mut self,
        parent: Named<'_>,
        session: &mut Session,
        secret: &[u8],
        template: &[u8],
    ) -> Result<(Vec<u8>, Vec<u8>), TpmError> {
        const CREATE: Command = Command::plain(0x153, "TPM2_Create");
        let wrong = |wrong| TpmError::Malformed {
            command: CREATE.name,
            wrong,
        };
        let sensitive = Writer::new()
            .sized(&[])
            .sized(secret)
            .finish()
            .map_err(wrong)?;
        let parameters = Writer::new()
            .sized(&sensitive)
            .sized(template)
            .sized(&[])
            .u32(0);
        let authorizations = &mut [Authorization::Session(session, Protect::Both)];
        let reply = self.run(Request {
            command: CREATE,
            handles: &[parent],
            authorizations,
            parameters,
        })?;
        reply.read(|r| {
            let (private, public) = (r.sized()?.to_vec(), r.sized()?.to_vec());
            let (_creation_data, _creation_hash) = (r.sized()?, r.sized()?);
            let _creation_ticket = (r.u16()?, r.u32()?, r.sized()?);
            Ok((private, public))
        })
    }

    /// Loads an object under the storage key.
    pub(crate) fn load(
        &mut self,
        parent: Named<'_>,
        session: &mut Session,
        private: &[u8],
        public: &[u8],
    ) -> Result<u32, TpmError> {
        const LOAD: Command = Command::making(0x157, "TPM2_Load");
        let parameters = Writer::new().sized(private).sized(public);
        let authorizations = &mut [Authorization::Session(session, Protect::Both)];
        let reply = self.run(Request {
            command: LOAD,
            handles: &[parent],
            authorizations,
            parameters,
        })?;
        reply.read(|r| r.sized().map(|_name| ()))?;
        reply.handle()
    }

    /// The secret of a sealed object, encrypted on the bus.
    pub(crate) fn unseal(
        &mut self,
        object: Named<'_>,
        session: &mut Session,
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        const UNSEAL: Command = Command::plain(0x15E, "TPM2_Unseal");
        let authorizations = &mut [Authorization::Session(session, Protect::Response)];
        let parameters = Writer::new();
        let reply = self.run(Request {
            command: UNSEAL,
            handles: &[object],
            authorizations,
            parameters,
        })?;
        reply.read(|r| Ok(Zeroizing::new(r.sized()?.to_vec())))
    }

    /// Random bytes, encrypted on the bus; at most as many as the TPM's hash is long are sure to come.
    pub(crate) fn get_random(
        &mut self,
        count: u16,
        session: &mut Session,
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        const RANDOM: Command = Command::plain(0x17B, "TPM2_GetRandom");
        let authorizations = &mut [Authorization::Session(session, Protect::Response)];
        let parameters = Writer::new().u16(count);
        let reply = self.run(Request {
            command: RANDOM,
            handles: &[],
            authorizations,
            parameters,
        })?;
        reply.read(|r| Ok(Zeroizing::new(r.sized()?.to_vec())))
    }

    /// Loads a public key. Hierarchy is the owner's: the ticket of a key in the null hierarchy
    /// is not accepted by `TPM2_PolicyAuthorize`.
    pub(crate) fn load_external(&mut self, key: &ReleaseKey) -> Result<u32, TpmError> {
        const LOAD: Command = Command::making(0x167, "TPM2_LoadExternal");
        let parameters = Writer::new()
            .sized(&[])
            .sized(&key.tpmt_public())
            .u32(RH_OWNER);
        let reply = self.ask(LOAD, &[], parameters)?;
        reply.read(|r| r.sized().map(|_name| ()))?;
        reply.handle()
    }

    /// The ticket that a signature over a digest holds, as `TPMT_TK_VERIFIED`.
    pub(crate) fn verify_signature(
        &mut self,
        key: u32,
        digest: &[u8; 32],
        signature: &[u8],
    ) -> Result<Vec<u8>, TpmError> {
        const VERIFY: Command = Command::plain(0x177, "TPM2_VerifySignature");
        let parameters = Writer::new().sized(digest).raw(signature);
        self.ask(VERIFY, &[key], parameters)?.read(|r| {
            let (tag, hierarchy, digest) = (r.u16()?, r.u32()?, r.sized()?);
            Ok(Writer::new()
                .u16(tag)
                .u32(hierarchy)
                .sized(digest)
                .finish()?
                .to_vec())
        })
    }

    /// Public area of an index; `None` when there is no such index.
    pub(crate) fn nv_read_public(&mut self, index: u32) -> Result<Option<Public>, TpmError> {
        const READ: Command = Command::plain(0x169, "TPM2_NV_ReadPublic");
        let reply = absent(self.ask(READ, &[index], Writer::new()))?;
        reply
            .map(|reply| {
                reply.read(|r| {
                    let public = Public::of(r.sized()?);
                    let _name = r.sized()?;
                    Ok(public)
                })
            })
            .transpose()
    }

    /// Makes an index with an empty authorization value.
    pub(crate) fn nv_define(&mut self, public: &[u8]) -> Result<(), TpmError> {
        const DEFINE: Command = Command::plain(0x12A, "TPM2_NV_DefineSpace");
        let parameters = Writer::new().sized(&[]).sized(public);
        self.ask_with_password(DEFINE, &[RH_OWNER], parameters)?
            .read(|_| Ok(()))
    }

    /// Writes 8 bytes to an index, by a policy session.
    pub(crate) fn nv_write(
        &mut self,
        index: &(u32, NvName),
        session: &mut Session,
        value: u64,
    ) -> Result<(), TpmError> {
        const WRITE: Command = Command::plain(0x137, "TPM2_NV_Write");
        let parameters = Writer::new().sized(&value.to_be_bytes()).u16(0);
        let authorizations = &mut [Authorization::Session(session, Protect::Neither)];
        let handles = &[Named::from(index), Named::from(index)];
        self.run(Request {
            command: WRITE,
            handles,
            authorizations,
            parameters,
        })?
        .read(|_| Ok(()))
    }

    /// Writes a secret to an index, by a policy session, encrypted on the bus.
    pub(crate) fn nv_write_secret(
        &mut self,
        index: &(u32, NvName),
        session: &mut Session,
        secret: &[u8],
    ) -> Result<(), TpmError> {
        const WRITE: Command = Command::plain(0x137, "TPM2_NV_Write");
        let parameters = Writer::new().sized(secret).u16(0);
        let authorizations = &mut [Authorization::Session(session, Protect::Command)];
        let handles = &[Named::from(index), Named::from(index)];
        self.run(Request {
            command: WRITE,
            handles,
            authorizations,
            parameters,
        })?
        .read(|_| Ok(()))
    }

    /// Reads a secret from an index, by a policy session, encrypted on the bus.
    pub(crate) fn nv_read_secret(
        &mut self,
        index: &(u32, NvName),
        session: &mut Session,
        size: u16,
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        const READ: Command = Command::plain(0x14E, "TPM2_NV_Read");
        let handles = &[Named::from(index), Named::from(index)];
        let parameters = Writer::new().u16(size).u16(0);
        let authorizations = &mut [Authorization::Session(session, Protect::Response)];
        let reply = self.run(Request {
            command: READ,
            handles,
            authorizations,
            parameters,
        })?;
        reply.read(|r| Ok(Zeroizing::new(r.sized()?.to_vec())))
    }

    /// Advances a counter, by a policy session.
    pub(crate) fn nv_increment(
        &mut self,
        index: &(u32, NvName),
        session: &mut Session,
    ) -> Result<(), TpmError> {
        const INCREMENT: Command = Command::plain(0x134, "TPM2_NV_Increment");
        let authorizations = &mut [Authorization::Session(session, Protect::Neither)];
        let handles = &[Named::from(index), Named::from(index)];
        let parameters = Writer::new();
        self.run(Request {
            command: INCREMENT,
            handles,
            authorizations,
            parameters,
        })?
        .read(|_| Ok(()))
    }

    /// Reads 8 bytes of an index.
    pub(crate) fn nv_read(
        &mut self,
        index: &(u32, NvName),
        authorization: Authorization<'_>,
    ) -> Result<u64, TpmError> {
        const READ: Command = Command::plain(0x14E, "TPM2_NV_Read");
        let handles = &[Named::from(index), Named::from(index)];
        let parameters = Writer::new().u16(8).u16(0);
        let authorizations = &mut [authorization];
        let reply = self.run(Request {
            command: READ,
            handles,
            authorizations,
            parameters,
        })?;
        reply.read(|r| Reader::new(r.sized()?).u64())
    }

    /// Certifies 8 bytes of an index by the attestation key.
    pub(crate) fn nv_certify(
        &mut self,
        key: Named<'_>,
        index: &(u32, NvName),
        authorization: Authorization<'_>,
        qualifying: &[u8; 32],
    ) -> Result<Attested, TpmError> {
        const CERTIFY: Command = Command::plain(0x184, "TPM2_NV_Certify");
        let handles = &[key, Named::from(index), Named::from(index)];
        let parameters = Writer::new().sized(qualifying).u16(ALG_NULL).u16(8).u16(0);
        let authorizations = &mut [Authorization::EmptyPassword, authorization];
        self.run(Request {
            command: CERTIFY,
            handles,
            authorizations,
            parameters,
        })?
        .read(attested)
    }

    /// Quotes PCRs by the attestation key.
    pub(crate) fn quote(
        &mut self,
        key: u32,
        set: PcrSet,
        qualifying: &[u8; 32],
    ) -> Result<Attested, TpmError> {
        const QUOTE: Command = Command::plain(0x158, "TPM2_Quote");
        let parameters = Writer::new()
            .sized(qualifying)
            .u16(ALG_NULL)
            .raw(&set.selection());
        self.ask_with_password(QUOTE, &[key], parameters)?
            .read(attested)
    }

    /// Values of PCRs. A TPM returns at most eight at a time, and says which.
    pub(crate) fn pcr_read(
        &mut self,
        set: PcrSet,
    ) -> Result<Result<PcrValues, PcrError>, TpmError> {
        const READ: Command = Command::plain(0x17E, "TPM2_PCR_Read");
        let wrong = |wrong| TpmError::Malformed {
            command: READ.name,
            wrong,
        };
        let (mut values, mut wanted) = (Vec::new(), Some(set));
        while let Some(missing) = wanted {
            let reply = self.ask(READ, &[], Writer::new().raw(&missing.selection()))?;
            let (got, digests) = reply.read(|r| {
                let _update_counter = r.u32()?;
                r.expect_u32("pcrSelectionOut.count", 1)?;
                r.expect_u16("pcrSelectionOut.hash", ALG_SHA256)?;
                let _three = r.u8()?;
                let got = PcrSet::from_octets(r.array()?);
                let count = r.u32()?;
                let digests = (0..count)
                    .map(|_| Reader::new(r.sized()?).array::<32>())
                    .collect::<Result<Vec<_>, _>>()?;
                Ok((got, digests))
            })?;
            // A bank that is not allocated returns nothing; that, or PCRs nobody asked for, would
            // never end this loop.
            let got = got.filter(|got| got.without(missing).is_none());
            let got = got.ok_or_else(|| wrong(WireError::Short { wanted: 1, left: 0 }))?;
            if digests.len() != got.iter().count() {
                return Err(wrong(WireError::Short {
                    wanted: got.iter().count(),
                    left: digests.len(),
                }));
            }
            values.extend(got.iter().zip(digests));
            wanted = missing.without(got);
        }
        Ok(PcrValues::new(values))
    }

    /// Time of the TPM.
    pub(crate) fn read_clock(&mut self) -> Result<TpmClock, TpmError> {
        const READ: Command = Command::plain(0x181, "TPM2_ReadClock");
        self.ask(READ, &[], Writer::new())?.read(|r| {
            let _since_start = r.u64()?;
            TpmClock::read(r)
        })
    }

    /// Demands PCR values of a policy session.
    pub(crate) fn policy_pcr(
        &mut self,
        session: &Session,
        values: &PcrValues,
    ) -> Result<(), TpmError> {
        const POLICY: Command = Command::plain(0x17F, "TPM2_PolicyPCR");
        let parameters = Writer::new()
            .sized(&values.digest())
            .raw(&values.set().selection());
        self.ask(POLICY, &[session.handle], parameters)?
            .read(|_| Ok(()))
    }

    /// Demands of a policy session that an index holds at most `most`.
    pub(crate) fn policy_nv_at_most(
        &mut self,
        session: &Session,
        index: &(u32, NvName),
        most: u64,
    ) -> Result<(), TpmError> {
        const POLICY: Command = Command::plain(0x149, "TPM2_PolicyNV");
        let parameters = Writer::new()
            .sized(&most.to_be_bytes())
            .u16(0)
            .u16(EO_UNSIGNED_LE);
        let handles = [index.0, index.0, session.handle];
        self.ask_with_password(POLICY, &handles, parameters)?
            .read(|_| Ok(()))
    }

    /// Replaces a session's policy by the key's approval of it.
    pub(crate) fn policy_authorize(
        &mut self,
        session: &Session,
        key: &ReleaseKey,
        approved: &PolicyDigest,
        ticket: &[u8],
    ) -> Result<(), TpmError> {
        const POLICY: Command = Command::plain(0x16A, "TPM2_PolicyAuthorize");
        let parameters = Writer::new()
            .sized(&approved.0)
            .sized(POLICY_REF)
            .sized(&key.name())
            .raw(ticket);
        self.ask(POLICY, &[session.handle], parameters)?
            .read(|_| Ok(()))
    }

    /// Demands of a policy session that the index it will authorize was never written.
    pub(crate) fn policy_not_yet_written(&mut self, session: &Session) -> Result<(), TpmError> {
        const POLICY: Command = Command::plain(0x18F, "TPM2_PolicyNvWritten");
        self.ask(POLICY, &[session.handle], Writer::new().u8(0))?
            .read(|_| Ok(()))
    }

    /// Replaces a session's policy, which must be one of two, by both.
    pub(crate) fn policy_either(
        &mut self,
        session: &Session,
        branches: &[PolicyDigest; 2],
    ) -> Result<(), TpmError> {
        const POLICY: Command = Command::plain(0x171, "TPM2_PolicyOR");
        let parameters = branches
            .iter()
            .fold(Writer::new().u32(2), |w, branch| w.sized(&branch.0));
        self.ask(POLICY, &[session.handle], parameters)?
            .read(|_| Ok(()))
    }
}

/// `None` instead of `TPM_RC_HANDLE`.
fn absent<T>(result: Result<T, TpmError>) -> Result<Option<T>, TpmError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_refusal(&[RC_HANDLE]) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `TPM2B_ATTEST` and an ECDSA `TPMT_SIGNATURE`, kept as they came.
fn attested(r: &mut Reader<'_>) -> Result<Attested, WireError> {
    let attest = r.sized()?.to_vec();
    r.expect_u16("signature.sigAlg", 0x0018)?;
    r.expect_u16("signature.hash", ALG_SHA256)?;
    let (sig_r, sig_s) = (r.sized()?, r.sized()?);
    let signature = Writer::new()
        .u16(0x0018)
        .u16(ALG_SHA256)
        .sized(sig_r)
        .sized(sig_s)
        .finish()?
        .to_vec();
    Ok(Attested { attest, signature })
}
