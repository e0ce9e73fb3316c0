//! What the processor's evidence means to this auditor: parties, rules, today, and what was launched.
//!
//! In: facts that hold. Out: what the trust file and the reference values make of them. Nothing here can
//! make evidence hold that did not.

use super::{At, Checks, that};
use crate::codes::Code;
use crate::hardware::{Facts, Judged, PlatformFacts};
use crate::today::Newer;

/// Beyond so much nothing is added to what is said beside a check.
const MAX_NOTE_BYTES: usize = 4096;

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
            // No result, not "not made": another epoch that has no processor's report must not stand in for this one.
            let text = "your trust file does not say on whom evidence of processors may rest";
            return self.ledger.unknown(Code::Parties, index, text);
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
            Judged::NotAsked(why) => self.ledger.unknown(Code::PlatformRules, index, *why),
            Judged::Refused(texts) => {
                for text in texts {
                    self.ledger.fail(Code::PlatformRules, index, text.clone());
                }
            }
        }
        self.said_of_today(at, platform);
        for remark in &platform.remarks {
            self.say(format!("entry {}: {}", at.index, remark.text()));
        }
    }

    /// What became known later, and what has expired since, takes nothing back. It is said.
    fn said_of_today(&mut self, at: At, platform: &PlatformFacts) {
        let by = match platform.newer {
            Newer::Used => "by what you gave of today's lists and collateral",
            Newer::NotGiven => "by the lists and collateral that came with it",
            Newer::Elsewhere => {
                "by the lists and collateral that came with it, for nothing that you gave of today's is about this platform"
            }
        };
        let index = at.index;
        match &platform.today {
            Judged::Refused(texts) => {
                let why = texts.join("; ");
                self.say(format!(
                    "entry {index}: judged as of the time that it claims; today, {by}, it would not be accepted: {why}"
                ));
            }
            Judged::Accepted | Judged::NotAsked(_) if platform.newer != Newer::NotGiven => {
                self.say(format!(
                    "entry {index}: judged as of the time that it claims; today, {by}, nothing speaks against it that did not then"
                ));
            }
            Judged::Accepted | Judged::NotAsked(_) => {}
        }
    }

    /// Beside what was said of other epochs; of very many the first.
    fn say(&mut self, text: String) {
        let before = self.ledger.tally(Code::PlatformRules).note;
        let together = match before {
            Some(before) if before.len() > MAX_NOTE_BYTES => before,
            Some(before) => format!("{before}; {text}"),
            None => text,
        };
        self.ledger.note(Code::PlatformRules, together);
    }

    fn launched(&mut self, at: At, platform: &PlatformFacts) {
        let index = Some(at.index);
        let known = self.reference.launch.as_ref();
        match known.and_then(|values| values.of(platform.profile)) {
            None if platform.endorsed => {
                self.ledger.held(Code::Launch);
                let text = format!(
                    "entry {}: no reference value was given for what was launched; the provider's statement that it is its firmware stands for one, as your trust file says",
                    at.index
                );
                self.say(text);
            }
            None => {
                let profile = platform.profile;
                let text = format!("no reference value for what {profile} launches was given");
                self.ledger.unknown(Code::Launch, index, text);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Options;
    use crate::trust::Trust;
    use countersign_record::digest::UnixMillis;

    #[test]
    fn beyond_4096_bytes_nothing_is_added_to_what_is_said() {
        let trust = Trust::parse(b"version = 1").unwrap();
        let options = Options::default();
        for (length, added) in [(4095, true), (4096, true), (4097, false), (4098, false)] {
            let mut checks = Checks::new(&trust, &options, UnixMillis(0));
            let first = "x".repeat(length);
            checks.say(first.clone());
            checks.say("more".to_owned());
            let note = checks.ledger.tally(Code::PlatformRules).note.unwrap();
            let together = format!("{first}; more");
            assert_eq!(note, if added { together } else { first }, "{length}");
        }
    }
}
