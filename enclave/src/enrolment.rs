//! Enrolment: what a gateway hands to governance, and the word that it waits for where its identity is new with each boot.
//!
//! In: an open epoch of a gateway that no fleet statement can name yet. Out: `enrol-request.cbor`, and once the governance
//! key's statement is installed, an `enrol` entry. Until then the gateway renews, answers health, evidence and export, and
//! refuses each call with `not_enrolled`. So governance can appraise it before it signs.
//!
//! A gateway on a TPM enters its statement at a start ([`crate::boot::epoch`]); nothing of this concerns it but the request.

use crate::boot::epoch::fleet_statement;
use crate::boot::{Opened, tracing_line};
use crate::calls;
use crate::serve::Gateway;
use crate::site::{StateDir, StateFile};
use anyhow::{Context as _, bail};
use countersign_journal::Draft;
use countersign_record::body::Enrol;
use countersign_record::cbor::{Bytes, Cbor as _};
use countersign_record::cbor_map;
use countersign_record::digest::{GatewayId, PublicKey, UnixMillis};
use countersign_record::entry::Body;
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks for the statement. Who installs it waits so long.
const LOOKING_INTERVAL: Duration = Duration::from_millis(500);

cbor_map! {
    /// What a gateway hands to whoever enrols it.
    pub struct EnrolRequest {
        /// The identity key.
        1 => identity_key: PublicKey,
        /// Name of the TPM's attestation key; empty where there is no TPM.
        2 => ak_name: Bytes,
        /// Which platform the gateway says it is on; appraise its evidence before believing it.
        3 => platform: String,
        /// An encoded [`crate::adoption::SignedAdoptRequest`], if the gateway is to continue another's work.
        4 => adoption: Option<Bytes>,
    }
}

/// A gateway that is not enrolled when it starts, because it was not there before.
pub struct Awaited {
    governance: PublicKey,
    /// Where the statement is put.
    people: StateDir,
}

impl Awaited {
    /// Writes the request beside the state, and tells about it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn ask(opened: &Opened) -> anyhow::Result<Self> {
        let request = EnrolRequest {
            identity_key: opened.identity(),
            ak_name: Bytes(opened.attestation_key.clone()),
            platform: opened.platform.profile().to_string(),
            adoption: None,
        };
        opened
            .people
            .write(StateFile::EnrolRequest, &request.to_bytes())?;
        tracing_line(
            "not enrolled: its identity is new with this boot; see enrol-request.cbor in the state directory and \
             `countersign enrol sign`, `enrol install`",
        );
        Ok(Self {
            governance: opened.settings.governance,
            people: opened.people.clone(),
        })
    }

    /// The installed statement and its number, if it names this gateway. One that names others is of an earlier boot.
    ///
    /// # Errors
    /// If it is not genuine, or lists the gateway for another time: calls that were taken now would be of no member of the fleet.
    fn statement(
        &self,
        gateway: GatewayId,
        now: UnixMillis,
    ) -> anyhow::Result<Option<(u64, Vec<u8>)>> {
        let Some(bytes) = self.people.read(StateFile::Fleet)? else {
            return Ok(None);
        };
        let statement = fleet_statement(&bytes, self.governance)?;
        let Some(member) = statement.members.iter().find(|m| m.gateway == gateway) else {
            return Ok(None);
        };
        if now < member.from || member.until.is_some_and(|until| now > until) {
            bail!(
                "statement {} lists this gateway from {} ms on{}, and its own clock shows {} ms",
                statement.number,
                member.from.0,
                member
                    .until
                    .map_or_else(String::new, |u| format!(" until {} ms", u.0)),
                now.0
            );
        }
        Ok(Some((statement.number, bytes)))
    }
}

/// Waits until governance has enrolled this gateway, and enters its word. Returns at once where nobody is awaited.
pub(crate) async fn wait(gateway: Arc<Gateway>) {
    let mut told = None;
    while let Some(awaited) = &gateway.awaited {
        match enter(&gateway, awaited).await {
            Ok(Some(number)) => {
                return tracing_line(&format!("enrolled by fleet statement {number}"));
            }
            Ok(None) => {}
            // It may be put right; said once, not with every look.
            Err(error) => {
                let said = format!("the fleet statement is not entered: {error:#}");
                if told.as_ref() != Some(&said) {
                    tracing_line(&said);
                    told = Some(said);
                }
            }
        }
        tokio::time::sleep(LOOKING_INTERVAL).await;
    }
}

/// Enters the statement, if it is there; its number.
async fn enter(gateway: &Gateway, awaited: &Awaited) -> anyhow::Result<Option<u64>> {
    let now = gateway.clock.now();
    let Some((number, statement)) = awaited.statement(gateway.id, now.at)? else {
        return Ok(None);
    };
    let draft = Draft {
        tenant: None,
        run: None,
        body: Body::Enrol(Enrol {
            number,
            statement: Bytes(statement.clone()),
        }),
        at: now.at,
        since_boot: now.since_boot,
        disclosures: Vec::new(),
    };
    calls::append(gateway, draft)
        .await
        .context("the log does not take it")?;
    // Nobody else sets it.
    let _unset_before = gateway.fleet.set(statement);
    Ok(Some(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{public, sign_statement};
    use countersign_record::statement::{FLEET_TYP, FleetMember, FleetStatement};
    use ed25519_dalek::SigningKey;

    const GATEWAY: GatewayId = GatewayId([7; 32]);

    const NOW: UnixMillis = UnixMillis(100);

    fn signed(key: &SigningKey, number: u64, gateway: GatewayId) -> Vec<u8> {
        signed_for(key, number, gateway, (100, Some(100)))
    }

    fn signed_for(
        key: &SigningKey,
        number: u64,
        gateway: GatewayId,
        (from, until): (u64, Option<u64>),
    ) -> Vec<u8> {
        let member = FleetMember {
            gateway,
            name: "one".to_owned(),
            from: UnixMillis(from),
            until: until.map(UnixMillis),
            ak_name: None,
        };
        let statement = FleetStatement {
            fleet: "tests".to_owned(),
            number,
            issued: UnixMillis(1),
            members: vec![member],
        };
        sign_statement(key, FLEET_TYP, statement.to_bytes())
    }

    #[test]
    fn a_statement_counts_if_the_governance_key_signed_it_and_it_names_this_gateway() {
        let root = tempfile::tempdir().unwrap();
        let governance = SigningKey::from_bytes(&[3; 32]);
        let awaited = Awaited {
            governance: public(&governance),
            people: StateDir::open(root.path()).unwrap(),
        };
        let put = |bytes: &[u8]| awaited.people.write(StateFile::Fleet, bytes).unwrap();
        assert_eq!(awaited.statement(GATEWAY, NOW).unwrap(), None);
        put(&signed(&governance, 4, GatewayId([8; 32])));
        assert_eq!(awaited.statement(GATEWAY, NOW).unwrap(), None);
        put(&signed(&SigningKey::from_bytes(&[4; 32]), 5, GATEWAY));
        assert!(awaited.statement(GATEWAY, NOW).is_err());
        put(b"nothing of the kind");
        assert!(awaited.statement(GATEWAY, NOW).is_err());
        // A clock that is behind governance's, and a membership that is over.
        for time in [(101, None), (1, Some(99))] {
            put(&signed_for(&governance, 5, GATEWAY, time));
            let said = awaited.statement(GATEWAY, NOW).unwrap_err().to_string();
            assert!(said.contains("its own clock shows 100 ms"), "{said}");
        }
        let good = signed(&governance, 5, GATEWAY);
        put(&good);
        assert_eq!(awaited.statement(GATEWAY, NOW).unwrap(), Some((5, good)));
    }
}
