//! The limits on guesses, with the clock moved by hand.

use std::num::{NonZeroU32, NonZeroUsize};

use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn quota(count: u32, per: Duration) -> Quota {
    Quota { count: NonZeroU32::new(count).unwrap(), per }
}

fn limits(clock: &Clock, max_keys: usize) -> Limits {
    let attempts = Attempts {
        per_account_and_network: quota(5, 15 * MINUTE),
        per_network: quota(50, 15 * MINUTE),
        per_account: quota(100, 15 * MINUTE),
        count_successes: false,
        max_keys: NonZeroUsize::new(max_keys).unwrap(),
    };
    Limits::new(&attempts, clock)
}

fn clock() -> Clock {
    Clock::manual(Timestamp::from_secs(1_800_000_000))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_sixth_guess_at_an_account_is_refused_until_one_interval_has_passed() {
    let clock = clock();
    let limits = limits(&clock, 1000);
    for left in (0..5).rev() {
        let charge = limits.charge_login("ada", ip("192.0.2.1")).unwrap();
        assert_eq!(charge.allowance().remaining, left);
    }
    let refused = limits.charge_login("ada", ip("192.0.2.1")).unwrap_err();
    assert_eq!((refused.limit, refused.remaining), (5, 0));
    assert_eq!(refused.retry_after, 3 * MINUTE);
    assert_eq!(refused.reset, 15 * MINUTE);
    clock.advance(3 * MINUTE);
    assert!(limits.charge_login("ada", ip("192.0.2.1")).is_ok());
    assert!(limits.charge_login("ada", ip("192.0.2.1")).is_err());
}

#[test]
fn a_refunded_success_leaves_the_allowance_as_it_was() {
    let clock = clock();
    let limits = limits(&clock, 1000);
    for _ in 0..200 {
        let charge = limits.charge_login("ada", ip("192.0.2.1")).unwrap();
        clock.advance(Duration::from_millis(50));
        limits.refund_login(&charge);
    }
    let charge = limits.charge_login("ada", ip("192.0.2.1")).unwrap();
    assert_eq!(charge.allowance().remaining, 4);
}

#[test]
fn a_late_refund_gives_nothing_that_time_has_already_given() {
    let clock = clock();
    let limits = limits(&clock, 1000);
    let old = limits.charge_login("ada", ip("192.0.2.1")).unwrap();
    clock.advance(4 * MINUTE);
    limits.charge_login("ada", ip("192.0.2.1")).unwrap();
    limits.refund_login(&old);
    let next = limits.charge_login("ada", ip("192.0.2.1")).unwrap();
    assert_eq!(next.allowance().remaining, 3);
}

#[test]
fn a_refused_attempt_uses_up_nobody_elses_allowance() {
    let clock = clock();
    let limits = limits(&clock, 1000);
    for _ in 0..5 {
        limits.charge_login("ada", ip("192.0.2.1")).unwrap();
    }
    for _ in 0..1000 {
        limits.charge_login("ada", ip("192.0.2.1")).unwrap_err();
    }
    // 45 of the network's 50 are left.
    for name in 0..45 {
        assert!(limits.charge_login(&format!("user{name}"), ip("192.0.2.1")).is_ok(), "{name}");
    }
    assert!(limits.charge_login("one-more", ip("192.0.2.1")).is_err());
    // What the network refused was not charged to the account.
    for _ in 0..5 {
        assert!(limits.charge_login("one-more", ip("192.0.2.2")).is_ok());
    }
}

#[test]
fn another_address_of_the_same_network_is_no_second_allowance() {
    let limits = limits(&clock(), 1000);
    for host in 1..=5 {
        limits.charge_login("ada", ip(&format!("2001:db8:1:2::{host}"))).unwrap();
        limits.charge_login("bob", ip("::ffff:192.0.2.1")).unwrap();
    }
    assert!(limits.charge_login("ada", ip("2001:db8:1:2:ffff::9")).is_err());
    assert!(limits.charge_login("ada", ip("2001:db8:1:3::1")).is_ok());
    assert!(limits.charge_login("bob", ip("192.0.2.1")).is_err());
}

#[test]
fn a_flood_of_names_and_addresses_neither_grows_the_tables_nor_frees_the_flooder() {
    let clock = clock();
    let limits = limits(&clock, 1000);
    for _ in 0..5 {
        limits.charge_login("ada", ip("192.0.2.1")).unwrap();
    }
    for n in 0..20_000_u32 {
        let stranger = IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        let _ = limits.charge_login(&format!("name{n}"), stranger);
    }
    assert!(limits.keys() <= 4 * 1000, "{}", limits.keys());
    assert!(limits.charge_login("ada", ip("192.0.2.1")).is_err());
}

#[test]
fn a_clock_that_is_set_back_locks_nobody_out_for_longer() {
    let clock = clock();
    let limits = limits(&clock, 1000);
    for _ in 0..5 {
        limits.charge_login("ada", ip("192.0.2.1")).unwrap();
    }
    clock.set(clock.now().minus(Duration::from_secs(86_400)));
    assert!(limits.charge_login("ada", ip("192.0.2.1")).is_err());
    clock.advance(3 * MINUTE);
    assert!(limits.charge_login("ada", ip("192.0.2.1")).is_ok());
}

#[test]
fn keys_that_are_as_good_as_new_are_swept() {
    let clock = clock();
    let limits = limits(&clock, 1000);
    limits.charge_login("ada", ip("192.0.2.1")).unwrap();
    assert_eq!(limits.keys(), 3);
    clock.advance(20 * MINUTE);
    limits.sweep();
    assert_eq!(limits.keys(), 0);
}

proptest! {
    /// Whatever the pattern of guesses and pauses, a window never sees more than the burst and
    /// what was given back in it.
    #[test]
    fn guesses_never_exceed_the_quota(pauses in prop::collection::vec(0_u64..240, 1..80)) {
        let clock = clock();
        let limits = limits(&clock, 100);
        let (mut taken, mut elapsed) = (0_u64, 0_u64);
        for pause in pauses {
            clock.advance(Duration::from_secs(pause));
            elapsed += pause;
            taken += u64::from(limits.charge_login("ada", ip("192.0.2.1")).is_ok());
            prop_assert!(taken <= 5 + elapsed / 180);
        }
    }
}
