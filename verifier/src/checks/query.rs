//! How many records answer a question, and whether that is all of them.
//!
//! In: decisions in order, with what is disclosed. Out: one observation at the end. A number is
//! provable if the export is complete and every record says what was asked for; a number of zero
//! is then one as any other, and otherwise none.

use super::{At, Checks};
use crate::codes::Code;
use crate::parallel::Opened;
use crate::query::{Answer, Query};
use crate::report::Asked;
use countersign_record::body::Decision;
use countersign_record::digest::CallId;
use std::collections::HashMap;

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Tallied {
    records: u64,
    matches: u64,
    withheld: u64,
    /// Of calls under way: whether the agent that the intent discloses is the one.
    agents: HashMap<CallId, bool>,
}

impl Checks<'_> {
    /// An intent: its agent is disclosed here, and not again with the outcome.
    pub(super) fn asked_intent(&mut self, call: CallId, opened: &Opened) {
        let agent = self.options.query.as_ref().and_then(Query::agent);
        if let Some(same) = agent.and_then(|agent| is_agent(agent, opened)) {
            self.tallied.agents.insert(call, same);
        }
    }

    /// A record.
    pub(super) fn asked_decision(&mut self, at: At, decision: &Decision, opened: &Opened) {
        let Some(query) = self.options.query.as_ref() else {
            return;
        };
        let sealed = self.tallied.agents.remove(&decision.call);
        if !self.counts_at(at.time) {
            return;
        }
        let agent = query
            .agent()
            .and_then(|agent| is_agent(agent, opened))
            .or(sealed);
        let counted = &mut self.tallied;
        counted.records = counted.records.saturating_add(1);
        let slot = match query.ask(decision, agent) {
            Answer::Yes => &mut counted.matches,
            Answer::Withheld => &mut counted.withheld,
            Answer::No => return,
        };
        *slot = slot.saturating_add(1);
    }

    /// What can be said at the end.
    pub(super) fn query_end(&mut self) -> Option<Asked> {
        let query = self.options.query.as_ref()?;
        let Tallied {
            records,
            matches,
            withheld,
            agents: _,
        } = self.tallied;
        let number = match matches {
            0 => "none".to_owned(),
            some => some.to_string(),
        };
        let found = format!("{number} of {records} records: {}", query.text);
        let missing = if records == 0 {
            Some("there is no record to ask".to_owned())
        } else if let Some(code) = self.incomplete() {
            Some(format!("not provable: {} did not pass", code.info().name))
        } else if withheld > 0 {
            Some(format!(
                "not provable: {withheld} records withhold the field"
            ))
        } else {
            None
        };
        let provable = missing.is_none();
        let answer = match missing {
            None => {
                self.ledger.held(Code::Query);
                self.ledger.note(Code::Query, found.clone());
                format!("{found}; provable, all headers are there")
            }
            Some(why) => {
                let text = format!("{found}; {why}");
                self.ledger.unknown(Code::Query, None, text.clone());
                text
            }
        };
        Some(Asked {
            query: query.text.clone(),
            records,
            matches,
            withheld,
            provable,
            answer,
        })
    }
}

/// Whether the disclosed agent is the one; nothing if none is disclosed.
fn is_agent(agent: &str, opened: &Opened) -> Option<bool> {
    let first = opened.agents.first()?;
    Some(first == agent.as_bytes())
}
