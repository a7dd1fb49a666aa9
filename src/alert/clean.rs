//! Takes out of a message what stands in somebody's tables: a server's errors, and those of `pg_dump` and `pg_restore`
//! that repeat them, quote rows. What an alert says goes to places that the data must not go to.

use crate::exit::is_command;

/// A message of one line has no more characters.
const LINE_CHARACTERS: usize = 300;
/// What more there is to say has no more.
const TEXT_CHARACTERS: usize = 10_000;
/// What a row, or a piece of one, follows: the parts of an error as PostgreSQL names them in the languages that it
/// speaks, and its ways to quote a value.
const BEFORE_DATA: [&str; 34] = [
    "DETAIL:",
    "DETAILS:",
    "DÉTAIL",
    "DETALLE:",
    "DETALHE:",
    "DETTAGLI",
    "ДЕТАЛИ:",
    "ПОДРОБНОСТИ:",
    "CONTEXT:",
    "CONTEXTE",
    "CONTEXTO:",
    "CONTESTO:",
    "ZUSAMMENHANG:",
    "КОНТЕКСТ:",
    "STATEMENT:",
    "Failing row contains",
    "=(",
    ": \"",
    ": 0x",
    "value \"",
    "byte sequence 0x",
    ": »",
    ": «",
    ": „",
    "Command was:",
    "Failing row",
    "KONTEXT:",
    "BAĞLAM:",
    "Wert »",
    "valeur «",
    "valor «",
    "valore «",
    "значение \"",
    "time zone \"",
];
const LEFT_OUT: &str = "(data left out)";

/// A text of several lines without data, control characters and undue length. A value may have lines of its own: with
/// the first that shows, the text ends.
#[must_use]
pub fn clean(text: &str) -> String {
    let lines: Vec<String> = without_data(text).lines().map(str::to_owned).collect();
    cut(&lines.join("\n"), TEXT_CHARACTERS)
}

/// The same as one line.
#[must_use]
pub fn clean_line(text: &str) -> String {
    let text = without_data(text);
    let line: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    cut(line.join("; ").trim(), LINE_CHARACTERS)
}

fn without_data(text: &str) -> String {
    // First made plain: what stands between the pieces of a mark must not hide it.
    let text: String = text.chars().map(|c| if !is_command(c) || c == '\n' { c } else { ' ' }).collect();
    let text = text.trim_end();
    let places = BEFORE_DATA.iter().filter_map(|mark| text.find(mark));
    let Some(at) = places.chain(line_of_copy(text)).min() else { return text.to_owned() };
    match text.get(..at).unwrap_or_default().trim_end() {
        "" => LEFT_OUT.to_owned(),
        kept => format!("{kept} {LEFT_OUT}"),
    }
}

/// Where `COPY table, line 7` begins, which a row follows.
fn line_of_copy(line: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(found) = line.get(from..)?.find("COPY ") {
        let at = from.checked_add(found)?;
        let (name, _) = line.get(at..)?.split_once(", line ").unwrap_or((":", ""));
        if !name.contains([':', ';', '"', '\n']) {
            return Some(at);
        }
        from = at.checked_add(1)?;
    }
    None
}

/// The text, with dots for its end where it is too long.
pub(super) fn cut(text: &str, most_characters: usize) -> String {
    if text.chars().count() <= most_characters {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most_characters.saturating_sub(4)).collect();
    format!("{} ...", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rows_are_left_out_and_names_stay() {
        for (text, cleaned) in [
            (
                "pg_restore: error: COPY failed for table \"orders\": ERROR:  duplicate key value violates unique \
                 constraint \"orders_pkey\"\nDETAIL:  Key (email)=(eva@example.org) already exists.\nCONTEXT:  COPY \
                 orders, line 7",
                "pg_restore: error: COPY failed for table \"orders\": ERROR:  duplicate key value violates unique \
                 constraint \"orders_pkey\" (data left out)",
            ),
            (
                "ERROR: invalid input syntax for type integer: \"4111 1111\"; CONTEXT: x",
                "ERROR: invalid input syntax for type integer (data left out)",
            ),
            ("ERROR: value \"99\" is out of range for type smallint", "ERROR: (data left out)"),
            ("FEHLER: Wert »99« ist außerhalb", "FEHLER: (data left out)"),
            ("ERREUR: la valeur « 99 » est", "ERREUR: la (data left out)"),
            ("pg_dump: error: COPY t, line 3: \"x\ty\"", "pg_dump: error: (data left out)"),
            ("relation \"shop\" does not exist", "relation \"shop\" does not exist"),
            (
                "connection to server at \"db\" (10.0.0.1), port 5432 failed: FATAL:  no",
                "connection to server at \"db\" (10.0.0.1), port 5432 failed: FATAL:  no",
            ),
            ("a\u{1b}[2Jb\r\n\u{202e}c", "a [2Jb; c"),
        ] {
            assert_eq!(clean_line(text), cleaned);
        }
        // What is no character of a text must not hide a mark.
        assert_eq!(clean_line(":\0\"x\""), "(data left out)");
        assert_eq!(clean("zero\none: \"x\n\ntwo\""), "zero\none (data left out)");
        assert_eq!(clean_line("a\nDETAIL:  Key (n)=(first\nsecond) is there"), "a (data left out)");
    }

    proptest! {
        #[test]
        fn nothing_behind_a_mark_is_left(
            before in "[a-z ]{0,40}", mark in proptest::sample::select(&BEFORE_DATA[..]), after in "(?s).{0,40}"
        ) {
            let secret = "s3cr3t-row";
            let text = format!("{before}{mark} {secret}{after}\n{secret}");
            for cleaned in [clean(&text), clean_line(&text)] {
                prop_assert!(!cleaned.contains(secret), "{cleaned}");
            }
        }

        #[test]
        fn what_is_clean_is_short_plain_and_stays_so(text in "(?s).{0,600}") {
            let line = clean_line(&text);
            prop_assert!(line.chars().count() <= LINE_CHARACTERS);
            prop_assert!(!line.chars().any(is_command));
            prop_assert_eq!(&clean_line(&line), &line);
            prop_assert!(clean(&text).chars().all(|c| !is_command(c) || c == '\n'));
        }
    }
}
