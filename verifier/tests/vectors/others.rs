//! What others know of the log: witnesses, witnessed calls, times, checkpoints from elsewhere.

use super::case::*;
use super::common::*;
use countersign_record::binding::Profile;
use countersign_record::body::{Decision, Effect, Mode, Verdict};
use countersign_record::entry::Body;
use countersign_record::note::{NoteKey, Role, UnixSeconds, cosigned};
use countersign_verify::ledger::State;

/// A witness, by the seed of its key.
fn witness(seed: u8) -> (Key, NoteKey) {
    let key = Key::new(seed);
    let name = format!("witness.test/w{seed}");
    let public = NoteKey::new(&name, Role::Witness, key.public()).unwrap();
    (key, public)
}

const A: u8 = 61;
const B: u8 = 62;
const STRANGER: u8 = 63;
const OWN: u8 = 64;
/// A second witness of the first one's organisation.
const A2: u8 = 65;

/// A checkpoint with another line under it.
fn with_line(note: &str, seed: u8, time: u64) -> String {
    let (key, public) = witness(seed);
    let text = note.split_once("\n\n").unwrap().0.to_owned() + "\n";
    let signature = key.sign(cosigned(UnixSeconds(time), &text).as_bytes());
    let line = public.cosignature_line(UnixSeconds(time), &signature);
    format!("{note}{line}")
}

/// Trust in witnesses of two organisations, and in the operator's own.
fn trusting(rule: &str) -> String {
    let pin = |seed: u8, organisation: &str, own: bool| {
        let key = witness(seed).1;
        format!("[[witnesses]]\nkey = \"{key}\"\norganisation = \"{organisation}\"\nown = {own}\n")
    };
    trust_and(&format!(
        "{}{}{}{}[log]\n{rule}",
        pin(A, "Alpha Audit", false),
        pin(A2, " Alpha Audit ", false),
        pin(B, "Beta Bank", false),
        pin(OWN, "Operator", true),
    ))
}

/// A log with one call, and a checkpoint over its intent right behind the intent.
struct Log {
    parts: Parts,
    /// Claimed time of the intent, in seconds.
    time: u64,
}

fn log_with(change: impl FnOnce(&mut Decision)) -> Log {
    let mut log = Mini::new(Profile::Tpm);
    log.open();
    log.enrol();
    let read = call(2, Mode::ReadOnly);
    let intent = log.intent(&read, vec![], None);
    let over_intent = log.checkpoint();
    let time = log.time / 1000;
    let mut decision = log.decision_body(&read, Verdict::Allow, Some(intent.clone()));
    decision.witnessed = true;
    change(&mut decision);
    log.push(Body::Decision(decision), Some(read.run), vec![]);
    log.renew();
    let mut parts = Parts::of(&log);
    parts.placed = vec![(intent.index as usize + 1, over_intent)];
    Log { parts, time }
}

fn witnessed() -> Log {
    log_with(|_| ())
}

impl Log {
    /// Puts a witness's line under the checkpoint over the intent.
    fn cosigned(self, seed: u8) -> Self {
        let time = self.time + 1;
        self.cosigned_at(seed, time)
    }
    fn cosigned_at(mut self, seed: u8, time: u64) -> Self {
        let note = &mut self.parts.placed[0].1;
        *note = with_line(note, seed, time);
        self
    }
    /// Puts a witness's line under the last checkpoint.
    fn ended(mut self, seed: u8) -> Self {
        let time = self.time + 60;
        let note = &mut self.parts.checkpoints[0];
        *note = with_line(note, seed, time);
        self
    }
    fn changed(mut self, change: impl FnOnce(&mut Parts)) -> Self {
        change(&mut self.parts);
        self
    }
    fn of(self, name: &'static str, sentence: &'static str) -> Case {
        case(name, sentence, self.parts.bytes()).trust("witnesses", trusting(""))
    }
    /// Under a trust file that demands so many organisations.
    fn demanding(self, least: u8, name: &'static str, sentence: &'static str) -> Case {
        let file = match least {
            1 => "one-witness",
            _ => "two-witnesses",
        };
        self.of(name, sentence)
            .trust(file, trusting(&format!("min_witnesses = {least}\n")))
    }
}

pub fn cases() -> Vec<Case> {
    let both = || witnessed().cosigned(A).cosigned(B).ended(A).ended(B);
    let unsaid = |d: &mut Decision| {
        d.witnessed = false;
        d.policy
            .as_mut()
            .unwrap()
            .obligations
            .push("witnessed".to_owned());
    };
    let other_history = {
        let mut other = Mini::new(Profile::Tpm);
        other.open();
        other.enrol();
        other.event();
        with_line(&other.checkpoint(), A, START / 1000)
    };
    let end = || witnessed().parts.checkpoints[0].clone();
    let shorter = || {
        let mut log = Mini::new(Profile::Tpm);
        log.open();
        log.enrol();
        let read = call(2, Mode::ReadOnly);
        let intent = log.intent(&read, vec![], None);
        let over_intent = log.checkpoint();
        let mut decision = log.decision_body(&read, Verdict::Allow, Some(intent));
        decision.witnessed = true;
        log.push(Body::Decision(decision), Some(read.run), vec![]);
        let time = log.time / 1000;
        let mut parts = Parts::of(&log);
        parts.placed = vec![(3, with_line(&over_intent, A, time))];
        parts.bytes()
    };
    let cosigned_inside = {
        let mut log = Mini::new(Profile::Tpm);
        log.open();
        log.enrol();
        log.event();
        let note = with_line(&log.checkpoint(), A, log.time / 1000 + 1);
        log.renew();
        log.event();
        let mut parts = Parts::of(&log);
        parts.checkpoints.insert(0, note);
        parts.bytes()
    };
    vec![
        case("accept-cosigned-inside", "A witness cosigned the log when it was shorter; what came since claims later times than its word.", cosigned_inside).trust("witnesses", trusting("")),
        both().demanding(2, "accept-witnessed", "Witnesses of two organisations saw the intent before the call left, and the end of the log.")
            .state("witnesses", State::Pass).state("witnessed-calls", State::Pass).state("cosignatures", State::Pass).state("outside-time", State::Pass),
        log_with(|d| d.witnessed = false).ended(STRANGER).of("accept-line-of-an-unknown-witness", "A witness cosigned that the trust file does not name.")
            .state("witnesses", State::NotChecked).state("cosignatures", State::NotChecked),
        witnessed().cosigned(A).ended(A).demanding(2, "witnesses-too-few", "Two organisations are demanded, and one has seen the log.").against("witnesses"),
        witnessed().cosigned(A).cosigned(A2).ended(A).ended(A2).demanding(2, "witnesses-of-one-organisation", "Two organisations are demanded; two witnesses of one organisation have seen the log.").against("witnesses"),
        witnessed().cosigned(OWN).ended(OWN).demanding(1, "witnesses-own", "The operator's own witness has seen the log, and nobody else.").against("witnesses"),
        log_with(|d| d.witnessed = false).demanding(1, "witnesses-none", "One organisation is demanded, and nobody has seen the log.").against("witnesses"),
        witnessed().cosigned(A).changed(|p| {
            let line = p.placed[0].1.lines().last().unwrap().to_owned();
            let note = p.checkpoints[0].clone();
            p.checkpoints[0] = format!("{note}{line}\n");
        }).of("cosignatures-of-another-checkpoint", "A witness's line was taken from under another checkpoint.").fails("cosignatures"),
        witnessed().cosigned(A).changed(|p| {
            let note = p.placed[0].1.clone();
            let forged = {
                let (_, key) = witness(B);
                let text = note.split_once("\n\n").unwrap().0.to_owned() + "\n";
                let signature = Key::new(STRANGER).sign(cosigned(UnixSeconds(START / 1000), &text).as_bytes());
                key.cosignature_line(UnixSeconds(START / 1000), &signature)
            };
            p.placed[0].1 = format!("{note}{forged}");
        }).of("cosignatures-by-another-key", "A line in a witness's name is signed by another key.").fails("cosignatures"),
        witnessed().ended(A).of("witnessed-calls-seen-too-late", "A call says that it was witnessed; a witness saw its intent only after the call had left.").against("witnessed-calls"),
        witnessed().changed(|p| {
            let mut short = Mini::new(Profile::Tpm);
            short.open();
            short.enrol();
            p.placed = vec![(2, with_line(&short.checkpoint(), A, START / 1000 + 2))];
        }).of("witnessed-calls-before-the-intent", "A call says that it was witnessed; what a witness saw ends before its intent.").against("witnessed-calls"),
        log_with(unsaid).ended(A).of("witnessed-calls-unsaid", "A call had to be witnessed, was carried out, and does not say that it was.").against("witnessed-calls"),
        case("witnessed-calls-without-intent", "A call says that it was witnessed, and has no intent that anybody could have seen.", signed(|log| refused(log, |d| {
            d.witnessed = true;
            d.effect = Effect::None;
        }))).trust("witnesses", trusting("")).against("witnessed-calls"),
        { let log = witnessed(); let at = log.time - 62; log.cosigned_at(A, at) }.of("outside-time-before-the-entry", "An entry claims a time two minutes after a witness had seen it.").against("outside-time"),
        { let log = witnessed(); let at = log.time - 60; log.cosigned_at(A, at) }.of("accept-clocks-a-minute-apart", "A witness's clock is a minute behind the gateway's."),
        witnessed().demanding(1, "accept-checkpoint-from-a-witness", "The auditor brings a checkpoint from a witness, which the export contains.")
            .given(vec![with_line(&witnessed().parts.placed[0].1, B, START / 1000 + 3)]).state("witnesses", State::Pass),
        case("leaves-cut-before-a-checkpoint-from-elsewhere", "The export ends before a checkpoint that the auditor kept.", shorter()).trust("witnesses", trusting("")).given(vec![end()]).fails("leaves"),
        witnessed().cosigned(A).of("root-two-histories", "The auditor has a checkpoint of this gateway over another history.").given(vec![other_history]).fails("root"),
        witnessed().cosigned(A).of("cosignatures-foreign-checkpoint", "What the auditor brings as a checkpoint is of another log.").given(vec![end().replace("countersign/", "elsewhere/")]).cannot("cosignatures"),
        witnessed().cosigned(A).of("cosignatures-checkpoint-by-nobody", "What the auditor brings as a checkpoint lacks the identity key's line.").given(vec![end().replacen("\u{2014} countersign/", "\u{2014} nobody/", 1)]).cannot("cosignatures"),
        witnessed().cosigned(A).of("cosignatures-no-checkpoint", "What the auditor brings as a checkpoint is none.").given(vec!["no checkpoint".to_owned()]).cannot("cosignatures"),
    ]
}
