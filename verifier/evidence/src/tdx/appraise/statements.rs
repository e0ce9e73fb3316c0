//! What Intel says beside the quote: revocation lists, TCB info, identity of the quoting enclave.

use countersign_certificates::{Certificate, Crl};

use super::super::TdxCheck;
use super::super::collateral::Collateral;
use super::super::identity::QeIdentity;
use super::super::pki::{self, PkiError, Role, Statement};
use super::super::tcbinfo::{Kind, TcbInfo};
use super::chain::Pck;
use super::finding::Finding;
use super::{Context, NO_CHAIN, NO_COLLATERAL, NO_LIST, NO_SIGNER, NO_STATEMENT, NOT_NAMED, needs};
use crate::Moment;
use crate::appraisal::Ledger;
use crate::json::{Json, JsonError};

/// What could be read of it.
pub(super) struct Said {
    pub(super) info: Option<TcbInfo>,
    pub(super) identity: Option<QeIdentity>,
    /// Until when lists and certificates are current.
    pub(super) lists_until: Option<Moment>,
}

pub(super) fn appraise(
    ledger: &mut Ledger<TdxCheck>,
    context: &mut Context<'_>,
    collateral: Option<&Collateral>,
    pck: &Pck<'_>,
) -> Said {
    let present = collateral.ok_or(Finding::NoCollateral);
    ledger.note(TdxCheck::Collateral, present, |_| "presented".into());
    let root_crl = appraise_list(
        ledger,
        context,
        &ROOT_LIST,
        collateral.map(|it| it.root_crl.as_slice()),
        (pck.root(), pck.ca()),
    );
    let pck_crl = appraise_list(
        ledger,
        context,
        &PCK_LIST,
        collateral.map(|it| it.pck_crl.as_slice()),
        (pck.ca(), pck.leaf()),
    );
    let info = appraise_statement(
        ledger,
        context,
        &TCB_INFO,
        collateral.map(|it| Received {
            object: &it.tcb_info,
            signature: &it.tcb_info_signature,
            chain: &it.tcb_info_chain,
        }),
        root_crl.as_ref(),
        Reading {
            read: TcbInfo::of,
            current: |it| (it.issued, it.next),
        },
    );
    let extension = pck.extension.as_ref();
    let absent = if info.is_none() {
        NO_STATEMENT
    } else {
        NO_CHAIN
    };
    ledger.run(
        TdxCheck::TcbInfoFmspc,
        needs(info.as_ref().zip(extension), absent),
        |(info, pck)| {
            let (found, expected) = (info.fmspc, pck.fmspc());
            if found == expected {
                Ok(found)
            } else {
                Err(Finding::Fmspc { found, expected })
            }
        },
        |fmspc| format!("{fmspc}, the platform's"),
    );
    ledger.run(
        TdxCheck::TcbInfoPceId,
        needs(info.as_ref().zip(extension), absent),
        |(info, pck)| {
            let (found, expected) = (info.pce_id, pck.pce_id());
            if found == expected {
                Ok(found)
            } else {
                Err(Finding::PceId { found, expected })
            }
        },
        |id| format!("{id}, the platform's"),
    );
    let evaluation = info.as_ref().map(|it| it.evaluation);
    appraise_evaluation(ledger, context, TdxCheck::TcbInfoEvaluation, evaluation);
    let identity = appraise_statement(
        ledger,
        context,
        &QE_IDENTITY,
        collateral.map(|it| Received {
            object: &it.qe_identity,
            signature: &it.qe_identity_signature,
            chain: &it.qe_identity_chain,
        }),
        root_crl.as_ref(),
        Reading {
            read: QeIdentity::of,
            current: |it| (it.issued, it.next),
        },
    );
    let evaluation = identity.as_ref().map(|it| it.evaluation);
    appraise_evaluation(ledger, context, TdxCheck::QeIdentityEvaluation, evaluation);
    let lists = root_crl.zip(pck_crl);
    Said {
        info,
        identity,
        lists_until: lists
            .map(|(root, pck)| Moment(root.next_update().min(pck.next_update())))
            .min(
                pck.certificates
                    .as_ref()
                    .and_then(|it| pki::valid_until(it)),
            ),
    }
}

/// The checks of one revocation list, and of the certificate that it could name.
struct ListChecks {
    form: TdxCheck,
    signature: TdxCheck,
    validity: TdxCheck,
    revocation: TdxCheck,
}

const ROOT_LIST: ListChecks = ListChecks {
    form: TdxCheck::RootCrlForm,
    signature: TdxCheck::RootCrlSignature,
    validity: TdxCheck::RootCrlValidity,
    revocation: TdxCheck::PckCaRevocation,
};

const PCK_LIST: ListChecks = ListChecks {
    form: TdxCheck::PckCrlForm,
    signature: TdxCheck::PckCrlSignature,
    validity: TdxCheck::PckCrlValidity,
    revocation: TdxCheck::PckRevocation,
};

/// Of a list, its issuer, and one whom that issued.
fn appraise_list<'a>(
    ledger: &mut Ledger<TdxCheck>,
    context: &mut Context<'_>,
    checks: &ListChecks,
    bytes: Option<&'a [u8]>,
    (issuer, subject): (Option<&Certificate<'_>>, Option<&Certificate<'_>>),
) -> Option<Crl<'a>> {
    let crl = ledger.run(
        checks.form,
        needs(bytes, NO_COLLATERAL),
        Crl::parse,
        |crl| format!("names {} certificates", crl.count()),
    );
    let absent = match (bytes, &crl) {
        (None, _) => NO_COLLATERAL,
        (Some(_), None) => NO_LIST,
        (Some(_), Some(_)) => NO_CHAIN,
    };
    ledger.run(
        checks.signature,
        needs(bytes.zip(crl.as_ref()).zip(issuer), absent),
        |((bytes, crl), issuer)| pki::listed(issuer, bytes, crl, context.chains),
        |()| "signed by the issuer of the certificate".into(),
    );
    ledger.run(
        checks.validity,
        needs(crl.as_ref(), absent),
        |crl| pki::current(crl, context.at),
        |()| format!("current on {}", context.at),
    );
    ledger.run(
        checks.revocation,
        needs(crl.as_ref().zip(subject), absent),
        |(crl, subject)| pki::not_revoked(crl, subject),
        |()| "not taken back".into(),
    );
    crl
}

/// A statement as it was received.
#[derive(Clone, Copy)]
struct Received<'a> {
    object: &'a [u8],
    signature: &'a [u8],
    chain: &'a [u8],
}

/// The checks of one statement, and what it has to be.
struct StatementChecks {
    form: TdxCheck,
    chain: TdxCheck,
    chain_validity: TdxCheck,
    revocation: TdxCheck,
    signature: TdxCheck,
    id: TdxCheck,
    members: TdxCheck,
    validity: TdxCheck,
    object: &'static str,
    is: (&'static str, u64),
    expected: &'static str,
}

const TCB_INFO: StatementChecks = StatementChecks {
    form: TdxCheck::TcbInfoForm,
    chain: TdxCheck::TcbInfoChain,
    chain_validity: TdxCheck::TcbInfoChainValidity,
    revocation: TdxCheck::TcbInfoRevocation,
    signature: TdxCheck::TcbInfoSignature,
    id: TdxCheck::TcbInfoId,
    members: TdxCheck::TcbInfoMembers,
    validity: TdxCheck::TcbInfoValidity,
    object: "tcb info",
    is: ("TDX", 3),
    expected: "\"TDX\" version 3",
};

const QE_IDENTITY: StatementChecks = StatementChecks {
    form: TdxCheck::QeIdentityForm,
    chain: TdxCheck::QeIdentityChain,
    chain_validity: TdxCheck::QeIdentityChainValidity,
    revocation: TdxCheck::QeIdentityRevocation,
    signature: TdxCheck::QeIdentitySignature,
    id: TdxCheck::QeIdentityId,
    members: TdxCheck::QeIdentityMembers,
    validity: TdxCheck::QeIdentityValidity,
    object: "qe identity",
    is: ("TD_QE", 2),
    expected: "\"TD_QE\" version 2",
};

/// How members become a statement, and when that is current.
struct Reading<S> {
    read: fn(&Json<'_>) -> Result<S, JsonError>,
    current: fn(&S) -> (Moment, Moment),
}

fn appraise_statement<S>(
    ledger: &mut Ledger<TdxCheck>,
    context: &mut Context<'_>,
    checks: &StatementChecks,
    received: Option<Received<'_>>,
    root_crl: Option<&Crl<'_>>,
    reading: Reading<S>,
) -> Option<S> {
    let parsed = ledger.run(
        checks.form,
        needs(received, NO_COLLATERAL),
        |it| {
            let json = Json::parse(it.object)?;
            Kind::of(&json, checks.object).map(|kind| (json, kind))
        },
        |_| "strict json".into(),
    );
    appraise_signer(ledger, context, checks, received, root_crl);
    let absent = if received.is_none() {
        NO_COLLATERAL
    } else {
        NO_STATEMENT
    };
    let is_it = ledger.run(
        checks.id,
        needs(parsed.as_ref(), absent),
        |(json, kind)| {
            if (kind.id.as_str(), kind.version) == checks.is {
                Ok(json)
            } else {
                Err(Finding::Kind {
                    id: kind.id.clone(),
                    version: kind.version,
                    expected: checks.expected,
                })
            }
        },
        |_| checks.expected.into(),
    );
    let statement = ledger.run(checks.members, needs(is_it, absent), reading.read, |_| {
        "exactly those of this version".into()
    });
    ledger.run(
        checks.validity,
        needs(statement.as_ref(), absent),
        |statement| {
            let ((issued, next), at) = ((reading.current)(statement), context.at);
            if issued <= at && at <= next {
                Ok((issued, next))
            } else {
                Err(Finding::Stale { issued, next, at })
            }
        },
        |(issued, next)| format!("of {issued}, current until {next}"),
    );
    statement
}

/// Who signed a statement, and that they did.
fn appraise_signer(
    ledger: &mut Ledger<TdxCheck>,
    context: &mut Context<'_>,
    checks: &StatementChecks,
    received: Option<Received<'_>>,
    root_crl: Option<&Crl<'_>>,
) {
    let blocks = received.map(|it| pki::blocks(it.chain));
    let chain = match &blocks {
        None => None,
        Some(Ok(blocks)) => Some(pki::certificates::<2>(blocks)),
        Some(Err(error)) => Some(Err(error.clone())),
    };
    let certificates = chain.as_ref().and_then(|chain| chain.as_ref().ok());
    ledger.run(
        checks.chain,
        needs(chain.as_ref(), NO_COLLATERAL),
        |chain| -> Result<(), PkiError> {
            let [signer, root] = chain.as_ref().map_err(Clone::clone)?;
            pki::rooted(root, context.roots)?;
            pki::issued(root, signer, 0, context.chains)?;
            pki::last(signer, Role::TcbSigner)
        },
        |()| "a root of ours issued the signer".into(),
    );
    let absent = if received.is_none() {
        NO_COLLATERAL
    } else {
        NO_SIGNER
    };
    ledger.run(
        checks.chain_validity,
        needs(certificates, absent),
        |chain| pki::valid(chain, context.at),
        |()| format!("both valid on {}", context.at),
    );
    let no_list = if certificates.is_none() {
        absent
    } else {
        NO_LIST
    };
    ledger.run(
        checks.revocation,
        needs(certificates.zip(root_crl), no_list),
        |([signer, _], crl)| pki::not_revoked(crl, signer),
        |()| "not taken back".into(),
    );
    ledger.run(
        checks.signature,
        needs(received.zip(certificates), absent),
        |(it, [signer, _])| {
            let statement = Statement {
                message: it.object,
                signature: it.signature,
            };
            statement.by_certificate(signer, "the signer's key", context.chains)
        },
        |()| "holds over the bytes as received".into(),
    );
}

fn appraise_evaluation(
    ledger: &mut Ledger<TdxCheck>,
    context: &Context<'_>,
    code: TdxCheck,
    evaluation: Option<u32>,
) {
    let absent = if evaluation.is_none() {
        NO_STATEMENT
    } else {
        NOT_NAMED
    };
    ledger.run(
        code,
        needs(evaluation.zip(context.policy.evaluation_floor), absent),
        |(found, floor)| {
            if found >= floor {
                Ok(found)
            } else {
                Err(Finding::Evaluation { found, floor })
            }
        },
        |found| format!("evaluation {found}"),
    );
}
