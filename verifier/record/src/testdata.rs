//! Foreign test data, read from `testdata/`; see its README for sources and licences.

use crate::digest::{NodeHash, sha256_in};
use crate::merkle::{Head, ProofError, verify_consistency, verify_inclusion};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The directory of this package's test data.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// Every file below `dir`, in order of path.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A proof that others wrote down, and whether they accept it.
pub(crate) struct MerkleProbe {
    proof: Proof,
    path: Vec<NodeHash>,
    /// Whether its authors refuse it.
    pub(crate) want_err: bool,
}

enum Proof {
    Inclusion {
        index: u64,
        tree: Head,
        leaf: Option<NodeHash>,
    },
    Consistency {
        first: Head,
        second: Head,
    },
}

impl MerkleProbe {
    /// Our verdict.
    pub(crate) fn verify(&self) -> Result<(), ProofError> {
        match self.proof {
            Proof::Inclusion { index, tree, leaf } => {
                let leaf = leaf.ok_or(ProofError::Length { found: 0 })?;
                verify_inclusion(leaf, index, tree.size, &self.path, tree.root)
            }
            Proof::Consistency { first, second } => verify_consistency(first, second, &self.path),
        }
    }
}

/// Calls `f` with the name and content of every probe of transparency-dev/merkle.
pub(crate) fn each_merkle_probe(mut f: impl FnMut(&str, &MerkleProbe)) {
    let mut names = Vec::new();
    for kind in ["inclusion", "consistency"] {
        for path in files(&directory().join("merkle").join(kind)) {
            let probe =
                parse_probe(&serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap());
            f(&path.to_string_lossy(), &probe);
            names.push(path);
        }
    }
    // The number of files that were copied: a probe that is not found is not a probe that passed.
    assert_eq!(names.len(), 196);
}

fn parse_probe(json: &Value) -> MerkleProbe {
    let path = json["proof"]
        .as_array()
        .into_iter()
        .flatten()
        .map(node)
        .collect();
    let number = |name: &str| json[name].as_u64().unwrap();
    let head = |size, root| Head {
        size: number(size),
        root: node(&json[root]),
    };
    let proof = if json.get("leafIdx").is_some() {
        // The authors let a leaf be of no bytes; here a leaf hash always has 32.
        let leaf = json["leafHash"]
            .as_str()
            .filter(|text| !text.is_empty())
            .map(|_| node(&json["leafHash"]));
        Proof::Inclusion {
            index: number("leafIdx"),
            tree: head("treeSize", "root"),
            leaf,
        }
    } else {
        Proof::Consistency {
            first: head("size1", "root1"),
            second: head("size2", "root2"),
        }
    };
    MerkleProbe {
        proof,
        path,
        want_err: json["wantErr"].as_bool().unwrap(),
    }
}

/// A hash; a stand-in of the right size, equal only for equal bytes, where the authors wrote other than 32.
fn node(value: &Value) -> NodeHash {
    let bytes = STANDARD.decode(value.as_str().unwrap_or_default()).unwrap();
    NodeHash(
        bytes
            .try_into()
            .unwrap_or_else(|other: Vec<u8>| sha256_in("stand-in", &[&other])),
    )
}
