//! What a token costs: checking one that is not remembered, and making one.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use sallyport::clock::Timestamp;
use sallyport::config::Algorithm;
use sallyport::id::{KeyId, Revoked, SessionId, TokenId};
use sallyport::secret::Secret;
use sallyport::token::{
    AccessClaims, Keyring, MasterKey, MintedRules, RefreshClaims, RevokedSet, Rules,
};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

fn ring(algorithm: Algorithm) -> Keyring {
    let master = |id: &str, byte, active| MasterKey {
        id: KeyId::new(id),
        secret: Secret::new(vec![byte; 32]),
        active_from: Timestamp::from_secs(active),
    };
    let rules = Rules {
        issuer: "https://gate.test".to_owned(),
        audience: "https://gate.test".to_owned(),
        algorithm,
        assertions: Vec::new(),
        claims: None,
        minted: MintedRules {
            audience: "https://gate.test/minted".to_owned(),
            algorithm,
            claims: None,
        },
    };
    // As after a rotation: one that signs, one that only verifies.
    Keyring::new(vec![master("0000000000000001", 1, 0), master("0000000000000002", 2, 9)], rules)
        .expect("two good keys make a ring")
}

fn claims() -> AccessClaims {
    AccessClaims {
        issued_at: NOW,
        expires_at: NOW.plus(Duration::from_secs(300)),
        subject: "0190a1b2-c3d4-7000-8000-0123456789ab".to_owned(),
        session: Some(SessionId::from_bytes([1; 16])),
        generation: 3,
        token: TokenId::from_bytes([2; 16]),
        preferred_username: "ada".to_owned(),
        name: None,
        email: None,
        roles: vec!["editor".to_owned()],
        permissions: vec!["articles.write".to_owned(), "articles.publish".to_owned()],
        amr: vec!["pwd".to_owned()],
        auth_time: NOW,
    }
}

fn tokens(criterion: &mut Criterion) {
    let claims = claims();
    for algorithm in [Algorithm::Hs256, Algorithm::Es256, Algorithm::EdDsa] {
        let ring = ring(algorithm);
        let token = ring.sign_access(&claims, NOW).expect("the claims are small");
        criterion.bench_function(&format!("verify access {algorithm:?}"), |bencher| {
            bencher.iter(|| ring.verify_access(black_box(&token), NOW));
        });
        criterion.bench_function(&format!("sign access {algorithm:?}"), |bencher| {
            bencher.iter(|| ring.sign_access(black_box(&claims), NOW));
        });
    }
    let ring = ring(Algorithm::Hs256);
    let refresh = RefreshClaims {
        session: SessionId::from_bytes([1; 16]),
        generation: 3,
        token: TokenId::from_bytes([3; 16]),
        issued_at: NOW,
        expires_at: NOW.plus(Duration::from_secs(86_400)),
    };
    criterion.bench_function("sign refresh", |bencher| {
        bencher.iter(|| ring.sign_refresh(black_box(&refresh), ring.signing_key(NOW)));
    });
    criterion.bench_function("refuse 4 KiB of dots", |bencher| {
        let dots = ".".repeat(4096);
        bencher.iter(|| ring.verify_access(black_box(&dots), NOW));
    });
}

fn revoked(criterion: &mut Criterion) {
    let set = RevokedSet::new();
    for number in 0..10_000_u128 {
        set.add(Revoked::Session(SessionId::from_bytes(number.to_be_bytes())), NOW);
    }
    let (session, token) = (SessionId::from_bytes([0xff; 16]), TokenId::from_bytes([2; 16]));
    criterion.bench_function("version of the revoked set", |bencher| {
        bencher.iter(|| black_box(&set).version());
    });
    criterion.bench_function("look among 10,000 revoked", |bencher| {
        bencher.iter(|| set.refuses(black_box(Some(&session)), &token, None, NOW));
    });
}

criterion_group!(benches, tokens, revoked);
criterion_main!(benches);
