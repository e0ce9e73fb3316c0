//! AMD's Key Distribution Service.
//!
//! In: a report. Out: the certificate of the key that signed it, its issuer, the root, and the root's revocation list. Of a
//! provider's key (VLEK) the service gives all but the key's own certificate: that is in the host's table.
//!
//! Which certificate belongs to a report follows from its chip and the version that it reports, which the service puts
//! together anew for each version. Source: AMD 57230, "VCEK certificate and KDS interface"; 58369 for VLEK.

use super::{Endorsed, Net, get};
use crate::collateral::Collateral;
use anyhow::{Context as _, bail};
use countersign_evidence::snp::{Product, Report, SigningKey, Tcb};
use countersign_record::evidence::EndorsementKind;
use countersign_verify::bare::{Piece, pieces};

/// Endorsements of a chip, which stay what they are.
pub const OF_CHIP: [EndorsementKind; 3] = [
    EndorsementKind::AmdVek,
    EndorsementKind::AmdIssuer,
    EndorsementKind::AmdRoot,
];

/// What is there already.
#[derive(Debug, Default)]
pub struct There {
    /// What belongs to the report's chip, all of it.
    pub chip: Option<Endorsed>,
    /// The certificate of a provider's key, or of another key.
    pub key: Option<Vec<u8>>,
}

/// Fetches what belongs to a report and is not there.
///
/// # Errors
/// If the report does not say what to ask for, or the service does not give it.
pub fn fetch(
    net: &impl Net,
    service: &str,
    report: &[u8],
    there: There,
) -> anyhow::Result<Endorsed> {
    let report = Report::parse(report).context("the report")?;
    let product = report.processor().and_then(Product::of_processor);
    let product = product.context(
        "the report does not say of which product it is (versions before 3 do not): fetch its certificates by hand, and give \
         them to `countersign collateral import`",
    )?;
    let key = Key::of(&report)?;
    let directory = format!("/{}/v1/{product}", key.word());
    let mut found = match (there.chip, key) {
        (Some(chip), _) => chip,
        (None, Key::Chip) => {
            let tcb = Tcb::parse(report.reported_tcb(), product).context("the report's version")?;
            let path = certificate_path(&report, product, tcb)?;
            let answer = get(net, service, &path)?;
            let certificate = pieces(&answer.body).with_context(|| format!("{service}{path}"))?;
            with_issuers(net, service, &directory, certificate)?
        }
        (None, Key::Provider) => {
            let certificate = there.key.context(
                "the report is signed by a key of the provider's (VLEK), whose certificate only the provider gives: it stands \
                 in the host's table; give that to `countersign collateral import`",
            )?;
            let certificate = vec![Piece::Certificate(certificate)];
            with_issuers(net, service, &directory, certificate)?
        }
    };
    let list = get(net, service, &format!("{directory}/crl"))?;
    match pieces(&list.body)
        .context("its revocation list")?
        .as_slice()
    {
        [Piece::Crl(der)] => found.insert(EndorsementKind::AmdCrl, der.clone()),
        _ => bail!("{service}{directory}/crl gives no revocation list"),
    };
    Ok(found)
}

/// Whose key signed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Chip,
    Provider,
}

impl Key {
    fn of(report: &Report) -> anyhow::Result<Self> {
        match report.signing_key() {
            Some(SigningKey::Vcek) => Ok(Self::Chip),
            Some(SigningKey::Vlek) => Ok(Self::Provider),
            None => bail!("no key of AMD's signed the report"),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Chip => "vcek",
            Self::Provider => "vlek",
        }
    }
}

/// A key's certificate, with those of its issuers from the service.
fn with_issuers(
    net: &impl Net,
    service: &str,
    directory: &str,
    mut certificates: Vec<Piece>,
) -> anyhow::Result<Endorsed> {
    let chain = get(net, service, &format!("{directory}/cert_chain"))?;
    certificates.extend(pieces(&chain.body).context("its chain of certificates")?);
    let found = Collateral::sorted(certificates)?;
    if !found.keys().copied().eq(OF_CHIP) {
        bail!("{service} does not give exactly the certificates of a key, its issuer and the root");
    }
    Ok(found)
}

/// Where the certificate of a chip's key is.
fn certificate_path(report: &Report, product: Product, tcb: Tcb) -> anyhow::Result<String> {
    let chip = report.chip_id().0;
    // Turin's chips have 8 bytes, and zeros after them.
    let id = match product {
        Product::Milan | Product::Genoa => chip.as_slice(),
        Product::Turin => chip.first_chunk::<8>().map_or(&[][..], |id| id.as_slice()),
    };
    if id.iter().all(|byte| *byte == 0) {
        bail!(
            "the report does not say which chip made it (the host hides it): only the provider can give the certificate; give it \
             to `countersign collateral import`"
        );
    }
    let Tcb {
        fmc,
        bootloader,
        tee,
        snp,
        microcode,
    } = tcb;
    let first = fmc.map_or_else(String::new, |fmc| format!("fmcSPL={fmc:02}&"));
    Ok(format!(
        "/vcek/v1/{product}/{}?{first}blSPL={bootloader:02}&teeSPL={tee:02}&snpSPL={snp:02}&ucodeSPL={microcode:02}",
        hex::encode(id)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pull::tests::{Fake, NOW, SERVICES, answer};
    use crate::pull::{Judge, Pulled, Shown, pull};
    use countersign_devices::key::{Key, Rsa};
    use countersign_devices::snp::{Draft, Evidence, Kind, Product as Made};
    use countersign_evidence::snp::SpkiDigest;
    use countersign_verify::trust::Trust;

    fn made(product: Made) -> Evidence {
        Draft::new(product, Kind::Vcek).build()
    }

    /// A trust file that names the fake vendor's root, of one product: the key is the same for all.
    fn trust(product: Made, microcode: u8) -> (String, Trust) {
        let root = SpkiDigest::of(&Key::rsa(Rsa::Ark).spki());
        let name = product.name();
        let fmc = if product == Made::Turin {
            "fmc = 0, "
        } else {
            ""
        };
        let zeros = "00".repeat(32);
        let text = format!(
            "version = 1\n[governance]\nkeys = [\"43a72e714401762df66b68c26dfbdf2682aaec9f2474eca4613e424a0fbafd3c\"]\n\
             [bundles]\nsigners = [\"0b513ad9b4924015ca0902ed079044d3ac5dbec2306f06948c10da8eb6e39f2d\"]\nthreshold = 1\n\
             [evidence]\naccept = [\"processor\"]\nparties = [\"amd\"]\n\
             [snp]\nroots = [{{ product = \"{name}\", key = \"{root}\" }}]\n[[snp.products]]\nname = \"{name}\"\n\
             floor = {{ {fmc}bootloader = 0, tee = 0, snp = 0, microcode = {microcode} }}\n\
             [reference]\nbuild = [\"{zeros}\"]\nconfiguration = [\"{zeros}\"]\n"
        );
        (
            "trust.toml".to_owned(),
            Trust::parse(text.as_bytes()).unwrap(),
        )
    }

    fn armour(ders: &[&[u8]]) -> Vec<u8> {
        countersign_devices::tdx::pem(ders)
    }

    /// The path of a fake chip's certificate.
    fn path(product: Made) -> String {
        let versions = "blSPL=04&teeSPL=02&snpSPL=24&ucodeSPL=220";
        let name = product.name();
        match product {
            Made::Milan | Made::Genoa => {
                format!("https://amd/vcek/v1/{name}/{}?{versions}", "c1".repeat(64))
            }
            Made::Turin => format!(
                "https://amd/vcek/v1/{name}/{}?fmcSPL=01&{versions}",
                "c1".repeat(8)
            ),
        }
    }

    /// The key server, for a machine.
    fn server(product: Made, of: &Evidence) -> Fake {
        let name = product.name();
        let chain = armour(&[&of.issuer, &of.root]);
        Fake::default()
            .at(&path(product), answer(200, &[], &of.key))
            .at(
                &format!("https://amd/vcek/v1/{name}/cert_chain"),
                answer(200, &[], &chain),
            )
            .at(
                &format!("https://amd/vcek/v1/{name}/crl"),
                answer(200, &[], of.crl.as_ref().unwrap()),
            )
    }

    fn pulled(
        net: &Fake,
        report: &[u8],
        kept: &Collateral,
        microcode: u8,
    ) -> anyhow::Result<Pulled> {
        let parsed = Report::parse(report).unwrap();
        let product = match parsed.processor().and_then(Product::of_processor) {
            Some(Product::Milan) => Made::Milan,
            Some(Product::Turin) => Made::Turin,
            Some(Product::Genoa) | None => Made::Genoa,
        };
        let trust = trust(product, microcode);
        let judge = Judge {
            trust: Some(&trust),
            now: NOW,
        };
        pull(net, SERVICES, &Shown::Snp(report.to_vec()), kept, &judge)
    }

    #[test]
    fn what_belongs_to_a_chip_is_fetched_by_its_id_and_version() {
        for product in [Made::Milan, Made::Genoa, Made::Turin] {
            let of = made(product);
            let net = server(product, &of);
            let pulled = pulled(&net, &of.report, &Collateral::default(), 0).unwrap();
            let kinds: Vec<_> = pulled.endorsed.keys().copied().collect();
            let [vek, issuer, root] = OF_CHIP;
            assert_eq!(kinds, [vek, issuer, root, EndorsementKind::AmdCrl]);
            assert_eq!(pulled.endorsed[&vek], of.key);
            assert_eq!(pulled.endorsed[&root], of.root);
            assert_eq!(pulled.endorsed[&EndorsementKind::AmdCrl], of.crl.unwrap());
            assert_eq!(net.asked.borrow().len(), 3);
        }
    }

    #[test]
    fn what_the_site_keeps_of_the_chip_is_not_fetched_again_while_it_fits() {
        let of = made(Made::Genoa);
        let net = server(Made::Genoa, &of);
        let first = pulled(&net, &of.report, &Collateral::default(), 0).unwrap();
        let site = tempfile::tempdir().unwrap();
        Collateral::keep(site.path(), &first.endorsed).unwrap();
        let kept = Collateral::read(site.path()).unwrap();
        net.asked.borrow_mut().clear();
        let again = pulled(&net, &of.report, &kept, 0).unwrap();
        assert_eq!(again.endorsed, first.endorsed);
        assert_eq!(*net.asked.borrow(), ["https://amd/vcek/v1/Genoa/crl"]);
        // Another machine's is fetched anew.
        let other = made(Made::Milan);
        let net = server(Made::Milan, &other);
        pulled(&net, &other.report, &kept, 0).unwrap();
        assert_eq!(net.asked.borrow().len(), 3);
    }

    #[test]
    fn whatever_does_not_belong_to_the_report_is_refused_and_named() {
        let of = made(Made::Genoa);
        let other = Draft::new(Made::Genoa, Kind::Vcek)
            .with(|d| d.key.key = countersign_devices::key::Key::p384(9).spki())
            .build();
        let refused = |of: &Evidence| {
            let net = server(Made::Genoa, of);
            format!(
                "{:#}",
                pulled(&net, &made(Made::Genoa).report, &Collateral::default(), 0).unwrap_err()
            )
        };
        let told = refused(&Evidence {
            key: other.key,
            ..of.clone()
        });
        assert!(
            told.contains("nothing was replaced") && told.contains("snp.report.signature"),
            "{told}"
        );
        let milan = made(Made::Milan);
        let told = refused(&Evidence {
            issuer: milan.issuer,
            root: milan.root,
            ..of.clone()
        });
        assert!(told.contains("nothing was replaced"), "{told}");
        let old = Draft::new(Made::Genoa, Kind::Vcek).with(|d| {
            let crl = d.crl.as_mut().unwrap();
            crl.next_update = Some(crl.this_update + 1);
        });
        let told = refused(&Evidence {
            crl: old.build().crl,
            ..of.clone()
        });
        assert!(told.contains("snp.chain.revocation"), "{told}");
        let told = refused(&Evidence {
            crl: Some(of.root.clone()),
            ..of.clone()
        });
        assert!(told.contains("no revocation list"), "{told}");
        let told = refused(&Evidence {
            key: of.issuer.clone(),
            ..of.clone()
        });
        assert!(!told.is_empty());
        let told = refused(&Evidence {
            key: b"<html>".to_vec(),
            ..of
        });
        assert!(told.contains("https://amd/vcek"), "{told}");
    }

    #[test]
    fn a_rule_of_the_trust_file_that_is_broken_is_said_and_keeps_nothing_out() {
        let of = made(Made::Genoa);
        let net = server(Made::Genoa, &of);
        let low = pulled(&net, &of.report, &Collateral::default(), 255).unwrap();
        assert!(
            low.against.join("; ").contains("snp.tcb.reported"),
            "{:?}",
            low.against
        );
        assert_eq!(low.endorsed.len(), 4);
    }

    #[test]
    fn a_providers_key_gets_its_issuers_from_the_service() {
        let of = Draft::new(Made::Genoa, Kind::Vlek).build();
        let chain = armour(&[&of.issuer, &of.root]);
        let net = Fake::default()
            .at(
                "https://amd/vlek/v1/Genoa/cert_chain",
                answer(200, &[], &chain),
            )
            .at(
                "https://amd/vlek/v1/Genoa/crl",
                answer(200, &[], of.crl.as_ref().unwrap()),
            );
        let site = tempfile::tempdir().unwrap();
        let key = Endorsed::from([(EndorsementKind::AmdVek, of.key.clone())]);
        Collateral::keep(site.path(), &key).unwrap();
        let kept = Collateral::read(site.path()).unwrap();
        let pulled = pulled(&net, &of.report, &kept, 0).unwrap();
        assert_eq!(pulled.endorsed[&EndorsementKind::AmdVek], of.key);
        assert_eq!(pulled.endorsed[&EndorsementKind::AmdIssuer], of.issuer);
        assert_eq!(pulled.endorsed.len(), 4);
        // A chip's report does not take it for its own.
        let chip = made(Made::Genoa);
        let net = server(Made::Genoa, &chip);
        let pulled = super::tests::pulled(&net, &chip.report, &kept, 0).unwrap();
        assert_eq!(pulled.endorsed[&EndorsementKind::AmdVek], chip.key);
    }

    #[test]
    fn reports_whose_certificate_no_service_gives_say_where_it_is() {
        let told = |draft: &Draft| {
            let report = draft.build().report;
            let net = Fake::default();
            format!(
                "{:#}",
                pulled(&net, &report, &Collateral::default(), 0).unwrap_err()
            )
        };
        let provider = Draft::new(Made::Genoa, Kind::Vlek);
        assert!(
            told(&provider).contains("host's table"),
            "{}",
            told(&provider)
        );
        let hidden = Draft::new(Made::Genoa, Kind::Vcek).with(|d| d.report.chip_id = [0; 64]);
        assert!(told(&hidden).contains("which chip"));
        let old = Draft::new(Made::Milan, Kind::Vcek).with(|d| {
            d.report.version = 2;
            d.report.processor = [0; 3];
            (d.report.launch_mit_vector, d.report.current_mit_vector) = (0, 0);
        });
        assert!(told(&old).contains("of which product"), "{}", told(&old));
        let unknown = Draft::new(Made::Milan, Kind::Vcek).with(|d| d.report.processor = [1, 2, 3]);
        assert!(told(&unknown).contains("of which product"));
    }
}
