//! Fixed rows of bytes of Intel's formats, each its own type.

use core::fmt;

macro_rules! bytes {
    ($($(#[$doc:meta])* $name:ident[$length:literal],)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub struct $name(pub [u8; $length]);

            impl $name {
                /// All bytes zero.
                pub const ZERO: Self = Self([0; $length]);
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    crate::hex::write(f, &self.0)
                }
            }

            impl fmt::Debug for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    fmt::Display::fmt(self, f)
                }
            }
        )*
    };
}

bytes! {
    /// A SHA-384 measurement or register of a trust domain or of the TDX module.
    Measurement[48],
    /// A SHA-256 measurement of an enclave or of its signer.
    EnclaveMeasurement[32],
    /// What a trust domain asked to have signed beside its own state.
    ReportData[64],
    /// Versions of the TDX module and of what loads it. Byte 0 is the module's minor version, byte 1 its
    /// major version, byte 2 the microcode's; the rest is zero today.
    TeeTcbSvn[16],
    /// Versions of a processor's microcode and firmware, in the processor's own form.
    CpuSvn[16],
    /// Family, model, stepping, platform type and SKU of a platform.
    Fmspc[6],
    /// Number of the provisioning certification enclave.
    PceId[2],
    /// Which platform: the same as long as its root keys are.
    Ppid[16],
    /// Which trust domain: made at random at each launch.
    TdId[32],
}
