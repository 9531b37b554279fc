//! Who may call whom: the table in ARCHITECTURE.md against the source.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test that cannot go on must fail"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            out.push(path);
        }
    }
}

/// Rooms that each room uses, tests left out.
fn edges() -> BTreeMap<String, BTreeSet<String>> {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    let mut out: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        let inside = file.strip_prefix(root().join("src")).unwrap().to_string_lossy().replace(".rs", "");
        let room = inside.split(['/', '\\']).next().unwrap().to_owned();
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for line in code.lines().filter(|l| !l.trim_start().starts_with("//")) {
            for part in line.split("crate::").skip(1) {
                let used: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if used != room && !used.is_empty() && used.chars().next().is_some_and(char::is_lowercase) {
                    out.entry(room.clone()).or_default().insert(used);
                }
            }
        }
    }
    out
}

/// The table: room → rooms it may use.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let rows = text.lines().filter(|l| l.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
        (words(cells[0]).into_iter().next().unwrap(), words(cells[1]))
    })
    .collect()
}

#[test]
fn every_room_uses_only_what_the_table_allows() {
    let allowed = table();
    for (room, used) in edges() {
        if matches!(room.as_str(), "main" | "lib") {
            continue;
        }
        let Some(may) = allowed.get(&room) else { panic!("src/{room} is not in the table of ARCHITECTURE.md") };
        let extra: Vec<_> = used.difference(may).collect();
        assert!(extra.is_empty(), "src/{room} uses {extra:?}: mend the seam, or the table in ARCHITECTURE.md");
    }
}

#[test]
fn no_file_grows_beyond_what_the_head_holds() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    for file in files {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 500, "{} has {lines} lines", file.display());
    }
}
