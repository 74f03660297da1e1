//! Tokens: nothing but what we signed is taken, whatever is done to it.
#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use sallyport::clock::Timestamp;
use sallyport::config::Config;
use sallyport::id::{SessionId, TokenId};
use sallyport::secret::Secret;
use sallyport::token::{AccessClaims, Keyring, MasterKey, RefreshClaims, Rules};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

struct Ours {
    ring: Keyring,
    tokens: [String; 2],
}

fn ours() -> &'static Ours {
    static OURS: OnceLock<Ours> = OnceLock::new();
    OURS.get_or_init(|| {
        let master = MasterKey::fixed(Secret::new(vec![7; 32]));
        let key = master.id.clone();
        let config = "[listen]\nhttps = \"127.0.0.1:0\"\npublic_url = \"https://localhost:8443\"\n\
             [[upstream]]\nname = \"app\"\nservers = [\"demo\"]\n[[route]]\npath = \"/**\"\n";
        let config = Config::parse(config, Path::new("gateway.toml")).expect("it is one");
        let rules = Rules::of(&config);
        let ring = Keyring::new(vec![master], rules).expect("one good key");
        let (session, token) = (SessionId::from_bytes([1; 16]), TokenId::from_bytes([2; 16]));
        let access = AccessClaims {
            issued_at: NOW,
            expires_at: Timestamp::from_secs(NOW.secs() + 300),
            subject: "0190f7b0-0000-7000-8000-000000000000".to_owned(),
            session: Some(session),
            generation: 1,
            token,
            preferred_username: "ada".to_owned(),
            name: None,
            email: None,
            roles: vec!["editor".to_owned()],
            permissions: Vec::new(),
            amr: vec!["pwd".to_owned()],
            auth_time: NOW,
        };
        let refresh = RefreshClaims {
            session,
            generation: 1,
            token,
            issued_at: NOW,
            expires_at: Timestamp::from_secs(NOW.secs() + 3600),
        };
        let tokens = [
            ring.sign_access(&access, NOW).expect("it can be signed"),
            ring.sign_refresh(&refresh, &key).expect("it can be signed"),
        ];
        assert!(ring.verify_access(&tokens[0], NOW).is_ok());
        assert!(ring.verify_refresh(&tokens[1], NOW).is_ok());
        Ours { ring, tokens }
    })
}

fn refused(text: &str) {
    let Ours { ring, tokens } = ours();
    if text != tokens[0] {
        assert!(ring.verify_access(text, NOW).is_err(), "{text:?}");
    }
    if text != tokens[1] {
        assert!(ring.verify_refresh(text, NOW).is_err(), "{text:?}");
    }
    assert!(ring.sealer("login").open(text, NOW).is_none(), "{text:?}");
}

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = str::from_utf8(data) {
        refused(text);
    }
    // A token of ours, with some of its bytes replaced.
    let [which, at, rest @ ..] = data else { return };
    for token in &ours().tokens {
        let mut bytes = token.clone().into_bytes();
        let at = (usize::from(*which) * 256 + usize::from(*at)) % bytes.len();
        for (byte, new) in bytes[at..].iter_mut().zip(rest) {
            *byte = *new;
        }
        if let Ok(text) = String::from_utf8(bytes) {
            refused(&text);
        }
    }
});
