//! AMD's issuers and roots, for whoever has a report and the certificate of its key alone. They are verified like any other:
//! nothing is trusted for standing here.

/// Certificates of issuers (ASK, ASVK) and roots (ARK) of all products, in DER. Sources and dates: `measurements/roots/amd`.
pub const VENDOR_CERTIFICATES: [&[u8]; 9] = [
    include_bytes!("../../vectors/snp/roots/milan-ark.der"),
    include_bytes!("../../vectors/snp/roots/milan-ask.der"),
    include_bytes!("../../vectors/snp/roots/milan-asvk.der"),
    include_bytes!("../../vectors/snp/roots/genoa-ark.der"),
    include_bytes!("../../vectors/snp/roots/genoa-ask.der"),
    include_bytes!("../../vectors/snp/roots/genoa-asvk.der"),
    include_bytes!("../../vectors/snp/roots/turin-ark.der"),
    include_bytes!("../../vectors/snp/roots/turin-ask.der"),
    include_bytes!("../../vectors/snp/roots/turin-asvk.der"),
];
