//! The names of segments: the further multipart uploads that an artifact of more parts than one may
//! have is made of, before they are joined. Pure; it knows no server.

/// What stands between the path of an artifact and the number of a segment.
const MARK: &str = ".segment-";
/// The first segment stands under the artifact's own path.
const FIRST_NAMED: usize = 2;

/// The key of the segment of that number, which counts from 1.
pub(super) fn key_of(path: &str, number: usize) -> String {
    if number < FIRST_NAMED { path.to_owned() } else { format!("{path}{MARK}{number}") }
}

/// The path of the artifact that an object of this key is a segment of; `None` for any other object.
pub(super) fn artifact_of(key: &str) -> Option<&str> {
    let (path, digits) = key.rsplit_once(MARK)?;
    let number: usize = digits.parse().ok()?;
    (!path.is_empty() && number >= FIRST_NAMED && key_of(path, number) == key).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_known_by_its_key() {
        assert_eq!(key_of("a/b.pgk", 1), "a/b.pgk");
        assert_eq!(key_of("a/b.pgk", 2), "a/b.pgk.segment-2");
        assert_eq!(artifact_of("a/b.pgk.segment-2"), Some("a/b.pgk"));
        assert_eq!(artifact_of("a/b.pgk.segment-17"), Some("a/b.pgk"));
        let others = [
            "a/b.pgk",
            "a.segment-1",
            "a.segment-02",
            "a.segment-+2",
            "a.segment-",
            ".segment-2",
            "a.segment-2.json",
        ];
        for key in others {
            assert_eq!(artifact_of(key), None, "{key}");
        }
    }
}
