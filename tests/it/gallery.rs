//! Every page as a browser shows it, by light and in the dark, on a desk, on a phone, zoomed in, and
//! without script: what axe-core finds wrong there is wrong. `tests/screenshots FOLDER` keeps the
//! pictures.

use std::collections::BTreeSet;

use sallyport::endpoints::pages::{Brand, PageSettings, Pages, samples};

use crate::harness::{Browser, Process, Upstream, pictures, response, sallyport};

/// What a browser gets for a path.
struct Shown {
    path: String,
    head: Vec<String>,
    body: String,
}

/// Name, width, height and scheme. 1280 pixels at 400 % are 320 (WCAG 2.2, 1.4.10).
const LOOKS: [(&str, u32, u32, bool); 4] = [
    ("desk-light", 1280, 900, false),
    ("desk-dark", 1280, 900, true),
    ("phone-light", 390, 844, false),
    ("phone-dark", 390, 844, true),
];

/// A name and the page as HTML: one of each shape, since most samples differ in a text alone; one of
/// each heading too, if pictures are wanted.
fn gallery(pages: &Pages, language: &str) -> Vec<(String, String)> {
    let mut shapes = BTreeSet::new();
    let mut found = Vec::new();
    for page in samples() {
        let html = pages.render(&page, pages.language(Some(language))).html;
        let shape: Vec<&str> =
            html.split('<').filter_map(|tag| tag.split([' ', '>']).next()).collect();
        let heading = html.split(['<', '>']).skip_while(|part| *part != "h1").nth(1);
        let heading = heading.filter(|_| pictures().is_some()).unwrap_or_default();
        if shapes.insert(format!("{} {heading} {}", page.name(), shape.join(" "))) {
            found.push((format!("{}-{:02}-{language}", page.name(), found.len()), html));
        }
    }
    found
}

/// A site of the pages with their own headers.
fn site(pages: &Pages, shown: &[(String, String)]) -> Upstream {
    let fields = |headers: &[(http::HeaderName, http::HeaderValue)]| -> Vec<String> {
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    };
    let mut all: Vec<Shown> = shown
        .iter()
        .map(|(name, html)| Shown {
            path: format!("/{name}"),
            head: fields(pages.headers()),
            body: html.clone(),
        })
        .collect();
    for name in ["style.css", "page.js", "icon.svg"] {
        let asset = pages.asset(name).unwrap();
        all.push(Shown {
            path: format!("/auth/assets/{name}"),
            head: vec![format!("Content-Type: {}", asset.content_type)],
            body: String::from_utf8(asset.body.to_vec()).unwrap(),
        });
    }
    Upstream::answering(move |request| {
        let line = request.line();
        let path = line.split([' ', '?']).nth(1).unwrap();
        match all.iter().find(|one| one.path == path) {
            Some(one) => {
                let head: Vec<&str> = one.head.iter().map(String::as_str).collect();
                response("200 OK", &head, &one.body)
            }
            None => response("404 Not Found", &[], ""),
        }
    })
}

fn pages() -> Pages {
    let brand = Brand {
        imprint: Some("/imprint".to_owned()),
        privacy: Some("/privacy".to_owned()),
        ..Brand::default()
    };
    let settings = PageSettings {
        site_name: "Field Notes".to_owned(),
        signup: true,
        reset: true,
        brand,
        ..PageSettings::default()
    };
    Pages::new(settings).unwrap()
}

#[test]
fn every_page_is_accessible_in_every_look() {
    let pages = pages();
    let mut shown = gallery(&pages, "en");
    shown.extend(gallery(&pages, "de"));
    assert!(shown.len() > 30, "{}", shown.len());
    let site = site(&pages, &shown);
    let browser = Browser::start();
    browser.bring_axe();
    let folder = pictures();
    for (look, width, height, dark) in LOOKS {
        browser.look(width, height, dark);
        // Colours and sizes are one language's as another's; German has the longer words.
        let wanted = |name: &str| folder.is_some() || name.ends_with("-de") != dark;
        for (name, _) in shown.iter().filter(|(name, _)| wanted(name)) {
            browser.goto(&format!("{}/{name}", site.url()));
            let wrong = browser.violations();
            assert!(wrong.is_empty(), "{name} ({look}):\n{wrong}");
            assert!(browser.fits(), "{name} ({look}) is wider than the screen");
            if let Some(folder) = &folder {
                browser.screenshot(&folder.join(format!("{name}-{look}.png")));
            }
        }
    }
    browser.look(320, 256, false);
    for (name, _) in &shown {
        browser.goto(&format!("{}/{name}", site.url()));
        assert!(browser.fits(), "{name} at 400 % is wider than the screen");
    }
}

#[test]
fn without_a_script_every_page_shows_all_that_works() {
    let pages = pages();
    let shown = gallery(&pages, "en");
    let site = site(&pages, &shown);
    let browser = Browser::start();
    browser.allow_scripts(false);
    for (name, _) in &shown {
        browser.goto(&format!("{}/{name}", site.url()));
        assert!(!browser.find("h1").text().is_empty(), "{name}");
        let script = "return [...document.querySelectorAll('button')].filter(one => \
            one.type === 'button' && one.offsetParent !== null).length;";
        assert_eq!(browser.execute(script, &[]), 0, "{name}: a button that does nothing");
    }
}

#[test]
fn a_language_that_is_written_from_right_to_left_does_not_break() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("texts")).unwrap();
    let texts = "direction = rtl\nlogin.title = تسجيل الدخول\nlogin.identifier_username = اسم المستخدم\n\
                 login.secret = كلمة المرور\nlogin.show = إظهار\n\
                 login.show_label = إظهار كلمة المرور\nlogin.submit = تسجيل الدخول\n";
    std::fs::write(folder.path().join("texts/ar.txt"), texts).unwrap();
    let settings = PageSettings {
        folder: Some(folder.path().to_owned()),
        signup: true,
        ..PageSettings::default()
    };
    let pages = Pages::new(settings).unwrap();
    let shown = gallery(&pages, "ar");
    let site = site(&pages, &shown);
    let browser = Browser::start();
    browser.bring_axe();
    for (width, height) in [(1280, 900), (320, 256)] {
        browser.look(width, height, false);
        for (name, _) in &shown {
            browser.goto(&format!("{}/{name}", site.url()));
            assert!(browser.fits(), "{name} at {width}");
            assert_eq!(browser.violations(), "", "{name} at {width}");
        }
    }
    browser.look(1280, 900, false);
    browser.goto(&format!(
        "{}/{}",
        site.url(),
        shown.iter().find(|(name, _)| name.starts_with("login")).unwrap().0
    ));
    let script = "const at = css => document.querySelector(css).getBoundingClientRect();\
        return at('[data-reveal]').right < at('#secret').left + 1 && at('label').right > 640;";
    assert_eq!(
        browser.execute(script, &[]),
        true,
        "labels begin and buttons end on the other side"
    );
    if let Some(folder) = pictures() {
        browser.screenshot(&folder.join("login-ar-desk-light.png"));
    }
}

#[test]
fn a_wrong_file_of_the_operators_is_told_by_check_and_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let app = "[[upstream]]\nname = \"app\"\nservers = [\"demo\"]\n[[route]]\npath = \"/**\"\n";
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(path("pages/templates")).unwrap();
    std::fs::create_dir(path("pages/texts")).unwrap();
    let template = "pages/templates/login.html";
    let texts = "pages/texts/fr.txt";
    for (file, content, lines, told) in [
        (
            template,
            "<h1>\n{% if %}\n",
            "folder = \"pages\"",
            "pages/templates/login.html, line 2: ",
        ),
        (texts, "direction = ltr\nwhat\n", "folder = \"pages\"", "pages/texts/fr.txt, line 2: "),
        ("logo.exe", "", "logo = \"logo.exe\"", "a logo is a .svg, .png, .webp or .jpg file"),
        ("own.css", "", "accent = \"red\"", "accent: `red` is not a colour"),
        ("own.css", "", "imprint = \"javascript:alert(1)\"", "`javascript:alert(1)` is neither"),
    ] {
        std::fs::write(path(file), content).unwrap();
        Process::configure(folder.path(), &format!("[pages]\n{lines}\n{app}"));
        for command in ["check", "run"] {
            let output = sallyport(folder.path(), &[command], "");
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(78), "{command} {file}: {said}");
            assert!(said.contains(told), "{command} {file}: {said}");
        }
        std::fs::remove_file(path(file)).unwrap();
    }
    // An accent that cannot be seen is taken, and what stands in for it is told.
    std::fs::write(path("logo.svg"), "<svg xmlns=\"http://www.w3.org/2000/svg\"/>").unwrap();
    let lines = "accent = \"#ff0\"\nlogo = \"logo.svg\"";
    Process::configure(folder.path(), &format!("[pages]\n{lines}\n{app}"));
    let output = sallyport(folder.path(), &["check"], "");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("pages.accent: #ffff00 has too little contrast"), "{said}");
    let process = Process::start(folder.path());
    let mut client = process.client();
    let page = client.open("/auth/login").text();
    let (_, logo) = page.split_once("<img src=\"").unwrap();
    let logo = client.get(logo.split_once('"').unwrap().0);
    assert_eq!((logo.status, logo.one("content-type")), (200, "image/svg+xml"));
    assert!(logo.one("content-security-policy").contains("sandbox"), "{logo:#?}");
}
