use super::*;

fn pages() -> Pages {
    Pages::new(PageSettings { signup: true, reset: true, ..PageSettings::default() }).unwrap()
}

#[test]
fn every_page_renders_in_every_language() {
    let pages = pages();
    for spoken in &pages.languages {
        for page in samples() {
            let html = pages.attempt(&spoken.templates, spoken, &page).unwrap();
            assert!(html.starts_with("<!doctype html>"));
        }
    }
}
