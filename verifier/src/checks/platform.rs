//! What the processor's evidence means to this auditor: parties, rules, today, and what was launched.
//!
//! In: facts that hold. Out: what the trust file and the reference values make of them. Nothing here can
//! make evidence hold that did not.

use super::{At, Checks, that};
use crate::codes::Code;
use crate::hardware::{Facts, Judged, PlatformFacts};

impl Checks<'_> {
    /// An opening's evidence, as far as a processor is in it.
    pub(super) fn platform(&mut self, at: At, facts: &Facts) {
        match &facts.platform {
            Some(platform) => {
                self.parties_accepted(at, platform);
                self.judged(at, platform);
                self.launched(at, platform);
            }
            // A TPM alone has no processor's report: its class says on whom it rests.
            None => {
                for code in [Code::Parties, Code::PlatformRules, Code::Launch] {
                    self.ledger.held(code);
                }
            }
        }
    }

    fn parties_accepted(&mut self, at: At, platform: &PlatformFacts) {
        let index = Some(at.index);
        for party in &platform.parties {
            super::who::push_new(&mut self.subject.rests_on, party.to_string());
        }
        let Some(accepted) = &self.trust.parties else {
            let text = "your trust file does not say on whom evidence of processors may rest";
            return self.ledger.skipped(Code::Parties, index, text);
        };
        for party in &platform.parties {
            let text =
                || format!("the evidence rests on {party}, which your trust file does not name");
            let known = that(accepted.contains(party), text);
            self.ledger.observe(Code::Parties, index, known);
        }
    }

    fn judged(&mut self, at: At, platform: &PlatformFacts) {
        let index = Some(at.index);
        match &platform.then {
            Judged::Accepted => self.ledger.held(Code::PlatformRules),
            Judged::NotAsked(why) => self.ledger.skipped(Code::PlatformRules, index, *why),
            Judged::Refused(texts) => {
                for text in texts {
                    self.ledger.fail(Code::PlatformRules, index, text.clone());
                }
            }
        }
        // What became known later, and what has expired since, takes nothing back. It is said.
        if let Judged::Refused(texts) = &platform.today {
            let text = format!(
                "what the platform showed was judged as of its time; today it would not be: {}",
                texts.join("; ")
            );
            self.ledger.note(Code::PlatformRules, text);
        }
    }

    fn launched(&mut self, at: At, platform: &PlatformFacts) {
        let index = Some(at.index);
        match &self.reference.launch {
            None => {
                let text = "no reference value for what was launched was given";
                self.ledger.skipped(Code::Launch, index, text);
            }
            Some(known) => {
                let text = || {
                    let found = hex::encode(platform.launch);
                    format!("launch measurement {found} is none that you know")
                };
                let known = that(known.contains(&platform.launch), text);
                self.ledger.observe(Code::Launch, index, known);
            }
        }
        let Some(found) = platform.rtmrs else {
            return;
        };
        for (register, value) in (0_u8..).zip(found) {
            let known = self.reference.rtmrs.as_ref().and_then(|r| r.get(&register));
            match known {
                Some(known) => {
                    let text = || {
                        let found = hex::encode(value);
                        format!("register RTMR{register} is {found}, which is none that you know")
                    };
                    let known = that(known.contains(&value), text);
                    self.ledger.observe(Code::Launch, index, known);
                }
                // Without a TPM these registers alone say what was booted; the last is the guest's own.
                None if platform.registers_tell && register < 3 => {
                    let text = format!("no reference value for register RTMR{register} was given");
                    self.ledger.unknown(Code::Launch, index, text);
                }
                None => {}
            }
        }
    }
}
