//! `countersign-verify evidence`: a bare piece of evidence, from files.

use crate::output::Destination;
use crate::{clock, moment, once, print, read, told};
use countersign_record::digest::UnixMillis;
use countersign_verify::bare::{Asked, Given, judge};
use countersign_verify::trust::{Reference, Trust};
use std::process::ExitCode;

const HELP: &str = "\
countersign-verify evidence: appraise a bare report, quote or event log

usage: countersign-verify evidence FILE... [options]

  FILE                 evidence, and what belongs to it, in any order: SEV-SNP report with
                       VCEK or VLEK, ASK, ARK and revocation list; TDX quote with collateral;
                       paravisor report of Azure; TPM quote with signature, key and register
                       values; event log. Each is known by its content: binary, DER, PEM,
                       hexadecimal digits, base64, JSON of tools that collect evidence, answers
                       of Intel's service, the host's certificate table
  --trust FILE         what you accept: tables [snp], [tdx], [azure]; reference values.
                       Without it the exit code is never 0
  --reference FILE     values you expect, in place of [reference] of the trust file
  --expect-report-data HEX
                       64 bytes that a processor's report has to be over. Fewer digits are
                       filled with zeros at the end. Azure's paravisor has its own
  --nonce HEX          what a TPM's quote has to be over, all of it
  --now TIME           take TIME as now: RFC 3339, or milliseconds since 1970. For a capture
                       the time at which it was made: lists and collateral live for days
  --out FILE           write the result to FILE, too, as JSON. There must be no such file yet
  --json               print the result as JSON (\"evidence\": 1)
  --help

exit codes
  0  verified: every check that evidence needs ran, and nothing failed
  1  forged, broken, or over something else
  2  genuine, but against your trust file
  3  cannot be evaluated: something needed is missing, or nobody said what is accepted
  4  usage, or a file that is none of the above

What it shows is what it shows of a machine. Whose gateway it is, whether a log is whole, and
whether its class of evidence is accepted (evidence.accept), only an export shows.
";

#[derive(Debug, Default)]
struct Arguments {
    files: Vec<String>,
    trust: Option<String>,
    reference: Option<String>,
    report_data: Option<[u8; 64]>,
    nonce: Option<Vec<u8>>,
    now: Option<UnixMillis>,
    out: Option<String>,
    json: bool,
}

/// Runs it.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> Result<ExitCode, String> {
    let Some(arguments) = parse(arguments)? else {
        return Ok(print(HELP, 0));
    };
    if arguments.files.is_empty() {
        return Err("evidence: no file is given".to_owned());
    }
    let destination = arguments.out.as_deref().map(Destination::vacant);
    let destination = destination.transpose()?;
    let mut files = Vec::new();
    for path in &arguments.files {
        files.push(Given {
            path: path.clone(),
            bytes: read(path)?,
        });
    }
    let asked = Asked {
        trust: arguments.trust.map(trust).transpose()?,
        reference: arguments.reference.map(reference).transpose()?,
        report_data: arguments.report_data,
        nonce: arguments.nonce,
        now: arguments.now.map_or_else(clock, Ok)?,
    };
    let bare = judge(&files, &asked).map_err(|e| e.to_string())?;
    let json = || bare.to_json().map_err(|e| e.to_string());
    let text = if arguments.json {
        json()?
    } else {
        bare.render()
    };
    Ok(told(&text, bare.exit_code, destination.as_ref(), json))
}

fn trust(path: String) -> Result<(String, Trust), String> {
    let trust = Trust::parse(&read(&path)?).map_err(|e| format!("{path}: {e}"))?;
    Ok((path, trust))
}

fn reference(path: String) -> Result<Reference, String> {
    Reference::parse(&read(&path)?).map_err(|e| format!("{path}: {e}"))
}

fn parse(mut given: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let mut out = Arguments::default();
    while let Some(word) = given.next() {
        let (name, mut inline) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => {
                (name.to_owned(), Some(value.to_owned()))
            }
            Some(_) | None => (word, None),
        };
        let mut value = || {
            inline
                .take()
                .or_else(|| given.next())
                .ok_or_else(|| format!("{name} needs a value"))
        };
        match name.as_str() {
            "--trust" => once(&mut out.trust, value()?, "--trust")?,
            "--reference" => once(&mut out.reference, value()?, "--reference")?,
            "--expect-report-data" => {
                let data = report_data(&value()?)?;
                once(&mut out.report_data, data, "--expect-report-data")?;
            }
            "--nonce" => {
                let nonce = hex::decode(value()?).ok().filter(|n| n.len() <= 64);
                let nonce = nonce.ok_or("--nonce takes up to 128 hexadecimal digits")?;
                once(&mut out.nonce, nonce, "--nonce")?;
            }
            "--now" => once(&mut out.now, moment(&value()?, "--now")?, "--now")?,
            "--out" => once(&mut out.out, value()?, "--out")?,
            "--json" if inline.is_none() => out.json = true,
            "--help" | "-h" if inline.is_none() => return Ok(None),
            other if other.starts_with('-') => {
                return Err(format!("evidence: {other} is not known"));
            }
            _ => out.files.push(name.clone()),
        }
    }
    Ok(Some(out))
}

/// Up to 64 bytes, filled with zeros at the end: tools that ask for a report do the same.
fn report_data(text: &str) -> Result<[u8; 64], String> {
    let bytes = hex::decode(text)
        .ok()
        .filter(|b| (1..=64).contains(&b.len()));
    let bytes = bytes.ok_or("--expect-report-data takes 2 to 128 hexadecimal digits")?;
    let mut out = [0; 64];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = from;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &str) -> Result<Option<Arguments>, String> {
        parse(words.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn every_option_is_taken_with_its_value_beside_it_or_behind_a_sign() {
        for words in [
            "e1 a=b --trust t --reference r --expect-report-data 0102 --nonce 0304 --now 1000 --out o --json",
            "--trust=t --reference=r --expect-report-data=0102 --nonce=0304 --now=1000 --out=o --json e1 a=b",
        ] {
            let out = parsed(words).unwrap().unwrap();
            assert_eq!(out.files, ["e1", "a=b"]);
            assert_eq!(
                (out.trust.as_deref(), out.reference.as_deref()),
                (Some("t"), Some("r"))
            );
            let mut data = [0; 64];
            (data[0], data[1]) = (1, 2);
            assert_eq!(out.report_data, Some(data));
            assert_eq!(out.nonce, Some(vec![3, 4]));
            assert_eq!(
                (out.now, out.out.as_deref()),
                (Some(UnixMillis(1000)), Some("o"))
            );
            assert!(out.json);
        }
        assert!(parsed("--help").unwrap().is_none() && parsed("-h").unwrap().is_none());
    }

    #[test]
    fn what_is_not_known_given_twice_or_of_another_length_is_refused() {
        let (longest, nonce) = (
            "ab".repeat(65),
            "--nonce takes up to 128 hexadecimal digits",
        );
        let data = "--expect-report-data takes 2 to 128 hexadecimal digits";
        for (words, why) in [
            ("--colour".to_owned(), "evidence: --colour is not known"),
            ("-x".to_owned(), "evidence: -x is not known"),
            ("--json=1".to_owned(), "evidence: --json is not known"),
            ("--help=1".to_owned(), "evidence: --help is not known"),
            ("--trust".to_owned(), "--trust needs a value"),
            ("--out a --out b".to_owned(), "--out is given twice"),
            ("--nonce 0".to_owned(), nonce),
            (format!("--nonce {longest}"), nonce),
            ("--expect-report-data=".to_owned(), data),
            (format!("--expect-report-data {longest}"), data),
        ] {
            assert_eq!(parsed(&words).err().as_deref(), Some(why));
        }
        let most = "ab".repeat(64);
        assert!(parsed(&format!("--nonce {most} --expect-report-data {most}")).is_ok());
    }

    #[test]
    fn a_file_of_reference_values_is_read() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/reference");
        let mut files = std::fs::read_dir(path).unwrap();
        let file = files.next().unwrap().unwrap().path();
        let bytes = std::fs::read(&file).unwrap();
        let read = reference(file.to_str().unwrap().to_owned()).unwrap();
        assert_eq!(read, Reference::parse(&bytes).unwrap());
        assert_ne!(read, Reference::default());
    }
}
