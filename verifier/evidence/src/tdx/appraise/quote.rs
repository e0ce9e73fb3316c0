//! The quote itself: its form, and the signatures from the platform's key to its body.

use countersign_certificates::Certificate;
use sha2::{Digest as _, Sha256};

use super::super::TdxCheck;
use super::super::enclave::EnclaveReport;
use super::super::pki::Statement;
use super::super::quote::{
    Body, Certification, Header, KEY_P256, SignatureData, TEE_TDX, VENDOR_INTEL,
};
use super::super::types::ReportData;
use super::finding::{Finding, TwoReportData};
use super::{Context, NO_CHAIN, NO_QUOTE, needs};
use crate::appraisal::Ledger;
use crate::reader::FormError;

/// What could be read of a quote.
pub(super) struct Parts<'a> {
    pub(super) header: Option<Header>,
    pub(super) body: Option<Body<'a>>,
    pub(super) data: Option<SignatureData<'a>>,
    pub(super) certification: Option<Certification<'a>>,
}

pub(super) fn appraise_form<'a>(ledger: &mut Ledger<TdxCheck>, quote: &'a [u8]) -> Parts<'a> {
    let header = Header::parse(quote);
    // A header with reserved bytes set fails, and is looked at further.
    let form = header.and_then(|it| it.reserved().map(|()| it));
    ledger.note(TdxCheck::QuoteHeader, form, |_| {
        format!(
            "a header of {} bytes, reserved ones zero",
            super::super::quote::HEADER_BYTES
        )
    });
    let header = header.ok();
    let version = ledger.run(
        TdxCheck::QuoteVersion,
        needs(header, NO_QUOTE),
        |it| match it.version() {
            found @ (4 | 5) => Ok(found),
            found => Err(Finding::Version { found }),
        },
        |version| format!("version {version}"),
    );
    let tee = ledger.run(
        TdxCheck::QuoteTee,
        needs(header, NO_QUOTE),
        |it| match it.tee() {
            TEE_TDX => Ok(()),
            found => Err(Finding::Tee { found }),
        },
        |()| "a trust domain".into(),
    );
    ledger.run(
        TdxCheck::QuoteKeyType,
        needs(header, NO_QUOTE),
        |it| match it.key_type() {
            KEY_P256 => Ok(()),
            found => Err(Finding::KeyType { found }),
        },
        |()| "ecdsa p-256".into(),
    );
    ledger.run(
        TdxCheck::QuoteVendor,
        needs(header, NO_QUOTE),
        |it| match it.vendor() {
            VENDOR_INTEL => Ok(()),
            found => Err(Finding::Vendor {
                found,
                expected: VENDOR_INTEL,
            }),
        },
        |()| "intel".into(),
    );
    let body = ledger.run(
        TdxCheck::QuoteBody,
        needs(version.zip(tee), NO_QUOTE),
        |(version, ())| Body::parse(quote, version),
        |body| format!("{} signed bytes", body.signed.len()),
    );
    let data = ledger.run(
        TdxCheck::QuoteForm,
        needs(body, NO_QUOTE),
        |body| SignatureData::parse(body.rest),
        |_| "lengths are exact, nothing follows".into(),
    );
    let certification = ledger.run(
        TdxCheck::QuoteCertification,
        needs(data, NO_QUOTE),
        |data| Certification::parse(&data),
        |_| "report on the quoting enclave, with certificates".into(),
    );
    Parts {
        header,
        body,
        data,
        certification,
    }
}

/// From the platform's key over the quoting enclave and the attestation key to the body.
pub(super) fn appraise_signatures(
    ledger: &mut Ledger<TdxCheck>,
    context: &mut Context<'_>,
    quote: &Parts<'_>,
    leaf: Option<&Certificate<'_>>,
) -> Option<EnclaveReport> {
    let certification = quote.certification;
    let report = ledger.run(
        TdxCheck::QeForm,
        needs(certification, NO_QUOTE),
        |it| EnclaveReport::parse(it.report),
        |report| format!("mrenclave {}, reserved bytes zero", report.mrenclave()),
    );
    let absent = if leaf.is_none() { NO_CHAIN } else { NO_QUOTE };
    ledger.run(
        TdxCheck::QeSignature,
        needs(certification.zip(leaf), absent),
        |(it, leaf)| {
            let statement = Statement {
                message: it.report,
                signature: it.signature,
            };
            statement.by_certificate(leaf, "the platform's key", context.chains)
        },
        |()| "holds under the platform's key".into(),
    );
    ledger.run(
        TdxCheck::QeDebug,
        needs(report, NO_QUOTE),
        |report| {
            if report.is_debug() {
                Err(Finding::QeDebug {
                    found: Box::new(report),
                })
            } else {
                Ok(())
            }
        },
        |()| "not in debug mode".into(),
    );
    ledger.run(
        TdxCheck::QuoteKey,
        needs(quote.data.zip(certification).zip(report), NO_QUOTE),
        |((data, certification), report)| {
            let digest = Sha256::new()
                .chain_update(data.key)
                .chain_update(certification.authentication)
                .finalize();
            let mut expected = ReportData::ZERO;
            expected
                .0
                .iter_mut()
                .zip(digest)
                .for_each(|(to, from)| *to = from);
            let found = report.report_data();
            if found == expected {
                Ok(())
            } else {
                Err(Finding::Binding(Box::new(TwoReportData {
                    found,
                    expected,
                })))
            }
        },
        |()| "the quoting enclave vouches for the attestation key".into(),
    );
    ledger.run(
        TdxCheck::QuoteSignature,
        needs(quote.body.zip(quote.data), NO_QUOTE),
        |(body, data)| {
            let statement = Statement {
                message: body.signed,
                signature: data.signature,
            };
            statement.by_coordinates(data.key, "the attestation key", context.chains)
        },
        |()| "holds under the attestation key".into(),
    );
    report
}

impl Header {
    /// Whether the reserved bytes are zero. In quotes of enclaves versions stand there.
    fn reserved(&self) -> Result<(), FormError> {
        match self.reserved_bytes() {
            0 => Ok(()),
            found => Err(FormError::Value {
                field: "reserved after tee type",
                found: found.into(),
                expected: 0,
            }),
        }
    }
}
