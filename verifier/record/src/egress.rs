//! Where a call went: the connections that its upstream used, or was refused, while it was carried out.
//!
//! In: what the gateway's guard judged. Out: the value of the field `egress`. Of a connection whose TLS ends
//! at the gateway the certificate is known; of one that only passes through it, destination and address.
//!
//! Spec: `docs/spec/record.md`, "Egress"; CDDL `egress-connections`.

use crate::cbor_map;

cbor_map! {
    /// A connection out, or one that was refused.
    pub struct EgressConnection {
        /// Host and port that were asked for.
        1 => destination: String,
        /// Address and port that were connected to.
        2 => address: Option<String>,
        /// SHA-256 of the certificate (DER) that was shown, where TLS ends at the gateway.
        3 => certificate: Option<[u8; 32]>,
        /// Why it was refused, in one word; absent if it was not.
        4 => refused: Option<String>,
    }
}

cbor_map! {
    /// All of them, in order, each once.
    pub struct EgressConnections {
        /// The connections.
        1 => connections: Vec<EgressConnection>,
        /// How many more there were.
        2 => left_out: u64,
    }
}
