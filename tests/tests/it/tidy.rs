//! Rules about the source as tests: layer arrows, purity, module docs, names, file length, sample settings.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// ARCHITECTURE.md, "Crates". An arrow goes down only.
const MAY_USE: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("scheduler", &["proto"]),
    ("pmi", &["proto"]),
    ("transport", &["proto"]),
    ("headnode", &["proto", "scheduler", "transport"]),
    ("computenode", &["proto", "transport"]),
    ("mpi-launcher", &["proto", "pmi", "transport"]),
    ("cli", &["proto", "transport"]),
    (
        "bench",
        &[
            "proto",
            "scheduler",
            "pmi",
            "transport",
            "headnode",
            "computenode",
            "mpi-launcher",
            "cli",
        ],
    ),
    (
        "tests",
        &[
            "proto",
            "scheduler",
            "pmi",
            "transport",
            "headnode",
            "computenode",
            "mpi-launcher",
            "cli",
            "bench",
        ],
    ),
];

const PURE: &[&str] = &["proto", "scheduler", "pmi"];

/// What a pure crate may depend on outside the workspace.
const PURE_PACKAGES: &[&str] = &["serde", "serde_bytes", "rmp-serde", "strsim", "thiserror"];

/// Words that a pure crate's code must not hold (its tests may).
const PURE_BANS: &[&str] = &[
    "std::time::Instant",
    "SystemTime",
    "std::fs",
    "std::thread",
    "std::env",
    "HashMap",
    "HashSet",
    "unsafe ",
    "tokio",
    "UnixStream",
    "TcpStream",
    "UdpSocket",
    "println!",
];

const BANNED_MODULES: &[&str] = &["utils", "util", "common", "helpers", "misc", "types"];

/// Above this a file must hold one concept and its module doc must say why it is long ("Long because").
const LONG_FILE_LINES: usize = 1000;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .to_owned()
}

fn manifest(krate: &str) -> toml::Table {
    let text = fs::read_to_string(root().join(krate).join("Cargo.toml")).expect("a manifest");
    text.parse().expect("TOML")
}

fn dependencies(krate: &str) -> BTreeSet<String> {
    let manifest = manifest(krate);
    let table = manifest.get("dependencies").and_then(toml::Value::as_table);
    table.into_iter().flat_map(|table| table.keys().cloned()).collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                found.extend(sources(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

pub(crate) fn all_sources() -> BTreeMap<PathBuf, String> {
    let folders = MAY_USE.iter().map(|(krate, _)| root().join(krate));
    let paths = folders.flat_map(|folder| sources(&folder));
    paths
        .map(|path| (path.clone(), fs::read_to_string(&path).expect("a source file")))
        .collect()
}

/// The part of a file before its tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

#[test]
fn arrows_go_down_only() {
    let ours: BTreeSet<&str> = MAY_USE.iter().map(|(krate, _)| *krate).collect();
    for (krate, may_use) in MAY_USE {
        for used in dependencies(krate).iter().filter(|used| ours.contains(used.as_str())) {
            assert!(
                may_use.contains(&used.as_str()),
                "{krate} must not use {used}: see ARCHITECTURE.md, Crates"
            );
        }
    }
    let members = root().join("Cargo.toml");
    let text: toml::Table = fs::read_to_string(members).expect("a manifest").parse().expect("TOML");
    let members = text["workspace"]["members"].as_array().expect("a list");
    let members: BTreeSet<&str> = members.iter().filter_map(toml::Value::as_str).collect();
    assert_eq!(members, ours, "the table of layers names every crate");
}

#[test]
fn pure_crates_are_pure() {
    for krate in PURE {
        for used in dependencies(krate) {
            let known = PURE_PACKAGES.contains(&used.as_str()) || PURE.contains(&used.as_str());
            assert!(known, "the pure crate {krate} depends on {used}");
        }
        assert!(
            root().join(krate).join("clippy.toml").is_file(),
            "{krate} has no clippy.toml of its own"
        );
        let lib = fs::read_to_string(root().join(krate).join("src/lib.rs")).expect("lib.rs");
        assert!(
            lib.contains("#![forbid(unsafe_code)]"),
            "{krate} does not forbid unsafe code"
        );
        for path in sources(&root().join(krate).join("src")) {
            let is_test = path
                .components()
                .any(|part| part.as_os_str() == "tests.rs" || part.as_os_str() == "tests");
            let text = fs::read_to_string(&path).expect("a source file");
            for line in without_tests(&text)
                .lines()
                .filter(|line| !is_test && !line.trim_start().starts_with("//"))
            {
                for ban in PURE_BANS {
                    assert!(
                        !line.contains(ban),
                        "{}: a pure crate must not hold '{ban}': {line}",
                        path.display()
                    );
                }
            }
        }
    }
}

#[test]
fn the_measuring_program_links_no_cluster() {
    let bench = manifest("bench");
    for heavy in ["headnode", "sled", "cli", "quinn"] {
        if let Some(dependency) = bench["dependencies"].get(heavy) {
            let optional = dependency.get("optional").and_then(toml::Value::as_bool);
            assert_eq!(optional, Some(true), "{heavy} must stay out of mpipingpong");
        }
    }
}

#[test]
fn every_module_says_what_it_is_for() {
    for (path, text) in all_sources() {
        let first = text.lines().find(|line| !line.starts_with("#!")).unwrap_or_default();
        assert!(
            first.starts_with("//!"),
            "{} does not begin with a module doc",
            path.display()
        );
    }
}

#[test]
fn files_have_a_concept_and_a_size() {
    for (path, text) in all_sources() {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(
            !BANNED_MODULES.contains(&name.as_str()),
            "{}: '{name}' is no concept",
            path.display()
        );
        let lines = text.lines().count();
        let answered = text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .any(|line| line.contains("Long because"));
        assert!(
            lines <= LONG_FILE_LINES || answered,
            "{} has {lines} lines: which concept wants its own file?",
            path.display()
        );
    }
}

#[test]
fn nothing_is_left_for_later() {
    let left = ["todo", "unimplemented", "dbg"].map(|word| format!("{word}!("));
    for (path, text) in all_sources() {
        for (number, line) in (1..).zip(text.lines()) {
            for word in &left {
                assert!(!line.contains(word.as_str()), "{}:{number}: {line}", path.display());
            }
            assert!(
                line.chars().count() <= 160,
                "{}:{number}: a line of {} characters",
                path.display(),
                line.len()
            );
        }
    }
}

#[test]
fn sample_settings_parse() {
    let mut seen = 0;
    for entry in fs::read_dir(root().join("configs")).expect("configs") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = fs::read_to_string(&path).expect("a file");
            let parsed: Result<toml::Table, _> = text.parse();
            assert!(parsed.is_ok(), "{}: {parsed:?}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 2, "one sample for the head node, one for compute nodes");
}

#[test]
fn documents_name_files_that_are_there() {
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SPECIFICATION.md",
        "CHANGELOG.md",
    ] {
        let text = fs::read_to_string(root().join(document)).unwrap_or_else(|_| panic!("{document} is missing"));
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !target.contains("://") && !target.starts_with('#') {
                let path = target.split('#').next().unwrap_or(target);
                assert!(
                    root().join(path).exists(),
                    "{document} links to {path}, which is not there"
                );
            }
        }
    }
}
