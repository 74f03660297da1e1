//! The pages that people meet: log in, log out, account, errors. Pure: settings and a [`Page`] in,
//! HTML out. Templates and texts are compiled in; a folder of the operator's own may lie over them.
//!
//! What a browser enforces for us stands in [`Pages::headers`]: no script or style but our own
//! files, no frame around us, no request to anybody else.

mod assets;
mod display;
mod error;
mod language;
mod own;
mod page;
mod samples;
mod theme;
mod view;

#[cfg(test)]
mod tests;

pub use assets::Asset;
pub use display::device;
pub use error::PageError;
pub use language::Language;
pub use page::{
    Account, Done, Failure, Login, MOST_SESSIONS, Message, NewPassword, Page, Reason, Refusal,
    Resume, SessionLine, Signup, SignupKind,
};
pub use samples::samples;
pub use theme::Colour;

use std::path::PathBuf;
use std::sync::Arc;

use http::header::{self, HeaderName, HeaderValue};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Object, from_args};
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior, Value, context};

use language::Texts;

/// Most files in a folder of templates or texts.
const MOST_FILES: usize = 64;

/// What the pages are made from.
#[derive(Debug, Clone)]
pub struct PageSettings {
    /// Base path of our endpoints, without a trailing slash. Default `/auth`.
    pub base: String,
    /// Where endpoints are that were moved, by name. Default: each below `base`.
    pub paths: Vec<(&'static str, String)>,
    /// The site's name, as people know it.
    pub site_name: String,
    /// Field of the forms that names the account. Default `username`. If it speaks of mail, the
    /// label asks for an email address.
    pub identifier_field: String,
    /// Field of the forms that holds the secret. Default `password`.
    pub secret_field: String,
    /// Whether the login page asks if the browser shall remember the login. Default: yes.
    pub remember: bool,
    /// Whether the login page leads to the signup page. Default: no.
    pub signup: bool,
    /// Whether the login page leads to the page that resets a password. Default: no.
    pub reset: bool,
    /// Whether the secret is a PIN: texts say so, and phones show digits to type. Default: no.
    pub pin: bool,
    /// Foreign origins to which a login may lead back. Browsers that hold a redirect after a form
    /// to `form-action` (CSP3 section 6.6.2) must be told of them. Default: none.
    pub return_origins: Vec<String>,
    /// The captcha's widget. Default: none.
    pub captcha: Option<Captcha>,
    /// Name, colours and links.
    pub brand: Brand,
    /// The operator's own `templates/*.html` and `texts/<language>.txt`. Default: none.
    pub folder: Option<PathBuf>,
}

/// What makes a browser ask its person whether they are one. Checked by the config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captcha {
    /// Tells the service which site asks.
    pub site_key: String,
    /// URL of the script.
    pub script: String,
    /// Class of the element that the script fills.
    pub class: String,
    /// Field of the form that carries what it gives.
    pub field: String,
    /// What it is solved for.
    pub action: Option<String>,
    /// Origins that the page may load from and talk to.
    pub origins: Vec<String>,
    /// Whether the signup page has it.
    pub signup: bool,
}

/// The site's looks.
#[derive(Debug, Clone, Default)]
pub struct Brand {
    /// Colour of buttons and links, fitted to each scheme until it can be read. Default:
    /// [`Colour::DEFAULT_ACCENT`].
    pub accent: Option<Colour>,
    /// Stands in place of our mark and the site's name. Default: none.
    pub logo: Option<Logo>,
    /// Link to the imprint. Default: none.
    pub imprint: Option<String>,
    /// Link to the privacy notice. Default: none.
    pub privacy: Option<String>,
    /// A style sheet that is loaded after ours. Default: none.
    pub style: Option<PathBuf>,
}

/// Where the logo is.
#[derive(Debug, Clone)]
pub enum Logo {
    /// A file, read at start and served by us.
    File(PathBuf),
    /// A path of this site, on a public route.
    Path(String),
}

impl Default for PageSettings {
    fn default() -> Self {
        Self {
            base: "/auth".to_owned(),
            paths: Vec::new(),
            site_name: "Sallyport".to_owned(),
            identifier_field: "username".to_owned(),
            secret_field: "password".to_owned(),
            remember: true,
            signup: false,
            reset: false,
            pin: false,
            return_origins: Vec::new(),
            captcha: None,
            brand: Brand::default(),
            folder: None,
        }
    }
}

impl PageSettings {
    /// Where the endpoint `name` is, or `default` below the base.
    pub(super) fn path(&self, name: &str, default: &str) -> String {
        let moved = self.paths.iter().find(|(one, _)| *one == name);
        moved.map_or_else(|| format!("{}{default}", self.base), |(_, path)| path.clone())
    }
}

/// A page, ready to be sent with [`Pages::headers`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The document.
    pub html: String,
    /// `Content-Language`.
    pub language: HeaderValue,
}

/// All pages in all languages, parsed.
#[derive(Debug)]
pub struct Pages {
    settings: PageSettings,
    languages: Vec<Spoken>,
    assets: Vec<Asset>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Those of a page with the widget.
    captcha_headers: Vec<(HeaderName, HeaderValue)>,
    /// Those of the page that sends a form on to an application.
    onward_headers: Vec<(HeaderName, HeaderValue)>,
}

/// The pages in one language.
#[derive(Debug)]
struct Spoken {
    texts: Arc<Texts>,
    header: HeaderValue,
    /// The operator's templates over ours; ours alone if there are none.
    templates: Environment<'static>,
    /// Ours, for the case that one of the operator's fails on a page which no sample foresaw.
    built_in: Environment<'static>,
}

const TEMPLATES: &[(&str, &str)] = &[
    ("layout.html", include_str!("templates/layout.html")),
    ("fields.html", include_str!("templates/fields.html")),
    ("login.html", include_str!("templates/login.html")),
    ("logged_out.html", include_str!("templates/logged_out.html")),
    ("logout.html", include_str!("templates/logout.html")),
    ("cookies.html", include_str!("templates/cookies.html")),
    ("error.html", include_str!("templates/error.html")),
    ("signup.html", include_str!("templates/signup.html")),
    ("password.html", include_str!("templates/password.html")),
    ("reset.html", include_str!("templates/reset.html")),
    ("account.html", include_str!("templates/account.html")),
    ("resume.html", include_str!("templates/resume.html")),
];

impl Pages {
    /// Parses everything, and shows every kind of page once in every language if the operator has
    /// templates, so that a mistake in them is told now and not to a person who wants to log in.
    pub fn new(settings: PageSettings) -> Result<Self, PageError> {
        check(&settings)?;
        let assets = own::assets(&settings.brand)?;
        let all_texts = own::texts(settings.folder.as_deref())?;
        let own_templates = own::templates(settings.folder.as_deref())?;
        let built_in = environment(TEMPLATES.iter().map(|(n, s)| (*n, (*s).to_owned(), *n)))?;
        let mut templates = built_in.clone();
        for own in &own_templates {
            add(&mut templates, &own.name, own.source.clone(), &own.file)?;
        }
        let policy = |origins: &[String]| {
            headers(&content_security_policy(&settings.return_origins, origins))
        };
        let captcha = settings.captcha.as_ref();
        let captcha_headers = policy(captcha.map_or(&[], |captcha| &captcha.origins));
        let headers = policy(&[]);
        // What an application answers to a form may lead anywhere, and a browser holds the whole way
        // against the page that the form was on (CSP 3, section 6.4.1.1).
        let onward_headers = self::headers(&content_security_policy(&["https:".to_owned()], &[]));
        let languages = Vec::new();
        let mut pages =
            Self { settings, languages, assets, headers, captcha_headers, onward_headers };
        let site = pages.site();
        for mut texts in all_texts {
            if pages.settings.pin {
                texts.speak_of_pins();
            }
            let header = HeaderValue::from_str(&texts.tag).map_err(|_| PageError::Text {
                file: texts.tag.clone(),
                line: 0,
                detail: "the file's name is not a language tag".to_owned(),
            })?;
            let texts = Arc::new(texts);
            let speak = |templates: &Environment<'static>| {
                let mut templates = templates.clone();
                let direction = if texts.rtl { "rtl" } else { "ltr" };
                templates.add_global("lang", context! { tag => texts.tag.as_str(), direction });
                templates.add_global("site", site.clone());
                templates.add_global("t", Value::from_object(Speak(Arc::clone(&texts))));
                let links = Arc::new(pages.assets.iter().map(|a| pages.link(a)).collect());
                templates.add_global("asset", Value::from_object(Links(links)));
                templates
            };
            let (templates, built_in) = (speak(&templates), speak(&built_in));
            pages.languages.push(Spoken { texts, header, templates, built_in });
        }
        if !own_templates.is_empty() {
            pages.rehearse(&own_templates)?;
        }
        Ok(pages)
    }

    /// The language that `Accept-Language` prefers among those there are; English without one.
    pub fn language(&self, accept_language: Option<&str>) -> Language {
        let tags = self.languages.iter().map(|spoken| spoken.texts.tag.as_str());
        language::negotiate(accept_language.unwrap_or_default(), tags)
    }

    /// The page as HTML.
    pub fn render(&self, page: &Page<'_>, language: Language) -> Rendered {
        let spoken = self.languages.get(language.0).or_else(|| self.languages.first());
        let Some(spoken) = spoken else {
            return Rendered {
                html: LAST_RESORT.to_owned(),
                language: HeaderValue::from_static("en"),
            };
        };
        let html = self
            .attempt(&spoken.templates, spoken, page)
            .or_else(|error| {
                tracing::error!(%error, "a template of the operator's failed; ours stands in");
                self.attempt(&spoken.built_in, spoken, page)
            })
            .unwrap_or_else(|error| {
                tracing::error!(%error, "a template failed");
                LAST_RESORT.to_owned()
            });
        Rendered { html, language: spoken.header.clone() }
    }

    fn attempt(
        &self,
        templates: &Environment<'_>,
        spoken: &Spoken,
        page: &Page<'_>,
    ) -> Result<String, Error> {
        let template = templates.get_template(&format!("{}.html", page.name()))?;
        let wide = matches!(page, Page::Account(_));
        let captcha = self.captcha_of(page).map(view::captcha);
        let page = view::view(page, &spoken.texts, &self.settings);
        template.render(context! { page, wide, captcha })
    }

    /// The asset of that name: what follows `<base>/assets/` in a path.
    pub fn asset(&self, name: &str) -> Option<&Asset> {
        self.assets.iter().find(|asset| asset.name == name)
    }

    /// The headers of every page, `Content-Type` and `Cache-Control: no-store` among them.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// The same for this page: one with the widget may load what that needs, and one that sends a
    /// form on is no hindrance to where that leads.
    pub fn headers_of(&self, page: &Page<'_>) -> &[(HeaderName, HeaderValue)] {
        match page {
            Page::Resume(_) => &self.onward_headers,
            _ if self.captcha_of(page).is_some() => &self.captcha_headers,
            _ => &self.headers,
        }
    }

    /// The widget, if this page shows it.
    fn captcha_of(&self, page: &Page<'_>) -> Option<&Captcha> {
        let captcha = self.settings.captcha.as_ref()?;
        let shown = match page {
            Page::Login(login) => login.captcha,
            Page::Signup(signup) => captcha.signup && signup.kind == SignupKind::Open,
            _ => false,
        };
        shown.then_some(captcha)
    }

    /// What a browser may load for a page, and where its forms may lead.
    pub fn content_security_policy(&self) -> &str {
        let policy = self.headers.iter().find(|(name, _)| name == header::CONTENT_SECURITY_POLICY);
        policy.and_then(|(_, value)| value.to_str().ok()).unwrap_or("default-src 'none'")
    }

    /// How the operator's accent is shown where it could not be seen itself; `None` if it always is.
    /// A sentence for the operator.
    pub fn fitted_accent(&self) -> Option<String> {
        let accent = self.settings.brand.accent?;
        let [light, dark] = accent.fitted()?;
        Some(format!(
            "pages.accent: {accent} has too little contrast (WCAG 2.2 AA); buttons are {light} on \
             the light ground and {dark} on the dark one"
        ))
    }

    /// Shows every sample, and blames the operator's file if one fails.
    fn rehearse(&self, own: &[own::Source]) -> Result<(), PageError> {
        for spoken in &self.languages {
            for page in samples() {
                self.attempt(&spoken.templates, spoken, &page)
                    .map_err(|error| template_error(&error, own))?;
            }
        }
        Ok(())
    }

    fn link(&self, asset: &Asset) -> (String, Value) {
        let folder = self.settings.path("assets", "/assets/");
        let url = format!("{folder}{}?v={}", asset.name, asset.version);
        (asset.name.clone(), Value::from_safe_string(url))
    }

    /// What the templates call `site`.
    fn site(&self) -> Value {
        let PageSettings { base, brand, .. } = &self.settings;
        let logo = match &brand.logo {
            None => None,
            Some(Logo::Path(path)) => Some(Value::from(path)),
            Some(Logo::File(_)) => {
                self.assets.iter().find(|a| a.name.starts_with("logo.")).map(|a| self.link(a).1)
            }
        };
        context! {
            // Checked by `check` to need no escaping.
            base => Value::from_safe_string(base.clone()),
            login_url => self.settings.path("login_page", "/login"),
            login_action => self.settings.path("login", "/login"),
            logout_action => self.settings.path("logout", "/logout"),
            password_url => self.settings.path("password_page", "/password"),
            password_action => self.settings.path("password", "/password"),
            reset_url => self.settings.path("reset_page", "/reset"),
            reset_action => self.settings.path("reset", "/reset"),
            account_url => self.settings.path("account_page", "/account"),
            end_session_action => self.settings.path("end_session", "/sessions/end"),
            end_others_action =>
                self.settings.path("end_other_sessions", "/sessions/end-others"),
            name => display::short(&self.settings.site_name, display::NAME),
            identifier_field => &self.settings.identifier_field,
            secret_field => &self.settings.secret_field,
            email => self.settings.identifier_field.to_ascii_lowercase().contains("mail"),
            remember => self.settings.remember,
            signup => self.settings.signup,
            reset => self.settings.reset,
            pin => self.settings.pin,
            logo,
            css => brand.style.is_some(),
            imprint => &brand.imprint,
            privacy => &brand.privacy,
        }
    }
}

/// Shown if even our own template fails, which the rehearsal at start rules out.
const LAST_RESORT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
    <title>Error</title><p>This page cannot be shown right now. Try again in a moment.</p></html>";

/// `t("key", slot=value)` in a template.
#[derive(Debug)]
struct Speak(Arc<Texts>);

impl Object for Speak {
    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let (key, slots): (&str, Kwargs) = from_args(args)?;
        let values: Vec<(&str, String)> = slots
            .args()
            .map(|slot| Ok((slot, slots.get::<Value>(slot)?.to_string())))
            .collect::<Result<_, Error>>()?;
        let values: Vec<(&str, &str)> = values.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let text = self.0.html(key, &values);
        text.map(Value::from_safe_string).ok_or_else(|| {
            Error::new(ErrorKind::InvalidOperation, format!("there is no text `{key}`"))
        })
    }
}

/// `asset("name")` in a template.
#[derive(Debug)]
struct Links(Arc<Vec<(String, Value)>>);

impl Object for Links {
    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let (wanted,): (&str,) = from_args(args)?;
        let found = self.0.iter().find(|(name, _)| name == wanted);
        found.map(|(_, link)| link.clone()).ok_or_else(|| {
            Error::new(ErrorKind::InvalidOperation, format!("there is no asset `{wanted}`"))
        })
    }
}

/// An environment in which everything is escaped, whatever a file is called.
fn environment<'a>(
    sources: impl Iterator<Item = (&'a str, String, &'a str)>,
) -> Result<Environment<'static>, PageError> {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates.set_auto_escape_callback(|_| minijinja::AutoEscape::Html);
    if let Ok(syntax) = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build() {
        templates.set_syntax(syntax);
    }
    templates.set_formatter(|out, state, value| match value.as_str() {
        Some(text) if !value.is_safe() => {
            let clean = display::clean(text);
            minijinja::escape_formatter(out, state, &Value::from(clean))
        }
        _ => minijinja::escape_formatter(out, state, value),
    });
    for (name, source, file) in sources {
        add(&mut templates, name, source, file)?;
    }
    Ok(templates)
}

/// Parses one template; `file` is what an error calls it.
fn add(
    templates: &mut Environment<'static>,
    name: &str,
    source: String,
    file: &str,
) -> Result<(), PageError> {
    templates.add_template_owned(name.to_owned(), source).map_err(|error| PageError::Template {
        file: file.to_owned(),
        line: error.line().unwrap_or(0),
        detail: detail(&error),
    })
}

/// An error of the engine's, with the operator's path in place of the template's name.
fn template_error(error: &Error, own: &[own::Source]) -> PageError {
    let name = error.name().unwrap_or_default();
    let file = own.iter().find(|source| source.name == name).map_or(name, |source| &source.file);
    PageError::Template {
        file: file.to_owned(),
        line: error.line().unwrap_or(0),
        detail: detail(error),
    }
}

fn detail(error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

/// `captcha`: the origins that the widget needs; none for a page without it.
fn content_security_policy(return_origins: &[String], captcha: &[String]) -> String {
    let foreign: String = captcha.iter().flat_map(|origin| [" ", origin]).collect();
    let mut policy = format!(
        "default-src 'none'; style-src 'self'{foreign}; script-src 'self'{foreign}; \
         img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; "
    );
    if !captcha.is_empty() {
        policy.push_str(&format!("frame-src{foreign}; connect-src{foreign}; "));
    }
    policy.push_str("form-action 'self'");
    for origin in return_origins {
        policy.push(' ');
        policy.push_str(origin);
    }
    policy
}

fn headers(policy: &str) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = vec![
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        // Not `no-referrer`: under it a browser sends a form with `Origin: null` (Fetch, "append a
        // request Origin header"), and the CSRF guard would refuse our own login.
        (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            HeaderValue::from_static("same-origin"),
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("same-origin"),
        ),
    ];
    if let Ok(policy) = HeaderValue::from_str(policy) {
        headers.push((header::CONTENT_SECURITY_POLICY, policy));
    }
    headers
}

/// Refuses settings that would become something else than a path or a link in a page or header.
fn check(settings: &PageSettings) -> Result<(), PageError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let base = &settings.base;
    let is_path = base.is_empty() || (base.starts_with('/') && !base.starts_with("//"));
    if !is_path || base.ends_with('/') || !base.bytes().all(plain) {
        return Err(PageError::Base(base.clone()));
    }
    for origin in &settings.return_origins {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte);
        if !host.is_some_and(|host| !host.is_empty() && host.bytes().all(fits)) {
            return Err(PageError::Origin(origin.clone()));
        }
    }
    let brand = &settings.brand;
    for link in [&brand.imprint, &brand.privacy].into_iter().flatten() {
        let scheme = ["https://", "http://", "mailto:"].iter().any(|s| link.starts_with(s));
        if !scheme && !is_own_path(link) {
            return Err(PageError::Link(link.clone()));
        }
    }
    match &brand.logo {
        Some(Logo::Path(path)) if !is_own_path(path) => Err(PageError::ForeignLogo(path.clone())),
        _ => Ok(()),
    }
}

/// A path of this site that no browser reads as another one's (WHATWG URL: `//`, `/\`).
fn is_own_path(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}
