//! A site's own disclosure profiles, and who may export under which.

use crate::fixture::{bundle, example, with};
use countersign_policies::inspect::inspect;
use countersign_policies::{Site, SiteFiles};
use countersign_record::body::Classification;
use countersign_record::commitment::Field;
use countersign_record::profile::Disclosed;

/// The example with this at the end of its settings.
fn settings(more: &str) -> SiteFiles {
    let mut files = example();
    let text = files.0.get_mut("countersign.toml").unwrap();
    *text = format!("{text}\n{more}\n");
    files
}

/// The same, and the privacy officer limited to these profiles.
fn limited(more: &str, profiles: &str) -> SiteFiles {
    let mut files = settings(more);
    let text = files.0.get_mut("approvers/privacy.toml").unwrap();
    *text = format!("{text}\nprofiles = {profiles}\n");
    files
}

const OWN: &str = "[profiles.own]\nfields = [\"user\", \"agent\", \"agent\"]\nclasses = [\"INTERNAL\", \"PUBLIC\"]";

fn problems(files: &SiteFiles) -> Vec<String> {
    let problems = Site::parse(files).expect_err("a site with problems");
    problems.all().iter().map(ToString::to_string).collect()
}

#[test]
fn a_sites_own_profile_goes_into_the_bundle() {
    let bundle = bundle(&settings(OWN));
    let profile = bundle.content().profile("own").unwrap();
    let fields = vec![Field::Agent, Field::User];
    let classes = vec![Classification::Public, Classification::Internal];
    assert_eq!(
        profile.disclosed(None).unwrap(),
        Disclosed::new(fields, classes)
    );
    assert!(bundle.content().profile("incident").is_some());
    assert!(bundle.content().profile("other").is_none());
}

#[test]
fn a_bundle_without_own_profiles_has_the_built_in_ones_alone() {
    let bundle = bundle(&example());
    assert!(bundle.content().head.profiles.is_empty());
    assert!(bundle.content().profile("everything").is_some());
    assert!(bundle.content().profile("own").is_none());
}

#[test]
fn an_unknown_field_and_an_unknown_classification_say_which_there_are() {
    let found = problems(&settings(
        "[profiles.own]\nfields = [\"agent\", \"arguments\"]\nclasses = [\"SECRET\"]",
    ));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found[0].contains("profiles.own.fields is \"arguments\", expected one of agent, user,"),
        "{}",
        found[0]
    );
    assert!(
        found[1].contains(
            "profiles.own.classes is \"SECRET\", expected one of PUBLIC, INTERNAL, CONFIDENTIAL, RESTRICTED"
        ),
        "{}",
        found[1]
    );
}

#[test]
fn a_built_in_profile_cannot_be_given_another_meaning() {
    for name in [
        "everything",
        "auditor-soc2",
        "incident",
        "data-subject",
        "nothing",
    ] {
        let found = problems(&settings(&OWN.replace("own", name)));
        let words = format!("profile {name:?} is already declared in every gateway");
        assert!(found.len() == 1 && found[0].contains(&words), "{found:#?}");
    }
}

#[test]
fn a_profile_has_a_plain_name() {
    let found = problems(&settings(&OWN.replace("own", "\"Für alle\"")));
    assert!(
        found.len() == 1 && found[0].contains("expected a name of"),
        "{found:#?}"
    );
}

#[test]
fn a_profile_without_its_fields_or_classes_is_refused() {
    for section in [
        "[profiles.own]\nfields = []",
        "[profiles.own]\nclasses = []",
    ] {
        let found = problems(&settings(section));
        assert!(found[0].contains("missing field"), "{found:#?}");
    }
}

#[test]
fn a_person_without_a_list_may_export_under_every_profile() {
    let bundle = bundle(&example());
    let person = &bundle.content().approvers["privacy-officer"];
    assert!(person.may_export_under("everything") && person.may_export_under("nothing"));
}

#[test]
fn a_limited_person_may_export_under_the_listed_profiles_alone() {
    let bundle = bundle(&limited(OWN, "[\"auditor-soc2\", \"own\"]"));
    let person = &bundle.content().approvers["privacy-officer"];
    assert!(person.may_export_under("auditor-soc2") && person.may_export_under("own"));
    for other in ["everything", "incident", "data-subject", "nothing", ""] {
        assert!(!person.may_export_under(other), "{other}");
    }
}

#[test]
fn a_limit_to_a_profile_that_there_is_not_is_refused() {
    let found = problems(&limited("", "[\"auditor-soc2\", \"own\"]"));
    assert!(
        found.len() == 1 && found[0].contains("profile \"own\" is not declared in this site"),
        "{found:#?}"
    );
}

#[test]
fn a_limit_to_no_profile_is_refused() {
    let found = problems(&limited("", "[]"));
    assert!(
        found.len() == 1 && found[0].contains("expected at least one profile, or no list"),
        "{found:#?}"
    );
}

#[test]
fn whoever_signs_is_told_what_exports_may_open_and_who_is_limited() {
    let site = Site::parse(&limited(OWN, "[\"own\"]")).unwrap();
    let said = inspect(&site.content);
    for line in [
        "Profile own opens agent, user; content of calls that are PUBLIC, INTERNAL.",
        "Privacy officer may export under own alone.",
    ] {
        assert!(said.contains(&line.to_owned()), "{said:#?}");
    }
    assert!(
        !inspect(
            &Site::parse(&with("countersign.toml", "demo", "demo"))
                .unwrap()
                .content
        )
        .iter()
        .any(|line| line.contains("export"))
    );
}
