//! The log: places, epochs, counters, renewals, checkpoints, disclosures, receipts.

use super::case::*;
use super::common::*;
use countersign_evidence::tpm::{
    COUNTER_ATTRIBUTES, COUNTER_INDEX, RELEASE_KEY_ATTRIBUTES, ReleaseKey, policy_authorize_digest,
};
use countersign_record::binding::LogHead;
use countersign_record::body::*;
use countersign_record::cbor::{Bytes, Cbor as _};
use countersign_record::checkpoint::{note_text, signature_line};
use countersign_record::commitment::Field;
use countersign_record::digest::*;
use countersign_record::entry::{Body, EntryRef};
use countersign_record::export::Scope;
use countersign_record::merkle::Frontier;
use countersign_record::merkle::Head;
use countersign_record::statement::*;
use countersign_verify::ledger::State;

pub fn cases() -> Vec<Case> {
    [
        places(),
        scopes(),
        checkpoints(),
        disclosures(),
        epochs(),
        counters(),
        renewals(),
        ends(),
        gaps(),
        receipts(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn denied(log: &mut Mini, number: u8) {
    log.decide(&call(number, Mode::Network), Verdict::Deny, None);
}

fn places() -> Vec<Case> {
    // The last entry of the story, with its place changed and truly signed.
    let placed = |edit: fn(&mut countersign_record::entry::Place)| {
        signed(|log| {
            denied(log, 1);
            log.edits.place = Some(edit);
            denied(log, 2);
        })
    };
    vec![
        case(
            "leaves-entry-dropped",
            "An entry in the middle was taken out.",
            changed(|p| {
                p.leaves.remove(2);
                p.manifest.end -= 1;
            }),
        )
        .fails("leaves"),
        case(
            "leaves-two-entries-dropped",
            "Two entries in the middle were taken out.",
            changed(|p| {
                p.leaves.drain(2..4);
                p.manifest.end -= 2;
            }),
        )
        .fails("leaves"),
        case(
            "leaves-entry-doubled",
            "An entry stands there twice.",
            changed(|p| {
                p.leaves.insert(4, p.leaves[3].clone());
                p.manifest.end += 1;
            }),
        )
        .fails("leaves"),
        case(
            "leaves-entries-swapped",
            "Two entries changed places.",
            changed(|p| p.leaves.swap(2, 3)),
        )
        .fails("leaves"),
        case(
            "leaves-index-skipped",
            "The gateway itself left out an index.",
            placed(|p| p.index += 1),
        )
        .fails("leaves"),
        case(
            "leaves-index-again",
            "The gateway itself gave an index twice.",
            placed(|p| p.index -= 1),
        )
        .fails("leaves"),
        case(
            "leaves-tail-cut",
            "The last entry was taken out, the checkpoint still covers it.",
            changed(|p| {
                p.leaves.pop();
                p.manifest.end -= 1;
            }),
        )
        .fails("leaves"),
        case(
            "leaves-other-end",
            "The manifest says that one entry more is there.",
            changed(|p| p.manifest.end += 1),
        )
        .fails("leaves"),
        case(
            "accept-tail-cut-with-its-checkpoint",
            "The last entry was taken out together with the checkpoint over it; nobody can see that without a receipt.",
            {
                let mut log = story();
                log.leaves.pop();
                log.export()
            },
        ),
        case(
            "base-reference-other-epoch",
            "An entry names another epoch than the one it stands in.",
            placed(|p| p.base = Some(EntryDigest([5; 32]))),
        )
        .fails("base-reference"),
        case(
            "base-reference-none",
            "An entry names no epoch.",
            placed(|p| p.base = None),
        )
        .fails("base-reference"),
        case(
            "base-reference-older-key",
            "An entry is signed by the key of the epoch before.",
            {
                let mut log = log(|log| {
                    log.close();
                    log.open();
                });
                log.event();
                let leaf = log.leaves.pop().unwrap();
                append(&mut log, sign(&leaf.payload, &epoch_key(1)));
                log.export()
            },
        )
        .fails("base-reference"),
        case(
            "base-reference-after-the-close",
            "An entry stands after the close of its epoch.",
            signed(|log| {
                log.close();
                log.event();
                log.open();
            }),
        )
        .fails("base-reference"),
        case(
            "base-reference-before-any-epoch",
            "An entry stands before the first opening.",
            {
                let mut log = Mini::new(countersign_record::binding::Profile::Tpm);
                log.epoch = 1;
                log.event();
                log.epoch = 0;
                log.open();
                log.enrol();
                log.renew();
                log.export()
            },
        )
        .fails("signatures")
        .state("base-reference", State::Fail),
        case(
            "tenant-sequences-number-skipped",
            "A tenant's entries skip a number.",
            placed(|p| p.tenant.as_mut().unwrap().seq += 1),
        )
        .fails("tenant-sequences"),
        case(
            "tenant-sequences-number-again",
            "A tenant's entries have a number twice.",
            placed(|p| p.tenant.as_mut().unwrap().seq -= 1),
        )
        .fails("tenant-sequences"),
        case(
            "tenant-sequences-not-from-0",
            "A tenant's entries do not begin with number 0.",
            signed(|log| {
                log.edits.place = Some(|p| p.tenant.as_mut().unwrap().seq = 1);
                denied(log, 1);
            }),
        )
        .fails("tenant-sequences"),
        case(
            "tenant-heads-other-root",
            "A renewal covers other last numbers of tenants.",
            renewed(|s| s.tenants = NodeHash([5; 32])),
        )
        .fails("tenant-heads"),
        case(
            "tenant-heads-other-count",
            "A renewal covers another number of tenants.",
            renewed(|s| s.tenant_count += 1),
        )
        .fails("tenant-heads"),
        case(
            "run-chains-number-skipped",
            "A run's entries skip a number.",
            placed(|p| p.run.as_mut().unwrap().seq += 1),
        )
        .fails("run-chains"),
        case(
            "run-chains-other-previous",
            "An entry of a run follows another entry than the one before.",
            placed(|p| p.run.as_mut().unwrap().previous = Some(EntryDigest([5; 32]))),
        )
        .fails("run-chains"),
        case(
            "run-chains-no-previous",
            "An entry of a run names no entry before it.",
            placed(|p| p.run.as_mut().unwrap().previous = None),
        )
        .fails("run-chains"),
        case(
            "run-chains-first-with-previous",
            "The first entry of a run names one before it.",
            signed(|log| {
                log.edits.place =
                    Some(|p| p.run.as_mut().unwrap().previous = Some(EntryDigest([5; 32])));
                denied(log, 1);
            }),
        )
        .fails("run-chains"),
        case(
            "run-chains-after-its-close",
            "A run goes on after its close.",
            signed(|log| {
                denied(log, 1);
                log.close_run(RUN);
                denied(log, 2);
            }),
        )
        .fails("run-chains"),
        case(
            "run-closes-other-count",
            "The close of a run counts an entry more.",
            closed_run(|c| c.count += 1),
        )
        .fails("run-closes"),
        case(
            "run-closes-other-head",
            "The close of a run names another last entry.",
            closed_run(|c| c.head = EntryDigest([5; 32])),
        )
        .fails("run-closes"),
        case(
            "run-closes-other-first",
            "The close of a run names another first entry.",
            closed_run(|c| c.first += 1),
        )
        .fails("run-closes"),
        case(
            "run-closes-other-run",
            "The close names another run than the one it stands in.",
            closed_run(|c| c.run = RunId([2; 16])),
        )
        .fails("run-closes"),
        case(
            "run-closes-of-nothing",
            "A run is closed of which no entry is there.",
            signed(|log| {
                let body = RunClosed {
                    run: RUN,
                    head: EntryDigest([5; 32]),
                    count: 0,
                    first: 2,
                    last: 2,
                };
                log.push(Body::Run(body), Some(RUN), vec![]);
            }),
        )
        .fails("run-closes"),
        case(
            "run-closes-of-nothing-after-something",
            "The first entry of a run is its close, and names an entry before it.",
            signed(|log| {
                let body = RunClosed {
                    run: RUN,
                    head: EntryDigest([5; 32]),
                    count: 0,
                    first: 2,
                    last: 2,
                };
                log.edits.place =
                    Some(|p| p.run.as_mut().unwrap().previous = Some(EntryDigest([5; 32])));
                log.push(Body::Run(body), Some(RUN), vec![]);
            }),
        )
        .fails("run-chains")
        .state("run-closes", State::Fail),
        case(
            "accept-closed-run",
            "A run of two calls is closed.",
            signed(|log| {
                denied(log, 1);
                denied(log, 2);
                log.close_run(RUN);
            }),
        ),
    ]
}

fn closed_run(edit: fn(&mut RunClosed)) -> Vec<u8> {
    signed(|log| {
        denied(log, 1);
        denied(log, 2);
        let index = log.leaves.len();
        let mut body = RunClosed {
            run: RUN,
            head: reference(log, index - 1).digest,
            count: 2,
            first: index as u64 - 2,
            last: index as u64 - 1,
        };
        edit(&mut body);
        log.push(Body::Run(body), Some(RUN), vec![]);
    })
}

fn scopes() -> Vec<Case> {
    let scoped = |scope: Scope, withheld: &[usize]| {
        let mut log = story();
        log.scope = scope;
        let mut parts = Parts::of(&log);
        parts.withheld = withheld.to_vec();
        parts.bytes()
    };
    vec![
        case(
            "scope-whole-with-withheld",
            "An export that is said to be whole withholds an entry.",
            scoped(Scope::Whole, &[5]),
        )
        .fails("scope"),
        case(
            "scope-own-entry-withheld",
            "An export of one tenant withholds one of the tenant's own entries.",
            scoped(Scope::Tenant, &[2]),
        )
        .fails("run-chains")
        .state("tenant-sequences", State::Fail),
        case(
            "scope-starts-late",
            "The export begins after the opening; what is before is not known.",
            {
                let mut parts = Parts::of(&story());
                parts.manifest.first = 1;
                parts.leaves.remove(0);
                parts.bytes()
            },
        )
        .fails("signatures")
        .state("scope", State::CannotTell),
        case(
            "leaves-withheld-leaf-of-another-hash",
            "A withheld leaf has another hash than the entry it stands for.",
            {
                let mut log = story();
                log.scope = Scope::Tenant;
                let mut parts = Parts::of(&log);
                parts.withheld = vec![5];
                let mut items = items(&parts.bytes());
                let leaf = items.iter_mut().find(|i| i.0 == 3).unwrap();
                leaf.1[0] ^= 1;
                let export = file(&items);
                // The trailer is of the file as it is.
                retrailed(&export)
            },
        )
        .fails("renewals")
        .state("root", State::Fail),
    ]
}

/// The file with the digest in its trailer made true again.
pub fn retrailed(export: &[u8]) -> Vec<u8> {
    let mut all = items(export);
    let last = all.pop().unwrap();
    let before = file(&all);
    all.push(last);
    trailer_with(&mut all, |trailer| trailer.digest = sha256(&before));
    file(&all)
}

fn checkpoints() -> Vec<Case> {
    let noted =
        |change: fn(&str) -> String| changed(|p| p.checkpoints[0] = change(&p.checkpoints[0]));
    let over = |build: &dyn Fn(&Mini) -> Vec<String>| {
        let log = story();
        let mut parts = Parts::of(&log);
        parts.checkpoints = build(&log);
        parts.bytes()
    };
    // The head of the first leaves.
    fn first(log: &Mini, size: usize) -> Head {
        let mut frontier = Frontier::new();
        log.leaves[..size].iter().for_each(|l| {
            frontier.append(
                countersign_record::merkle::leaf_hash(&l.bytes),
                |_, _, _| (),
            )
        });
        Head {
            size: frontier.size(),
            root: frontier.root(),
        }
    }
    let good = |head: Head| note(head, &identity(), &epoch_key(1));
    vec![
        case(
            "root-no-checkpoint",
            "The export has no checkpoint.",
            over(&|_| vec![]),
        )
        .lacks("root"),
        case(
            "root-of-another-log",
            "The gateway's own checkpoint has another root: two histories.",
            over(&|log| {
                vec![good(Head {
                    root: NodeHash([5; 32]),
                    ..head(log)
                })]
            }),
        )
        .fails("root"),
        case(
            "root-covers-less",
            "The only checkpoint covers the log up to the renewal.",
            over(&|log| vec![good(first(log, 6))]),
        )
        .fails("root"),
        case(
            "accept-checkpoint-inside",
            "Beside the checkpoint over all there is one over the log up to the renewal.",
            over(&|log| vec![good(first(log, 6)), log.checkpoint()]),
        ),
        case(
            "accept-checkpoint-at-no-renewal",
            "Beside the checkpoint over all there is one over a size that nothing refers to; it is not compared.",
            over(&|log| {
                vec![
                    good(Head {
                        size: 4,
                        root: NodeHash([5; 32]),
                    }),
                    log.checkpoint(),
                ]
            }),
        ),
        case(
            "root-other-inside",
            "Beside the checkpoint over all there is one with another root at the renewal.",
            over(&|log| {
                vec![
                    good(Head {
                        root: NodeHash([5; 32]),
                        ..first(log, 6)
                    }),
                    log.checkpoint(),
                ]
            }),
        )
        .fails("root"),
        case(
            "leaves-checkpoint-covers-more",
            "The checkpoint covers an entry more than there is.",
            over(&|log| {
                vec![
                    log.checkpoint(),
                    good(Head {
                        size: 9,
                        root: NodeHash([5; 32]),
                    }),
                ]
            }),
        )
        .fails("leaves"),
        case(
            "accept-lines-of-others",
            "The checkpoint has a line of a witness that nobody asked for.",
            over(&|log| {
                let text = note_text(&gateway(), &head(log));
                let witness = Key::new(88);
                vec![format!(
                    "{}{}",
                    log.checkpoint(),
                    signature_line(
                        "witness.example/w1",
                        &witness.public(),
                        &witness.sign(text.as_bytes())
                    )
                )]
            }),
        ),
        case(
            "checkpoint-signatures-no-epoch-line",
            "The checkpoint has no line of the epoch key.",
            noted(|c| {
                let (text, lines) = c.split_once("\n\n").unwrap();
                format!("{text}\n\n{}\n", lines.lines().next().unwrap())
            }),
        )
        .fails("checkpoint-signatures"),
        case(
            "checkpoint-signatures-no-identity-line",
            "The checkpoint has no line of the identity key.",
            noted(|c| {
                let (text, lines) = c.split_once("\n\n").unwrap();
                format!("{text}\n\n{}\n", lines.lines().nth(1).unwrap())
            }),
        )
        .fails("checkpoint-signatures"),
        case(
            "checkpoint-signatures-by-another-key",
            "The checkpoint is signed by another key under the gateway's name.",
            over(&|log| vec![note(head(log), &Key::new(77), &epoch_key(1))]),
        )
        .fails("checkpoint-signatures"),
        case(
            "checkpoint-signatures-of-an-unopened-epoch",
            "The checkpoint is signed by a key of no epoch.",
            over(&|log| vec![note(head(log), &identity(), &epoch_key(5))]),
        )
        .fails("checkpoint-signatures"),
        case(
            "checkpoint-signatures-over-other-text",
            "The signatures were made over another size.",
            over(&|log| {
                let right = log.checkpoint();
                let (text, _) = right.split_once("\n\n").unwrap();
                let other = good(Head {
                    size: 7,
                    ..head(log)
                });
                let (_, lines) = other.split_once("\n\n").unwrap();
                vec![format!("{text}\n\n{lines}")]
            }),
        )
        .fails("checkpoint-signatures"),
        case(
            "checkpoint-signatures-of-another-log",
            "The checkpoint names another log.",
            noted(|c| c.replacen("countersign/", "countersign/00", 1)),
        )
        .fails("checkpoint-signatures"),
        case(
            "checkpoint-signatures-leading-zero",
            "The size has a leading zero.",
            noted(|c| c.replacen("\n8\n", "\n08\n", 1)),
        )
        .fails("checkpoint-signatures"),
        case(
            "checkpoint-signatures-no-padding",
            "The root's base64 lacks its padding.",
            noted(|c| c.replacen("=\n", "\n", 1)),
        )
        .fails("checkpoint-signatures"),
        case(
            "checkpoint-signatures-carriage-returns",
            "Lines end as on another system.",
            noted(|c| c.replace('\n', "\r\n")),
        )
        .fails("checkpoint-signatures"),
        case(
            "checkpoint-signatures-extension-line",
            "The checkpoint has a fourth line.",
            noted(|c| c.replacen("\n\n", "\nmore\n\n", 1)),
        )
        .fails("checkpoint-signatures"),
        case(
            "checkpoint-signatures-no-last-line-feed",
            "The last line has no line feed.",
            noted(|c| c.trim_end().to_owned()),
        )
        .fails("checkpoint-signatures"),
    ]
}

fn disclosures() -> Vec<Case> {
    let opened = |change: fn(&mut Vec<countersign_record::commitment::Disclosure>)| {
        changed(|p| change(&mut p.leaves[4].1))
    };
    vec![
        case(
            "accept-nothing-disclosed",
            "Nothing is disclosed.",
            changed(|p| p.leaves.iter_mut().for_each(|l| l.1.clear())),
        )
        .state("disclosures", State::NotChecked),
        case(
            "disclosures-other-value",
            "A disclosed value is another.",
            opened(|d| d[0].value = Bytes(b"2 rows".to_vec())),
        )
        .fails("disclosures"),
        case(
            "disclosures-other-salt",
            "A disclosed salt is another.",
            opened(|d| d[0].salt = Salt([8; 16])),
        )
        .fails("disclosures"),
        case(
            "disclosures-other-field",
            "A value is disclosed as another field's.",
            opened(|d| d[0].field = Field::Transcript),
        )
        .fails("disclosures"),
        case(
            "disclosures-of-an-uncommitted-field",
            "A value is disclosed that the entry never committed to.",
            opened(|d| d.push(salted(Field::User, b"anna").1)),
        )
        .fails("disclosures"),
        case(
            "accept-disclosed-twice",
            "A value is disclosed twice.",
            opened(|d| d.push(d[0].clone())),
        ),
        case(
            "disclosures-malformed",
            "The item of disclosures is no array.",
            retrailed(&refiled(|i| {
                let at = i.iter().position(|x| x.0 == 4).unwrap();
                i[at].1 = vec![0xa0];
            })),
        )
        .fails("disclosures"),
        case(
            "disclosures-two-agents",
            "The agent that asked and the agent of the action are not the same.",
            signed(|log| {
                let read = call(1, Mode::ReadOnly);
                let (other, disclosure) = salted(Field::Agent, b"agent:acme/other@1");
                let (mut intent, mut disclosures) = intent_body(log, &read, vec![], None);
                intent.caller.agent = other;
                disclosures.push(disclosure);
                disclosures.push(salted(Field::Agent, b"agent:acme/support@1").1);
                disclosures.remove(0);
                let entry = log.push(Body::Intent(intent), Some(read.run), disclosures);
                log.decide(&read, Verdict::Allow, Some(entry));
            }),
        )
        .fails("disclosures"),
        case(
            "disclosures-malformed-proof",
            "A disclosed caller's proof is none.",
            signed(|log| {
                let read = Call {
                    signed: true,
                    ..call(1, Mode::ReadOnly)
                };
                let mut body = log.decision_body(&read, Verdict::Deny, None);
                let (proof, disclosure) = salted(Field::CallerProof, b"no proof");
                body.caller.proof = Some(proof);
                log.push(Body::Decision(body), Some(read.run), vec![disclosure]);
            }),
        )
        .fails("disclosures"),
    ]
}

fn epochs() -> Vec<Case> {
    let second = |edit: fn(&mut Base)| {
        signed(|log| {
            log.close();
            log.edits.base = Some(edit);
            log.open();
        })
    };
    let over = |change: fn(&mut countersign_record::binding::Binding)| {
        signed(|log| {
            log.close();
            let mut binding = log.binding();
            change(&mut binding);
            log.open_with(binding);
        })
    };
    vec![
        case(
            "accept-two-epochs",
            "A second epoch goes on where the first was closed.",
            signed(|log| {
                log.close();
                log.open();
            }),
        ),
        case(
            "epochs-number-skipped",
            "The second epoch calls itself the third.",
            second(|b| b.epoch = 3),
        )
        .fails("epochs"),
        case(
            "epochs-first-is-second",
            "The first epoch calls itself the second.",
            bare(|log| {
                log.edits.base = Some(|b| b.epoch = 2);
                log.open();
                log.enrol();
                log.renew();
            }),
        )
        .fails("epochs"),
        case(
            "epochs-other-previous",
            "An epoch follows another entry than the one before it.",
            second(|b| b.previous = Some(EntryDigest([5; 32]))),
        )
        .fails("epochs"),
        case(
            "epochs-no-previous",
            "A second epoch names no entry before it.",
            second(|b| b.previous = None),
        )
        .fails("epochs"),
        case(
            "epochs-over-another-size",
            "An epoch was opened over a log of another size.",
            over(|b| b.previous.size -= 1),
        )
        .fails("epochs"),
        case(
            "epochs-over-another-root",
            "An epoch was opened over another log of the same size.",
            over(|b| b.previous.root = NodeHash([5; 32])),
        )
        .fails("epochs"),
        case(
            "epochs-dropped",
            "A whole epoch was taken out, and the log was signed as if it had never been.",
            {
                let log = log(|log| {
                    log.close();
                    log.open();
                    log.event();
                    log.close();
                    log.open();
                });
                let mut parts = Parts::of(&log);
                // The second epoch: base, event, close.
                parts.leaves.drain(3..6);
                parts.manifest.end -= 3;
                parts.bytes()
            },
        )
        .fails("leaves")
        .state("epochs", State::Fail),
    ]
}

fn counters() -> Vec<Case> {
    vec![
        case("counter-jump-within-an-epoch", "The counter moved by three between two renewals: a renewal was dropped, or a copy ran.", signed(|log| {
            log.renew();
            log.device.counter += 2;
        })).fails("counter"),
        case("counter-jump-between-epochs", "The counter moved between two epochs and nothing explains it.", signed(|log| {
            log.close();
            log.device.counter += 3;
            log.open();
        })).fails("counter"),
        case("counter-stands-still", "A renewal did not move the counter.", signed(|log| {
            log.renew();
            log.device.counter -= 1;
        })).fails("counter"),
        case("counter-claim-of-a-renewal", "A renewal claims another value than the chip certified.", renewed(|s| s.counter += 1)).fails("counter"),
        case("counter-claim-of-an-opening", "An opening claims another value than the chip certified.", bare(|log| {
            let mut binding = log.binding();
            binding.counter += 1;
            log.edits.base = Some(|b| b.explained += 1);
            log.open_with(binding);
            log.enrol();
        })).fails("counter"),
        case("counter-explains-more-than-the-log", "An opening claims that the log explains more than it does.", signed(|log| {
            log.close();
            log.device.counter += 3;
            log.edits.base = Some(|b| b.explained += 3);
            log.open();
        })).fails("counter"),
        case("counter-below-what-is-explained", "The counter stands below what the log explains.", signed(|log| {
            log.close();
            log.edits.base = Some(|b| b.abandoned.push(AbandonedOpening { counter: b.explained, epoch_key: KeyId([1; 32]) }));
            log.open();
        })).fails("counter"),
        case("accept-abandoned-opening", "An opening that came to nothing explains a step of the counter.", signed(|log| {
            log.close();
            log.device.counter += 1;
            log.edits.base = Some(|b| b.abandoned.push(AbandonedOpening { counter: b.explained + 1, epoch_key: KeyId([1; 32]) }));
            log.open();
        })),
        case("counter-abandoned-out-of-order", "Openings that came to nothing are named in the wrong order.", signed(|log| {
            log.close();
            log.device.counter += 2;
            log.edits.base = Some(|b| {
                for step in [2, 1] {
                    b.abandoned.push(AbandonedOpening { counter: b.explained + step, epoch_key: KeyId([1; 32]) });
                }
            });
            log.open();
        })).fails("counter"),
        case("counter-abandoned-one-step-twice", "Two openings that came to nothing are said to have made the same step.", signed(|log| {
            log.close();
            log.device.counter += 2;
            log.edits.base = Some(|b| {
                for _ in 0..2 {
                    b.abandoned.push(AbandonedOpening { counter: b.explained + 1, epoch_key: KeyId([1; 32]) });
                }
            });
            log.open();
        })).fails("counter"),
        case("counter-abandoned-step-of-the-opening-itself", "An opening that came to nothing is said to have made the step of the opening that did not.", signed(|log| {
            log.close();
            log.device.counter += 2;
            log.edits.base = Some(|b| {
                for step in [1, 3] {
                    b.abandoned.push(AbandonedOpening { counter: b.explained + step, epoch_key: KeyId([1; 32]) });
                }
            });
            log.open();
        })).fails("counter"),
        case("counter-another-of-the-same-chip", "The second epoch counts with another counter of the chip.", bare(|log| {
            log.open();
            log.enrol();
            log.close();
            // A counter is bound to the release key: another key, another counter.
            let mut binding = log.binding();
            binding.release_key = Bytes(device::ecc_public(6, RELEASE_KEY_ATTRIBUTES));
            log.device.edit = Some(|d| {
                let key = ReleaseKey::parse(&device::ecc_public(6, RELEASE_KEY_ATTRIBUTES)).unwrap();
                let value = d.certify.attested.split_off(d.certify.attested.len() - 8);
                let policy = policy_authorize_digest(&key).0;
                d.nv_public = device::nv_public(COUNTER_INDEX, COUNTER_ATTRIBUTES, &policy, 8);
                d.certify.attested = device::certified(&d.nv_public, 0, &value);
            });
            log.open_with(binding);
        })).fails("counter").state("release-key", State::Fail),
        case("accept-another-chip", "The second epoch runs on another chip, which was restarted less often.", signed(|log| {
            log.close();
            log.device.ak_seed = 2;
            log.device.reset_count -= 1;
            log.device.clock = 10;
            log.open();
            log.enrol();
        })),
        case("accept-failed-renewal", "An event tells of a renewal that failed half way and explains a step of the counter.", signed(|log| {
            log.renew();
            log.device.counter += 1;
            let body = Event { kind: EventKind::RenewalFailed, count: 1, detail: None };
            log.push(Body::Event(body), None, vec![]);
        })),
        case("counter-failed-renewals-explain-too-little", "An event explains one step of the counter, and it moved by two more.", signed(|log| {
            log.renew();
            log.device.counter += 2;
            let body = Event { kind: EventKind::RenewalFailed, count: 1, detail: None };
            log.push(Body::Event(body), None, vec![]);
        })).fails("counter"),
        case("reset-counts-restart-within-an-epoch", "The machine was restarted within an epoch.", signed(|log| log.device.reset_count += 1)).fails("reset-counts"),
        case("reset-counts-fall", "The second epoch has a lower count of restarts.", signed(|log| {
            log.close();
            log.device.reset_count -= 1;
            log.open();
        })).fails("reset-counts"),
        case("reset-counts-clock-behind", "The second epoch of one boot has a clock behind that of the first.", signed(|log| {
            log.close();
            log.device.clock -= 500;
            log.open();
        })).fails("reset-counts"),
        case("accept-restarted-between-epochs", "The machine was restarted between two epochs, and its clock began again.", signed(|log| {
            log.close();
            log.device.reset_count += 1;
            log.device.clock = 5;
            log.open();
        })),
        case("reset-counts-registers-changed", "The boot registers changed within an epoch.", signed(|log| {
            log.device.edit = Some(|d| {
                d.pcrs[0].value = [0xee; 32];
                let values: Vec<u8> = d.pcrs.iter().flat_map(|p| p.value).collect();
                d.quote.attested = device::quoted(0x000b, &[0x90, 0x38, 0], &sha256(&values));
            });
            log.renew();
        })).fails("reset-counts"),
    ]
}

/// A log whose last renewal says something else, truly vouched for.
fn renewed(edit: fn(&mut countersign_record::binding::RenewalStatement)) -> Vec<u8> {
    bare(|log| {
        log.open();
        log.enrol();
        denied(log, 1);
        let mut statement = log.renewal_statement();
        edit(&mut statement);
        log.renew_with(&statement);
    })
}

fn renewals() -> Vec<Case> {
    vec![
        case("renewals-number-skipped", "The first renewal calls itself the second.", renewed(|s| s.number = 2)).fails("renewals"),
        case("renewals-of-another-epoch", "A renewal names another epoch.", renewed(|s| s.base = EntryDigest([5; 32]))).fails("renewals"),
        case("renewals-other-previous", "A renewal follows another than the one before.", renewed(|s| s.previous = EntryDigest([5; 32]))).fails("renewals"),
        case("renewals-over-another-log", "A renewal covers another log of the same size.", renewed(|s| s.head.root = NodeHash([5; 32]))).fails("renewals"),
        case("renewals-over-more", "A renewal covers more entries than stand before it.", renewed(|s| s.head.size += 1)).fails("renewals"),
        case("renewals-over-less-than-before", "A renewal covers less than the one before.", signed(|log| {
            log.event();
            log.renew();
            let mut statement = log.renewal_statement();
            let mut frontier = Frontier::new();
            frontier.append(countersign_record::merkle::leaf_hash(&log.leaves[0].bytes), |_, _, _| ());
            statement.head = LogHead { size: 1, root: frontier.root() };
            log.renew_with(&statement);
        })).fails("renewals"),
        case("accept-renewal-over-an-earlier-head", "A renewal covers the log as it stood some entries before.", {
            let mut log = Mini::new(countersign_record::binding::Profile::Tpm);
            log.open();
            log.enrol();
            let statement = log.renewal_statement();
            log.event();
            log.renew_with(&statement);
            log.export()
        }),
        case("renewals-malformed-statement", "A renewal's statement has a byte too many.", signed(|log| {
            let statement = log.renewal_statement();
            let evidence = log.device.attest(statement.qualifying()).to_bytes();
            let artifact = countersign_record::export::Artifact {
                kind: lifecycle::TPM_EVIDENCE_KIND.into(),
                bytes: Bytes(evidence),
            };
            let evidence = vec![EvidenceRef { kind: artifact.kind.clone(), digest: artifact.digest() }];
            log.artifacts.push(artifact);
            let statement = Bytes([statement.to_bytes(), vec![0]].concat());
            log.push(Body::Renewal(Renewal { statement, evidence }), None, vec![]);
        })).fails("counter").state("renewals", State::Fail),
        case("leases-call-after-the-lease", "A call was accepted ten seconds and more after the lease had run out.", signed(|log| {
            log.renew();
            log.time += LEASE + 10_000;
            let read = call(1, Mode::ReadOnly);
            let intent = log.intent(&read, vec![], None);
            log.decide(&read, Verdict::Allow, Some(intent));
        })).fails("leases"),
        case("accept-call-at-the-end-of-the-lease", "A call was sealed in the last moment that the lease allows.", signed(|log| {
            log.renew();
            // The renewal's own entry and the intent's take a second each.
            log.time += LEASE + 10_000 - 2000;
            let read = call(1, Mode::ReadOnly);
            let intent = log.intent(&read, vec![], None);
            log.decide(&read, Verdict::Allow, Some(intent));
        })),
        case("leases-call-long-before-the-first-renewal", "A call was accepted before the first renewal, later than its lease would have allowed.", signed(|log| {
            log.time += LEASE + 20_000;
            let read = call(1, Mode::ReadOnly);
            let intent = log.intent(&read, vec![], None);
            log.decide(&read, Verdict::Allow, Some(intent));
        })).fails("leases"),
        case("leases-second-call-long-before-the-first-renewal", "Of two calls before the first renewal, the second was accepted later than the lease would have allowed.", signed(|log| {
            for (number, later) in [(1, 0), (2, LEASE + 20_000)] {
                log.time += later;
                let read = call(number, Mode::ReadOnly);
                let intent = log.intent(&read, vec![], None);
                log.decide(&read, Verdict::Allow, Some(intent));
            }
        })).fails("leases"),
        case("accept-refusal-after-the-lease", "A call was refused after the lease had run out.", signed(|log| {
            log.renew();
            log.time += LEASE + 60_000;
            denied(log, 1);
        })),
    ]
}

fn ends() -> Vec<Case> {
    let limited =
        |seconds: u64| trust_and(&format!("[log]\nmax_unquoted_tail_seconds = {seconds}\n"));
    let unclosed = || {
        signed(|log| {
            log.renew();
            log.event();
            log.open();
        })
    };
    let late = |millis: u64| {
        let mut log = log(|_| ());
        log.time += millis;
        log.event();
        log.export()
    };
    vec![
        case("accept-unclosed-epoch", "An epoch ended without a close; up to one lease of it is unseen.", unclosed()),
        case("epoch-ends-unseen-too-long", "An epoch ended without a close, and one lease is more than is allowed.", unclosed()).trust("short-tail", limited(1199)).against("epoch-ends"),
        case("epoch-ends-lost-renewal", "An epoch ended without a close, and the next one tells of a renewal that was lost: two leases are unseen.", signed(|log| {
            log.renew();
            log.event();
            log.device.counter += 1;
            log.edits.base = Some(|b| b.abandoned.push(AbandonedOpening { counter: b.explained + 1, epoch_key: epoch_key(1).public().id() }));
            log.open();
        })).against("epoch-ends"),
        case("epoch-ends-lost-step-of-another-key", "An epoch ended without a close, and the next one tells of an opening that came to nothing: another lease may hide there.", signed(|log| {
            log.renew();
            log.device.counter += 1;
            log.edits.base = Some(|b| b.abandoned.push(AbandonedOpening { counter: b.explained + 1, epoch_key: KeyId([1; 32]) }));
            log.open();
        })).against("epoch-ends"),
        case("epoch-ends-lost-step-after-a-close", "After a close an opening came to nothing, and one lease is more than is allowed.", signed(|log| {
            log.close();
            log.device.counter += 1;
            log.edits.base = Some(|b| b.abandoned.push(AbandonedOpening { counter: b.explained + 1, epoch_key: KeyId([1; 32]) }));
            log.open();
        })).trust("short-tail", limited(1199)).against("epoch-ends"),
        case("epoch-ends-lost-step-before-the-first-epoch", "Before the first epoch an opening came to nothing, and one lease is more than is allowed.", bare(|log| {
            log.device.counter += 1;
            log.edits.base = Some(|b| b.abandoned.push(AbandonedOpening { counter: b.explained + 1, epoch_key: KeyId([1; 32]) }));
            log.open();
            log.enrol();
            log.renew();
        })).trust("short-tail", limited(1199)).against("epoch-ends"),
        case("accept-epoch-before-its-first-renewal", "An epoch ended before its first renewal, so no call was accepted in it.", signed(|log| { log.open(); })).trust("short-tail", limited(1199)),
        case("accept-tail-as-long-as-allowed", "The last entry is as far from the renewal as is allowed.", late(1_200_000 - 2000)),
        case("tail-too-long", "The last entry is farther from the renewal than is allowed.", late(1_200_000)).against("tail"),
        case("accept-closed-log", "The last epoch is closed; its end is not unseen.", bare(|log| {
            log.open();
            log.enrol();
            log.time += 5_000_000;
            log.close();
        })).now(START + 6_000_000),
        case("accept-fresh", "The hardware's last word is as recent as demanded.", story().export()).trust("fresh", trust_and("[log]\nmax_age_seconds = 3600\n")),
        case("freshness-too-old", "The hardware's last word is older than demanded.", story().export()).trust("fresh", trust_and("[log]\nmax_age_seconds = 3600\n")).now(START + 4_000_000).against("freshness"),
        case("freshness-in-the-future", "The last entry claims a time that is still to come.", story().export()).now(START - 600_000).against("freshness"),
        case("accept-clock-five-minutes-behind", "The auditor's clock is five minutes behind the last entry, as far as is taken for a difference of clocks.", story().export()).now(START + 8000 - 300_000),
        case("freshness-a-moment-too-far-ahead", "The last entry is five minutes and a millisecond ahead of the auditor's clock.", story().export()).now(START + 8000 - 300_001).against("freshness"),
        case("accept-clock-a-little-behind", "The auditor's clock is three minutes behind the gateway's.", story().export()).now(START - 180_000),
    ]
}

fn recovered(change: fn(&mut Gap, &mut RecoverStatement, &mut Key)) -> Vec<u8> {
    signed(|log| {
        log.close();
        let explained = log.device.counter;
        log.device.counter += 3;
        let head = LogHead {
            size: log.frontier.size(),
            root: log.frontier.root(),
        };
        log.open();
        let mut statement = RecoverStatement {
            gateway: gateway(),
            head,
            explained,
            found: explained + 3,
            reason: "disk replaced".into(),
            issued: UnixMillis(START),
            witnessed: None,
        };
        let mut gap = Gap {
            explained,
            found: explained + 3,
            statement: Bytes(vec![]),
            witnessed: None,
        };
        let mut key = governance();
        change(&mut gap, &mut statement, &mut key);
        gap.statement = Bytes(key.statement(RECOVER_TYP, statement.to_bytes()));
        log.push(Body::Gap(gap), None, vec![]);
    })
}

fn gaps() -> Vec<Case> {
    let allowing = |gap: u64| trust_and(&format!("[log]\nmax_gap = {gap}\n"));
    vec![
        case("gaps-none-allowed", "Governance accepted three unexplained steps of the counter, the trust file accepts none.", recovered(|_, _, _| ())).against("gaps"),
        case("gaps-too-many", "Governance accepted three unexplained steps of the counter, the trust file accepts two.", recovered(|_, _, _| ())).trust("two-steps", allowing(2)).against("gaps"),
        case("accept-gap", "Governance accepted three unexplained steps of the counter, and the trust file does.", recovered(|_, _, _| ())).trust("three-steps", allowing(3)),
        case("gap-by-another-key", "Somebody else than governance accepted the gap.", recovered(|_, _, key| *key = Key::new(77))).trust("three-steps", allowing(3)).fails("epochs"),
        case("gap-of-another-gateway", "Governance accepted a gap of another gateway.", recovered(|_, s, _| s.gateway = GatewayId([5; 32]))).trust("three-steps", allowing(3)).fails("epochs"),
        case("gap-of-other-counters", "The entry names other counters than governance's statement.", recovered(|_, s, _| s.found += 1)).trust("three-steps", allowing(3)).fails("epochs"),
        case("gap-of-another-step", "Governance accepted another step of the counter.", recovered(|g, s, _| {
            g.explained -= 1;
            s.explained -= 1;
        })).trust("three-steps", allowing(3)).fails("epochs"),
        case("gap-smaller-than-the-step", "The counter moved further than governance saw.", recovered(|g, s, _| {
            g.found -= 1;
            s.found -= 1;
        })).trust("three-steps", allowing(3)).fails("epochs"),
        case("gap-beyond-the-opening", "Governance's statement is about a counter that the opening had not reached.", recovered(|g, s, _| {
            g.found += 9;
            s.found += 9;
        })).trust("three-steps", allowing(3)).fails("epochs"),
        case("accept-hostile-names", "Names and reasons have terminal escapes, line breaks and marks that turn reading direction; a verifier prints them harmlessly.", {
            let log = {
                let mut log = Mini::new(countersign_record::binding::Profile::Tpm);
                log.edits.base = Some(|b| b.software = "countersign \u{1b}]0;VERIFIED\u{7} \u{202e}1.0\n".into());
                log.open();
                let statement = FleetStatement {
                    fleet: "acme\u{1b}[2J\u{2066}".into(),
                    number: 5,
                    issued: UnixMillis(START),
                    members: vec![FleetMember {
                        gateway: gateway(),
                        name: "\u{202e}1-pohs\u{200f}\r\nVERIFIED".into(),
                        from: UnixMillis(START),
                        until: None,
                        ak_name: Some(Bytes(log.device.ak_name())),
                    }],
                };
                let statement = Bytes(governance().statement(FLEET_TYP, statement.to_bytes()));
                log.push(Body::Enrol(Enrol { number: 5, statement }), None, vec![]);
                let read = call(1, Mode::Network);
                let mut body = log.decision_body(&read, Verdict::Deny, None);
                body.capability = Some(CapabilityRef { id: "crm.\u{1b}[31merase\u{feff}".into(), ..capability() });
                body.code = Some("denied\u{9b}2J\u{e0041}".into());
                log.push(Body::Decision(body), Some(read.run), vec![]);
                log.renew();
                log
            };
            let mut parts = Parts::of(&log);
            parts.manifest.profile = "full\u{1b}[2J\u{202e}\nVERIFIED".into();
            parts.bytes()
        }),
    ]
}

fn receipts() -> Vec<Case> {
    let log = story();
    let last = reference(&log, 7);
    let good = log.receipt(&last, CallId([3; 16]), Verdict::Deny);
    let earlier = log.receipt(&reference(&log, 4), CallId([2; 16]), Verdict::Allow);
    let export = || story().export();
    let cut = {
        let mut log = story();
        log.leaves.pop();
        log.export()
    };
    let of_nothing = log.receipt(
        &EntryRef {
            index: 20,
            digest: EntryDigest([5; 32]),
        },
        CallId([9; 16]),
        Verdict::Allow,
    );
    let foreign = {
        let receipt = countersign_record::receipt::Receipt {
            gateway: GatewayId([5; 32]),
            base: reference(&log, 0).digest,
            index: 7,
            digest: last.digest,
            call: CallId([3; 16]),
            verdict: Verdict::Deny,
            at: UnixMillis(START),
        };
        (
            receipt.clone(),
            epoch_key(1).statement(countersign_record::receipt::RECEIPT_TYP, receipt.to_bytes()),
        )
    };
    let of_another_epoch = {
        let receipt = countersign_record::receipt::Receipt {
            gateway: gateway(),
            base: EntryDigest([5; 32]),
            ..foreign.0.clone()
        };
        epoch_key(1).statement(countersign_record::receipt::RECEIPT_TYP, receipt.to_bytes())
    };
    vec![
        case(
            "accept-receipts",
            "Two receipts are in the log, as they say.",
            export(),
        )
        .receipts(vec![good.clone(), earlier]),
        case(
            "receipt-missing-cut-tail",
            "The call of a receipt was cut off with the end of the log.",
            cut,
        )
        .receipts(vec![good.clone()])
        .fails("receipt-missing"),
        case(
            "receipt-missing-other-verdict",
            "The record shows another verdict than the receipt.",
            export(),
        )
        .receipts(vec![log.receipt(&last, CallId([3; 16]), Verdict::Allow)])
        .fails("receipt-missing"),
        case(
            "receipt-missing-other-entry",
            "Another entry stands where the receipt says.",
            export(),
        )
        .receipts(vec![log.receipt(
            &EntryRef {
                index: 5,
                digest: last.digest,
            },
            CallId([3; 16]),
            Verdict::Deny,
        )])
        .fails("receipt-missing"),
        case(
            "receipt-missing-beyond-the-end",
            "The receipt is of an index that the log does not reach.",
            export(),
        )
        .receipts(vec![of_nothing])
        .fails("receipt-missing"),
        case(
            "receipt-missing-whole-epoch",
            "The receipt is of an epoch that is not in the export.",
            export(),
        )
        .receipts(vec![of_another_epoch])
        .fails("receipt-missing"),
        case(
            "settled-twice-by-receipts",
            "Two receipts show two outcomes of one call.",
            export(),
        )
        .receipts(vec![
            good.clone(),
            log.receipt(
                &EntryRef {
                    index: 6,
                    digest: EntryDigest([1; 32]),
                },
                CallId([3; 16]),
                Verdict::Allow,
            ),
        ])
        .fails("settled-twice"),
        case(
            "accept-receipt-twice",
            "One receipt is given twice.",
            export(),
        )
        .receipts(vec![good.clone(), good.clone()]),
        case(
            "receipts-of-another-gateway",
            "A receipt is of another gateway.",
            export(),
        )
        .receipts(vec![foreign.1])
        .cannot("receipts"),
        case(
            "receipts-forged",
            "A receipt's signature does not hold.",
            export(),
        )
        .receipts(vec![broken(good.clone())])
        .cannot("receipts"),
        case(
            "receipts-of-another-type",
            "What is given as a receipt is another statement.",
            export(),
        )
        .receipts(vec![governance().statement(FLEET_TYP, vec![0xa0])])
        .cannot("receipts"),
        case(
            "receipts-by-another-key",
            "A receipt is signed by a key that is not its epoch's.",
            export(),
        )
        .receipts(vec![Key::new(77).statement(
            countersign_record::receipt::RECEIPT_TYP,
            {
                countersign_record::cose::Sign1::parse(&good)
                    .unwrap()
                    .payload()
                    .to_vec()
            },
        )])
        .cannot("receipts"),
    ]
}
