//! What a gateway says of the connection that a client has to it, so that the client knows who is at its other end.
//!
//! In: the connection's name, which both ends compute, and the client's challenge. Out: a statement that the epoch
//! key signs. The epoch key is the one that evidence vouches for; so a client that appraised the evidence and finds
//! the name of its own connection in the statement talks to that gateway, and to nobody in between.
//!
//! Spec: `docs/spec/record.md`, "Connections"; CDDL `channel-statement`.

use crate::cbor_map;
use crate::digest::{ChannelBinding, EntryDigest, GatewayId, Nonce, UnixMillis};

/// Type of a signed [`ChannelStatement`].
pub const CHANNEL_TYP: &str = "application/countersign.channel+cose";

/// Label under which a TLS connection's secret gives its name; the context is empty, the length 32 bytes.
///
/// Source: RFC 9266, section 4.2.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

cbor_map! {
    /// The gateway's word that a connection ends in it.
    pub struct ChannelStatement {
        /// Which gateway.
        1 => gateway: GatewayId,
        /// Base of the epoch whose key signs the statement.
        2 => base: EntryDigest,
        /// The client's challenge.
        3 => nonce: Nonce,
        /// The connection that the challenge came by.
        4 => channel: ChannelBinding,
        /// Claimed time.
        5 => at: UnixMillis,
    }
}
