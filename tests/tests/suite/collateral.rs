//! `countersign collateral pull`: a vendor's service that a stand-in plays, with the fake vendor's real formats; and which
//! platform a gateway may claim.

use countersign_devices::key::{Key, Rsa};
use countersign_devices::snp::{Draft, Evidence, Kind, Product};
use countersign_devices::tdx::pem;
use countersign_evidence::snp::SpkiDigest;
use countersign_tests::machine::Machine;
use countersign_tests::process::outcome;
use countersign_tests::program;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

/// 2049-01-01, in milliseconds since 1970: until then everything here is valid.
const UNTIL: u64 = 2_493_072_000_000;

/// A machine of the fake vendor's.
fn made(change: impl FnOnce(&mut Draft)) -> Evidence {
    let mut draft = Draft::new(Product::Genoa, Kind::Vcek);
    for certificate in [&mut draft.key, &mut draft.issuer, &mut draft.root] {
        certificate.not_after = UNTIL;
    }
    draft.crl.as_mut().unwrap().next_update = Some(UNTIL);
    change(&mut draft);
    draft.build()
}

/// A trust file that names the fake vendor's root.
fn trust() -> String {
    let zeros = "00".repeat(32);
    let root = SpkiDigest::of(&Key::rsa(Rsa::Ark).spki());
    format!(
        "version = 1\n[governance]\nkeys = [\"43a72e714401762df66b68c26dfbdf2682aaec9f2474eca4613e424a0fbafd3c\"]\n\
         [bundles]\nsigners = [\"0b513ad9b4924015ca0902ed079044d3ac5dbec2306f06948c10da8eb6e39f2d\"]\nthreshold = 1\n\
         [evidence]\naccept = [\"processor\"]\nparties = [\"amd\"]\n\
         [snp]\nroots = [{{ product = \"Genoa\", key = \"{root}\" }}]\n[[snp.products]]\nname = \"Genoa\"\n\
         floor = {{ bootloader = 0, tee = 0, snp = 0, microcode = 0 }}\n\
         [reference]\nbuild = [\"{zeros}\"]\nconfiguration = [\"{zeros}\"]\n"
    )
}

/// AMD's key server, for a machine: serves until the test ends.
fn server(of: Evidence) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let chain = pem(&[&of.issuer, &of.root]);
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let count = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..count]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default();
            let chip = format!("/vcek/v1/Genoa/{}?blSPL=04", "c1".repeat(64));
            let body: &[u8] = match path {
                "/vcek/v1/Genoa/cert_chain" => &chain,
                "/vcek/v1/Genoa/crl" => of.crl.as_ref().unwrap(),
                path if path.starts_with(&chip) => &of.key,
                path => panic!("{path}"),
            };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        }
    });
    url
}

fn pull(site: &Path, files: &Path, amd: &str) -> (bool, String) {
    let mut command = Command::new(program("countersign"));
    command.args(["collateral", "pull", "--amd", amd, "--site"]);
    command.arg(site).arg("--report").arg(files.join("report"));
    command.arg("--trust").arg(files.join("trust.toml"));
    let (status, out, error) = outcome(&mut command);
    (status.success(), out + &error)
}

#[test]
fn what_is_pulled_is_kept_once_it_belongs_to_the_machine_and_not_before() {
    let files = tempfile::tempdir().unwrap();
    let of = made(|_| {});
    fs::write(files.path().join("report"), &of.report).unwrap();
    fs::write(files.path().join("trust.toml"), trust()).unwrap();
    let site = files.path().join("site");
    let kept = |kind: &str| fs::read(site.join("collateral").join(kind)).ok();
    let another = made(|draft| draft.key.key = Key::p384(9).spki());
    let (good, said) = pull(&site, files.path(), &server(another.clone()));
    assert!(!good && said.contains("nothing was replaced"), "{said}");
    assert_eq!(kept("amd-vek"), None);
    let (good, said) = pull(&site, files.path(), &server(of.clone()));
    assert!(good && said.contains("kept    amd-crl"), "{said}");
    assert_eq!(kept("amd-vek"), Some(of.key.clone()));
    assert_eq!(kept("amd-root"), Some(of.root));
    assert_eq!(kept("amd-crl"), of.crl);
    // The chip's certificate is not asked for again, so one that is wrong does not matter; a list that is wrong does.
    let (good, said) = pull(&site, files.path(), &server(another));
    assert!(good, "{said}");
    assert_eq!(kept("amd-vek"), Some(of.key.clone()));
    let revoked = made(|draft| draft.crl.as_mut().unwrap().next_update = Some(1_767_225_600_001));
    let before = kept("amd-crl");
    let (good, said) = pull(&site, files.path(), &server(revoked));
    assert!(!good && said.contains("snp.chain.revocation"), "{said}");
    assert_eq!(kept("amd-crl"), before);
}

#[test]
fn a_machine_without_a_processor_that_reports_needs_no_collateral() {
    let machine = Machine::new(&countersign_tests::site::SiteOptions::default());
    let mut command = Command::new(program("countersign"));
    command.args(["collateral", "pull", "--site"]);
    command.arg(machine.site().path());
    let (status, _, error) = outcome(&mut command);
    assert!(!status.success());
    assert!(error.contains("needs no collateral (swtpm: "), "{error}");
}

#[test]
fn a_gateway_claims_what_was_found_and_nothing_else() {
    let machine = Machine::enrolled();
    for claimed in ["tpm", "azure-snp", "gcp-tdx", "snp", "more"] {
        let mut command = machine.serve_command();
        command.args(["--platform", claimed]);
        let (status, said) = machine.boot_with(&mut command).map(|_| ()).unwrap_err();
        assert!(!status.success());
        let why = if claimed == "more" {
            "is no platform".to_owned()
        } else {
            format!("platform is swtpm, configuration cannot make it {claimed}")
        };
        assert!(said.contains(&why), "{said}");
    }
    let mut command = machine.serve_command();
    command.args(["--platform", "swtpm"]);
    let mut gateway = machine
        .boot_with(&mut command)
        .map_err(|(_, said)| said)
        .unwrap();
    assert!(gateway.stop().success());
}
