//! How our own pages look. What the files hold is judged by who reads them, at start and by
//! `sallyport check`.

use std::path::PathBuf;

use super::Findings;
use crate::config::{Pages, file};

pub(super) fn pages(file: &file::Pages, found: &mut Findings<'_>) -> Option<Pages> {
    let before = found.problems.len();
    let pages = Pages {
        accent: file.accent.clone(),
        logo: path("pages.logo", file.logo.as_ref(), found),
        imprint: file.imprint.clone(),
        privacy: file.privacy.clone(),
        style: path("pages.style", file.style.as_ref(), found),
        folder: path("pages.folder", file.folder.as_ref(), found),
        keep_forms: file.keep_forms,
    };
    (found.problems.len() == before).then_some(pages)
}

/// A file or folder that must be there.
fn path(key: &str, text: Option<&String>, found: &mut Findings<'_>) -> Option<PathBuf> {
    let text = text?;
    let path = found.base.join(text);
    if let Err(error) = std::fs::metadata(&path) {
        found.wrong(key, format!("{}: {error}", path.display()));
    }
    Some(path)
}
