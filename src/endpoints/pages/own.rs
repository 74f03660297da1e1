//! The operator's folder: `templates/*.html` and `texts/<language>.txt`, laid over what is compiled
//! in. Read once, at start.

use std::path::{Path, PathBuf};

use super::assets::{self, Asset};
use super::language::{BUILT_IN, Texts};
use super::{Brand, Colour, Logo, MOST_FILES, PageError};
use crate::config;

/// A file of the operator's.
#[derive(Debug)]
pub(super) struct Source {
    /// Its name in its folder.
    pub(super) name: String,
    /// Its path, as errors tell it.
    pub(super) file: String,
    /// Its text.
    pub(super) source: String,
}

/// What `[pages]` says of the looks; the files are read by [`super::Pages::new`].
impl TryFrom<&config::Pages> for Brand {
    type Error = PageError;

    fn try_from(pages: &config::Pages) -> Result<Self, PageError> {
        Ok(Self {
            accent: pages.accent.as_deref().map(str::parse).transpose()?,
            logo: pages.logo.clone().map(Logo::File),
            imprint: pages.imprint.clone(),
            privacy: pages.privacy.clone(),
            style: pages.style.clone(),
        })
    }
}

/// Our assets and the operator's.
pub(super) fn assets(brand: &Brand) -> Result<Vec<Asset>, PageError> {
    let mut all = assets::built_in(brand.accent.unwrap_or(Colour::DEFAULT_ACCENT));
    if let Some(path) = &brand.style {
        all.push(assets::brand_style(path)?);
    }
    if let Some(Logo::File(path)) = &brand.logo {
        all.push(assets::logo(path)?);
    }
    Ok(all)
}

/// The operator's templates.
pub(super) fn templates(folder: Option<&Path>) -> Result<Vec<Source>, PageError> {
    folder.map_or_else(|| Ok(Vec::new()), |folder| files(&folder.join("templates"), "html"))
}

/// All languages, English first, each complete.
pub(super) fn texts(folder: Option<&Path>) -> Result<Vec<Texts>, PageError> {
    let own = match folder {
        None => Vec::new(),
        Some(folder) => {
            // A folder that is named and missing is a typing error; its parts may well be missing.
            let found = std::fs::metadata(folder).map(|_| ());
            found.map_err(|source| PageError::File { path: folder.to_owned(), source })?;
            files(&folder.join("texts"), "txt")?
        }
    };
    let mut all = Vec::new();
    for (tag, source) in BUILT_IN {
        all.push(Texts::parse(tag, tag, source)?);
    }
    let model = Texts::parse("en", "en", BUILT_IN.first().map_or("", |(_, source)| source))?;
    for Source { name, file, source } in &own {
        let tag = name.strip_suffix(".txt").unwrap_or(name);
        let mut texts = Texts::parse(tag, file, source)?;
        texts.check(&model, file, source)?;
        match all.iter_mut().find(|known| known.tag.eq_ignore_ascii_case(tag)) {
            Some(known) => known.overlay(texts),
            None => {
                texts.complete(&model);
                all.push(texts);
            }
        }
    }
    Ok(all)
}

/// The files of `folder` with that ending, by name; none if there is no such folder.
fn files(folder: &Path, ending: &str) -> Result<Vec<Source>, PageError> {
    let failed = |source| PageError::File { path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|e| e == ending) {
            paths.push(path);
        }
        if paths.len() > MOST_FILES {
            return Err(PageError::TooMany { path: folder.to_owned() });
        }
    }
    paths.sort();
    paths.into_iter().map(|path| source(&path)).collect()
}

fn source(path: &Path) -> Result<Source, PageError> {
    let not_text = || PageError::NotText { path: path.to_owned() };
    Ok(Source {
        name: path.file_name().and_then(|name| name.to_str()).ok_or_else(not_text)?.to_owned(),
        file: path.display().to_string(),
        source: String::from_utf8(assets::read(path)?).map_err(|_| not_text())?,
    })
}
