//! For whom an agent asks, where its action waits for people.
//!
//! In: what was found out of a caller, or the record of its call with what opens it. Out: names
//! for people who decide. The action that they sign has none of them: it names the call, and the
//! record of the call commits to them.

use super::opened;
use crate::call::Who;
use countersign_record::body::Caller;
use countersign_record::cbor::Cbor as _;
use countersign_record::claims::{Principal, PrincipalChain};
use countersign_record::commitment::{Disclosure, Field};

/// For whom an agent asks, as the record of its call says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    /// The person it acts for.
    pub user: Option<String>,
    /// Whom its token is about, then who acted for them, the latest last; nobody, where no token says so. Absent if
    /// the record has a chain that cannot be opened.
    pub principals: Option<Vec<Principal>>,
}

impl Behind {
    /// Of a call that is under way.
    pub(crate) fn of(who: &Who) -> Self {
        Self {
            user: who.user.clone(),
            principals: principals(who.chain.is_some(), who.chain.as_deref()),
        }
    }

    /// Of a recorded call, as far as its values are there.
    pub(super) fn recorded(caller: &Caller, disclosures: &[Disclosure]) -> Self {
        let user = caller.user.and(opened(disclosures, Field::User));
        let chain = opened(disclosures, Field::PrincipalChain);
        Self {
            user: user.map(|user| String::from_utf8_lossy(user).into_owned()),
            principals: principals(caller.principal_chain.is_some(), chain),
        }
    }

    /// What it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        let names = self.principals.iter().flatten();
        let names = names.flat_map(|p| [p.issuer.len(), p.subject.len()]);
        let user = self.user.as_ref().map(String::len);
        names.chain(user).fold(0, usize::saturating_add)
    }
}

fn principals(is_there: bool, chain: Option<&[u8]>) -> Option<Vec<Principal>> {
    match is_there {
        true => Some(PrincipalChain::from_bytes(chain?).ok()?.principals),
        false => Some(Vec::new()),
    }
}
