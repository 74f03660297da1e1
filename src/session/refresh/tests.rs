//! The rule of rotation and theft, case by case.

use proptest::prelude::*;

use super::*;
use crate::id::{KeyId, SessionId, UserId};
use crate::store::rows::Ended;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const RULES: Rules = Rules {
    rotate: true,
    reuse_grace: Duration::from_secs(30),
    idle_ttl: Duration::from_secs(7 * 86_400),
};

/// A session at `generation`, rotated `ago` before [`NOW`], its current generation seen or not.
fn row(generation: u64, ago: Duration, seen: bool) -> Session {
    let rotated_at = NOW.minus(ago);
    Session {
        id: SessionId::from_bytes([1; 16]),
        user: UserId::generate(NOW).unwrap(),
        generation,
        seen_generation: if seen { generation } else { generation - 1 },
        current: RefreshRecord {
            key: KeyId::new("k"),
            token: TokenId::from_bytes([2; 16]),
            issued_at: rotated_at,
            expires_at: NOW.plus(Duration::from_secs(86_400)),
        },
        rotated_at,
        auth_time: NOW.minus(Duration::from_secs(9 * 86_400)),
        amr: vec!["pwd".into()],
        expires_at: NOW.plus(Duration::from_secs(86_400)),
        idle_expires_at: rotated_at.plus(RULES.idle_ttl),
        persistent: true,
        address: None,
        device: String::new(),
        created_at: NOW.minus(Duration::from_secs(9 * 86_400)),
        ended: None,
    }
}

fn token(generation: u64) -> RefreshClaims {
    RefreshClaims {
        session: SessionId::from_bytes([1; 16]),
        generation,
        token: TokenId::from_bytes([3; 16]),
        issued_at: NOW.minus(Duration::from_secs(600)),
        expires_at: NOW.plus(Duration::from_secs(86_400)),
    }
}

const LONG_AGO: Duration = Duration::from_secs(600);

#[test]
fn the_current_token_rotates_however_old_it_is() {
    for ago in [Duration::ZERO, LONG_AGO] {
        assert_eq!(decide(&row(5, ago, true), &token(5), NOW, RULES), Decision::Rotate);
        assert_eq!(decide(&row(5, ago, false), &token(5), NOW, RULES), Decision::Rotate);
    }
}

#[test]
fn without_rotation_the_current_token_is_kept() {
    let rules = Rules { rotate: false, ..RULES };
    assert_eq!(decide(&row(5, LONG_AGO, true), &token(5), NOW, rules), Decision::Keep);
}

#[test]
fn a_predecessor_within_the_grace_is_a_second_tab() {
    let (just, over) = (Duration::from_millis(29_999), Duration::from_secs(30));
    let again = Decision::Again(Grace::Time);
    assert_eq!(decide(&row(5, just, true), &token(4), NOW, RULES), again);
    assert_eq!(decide(&row(5, over, true), &token(4), NOW, RULES), Decision::Theft);
}

#[test]
fn a_predecessor_whose_successor_nobody_saw_is_a_lost_response() {
    let again = Decision::Again(Grace::Unseen);
    assert_eq!(decide(&row(5, LONG_AGO, false), &token(4), NOW, RULES), again);
}

#[test]
fn anything_older_is_theft_even_within_the_grace_and_unseen() {
    for presented in 0..4 {
        let row = row(5, Duration::ZERO, false);
        assert_eq!(decide(&row, &token(presented), NOW, RULES), Decision::Theft);
    }
}

#[test]
fn a_token_newer_than_the_row_is_never_theft() {
    for presented in [6, 7, 700] {
        let row = row(5, LONG_AGO, true);
        assert_eq!(decide(&row, &token(presented), NOW, RULES), Decision::Rollback);
    }
}

#[test]
fn a_store_restored_from_long_ago_does_not_make_a_living_session_idle() {
    let mut old = row(5, Duration::from_secs(8 * 86_400), true);
    assert_eq!(decide(&old, &token(6), NOW, RULES), Decision::Rollback);
    assert_eq!(decide(&old, &token(5), NOW, RULES), Decision::Expired);
    old.expires_at = NOW;
    assert_eq!(decide(&old, &token(6), NOW, RULES), Decision::Expired);
}

#[test]
fn the_end_of_a_session_outweighs_everything() {
    for reason in [EndReason::Logout, EndReason::Theft, EndReason::Operator] {
        for presented in [3, 4, 5, 6] {
            let mut row = row(5, Duration::ZERO, false);
            row.ended = Some(Ended { at: NOW, reason });
            assert_eq!(decide(&row, &token(presented), NOW, RULES), Decision::Ended(reason));
        }
    }
}

#[test]
fn absolute_and_idle_end_are_ends_to_the_millisecond() {
    let mut absolute = row(5, LONG_AGO, true);
    absolute.expires_at = NOW.plus(Duration::from_millis(1));
    assert_eq!(decide(&absolute, &token(5), NOW, RULES), Decision::Rotate);
    absolute.expires_at = NOW;
    assert_eq!(decide(&absolute, &token(5), NOW, RULES), Decision::Expired);
    let mut idle = row(5, LONG_AGO, true);
    idle.idle_expires_at = NOW;
    assert_eq!(decide(&idle, &token(5), NOW, RULES), Decision::Expired);
    // Nobody is called a thief for coming back after a holiday.
    assert_eq!(decide(&idle, &token(3), NOW, RULES), Decision::Expired);
}

#[test]
fn a_clock_set_back_does_not_stretch_the_grace() {
    let row = row(5, Duration::ZERO, true);
    let at = |secs| NOW.minus(Duration::from_secs(secs));
    // Two replicas' clocks may differ by seconds.
    assert_eq!(decide(&row, &token(4), at(29), RULES), Decision::Again(Grace::Time));
    assert_eq!(decide(&row, &token(4), at(3600), RULES), Decision::Theft);
}

proptest! {
    /// Only the current token, its predecessor and a newer one are ever answered; and the
    /// answer to a predecessor never moves the session on.
    #[test]
    fn no_token_two_generations_old_is_ever_answered(
        generation in 1_u64..40,
        presented in 0_u64..44,
        ago in 0_u64..2_000_000,
        seen: bool,
        rotate: bool,
    ) {
        let rules = Rules { rotate, ..RULES };
        let row = row(generation, Duration::from_secs(ago), seen);
        let decision = decide(&row, &token(presented), NOW, rules);
        match decision {
            Decision::Rotate | Decision::Keep => prop_assert_eq!(presented, generation),
            Decision::Again(_) => prop_assert_eq!(presented + 1, generation),
            Decision::Rollback => prop_assert!(presented > generation),
            Decision::Theft => prop_assert!(presented < generation),
            Decision::Ended(_) => prop_assert!(false, "it has not ended"),
            Decision::Expired => prop_assert!(ago >= RULES.idle_ttl.as_secs()),
        }
    }
}
