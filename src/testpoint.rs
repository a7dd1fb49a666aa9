//! The steps of a run at which the world changes, so that a test can have one stand still there and kill it.
//! A debug build listens to `PGKEEP_STOP_AT=STEP[:N]`; a release build has neither the variable nor the wait.

/// A border between two states of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A first key stands in its file.
    KeyMade,
    /// The catalog's schema is there, and its tables are not.
    CatalogHalfMade,
    /// The run has its locks.
    LockTaken,
    /// What died before it is on record as failed.
    DeadBuried,
    /// The record waits in a file, and the catalog does not have it yet.
    RecordKept,
    /// The catalog has the row of the run.
    RowWritten,
    /// A store has an open upload.
    UploadBegun,
    /// `pg_dump` is at work.
    DumpBegun,
    /// A part was handed to every store.
    PartSent,
    /// `pg_dump` has ended well.
    DumpEnded,
    /// A local file is whole and durable, under its temporary name.
    FileDurable,
    /// Every part of an upload is there, and it is not completed.
    PartsUploaded,
    /// An artifact stands in its place, without a manifest.
    ArtifactPublished,
    /// A copy has its manifest, and nobody has read it back.
    ManifestWritten,
    /// A copy that failed is about to be made from another one.
    FillBegun,
    /// Every copy is settled, and only this process knows.
    CopiesSettled,
    /// The row says how the run ended, and its locks are held.
    RowSettled,
    /// A damaged copy is about to be made again.
    RepairBegun,
    /// A repaired artifact stands in its place, with the manifest that was there.
    RepairPublished,
    /// `pg_restore` is at work on a database.
    RestoreBegun,
    /// Some rows of a rebuild are written.
    RowRebuilt,
    /// Copies that go are claimed, and the record is not read again.
    CopiesClaimed,
    /// The manifest of a copy that goes is gone.
    ManifestExpired,
    /// Its artifact is gone too.
    ArtifactExpired,
    /// The record says so.
    CopyMarkedExpired,
    /// Alerts are on record, and nobody has been told.
    AlertsRecorded,
    /// A letter is said to be tried, and was not sent.
    LetterBegun,
    /// It was sent, and the record does not say so.
    LetterDelivered,
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 28] = [
        Self::KeyMade,
        Self::CatalogHalfMade,
        Self::LockTaken,
        Self::DeadBuried,
        Self::RecordKept,
        Self::RowWritten,
        Self::UploadBegun,
        Self::DumpBegun,
        Self::PartSent,
        Self::DumpEnded,
        Self::FileDurable,
        Self::PartsUploaded,
        Self::ArtifactPublished,
        Self::ManifestWritten,
        Self::FillBegun,
        Self::CopiesSettled,
        Self::RowSettled,
        Self::RepairBegun,
        Self::RepairPublished,
        Self::RestoreBegun,
        Self::RowRebuilt,
        Self::CopiesClaimed,
        Self::ManifestExpired,
        Self::ArtifactExpired,
        Self::CopyMarkedExpired,
        Self::AlertsRecorded,
        Self::LetterBegun,
        Self::LetterDelivered,
    ];

    /// Its word: `LockTaken` is `lock-taken`.
    #[must_use]
    pub fn word(self) -> String {
        let mut word = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_ascii_uppercase() && !word.is_empty() {
                word.push('-');
            }
            word.push(letter.to_ascii_lowercase());
        }
        word
    }
}

#[cfg(not(debug_assertions))]
mod gate {
    /// Nothing stands still.
    #[inline]
    pub fn reached(_: super::Step) {}

    /// Nothing waits.
    #[inline]
    pub fn heed(_: &crate::interrupt::Interrupt) {}
}

#[cfg(debug_assertions)]
mod gate {
    use std::io::Write as _;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::Step;
    use crate::interrupt::Interrupt;

    const VARIABLE: &str = "PGKEEP_STOP_AT";
    const LOOK: Duration = Duration::from_mins(1);

    static TIMES: AtomicU32 = AtomicU32::new(0);
    static INTERRUPT: OnceLock<Interrupt> = OnceLock::new();

    /// Stands still for ever where the variable says so, but for a request to stop.
    pub fn reached(step: Step) {
        #[allow(clippy::disallowed_methods, reason = "it is for tests of debug builds alone")]
        let Ok(wanted) = std::env::var(VARIABLE) else { return };
        let (word, time) = wanted.split_once(':').unwrap_or((&wanted, "1"));
        if word != step.word() || TIMES.fetch_add(1, Ordering::SeqCst) + 1 != time.parse().unwrap_or(1) {
            return;
        }
        // Whoever listens may be gone.
        drop(writeln!(std::io::stderr(), "stands still at {wanted}"));
        let interrupt = INTERRUPT.get_or_init(Interrupt::new);
        while !interrupt.wait(LOOK) {}
    }

    /// Lets a step end when this is raised.
    pub fn heed(interrupt: &Interrupt) {
        // There is one in each process; a second one changes nothing.
        drop(INTERRUPT.set(interrupt.clone()));
    }
}

pub use gate::{heed, reached};
