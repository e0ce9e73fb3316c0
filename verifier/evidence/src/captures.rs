//! Captured evidence of platforms, for tests: `vectors/`, read from the forms in which their sources
//! have them.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "tests count positions in fixed data"
)]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::Value;

/// A quote with its values, as Azure's tools store it: the number alone as signature.
#[derive(Clone)]
pub(crate) struct CapturedQuote {
    pub(crate) message: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    pub(crate) pcrs: Vec<(u8, [u8; 32])>,
}

/// What an Azure machine presented.
pub(crate) struct AzureCapture {
    pub(crate) name: &'static str,
    pub(crate) report: Vec<u8>,
    pub(crate) td_quote: Option<Vec<u8>>,
    pub(crate) quote: CapturedQuote,
}

/// Every Azure capture that has a quote of its own machine.
pub(crate) fn azure() -> Vec<AzureCapture> {
    let json = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
    let v0 = json(include_str!(
        "../vectors/azure/trustee-snp/evidence-v0.json"
    ));
    let v1 = json(include_str!(
        "../vectors/azure/trustee-snp/evidence-v1.json"
    ));
    let tdx = json(include_str!(
        "../vectors/azure/trustee-tdx/evidence-v1.json"
    ));
    let older = json(include_str!(
        "../vectors/azure/trustee-snp/tpm-quote-v1.json"
    ));
    vec![
        AzureCapture {
            name: "trustee snp v0",
            report: bytes(&v0["report"]),
            td_quote: None,
            quote: quote(&v0["quote"]),
        },
        AzureCapture {
            name: "trustee snp v1",
            report: bytes(&v1["hcl_report"]),
            td_quote: None,
            quote: quote(&v1["tpm_quote"]),
        },
        AzureCapture {
            name: "trustee snp, report of version 2",
            report: include_bytes!("../vectors/azure/trustee-snp/hcl-report.bin").to_vec(),
            td_quote: None,
            quote: quote(&older),
        },
        AzureCapture {
            name: "trustee tdx",
            report: bytes(&tdx["hcl_report"]),
            td_quote: Some(bytes(&tdx["td_quote"])),
            quote: quote(&tdx["tpm_quote"]),
        },
    ]
}

/// The quote of `kinvolk/quote.bin`, and the key beside it: signature, message and values, each after
/// its length in eight bytes, little-endian.
pub(crate) fn kinvolk() -> (CapturedQuote, Vec<u8>) {
    let file = include_bytes!("../vectors/azure/kinvolk/quote.bin").as_slice();
    let (signature, rest) = (file[8..264].to_vec(), &file[264..]);
    let (message, rest) = (rest[8..130].to_vec(), &rest[130..]);
    assert_eq!(rest[..8], 24_u64.to_le_bytes());
    let pcrs = rest[8..].as_chunks::<32>().0.iter();
    let pem = include_str!("../vectors/azure/kinvolk/akpub.pem");
    let digits: String = pem.lines().filter(|line| !line.contains("--")).collect();
    let quote = CapturedQuote {
        message,
        signature,
        pcrs: (0..).zip(pcrs.copied()).collect(),
    };
    (quote, STANDARD.decode(digits).unwrap())
}

/// The quote of a machine whose TPM is software, with its key.
pub(crate) fn trustee_tpm() -> (CapturedQuote, Vec<u8>) {
    let evidence: Value =
        serde_json::from_str(include_str!("../vectors/tpm/trustee_tpm_evidence.json")).unwrap();
    (quote(&evidence["tpm_quote"]), bytes(&evidence["ak_public"]))
}

fn quote(value: &Value) -> CapturedQuote {
    let pcrs = value["pcrs"].as_array().unwrap().iter();
    CapturedQuote {
        message: bytes(&value["message"]),
        signature: bytes(&value["signature"]),
        pcrs: (0..)
            .zip(pcrs.map(|value| bytes(value).try_into().unwrap()))
            .collect(),
    }
}

/// Bytes as a list of numbers, in hexadecimal digits, or in base64.
fn bytes(value: &Value) -> Vec<u8> {
    if let Some(list) = value.as_array() {
        let numbers = list.iter().map(|it| it.as_u64().unwrap());
        return numbers.map(|it| u8::try_from(it).unwrap()).collect();
    }
    let text = value.as_str().unwrap();
    hex::decode(text)
        .or_else(|_| STANDARD.decode(text))
        .or_else(|_| URL_SAFE.decode(text))
        .or_else(|_| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text))
        .unwrap()
}

/// What a machine of Google's presented: a quote over no nonce, its key, its log and its certificate.
pub(crate) struct GceCapture {
    /// `TPMT_PUBLIC`.
    pub(crate) public: Vec<u8>,
    /// Quotes with their `TPMT_SIGNATURE`, of the banks of SHA-1, SHA-256 and SHA-384.
    pub(crate) quotes: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) event_log: Vec<u8>,
    pub(crate) certificate: Vec<u8>,
    /// Values of the SHA-256 bank.
    pub(crate) pcrs: Vec<(u8, [u8; 32])>,
}

/// `gce-cos-85-no-nonce.pb`: `attest.proto` of google/go-tpm-tools, fields 1 key, 2 quotes, 3 log, 6
/// certificate; of a quote 1 statement, 2 signature, 3 values.
pub(crate) fn gce() -> GceCapture {
    let file = include_bytes!("../vectors/tpm/gce-cos-85-no-nonce.pb");
    let one = |number| messages(file, number).remove(0);
    let quotes: Vec<Vec<u8>> = messages(file, 2);
    let of_quote = |quote: &[u8]| (messages(quote, 1).remove(0), messages(quote, 2).remove(0));
    let values = messages(&quotes[1], 3).remove(0);
    let mut pcrs: Vec<(u8, [u8; 32])> = messages(&values, 2)
        .iter()
        .map(|entry| {
            let value = messages(entry, 2).remove(0).try_into().unwrap();
            // An index of zero is left out.
            let index = if entry[0] == 0x08 { entry[1] } else { 0 };
            (index, value)
        })
        .collect();
    pcrs.sort_unstable();
    GceCapture {
        public: one(1),
        quotes: quotes.iter().map(|quote| of_quote(quote)).collect(),
        event_log: one(3),
        certificate: one(6),
        pcrs,
    }
}

/// Values of a field of a protobuf message that hold bytes.
fn messages(mut bytes: &[u8], field: u64) -> Vec<Vec<u8>> {
    fn number(bytes: &mut &[u8]) -> u64 {
        let length = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        let (taken, rest) = bytes.split_at(length);
        *bytes = rest;
        taken
            .iter()
            .rev()
            .fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f))
    }
    let mut found = vec![];
    while !bytes.is_empty() {
        let tag = number(&mut bytes);
        let value = number(&mut bytes);
        if tag & 7 == 2 {
            let (taken, rest) = bytes.split_at(value.try_into().unwrap());
            bytes = rest;
            if tag >> 3 == field {
                found.push(taken.to_vec());
            }
        }
    }
    found
}
