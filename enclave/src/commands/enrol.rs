//! `countersign enrol …` and `recover …`: the governance key's word.

use super::SiteArgument;
use crate::adoption::{AdoptRequest, SignedAdoptRequest};
use crate::boot::{self, Place};
use crate::enrolment::EnrolRequest;
use crate::keys::{public, read_signing_key, sign_statement};
use crate::site::{StateDir, StateFile};
use anyhow::{Context as _, bail};
use clap::Subcommand;
use countersign_record::cbor::{Bytes, Cbor as _};
use countersign_record::cose::Unsigned;
use countersign_record::digest::{GatewayId, PublicKey, Signature, UnixMillis};
use countersign_record::statement::{
    FLEET_TYP, FleetMember, FleetStatement, RECOVER_TYP, RecoverStatement,
};
use std::fs;
use std::path::{Path, PathBuf};

/// Make a gateway one of a customer's fleet.
#[derive(Debug, Subcommand)]
pub(crate) enum Enrol {
    /// On the gateway: make its identity, if it has none, and write what is to be enrolled.
    Request {
        #[command(flatten)]
        site: SiteArgument,
        /// State directory.
        #[arg(long)]
        state: PathBuf,
        /// A copy of the state directory of a gateway that is gone, whose work this one shall continue.
        #[arg(long, value_name = "STATE")]
        adopt: Option<PathBuf>,
        /// File to write.
        #[arg(long)]
        out: PathBuf,
    },
    /// With the governance key: sign a fleet statement that lists the gateway.
    Sign {
        /// The gateway's request.
        #[arg(long)]
        request: PathBuf,
        /// The governance key's file.
        #[arg(long)]
        key: PathBuf,
        /// Name of the fleet.
        #[arg(long)]
        fleet: String,
        /// Number of the statement; each new one has a higher number.
        #[arg(long)]
        number: u64,
        /// Name of the gateway, for people.
        #[arg(long, default_value = "gateway")]
        name: String,
        /// The statement before, whose gateways stay listed.
        #[arg(long)]
        previous: Option<PathBuf>,
        /// File to write.
        #[arg(long)]
        out: PathBuf,
    },
    /// Print the bytes that the governance key signs, and keep the statement for `attach`.
    Digest {
        /// The unsigned statement to write.
        #[arg(long)]
        out: PathBuf,
        /// The gateway's request.
        #[arg(long)]
        request: PathBuf,
        /// Name of the fleet.
        #[arg(long)]
        fleet: String,
        /// Number of the statement.
        #[arg(long)]
        number: u64,
        /// Name of the gateway, for people.
        #[arg(long, default_value = "gateway")]
        name: String,
        /// The statement before, whose gateways stay listed.
        #[arg(long)]
        previous: Option<PathBuf>,
        /// The governance key's public half, 64 hexadecimal digits.
        #[arg(long)]
        public_key: String,
    },
    /// Join a statement and a signature that was made elsewhere.
    Attach {
        /// The unsigned statement.
        #[arg(long)]
        statement: PathBuf,
        /// The governance key's public half, 64 hexadecimal digits.
        #[arg(long)]
        public_key: String,
        /// The signature, 128 hexadecimal digits.
        #[arg(long)]
        signature: String,
        /// File to write.
        #[arg(long)]
        out: PathBuf,
    },
    /// On the gateway: put a signed fleet statement in place; it enters the log at the next start.
    Install {
        /// State directory.
        #[arg(long)]
        state: PathBuf,
        /// The signed statement.
        statement: PathBuf,
    },
}

impl Enrol {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Request {
                site,
                state,
                adopt,
                out,
            } => request(&site.site, &state, adopt.as_deref(), &out),
            Self::Sign {
                request,
                key,
                fleet,
                number,
                name,
                previous,
                out,
            } => {
                let key = read_signing_key(&key)?;
                let statement = statement(&request, fleet, number, name, previous.as_deref())?;
                fs::write(&out, sign_statement(&key, FLEET_TYP, statement.to_bytes()))?;
                println!(
                    "fleet statement {number} lists {} gateways, signed by key {}",
                    statement.members.len(),
                    public(&key).id()
                );
                Ok(())
            }
            Self::Digest {
                out,
                request,
                fleet,
                number,
                name,
                previous,
                public_key,
            } => {
                let key = PublicKey::from_hex(&public_key)
                    .context("public key is not 64 hexadecimal digits")?;
                let payload =
                    statement(&request, fleet, number, name, previous.as_deref())?.to_bytes();
                println!(
                    "sign    {}",
                    hex::encode(Unsigned::new(FLEET_TYP, key.id(), payload.clone()).to_be_signed())
                );
                Ok(fs::write(&out, payload)?)
            }
            Self::Attach {
                statement,
                public_key,
                signature,
                out,
            } => {
                let key = PublicKey::from_hex(&public_key)
                    .context("public key is not 64 hexadecimal digits")?;
                let signature = Signature::from_hex(&signature)
                    .context("signature is not 128 hexadecimal digits")?;
                let signed = Unsigned::new(FLEET_TYP, key.id(), fs::read(&statement)?)
                    .with_signature(signature);
                boot::epoch::fleet_statement(&signed, key)?;
                Ok(fs::write(&out, signed)?)
            }
            Self::Install { state, statement } => {
                let bytes =
                    fs::read(&statement).with_context(|| statement.display().to_string())?;
                StateDir::open(&state)?.write(StateFile::Fleet, &bytes)?;
                println!("installed; it enters the log at the next start");
                Ok(())
            }
        }
    }
}

fn request(site: &Path, state: &Path, adopt: Option<&Path>, out: &Path) -> anyhow::Result<()> {
    let unsealed = boot::unseal(&Place {
        site,
        state,
        tpm: None,
        platform: None,
    })?;
    let adoption = adopt
        .map(|old| super::adopt::request(&unsealed, old))
        .transpose()?;
    let identity = unsealed.tpm.identity();
    let request = EnrolRequest {
        identity_key: unsealed.vault.identity(),
        ak_name: Bytes(identity.attestation_key.name.to_vec()),
        platform: identity.detected.profile.to_string(),
        adoption: adoption.map(|a| Bytes(a.to_bytes())),
    };
    fs::write(out, request.to_bytes())?;
    println!("gateway {}", unsealed.vault.identity().gateway());
    println!("on      {} ({})", request.platform, identity.vendor.trim());
    println!("written {}", out.display());
    Ok(())
}

impl EnrolRequest {
    /// Reads a request's file.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = fs::read(path).with_context(|| path.display().to_string())?;
        Self::from_bytes(&bytes).context("the request is malformed")
    }

    /// What it asks to adopt, signed by the gateway that asks.
    pub(super) fn adoption(&self) -> anyhow::Result<Option<AdoptRequest>> {
        let Some(bytes) = &self.adoption else {
            return Ok(None);
        };
        let signed = SignedAdoptRequest::from_bytes(&bytes.0)
            .context("the request to adopt is malformed")?;
        Ok(Some(signed.verified(self.identity_key)?))
    }
}

fn statement(
    request: &Path,
    fleet: String,
    number: u64,
    name: String,
    previous: Option<&Path>,
) -> anyhow::Result<FleetStatement> {
    let request = EnrolRequest::read(request)?;
    let adoption = request.adoption()?;
    let issued = crate::clock::Clock::start().now().at;
    let mut members = match previous {
        None => Vec::new(),
        Some(path) => {
            let bytes = fs::read(path)?;
            let sign1 = countersign_record::cose::Sign1::parse(&bytes)?;
            let before = FleetStatement::from_bytes(sign1.payload())?;
            if before.number >= number {
                bail!(
                    "the statement before has number {}, the new one needs a higher one",
                    before.number
                );
            }
            before.members
        }
    };
    let gateway: GatewayId = request.identity_key.gateway();
    members.retain(|m| m.gateway != gateway);
    if let Some(adoption) = adoption {
        end(&mut members, adoption.predecessor, issued)?;
    }
    let from = UnixMillis(issued.0);
    members.push(FleetMember {
        gateway,
        name,
        from,
        until: None,
        // Where there is no TPM there is none to name.
        ak_name: Some(request.ak_name).filter(|name| !name.0.is_empty()),
    });
    Ok(FleetStatement {
        fleet,
        number,
        issued,
        members,
    })
}

/// A gateway whose work another one continues leaves the fleet.
fn end(
    members: &mut [FleetMember],
    predecessor: GatewayId,
    until: UnixMillis,
) -> anyhow::Result<()> {
    let member = members
        .iter_mut()
        .find(|m| m.gateway == predecessor)
        .with_context(|| {
            format!("gateway {predecessor} is to be continued, and no statement before lists it; give --previous")
        })?;
    if let Some(left) = member.until {
        bail!(
            "gateway {predecessor} has left the fleet already, at {} ms; whoever continues it has its log",
            left.0
        );
    }
    member.until = Some(until);
    Ok(())
}

/// Let a held gateway go on, by the governance key.
#[derive(Debug, Subcommand)]
pub(crate) enum Recover {
    /// Show what the gateway found, and sign that it may go on.
    Sign {
        /// `recover-request.cbor` of the gateway's state directory.
        #[arg(long)]
        request: PathBuf,
        /// The governance key's file.
        #[arg(long)]
        key: PathBuf,
        /// Why, in words; it stands in the log.
        #[arg(long)]
        reason: String,
        /// File to write.
        #[arg(long)]
        out: PathBuf,
    },
    /// On the gateway: put the signed statement in place; it enters the log at the next start.
    Install {
        /// State directory.
        #[arg(long)]
        state: PathBuf,
        /// The signed statement.
        statement: PathBuf,
    },
}

impl Recover {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Sign {
                request,
                key,
                reason,
                out,
            } => {
                let mut statement = RecoverStatement::from_bytes(&fs::read(&request)?)
                    .context("the request is malformed")?;
                let RecoverStatement {
                    gateway,
                    head,
                    explained,
                    found,
                    witnessed,
                    reason: _,
                    issued: _,
                } = &statement;
                println!("gateway {gateway}");
                println!(
                    "its log of {} entries explains counter {explained}; its TPM shows {found}",
                    head.size
                );
                println!(
                    "so {} steps are unexplained, and entries may be missing",
                    found.saturating_sub(*explained)
                );
                if let Some(size) = witnessed {
                    println!(
                        "a witness has cosigned {size} entries of a log that this one does not continue"
                    );
                }
                statement.reason = reason;
                statement.issued = crate::clock::Clock::start().now().at;
                let key = read_signing_key(&key)?;
                fs::write(
                    &out,
                    sign_statement(&key, RECOVER_TYP, statement.to_bytes()),
                )?;
                println!("written {}", out.display());
                Ok(())
            }
            Self::Install { state, statement } => {
                let bytes =
                    fs::read(&statement).with_context(|| statement.display().to_string())?;
                StateDir::open(&state)?.write(StateFile::Recover, &bytes)?;
                println!("installed; it enters the log at the next start");
                Ok(())
            }
        }
    }
}
