//! The same site with all controls, as a large one has them: what they cost a call.
//!
//! In: a site of [`crate::site`] whose bundle is not built yet. Out: 100 tenants, 1,000 capabilities, 10,000 policies;
//! and for the tool that is called: 20 redaction rules that look at every result, traced results and a policy that looks at
//! what they are repeated in, a budget of the tenant's and one of each run, and more rules for its argument.

use anyhow::{Context as _, Result};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Tenants, the demo's own included.
const TENANTS: usize = 100;
/// Capabilities, the one that is called included.
const CAPABILITIES: usize = 1_000;
/// Policies beside those that every call meets.
const POLICIES: usize = 10_000;
/// Redaction rules of the tool that is called.
const REDACTIONS: usize = 20;

/// What every call meets. None of it lets through or stops the benchmark's calls.
const GENERAL: &str = r#"
@id("nothing-traced-leaves")
forbid (principal, action, resource)
when { resource.mode == "network" && context.flow.labels.contains("CONFIDENTIAL") };

@id("no-writes-by-tokens")
forbid (principal, action, resource)
when { resource.mode == "destructive" && principal.assurance < 2 };
"#;

/// Adds all of it to the site in `dir`.
///
/// # Errors
/// If a file cannot be read or written.
pub(crate) fn add(dir: &Path) -> Result<()> {
    let capability = dir.join("capabilities/read_query.toml");
    let one = fs::read_to_string(&capability)?;
    for n in 1..CAPABILITIES {
        // Another tool, which the upstream does not have.
        let other = one
            .replace("id = \"bench.read_query\"", &format!("id = \"bench.t{n}\""))
            .replace("tool = \"read_query\"", &format!("tool = \"t{n}\""));
        fs::write(dir.join(format!("capabilities/t{n}.toml")), other)?;
    }
    let (head, arguments) = one
        .split_once("[arguments.query]")
        .context("the capability has no rules for its argument")?;
    let mut all = format!(
        "{head}trace_results = true\n\n[num_calls]\ncalls = 30000000\nseconds = 3600\n\n[arguments.query]\n\
         pattern = \"SELECT [^;]*\"{arguments}"
    );
    for n in 0..REDACTIONS {
        // Numbers of accounts of twenty kinds; there is none in the answers.
        write!(
            all,
            "\n[[redactions]]\nname = \"r{n}\"\npattern = '\\bACC{n:02}-[0-9]{{8}}\\b'\nreplacement = \"[account]\"\napply = \"always\"\n"
        )?;
    }
    fs::write(&capability, all)?;
    let mut policies = GENERAL.to_owned();
    for n in 0..POLICIES {
        let (tenant, tool) = (n % (TENANTS - 1), n % (CAPABILITIES - 1) + 1);
        write!(
            policies,
            "@id(\"p{n}\")\npermit (principal in Tenant::\"t{tenant}\", action == Action::\"bench.t{tool}\", resource)\n\
             when {{ context.input_shape.query == \"customer_by_email\" }};\n"
        )?;
    }
    fs::write(dir.join("policies/many.cedar"), policies)?;
    let settings = dir.join("countersign.toml");
    let mut text = fs::read_to_string(&settings)?;
    for n in 0..TENANTS - 1 {
        write!(text, "\n[[tenants]]\nid = \"{n:032x}\"\nname = \"t{n}\"\n")?;
        let digest = format!("{n:064x}");
        let agent = format!(
            "urn = \"agent:t{n}/worker@1\"\ntenant = \"t{n}\"\ntoken_digest = \"{digest}\"\n"
        );
        fs::write(dir.join(format!("agents/t{n}.toml")), agent)?;
    }
    fs::write(settings, text)?;
    let reader = dir.join("agents/reader.toml");
    let budget = "\n[run_budget]\nmax_tool_calls = 1000000000\nwall_clock_ms = 86400000\n";
    let text = fs::read_to_string(&reader)? + budget;
    Ok(fs::write(reader, text)?)
}
