//! A site that runs: erasure requests against a database of customers.
//!
//! In: keys, digests and paths of the place where it shall run. Out: the files of a site
//! directory, ready to be written. Tools of the server that no capability names (inserting,
//! creating tables, memos) do not exist for agents.

use countersign_json::descriptor::{RawTool, descriptor_digest};
use countersign_record::digest::{PublicKey, TenantId};
use serde_json::Value as Json;

/// Keys, digests and paths of an example site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExampleKeys {
    /// Pseudonym of the tenant `demo`.
    pub tenant: TenantId,
    /// Socket address to listen on.
    pub listen: String,
    /// Address of the TPM.
    pub tpm: String,
    /// The vendor's release key, an uncompressed P-256 point.
    pub release: [u8; 65],
    /// The customer's governance key.
    pub governance: PublicKey,
    /// Key that signs the bundle.
    pub bundle_signer: PublicKey,
    /// X25519 recovery key.
    pub recovery: [u8; 32],
    /// Digest of the reading agent's token (see `countersign_signatures::token`).
    pub reader_token: [u8; 32],
    /// How the erasing agent shows who it is.
    pub erasure: ExampleCredential,
    /// Key of the privacy officer.
    pub approver: PublicKey,
    /// Command of the Python that has `mcp-server-sqlite`.
    pub python: String,
    /// Path of the database.
    pub database: String,
    /// SHA-256 of the command's file, where it is to be checked before each start.
    pub entry_sha256: Option<[u8; 32]>,
}

/// How the erasing agent shows who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExampleCredential {
    /// A static token of this digest.
    Token([u8; 32]),
    /// A key that signs its requests.
    Key(PublicKey),
}

/// Path and template of each file.
const FILES: [(&str, &str); 10] = [
    (
        "countersign.toml",
        include_str!("../example/countersign.toml"),
    ),
    (
        "adapters/customers.toml",
        include_str!("../example/adapters/customers.toml"),
    ),
    (
        "agents/erasure.toml",
        include_str!("../example/agents/erasure.toml"),
    ),
    (
        "agents/reader.toml",
        include_str!("../example/agents/reader.toml"),
    ),
    (
        "approvers/privacy.toml",
        include_str!("../example/approvers/privacy.toml"),
    ),
    (
        "capabilities/describe_table.toml",
        include_str!("../example/capabilities/describe_table.toml"),
    ),
    (
        "capabilities/list_tables.toml",
        include_str!("../example/capabilities/list_tables.toml"),
    ),
    (
        "capabilities/read_query.toml",
        include_str!("../example/capabilities/read_query.toml"),
    ),
    (
        "capabilities/write_query.toml",
        include_str!("../example/capabilities/write_query.toml"),
    ),
    (
        "policies/customers.cedar",
        include_str!("../example/policies/customers.cedar"),
    ),
];

/// What the server lists, with where it was read.
const TOOLS: &str = include_str!("../example/tools.json");

/// The files of the example site.
#[must_use]
pub fn files(keys: &ExampleKeys) -> Vec<(String, String)> {
    let values = values(keys);
    FILES
        .iter()
        .map(|(path, template)| {
            let text = values
                .iter()
                .fold((*template).to_owned(), |text, (key, value)| {
                    text.replace(&format!("@{key}@"), value)
                });
            ((*path).to_owned(), text)
        })
        .collect()
}

fn values(keys: &ExampleKeys) -> Vec<(String, String)> {
    let ExampleKeys {
        tenant,
        listen,
        tpm,
        release,
        governance,
        bundle_signer,
        recovery,
        reader_token,
        erasure,
        approver,
        python,
        database,
        entry_sha256,
    } = keys;
    let args = [
        "-c",
        "from mcp_server_sqlite import main; main()",
        "--db-path",
        database,
    ]
    .map(quoted)
    .join(", ");
    let named = |key: &str, value: String| (key.to_owned(), value);
    let mut out = vec![
        named("TENANT_ID", tenant.to_string()),
        named("LISTEN", listen.clone()),
        named("TPM", tpm.clone()),
        named("RELEASE_KEY", hex::encode(release)),
        named("GOVERNANCE_KEY", governance.to_string()),
        named("BUNDLE_KEY", bundle_signer.to_string()),
        named("RECOVERY_KEY", hex::encode(recovery)),
        named("READER_TOKEN", hex::encode(reader_token)),
        named("APPROVER_KEY", approver.to_string()),
        named("PYTHON", quoted(python)),
        named("ARGS", format!("[{args}]")),
        named(
            "ENTRY",
            entry_sha256.map_or_else(
                || {
                    "# entry_sha256 = \"<SHA-256 of the program, checked before each start>\""
                        .to_owned()
                },
                |digest| format!("entry_sha256 = \"{}\"", hex::encode(digest)),
            ),
        ),
        named(
            "ERASURE_CREDENTIAL",
            match erasure {
                ExampleCredential::Token(digest) => {
                    format!("token_digest = \"{}\"", hex::encode(digest))
                }
                ExampleCredential::Key(key) => format!("public_key = \"{key}\""),
            },
        ),
    ];
    out.extend(descriptors());
    out
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// The pinned descriptors of the server's tools.
fn descriptors() -> Vec<(String, String)> {
    let tools: Json = serde_json::from_str(TOOLS).unwrap_or(Json::Null);
    let tools = tools
        .get("tools")
        .and_then(Json::as_array)
        .cloned()
        .unwrap_or_default();
    tools
        .iter()
        .filter_map(|tool| {
            let name = tool.get("name")?.as_str()?;
            Some((format!("DESCRIPTOR_{name}"), digest_of(tool)?))
        })
        .collect()
}

/// The digest that a bundle pins. What is no descriptor has none, and its capability none to pin.
fn digest_of(tool: &Json) -> Option<String> {
    let raw = RawTool::parse(tool.to_string().into_bytes().into()).ok()?;
    descriptor_digest(&raw)
        .ok()
        .map(|digest| digest.to_string())
}

#[cfg(test)]
mod tests;
