//! Ways in which this machine's processor could report: what is there, and whether the platform uses it.
//!
//! In: what is there ([`Machine`]). Out: findings `machine.*`.

use super::{Code, Finding};
use countersign_platform::Profile;
use countersign_platform::processor::Technology;

/// First kernel that has reports by configfs (configfs-tsm).
const TSM_SINCE: (u32, u32) = (6, 7);

/// What of it is there.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// Release of the kernel.
    pub kernel: String,
    /// Configfs is mounted.
    pub configfs: bool,
    /// `/sys/kernel/config/tsm/report` is there.
    pub tsm: bool,
    /// This user may make entries there.
    pub may_make_entries: bool,
    /// Providers of reports that other programs asked for; an entry of our own would have to be made to know more.
    pub providers: Vec<String>,
    /// `/dev/sev-guest` is there.
    pub sev_guest: bool,
    /// This user may open it.
    pub may_open_sev_guest: bool,
    /// `/dev/tdx_guest` is there.
    pub tdx_guest: bool,
}

/// All that begins with `machine.`.
#[must_use]
pub fn findings(machine: &Machine, profile: Option<Profile>) -> Vec<Finding> {
    let asked = profile.and_then(asked);
    vec![
        kernel(machine, asked),
        tsm(machine, asked),
        device(Code::MachineSevGuest, Technology::SevSnp, machine, profile),
        device(Code::MachineTdxGuest, Technology::Tdx, machine, profile),
    ]
}

/// Whose reports the gateway asks for itself on a platform.
fn asked(profile: Profile) -> Option<Technology> {
    match profile {
        Profile::Snp | Profile::GcpSnp => Some(Technology::SevSnp),
        Profile::Tdx | Profile::GcpTdx => Some(Technology::Tdx),
        Profile::Tpm | Profile::Swtpm | Profile::AzureSnp | Profile::AzureTdx => None,
    }
}

fn kernel(machine: &Machine, asked: Option<Technology>) -> Finding {
    let code = Code::MachineKernel;
    let kernel = &machine.kernel;
    let Some(version) = version(kernel) else {
        return code.unknown(
            format!("Linux {kernel:?} has no version that can be read"),
            "say what `uname -r` says",
        );
    };
    if version >= TSM_SINCE {
        return code.ok(format!("Linux {kernel}: has configfs-tsm (since 6.7)"));
    }
    match asked {
        Some(Technology::Tdx) => code.fail(
            format!(
                "Linux {kernel}: configfs-tsm came with 6.7, and there is no other way to a quote"
            ),
            "boot a kernel of 6.7 or later, with CONFIG_TSM_REPORTS and CONFIG_TDX_GUEST_DRIVER",
        ),
        Some(Technology::SevSnp) => code.ok(format!(
            "Linux {kernel}: no configfs-tsm (since 6.7); /dev/sev-guest is asked in its place"
        )),
        None => code.ok(format!(
            "Linux {kernel}: no configfs-tsm (since 6.7), and this platform needs nothing of it"
        )),
    }
}

/// Major and minor number of a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn tsm(machine: &Machine, asked: Option<Technology>) -> Finding {
    let code = Code::MachineTsm;
    if !machine.tsm {
        return no_tsm(machine, asked);
    }
    let providers = if machine.providers.is_empty() {
        "its provider shows once a report is asked for".to_owned()
    } else {
        format!("provider {}", machine.providers.join(", "))
    };
    let found = format!("/sys/kernel/config/tsm/report is there; {providers}");
    match asked {
        None => code.ok(format!("{found}; this platform does not use it")),
        Some(_) if machine.may_make_entries => code.ok(format!("{found}; openings ask it")),
        Some(_) => code.fail(
            format!("{found}; this user may not make entries in it"),
            "reports are given to root: run the gateway as root or with CAP_DAC_OVERRIDE, and run doctor as that user",
        ),
    }
}

fn no_tsm(machine: &Machine, asked: Option<Technology>) -> Finding {
    let code = Code::MachineTsm;
    let why = if machine.configfs {
        "configfs is mounted, and no module offers reports"
    } else {
        "configfs is not mounted"
    };
    let found = format!("no /sys/kernel/config/tsm/report: {why}");
    match asked {
        None => code.ok(format!("{found}; this platform does not use it")),
        Some(Technology::SevSnp) => {
            code.ok(format!("{found}; /dev/sev-guest is asked in its place"))
        }
        Some(Technology::Tdx) => code.fail(
            format!("{found}; there is no other way to a quote"),
            "mount it (`mount -t configfs none /sys/kernel/config`) and load the module tdx-guest",
        ),
    }
}

fn device(
    code: Code,
    technology: Technology,
    machine: &Machine,
    profile: Option<Profile>,
) -> Finding {
    let path = technology.device();
    let there = match technology {
        Technology::SevSnp => machine.sev_guest,
        Technology::Tdx => machine.tdx_guest,
    };
    let is_asked = profile.and_then(asked) == Some(technology);
    match (there, profile) {
        (false, _) => code.ok(format!("no {path}: no guest of {technology}, as far as it shows")),
        (true, Some(Profile::AzureSnp | Profile::AzureTdx)) => code.ok(format!(
            "{path} is there; the paravisor's report is used in its place"
        )),
        (true, _) if is_asked && machine.tsm => {
            code.ok(format!("{path} is there; reports are asked for by configfs-tsm"))
        }
        (true, _) if is_asked && technology == Technology::SevSnp && !machine.may_open_sev_guest => {
            code.fail(
                format!("{path} is there; this user may not open it"),
                "add the gateway's user to the group of the device, and run doctor as that user",
            )
        }
        (true, _) if is_asked => code.ok(format!("{path} is there")),
        (true, _) => code.warn(
            format!(
                "{path} is there: a guest of {technology}; but nothing that is known here ties this machine's TPM to its \
                 processor, so evidence rests on the TPM alone"
            ),
            "where the processor has to vouch for the machine, use one of Azure or Google Cloud",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    fn states(machine: &Machine, profile: Option<Profile>) -> Vec<State> {
        findings(machine, profile).iter().map(|f| f.state).collect()
    }

    fn guest(kernel: &str, technology: Technology) -> Machine {
        Machine {
            kernel: kernel.to_owned(),
            sev_guest: technology == Technology::SevSnp,
            tdx_guest: technology == Technology::Tdx,
            ..Machine::default()
        }
    }

    #[test]
    fn a_guest_whose_processor_could_report_is_told_where_it_does_not() {
        use State::{Ok, Warn};
        let machine = guest("6.5.0-1025-generic", Technology::SevSnp);
        assert_eq!(states(&machine, Some(Profile::Tpm)), [Ok, Ok, Warn, Ok]);
        assert_eq!(states(&machine, Some(Profile::AzureSnp)), [Ok; 4]);
    }

    #[test]
    fn what_the_processor_is_asked_by_has_to_be_there_and_open_to_this_user() {
        use State::{Fail, Ok};
        let google = Some(Profile::GcpSnp);
        let old = guest("6.5.0", Technology::SevSnp);
        assert_eq!(states(&old, google), [Ok, Ok, Fail, Ok]);
        let open = Machine {
            may_open_sev_guest: true,
            ..old
        };
        assert_eq!(states(&open, google), [Ok; 4]);
        let new = Machine {
            kernel: "6.12.9".to_owned(),
            configfs: true,
            tsm: true,
            may_open_sev_guest: false,
            ..open
        };
        assert_eq!(states(&new, google), [Ok, Fail, Ok, Ok]);
        let root = Machine {
            may_make_entries: true,
            ..new
        };
        assert_eq!(states(&root, google), [Ok; 4]);
    }

    #[test]
    fn a_trust_domain_has_no_other_way_than_configfs() {
        use State::{Fail, Ok};
        for profile in [Profile::GcpTdx, Profile::Tdx] {
            let old = guest("6.5.0", Technology::Tdx);
            assert_eq!(states(&old, Some(profile)), [Fail, Fail, Ok, Ok]);
            let found = findings(&old, Some(profile));
            assert!(
                found[1]
                    .advice
                    .as_deref()
                    .unwrap()
                    .contains("mount -t configfs")
            );
            let new = Machine {
                kernel: "6.7.0".to_owned(),
                configfs: true,
                tsm: true,
                may_make_entries: true,
                ..old
            };
            assert_eq!(states(&new, Some(profile)), [Ok; 4]);
        }
    }

    #[test]
    fn a_machine_without_any_of_it_needs_none() {
        let machine = Machine {
            kernel: "5.15.0".to_owned(),
            ..Machine::default()
        };
        assert_eq!(states(&machine, Some(Profile::Tpm)), [State::Ok; 4]);
        let strange = Machine::default();
        assert_eq!(states(&strange, None)[0], State::Unknown);
    }

    #[test]
    fn kernels_are_compared_by_number() {
        assert_eq!(version("6.12.9-200.fc41"), Some((6, 12)));
        assert!(version("6.12.9") > Some(TSM_SINCE));
        assert!(version("6.6.99") < Some(TSM_SINCE));
        assert_eq!(version("next"), None);
    }
}
