//! Where a login may lead back to, judged by a reader of URLs that is not ours (WHATWG).
#![no_main]

use libfuzzer_sys::fuzz_target;
use sallyport::config::Origin;
use sallyport::message::return_to::check;
use url::Url;

fuzz_target!(|text: &str| {
    let own = Origin::parse("https://app.example.test").expect("it is one");
    let allowed = ["other.example.test".to_owned(), "third.example.test:8443".to_owned()];
    let Some(target) = check(text, &own, &allowed) else { return };
    let here = Url::parse("https://app.example.test/auth/login").expect("it is one");
    let there = here.join(target.as_str()).expect("a browser can go there");
    let place = (there.scheme(), there.host_str().unwrap_or_default(), there.port());
    let fine = [
        ("https", "app.example.test", None),
        ("https", "other.example.test", None),
        ("https", "third.example.test", Some(8443)),
    ];
    assert!(fine.contains(&place), "{text:?} leads to {there}");
    assert!(there.username().is_empty() && there.password().is_none(), "{text:?}");
});
