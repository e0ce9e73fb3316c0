//! Prints how long TPM operations take: `cargo run -p countersign-platform --example tpm_timings [-- /dev/tpmrm0]`.
//!
//! Without an argument it starts a software TPM of its own. With a device it provisions indexes
//! under a throw-away release key, so only a TPM without our indexes will do.

use countersign_platform::swtpm::Swtpm;
use countersign_platform::{
    PcrSet, Qualifying, ReleaseKey, ReleasePolicy, ReleaseSignature, SealLabel, Tpm, TpmAddress,
};
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use p256::ecdsa::{Signature, SigningKey};
use std::error::Error;
use std::time::Duration;
use zeroize::Zeroizing;

const RUNS: usize = 50;

#[expect(clippy::disallowed_methods, reason = "measures durations")]
fn timed<T, E: Error + 'static>(
    name: &str,
    mut run: impl FnMut() -> Result<T, E>,
) -> Result<(), Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let start = std::time::Instant::now();
        run()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let ms = |time: Option<&Duration>| time.map_or(0.0, |t| t.as_secs_f64() * 1000.0);
    let (min, median, max) = (times.first(), times.get(RUNS / 2), times.last());
    println!(
        "{name:<34} {:>8.3} {:>8.3} {:>8.3}",
        ms(min),
        ms(median),
        ms(max)
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let state = tempfile::tempdir()?;
    let (address, _swtpm) = match std::env::args().nth(1) {
        Some(device) => (TpmAddress::Device(device.into()), None),
        None => {
            let swtpm = Swtpm::start(state.path())?;
            (swtpm.address(), Some(swtpm))
        }
    };
    let tpm = Tpm::open(address)?;
    let signer = SigningKey::from_slice(&[1; 32])?;
    let key = ReleaseKey::parse(signer.verifying_key().to_sec1_point(false).as_bytes())?;
    let release = ReleasePolicy::approve(tpm.pcrs(PcrSet::PROFILE)?, 1, key, |digest| {
        let signature: Signature = signer.sign_prehash(&digest.0)?;
        let (r, s) = signature.split_bytes();
        Ok::<_, p256::ecdsa::Error>(ReleaseSignature {
            r: r.into(),
            s: s.into(),
        })
    })?;
    tpm.provision(&release, 1)?;
    let label = SealLabel("timings");
    let blob = tpm.seal(Zeroizing::new(vec![1; 64]), label, &key)?;
    let q = Qualifying([7; 32]);
    println!(
        "profile {} ({}), {RUNS} runs",
        tpm.identity().detected.profile,
        tpm.identity().vendor
    );
    println!(
        "{:<34} {:>8} {:>8} {:>8}",
        "operation", "min ms", "p50 ms", "max ms"
    );
    timed("clock", || tpm.clock())?;
    timed("random 32", || tpm.random(32))?;
    timed("quote", || tpm.quote(PcrSet::PROFILE, q))?;
    timed("increment (with policy, read back)", || {
        tpm.increment(&release)
    })?;
    timed("certify counter (with policy)", || {
        tpm.certify_counter(&release, q)
    })?;
    timed("seal 64 bytes", || {
        tpm.seal(Zeroizing::new(vec![1; 64]), label, &key)
    })?;
    timed("unseal 64 bytes (with policy)", || {
        tpm.unseal(&blob, label, &release)
    })?;
    timed("evidence", || tpm.evidence(&release, q))?;
    timed("advance (increment, evidence)", || tpm.advance(&release, q))?;
    Ok(())
}
