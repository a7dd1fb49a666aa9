//! How many manifests are read at once, and which failures to read one may pass.

use super::StoredFiles;
use crate::store::s3::S3Error;

/// Manifests that are read at once, and bytes of them: each may be large, and whoever lists may have many.
pub(super) const READERS: usize = 16;
const READ_BYTES: u64 = 8 * 1024 * 1024;

/// Whether a store may give it the next time it is asked.
pub(super) fn is_away(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(S3Error::is_passing)
}

/// As many at a time as are read at once.
pub(super) fn handfuls(wanted: &[StoredFiles]) -> impl Iterator<Item = &[StoredFiles]> {
    let mut left = wanted;
    std::iter::from_fn(move || {
        let mut bytes: u64 = 0;
        let fits = |stored: &&StoredFiles| {
            bytes = bytes.saturating_add(stored.manifest_bytes());
            bytes <= READ_BYTES
        };
        let count = left.iter().take(READERS).take_while(fits).count().max(1);
        let (some, rest) = left.split_at_checked(count)?;
        left = rest;
        Some(some)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Listed;

    #[test]
    fn large_manifests_are_read_one_by_one() {
        let path = "full-shop-20261101T020000Z-3f9a.dump.gz.pgk.json";
        let manifest =
            |size_bytes: &u64| Listed { size_bytes: *size_bytes, path: path.to_owned(), modified_at: None };
        let counts = |sizes: &[u64]| -> Vec<usize> {
            let all: Vec<StoredFiles> =
                sizes.iter().filter_map(|size| StoredFiles::of(manifest(size))).collect();
            handfuls(&all).map(<[StoredFiles]>::len).collect()
        };
        assert_eq!(counts(&[1000; 40]), [16, 16, 8]);
        assert_eq!(counts(&[READ_BYTES; 3]), [1, 1, 1]);
        assert_eq!(counts(&[1, u64::MAX, u64::MAX, 1, 1]), [1, 1, 1, 2]);
        assert_eq!(counts(&[READ_BYTES / 2, READ_BYTES / 2, 1]), [2, 1]);
        assert_eq!(counts(&[]), Vec::<usize>::new());
    }
}
