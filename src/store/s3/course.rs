//! Whether a list that comes page by page goes forward, and what its order tells, told by a few of its names however
//! many there are. Pure; it knows no server.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Pages in a row that bring nothing new, after which a list is not believed to end.
const MOST_IDLE_PAGES: usize = 100;

/// The way of a list so far. What comes round again is seen by one page that is kept in mind: after 1, 2, 4, 8 pages
/// and so on it is the one that came then (R. P. Brent's way to find a cycle).
#[derive(Debug, Default)]
pub(super) struct Course {
    pages: usize,
    idle_pages: usize,
    times_back: usize,
    last: Option<u64>,
    kept: (Option<u64>, Option<u64>),
}

impl Course {
    /// What is kept in mind of a name.
    pub(super) fn mark_of(name: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        hasher.finish()
    }

    /// Whether the list is worth the next page. `first` is the mark of the first name of this one, which came by
    /// `token`; the next one would come by `next_token`.
    pub(super) fn goes_on(&mut self, first: Option<u64>, token: Option<&str>, next_token: &str) -> bool {
        let next = Some(Self::mark_of(next_token));
        if next_token.is_empty() || token == Some(next_token) || next == self.kept.1 {
            return false;
        }
        let is_new = first.is_some() && first != self.last;
        self.idle_pages = if is_new { 0 } else { self.idle_pages.saturating_add(1) };
        let is_back = is_new && first == self.kept.0;
        self.times_back = self.times_back.saturating_add(usize::from(is_back));
        self.last = first.or(self.last);
        self.pages = self.pages.saturating_add(1);
        if self.pages.is_power_of_two() {
            self.kept = (first, next);
        }
        self.idle_pages.max(self.times_back) <= MOST_IDLE_PAGES
    }
}

/// The names that begin as the one does that was listed last, and when each was written: in a list that is in order,
/// those of all objects whose names another one begins with.
#[derive(Debug, Default)]
pub(super) struct Nested(Vec<(String, String)>);

impl Nested {
    /// That name comes next in the list.
    pub(super) fn enter(&mut self, name: &str, written: &str) {
        while self.0.last().is_some_and(|(above, _)| !name.starts_with(above.as_str())) {
            self.0.pop();
        }
        self.0.push((name.to_owned(), written.to_owned()));
    }

    /// When an object of just that name was written; nothing where it was not listed before what begins with it.
    pub(super) fn written(&self, name: &str) -> &str {
        self.0.iter().rev().find(|(above, _)| above == name).map_or("", |(_, written)| written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many pages are read of a list whose pages begin with these names and lead to those tokens.
    fn pages(first: impl Fn(usize) -> String, token: impl Fn(usize) -> String) -> usize {
        let mut course = Course::default();
        let mut goes_on = |page: &usize| {
            let before = page.checked_sub(1).map(&token);
            course.goes_on(Some(Course::mark_of(&first(*page))), before.as_deref(), &token(*page))
        };
        (0..100_000).take_while(|page| goes_on(page)).count()
    }

    #[test]
    fn what_comes_round_again_is_seen() {
        let number = |page: usize| page.to_string();
        assert_eq!(pages(number, number), 100_000);
        assert!(pages(|page| (page % 700).to_string(), |page| (page % 700).to_string()) < 3000);
        // Tokens of its own for each page, and the same pages over and over.
        assert_eq!(pages(|_| "same".to_owned(), number), 101);
        assert!(pages(|page| (page % 2).to_string(), number) < 1000);
        assert_eq!(pages(number, |_| "same".to_owned()), 1);
        assert_eq!(pages(number, |_| String::new()), 0);
    }

    #[test]
    fn names_that_begin_another_are_known() {
        let mut nested = Nested::default();
        for name in ["a", "a.pgk", "a.pgk.json", "a.pgk.k"] {
            nested.enter(name, name);
        }
        assert_eq!((nested.written("a.pgk"), nested.written("a.pgk.json")), ("a.pgk", ""));
        nested.enter("b.pgk", "b.pgk");
        assert_eq!((nested.written("a.pgk"), nested.written("b.pgk")), ("", "b.pgk"));
        assert_eq!(nested.0.len(), 1);
    }
}
