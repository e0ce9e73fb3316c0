//! Who is at the other end of a connection: the gateway that evidence vouches for, or nobody whom a client should
//! tell anything.
//!
//! In: what a gateway shows over a TLS connection ([`Shown`]); what the client knows by itself ([`Asked`]): its
//! challenge, the connection's name, the time; its own [`Trust`]. Out: a [`Counterpart`], or the first thing that does
//! not hold. All of it has to hold: what a report on an export calls "not checked" is refused here, because a client
//! that speaks on has decided.
//!
//! 1. the trust file pins a governance key or the gateway, and has reference values;
//! 2. the base's binding is vouched for by the identity key, and its entry signed by the epoch key;
//! 3. the evidence is that of the base, and shows what the binding says, on a class of hardware that is accepted;
//! 4. program, configuration and boot registers are known; so are release key and bundles, where they are pinned;
//! 5. governance lists the gateway at this time, with this attestation key, or the trust file pins it;
//! 6. the epoch key says that this very connection ends in this gateway, over the client's challenge.

use crate::hardware::{Facts, Judged, PlatformFacts, Set, Settings, TpmFacts, Use, kinds};
use crate::keys::{self, Claim};
use crate::today::Today;
use crate::trust::{EvidenceClass, Trust};
use countersign_record::binding::{
    BINDING_VERSION, Binding, FreshStatement, anchor_of, epoch_message,
};
use countersign_record::body::{Base, EvidenceRef};
use countersign_record::cbor::Cbor as _;
use countersign_record::channel::{CHANNEL_TYP, ChannelStatement};
use countersign_record::digest::{
    ArtifactDigest, ChannelBinding, EntryDigest, GatewayId, Nonce, PublicKey, UnixMillis, sha256,
};
use countersign_record::entry::{Body, Entry};
use countersign_record::statement::{FLEET_TYP, FleetMember, FleetStatement};
use thiserror::Error;

/// What a gateway shows. All of it is hostile.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// The signed [`ChannelStatement`].
    pub statement: &'a [u8],
    /// The entry that opened its epoch.
    pub base: &'a [u8],
    /// The pieces of evidence that the entry names, in any order. One that it does not name is refused.
    pub evidence: &'a [&'a [u8]],
    /// The signed fleet statement that lists it, if it has one.
    pub fleet: Option<&'a [u8]>,
}

/// What the client knows by itself.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Its challenge, made for this connection.
    pub nonce: Nonce,
    /// The connection's name, computed at the client's end.
    pub channel: ChannelBinding,
    /// The time.
    pub now: UnixMillis,
}

/// The gateway at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counterpart {
    gateway: GatewayId,
    name: Option<String>,
    class: EvidenceClass,
    epoch_key: PublicKey,
    base: EntryDigest,
    binding: Binding,
    platform: Option<PlatformFacts>,
}

/// Why a client should say nothing to whoever is there.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CounterpartError {
    /// Any genuine gateway would do, the operator's own too.
    #[error("your trust file pins neither a governance key nor a gateway")]
    NoAnchor,
    /// Any program would do.
    #[error("there are no reference values for {what}")]
    NoReference {
        /// Which.
        what: &'static str,
    },
    /// Something is not what it should be.
    #[error("the {what} is malformed: {why}")]
    Malformed {
        /// Which.
        what: &'static str,
        /// How.
        why: String,
    },
    /// A newer gateway.
    #[error("the binding has version {found}, this program reads version {BINDING_VERSION}")]
    Version {
        /// The binding's version.
        found: u64,
    },
    /// A signature does not hold.
    #[error("the {what} is not signed as it should be: {why}")]
    Unsigned {
        /// Which.
        what: &'static str,
        /// How.
        why: String,
    },
    /// The evidence does not show what the binding says.
    #[error("the evidence does not hold: {why}")]
    Evidence {
        /// How.
        why: String,
    },
    /// Evidence of a class that the client does not accept.
    #[error("the evidence is of class {}, which your trust file does not accept", class.word())]
    Class {
        /// Its class.
        class: EvidenceClass,
    },
    /// A value that the client does not know.
    #[error("{what} {found} is none that you know")]
    Unknown {
        /// Which.
        what: &'static str,
        /// Its value, hexadecimal.
        found: String,
    },
    /// Nobody of the client's says that the gateway is one of theirs.
    #[error("gateway {gateway} is not enrolled: {why}")]
    NotEnrolled {
        /// Which gateway.
        gateway: GatewayId,
        /// Why.
        why: String,
    },
    /// A statement for another challenge.
    #[error("the statement answers another challenge")]
    OtherChallenge,
    /// A statement of another gateway or epoch.
    #[error("the statement is of another gateway or epoch than the evidence")]
    OtherEpoch,
    /// The gateway vouches for another connection.
    #[error("the gateway's connection is another than this one: somebody stands in between")]
    OtherConnection,
}

impl Counterpart {
    /// Appraises what is shown.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn appraise(
        shown: &Shown<'_>,
        trust: &Trust,
        asked: &Asked,
    ) -> Result<Self, CounterpartError> {
        if trust.governance.is_empty() && trust.gateways.is_empty() {
            return Err(CounterpartError::NoAnchor);
        }
        let opened = Opened::read(shown.base)?;
        let facts = opened.facts(shown.evidence, trust, asked.now)?;
        let Opened {
            base: _,
            binding,
            digest,
        } = opened;
        let gateway = binding.identity_key.gateway();
        known_values(trust, &binding, facts.tpm.as_ref())?;
        if let Some(platform) = &facts.platform {
            platform_accepted(trust, platform)?;
        }
        let member = enrolled(shown.fleet, trust, gateway, asked.now)?;
        let class = class(trust, member.as_ref(), &facts)?;
        let counterpart = Self {
            gateway,
            name: member.map(|m| m.name),
            class,
            epoch_key: binding.epoch_key,
            base: digest,
            binding,
            platform: facts.platform,
        };
        counterpart.is_at_the_end_of(shown.statement, asked)?;
        Ok(counterpart)
    }

    /// Whether the connection ends in this very gateway.
    fn is_at_the_end_of(&self, statement: &[u8], asked: &Asked) -> Result<(), CounterpartError> {
        let (payload, _) = keys::statement(statement, CHANNEL_TYP, &[self.epoch_key])
            .map_err(|why| unsigned("statement", why))?;
        let ChannelStatement {
            gateway,
            base,
            nonce,
            channel,
            at: _,
        } = ChannelStatement::from_bytes(payload).map_err(|e| malformed("statement", e))?;
        if (gateway, base) != (self.gateway, self.base) {
            return Err(CounterpartError::OtherEpoch);
        }
        if nonce != asked.nonce {
            return Err(CounterpartError::OtherChallenge);
        }
        if channel != asked.channel {
            return Err(CounterpartError::OtherConnection);
        }
        Ok(())
    }

    /// Whether the hardware vouches for the epoch at this moment, over the client's challenge.
    ///
    /// # Errors
    /// Why it does not.
    pub fn is_alive(
        &self,
        statement: &[u8],
        evidence: &[u8],
        nonce: Nonce,
        trust: &Trust,
        now: UnixMillis,
    ) -> Result<(), CounterpartError> {
        let fresh = FreshStatement::from_bytes(statement)
            .map_err(|e| malformed("statement of fresh evidence", e))?;
        if fresh.base != self.base {
            return Err(CounterpartError::OtherEpoch);
        }
        if fresh.nonce != nonce {
            return Err(CounterpartError::OtherChallenge);
        }
        // By the same key, over the same registers: both stand in the binding. Their values may be others now: the chip
        // keeps the keys sealed to those that a release names, and the epoch's were appraised.
        let whose = Use::Later(fresh.qualifying());
        let kind = kinds(self.binding.profile, whose).first().copied();
        let refs = [EvidenceRef {
            kind: kind.unwrap_or_default().to_owned(),
            digest: ArtifactDigest::of(evidence),
        }];
        let Facts { tpm: _, platform } =
            appraised(&refs, &[evidence], whose, &self.binding, trust, now)?;
        // Without a TPM no key ties it to the opening: it has to be of the same launch.
        match (&platform, &self.platform) {
            (Some(later), Some(opening)) if !later.is_of(opening) => {
                Err(CounterpartError::Evidence {
                    why: "it is of another launch than the opening".to_owned(),
                })
            }
            (Some(later), _) => platform_accepted(trust, later),
            (None, _) => Ok(()),
        }
    }

    /// Which gateway.
    #[must_use]
    pub fn gateway(&self) -> GatewayId {
        self.gateway
    }

    /// Its name in the fleet, if a fleet statement lists it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// How well its evidence is vouched for.
    #[must_use]
    pub fn class(&self) -> EvidenceClass {
        self.class
    }
}

fn malformed(what: &'static str, why: impl ToString) -> CounterpartError {
    CounterpartError::Malformed {
        what,
        why: why.to_string(),
    }
}

fn unsigned(what: &'static str, why: String) -> CounterpartError {
    CounterpartError::Unsigned { what, why }
}

/// An epoch's opening whose signatures hold.
struct Opened {
    base: Base,
    binding: Binding,
    digest: EntryDigest,
}

impl Opened {
    fn read(bytes: &[u8]) -> Result<Self, CounterpartError> {
        let entry = Entry::parse(bytes).map_err(|e| malformed("opening", e))?;
        let Body::Base(base) = entry.body() else {
            return Err(malformed("opening", "it is an entry of another kind"));
        };
        let binding = Binding::from_bytes(&base.binding.0).map_err(|e| malformed("binding", e))?;
        if binding.version != BINDING_VERSION {
            return Err(CounterpartError::Version {
                found: binding.version,
            });
        }
        let message = epoch_message(&base.binding.0);
        let claim = Claim {
            message: &message,
            signature: base.identity_signature,
        };
        keys::verify(&binding.identity_key, claim).map_err(|why| unsigned("binding", why))?;
        if entry.kid() != binding.epoch_key.id() {
            let why = "it is signed by another key than the epoch's".to_owned();
            return Err(unsigned("opening", why));
        }
        let message = entry.to_be_signed();
        let claim = Claim {
            message: &message,
            signature: entry.signature(),
        };
        keys::verify(&binding.epoch_key, claim).map_err(|why| unsigned("opening", why))?;
        Ok(Self {
            digest: entry.digest(),
            base: base.clone(),
            binding,
        })
    }

    /// What the evidence of the opening shows: exactly the pieces of its profile, by the code that reads an export's.
    fn facts(
        &self,
        evidence: &[&[u8]],
        trust: &Trust,
        now: UnixMillis,
    ) -> Result<Facts, CounterpartError> {
        let whose = Use::Opening(anchor_of(&self.base.binding.0));
        appraised(
            &self.base.evidence,
            evidence,
            whose,
            &self.binding,
            trust,
            now,
        )
    }
}

fn appraised(
    refs: &[EvidenceRef],
    evidence: &[&[u8]],
    whose: Use,
    binding: &Binding,
    trust: &Trust,
    now: UnixMillis,
) -> Result<Facts, CounterpartError> {
    // What nobody names would be carried along unread.
    if evidence.len() > refs.len() {
        let (shown, named) = (evidence.len(), refs.len());
        return Err(CounterpartError::Evidence {
            why: format!("{shown} pieces are shown, {named} are named"),
        });
    }
    let shown = |_: &str, digest| {
        let piece = evidence.iter().find(|e| ArtifactDigest::of(e) == digest);
        piece.map(|piece| piece.to_vec())
    };
    let mut chains = countersign_evidence::Chains::new();
    let mut settings = Settings {
        trust,
        then: now,
        now,
        today: &Today::default(),
        chains: &mut chains,
    };
    Set::read(refs, binding.profile, whose, shown)
        .and_then(|set| set.appraise(whose, binding, &mut settings))
        .map_err(|blames| {
            let why: Vec<String> = blames.into_iter().map(|b| b.text).collect();
            CounterpartError::Evidence {
                why: why.join("; "),
            }
        })
}

/// Whether a processor's evidence is what the client accepts: everybody on whom it rests, every rule, and what was launched.
fn platform_accepted(trust: &Trust, platform: &PlatformFacts) -> Result<(), CounterpartError> {
    let refused = |why: String| Err(CounterpartError::Evidence { why });
    let Some(parties) = &trust.parties else {
        return Err(CounterpartError::NoReference { what: "parties" });
    };
    if let Some(party) = platform.parties.iter().find(|p| !parties.contains(p)) {
        return refused(format!(
            "it rests on {party}, which your trust file does not name"
        ));
    }
    match &platform.today {
        Judged::Accepted => {}
        Judged::NotAsked(why) => return refused((*why).to_owned()),
        Judged::Refused(texts) => return refused(texts.join("; ")),
    }
    let known = trust.reference.launch.as_ref();
    match known.and_then(|values| values.of(platform.profile)) {
        Some(known) if known.contains(&platform.launch) => {}
        Some(_) => {
            return Err(CounterpartError::Unknown {
                what: "launch measurement",
                found: hex::encode(platform.launch),
            });
        }
        None if platform.endorsed => {}
        None => {
            return Err(CounterpartError::NoReference {
                what: "what was launched",
            });
        }
    }
    let registers = platform.rtmrs.filter(|_| platform.registers_tell);
    for (register, value) in (0_u8..3).zip(registers.into_iter().flatten()) {
        let known = trust
            .reference
            .rtmrs
            .as_ref()
            .and_then(|r| r.get(&register));
        let known = known.ok_or(CounterpartError::NoReference {
            what: "a register of the trust domain",
        })?;
        if !known.contains(&value) {
            return Err(CounterpartError::Unknown {
                what: "the value of a register of the trust domain",
                found: format!("RTMR{register}: {}", hex::encode(value)),
            });
        }
    }
    Ok(())
}

/// Whether program, configuration, registers, release key and bundles are those that the client expects.
fn known_values(
    trust: &Trust,
    binding: &Binding,
    tpm: Option<&TpmFacts>,
) -> Result<(), CounterpartError> {
    let one_of = |what, known: &Option<Vec<ArtifactDigest>>, found: ArtifactDigest| {
        let known = known.as_ref();
        let known = known.ok_or(CounterpartError::NoReference { what })?;
        known
            .contains(&found)
            .then_some(())
            .ok_or_else(|| CounterpartError::Unknown {
                what,
                found: found.to_string(),
            })
    };
    one_of("program", &trust.reference.build, binding.build)?;
    one_of(
        "configuration",
        &trust.reference.configuration,
        binding.configuration,
    )?;
    if let Some(facts) = tpm {
        known_registers(trust, facts)?;
    }
    if let Some(pins) = &trust.release
        && !pins.iter().any(|p| p.names(&binding.release_key.0))
    {
        return Err(CounterpartError::Unknown {
            what: "release key",
            found: hex::encode(sha256(&binding.release_key.0)),
        });
    }
    if let Some(pins) = trust.bundles.as_ref().and_then(|r| r.pinned.as_ref()) {
        for bundle in &binding.bundles {
            one_of("bundle", &Some(pins.clone()), *bundle)?;
        }
    }
    Ok(())
}

fn known_registers(trust: &Trust, facts: &TpmFacts) -> Result<(), CounterpartError> {
    let pcrs = trust.reference.pcrs.as_ref();
    let pcrs = pcrs.ok_or(CounterpartError::NoReference {
        what: "boot registers",
    })?;
    for (register, value) in &facts.pcrs {
        let known = pcrs.get(register).ok_or(CounterpartError::NoReference {
            what: "a boot register that the evidence covers",
        })?;
        if !known.contains(value) {
            return Err(CounterpartError::Unknown {
                what: "the value of a boot register",
                found: format!("{register}: {}", hex::encode(value)),
            });
        }
    }
    Ok(())
}

/// The gateway's place in its fleet, if a statement of governance gives it one; nothing, if it is pinned by itself.
fn enrolled(
    fleet: Option<&[u8]>,
    trust: &Trust,
    gateway: GatewayId,
    now: UnixMillis,
) -> Result<Option<FleetMember>, CounterpartError> {
    let not = |why: &str| CounterpartError::NotEnrolled {
        gateway,
        why: why.to_owned(),
    };
    if trust.governance.is_empty() {
        let pinned = trust.gateways.contains(&gateway);
        return if pinned {
            Ok(None)
        } else {
            Err(not("your trust file pins others"))
        };
    }
    let fleet = fleet.ok_or_else(|| not("it shows no fleet statement"))?;
    let (payload, _) = keys::statement(fleet, FLEET_TYP, &trust.governance)
        .map_err(|why| unsigned("fleet statement", why))?;
    let statement =
        FleetStatement::from_bytes(payload).map_err(|e| malformed("fleet statement", e))?;
    let member = statement.members.into_iter().find(|m| m.gateway == gateway);
    let member = member.ok_or_else(|| not("the fleet statement does not list it"))?;
    if now < member.from {
        return Err(not("it is not yet of the fleet"));
    }
    if member.until.is_some_and(|until| until <= now) {
        return Err(not("it has left the fleet"));
    }
    Ok(Some(member))
}

/// How well the evidence is vouched for, if that is enough.
fn class(
    trust: &Trust,
    member: Option<&FleetMember>,
    facts: &Facts,
) -> Result<EvidenceClass, CounterpartError> {
    let named = member.and_then(|m| m.ak_name.as_ref());
    let found = facts.tpm.as_ref().map_or(&[][..], |t| t.ak_name.as_slice());
    if named.is_some_and(|n| n.0 != found) {
        return Err(CounterpartError::Unknown {
            what: "attestation key",
            found: hex::encode(found),
        });
    }
    let pinned = named.is_some() || trust.attestation_keys.iter().any(|p| p.name == found);
    let software = facts.tpm.as_ref().is_some_and(|t| t.software);
    let class = match &facts.platform {
        Some(platform) if !software => platform.class,
        Some(_) | None => EvidenceClass::of_tpm(software, pinned),
    };
    trust
        .accept
        .contains(&class)
        .then_some(class)
        .ok_or(CounterpartError::Class { class })
}
