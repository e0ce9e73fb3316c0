//! Captured evidence of platforms, for tests: `vectors/`, read from the forms in which their sources
//! have them.

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
