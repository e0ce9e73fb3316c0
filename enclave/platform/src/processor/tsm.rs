//! Reports by configfs-tsm, a file interface of the kernel.
//!
//! In: where configfs is, what makes reports here, 64 bytes. Out: the report, and the host's table.
//!
//! 1. make a directory of an unpredictable name, which the kernel fills with files
//! 2. read `provider`: the driver that the machine's device promises
//! 3. read `generation`
//! 4. write `privlevel`, where there is a `privlevel_floor`: the guest's own level; then `inblob`
//! 5. read `outblob`, `auxblob`
//! 6. read `generation` again: it went up by one for each of our writes, or somebody else wrote too, and the report
//!    may be over their bytes. Then it is tried anew, a few times
//! 7. remove the directory
//!
//! Source: Linux, `Documentation/ABI/testing/configfs-tsm-report`. What a write to a binary file makes wrong shows
//! when the file is closed, which says nothing: step 6 finds it out.

use super::{MAX_QUOTE_BYTES, MAX_TABLE_BYTES, ReportData, ReportError, Technology};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// How often a report is asked for that somebody else interferes with.
const TRIES: u32 = 3;

/// Longest number or name in a file of an entry, in bytes.
const MAX_WORD_BYTES: usize = 64;

/// The file interface. Fakes in tests play the kernel behind it.
pub(crate) trait Entries {
    /// Whether configfs is mounted here.
    fn is_configfs(&self, at: &Path) -> bool;
    /// Makes an entry.
    fn make(&self, entry: &Path) -> io::Result<()>;
    /// Removes an entry.
    fn remove(&self, entry: &Path) -> io::Result<()>;
    /// Reads a file, and not more than one byte above the limit.
    fn read(&self, file: &Path, limit: usize) -> io::Result<Vec<u8>>;
    /// Writes a file at once.
    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()>;
}

/// The kernel's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernel;

impl Entries for Kernel {
    fn is_configfs(&self, at: &Path) -> bool {
        // `CONFIGFS_MAGIC`. Source: linux/magic.h.
        rustix::fs::statfs(at).is_ok_and(|found| found.f_type == 0x6265_6570)
    }

    fn make(&self, entry: &Path) -> io::Result<()> {
        fs::create_dir(entry)
    }

    fn remove(&self, entry: &Path) -> io::Result<()> {
        fs::remove_dir(entry)
    }

    fn read(&self, file: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        File::open(file)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new().write(true).open(file)?.write_all(bytes)
    }
}

/// A report, and the host's table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) report: Vec<u8>,
    pub(crate) table: Vec<u8>,
}

/// Asks for a report.
pub(crate) fn report(
    entries: &impl Entries,
    configfs: &Path,
    technology: Technology,
    data: ReportData,
) -> Result<Given, ReportError> {
    for _ in 0..TRIES {
        let entry = Entry::make(entries, configfs, technology)?;
        entry.expect_provider()?;
        if let Some(given) = entry.ask(data)? {
            return Ok(given);
        }
    }
    Err(ReportError::Raced { tries: TRIES })
}

/// An entry of ours; it goes when this does.
struct Entry<'a, E: Entries> {
    entries: &'a E,
    path: PathBuf,
    technology: Technology,
}

impl<'a, E: Entries> Entry<'a, E> {
    fn make(entries: &'a E, configfs: &Path, technology: Technology) -> Result<Self, ReportError> {
        use rustix::io::Errno;
        let at = configfs.join("tsm/report");
        let module = technology.module();
        let path = at.join(name()?);
        let Err(error) = entries.make(&path) else {
            return Ok(Self {
                entries,
                path,
                technology,
            });
        };
        Err(match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR) if !entries.is_configfs(configfs) => {
                ReportError::NoConfigfs {
                    at: configfs.to_owned(),
                }
            }
            Some(Errno::NOENT | Errno::NOTDIR) => ReportError::NoTsm { at, module },
            Some(Errno::NXIO) => ReportError::NoProvider { at, module },
            _ => ReportError::of(&at, "making an entry", &error),
        })
    }

    fn expect_provider(&self) -> Result<(), ReportError> {
        let found = self.word("provider", "reading who makes reports")?;
        let wanted = self.technology.provider();
        if found == wanted {
            Ok(())
        } else {
            Err(ReportError::OtherProvider {
                technology: self.technology,
                wanted,
                found,
            })
        }
    }

    /// Nothing, if somebody else wrote meanwhile.
    fn ask(&self, ReportData(data): ReportData) -> Result<Option<Given>, ReportError> {
        let before = self.generation()?;
        let mut writes = 1_u64;
        if let Some(level) = self.own_level()? {
            self.write(
                "privlevel",
                "choosing the privilege level",
                level.as_bytes(),
            )?;
            writes = 2;
        }
        self.write("inblob", "writing what to report", &data)?;
        let Some(report) = self.blob("outblob", "making the report", MAX_QUOTE_BYTES)? else {
            return Ok(None);
        };
        let Some(table) = self.table()? else {
            return Ok(None);
        };
        let after = self.generation()?;
        // The kernel counts in 64 bits and begins anew after the last.
        Ok((after == before.wrapping_add(writes)).then_some(Given { report, table }))
    }

    /// The least privileged level that a report of this guest may have, where the technology has levels.
    fn own_level(&self) -> Result<Option<String>, ReportError> {
        match self.technology {
            Technology::Tdx => Ok(None),
            Technology::SevSnp => {
                let level = self.optional("privlevel_floor", "reading the privilege level")?;
                let Some(level) = level else {
                    return Ok(None);
                };
                match level.parse::<u8>() {
                    Ok(0..=3) => Ok(Some(level)),
                    Ok(_) | Err(_) => Err(ReportError::Malformed {
                        what: "privilege level",
                        why: "it is none of 0 to 3",
                    }),
                }
            }
        }
    }

    /// The host's table; none where the kernel shows no file for it.
    fn table(&self) -> Result<Option<Vec<u8>>, ReportError> {
        match self.technology {
            Technology::Tdx => Ok(Some(Vec::new())),
            Technology::SevSnp => {
                let step = "reading the host's certificates";
                match self.blob("auxblob", step, MAX_TABLE_BYTES) {
                    Err(ReportError::Io {
                        cause: io::ErrorKind::NotFound,
                        ..
                    }) => Ok(Some(Vec::new())),
                    other => other,
                }
            }
        }
    }

    fn generation(&self) -> Result<u64, ReportError> {
        let text = self.word("generation", "reading the generation")?;
        text.parse().map_err(|_| ReportError::Malformed {
            what: "generation",
            why: "it is no number",
        })
    }

    fn word(&self, name: &'static str, step: &'static str) -> Result<String, ReportError> {
        let bytes = self.read(name, step, MAX_WORD_BYTES)?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.trim_end_matches('\n').to_owned())
    }

    fn optional(
        &self,
        name: &'static str,
        step: &'static str,
    ) -> Result<Option<String>, ReportError> {
        match self.word(name, step) {
            Err(ReportError::Io {
                cause: io::ErrorKind::NotFound,
                ..
            }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Nothing, if the kernel says that somebody wrote since.
    fn blob(
        &self,
        name: &'static str,
        step: &'static str,
        limit: usize,
    ) -> Result<Option<Vec<u8>>, ReportError> {
        match self.read(name, step, limit) {
            Err(ReportError::Io {
                cause: io::ErrorKind::WouldBlock,
                ..
            }) => Ok(None),
            other => other.map(Some),
        }
    }

    fn read(
        &self,
        name: &'static str,
        step: &'static str,
        limit: usize,
    ) -> Result<Vec<u8>, ReportError> {
        let file = self.path.join(name);
        let bytes = self.entries.read(&file, limit);
        let bytes = bytes.map_err(|e| ReportError::of(&file, step, &e))?;
        if bytes.len() > limit {
            return Err(ReportError::TooLong {
                what: name,
                found: bytes.len(),
                limit,
            });
        }
        Ok(bytes)
    }

    fn write(
        &self,
        name: &'static str,
        step: &'static str,
        bytes: &[u8],
    ) -> Result<(), ReportError> {
        let file = self.path.join(name);
        let written = self.entries.write(&file, bytes);
        written.map_err(|e| ReportError::of(&file, step, &e))
    }
}

impl<E: Entries> Drop for Entry<'_, E> {
    fn drop(&mut self) {
        // What cannot be removed stays as an empty entry of a name that nobody uses again.
        let _left = self.entries.remove(&self.path);
    }
}

/// A name that no other program has, and that nobody guesses.
fn name() -> Result<String, ReportError> {
    let mut bytes = [0_u8; 8];
    getrandom::fill(&mut bytes).map_err(|_| ReportError::Entropy)?;
    Ok(format!("countersign-{:016x}", u64::from_be_bytes(bytes)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    /// What the kernel would do: an entry with its files, their rules, and somebody who interferes.
    pub(crate) struct Fake {
        pub(crate) state: RefCell<State>,
    }

    #[derive(Default)]
    pub(crate) struct State {
        pub(crate) configfs: bool,
        /// Fails a step on a file of this name.
        pub(crate) fails: BTreeMap<&'static str, i32>,
        pub(crate) provider: &'static str,
        /// Nothing where the technology has no levels, or the kernel does not say.
        pub(crate) floor: Option<&'static str>,
        /// Another's writes before each report is made.
        pub(crate) strangers: Vec<u64>,
        pub(crate) table: Vec<u8>,
        /// Instead of a report.
        pub(crate) outblob: Option<Vec<u8>>,
        pub(crate) generation: u64,
        pub(crate) inblob: Option<Vec<u8>>,
        pub(crate) level: Option<String>,
        pub(crate) entries: Vec<PathBuf>,
        pub(crate) made: usize,
    }

    pub(crate) fn snp() -> State {
        State {
            configfs: true,
            provider: "sev_guest\n",
            floor: Some("1\n"),
            generation: 17,
            ..State::default()
        }
    }

    pub(crate) fn tdx() -> State {
        State {
            provider: "tdx_guest\n",
            floor: None,
            ..snp()
        }
    }

    impl State {
        pub(crate) fn fake(self) -> Fake {
            Fake {
                state: RefCell::new(self),
            }
        }

        /// A report over what was written, at the level that was asked for.
        fn report(&self) -> io::Result<Vec<u8>> {
            let data = self.inblob.clone().ok_or(errno(22))?;
            if let Some(outblob) = &self.outblob {
                return Ok(outblob.clone());
            }
            if self.provider.starts_with("tdx") {
                return Ok([vec![4, 0], vec![0; 566], data, vec![9; 300]].concat());
            }
            let level: u32 = self.level.as_deref().unwrap_or("0").parse().unwrap();
            let floor = self.floor.map_or(0, |f| f.trim().parse().unwrap());
            if level < floor {
                return Err(errno(22));
            }
            let mut report = vec![0; 1184];
            report[0x30] = u8::try_from(level).unwrap();
            report[0x50..0x90].copy_from_slice(&data);
            Ok(report)
        }
    }

    pub(crate) fn errno(number: i32) -> io::Error {
        io::Error::from_raw_os_error(number)
    }

    fn of(file: &Path) -> String {
        file.file_name().unwrap().to_string_lossy().into_owned()
    }

    impl Fake {
        fn failing(&self, name: &str) -> io::Result<()> {
            match self.state.borrow().fails.get(name) {
                Some(number) => Err(errno(*number)),
                None => Ok(()),
            }
        }
    }

    impl Entries for Fake {
        fn is_configfs(&self, _: &Path) -> bool {
            self.state.borrow().configfs
        }

        fn make(&self, entry: &Path) -> io::Result<()> {
            self.failing("mkdir")?;
            let mut state = self.state.borrow_mut();
            state.made = state.made.saturating_add(1);
            (state.inblob, state.level) = (None, None);
            state.entries.push(entry.to_owned());
            Ok(())
        }

        fn remove(&self, entry: &Path) -> io::Result<()> {
            self.state.borrow_mut().entries.retain(|e| e != entry);
            Ok(())
        }

        fn read(&self, file: &Path, limit: usize) -> io::Result<Vec<u8>> {
            let name = of(file);
            self.failing(&name)?;
            let mut state = self.state.borrow_mut();
            let mut bytes = match name.as_str() {
                "provider" => state.provider.as_bytes().to_vec(),
                "generation" => format!("{}\n", state.generation).into_bytes(),
                "privlevel_floor" => state.floor.ok_or(errno(2))?.as_bytes().to_vec(),
                "outblob" => {
                    let more = state.strangers.pop().unwrap_or(0);
                    state.generation = state.generation.wrapping_add(more);
                    state.report()?
                }
                "auxblob" => state.table.clone(),
                _ => return Err(errno(2)),
            };
            bytes.truncate(limit.saturating_add(1));
            Ok(bytes)
        }

        fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
            let name = of(file);
            self.failing(&name)?;
            let mut state = self.state.borrow_mut();
            state.generation = state.generation.wrapping_add(1);
            match name.as_str() {
                "inblob" => state.inblob = Some(bytes.to_vec()),
                "privlevel" => state.level = Some(String::from_utf8(bytes.to_vec()).unwrap()),
                _ => return Err(errno(13)),
            }
            Ok(())
        }
    }

    const DATA: ReportData = ReportData([0x5a; 64]);

    fn asked(fake: &Fake, technology: Technology) -> Result<Given, ReportError> {
        let given = report(fake, Path::new("/c"), technology, DATA);
        assert!(fake.state.borrow().entries.is_empty(), "an entry was left");
        given
    }

    #[test]
    fn a_report_is_over_the_bytes_that_were_asked_for_and_at_the_guests_own_level() {
        let mut state = snp();
        state.table = b"table".to_vec();
        let fake = state.fake();
        let given = asked(&fake, Technology::SevSnp).unwrap();
        assert_eq!(given.report[0x50..0x90], DATA.0);
        assert_eq!(given.report[0x30], 1);
        assert_eq!(given.table, b"table");
        assert_eq!(fake.state.borrow().made, 1);
    }

    #[test]
    fn a_kernel_that_knows_no_floor_or_no_table_still_reports() {
        let mut state = snp();
        state.floor = None;
        state.fails.insert("auxblob", 2);
        let given = asked(&state.fake(), Technology::SevSnp).unwrap();
        assert_eq!(given.report[0x30], 0);
        assert_eq!(given.table, b"");
    }

    #[test]
    fn a_quote_has_neither_level_nor_table() {
        let mut state = tdx();
        state.table = b"of nobody".to_vec();
        let fake = state.fake();
        let given = asked(&fake, Technology::Tdx).unwrap();
        assert_eq!(given.report[568..632], DATA.0);
        assert_eq!(given.table, b"");
        assert_eq!(fake.state.borrow().level, None);
    }

    #[test]
    fn whoever_writes_in_between_is_noticed_and_the_report_asked_for_anew() {
        for technology in [Technology::SevSnp, Technology::Tdx] {
            let mut state = if technology == Technology::Tdx {
                tdx()
            } else {
                snp()
            };
            state.strangers = vec![1, 1];
            let fake = state.fake();
            assert!(asked(&fake, technology).is_ok());
            assert_eq!(fake.state.borrow().made, 3);
            fake.state.borrow_mut().strangers = vec![1; 3];
            let raced = asked(&fake, technology);
            assert_eq!(raced, Err(ReportError::Raced { tries: 3 }));
        }
    }

    #[test]
    fn a_write_that_was_lost_is_noticed() {
        let mut state = snp();
        // As if one of both writes had not been counted.
        state.strangers = vec![u64::MAX; 3];
        let raced = asked(&state.fake(), Technology::SevSnp);
        assert_eq!(raced, Err(ReportError::Raced { tries: 3 }));
    }

    #[test]
    fn the_generation_may_begin_anew() {
        let mut state = snp();
        state.generation = u64::MAX;
        assert!(asked(&state.fake(), Technology::SevSnp).is_ok());
    }

    #[test]
    fn the_kernels_word_that_somebody_wrote_is_a_race() {
        for file in ["outblob", "auxblob"] {
            let mut state = snp();
            state.fails.insert(file, 11);
            let raced = asked(&state.fake(), Technology::SevSnp);
            assert_eq!(raced, Err(ReportError::Raced { tries: 3 }), "{file}");
        }
    }

    #[test]
    fn another_driver_than_the_devices_is_refused() {
        let other = asked(&tdx().fake(), Technology::SevSnp).unwrap_err();
        let text = other.to_string();
        assert!(
            text.contains("tdx_guest") && text.contains("no guest of SEV-SNP"),
            "{text}"
        );
        let other = asked(&snp().fake(), Technology::Tdx).unwrap_err();
        assert!(other.to_string().contains("sev_guest"), "{other}");
    }

    /// Step, error of the operating system, and what the operator is told.
    const TOLD: [(&str, i32, &str); 14] = [
        (
            "mkdir",
            2,
            "load the module sev-guest, or boot a newer kernel",
        ),
        ("mkdir", 6, "no driver makes reports"),
        ("mkdir", 13, "reports are given to root"),
        ("mkdir", 1, "reports are given to root"),
        ("provider", 13, "reports are given to root"),
        ("inblob", 16, "have one program ask"),
        ("outblob", 16, "have one program ask"),
        ("outblob", 110, "limits how often"),
        ("outblob", 95, "not supported here"),
        ("outblob", 25, "not supported here"),
        ("outblob", 5, "making the report at"),
        ("auxblob", 5, "reading the host's certificates at"),
        ("privlevel", 22, "choosing the privilege level at"),
        ("generation", 5, "reading the generation at"),
    ];

    #[test]
    fn every_refusal_tells_the_operator_what_to_do() {
        for (step, number, told) in TOLD {
            let mut state = snp();
            state.fails.insert(step, number);
            let text = asked(&state.fake(), Technology::SevSnp)
                .unwrap_err()
                .to_string();
            assert!(text.contains(told), "{step}, {number}: {text}");
        }
        let mut state = snp();
        state.configfs = false;
        state.fails.insert("mkdir", 2);
        let text = asked(&state.fake(), Technology::SevSnp)
            .unwrap_err()
            .to_string();
        assert!(text.contains("mount -t configfs none /c"), "{text}");
    }

    #[test]
    fn answers_that_are_too_long_or_nonsense_are_refused() {
        let mut state = snp();
        state.outblob = Some(vec![0; MAX_QUOTE_BYTES + 1]);
        let long = asked(&state.fake(), Technology::SevSnp).unwrap_err();
        assert!(
            matches!(
                long,
                ReportError::TooLong {
                    what: "outblob",
                    ..
                }
            ),
            "{long}"
        );
        let mut state = snp();
        state.table = vec![0; MAX_TABLE_BYTES + 1];
        let long = asked(&state.fake(), Technology::SevSnp).unwrap_err();
        assert!(
            matches!(
                long,
                ReportError::TooLong {
                    what: "auxblob",
                    ..
                }
            ),
            "{long}"
        );
        for floor in ["4\n", "-1\n", "one\n", ""] {
            let mut state = snp();
            state.floor = Some(floor);
            let wrong = asked(&state.fake(), Technology::SevSnp).unwrap_err();
            assert!(matches!(wrong, ReportError::Malformed { .. }), "{wrong}");
        }
    }

    #[test]
    fn without_configfs_the_real_file_system_says_so() {
        let nothing = tempfile::tempdir().unwrap();
        let told = report(&Kernel, nothing.path(), Technology::Tdx, DATA).unwrap_err();
        assert!(matches!(told, ReportError::NoConfigfs { .. }), "{told}");
        // Something lies there that is no configfs: no entry of it becomes a report.
        let at = nothing.path().join("tsm/report");
        fs::create_dir_all(&at).unwrap();
        let told = report(&Kernel, nothing.path(), Technology::Tdx, DATA).unwrap_err();
        assert!(matches!(told, ReportError::Io { .. }), "{told}");
        assert_eq!(fs::read_dir(&at).unwrap().count(), 0, "an entry was left");
    }
}
