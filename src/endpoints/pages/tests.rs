use std::sync::LazyLock;
use std::time::Duration;

use http::StatusCode;
use proptest::prelude::*;

use super::*;

fn settings() -> PageSettings {
    PageSettings { signup: true, reset: true, ..PageSettings::default() }
}

fn pages() -> &'static Pages {
    static PAGES: LazyLock<Pages> = LazyLock::new(|| Pages::new(settings()).unwrap());
    &PAGES
}

fn english(pages: &Pages, page: &Page<'_>) -> String {
    let spoken = &pages.languages[0];
    pages.attempt(&spoken.templates, spoken, page).unwrap()
}

fn login<'a>(identifier: &'a str, return_to: &'a str, error: Option<Message>) -> Page<'a> {
    let return_to = Some(return_to);
    Page::Login(Login { identifier, return_to, error, ..Login::default() })
}

/// The settings with `own` files in the operator's folder.
fn with_files(own: &[(&str, &str)]) -> (tempfile::TempDir, PageSettings) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in own {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let settings = PageSettings { folder: Some(folder.path().to_owned()), ..settings() };
    (folder, settings)
}

/// The tags of a document, each as its name and attributes; fails on what is not well nested.
fn tags(html: &str) -> Vec<(String, Vec<(String, String)>)> {
    const VOID: [&str; 7] = ["meta", "link", "input", "img", "br", "path", "!doctype"];
    let (mut found, mut open) = (Vec::new(), Vec::new());
    let mut rest = html;
    while let Some((_, tail)) = rest.split_once('<') {
        let (tag, tail) = tail.split_once('>').expect("every tag is closed");
        rest = tail;
        let tag = tag.trim_end_matches('/');
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "wrong nesting in {html}");
            continue;
        }
        let (name, mut attributes) = tag.split_once([' ', '\n']).unwrap_or((tag, ""));
        let mut pairs = Vec::new();
        while !attributes.trim().is_empty() {
            attributes = attributes.trim_start();
            let end = attributes.find(['=', ' ']).unwrap_or(attributes.len());
            let (key, after) = attributes.split_at(end);
            let (value, after) = match after.strip_prefix("=\"") {
                Some(quoted) => quoted.split_once('"').expect("every value is quoted"),
                None => ("", after),
            };
            pairs.push((key.to_owned(), value.to_owned()));
            attributes = after;
        }
        if !VOID.contains(&name) {
            open.push(name.to_owned());
        }
        found.push((name.to_owned(), pairs));
    }
    assert!(open.is_empty(), "left open: {open:?}");
    found
}

fn attribute<'a>(pairs: &'a [(String, String)], key: &str) -> Option<&'a str> {
    pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

#[test]
fn every_page_renders_in_every_language_and_is_well_nested() {
    let pages = pages();
    for spoken in &pages.languages {
        for page in samples() {
            let html = pages.attempt(&spoken.templates, spoken, &page).unwrap();
            assert!(html.starts_with("<!doctype html>"));
            assert!(html.contains(&format!("<html lang=\"{}\" dir=\"ltr\">", spoken.texts.tag)));
            tags(&html);
        }
    }
}

#[test]
fn every_page_has_one_heading_one_main_and_a_title() {
    let pages = pages();
    for page in samples() {
        let html = english(pages, &page);
        let tags = tags(&html);
        for name in ["h1", "main", "title", "header", "footer"] {
            assert_eq!(tags.iter().filter(|(tag, _)| tag == name).count(), 1, "{name} in {html}");
        }
        assert!(!html.contains("<title> ·") && !html.contains("<h1></h1>"), "{html}");
    }
}

#[test]
fn every_field_has_a_label_and_every_id_is_unique_and_referred_to_truly() {
    let pages = pages();
    for page in samples() {
        let html = english(pages, &page);
        let tags = tags(&html);
        let ids: Vec<_> = tags.iter().filter_map(|(_, pairs)| attribute(pairs, "id")).collect();
        for (index, id) in ids.iter().enumerate() {
            assert!(!ids[..index].contains(id), "{id} twice in {html}");
        }
        for (name, pairs) in &tags {
            let refers =
                ["for", "aria-describedby", "aria-controls", "aria-labelledby", "data-caps"];
            for id in refers.iter().filter_map(|key| attribute(pairs, key)) {
                assert!(id.split(' ').all(|id| ids.contains(&id)), "{id} is nowhere in {html}");
            }
            let shown = name == "input"
                && attribute(pairs, "type") != Some("hidden")
                && attribute(pairs, "hidden").is_none();
            if shown && attribute(pairs, "type") != Some("checkbox") {
                let id = attribute(pairs, "id").unwrap();
                assert!(html.contains(&format!("<label for=\"{id}\">")), "{id} has no label");
            }
        }
    }
}

#[test]
fn nothing_is_inline_and_nothing_is_asked_of_third_parties() {
    let pages = pages();
    for page in samples() {
        let html = english(pages, &page);
        for (name, pairs) in tags(&html) {
            assert!(name != "style", "{html}");
            // What is deferred does not hold up the first paint.
            let deferred = ["src", "defer"].iter().all(|key| attribute(&pairs, key).is_some());
            assert!(name != "script" || deferred, "{html}");
            for (key, value) in pairs {
                assert!(!key.starts_with("on") && key != "style", "{key} in {html}");
                assert!(!value.trim_start().to_ascii_lowercase().starts_with("javascript:"));
                let loads = key == "src" || (name == "link" && key == "href") || key == "action";
                let place = value.replace("&#x2f;", "/");
                // A kept form goes on to the application.
                let onward = key == "action" && matches!(page, Page::Resume(_));
                assert!(!loads || onward || place.starts_with("/auth/"), "{value}");
                assert!(!onward || (place.starts_with('/') && !place.starts_with("//")), "{value}");
            }
        }
    }
    let policy = pages.content_security_policy();
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    // The page that sends a form on is as strict, but for where that leads.
    let onward = pages.headers_of(&Page::Resume(Resume { place: "/", fields: &[] }));
    let name = header::CONTENT_SECURITY_POLICY;
    let (_, onward) = onward.iter().find(|(own, _)| *own == name).unwrap();
    assert_eq!(*onward, format!("{policy} https:").as_str());
}

#[test]
fn a_kept_form_is_shown_by_its_place_alone_and_holds_its_fields_exactly() {
    let pages = pages();
    let value = "\"><script>\u{202e}\u{1}'&amp;\r\n\u{e4}/`";
    let fields = [("a\"b".to_owned(), value.to_owned()), ("action".to_owned(), String::new())];
    let place = "/notes/%3Cb%3E?secret=1&x=\'";
    let html = english(pages, &Page::Resume(Resume { place, fields: &fields }));
    let inputs: Vec<_> = tags(&html)
        .into_iter()
        .filter(|(name, _)| name == "input")
        .map(|(_, pairs)| {
            let exact = |key| attribute(&pairs, key).unwrap().to_owned();
            (exact("type"), exact("name"), exact("value"))
        })
        .collect();
    let hidden = |name: &str, value: &str| ("hidden".to_owned(), name.to_owned(), value.to_owned());
    let escaped = "&quot;&gt;&lt;script&gt;\u{202e}\u{1}&#x27;&amp;amp;\r\n\u{e4}&#x2f;`";
    assert_eq!(inputs, [hidden("a&quot;b", escaped), hidden("action", "")]);
    assert_eq!(html.matches("secret=1").count(), 1, "not in what is shown: {html}");
    assert!(html.contains("action=\"&#x2f;notes&#x2f;%3Cb%3E?secret=1&amp;x=&#x27;\""), "{html}");
}

#[test]
fn a_page_and_all_that_it_loads_stay_below_twenty_kib() {
    let pages = pages();
    let assets: usize = pages.assets.iter().map(|asset| asset.body.len()).sum();
    for page in samples() {
        let all = assets + english(pages, &page).len();
        assert!(all < 20 * 1024, "{} has {all} bytes", page.name());
    }
}

#[test]
fn the_script_and_every_link_to_an_asset_lead_to_one() {
    let pages = pages();
    let html = english(pages, &Page::LoggedOut { return_to: None });
    for name in ["style.css", "page.js", "icon.svg"] {
        let asset = pages.asset(name).unwrap();
        assert!(html.contains(&format!("/auth/assets/{name}?v={}\"", asset.version)), "{html}");
        assert_eq!(asset.etag, format!("\"{}\"", asset.version));
        assert!(asset.cache_control(Some(&asset.version)).contains("immutable"));
        assert_eq!(asset.cache_control(Some("0")), "no-cache");
        assert_eq!(asset.cache_control(None), "no-cache");
    }
    assert!(pages.asset("../style.css").is_none() && pages.asset("").is_none());
}

#[test]
fn a_failed_login_keeps_the_name_and_says_why_next_to_the_field() {
    let html = english(pages(), &login("ada", "/notes#7", Some(Message::InvalidCredentials)));
    let tags = tags(&html);
    let field = |id: &str| {
        let found = tags.iter().find(|(_, pairs)| attribute(pairs, "id") == Some(id));
        found.map(|(_, pairs)| pairs.clone()).unwrap()
    };
    let (name, secret) = (field("identifier"), field("secret"));
    assert_eq!(attribute(&name, "value"), Some("ada"));
    assert_eq!(attribute(&name, "name"), Some("username"));
    assert_eq!(attribute(&name, "autocomplete"), Some("username"));
    assert_eq!(attribute(&secret, "autocomplete"), Some("current-password"));
    assert_eq!(attribute(&secret, "value"), None);
    for field in [&name, &secret] {
        assert_eq!(attribute(field, "aria-invalid"), Some("true"));
        assert_eq!(attribute(field, "aria-describedby"), Some("error"));
    }
    assert!(attribute(&secret, "autofocus").is_some() && attribute(&name, "autofocus").is_none());
    assert!(html.contains("id=\"error\" role=\"alert\">Name or password is not right.</p>"));
    assert!(html.contains("<title>Error: Log in"));
    assert!(html.contains("name=\"return_to\" value=\"&#x2f;notes#7\""), "{html}");
}

#[test]
fn the_fields_bear_the_names_that_the_config_gives_them() {
    let settings = PageSettings {
        identifier_field: "email".to_owned(),
        secret_field: "pass\"phrase".to_owned(),
        ..settings()
    };
    let html = english(&Pages::new(settings).unwrap(), &Page::Login(Login::default()));
    assert!(html.contains("name=\"email\"") && html.contains("Email address"));
    assert!(html.contains("name=\"pass&quot;phrase\""));
}

#[test]
fn an_error_page_tells_the_time_left_and_the_request() {
    let failure = Failure {
        status: StatusCode::TOO_MANY_REQUESTS,
        code: "rate_limited",
        message: "",
        own_words: None,
        request_id: Some("r-1"),
        retry_after: Some(Duration::from_millis(90_001)),
        login: None,
        login_url: None,
        switch_url: None,
    };
    let html = english(pages(), &Page::Error(failure.clone()));
    assert!(html.contains("Try again in \u{2068}2\u{a0}min\u{2069}."), "{html}");
    assert!(html.contains("<code>r-1</code>") && html.contains("<code>rate_limited</code>"));
    let strange =
        Failure { status: StatusCode::IM_A_TEAPOT, message: "Short and stout.", ..failure.clone() };
    let html = english(pages(), &Page::Error(strange));
    assert!(html.contains("Short and stout.") && html.contains("That did not work"), "{html}");
    let own = Failure { own_words: Some("Not so <fast>"), ..failure };
    let html = english(pages(), &Page::Error(own));
    assert!(html.contains("<p>Not so &lt;fast&gt;</p>"), "{html}");
    assert!(!html.contains("Try again in") && html.contains("Too many requests"), "{html}");
}

#[test]
fn a_403_says_who_is_asking_and_a_404_does_not() {
    let pages = pages();
    let failure = |status, code| Failure {
        status,
        code,
        message: "",
        own_words: None,
        request_id: None,
        retry_after: None,
        login: Some("ada"),
        login_url: None,
        switch_url: Some("/auth/logout"),
    };
    let html = english(pages, &Page::Error(failure(StatusCode::FORBIDDEN, "forbidden")));
    assert!(html.contains("You are logged in as \u{2068}ada\u{2069}."));
    assert!(html.contains("Use another account"));
    let html = english(pages, &Page::Error(failure(StatusCode::NOT_FOUND, "not_found")));
    assert!(!html.contains("ada") && !html.contains("Use another account"));
}

#[test]
fn a_template_that_does_not_parse_is_refused_with_file_and_line() {
    let (_folder, settings) =
        with_files(&[("templates/login.html", "<p>\n</p>\n{% if %}\n{% endif %}")]);
    let error = Pages::new(settings).unwrap_err().to_string();
    assert!(error.contains("login.html, line 3: "), "{error}");
}

#[test]
fn a_template_that_fails_on_a_page_is_refused_at_start() {
    let (_folder, settings) = with_files(&[("templates/login.html", "<p>\n{{ page.nme }}</p>")]);
    let error = Pages::new(settings).unwrap_err().to_string();
    assert!(error.contains("login.html, line 2: "), "{error}");
    let (_folder, settings) = with_files(&[("templates/error.html", "{{ t(\"no.such\") }}")]);
    let error = Pages::new(settings).unwrap_err().to_string();
    assert!(error.contains("error.html, line 1: ") && error.contains("`no.such`"), "{error}");
}

#[test]
fn the_operators_templates_and_texts_lie_over_ours() {
    let (_folder, settings) = with_files(&[
        (
            "templates/logged_out.html",
            "{% extends \"layout.html\" %}{% block main %}<h1>Bye {{ site.name }}</h1>{% endblock %}",
        ),
        ("texts/en.txt", "login.submit = Come in"),
        ("texts/ar.txt", "direction = rtl\nlogin.title = تسجيل الدخول"),
    ]);
    let pages = Pages::new(PageSettings { site_name: "<b>".to_owned(), ..settings }).unwrap();
    let spoken = |tag| pages.language(Some(tag));
    let html = pages.render(&Page::LoggedOut { return_to: None }, spoken("en")).html;
    assert!(html.contains("<h1>Bye &lt;b&gt;</h1>"), "{html}");
    let form = Page::Login(Login::default());
    assert!(pages.render(&form, spoken("en")).html.contains(">Come in</button>"));
    let arabic = pages.render(&form, spoken("ar-EG,en;q=0.5"));
    assert_eq!(arabic.language, "ar");
    assert!(arabic.html.contains("<html lang=\"ar\" dir=\"rtl\">"));
    assert!(arabic.html.contains("تسجيل الدخول") && arabic.html.contains("Password"));
}

#[test]
fn an_own_template_that_fails_on_a_page_nobody_foresaw_gives_way_to_ours() {
    let source = "{% if page.login == \"eve\" %}{{ page.login.nothing }}{% endif %}own";
    let (_folder, settings) = with_files(&[("templates/logout.html", source)]);
    let pages = Pages::new(settings).unwrap();
    let page = |login| Page::LogoutConfirm { login, return_to: None };
    assert_eq!(pages.render(&page("ada"), Language::default()).html, "own");
    let html = pages.render(&page("eve"), Language::default()).html;
    assert!(html.contains("You are logged in as"), "{html}");
}

#[test]
fn wrong_settings_are_refused() {
    let brand = |brand: Brand| PageSettings { brand, ..settings() };
    let file = |name: &str| Some(PathBuf::from(name));
    let wrong = [
        PageSettings { base: "auth".to_owned(), ..settings() },
        PageSettings { base: "/auth/".to_owned(), ..settings() },
        PageSettings { base: "//elsewhere".to_owned(), ..settings() },
        PageSettings { base: "/\"><script>".to_owned(), ..settings() },
        PageSettings {
            return_origins: vec!["https://a.example; script-src *".to_owned()],
            ..settings()
        },
        PageSettings { folder: file("/no/such/folder"), ..settings() },
        brand(Brand { imprint: Some("javascript:alert(1)".to_owned()), ..Brand::default() }),
        brand(Brand { privacy: Some("//elsewhere.example".to_owned()), ..Brand::default() }),
        brand(Brand {
            logo: Some(Logo::Path("https://elsewhere.example/l.svg".to_owned())),
            ..Brand::default()
        }),
        brand(Brand { logo: Some(Logo::File("/no/such/logo.svg".into())), ..Brand::default() }),
        brand(Brand { logo: Some(Logo::File("/no/such/logo.exe".into())), ..Brand::default() }),
        brand(Brand { style: file("/no/such/style.css"), ..Brand::default() }),
    ];
    for settings in wrong {
        assert!(Pages::new(settings.clone()).is_err(), "{settings:?}");
    }
}

#[test]
fn a_brand_shows_its_logo_links_and_style() {
    let (folder, settings) = with_files(&[("logo.svg", "<svg/>"), ("own.css", "body{}")]);
    let settings = PageSettings {
        brand: Brand {
            accent: Some("#ffd400".parse().unwrap()),
            logo: Some(Logo::File(folder.path().join("logo.svg"))),
            imprint: Some("/imprint".to_owned()),
            privacy: Some("https://example.org/privacy?a=1&b=2".to_owned()),
            style: Some(folder.path().join("own.css")),
        },
        return_origins: vec!["https://app.example.org".to_owned()],
        ..settings
    };
    let pages = Pages::new(settings).unwrap();
    let html = english(&pages, &Page::LoggedOut { return_to: None });
    tags(&html);
    assert!(html.contains("<img src=\"/auth/assets/logo.svg?v="), "{html}");
    assert!(html.contains("alt=\"Sallyport\""));
    assert!(html.contains("/auth/assets/brand.css?v="));
    assert!(html.contains("privacy?a=1&amp;b=2\">Privacy</a>"), "{html}");
    assert_eq!(pages.asset("logo.svg").unwrap().content_type, "image/svg+xml");
    assert!(
        pages.content_security_policy().ends_with("form-action 'self' https://app.example.org")
    );
}

#[test]
fn forms_are_sent_with_an_origin_and_pages_are_never_stored() {
    let pages = pages();
    let value = |name: &str| {
        let found = pages.headers().iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.to_str().unwrap()).unwrap_or_default()
    };
    assert_eq!(value("referrer-policy"), "same-origin");
    assert_eq!(value("cache-control"), "no-store");
    assert_eq!(value("x-content-type-options"), "nosniff");
    assert_eq!(value("cross-origin-opener-policy"), "same-origin");
    assert_eq!(value("content-security-policy"), pages.content_security_policy());
    assert!(value("content-security-policy").contains("frame-ancestors 'none'"));
}

/// Text that tries to be something else.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "<script>alert(1)</script>",
        "\" autofocus onfocus=\"x",
        "' onclick='x",
        "{{ 7*7 }}",
        "{% raw %}",
        "&lt;",
        "</title>",
        "<!--",
        "]]>",
        "\u{202E}",
        "\u{2066}",
        "\u{0}",
        "\r\n",
        "javascript:",
        "ä",
        "a",
        "\u{FEFF}",
        "\u{E0041}",
        "{login}",
        "=",
        "\\",
    ]);
    prop_oneof![
        prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat()),
        any::<String>(),
        ".{300,3000}",
    ]
}

/// Everything that a stranger can put on a page, as `text`.
fn pages_with(text: &str) -> Vec<Page<'_>> {
    let some = Some(text);
    let failure = Failure {
        status: StatusCode::FORBIDDEN,
        code: text,
        message: text,
        own_words: None,
        request_id: some,
        retry_after: Some(Duration::MAX),
        login: some,
        login_url: some,
        switch_url: some,
    };
    let teapot = Failure { status: StatusCode::IM_A_TEAPOT, ..failure.clone() };
    let account =
        Account { login: text, name: some, email: some, roles: &[], sessions: &[], done: None };
    vec![
        login(text, text, Some(Message::InvalidCredentials)),
        Page::LogoutConfirm { login: text, return_to: some },
        Page::CookiesRefused { why: Refusal::Cookies, return_to: some },
        Page::CookiesRefused { why: Refusal::WrongHost { expected: text }, return_to: some },
        Page::Error(failure),
        Page::Error(teapot),
        Page::Account(account),
        Page::NewPassword(NewPassword { login: text, token: some, min_length: 8, error: None }),
        Page::ResetRequest { identifier: text, sent: false, error: None },
    ]
}

/// Names of tags and attributes, which no value may add to.
fn shape(html: &str) -> Vec<(String, Vec<String>)> {
    let keys = |pairs: Vec<(String, String)>| pairs.into_iter().map(|(key, _)| key).collect();
    tags(html).into_iter().map(|(name, pairs)| (name, keys(pairs))).collect()
}

#[test]
fn a_hostile_device_or_id_stays_text_on_the_account_page() {
    let text = "\"><script>\u{202E}\u{0}{{ 7*7 }}";
    let address = None;
    let (since, last_used) = (
        crate::clock::Timestamp::from_millis(i64::MAX),
        crate::clock::Timestamp::from_millis(i64::MIN),
    );
    let sessions =
        [SessionLine { id: text, device: text, address, since, last_used, current: false }];
    let roles = vec![text.to_owned()];
    let account = Account {
        login: text,
        name: None,
        email: None,
        roles: &roles,
        sessions: &sessions,
        done: None,
    };
    let html = english(pages(), &Page::Account(account));
    assert!(tags(&html).iter().filter(|(name, _)| name == "script").count() == 1, "{html}");
    assert!(
        !html.contains('\u{202E}') && !html.contains('\u{0}') && !html.contains("49"),
        "{html}"
    );
}

proptest! {
    #[test]
    fn no_value_changes_the_shape_of_a_page_or_hides_in_it(text in hostile()) {
        let pages = pages();
        // A value that is a path is shown wherever one is wanted.
        let text = format!("/{text}");
        for (page, plain) in pages_with(&text).iter().zip(pages_with("/a")) {
            let html = english(pages, page);
            prop_assert!(html.len() < 24 * 1024, "{} has {} bytes", page.name(), html.len());
            prop_assert!(!html.chars().any(|c| c.is_control() && c != '\n'));
            let hidden = ['\u{202E}', '\u{2066}', '\u{FEFF}', '\u{E0041}'];
            prop_assert!(!html.contains(hidden));
            if text.len() < 100 {
                prop_assert_eq!(shape(&html), shape(&english(pages, &plain)), "{}", html);
            }
        }
    }
}
