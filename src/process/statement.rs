//! Statements that a client repeats after an error: what may be a password in them is left out.

/// What a password follows: of a user mapping or a foreign server, of a subscription, of a role.
const BEFORE_SECRETS: [&str; 3] = ["OPTIONS (", "CONNECTION '", "PASSWORD '"];
/// What a client begins a line of its own with.
const OWN_WORDS: [&str; 3] = ["pg_restore: ", "pg_dump: ", "psql: "];

/// Follows what a client says, line by line.
#[derive(Default)]
pub(super) struct Statement {
    is_one: bool,
    is_cut: bool,
}

impl Statement {
    /// The line as it may be shown; `None` where it is the rest of what may not.
    pub(super) fn shown(&mut self, line: String) -> Option<String> {
        if OWN_WORDS.iter().any(|words| line.starts_with(words)) {
            *self = Self::default();
            return Some(line);
        }
        self.is_one |= line.starts_with("Command was:");
        if !self.is_one {
            return Some(line);
        }
        if self.is_cut {
            return None;
        }
        let at = BEFORE_SECRETS
            .iter()
            .filter_map(|words| Some(line.find(words)?.saturating_add(words.len())))
            .min();
        self.is_cut = at.is_some();
        Some(match at.and_then(|at| line.get(..at)) {
            Some(kept) => format!("{kept} ... (left out)"),
            None => line,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_statement_is_left_out() {
        let said = [
            "pg_restore: error: could not execute query: ERROR:  server \"far\" does not exist",
            "Command was: CREATE USER MAPPING FOR eva SERVER far OPTIONS (",
            "    password 'hunter2'",
            ");",
            "pg_restore: from TOC entry 7; 1259 16391 TABLE orders eva",
            "Command was: CREATE TABLE orders (id integer, OPTIONS text);",
            "Command was: CREATE SUBSCRIPTION s CONNECTION 'host=far password=hunter2' PUBLICATION p;",
            "pg_restore: warning: errors ignored on restore: 2",
        ];
        let mut statement = Statement::default();
        let shown: Vec<String> = said.iter().filter_map(|line| statement.shown((*line).to_owned())).collect();
        assert!(!shown.iter().any(|line| line.contains("hunter2")), "{shown:?}");
        assert_eq!(shown.len(), 6, "{shown:?}");
        assert!(shown.iter().any(|line| line.ends_with("CREATE TABLE orders (id integer, OPTIONS text);")));
    }
}
