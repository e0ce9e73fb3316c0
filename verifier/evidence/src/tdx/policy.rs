//! What a quote has to say. Nothing of it may come from the quote or its collateral.
//!
//! `None` where somebody could name something and nobody did: that check is not run, and says so. A list
//! that is empty accepts nothing.

use core::time::Duration;

use super::body::{AttributeBit, Xfam};
use super::level::TcbStatus;
use super::types::{Measurement, Ppid, ReportData, TeeTcbSvn};

/// What a quote has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// All 64 bytes of the report data. Without them nothing binds the quote to anything, so nothing holds.
    pub report_data: Option<ReportData>,
    /// Accepted measurements of the TDX module. Intel's levels judge its version in any case.
    pub mrseam: Option<Vec<Measurement>>,
    /// Accepted measurements of the initial memory.
    pub mrtd: Option<Vec<Measurement>>,
    /// Accepted values of `MRCONFIGID`.
    pub mrconfigid: Option<Vec<Measurement>>,
    /// Accepted values of `MROWNER`.
    pub mrowner: Option<Vec<Measurement>>,
    /// Accepted values of `MROWNERCONFIG`.
    pub mrownerconfig: Option<Vec<Measurement>>,
    /// Accepted values of each register.
    pub rtmrs: [Option<Vec<Measurement>>; 4],
    /// Optional features that the trust domain may have.
    pub features: Vec<Features>,
    /// Whether memory that the host takes away has to be fatal.
    pub sept_ve: SeptVe,
    /// Extended state that it may use.
    pub xfam: Xfam,
    /// Accepted states. A revoked platform is never accepted, even if it is named.
    pub statuses: Vec<TcbStatus>,
    /// For how long after its level's date a platform that lacks updates still counts as one that does not.
    pub grace: Duration,
    /// Advisories that must not concern the platform.
    pub denied_advisories: Vec<String>,
    /// Oldest evaluation of collateral. Without it old collateral can be presented as long as it is current.
    pub evaluation_floor: Option<u32>,
    /// Oldest versions of the TDX module, of the same major version, and of what loads it.
    pub tee_tcb_floor: Option<TeeTcbSvn>,
    /// How platforms may be configured.
    pub flags: Flags,
    /// Accepted platforms.
    pub platforms: Option<Vec<Ppid>>,
    /// Platforms that are refused.
    pub denied_platforms: Vec<Ppid>,
}

impl Policy {
    /// The strictest that a platform can fulfil which nobody has anything against: up to date, nothing
    /// optional, nothing configured beside zero. Measurements are for the caller to name.
    #[must_use]
    pub fn strict(report_data: ReportData) -> Self {
        let zero = || Some(vec![Measurement::ZERO]);
        Self {
            report_data: Some(report_data),
            mrseam: None,
            mrtd: None,
            mrconfigid: zero(),
            mrowner: zero(),
            mrownerconfig: zero(),
            rtmrs: [None, None, None, None],
            features: Vec::new(),
            sept_ve: SeptVe::MustBeDisabled,
            xfam: Xfam::POSSIBLE,
            statuses: vec![TcbStatus::UpToDate],
            grace: Duration::ZERO,
            denied_advisories: Vec::new(),
            evaluation_floor: None,
            tee_tcb_floor: None,
            flags: Flags::STRICT,
            platforms: None,
            denied_platforms: Vec::new(),
        }
    }
}

impl Policy {
    /// Asks nothing of what an auditor may see one way or the other; for the genuine alone. Whoever decides by it says so.
    #[must_use]
    pub fn open() -> Self {
        let but_revoked = |status: &&TcbStatus| **status != TcbStatus::Revoked;
        Self {
            report_data: None,
            mrconfigid: None,
            mrowner: None,
            mrownerconfig: None,
            features: Features::ALL.to_vec(),
            sept_ve: SeptVe::AzureParavisor,
            statuses: TcbStatus::ALL.iter().filter(but_revoked).copied().collect(),
            flags: Flags::ANY,
            ..Self::strict(ReportData::ZERO)
        }
    }
}

/// Features of a trust domain that a policy can accept. Debugging, profiling and migration are none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Features {
    /// Linear address space separation.
    Lass,
    /// Supervisor protection keys.
    Pks,
    /// Key Locker.
    KeyLocker,
    /// Performance counters within the trust domain.
    Perfmon,
}

impl Features {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Lass, Self::Pks, Self::KeyLocker, Self::Perfmon];

    /// Its bit.
    #[must_use]
    pub fn bit(self) -> AttributeBit {
        match self {
            Self::Lass => AttributeBit::Lass,
            Self::Pks => AttributeBit::Pks,
            Self::KeyLocker => AttributeBit::KeyLocker,
            Self::Perfmon => AttributeBit::Perfmon,
        }
    }
}

/// What a policy says about `SEPT_VE_DISABLE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeptVe {
    /// It has to be set: a guest cannot safely handle faults that the host provokes.
    MustBeDisabled,
    /// It may be clear, for it is the paravisor of Azure that handles them, not the guest.
    AzureParavisor,
}

/// Which configurations of a platform are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags {
    /// Packages can be added to it later.
    pub dynamic_platform: Flag,
    /// Intel keeps its root keys.
    pub cached_keys: Flag,
    /// Two threads share a core.
    pub smt: Flag,
}

impl Flags {
    /// None of them. Servers of today with more than one package have the first two.
    pub const STRICT: Self = Self {
        dynamic_platform: Flag::MustBeOff,
        cached_keys: Flag::MustBeOff,
        smt: Flag::MustBeOff,
    };

    /// All of them.
    pub const ANY: Self = Self {
        dynamic_platform: Flag::MayBeOn,
        cached_keys: Flag::MayBeOn,
        smt: Flag::MayBeOn,
    };
}

/// What a policy says about one flag of a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// It has to be said that it is off.
    MustBeOff,
    /// It may be on, off or not said.
    MayBeOn,
}
