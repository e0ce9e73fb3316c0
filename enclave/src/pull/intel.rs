//! Intel's Provisioning Certification Service.
//!
//! In: a quote. Out: TCB information and identity of the quoting enclave with their signers' chains, the revocation list of
//! the platform's CA, and that of the root.
//!
//! Which platform it is stands in the certificate within the quote, which nobody verified so far: it chooses what is asked
//! for, and what comes is appraised with the quote. Source: Intel, "PCS API", version 4.

use super::{Endorsed, Net, Services, get};
use anyhow::{Context as _, bail, ensure};
use countersign_record::evidence::EndorsementKind;
use countersign_verify::bare::{Piece, pieces};
use http::HeaderMap;

/// Longest chain of certificates in a header, in bytes.
const MAX_CHAIN_BYTES: usize = 64 * 1024;

/// The object identifier of FMSPC, 1.2.840.113741.1.13.1.4, and the head of its six bytes.
const FMSPC: &[u8] = b"\x06\x0a\x2a\x86\x48\x86\xf8\x4d\x01\x0d\x01\x04\x04\x06";

/// Fetches what belongs to a quote.
///
/// # Errors
/// If the quote does not say what to ask for, or the service does not give it.
pub fn fetch(net: &impl Net, services: Services<'_>, quote: &[u8]) -> anyhow::Result<Endorsed> {
    use EndorsementKind as Kind;
    let Platform { fmspc, ca } = Platform::of(quote)?;
    let service = services.intel;
    let info = get(
        net,
        service,
        &format!("/tdx/certification/v4/tcb?fmspc={}", hex::encode(fmspc)),
    )?;
    let identity = get(net, service, "/tdx/certification/v4/qe/identity")?;
    let path = format!("/sgx/certification/v4/pckcrl?ca={ca}&encoding=der");
    let list = get(net, service, &path)?;
    let (root_service, root_path) = split(services.intel_root_crl)?;
    let root_list = get(net, root_service, root_path)?;
    Ok(Endorsed::from([
        (Kind::IntelTcbInfo, info.body.to_vec()),
        (
            Kind::IntelTcbInfoChain,
            chain(&info.headers, "tcb-info-issuer-chain")?,
        ),
        (Kind::IntelQeIdentity, identity.body.to_vec()),
        (
            Kind::IntelQeIdentityChain,
            chain(&identity.headers, "sgx-enclave-identity-issuer-chain")?,
        ),
        (Kind::IntelPckCrl, crl(&list.body, "the platform's CA")?),
        (Kind::IntelRootCrl, crl(&root_list.body, "the root")?),
    ]))
}

fn crl(body: &[u8], whose: &str) -> anyhow::Result<Vec<u8>> {
    let found = pieces(body).with_context(|| format!("the revocation list of {whose}"))?;
    match found.as_slice() {
        [Piece::Crl(der)] => Ok(der.clone()),
        _ => bail!("what came is not the revocation list of {whose}"),
    }
}

/// An address, at the first slash after its authority.
fn split(url: &str) -> anyhow::Result<(&str, &str)> {
    let begin = url
        .find("://")
        .context("it is no address")?
        .saturating_add(3);
    let rest = url.get(begin..).unwrap_or_default();
    let slash = rest
        .find('/')
        .with_context(|| format!("{url} has no path"))?;
    url.split_at_checked(begin.saturating_add(slash))
        .context("it is no address")
}

/// A chain of certificates in a header, PEM in the encoding of addresses.
fn chain(headers: &HeaderMap, name: &str) -> anyhow::Result<Vec<u8>> {
    let value = headers.get(name);
    let value = value.with_context(|| format!("the answer has no header {name}"))?;
    ensure!(
        value.len() <= MAX_CHAIN_BYTES,
        "header {name} has {} bytes, {MAX_CHAIN_BYTES} are the most",
        value.len()
    );
    let chain = decoded(value.as_bytes()).with_context(|| format!("header {name}"))?;
    let found = pieces(&chain).with_context(|| format!("header {name}"))?;
    let all = found
        .iter()
        .all(|piece| matches!(piece, Piece::Certificate(_)));
    ensure!(all, "header {name} has something else than certificates");
    Ok(chain)
}

/// Bytes in which some stand as a percent sign and two digits.
fn decoded(text: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            out.push(*first);
            rest = after;
            continue;
        }
        let digits = after.first_chunk::<2>();
        let digits = digits.context("a percent sign without two digits")?;
        let byte = hex::decode(digits)
            .ok()
            .context("a percent sign without two digits")?;
        out.extend(byte);
        rest = after.get(2..).unwrap_or_default();
    }
    Ok(out)
}

/// A platform, as its certificate says.
#[derive(Debug, PartialEq, Eq)]
struct Platform {
    fmspc: [u8; 6],
    /// Which CA issued it, as the service calls it.
    ca: &'static str,
}

impl Platform {
    /// Of the first certificate within a quote, PEM.
    fn of(quote: &[u8]) -> anyhow::Result<Self> {
        let begin = find(quote, b"-----BEGIN CERTIFICATE-----");
        let text = begin.and_then(|at| quote.get(at..));
        let end = text.and_then(|text| {
            let at = find(text, b"-----END CERTIFICATE-----")?;
            text.get(..at.saturating_add(25))
        });
        let text = end.context("the quote has no certificate of its platform inside")?;
        let found = pieces(text).context("the certificate within the quote")?;
        let [Piece::Certificate(der)] = found.as_slice() else {
            bail!("the quote has no certificate of its platform inside");
        };
        let fmspc = find(der, FMSPC).and_then(|at| der.get(at.saturating_add(FMSPC.len())..));
        let fmspc = fmspc.and_then(|rest| rest.first_chunk::<6>());
        let fmspc = fmspc.context("the certificate within the quote names no platform (FMSPC)")?;
        let ca = if find(der, b"Intel SGX PCK Platform CA").is_some() {
            "platform"
        } else if find(der, b"Intel SGX PCK Processor CA").is_some() {
            "processor"
        } else {
            bail!("the certificate within the quote is of no CA of Intel's platforms");
        };
        Ok(Self { fmspc: *fmspc, ca })
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|w| w == what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collateral::Collateral;
    use crate::pull::tests::{Fake, NOW, SERVICES, answer};
    use crate::pull::{Judge, Pulled, Shown, pull};
    use countersign_devices::tdx::{Collateral as Made, Intel, Quote};
    use countersign_evidence::tdx::RootDigest;
    use countersign_verify::trust::Trust;

    /// A trust file that names the fake vendor's root.
    fn trust() -> (String, Trust) {
        let zeros = "00".repeat(32);
        let root = RootDigest::of(&Intel::default().root_der());
        let text = format!(
            "version = 1\n[governance]\nkeys = [\"43a72e714401762df66b68c26dfbdf2682aaec9f2474eca4613e424a0fbafd3c\"]\n\
             [bundles]\nsigners = [\"0b513ad9b4924015ca0902ed079044d3ac5dbec2306f06948c10da8eb6e39f2d\"]\nthreshold = 1\n\
             [evidence]\naccept = [\"processor\"]\nparties = [\"intel\"]\n[tdx]\nroots = [\"{root}\"]\n\
             [reference]\nbuild = [\"{zeros}\"]\nconfiguration = [\"{zeros}\"]\n"
        );
        (
            "trust.toml".to_owned(),
            Trust::parse(text.as_bytes()).unwrap(),
        )
    }

    /// Collateral of the time at which tests look.
    fn made() -> Made {
        let mut of = Made::default();
        for text in [&mut of.tcb_info, &mut of.qe_identity] {
            *text = text.replace("2026-01-27", "2026-03-27");
        }
        for list in [&mut of.root_crl, &mut of.pck_crl] {
            list.next_update = Some(1_775_000_000_000);
        }
        of
    }

    fn encoded(chain: &[u8]) -> String {
        let one = |byte: &u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(*byte).to_string(),
            _ => format!("%{byte:02X}"),
        };
        chain.iter().map(one).collect()
    }

    fn json(name: &str, object: &str, signature: &[u8]) -> Vec<u8> {
        let signature = hex::encode(signature);
        format!("{{\"{name}\":{object},\"signature\":\"{signature}\"}}").into_bytes()
    }

    fn platform() -> Platform {
        Platform::of(&Quote::default().to_bytes()).unwrap()
    }

    /// The services, for the fake platform.
    fn servers(of: &Made) -> Fake {
        let Platform { fmspc, ca } = platform();
        let info = json("tcbInfo", &of.tcb_info, &of.tcb_info_signature());
        let identity = json(
            "enclaveIdentity",
            &of.qe_identity,
            &of.qe_identity_signature(),
        );
        let info_chain = encoded(&of.tcb_info_chain);
        let identity_chain = encoded(&of.qe_identity_chain);
        Fake::default()
            .at(
                &format!(
                    "https://intel/tdx/certification/v4/tcb?fmspc={}",
                    hex::encode(fmspc)
                ),
                answer(200, &[("TCB-Info-Issuer-Chain", &info_chain)], &info),
            )
            .at(
                "https://intel/tdx/certification/v4/qe/identity",
                answer(
                    200,
                    &[("SGX-Enclave-Identity-Issuer-Chain", &identity_chain)],
                    &identity,
                ),
            )
            .at(
                &format!("https://intel/sgx/certification/v4/pckcrl?ca={ca}&encoding=der"),
                answer(200, &[], &of.pck_crl.sign(&of.pck_crl_by)),
            )
            .at(
                "https://root/list.der",
                answer(200, &[], &of.root_crl.sign(&of.root_crl_by)),
            )
    }

    fn pulled(net: &Fake) -> anyhow::Result<Pulled> {
        let trust = trust();
        let judge = Judge {
            trust: Some(&trust),
            now: NOW,
        };
        let shown = Shown::Tdx(Quote::default().to_bytes());
        pull(net, SERVICES, &shown, &Collateral::default(), &judge)
    }

    #[test]
    fn what_belongs_to_a_platform_is_fetched_by_what_its_quote_names() {
        let net = servers(&made());
        let pulled = pulled(&net).unwrap();
        let kinds: Vec<_> = pulled.endorsed.keys().copied().collect();
        let needed = countersign_record::binding::Profile::Tdx
            .endorsements()
            .needed;
        assert_eq!(kinds, needed);
        assert_eq!(net.asked.borrow().len(), 4);
        let chain = &pulled.endorsed[&EndorsementKind::IntelTcbInfoChain];
        assert!(chain.starts_with(b"-----BEGIN CERTIFICATE-----"));
    }

    #[test]
    fn collateral_of_another_platform_or_another_time_or_key_is_refused() {
        type Change = fn(&mut Made);
        let changes: [(Change, &str); 4] = [
            (
                |of| of.tcb_info = of.tcb_info.replace("2026-03-27", "2026-01-27"),
                "tdx.tcbinfo.validity",
            ),
            (
                |of| of.tcb_info_by = countersign_devices::tdx::other_key(),
                "tdx.tcbinfo.signature",
            ),
            (
                |of| of.pck_crl_by = countersign_devices::tdx::other_key(),
                "tdx.pckcrl.signature",
            ),
            (
                |of| of.root_crl.next_update = Some(1),
                "tdx.rootcrl.validity",
            ),
        ];
        for (change, code) in changes {
            let mut of = made();
            change(&mut of);
            let told = format!("{:#}", pulled(&servers(&of)).unwrap_err());
            assert!(
                told.contains(code) && told.contains("nothing was replaced"),
                "{told}"
            );
        }
    }

    #[test]
    fn an_answer_without_its_chain_or_of_another_kind_is_refused() {
        let Platform { fmspc, .. } = platform();
        let address = format!(
            "https://intel/tdx/certification/v4/tcb?fmspc={}",
            hex::encode(fmspc)
        );
        for (value, why) in [
            (None, "no header"),
            (Some("%2"), "percent sign"),
            (Some("%zz"), "percent sign"),
            (Some("nothing"), "tcb-info-issuer-chain"),
        ] {
            let headers: Vec<(&str, &str)> = value
                .map(|v| ("TCB-Info-Issuer-Chain", v))
                .into_iter()
                .collect();
            let net = Fake::default().at(&address, answer(200, &headers, b"{}"));
            let net = [
                "https://intel/tdx/certification/v4/qe/identity",
                "https://root/list.der",
            ]
            .into_iter()
            .fold(net, |net, at| net.at(at, answer(200, &[], b"{}")));
            let path = "https://intel/sgx/certification/v4/pckcrl?ca=platform&encoding=der";
            let other = path.replace("platform", "processor");
            let net = net
                .at(path, answer(200, &[], b"{}"))
                .at(&other, answer(200, &[], b"{}"));
            let told = format!("{:#}", pulled(&net).unwrap_err());
            assert!(told.contains(why), "{told}");
        }
    }

    #[test]
    fn quotes_that_name_no_platform_are_told() {
        let told = |quote: &[u8]| Platform::of(quote).unwrap_err().to_string();
        assert!(told(b"").contains("no certificate"));
        assert!(told(b"-----BEGIN CERTIFICATE-----\nAAAA").contains("no certificate"));
        let quote = Quote::default().to_bytes();
        let at = find(&quote, b"-----BEGIN CERTIFICATE-----").unwrap();
        assert!(Platform::of(&quote[..at + 60]).is_err());
        let root = Intel::default().root_der();
        let other = countersign_devices::tdx::pem(&[&root]);
        assert!(told(&other).contains("FMSPC"));
    }

    #[test]
    fn an_address_is_split_at_its_path() {
        assert_eq!(split("https://a/b/c").unwrap(), ("https://a", "/b/c"));
        assert!(split("https://a").is_err());
        assert!(split("a/b").is_err());
    }
}
