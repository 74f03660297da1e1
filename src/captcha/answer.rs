//! What the service says: JSON with `success` and, if not, `error-codes`.

use http::StatusCode;
use serde::Deserialize;

use crate::config;

/// Whether the token is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    Bad,
}

/// Nothing can be concluded from the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum AnswerError {
    #[error("the service answered with status {0}")]
    Status(u16),
    #[error("the service's answer cannot be read")]
    Unreadable,
    #[error("the service does not take captcha.secret")]
    Secret,
    #[error("the service says that it failed")]
    Service,
}

/// The part of an answer that matters. Unknown fields differ between services.
#[derive(Deserialize)]
struct Answer {
    success: bool,
    #[serde(default, rename = "error-codes")]
    error_codes: Vec<String>,
    hostname: Option<String>,
    action: Option<String>,
}

/// What follows from an answer. Only a plain yes, for the right place, is one.
pub(super) fn judge(
    status: StatusCode,
    body: &[u8],
    settings: &config::Captcha,
) -> Result<Verdict, AnswerError> {
    if status.is_redirection() || status.is_server_error() {
        return Err(AnswerError::Status(status.as_u16()));
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(body) else {
        return Err(match status.is_success() {
            true => AnswerError::Unreadable,
            false => AnswerError::Status(status.as_u16()),
        });
    };
    if !answer.success {
        let said = |code: &str| answer.error_codes.iter().any(|one| one == code);
        // These are ours to mend, and no fault of who solved it.
        if said("missing-input-secret") || said("invalid-input-secret") {
            return Err(AnswerError::Secret);
        }
        return if said("internal-error") { Err(AnswerError::Service) } else { Ok(Verdict::Bad) };
    }
    if !status.is_success() {
        return Err(AnswerError::Status(status.as_u16()));
    }
    let host = answer.hostname.unwrap_or_default().to_ascii_lowercase();
    let here = settings.hostnames.is_empty() || settings.hostnames.contains(&host);
    let meant = settings.action.is_none() || settings.action == answer.action;
    Ok(if here && meant { Verdict::Good } else { Verdict::Bad })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::config::{Act, CaptchaWhen, Verifier};
    use crate::secret::Secret;

    fn settings(hostnames: &[&str], action: Option<&str>) -> config::Captcha {
        config::Captcha {
            verifier: Verifier::StandIn(([127, 0, 0, 1], 1).into()),
            secret: Secret::new("secret".to_owned()),
            field: "field".to_owned(),
            when: CaptchaWhen::Always,
            on: vec![Act::Login],
            allow_on_failure: false,
            timeout: Duration::from_secs(1),
            calls: 1,
            hostnames: hostnames.iter().map(|&host| host.to_owned()).collect(),
            action: action.map(str::to_owned),
            send_address: false,
            authorities: None,
            widget: None,
        }
    }

    fn judged(body: &str) -> Result<Verdict, AnswerError> {
        judge(StatusCode::OK, body.as_bytes(), &settings(&[], None))
    }

    #[test]
    fn only_a_plain_yes_is_one() {
        assert_eq!(judged(r#"{"success": true}"#), Ok(Verdict::Good));
        let whole = r#"{"success": true, "error-codes": [], "challenge_ts": "2026-01-01T00:00:00Z",
                        "hostname": "a.example", "action": "login", "cdata": "", "score": 0.9}"#;
        assert_eq!(judged(whole), Ok(Verdict::Good));
        assert_eq!(judged(r#"{"success": false}"#), Ok(Verdict::Bad));
        let spent = r#"{"success": false, "error-codes": ["timeout-or-duplicate"]}"#;
        assert_eq!(judged(spent), Ok(Verdict::Bad));
        for body in ["", "{}", "true", "null", r#"{"success": "true"}"#, r#"{"success": null}"#] {
            assert_eq!(judged(body), Err(AnswerError::Unreadable), "{body}");
        }
    }

    #[test]
    fn a_token_for_another_place_or_purpose_is_not_good_nor_is_one_that_does_not_say() {
        let settings = settings(&["a.example", "b.example"], Some("login"));
        for (rest, wanted) in [
            (r#""hostname": "B.Example", "action": "login""#, Verdict::Good),
            (r#""hostname": "c.example", "action": "login""#, Verdict::Bad),
            (r#""hostname": "a.example", "action": "signup""#, Verdict::Bad),
            (r#""hostname": "a.example""#, Verdict::Bad),
            (r#""action": "login""#, Verdict::Bad),
        ] {
            let body = format!("{{\"success\": true, {rest}}}");
            assert_eq!(judge(StatusCode::OK, body.as_bytes(), &settings), Ok(wanted), "{rest}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_with_whatever_status_is_no_yes(
            status in 100..600_u16,
            body in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..300),
                "\\{\"success\": ?(false|0|\"yes\"|\\[\\]|nul+)[,}\\]]{0,3}".prop_map(String::into_bytes),
            ],
        ) {
            let status = StatusCode::from_u16(status).unwrap();
            let verdict = judge(status, &body, &settings(&[], None));
            prop_assert_ne!(verdict, Ok(Verdict::Good));
        }

        #[test]
        fn a_yes_with_a_status_that_says_no_is_none(status in 300..600_u16) {
            let status = StatusCode::from_u16(status).unwrap();
            let verdict = judge(status, br#"{"success": true}"#, &settings(&[], None));
            prop_assert_eq!(verdict, Err(AnswerError::Status(status.as_u16())));
        }
    }
}
