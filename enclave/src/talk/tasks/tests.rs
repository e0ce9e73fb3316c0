use super::*;
use crate::talk::running::Running;
use countersign_record::digest::TenantId;
use std::sync::Arc;

/// Bytes that one principal's tasks may take. A number, so that another limit does not move the tests.
const OF_ONE: usize = 32 * 1024 * 1024;

const NOW: UnixMillis = UnixMillis(1_000_000);
const ACTION: ActionDigest = ActionDigest([7; 32]);

fn owner(agent: &str) -> Owner {
    Owner {
        of: Principal {
            tenant: TenantId([1; 16]),
            agent: agent.to_owned(),
            user: None,
        },
        place: Some("notes".to_owned()),
    }
}

fn retained(bytes: usize) -> Retained {
    Retained {
        body: Bytes::from(vec![b'x'; bytes]),
        session: None,
    }
}

fn action(n: u8) -> ActionDigest {
    ActionDigest([n; 32])
}

fn waiting(tasks: &Tasks) -> String {
    let view = tasks.wait(&owner("a"), retained(1), ACTION, NOW).unwrap();
    view.id
}

fn said(newest: u64) -> Said {
    Said {
        newest: Some(newest),
        given_back: 0,
    }
}

fn token() -> Token {
    let running = Arc::new(Running::default());
    running.begin(owner("a").of, None, "1".to_owned()).0
}

fn completed(bytes: usize) -> Ending {
    Ending {
        how: How::Completed,
        object: Bytes::from(vec![b'x'; bytes]),
        meta: None,
        sentence: None,
    }
}

fn failed() -> Ending {
    Ending {
        how: How::Failed,
        object: Bytes::from_static(b"{}"),
        meta: Some("{}".to_owned()),
        sentence: Some("no".to_owned()),
    }
}

fn how(tasks: &Tasks, id: &str) -> Option<How> {
    match tasks.look(id, &owner("a"), NOW).unwrap().state {
        State::Over(ending) => Some(ending.how),
        State::Waits(..) | State::Runs | State::Asks(_) => None,
    }
}

#[test]
fn a_task_is_its_principals_and_its_doors() {
    let tasks = Tasks::default();
    let id = waiting(&tasks);
    let elsewhere = Owner {
        place: None,
        ..owner("a")
    };
    let with_user = Owner {
        of: Principal {
            user: Some("u".to_owned()),
            ..owner("a").of
        },
        ..owner("a")
    };
    for other in [owner("b"), elsewhere, with_user] {
        assert_eq!(tasks.look(&id, &other, NOW), Err(NoTask));
        assert_eq!(tasks.cancel(&id, &other, NOW), Err(NoTask));
        let taken = (said(1), token());
        assert!(tasks.take_up(&id, &other, taken, NOW).is_none());
        assert!(!tasks.answered(&id, &other, "q", NOW));
    }
    assert!(tasks.look(&id, &owner("a"), NOW).is_ok());
    assert_eq!(tasks.look("other", &owner("a"), NOW), Err(NoTask));
}

#[test]
fn of_two_who_take_up_a_waiting_call_one_gets_it() {
    let tasks = Tasks::default();
    let id = waiting(&tasks);
    let take = || tasks.take_up(&id, &owner("a"), (said(3), token()), NOW);
    assert!(take().is_some());
    assert!(take().is_none());
    tasks.wait_on(&id, action(9), NOW);
    let view = tasks.look(&id, &owner("a"), NOW).unwrap();
    assert_eq!(view.state, State::Waits(action(9), said(3)));
}

#[test]
fn what_was_taken_up_is_not_ended_for_want_of_what_it_waited_for() {
    let tasks = Tasks::default();
    let id = waiting(&tasks);
    tasks.end_waiting(&id, action(9), failed(), NOW);
    assert_eq!(how(&tasks, &id), None);
    let taken = (said(1), token());
    tasks.take_up(&id, &owner("a"), taken, NOW).unwrap();
    tasks.end_waiting(&id, ACTION, failed(), NOW);
    assert_eq!(how(&tasks, &id), None);
    tasks.end(&id, completed(1), NOW);
    assert_eq!(how(&tasks, &id), Some(How::Completed));
    let other = waiting(&tasks);
    tasks.end_waiting(&other, ACTION, failed(), NOW);
    assert_eq!(how(&tasks, &other), Some(How::Failed));
}

#[test]
fn the_same_call_that_waits_already_has_one_task() {
    let tasks = Tasks::default();
    let id = waiting(&tasks);
    let again = tasks.wait(&owner("a"), retained(9), ACTION, NOW);
    assert_eq!(again.unwrap().id, id);
    let taken = (said(1), token());
    let kept = tasks.take_up(&id, &owner("a"), taken, NOW).unwrap();
    assert_eq!(kept.body.len(), 9);
    tasks.wait_on(&id, ACTION, NOW);
    let other = tasks.wait(&owner("a"), retained(1), action(8), NOW);
    assert_ne!(other.unwrap().id, id);
    let of_another = tasks.wait(&owner("b"), retained(1), ACTION, NOW);
    assert_ne!(of_another.unwrap().id, id);
}

#[test]
fn what_its_client_ends_before_it_ran_is_cancelled() {
    let tasks = Tasks::default();
    let id = waiting(&tasks);
    tasks.cancel(&id, &owner("a"), NOW).unwrap();
    assert_eq!(how(&tasks, &id), Some(How::Cancelled));
    let taken = (Said::default(), token());
    assert!(tasks.take_up(&id, &owner("a"), taken, NOW).is_none());
    // What is over changes no more.
    tasks.end(&id, completed(1), NOW);
    assert_eq!(how(&tasks, &id), Some(How::Cancelled));
    tasks.cancel(&id, &owner("a"), NOW).unwrap();
}

#[test]
fn a_running_call_that_is_ended_is_taken_back_and_its_result_counts_if_it_came_first() {
    for (ending, expected) in [(failed(), How::Cancelled), (completed(1), How::Completed)] {
        let tasks = Tasks::default();
        let running = Arc::new(Running::default());
        let id = tasks.begin(&owner("a"), NOW).unwrap().id;
        let (token, gone) = running.begin(owner("a").of, None, "1".to_owned());
        tasks.hold(&id, token);
        tasks.cancel(&id, &owner("a"), NOW).unwrap();
        assert!(*gone.borrow());
        assert_eq!(how(&tasks, &id), None);
        tasks.end(&id, ending, NOW);
        assert_eq!(how(&tasks, &id), Some(expected));
    }
}

#[test]
fn a_question_is_shown_until_it_is_answered_once() {
    let tasks = Tasks::default();
    let id = tasks.begin(&owner("a"), NOW).unwrap().id;
    for name in ["one", "two"] {
        assert!(tasks.ask(&id, name, Bytes::from_static(b"{}"), NOW));
    }
    assert!(tasks.answered(&id, &owner("a"), "one", NOW));
    assert!(!tasks.answered(&id, &owner("a"), "one", NOW));
    let view = tasks.look(&id, &owner("a"), NOW).unwrap();
    let left = vec![("two".to_owned(), Bytes::from_static(b"{}"))];
    assert_eq!(view.state, State::Asks(left));
    tasks.end(&id, completed(1), NOW);
    assert!(!tasks.answered(&id, &owner("a"), "two", NOW));
    assert!(!tasks.ask(&id, "three", Bytes::new(), NOW));
}

#[test]
fn questions_are_bounded() {
    let tasks = Tasks::default();
    let id = tasks.begin(&owner("a"), NOW).unwrap().id;
    for n in 0..MAX_QUESTIONS {
        assert!(tasks.ask(&id, &n.to_string(), Bytes::new(), NOW));
    }
    assert!(!tasks.ask(&id, "one more", Bytes::new(), NOW));
}

#[test]
fn a_task_is_there_as_long_as_it_says_and_no_longer() {
    let tasks = Tasks::default();
    let id = waiting(&tasks);
    let ttl = tasks.look(&id, &owner("a"), NOW).unwrap().ttl;
    let last = UnixMillis(NOW.0 + ttl);
    let after = UnixMillis(last.0 + 1);
    assert!(tasks.look(&id, &owner("a"), last).is_ok());
    assert_eq!(tasks.look(&id, &owner("a"), after), Err(NoTask));
    tasks.sweep(after);
    assert!(tasks.locked().is_empty());
}

#[test]
fn tasks_are_bounded_and_only_what_is_over_makes_room() {
    let tasks = Tasks::default();
    let wait = |n: usize| {
        let n = u8::try_from(n).unwrap();
        tasks.wait(&owner("a"), retained(1), action(n), NOW)
    };
    let first = wait(0).unwrap().id;
    for n in 1..MAX_OF_ONE {
        assert!(wait(n).is_some());
    }
    assert!(wait(MAX_OF_ONE).is_none());
    // Whoever has too many takes no room from others.
    assert!(tasks.wait(&owner("b"), retained(1), ACTION, NOW).is_some());
    tasks.cancel(&first, &owner("a"), NOW).unwrap();
    assert!(wait(MAX_OF_ONE).is_some());
    assert_eq!(tasks.look(&first, &owner("a"), NOW), Err(NoTask));
}

#[test]
fn an_end_that_nobody_read_makes_no_room() {
    let tasks = Tasks::default();
    let begin = |now| tasks.begin(&owner("a"), now);
    let ids: Vec<String> = (0..MAX_OF_ONE).map(|_| begin(NOW).unwrap().id).collect();
    for id in &ids {
        tasks.end(id, completed(1), NOW);
    }
    let unread = tasks.is_there(&ids[0], &owner("a"), NOW);
    assert!(unread.is_ok() && begin(NOW).is_none());
    assert_eq!(how(&tasks, &ids[3]), Some(How::Completed));
    assert!(begin(NOW).is_some() && begin(NOW).is_none());
    assert_eq!(tasks.look(&ids[3], &owner("a"), NOW), Err(NoTask));
    // One that is outdated goes in any case.
    assert!(begin(UnixMillis(NOW.0 + KEPT_MILLIS + 1)).is_some());
}

#[test]
fn requests_and_questions_leave_room_for_ends() {
    let tasks = Tasks::default();
    let most = OF_ONE / 4 * 3;
    let large = |n| tasks.wait(&owner("a"), retained(most - 20), action(n), NOW);
    let id = large(1).unwrap().id;
    assert!(large(2).is_none());
    // The same call again comes in the place of the first.
    assert_eq!(large(1).unwrap().id, id);
    let runs = tasks.begin(&owner("a"), NOW).unwrap().id;
    assert!(tasks.ask(&runs, "one", Bytes::from_static(b"{}"), NOW));
    let question = Bytes::from(vec![b'x'; 20]);
    assert!(!tasks.ask(&runs, "two", question, NOW));
    tasks.end(&runs, completed(OF_ONE / 4), NOW);
    assert_eq!(how(&tasks, &runs), Some(How::Completed));
    // What it gives up is not counted against its end.
    tasks.take_up(&id, &owner("a"), (said(1), token()), NOW);
    tasks.end(&id, completed(most), NOW);
    assert_eq!(how(&tasks, &id), Some(How::Completed));
}

#[test]
fn a_refusal_is_kept_although_there_is_no_room() {
    let tasks = Tasks::default();
    let begin = || tasks.begin(&owner("a"), NOW).unwrap().id;
    let (first, refused, erred) = (begin(), begin(), begin());
    tasks.end(&first, completed(OF_ONE), NOW);
    tasks.end(&refused, failed(), NOW);
    let over = |id: &str| match tasks.look(id, &owner("a"), NOW).unwrap().state {
        State::Over(ending) => ending,
        State::Waits(..) | State::Runs | State::Asks(_) => panic!("not over"),
    };
    assert_eq!(over(&refused), failed());
    // An error of a server's may be large, and then goes; nobody is told that it was carried out well.
    let large = Ending {
        how: How::Failed,
        ..completed(MAX_SMALL_BYTES + 1)
    };
    tasks.end(&erred, large, NOW);
    let sentence = over(&erred).sentence.unwrap();
    assert!(
        sentence.contains("an error that is too large"),
        "{sentence}"
    );
}

#[test]
fn approvals_that_were_given_back_are_something_new() {
    let again = Said {
        given_back: 1,
        ..said(3)
    };
    let tasks = Tasks::default();
    let id = waiting(&tasks);
    tasks.take_up(&id, &owner("a"), (said(3), token()), NOW);
    tasks.wait_on(&id, ACTION, NOW);
    let view = tasks.look(&id, &owner("a"), NOW).unwrap();
    assert_ne!(view.state, State::Waits(ACTION, again));
}

#[test]
fn a_result_that_finds_no_room_is_said_to_be_in_the_record() {
    let tasks = Tasks::default();
    let id = tasks.begin(&owner("a"), NOW).unwrap().id;
    let large = Ending {
        meta: Some("{\"d\":1}".to_owned()),
        ..completed(OF_ONE + 1)
    };
    tasks.end(&id, large, NOW);
    let State::Over(ending) = tasks.look(&id, &owner("a"), NOW).unwrap().state else {
        panic!("not over");
    };
    assert_eq!(ending.how, How::Failed);
    assert_eq!(ending.meta.as_deref(), Some("{\"d\":1}"));
    // A small one that comes later takes the room of what is over and was read.
    let one = |tasks: &Tasks| tasks.begin(&owner("a"), NOW).unwrap().id;
    let (first, second) = (one(&tasks), one(&tasks));
    tasks.end(&first, completed(OF_ONE - 500), NOW);
    assert_eq!(how(&tasks, &first), Some(How::Completed));
    tasks.end(&second, completed(1000), NOW);
    assert_eq!(how(&tasks, &second), Some(How::Completed));
    assert_eq!(tasks.look(&first, &owner("a"), NOW), Err(NoTask));
}
