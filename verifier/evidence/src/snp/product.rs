//! Generations of processors, and their versions: both are laid out by generation.
//!
//! Source: AMD 56860, "TCB_VERSION" and "ATTESTATION_REPORT"; 57230, table of products.

use core::fmt;
use core::str::FromStr;
use thiserror::Error;

use super::report::Processor;
use crate::reader::{FormError, expect};

/// A generation of EPYC processors, as AMD's root keys have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Product {
    /// EPYC 7003.
    Milan,
    /// EPYC 9004, 97x4 and 8004; AMD's root for all three is that of Genoa.
    Genoa,
    /// EPYC 9005.
    Turin,
}

/// A text that names no product.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("product {0:?} is not known")]
pub struct ProductError(String);

impl Product {
    /// Every product.
    pub const ALL: [Self; 3] = [Self::Milan, Self::Genoa, Self::Turin];

    /// Its name, as AMD's certificates have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }

    /// Of a product name in a certificate: the name, alone or with a stepping after a hyphen (`Milan-B0`).
    pub(crate) fn of_name(text: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(
            |product| match text.strip_prefix(product.as_str().as_bytes()) {
                Some([] | [b'-', ..]) => true,
                Some(_) | None => false,
            },
        )
    }

    /// Of a family and model as CPUID has them. Steppings do not matter.
    #[must_use]
    pub fn of_processor(processor: Processor) -> Option<Self> {
        match (processor.family, processor.model) {
            (0x19, 0x00..=0x0f) => Some(Self::Milan),
            (0x19, 0x10..=0x1f | 0xa0..=0xaf) => Some(Self::Genoa),
            (0x1a, 0x00..=0x11) => Some(Self::Turin),
            _ => None,
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Product {
    type Err = ProductError;

    fn from_str(text: &str) -> Result<Self, ProductError> {
        Self::ALL
            .into_iter()
            .find(|product| product.as_str() == text)
            .ok_or_else(|| ProductError(text.into()))
    }
}

/// A `TCB_VERSION` as it arrived; what its bytes mean depends on the product.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RawTcb(pub [u8; 8]);

impl fmt::Debug for RawTcb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::hex::write(f, &self.0)
    }
}

impl fmt::Display for RawTcb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::hex::write(f, &self.0)
    }
}

/// Security versions of what runs beneath a guest. Not ordered as a whole: each part counts alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcb {
    /// Of the processor's first firmware, which Turin is the first to have.
    pub fmc: Option<u8>,
    /// Of the secure processor's boot loader.
    pub bootloader: u8,
    /// Of the secure processor's operating system.
    pub tee: u8,
    /// Of the SNP firmware.
    pub snp: u8,
    /// Lowest patch level of the cores.
    pub microcode: u8,
}

impl Tcb {
    /// Reads a version as a product has it. What the product reserves has to be zero.
    ///
    /// # Errors
    /// If it is not.
    pub fn parse(raw: RawTcb, product: Product) -> Result<Self, FormError> {
        let (tcb, reserved) = match product {
            Product::Milan | Product::Genoa => {
                let [bootloader, tee, a, b, c, d, snp, microcode] = raw.0;
                let tcb = Self {
                    fmc: None,
                    bootloader,
                    tee,
                    snp,
                    microcode,
                };
                (tcb, [a, b, c, d])
            }
            Product::Turin => {
                let [fmc, bootloader, tee, snp, a, b, c, microcode] = raw.0;
                let tcb = Self {
                    fmc: Some(fmc),
                    bootloader,
                    tee,
                    snp,
                    microcode,
                };
                (tcb, [a, b, c, 0])
            }
        };
        let found = u32::from_be_bytes(reserved);
        expect("its reserved part", found.into(), 0)?;
        Ok(tcb)
    }

    /// Whether every part is at least that of `floor`. A floor with a part that this product does not have is not reached.
    #[must_use]
    pub fn reaches(&self, floor: &Self) -> bool {
        let Self {
            fmc,
            bootloader,
            tee,
            snp,
            microcode,
        } = *floor;
        let first = fmc.is_none_or(|floor| self.fmc.is_some_and(|fmc| fmc >= floor));
        first
            && self.bootloader >= bootloader
            && self.tee >= tee
            && self.snp >= snp
            && self.microcode >= microcode
    }
}

impl fmt::Display for Tcb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            fmc,
            bootloader,
            tee,
            snp,
            microcode,
        } = self;
        if let Some(fmc) = fmc {
            write!(f, "fmc {fmc}, ")?;
        }
        write!(
            f,
            "bootloader {bootloader}, tee {tee}, snp {snp}, microcode {microcode}"
        )
    }
}
