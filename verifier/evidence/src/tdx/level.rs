//! Status of versions: what Intel says of them, and how three become one.
//!
//! In: the levels of TCB info and of the quoting enclave's identity, the versions of a platform. Out: the
//! matched levels, and [`TcbStatus`] of all together.
//!
//! A level fits if no version of the platform is below it. Levels are sorted from new to old by Intel and
//! signed in that order; the first that fits counts.
//!
//! Source: Intel PCS API v4, "Get TDX TCB Info" and "Get Enclave Identity", the numbered procedures there.

use core::fmt;

use super::body::TdBody;
use super::pck::PckExtension;
use super::tcbinfo::{ModuleLevel, PlatformLevel, TcbInfo};
use super::types::TeeTcbSvn;

macro_rules! statuses {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// What Intel says of a platform's versions.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum TcbStatus { $($(#[$doc])* $variant,)* }

        impl TcbStatus {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// As Intel writes it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Reads what Intel writes.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|s| s.as_str() == text)
            }
        }
    };
}

statuses! {
    /// Nothing is known against it.
    UpToDate = "UpToDate",
    /// Software has to guard itself against known weaknesses.
    SwHardeningNeeded = "SWHardeningNeeded",
    /// Its configuration is weak.
    ConfigurationNeeded = "ConfigurationNeeded",
    /// Both.
    ConfigurationAndSwHardeningNeeded = "ConfigurationAndSWHardeningNeeded",
    /// It lacks updates that exist.
    OutOfDate = "OutOfDate",
    /// It lacks updates, and its configuration is weak.
    OutOfDateConfigurationNeeded = "OutOfDateConfigurationNeeded",
    /// The trust domain was launched under a module that lacked updates, which the module of now has.
    TdRelaunchAdvised = "TDRelaunchAdvised",
    /// The same, and the configuration is weak.
    TdRelaunchAdvisedConfigurationNeeded = "TDRelaunchAdvisedConfigurationNeeded",
    /// It was taken back. No policy can accept it.
    Revoked = "Revoked",
}

impl fmt::Display for TcbStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TcbStatus {
    /// Whether updates are missing.
    pub(super) fn is_out_of_date(self) -> bool {
        matches!(self, Self::OutOfDate | Self::OutOfDateConfigurationNeeded)
    }

    /// This status of a platform, with another of something that runs on it, which is up to date, out of
    /// date or revoked.
    pub(super) fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Revoked, _) | (_, Self::Revoked) => Self::Revoked,
            (
                Self::ConfigurationNeeded
                | Self::ConfigurationAndSwHardeningNeeded
                | Self::OutOfDateConfigurationNeeded
                | Self::TdRelaunchAdvisedConfigurationNeeded,
                Self::OutOfDate,
            ) => Self::OutOfDateConfigurationNeeded,
            (
                Self::UpToDate
                | Self::SwHardeningNeeded
                | Self::OutOfDate
                | Self::TdRelaunchAdvised,
                Self::OutOfDate,
            ) => Self::OutOfDate,
            // The other can be nothing else: see `ModuleLevel` and the identity's levels.
            (
                status,
                Self::UpToDate
                | Self::SwHardeningNeeded
                | Self::ConfigurationNeeded
                | Self::ConfigurationAndSwHardeningNeeded
                | Self::OutOfDateConfigurationNeeded
                | Self::TdRelaunchAdvised
                | Self::TdRelaunchAdvisedConfigurationNeeded,
            ) => status,
        }
    }

    /// Launched in this state, and running in that one.
    pub(super) fn launched(self, now: Self) -> Self {
        if !self.is_out_of_date() || now == Self::Revoked {
            return if self == Self::Revoked { self } else { now };
        }
        match (self, now) {
            (_, Self::OutOfDate | Self::OutOfDateConfigurationNeeded) => self,
            (
                Self::OutOfDateConfigurationNeeded,
                Self::UpToDate
                | Self::SwHardeningNeeded
                | Self::ConfigurationNeeded
                | Self::ConfigurationAndSwHardeningNeeded
                | Self::TdRelaunchAdvised
                | Self::TdRelaunchAdvisedConfigurationNeeded
                | Self::Revoked,
            )
            | (_, Self::ConfigurationNeeded | Self::ConfigurationAndSwHardeningNeeded) => {
                Self::TdRelaunchAdvisedConfigurationNeeded
            }
            (
                _,
                Self::UpToDate
                | Self::SwHardeningNeeded
                | Self::TdRelaunchAdvised
                | Self::TdRelaunchAdvisedConfigurationNeeded
                | Self::Revoked,
            ) => Self::TdRelaunchAdvised,
        }
    }
}

/// Versions that a body states: of the launch, and of now where it says so.
pub(super) fn versions(body: &TdBody) -> Vec<TeeTcbSvn> {
    let now = body.later().map(|later| later.tee_tcb_svn_2);
    core::iter::once(body.tee_tcb_svn()).chain(now).collect()
}

/// The first level that a platform's versions reach.
pub(super) fn platform_level<'i>(
    info: &'i TcbInfo,
    pck: &PckExtension,
    svn: TeeTcbSvn,
) -> Option<&'i PlatformLevel> {
    info.levels.iter().find(|level| {
        reaches(&pck.components(), &level.sgx)
            && pck.pce_svn() >= level.pce_svn
            && reaches_tdx(svn, &level.tdx)
    })
}

fn reaches(have: &[u8], need: &[u8]) -> bool {
    have.iter().zip(need).all(|(have, need)| have >= need)
}

/// From major version 1 on, a module's own version has levels of its own, so its two bytes are passed over.
fn reaches_tdx(svn: TeeTcbSvn, need: &[u8; 16]) -> bool {
    let skipped = if major(svn) == 0 { 0 } else { 2 };
    svn.0
        .iter()
        .zip(need)
        .skip(skipped)
        .all(|(have, need)| have >= need)
}

/// Major version of a TDX module.
pub(super) fn major(svn: TeeTcbSvn) -> u8 {
    let TeeTcbSvn([_, major, ..]) = svn;
    major
}

/// Minor version of a TDX module, which its levels count.
pub(super) fn minor(svn: TeeTcbSvn) -> u8 {
    let TeeTcbSvn([minor, ..]) = svn;
    minor
}

/// The first level that a version reaches.
pub(super) fn module_level(levels: &[ModuleLevel], isv_svn: u16) -> Option<&ModuleLevel> {
    levels.iter().find(|level| isv_svn >= level.isv_svn)
}
