//! A machine's processor, for programs that ask the kernel: a fake SEV-SNP chip behind a fake configfs-tsm.
//!
//! In: nothing. Out: a command that runs in a mount namespace of its own, where `/dev/sev-guest` is there, no TPM is, and
//! `/sys/kernel/config` is a file system of this process (FUSE) that keeps to the kernel's documentation of configfs-tsm
//! (`Documentation/ABI/testing/configfs-tsm-report`). Reports are genuine in all but one thing: their chain ends in
//! a root of `countersign-devices`, whose keys everybody has. A trust file that names it believes in nobody's hardware.
//!
//! This stands for the device alone. The program is the real one and has no switch for it: it asks the kernel, at the kernel's
//! paths, as it would anywhere. Whoever owns a machine can do the same; so a verifier believes vendors' signatures and
//! nothing else.
//!
//! Needs root and `/dev/fuse`.

use crate::PATIENCE;
use countersign_devices::snp::{Draft, Kind, Product, sign};
use countersign_evidence::snp::SpkiDigest;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds of a day.
const DAY: u64 = 86_400_000;

/// A fake chip.
#[derive(Clone)]
pub struct Chip {
    draft: Arc<Draft>,
    /// The host's table: VCEK, ASK, ARK and the revocation list.
    table: Arc<Vec<u8>>,
    silent: Arc<AtomicBool>,
}

impl Chip {
    /// A chip of the kind that the fake vendor makes, whose certificates are valid today.
    ///
    /// # Panics
    /// If the clock stands before 1970.
    #[must_use]
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = u64::try_from(now.as_millis()).unwrap();
        let mut draft = Draft::new(Product::Genoa, Kind::Vcek);
        for certificate in [&mut draft.key, &mut draft.issuer, &mut draft.root] {
            // Whole seconds, as certificates have them.
            certificate.not_before = (now - DAY) / 1000 * 1000;
            certificate.not_after = (now + 90 * DAY) / 1000 * 1000;
        }
        if let Some(list) = &mut draft.crl {
            list.this_update = (now - DAY) / 1000 * 1000;
            list.next_update = Some((now + 90 * DAY) / 1000 * 1000);
        }
        let made = draft.build();
        let table = table(&[
            (VCEK, made.key),
            (ASK, made.issuer),
            (ARK, made.root),
            (CRL, made.crl.unwrap()),
        ]);
        Self {
            draft: Arc::new(draft),
            table: Arc::new(table),
            silent: Arc::default(),
        }
    }

    /// The firmware answers no more, or again.
    pub fn silence(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }

    /// What was launched, as reports say.
    #[must_use]
    pub fn launch(&self) -> String {
        hex::encode(self.draft.report.measurement)
    }

    /// The tables of a trust file that believes in the fake vendor.
    ///
    /// # Panics
    /// If its certificate is none.
    #[must_use]
    pub fn trust(&self) -> String {
        let root = self.draft.build().root;
        let root = countersign_certificates::Certificate::parse(&root).unwrap();
        format!(
            "[snp]\nroots = [{{ product = \"Genoa\", key = \"{}\" }}]\n[[snp.products]]\nname = \"Genoa\"\n\
             floor = {{ bootloader = 1, tee = 0, snp = 1, microcode = 1 }}\n",
            SpkiDigest::of(root.spki())
        )
    }

    /// The same command on a machine that has this chip and no TPM, and the standard input that it needs. `place` is an empty
    /// directory for its devices.
    ///
    /// # Panics
    /// If the kernel has no FUSE.
    #[must_use]
    pub fn under(&self, command: &Command, place: &Path) -> (Command, Stdio) {
        let fuse = File::options()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .unwrap();
        let stdin = Stdio::from(fuse.try_clone().unwrap());
        let chip = self.clone();
        // Ends when nobody has it mounted any more.
        std::thread::spawn(move || Tsm::new(chip).serve(fuse));
        fs::create_dir_all(place).unwrap();
        let mut out = Command::new("unshare");
        out.args(["--mount", "--propagation", "private"]);
        out.args(["sh", "-ec", SURROUNDINGS, "sh"]).arg(place);
        out.arg(command.get_program()).args(command.get_args());
        (out, stdin)
    }

    fn report(&self, data: [u8; 64], level: u32) -> Vec<u8> {
        let mut report = self.draft.report.clone();
        (report.report_data, report.vmpl) = (data, level);
        let mut bytes = report.to_bytes();
        sign(&mut bytes, &self.draft.report_by);
        bytes
    }
}

impl Default for Chip {
    fn default() -> Self {
        Self::new()
    }
}

/// Mounts what a machine with such a chip shows, and becomes the program. Standard input is the file system's connection.
const SURROUNDINGS: &str = r#"
mount -t tmpfs none /sys/kernel
mkdir /sys/kernel/config
mount -i -t fuse -o fd=0,rootmode=40000,user_id=0,group_id=0 none /sys/kernel/config
mount -t tmpfs none "$1"
for device in null zero full random urandom tty; do
  touch "$1/$device"
  mount --bind "/dev/$device" "$1/$device"
done
ln -s /proc/self/fd "$1/fd"
mkdir "$1/shm"
touch "$1/sev-guest"
mount --rbind "$1" /dev
shift
exec "$@" </dev/null
"#;

// Source: AMD 56421, "Certificate table".
const VCEK: [u8; 16] = *b"\x63\xda\x75\x8d\xe6\x64\x45\x64\xad\xc5\xf4\xb9\x3b\xe8\xac\xcd";
const ASK: [u8; 16] = *b"\x4a\xb7\xb3\x79\xbb\xac\x4f\xe4\xa0\x2f\x05\xae\xf3\x27\xc7\x82";
const ARK: [u8; 16] = *b"\xc0\xb4\x06\xa4\xa8\x03\x49\x52\x97\x43\x3f\xb6\x01\x4c\xd0\xae";
const CRL: [u8; 16] = *b"\x92\xf8\x1b\xc3\x58\x11\x4d\x3d\x97\xff\xd1\x9f\x88\xdc\x67\xea";

/// A host's table: identifiers with place and length, an entry of zeros, and the certificates.
fn table(of: &[([u8; 16], Vec<u8>)]) -> Vec<u8> {
    let mut head = Vec::new();
    let mut rest = Vec::new();
    let begin = (of.len() + 1) * 24;
    for (guid, bytes) in of {
        head.extend_from_slice(guid);
        head.extend_from_slice(&u32::try_from(begin + rest.len()).unwrap().to_le_bytes());
        head.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
        rest.extend_from_slice(bytes);
    }
    [head, vec![0; 24], rest].concat()
}

/// An entry of configfs-tsm.
#[derive(Default)]
struct Entry {
    name: String,
    generation: u64,
    level: u32,
    inblob: Option<[u8; 64]>,
    /// The report, made when it is first read after a write.
    outblob: Option<Vec<u8>>,
}

/// Files of an entry; their place is their number.
const FILES: [&str; 7] = [
    "provider",
    "generation",
    "privlevel",
    "privlevel_floor",
    "inblob",
    "outblob",
    "auxblob",
];

/// The file system, in the protocol of `linux/fuse.h`.
struct Tsm {
    chip: Chip,
    entries: BTreeMap<u64, Entry>,
    next: u64,
}

// Nodes: the root, `tsm`, `report`; then 16 for each entry, its directory first.
const ROOT: u64 = 1;
const TSM: u64 = 2;
const REPORT: u64 = 3;
const STRIDE: u64 = 16;

// Source: `asm-generic/errno-base.h`, `asm-generic/errno.h`.
const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EIO: i32 = 5;
const EINVAL: i32 = 22;
const ENOSYS: i32 = 38;

type Answer = Result<Vec<u8>, i32>;

impl Tsm {
    fn new(chip: Chip) -> Self {
        Self {
            chip,
            entries: BTreeMap::new(),
            next: STRIDE,
        }
    }

    fn serve(mut self, mut fuse: File) {
        let patience = Instant::now() + PATIENCE;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let length = match fuse.read(&mut buffer) {
                Ok(length) => length,
                // A request that was taken back.
                Err(e) if e.raw_os_error() == Some(ENOENT) => continue,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                // Not mounted yet.
                Err(e) if e.raw_os_error() == Some(EPERM) && Instant::now() < patience => {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
                // Not mounted any more, or never.
                Err(_) => return,
            };
            let request = Request(&buffer[..length]);
            let Some(answer) = self.answer(&request) else {
                continue;
            };
            let (error, body) = match answer {
                Ok(body) => (0, body),
                Err(number) => (-number, Vec::new()),
            };
            let length = u32::try_from(body.len() + 16).unwrap();
            let unique = request.u64(8);
            let out = [
                length.to_le_bytes().as_slice(),
                &error.to_le_bytes(),
                &unique.to_le_bytes(),
                &body,
            ]
            .concat();
            // Whoever asked may be gone.
            let _gone = fuse.write(&out);
        }
    }

    /// Nothing where no answer is due.
    fn answer(&mut self, request: &Request<'_>) -> Option<Answer> {
        let node = request.u64(16);
        Some(match request.u32(4) {
            // FORGET, BATCH_FORGET, INTERRUPT
            2 | 42 | 36 => return None,
            1 => self.lookup(node, &request.name(40)),
            3 => self.attributes(node).map(|attributes| {
                let mut out = vec![0; 16];
                out.extend(attributes);
                out
            }),
            9 => self.make(node, request.name(48)),
            11 => self.remove(node, &request.name(40)),
            // OPEN, OPENDIR: read and written past the kernel's cache
            14 | 27 => Ok([0u64.to_le_bytes(), 1u64.to_le_bytes()].concat()),
            15 => self.read(node, request),
            16 => self.write(node, request),
            // STATFS
            17 => Ok(vec![0; 80]),
            // RELEASE, FLUSH, RELEASEDIR, ACCESS
            18 | 25 | 29 | 34 => Ok(Vec::new()),
            26 => Ok(init()),
            _ => Err(ENOSYS),
        })
    }

    fn lookup(&self, parent: u64, name: &str) -> Answer {
        let node = match (parent, name) {
            (ROOT, "tsm") => TSM,
            (TSM, "report") => REPORT,
            (REPORT, name) => {
                let found = self.entries.iter().find(|(_, e)| e.name == name);
                *found.ok_or(ENOENT)?.0
            }
            (entry, name) if self.entries.contains_key(&entry) => {
                let at = FILES.iter().position(|f| *f == name).ok_or(ENOENT)?;
                entry + 1 + u64::try_from(at).unwrap()
            }
            _ => return Err(ENOENT),
        };
        self.entry_out(node)
    }

    /// Node, generation, how long to believe it (not at all), attributes.
    fn entry_out(&self, node: u64) -> Answer {
        let mut out = node.to_le_bytes().to_vec();
        out.extend([0; 32]);
        out.extend(self.attributes(node)?);
        Ok(out)
    }

    fn attributes(&self, node: u64) -> Answer {
        let directory = node < STRIDE || self.entries.contains_key(&node);
        if !directory && !self.entries.contains_key(&(node / STRIDE * STRIDE)) {
            return Err(ENOENT);
        }
        let (mode, links) = if directory {
            (0o040_755_u32, 2_u32)
        } else {
            (0o100_600, 1)
        };
        let mut out = node.to_le_bytes().to_vec();
        // Size, blocks, three times with their nanoseconds.
        out.extend([0; 52]);
        out.extend(mode.to_le_bytes());
        out.extend(links.to_le_bytes());
        // User, group, device, block size, flags.
        out.extend([0; 20]);
        Ok(out)
    }

    fn make(&mut self, parent: u64, name: String) -> Answer {
        if parent != REPORT {
            return Err(EINVAL);
        }
        let node = self.next;
        self.next += STRIDE;
        let entry = Entry {
            name,
            ..Entry::default()
        };
        self.entries.insert(node, entry);
        self.entry_out(node)
    }

    fn remove(&mut self, parent: u64, name: &str) -> Answer {
        let found = self.entries.iter().find(|(_, e)| e.name == name);
        let node = *found.filter(|_| parent == REPORT).ok_or(ENOENT)?.0;
        self.entries.remove(&node);
        Ok(Vec::new())
    }

    fn read(&mut self, node: u64, request: &Request<'_>) -> Answer {
        let (entry, file) = (node / STRIDE * STRIDE, node % STRIDE);
        let chip = &self.chip;
        let entry = self.entries.get_mut(&entry).ok_or(ENOENT)?;
        let content = match FILES[usize::try_from(file - 1).unwrap()] {
            "provider" => b"sev_guest\n".to_vec(),
            "generation" => format!("{}\n", entry.generation).into_bytes(),
            "privlevel_floor" => b"0\n".to_vec(),
            "outblob" => {
                if chip.silent.load(Ordering::SeqCst) {
                    return Err(EIO);
                }
                let data = entry.inblob.ok_or(EINVAL)?;
                let level = entry.level;
                let made = entry
                    .outblob
                    .get_or_insert_with(|| chip.report(data, level));
                made.clone()
            }
            "auxblob" => chip.table.to_vec(),
            _ => return Err(EINVAL),
        };
        let from = usize::try_from(request.u64(48)).unwrap().min(content.len());
        let most = usize::try_from(request.u32(56)).unwrap();
        let until = content.len().min(from + most);
        Ok(content[from..until].to_vec())
    }

    fn write(&mut self, node: u64, request: &Request<'_>) -> Answer {
        let (entry, file) = (node / STRIDE * STRIDE, node % STRIDE);
        let entry = self.entries.get_mut(&entry).ok_or(ENOENT)?;
        let data = &request.0[80..];
        match FILES[usize::try_from(file - 1).unwrap()] {
            "inblob" => entry.inblob = Some(data.try_into().map_err(|_| EINVAL)?),
            "privlevel" => {
                let text = std::str::from_utf8(data).map_err(|_| EINVAL)?;
                entry.level = text.trim().parse().map_err(|_| EINVAL)?;
            }
            _ => return Err(EINVAL),
        }
        entry.generation += 1;
        entry.outblob = None;
        Ok([u32::try_from(data.len()).unwrap().to_le_bytes(), [0; 4]].concat())
    }
}

/// Version 7.31, no options, and what is written comes in one piece.
fn init() -> Vec<u8> {
    let mut out = Vec::new();
    for number in [7_u32, 31, 0, 0, 0, 65_536, 1] {
        out.extend(number.to_le_bytes());
    }
    out.resize(64, 0);
    out
}

/// A request: a head of 40 bytes (length, kind, number, node, …), and what it is about.
struct Request<'b>(&'b [u8]);

impl Request<'_> {
    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap())
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap())
    }

    /// A name that ends with a zero.
    fn name(&self, at: usize) -> String {
        let bytes = &self.0[at..];
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    }
}
