//! stub
/// stub
pub fn clean(text: &str) -> String {
    text.to_owned()
}
/// stub
pub fn clean_line(text: &str) -> String {
    text.to_owned()
}
