//! What is left out where only the tree is asked for.
//!
//! The entries of calls are then taken by their hashes. Framing, the tree, checkpoints and everything that
//! the gateway says of itself (openings, evidence, renewals, closes, the counter) are checked in full, so
//! that the root is the one that hardware vouches for. There is no verdict: what the calls say was not read.

use super::Checks;
use crate::codes::Code;
use crate::stream::Depth;

/// Checks of which calls are a part or the whole.
const OF_CALLS: &[Code] = &[
    Code::Disclosures,
    Code::CallerProofs,
    Code::Actions,
    Code::Approvals,
    Code::ApprovalRequired,
    Code::TenantSequences,
    Code::TenantHeads,
    Code::RunChains,
    Code::RunCloses,
    Code::Settlement,
    Code::SettledTwice,
    Code::IntentFirst,
    Code::InForce,
    Code::Leases,
    Code::Period,
    Code::WitnessedCalls,
];

impl Checks<'_> {
    /// Whether calls are read.
    pub(super) fn reads_calls(&self) -> bool {
        match self.options.depth {
            Depth::Full => true,
            Depth::TreeOnly => false,
        }
    }

    /// Says what was left out.
    pub(super) fn depth_end(&mut self) {
        if self.reads_calls() {
            return;
        }
        let text = format!(
            "{} entries of calls were taken by their hashes; with --tree-only nobody looked at their signatures",
            self.unread
        );
        self.ledger.unknown(Code::Signatures, None, text);
        for code in OF_CALLS {
            self.ledger
                .skipped(*code, None, "calls are not read with --tree-only");
        }
    }
}
