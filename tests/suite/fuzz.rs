//! Bytes from outside: the corpus of the fuzz targets is replayed, and so is what is too long to be kept in
//! files. `ok-*` must be taken, `bad-*` refused; `found-*` once broke a promise.

mod hostile;
mod long;
mod random;

use std::fs;

use pgkeep::fuzzing::{PARSERS, run};

use crate::support::project;
use crate::support::tools::files_under;

/// More does not belong into the repository.
const MOST_FILES: usize = 200;
const MOST_BYTES: usize = 300_000;

fn folder() -> std::path::PathBuf {
    project().join("tests/fuzz")
}

#[test]
fn corpus_of_every_parser_is_taken_or_refused_as_its_names_say() {
    let (mut files, mut bytes) = (0, 0);
    let mut faults = Vec::new();
    for (parser, _) in PARSERS {
        let mut kinds = [0, 0];
        for file in files_under(&folder().join("corpus").join(parser)) {
            let input = fs::read(&file).unwrap();
            (files, bytes) = (files + 1, bytes + input.len());
            let name = file.file_name().unwrap().to_str().unwrap();
            let wanted = match name.split('-').next().unwrap() {
                "ok" => Some(true),
                "bad" => Some(false),
                "found" => None,
                other => panic!("{parser}/{name}: what is `{other}`?"),
            };
            if let Some(is_taken) = wanted {
                kinds[usize::from(is_taken)] += 1;
            }
            match run(parser, &input) {
                Ok(taken) if wanted.is_none_or(|wanted| wanted == taken) => {}
                Ok(taken) => faults.push(format!("{parser}/{name}: taken: {taken}")),
                Err(broken) => faults.push(format!("{parser}/{name}: {broken}")),
            }
        }
        assert!(kinds[0] > 0 && kinds[1] > 0, "{parser}: {kinds:?} are refused and taken");
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    assert!(files <= MOST_FILES && bytes <= MOST_BYTES, "{files} files of {bytes} bytes");
}

/// Every input, cut and changed at many places, breaks no promise either.
#[test]
fn corpus_with_cuts_and_flips_breaks_no_promise() {
    for (parser, check) in PARSERS {
        for file in files_under(&folder().join("corpus").join(parser)) {
            let input = fs::read(&file).unwrap();
            let step = (input.len() / 8).max(1);
            for at in (0..input.len()).step_by(step) {
                let mut flipped = input.clone();
                flipped[at] ^= 0x20;
                let doubled = [&input[..at], &input[at / 2..]].concat();
                for (what, changed) in [("cut", &input[..at]), ("flipped", &flipped), ("doubled", &doubled)] {
                    if let Err(broken) = check(changed) {
                        panic!("{}, {what} at {at}: {broken}", file.display());
                    }
                }
            }
        }
    }
}

#[test]
fn every_parser_has_a_target_and_a_corpus() {
    let stems = |files: Vec<std::path::PathBuf>| -> Vec<String> {
        files.iter().map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let mut names: Vec<String> = PARSERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.sort();
    assert_eq!(stems(files_under(&folder().join("targets"))), names);
    let manifest: toml::Table = fs::read_to_string(folder().join("Cargo.toml")).unwrap().parse().unwrap();
    let built = manifest["bin"].as_array().unwrap();
    assert_eq!(built.len(), names.len());
    for (target, name) in built.iter().zip(&names) {
        assert_eq!(target["name"].as_str(), Some(name.as_str()));
        let path = target["path"].as_str().unwrap();
        let text = fs::read_to_string(folder().join(path)).unwrap();
        assert!(text.contains(&format!("pgkeep_fuzz::run(\"{name}\", bytes)")), "{path}: {text}");
    }
    assert!(run("no such parser", b"").is_err());
}
