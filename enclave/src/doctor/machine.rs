//! Other ways in which this machine could report: found, and not used by this version.
//!
//! In: what is there ([`Machine`]). Out: findings `machine.*`.

use super::{Code, Finding};
use countersign_platform::Profile;

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
    /// Providers of reports that other programs asked for; none is asked for here, since that would make an entry.
    pub providers: Vec<String>,
    /// `/dev/sev-guest` is there.
    pub sev_guest: bool,
    /// `/dev/tdx_guest` is there.
    pub tdx_guest: bool,
}

/// All that begins with `machine.`.
#[must_use]
pub fn findings(machine: &Machine, profile: Option<Profile>) -> Vec<Finding> {
    let guest = machine.sev_guest || machine.tdx_guest;
    vec![
        kernel(machine, guest),
        tsm(machine),
        device(
            Code::MachineSevGuest,
            "/dev/sev-guest",
            "SEV-SNP",
            machine.sev_guest,
            profile,
        ),
        device(
            Code::MachineTdxGuest,
            "/dev/tdx_guest",
            "TDX",
            machine.tdx_guest,
            profile,
        ),
    ]
}

fn kernel(machine: &Machine, guest: bool) -> Finding {
    let code = Code::MachineKernel;
    let kernel = &machine.kernel;
    let Some(version) = version(kernel) else {
        return code.unknown(
            format!("Linux {kernel:?} has no version that can be read"),
            "say what `uname -r` says",
        );
    };
    if version >= TSM_SINCE {
        code.ok(format!("Linux {kernel}: has configfs-tsm (since 6.7)"))
    } else if guest {
        code.warn(
            format!("Linux {kernel}: configfs-tsm came with 6.7"),
            "this version needs nothing of it; a later one will, to use this machine's processor report",
        )
    } else {
        code.ok(format!(
            "Linux {kernel}: no configfs-tsm (since 6.7), and nothing here needs it"
        ))
    }
}

/// Major and minor number of a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn tsm(machine: &Machine) -> Finding {
    let code = Code::MachineTsm;
    if machine.tsm {
        let providers = if machine.providers.is_empty() {
            "its provider shows once a report is asked for, which doctor does not do".to_owned()
        } else {
            format!("provider {}", machine.providers.join(", "))
        };
        return code.ok(format!(
            "/sys/kernel/config/tsm/report is there; {providers}; this version does not use it yet"
        ));
    }
    let why = if machine.configfs {
        "configfs is mounted, and no module offers reports"
    } else {
        "configfs is not mounted"
    };
    code.ok(format!(
        "no /sys/kernel/config/tsm/report: {why}; this version does not use it"
    ))
}

fn device(
    code: Code,
    path: &str,
    technology: &str,
    there: bool,
    profile: Option<Profile>,
) -> Finding {
    match (there, profile) {
        (false, _) => code.ok(format!("no {path}; this version does not use it")),
        (true, Some(Profile::AzureSnp | Profile::AzureTdx)) => code.ok(format!(
            "{path} is there; the paravisor's report is used in its place"
        )),
        (true, _) => code.warn(
            format!(
                "{path} is there: a guest of {technology}, but this version does not use the device yet, so evidence \
                 rests on the TPM alone"
            ),
            "where the processor has to vouch for the machine, use one whose paravisor keeps its report in the TPM \
             (Azure, SEV-SNP)",
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

    #[test]
    fn a_guest_whose_processor_could_report_is_told_that_it_does_not() {
        let machine = Machine {
            kernel: "6.5.0-1025-generic".to_owned(),
            sev_guest: true,
            ..Machine::default()
        };
        let plain = states(&machine, Some(Profile::Tpm));
        assert_eq!(plain, [State::Warn, State::Ok, State::Warn, State::Ok]);
        let azure = states(&machine, Some(Profile::AzureSnp));
        assert_eq!(azure, [State::Warn, State::Ok, State::Ok, State::Ok]);
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
