//! Inputs too long to be kept in files: deep, wide, or one letter over and over. None of them costs more time
//! or stack than its length is worth.

use std::time::{Duration, Instant};

use pgkeep::fuzzing::run;

/// Far more than any takes on a slow machine, far less than one that is read again for each of its words.
const PATIENCE: Duration = Duration::from_secs(100);

const MIB: usize = 1024 * 1024;

fn header(json: &str) -> Vec<u8> {
    let length = u32::try_from(json.len()).unwrap().to_le_bytes();
    [b"PGKEEP\0\x01", &length[..], json.as_bytes()].concat()
}

fn check(parser: &str, inputs: Vec<(&str, Vec<u8>, bool)>) {
    let start = Instant::now();
    for (name, input, is_taken) in inputs {
        assert_eq!(run(parser, &input), Ok(is_taken), "{parser}: {name}");
        assert!(start.elapsed() < PATIENCE, "{parser}: {name} took {:?}", start.elapsed());
    }
}

#[test]
fn long_documents_of_the_stores_end() {
    let long = |text: &str, count: usize| text.repeat(count).into_bytes();
    let nested = header(&"[".repeat(64 * 1024));
    let lies = [&b"PGKEEP\0\x01\xff\xff\xff\xff"[..], &[b'{'; 10]].concat();
    check(
        "artifact",
        vec![("nested", nested, false), ("4 GiB", lies, false), ("zeros", vec![0; MIB], false)],
    );
    let text = |start: &str, middle: &str, count: usize, end: &str| {
        [start, &middle.repeat(count), end].concat().into_bytes()
    };
    check(
        "manifest",
        vec![
            ("arrays", long("[", 4 * MIB), false),
            ("objects", long("{\"a\":", MIB), false),
            ("spaces", long(" ", 4 * MIB), false),
            ("one key", text("{\"", "k", 4 * MIB, "\":1}"), false),
            ("one number", text("{\"size_bytes\":", "9", 4 * MIB, "}"), false),
            ("one status", text("{\"status\":\"", "\\u001b", MIB / 2, "\"}"), false),
            ("values", text("{\"a\":[", "{\"a\":0},", MIB / 4, "0]}"), false),
            ("one field", text("{", "\"a\":0,", MIB / 4, "\"a\":0}"), false),
        ],
    );
    check(
        "record",
        vec![("arrays", long("[", 4 * MIB), false), ("objects", long("{\"metadata\":", MIB), false)],
    );
    check(
        "answer",
        vec![
            ("elements", text("<Error>", "<a>", MIB, "</Error>"), false),
            ("entries", text("<ListBucketResult>", "<Contents/>", 5000, "</ListBucketResult>"), true),
            (
                "many entries",
                text("<ListBucketResult>", "<Contents/>", MIB / 16, "</ListBucketResult>"),
                false,
            ),
            ("attributes", text("<Error ", "a='1' ", MIB / 16, "/>"), false),
            ("one name", text("<", "a", 4 * MIB, "/>"), false),
            ("comments", long("<!---->", MIB / 4), false),
            ("declarations", long("<!DOCTYPE a [", MIB / 8), false),
        ],
    );
}

#[test]
fn long_files_of_this_host_end() {
    let long = |text: &str, count: usize| text.repeat(count).into_bytes();
    let store = |n: u32| format!("[[store]]\nname='s{n}'\nkind='local'\npath='/nowhere/{n}'\n");
    let stores = (0..5000).map(store).collect::<Vec<_>>().concat();
    check(
        "config",
        vec![
            ("arrays", [b"a=", &long("[", MIB)[..]].concat(), false),
            ("tables", [b"a=", &long("{a=", MIB / 4)[..]].concat(), false),
            ("dots", [b"a", &long(".a", MIB / 2)[..], b"=1"].concat(), false),
            ("headers", long("[[store]]\n", 50_000), false),
            ("stores", stores.into_bytes(), true),
            ("zeros", vec![0; MIB], false),
            ("lines", long("\n", MIB), true),
        ],
    );
    check(
        "conninfo",
        vec![
            ("words", long("user=a ", MIB / 8), true),
            ("words and then none", [&long("user=a ", MIB / 8)[..], b"x"].concat(), false),
            ("hosts", [b"host=", &long("a,", MIB / 16)[..]].concat(), true),
            ("parameters", [b"postgresql://h/?", &long("user=a&", MIB / 16)[..]].concat(), true),
            ("quotes", [b"user='", &long("\\'", MIB / 2)[..]].concat(), false),
            ("percents", [b"postgresql://", &long("%41", MIB / 4)[..]].concat(), true),
        ],
    );
    check(
        "passfile",
        vec![("colons", long(":", 4 * MIB), true), ("lines", long("a:b:c:d:e\n", MIB / 4), true)],
    );
    check(
        "service",
        vec![
            ("sections", long("[x]\n", MIB / 4), false),
            ("hosts", [b"[shop]\n", &long("host=a\n", MIB / 8)[..]].concat(), true),
        ],
    );
    check("key", vec![("letters", [b"PGKEEP-KEY-1-", &long("A", MIB)[..]].concat(), false)]);
    check("name", vec![("letters", long("x", MIB), false), ("escapes", long("%25", MIB / 4), false)]);
    check("path", vec![("slashes", long("/", MIB), false)]);
    check(
        "output",
        vec![("lines", long("1; 2 3 TABLE a b\n", MIB / 16), true), ("digits", long("9", MIB), false)],
    );
    check("value", vec![("digits", long("9", MIB), false), ("letters", long("d", MIB), false)]);
}
