use super::*;

/// One of each, as a chain: a new variant does not compile until it has its place here.
fn after(rejection: &Rejection) -> Option<Rejection> {
    use Rejection as R;
    let wait = Duration::from_millis(1500);
    Some(match rejection {
        R::AmbiguousPath => R::BadPath(PathError::Control),
        R::BadPath(_) => R::BadHost(HostError::Missing),
        R::BadHost(_) => R::BadFraming,
        R::BadFraming => R::BadField,
        R::BadField => R::BadBody(BodyError::MediaType),
        R::BadBody(BodyError::MediaType) => R::BadBody(BodyError::Missing("username".to_owned())),
        R::BadBody(_) => R::Validation("The name is taken.".into()),
        R::Validation(_) => R::Unusable(Unusable::Name),
        R::Unusable(why) => match why {
            Unusable::Name => R::Unusable(Unusable::SecretTooShort { least: 15 }),
            Unusable::SecretTooShort { .. } => R::Unusable(Unusable::SecretTooLong { most: 1024 }),
            Unusable::SecretTooLong { .. } => R::Unusable(Unusable::SecretNotDigits),
            Unusable::SecretNotDigits => R::Unusable(Unusable::SecretUnprintable),
            Unusable::SecretUnprintable => R::Unusable(Unusable::SecretCommon),
            Unusable::SecretCommon => R::Unusable(Unusable::SecretsDiffer),
            Unusable::SecretsDiffer => R::NameTaken,
        },
        R::NameTaken => R::LinkSpent,
        R::LinkSpent => R::WrongPassword,
        R::WrongPassword => R::PayloadTooLarge,
        R::PayloadTooLarge => R::HeaderTooLarge,
        R::HeaderTooLarge => R::RequestTimeout,
        R::RequestTimeout => R::BodyBroken("reset".into()),
        R::BodyBroken(_) => R::NotFound,
        R::NotFound => R::MethodNotAllowed("GET, POST".into()),
        R::MethodNotAllowed(_) => R::Misdirected,
        R::Misdirected => R::MissingToken,
        R::MissingToken => R::Malformed,
        R::Malformed => R::InvalidSignature,
        R::InvalidSignature => R::Expired,
        R::Expired => R::TokenRevoked,
        R::TokenRevoked => R::RefreshRequired,
        R::RefreshRequired => R::SessionExpired,
        R::SessionExpired => R::SessionRevoked,
        R::SessionRevoked => R::InvalidCredentials,
        R::InvalidCredentials => R::CaptchaFailed,
        R::CaptchaFailed => R::CaptchaUnavailable("10.0.0.6: refused".into()),
        R::CaptchaUnavailable(_) => R::CsrfGuard(StatusCode::FORBIDDEN),
        R::CsrfGuard(_) => R::LoginTooOld(Duration::from_mins(10)),
        R::LoginTooOld(_) => R::Forbidden,
        R::Forbidden => R::RateLimited { limit: 5, retry_after: wait },
        R::RateLimited { .. } => R::Busy { retry_after: wait },
        R::Busy { .. } => R::TooManyRequests,
        R::TooManyRequests => R::StoreUnavailable("postgres://u:hunter2@db".into()),
        R::StoreUnavailable(_) => R::Stopping,
        R::Stopping => R::UpstreamUnavailable("10.0.0.5: refused".into()),
        R::UpstreamUnavailable(_) => R::UpstreamInvalid("no colon".into()),
        R::UpstreamInvalid(_) => R::UpstreamTimeout,
        R::UpstreamTimeout => R::UpstreamBusy,
        R::UpstreamBusy => R::Loop,
        R::Loop => R::Internal("disk full".into()),
        R::Internal(_) => return None,
    })
}

fn all() -> Vec<Rejection> {
    let mut all = vec![Rejection::AmbiguousPath];
    while let Some(next) = all.last().and_then(after) {
        all.push(next);
    }
    all
}

/// Code and status of the rows of `docs/STATUS.md`.
fn documented() -> Vec<(String, String)> {
    let page = include_str!("../../docs/STATUS.md");
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let rows = page.lines().filter(|line| line.starts_with("| `")).map(cells);
    rows.map(|row| (row[0].trim_matches('`').to_owned(), row[1].clone())).collect()
}

#[test]
fn the_page_and_the_table_have_the_same_codes() {
    let documented = documented();
    for rejection in all() {
        let answer = rejection.answer();
        let row = (answer.code.to_owned(), answer.status.as_u16().to_string());
        assert!(documented.contains(&row), "docs/STATUS.md lacks {row:?}");
    }
    for (code, _) in &documented {
        assert!(all().iter().any(|one| one.answer().code == code), "docs/STATUS.md invents {code}");
        assert_eq!(documented.iter().filter(|(other, _)| other == code).count(), 1, "{code}");
    }
}

#[test]
fn labels_tell_all_rejections_apart() {
    let mut labels: Vec<&str> = Vec::new();
    for rejection in all() {
        let label = rejection.answer().label;
        assert!(!labels.contains(&label), "{label}");
        assert!(LABELS.contains(&label), "{label} is missing in LABELS");
        labels.push(label);
    }
}

#[test]
fn the_config_knows_all_codes_and_labels_and_no_others() {
    let mut reasons: Vec<&str> = Vec::new();
    for rejection in all() {
        let answer = rejection.answer();
        reasons.extend([answer.code, answer.label]);
    }
    // `all` has some faults of bodies and of choices for all of them.
    reasons.extend(LABELS);
    reasons.sort_unstable();
    reasons.dedup();
    assert_eq!(reasons, crate::config::REASONS, "config::REASONS");
}

#[test]
fn a_client_learns_nothing_of_the_cause() {
    for rejection in all() {
        let message = rejection.answer().message.into_owned();
        for secret in ["hunter2", "10.0.0.5", "refused", "disk", "colon"] {
            assert!(!message.contains(secret), "{message}");
        }
    }
}

#[test]
fn the_message_is_a_sentence() {
    for rejection in all() {
        let message = rejection.answer().message.into_owned();
        assert!(message.ends_with('.') && message.len() > 10, "{message}");
    }
}

#[test]
fn a_field_that_was_asked_for_is_named() {
    let rejection = Rejection::from(BodyError::Missing("username".to_owned()));
    assert_eq!(rejection.answer().message, "The field `username` is missing.");
}

#[test]
fn answers_carry_the_fields_that_their_status_demands() {
    for rejection in all() {
        let mut headers = HeaderMap::new();
        let status = rejection.answer().status;
        rejection.add_fields(status, 0, &mut headers);
        assert_eq!(headers.get("cache-control").unwrap(), "no-store");
        let has = |name: &str| headers.contains_key(name);
        assert!(status != StatusCode::UNAUTHORIZED || has("www-authenticate"), "{rejection}");
        assert_eq!(status == StatusCode::METHOD_NOT_ALLOWED, has("allow"), "{rejection}");
        let later = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS];
        assert_eq!(later.contains(&status), has("retry-after"), "{rejection}");
        assert_eq!(status == StatusCode::TOO_MANY_REQUESTS, has("ratelimit-limit"), "{rejection}");
        if let Some(challenge) = headers.get("www-authenticate") {
            assert!(challenge.to_str().unwrap().starts_with("Bearer"), "{rejection}");
        }
    }
}

#[test]
fn waits_are_rounded_up() {
    let mut headers = HeaderMap::new();
    Rejection::RateLimited { limit: 5, retry_after: Duration::from_millis(1500) }.add_fields(
        StatusCode::TOO_MANY_REQUESTS,
        3,
        &mut headers,
    );
    assert_eq!(headers.get("retry-after").unwrap(), "2");
    assert_eq!(headers.get("ratelimit-reset").unwrap(), "2");
    assert_eq!(headers.get("ratelimit-remaining").unwrap(), "0");
    let mut headers = HeaderMap::new();
    Rejection::Busy { retry_after: Duration::ZERO }.add_fields(
        StatusCode::SERVICE_UNAVAILABLE,
        0,
        &mut headers,
    );
    assert_eq!(headers.get("retry-after").unwrap(), "1");
}

#[test]
fn those_who_are_turned_away_together_are_not_told_to_come_back_together() {
    let waits = |rejection: &Rejection| -> Vec<u64> {
        let told = (0..8).map(|spread| rejection.retry_after(spread).unwrap().as_secs());
        told.collect()
    };
    let down = Rejection::StoreUnavailable("it is gone".into());
    assert_eq!(waits(&down), [2, 3, 4, 5, 2, 3, 4, 5]);
    let busy = Rejection::Busy { retry_after: Duration::from_secs(5) };
    assert_eq!(waits(&busy), [5, 6, 7, 8, 5, 6, 7, 8]);
    // When an attempt is given back is known to the second.
    let limited = Rejection::RateLimited { limit: 5, retry_after: Duration::from_secs(180) };
    assert_eq!(waits(&limited), [180; 8]);
}
