//! One test for each bug that was found, with its story.
