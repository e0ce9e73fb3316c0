//! The platform's certificate, up to a root.

use countersign_certificates::Certificate;

use super::super::TdxCheck;
use super::super::pck::{OID, PckError, PckExtension};
use super::super::pki::{self, PkiError, Role};
use super::{Context, NO_CHAIN, NO_QUOTE, needs};
use crate::appraisal::Ledger;

/// Platform, CA, root; and what the first says.
pub(super) struct Pck<'d> {
    pub(super) certificates: Option<[Certificate<'d>; 3]>,
    pub(super) extension: Option<PckExtension>,
}

impl<'d> Pck<'d> {
    /// The platform's.
    pub(super) fn leaf(&self) -> Option<&Certificate<'d>> {
        self.certificates.as_ref().map(|[leaf, _, _]| leaf)
    }

    /// Who issued it.
    pub(super) fn ca(&self) -> Option<&Certificate<'d>> {
        self.certificates.as_ref().map(|[_, ca, _]| ca)
    }

    /// Who issued that.
    pub(super) fn root(&self) -> Option<&Certificate<'d>> {
        self.certificates.as_ref().map(|[_, _, root]| root)
    }
}

pub(super) fn appraise_pck<'d>(
    ledger: &mut Ledger<TdxCheck>,
    context: &mut Context<'_>,
    blocks: Option<&'d Result<Vec<Vec<u8>>, PkiError>>,
) -> Pck<'d> {
    let certificates = ledger.run(
        TdxCheck::PckForm,
        needs(blocks, NO_QUOTE),
        |blocks| match blocks {
            Ok(blocks) => pki::certificates::<3>(blocks),
            Err(error) => Err(error.clone()),
        },
        |_| "three certificates".into(),
    );
    ledger.run(
        TdxCheck::PckRoot,
        needs(certificates.as_ref(), NO_CHAIN),
        |[_, _, root]| pki::rooted(root, context.roots),
        |()| "one of ours".into(),
    );
    ledger.run(
        TdxCheck::PckChain,
        needs(certificates.as_ref(), NO_CHAIN),
        |[leaf, ca, root]| {
            pki::issued(root, ca, 1, context.chains)?;
            pki::issued(ca, leaf, 0, context.chains)?;
            pki::named(ca, Role::PlatformCa)?;
            pki::last(leaf, Role::Platform)
        },
        |()| "root issued ca, ca issued platform".into(),
    );
    ledger.run(
        TdxCheck::PckValidity,
        needs(certificates.as_ref(), NO_CHAIN),
        |chain| pki::valid(chain, context.at),
        |()| format!("all valid on {}", context.at),
    );
    let extension = ledger.run(
        TdxCheck::PckExtension,
        needs(certificates.as_ref(), NO_CHAIN),
        |[leaf, _, _]| {
            let extension = leaf.extension(OID).ok_or(PckError::Absent)?;
            PckExtension::parse(extension.value)
        },
        |it| {
            format!(
                "fmspc {}, pceid {}, ppid {}",
                it.fmspc(),
                it.pce_id(),
                it.ppid()
            )
        },
    );
    Pck {
        certificates,
        extension,
    }
}
